"""A gate on the road from the hub to a shop: GraphQL operations named to it wait there until they are let through."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PASSED_ON = ("Content-Type", "vendure-auth-token")
ANSWERS_WITHIN_S = 60


class Gate:
    """Passes everything on to `target`, unchanged; `url` is where the hub finds the shop."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._closed: set[str] = set()
        self._waiting: dict[str, list[Any]] = defaultdict(list)
        self._said: dict[str, list[Any]] = defaultdict(list)
        self._changed = threading.Condition()
        handler = type("Handler", (_Handler,), {"gate": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self, operation: str) -> None:
        """From now on calls of this operation wait."""
        with self._changed:
            self._closed.add(operation)

    def await_call(self, operation: str, within_s: float) -> Any:
        """The variables of the first call that waits; raises TimeoutError when none comes."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting[operation], within_s):
                raise TimeoutError(f"no {operation} came to the gate in {within_s} s")
            return self._waiting[operation][0]

    def said(self, operation: str) -> list[Any]:
        """The variables of every call of this operation so far."""
        with self._changed:
            return list(self._said[operation])

    def open(self, operation: str) -> None:
        """Let what waits through, and what comes after it."""
        with self._changed:
            self._closed.discard(operation)
            self._changed.notify_all()

    def open_all(self) -> None:
        """Let everything through."""
        with self._changed:
            self._closed.clear()
            self._changed.notify_all()

    def stop(self) -> None:
        """Let everything through and close the port."""
        self.open_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def carry(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        """Hold one call while its operation is closed, then ask the shop."""
        asked = json.loads(body)
        self._hold(asked["operationName"], asked["variables"])
        request = urllib.request.Request(f"{self._target}{path}", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=ANSWERS_WITHIN_S) as answer:
                return answer.status, _kept(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, _kept(error.headers), error.read()

    def _hold(self, operation: str, variables: Any) -> None:
        with self._changed:
            self._said[operation].append(variables)
            self._waiting[operation].append(variables)
            self._changed.notify_all()
            self._changed.wait_for(lambda: operation not in self._closed)
            self._waiting[operation].remove(variables)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    gate: Gate

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        status, answered, content = self.gate.carry(self.path, body, headers)
        self.send_response(status)
        for name, value in {**answered, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def _kept(headers: Any) -> dict[str, str]:
    return {name: headers[name] for name in PASSED_ON if headers[name]}
