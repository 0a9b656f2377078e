"""HTTP for connectors: what each failure is turned into, what is repeated, and where calls may go."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import urllib3

from connectors.wire.http import Http, Outbound, read_json
from core.errors import InDoubt, NotAuthorised, Refused, Throttled, Unavailable, YipanError

LOOPBACK = Outbound(["127.0.0.0/8", "::1/128"])
FAR_S = 10


class Server:
    """Answers in the order given, the last one for good; remembers who came."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], bytes]] = [(200, {}, b"{}")]
        self.paths: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

            def do_GET(self) -> None:
                outer.answer(self)

            do_POST = do_GET

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """One answer; of a body marked `cut` only half is sent."""
        self.paths.append(handler.path)
        handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        status, headers, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body) * (2 if body == b"cut" else 1)))
        handler.end_headers()
        handler.wfile.write(body)

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that answers `{}` until told otherwise."""
    it = Server()
    yield it
    it.stop()


def http(url: str, outbound: Outbound = LOOPBACK, timeout_s: float = FAR_S, **more: Any) -> Http:
    """A way out to it."""
    return Http(url, timeout_s=timeout_s, outbound=outbound, **more)


def test_answer_comes_back_whole(server: Server) -> None:
    server.answers = [(200, {}, b'{"price": 1.10}')]
    answer = read_json(http(server.url).call("fetch", "GET", "/x", reads=True), reads=True)
    assert (str(answer["price"]), server.paths) == ("1.10", ["/x"])


@pytest.mark.parametrize(
    ("status", "reads", "error", "calls"),
    [
        (401, False, NotAuthorised, 1),
        (403, True, NotAuthorised, 1),
        (404, True, Refused, 1),
        (422, False, Refused, 1),
        (302, False, Refused, 1),
        (429, False, Throttled, 1),
        (503, True, Unavailable, 3),
        (408, True, Unavailable, 3),
        (500, False, InDoubt, 1),
        (504, False, InDoubt, 1),
    ],
)
def test_status_decides_what_happens_next(
    server: Server, status: int, reads: bool, error: type[YipanError], calls: int
) -> None:
    server.answers = [(status, {}, b"no")]
    with pytest.raises(error) as caught:
        http(server.url).call("send", "POST", "/", reads=reads, data=b"x")
    assert (type(caught.value), len(server.paths)) == (error, calls)


def test_status_the_caller_accepts_is_an_answer(server: Server) -> None:
    server.answers = [(404, {}, b"none")]
    assert http(server.url).call("fetch", "GET", reads=True, accept=(200, 404)).status_code == 404


def test_short_retry_after_is_waited_for_on_the_spot_even_by_a_write(server: Server) -> None:
    server.answers = [(429, {"Retry-After": "0.01"}, b""), (200, {}, b"{}")]
    assert http(server.url).call("send", "POST", reads=False).status_code == 200
    assert len(server.paths) == 2


def test_long_retry_after_is_left_to_the_row(server: Server) -> None:
    server.answers = [(429, {"Retry-After": "60"}, b"")]
    with pytest.raises(Throttled) as caught:
        http(server.url).call("fetch", "GET", reads=True)
    assert (caught.value.retry_after_s, len(server.paths)) == (60.0, 1)


@pytest.mark.parametrize(("reads", "error", "calls"), [(True, Unavailable, 3), (False, InDoubt, 1)])
def test_answer_cut_short_is_repeated_by_a_read_and_doubted_by_a_write(
    server: Server, reads: bool, error: type[YipanError], calls: int
) -> None:
    server.answers = [(200, {}, b"cut")]
    with pytest.raises(error):
        http(server.url).call("x", "POST", reads=reads)
    assert len(server.paths) == calls


@pytest.mark.parametrize(("reads", "error"), [(True, Unavailable), (False, InDoubt)])
def test_answer_that_is_no_json_is_one_that_was_lost(server: Server, reads: bool, error: type[YipanError]) -> None:
    server.answers = [(200, {}, b"<html>busy</html>")]
    response = http(server.url).call("x", "GET", reads=True)
    with pytest.raises(error):
        read_json(response, reads=reads)


def test_nobody_there_means_nothing_arrived_even_for_a_write() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(Unavailable):
            http(url, attempts=2).call("send", "POST", reads=False)


@contextmanager
def silence() -> Iterator[str]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(("reads", "error"), [(True, Unavailable), (False, InDoubt)])
def test_silence_is_repeated_by_a_read_and_doubted_by_a_write(reads: bool, error: type[YipanError]) -> None:
    with silence() as url, pytest.raises(error):
        http(url, timeout_s=0.05, attempts=2).call("send", "POST", reads=reads)


def test_every_call_is_counted_by_what_became_of_it(server: Server) -> None:
    seen: list[tuple[str, str]] = []
    way = http(server.url, observe=lambda ability, result: seen.append((ability, result)), attempts=1)
    way.call("fetch_orders", "GET", reads=True)
    server.answers = [(429, {}, b"")]
    with pytest.raises(Throttled):
        way.call("send_stock", "POST", reads=False)
    assert seen == [("fetch_orders", "ok"), ("send_stock", "Throttled")]


def test_error_tells_nothing_of_the_address_that_was_called(server: Server) -> None:
    with silence() as url, pytest.raises(InDoubt) as caught:
        http(url, timeout_s=0.05).call("send", "POST", "/?token=secret", reads=False)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "[::1]"])
def test_loopback_is_refused_by_default_however_it_is_written(server: Server, host: str) -> None:
    with pytest.raises((Refused, Unavailable)) as caught:
        http(f"http://{host}:{server.port}", Outbound(), attempts=1).call("fetch", "GET", reads=True)
    assert server.paths == []
    if isinstance(caught.value, Refused):
        assert "outbound.allow" in caught.value.message


@pytest.mark.parametrize(
    "address", ["10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "::1", "fd00::1"]
)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    assert not Outbound().permits(address)


@pytest.mark.parametrize("address", ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1"])
def test_private_address_dressed_as_another_kind_is_refused(address: str) -> None:
    assert not Outbound().permits(address)


def test_operator_allows_networks_and_nothing_beside_them() -> None:
    outbound = Outbound(["10.0.0.0/8"])
    assert (outbound.permits("10.9.9.9"), outbound.permits("192.168.0.1"), outbound.permits("8.8.8.8")) == (
        True,
        False,
        True,
    )


def test_public_name_that_resolves_to_loopback_is_refused_before_a_byte_is_sent(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolves(host: str, port: int, *more: Any, **named: Any) -> list[Any]:
        assert host == "shop.example.com"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(urllib3.util.connection.socket, "getaddrinfo", resolves)
    with pytest.raises(Refused):
        http(f"http://shop.example.com:{server.port}", Outbound()).call("fetch", "GET", reads=True)
    assert server.paths == []


def test_redirect_is_not_followed(server: Server) -> None:
    server.answers = [(302, {"Location": f"{server.url}/inside"}, b"")]
    with pytest.raises(Refused):
        http(server.url).call("fetch", "GET", "/outside", reads=True)
    assert server.paths == ["/outside"]


def test_proxies_of_the_environment_are_not_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert http(server.url).call("fetch", "GET", reads=True).status_code == 200


@pytest.mark.parametrize("url", ["ftp://example.com", "example.com", "http://"])
def test_address_that_is_no_url_is_for_a_person_to_mend(url: str) -> None:
    with pytest.raises(Refused):
        http(url).call("fetch", "GET", reads=True)


def test_answer_without_end_is_cut_off(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.wire.http.ANSWER_LIMIT_BYTES", 1000)
    server.answers = [(200, {}, b"x" * 1001)]
    with pytest.raises(YipanError):
        http(server.url, attempts=1).call("fetch", "GET", reads=True)
