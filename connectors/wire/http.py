"""HTTP for connectors: one session per connection, every failure turned into the error that decides what is next.

Retried here is only what provably did not arrive (no connection, 429 with a short Retry-After) or what only reads; all
else is the business of the row that wanted the call.
"""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import requests
import tenacity
import urllib3
from requests.adapters import HTTPAdapter

from core.errors import InDoubt, Later, NotAuthorised, Refused, Throttled, Unavailable, YipanError

SHORT_RETRY_S = 2.0
ANSWER_LIMIT_BYTES = 20_000_000
PIECE_BYTES = 65_536
NAT64 = ipaddress.ip_network("64:ff9b::/96")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Observe = Callable[[str, str], None]


@dataclass(frozen=True)
class Outbound:
    """Where calls may go: public addresses, and the networks the operator allowed (CIDR)."""

    allow: Sequence[str] = ()

    def permits(self, address: str) -> bool:
        """Whether a socket may talk to this IP address."""
        ip = _inner(ipaddress.ip_address(address.split("%")[0]))
        return ip.is_global or any(ip in ipaddress.ip_network(net) for net in self.allow)


def _inner(ip: Address) -> Address:
    """The IPv4 address that an IPv6 one leads to (mapped, 6to4, NAT64), else the address itself."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    through_nat = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in NAT64 else None
    return ip.ipv4_mapped or ip.sixtofour or through_nat or ip


class Http:
    """One connection's way out. base_url is joined with each path; observe(ability, result) counts calls."""

    def __init__(
        self,
        base_url: str,
        *,
        timeout_s: float = 10,
        outbound: Outbound | None = None,
        observe: Observe | None = None,
        attempts: int = 3,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.timeout_s = timeout_s
        self.attempts = attempts
        self._observe = observe or (lambda ability, result: None)
        self._session = requests.Session()
        self._session.trust_env = False
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _Guarded(outbound or Outbound()))

    def call(
        self,
        ability: str,
        method: str,
        path: str = "",
        *,
        reads: bool,
        params: Any = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        accept: Sequence[int] = (200,),
    ) -> requests.Response:
        """One exchange. reads: it changes nothing there, so it may be repeated.

        Raises Unavailable or Throttled (nothing arrived, or a read), InDoubt (a write that may have arrived),
        NotAuthorised (401, 403) or Refused (any other status that is not in accept).
        """
        retry = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_worth_repeating),
            wait=_wait,
            stop=tenacity.stop_after_attempt(self.attempts),
            reraise=True,
        )
        return retry(self._once, ability, method, self.base_url + path, reads, params, data, headers, accept)

    def _once(
        self,
        ability: str,
        method: str,
        url: str,
        reads: bool,
        params: Any,
        data: Any,
        headers: Any,
        accept: Sequence[int],
    ) -> requests.Response:
        try:
            response = self._session.request(
                method,
                url,
                params=params,
                data=data,
                headers=headers,
                timeout=self.timeout_s,
                allow_redirects=False,
                stream=True,
            )
            _read_whole(response, reads)
            _raise_for_status(response, reads, accept)
        except requests.RequestException as error:
            self._observe(ability, "lost")
            raise _error_for(error, reads) from None
        except YipanError as error:
            self._observe(ability, type(error).__name__)
            raise
        self._observe(ability, "ok")
        return response


def read_json(response: requests.Response, *, reads: bool) -> Any:
    """The answer's JSON, numbers with a point as Decimal; an answer that cannot be read is one that was lost."""
    try:
        return json.loads(response.content, parse_float=Decimal)
    except ValueError:
        raise lost("the answer is not JSON, or was cut short", reads=reads) from None


def lost(why: str, *, reads: bool) -> YipanError:
    """The error for an answer that did not come or cannot be read: a read is repeated, a write is in doubt."""
    return Unavailable(why) if reads else InDoubt(why)


def _read_whole(response: requests.Response, reads: bool) -> None:
    """Read the body up to the limit; a longer one is no use however often it is asked for."""
    body = bytearray()
    for piece in response.iter_content(PIECE_BYTES):
        body += piece
        if len(body) > ANSWER_LIMIT_BYTES:
            response.close()
            words = f"the answer is longer than {ANSWER_LIMIT_BYTES} bytes"
            raise Refused(words) if reads else InDoubt(words)
    response._content = bytes(body)  # what requests keeps when it reads the body by itself


def _raise_for_status(response: requests.Response, reads: bool, accept: Sequence[int]) -> None:
    status = response.status_code
    if status in accept:
        return
    words = f"HTTP {status}: {response.text[:200]}"
    if status == 429:
        raise Throttled(words, retry_after_s=_retry_after_s(response))
    if status in (401, 403):
        raise NotAuthorised(words)
    if status >= 500 or status == 408:
        raise lost(words, reads=reads)
    raise Refused(words)


def _retry_after_s(response: requests.Response) -> float | None:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.replace(".", "", 1).isdigit() else None


NO_URL = (
    requests.exceptions.InvalidURL,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidSchema,
)


def _error_for(error: requests.RequestException, reads: bool) -> YipanError:
    if isinstance(error, requests.exceptions.ConnectTimeout) or _never_connected(error):
        return Unavailable(f"no connection: {_cause(error)}")
    if isinstance(error, NO_URL):
        return Refused("the address is not a URL: mend it on the connection's page")
    return lost(f"no whole answer: {_cause(error)}", reads=reads)


def _never_connected(error: requests.RequestException) -> bool:
    cause = error.args[0] if error.args else None
    return isinstance(getattr(cause, "reason", None), urllib3.exceptions.NewConnectionError)


def _cause(error: Exception) -> str:
    """The kind of failure alone: addresses and parameters of the request may hold secrets."""
    cause = error.args[0] if error.args else error
    return type(getattr(cause, "reason", cause)).__name__


def _worth_repeating(error: BaseException) -> bool:
    if isinstance(error, Throttled):
        return error.retry_after_s is not None and error.retry_after_s <= SHORT_RETRY_S
    return isinstance(error, Later)


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, Throttled):
        return error.retry_after_s or 0.0
    return float(0.05 * 2**state.attempt_number)


class _Guarded(HTTPAdapter):
    """Looks at the address a socket really reached before a byte is sent (no DNS trick gets past it)."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        super().__init__(pool_maxsize=16)

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        super().init_poolmanager(*args, **more)
        outbound = self._outbound

        class Plain(urllib3.connection.HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return _checked(super()._new_conn(), outbound)

        class Secure(urllib3.connection.HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return _checked(super()._new_conn(), outbound)

        class PlainPool(urllib3.HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(urllib3.HTTPSConnectionPool):
            ConnectionCls = Secure

        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}


def _checked(sock: socket.socket, outbound: Outbound) -> socket.socket:
    address = sock.getpeername()[0]
    if outbound.permits(address):
        return sock
    sock.close()
    raise Refused(f"{address} is not a public address: the operator can allow its network in `outbound.allow`")
