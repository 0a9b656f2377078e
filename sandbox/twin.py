"""What every twin stands on: a loopback HTTP server with faults on demand, and a sender for its callbacks.

A twin is an object with `ability(call)` (our name for what is asked, for the fault plan), `answer(call)` (do it, in
the system's own words), `throttled(call)` (how this system says "too fast") and `control(action, body)` (what the demo
and the tests ask: `POST /_twin/<action>`, JSON both ways). Twins build and parse bodies with their own code, from
the facts.
"""

from __future__ import annotations

import json
import random
import socket
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

CALL_FAULTS = ("429", "5xx", "timeout_before", "timeout_after", "truncated")
PUSH_FAULTS = ("duplicate", "reorder")
RATES = {"none": 0.0, "mild": 0.03, "harsh": 0.12}


@dataclass(frozen=True)
class Call:
    """One request that reached the twin."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """The body as form fields."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body or b"null")


@dataclass(frozen=True)
class Answer:
    """One answer in the system's own words."""

    body: bytes | str
    status: int = 200
    content_type: str = "application/json; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)


class Twin(Protocol):
    """What a system's twin must have. write_abilities: those whose first calls meet each call fault once when harsh."""

    write_abilities: tuple[str, ...]

    def ability(self, call: Call) -> str: ...

    def answer(self, call: Call) -> Answer: ...

    def throttled(self, call: Call) -> Answer: ...

    def control(self, action: str, body: Any) -> Any: ...


class Faults:
    """Which call meets which fault. Seeded; at `harsh` every write ability meets each call fault once, early on."""

    def __init__(self, seed: int = 0, level: str = "none", hang_s: float = 1.5) -> None:
        self.bitten: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.set(seed=seed, level=level, hang_s=hang_s)

    def set(self, *, seed: int = 0, level: str = "none", hang_s: float = 1.5, plan: list[str] | None = None) -> None:
        """Start over with this seed and level; plan: faults for the next calls of any ability, in order (tests)."""
        self._random = random.Random(seed)
        self.level, self.rate, self.hang_s = level, RATES[level], hang_s
        self._plan = list(plan or [])
        self._owed: dict[str, list[str]] = {}

    def next(self, ability: str, writes: bool) -> str:
        """The fault for this call, or ""."""
        with self._lock:
            self.calls[ability] += 1
            fault = self._choose(ability, writes)
            if fault:
                self.bitten[f"{fault}/{ability}"] += 1
            return fault

    def _choose(self, ability: str, writes: bool) -> str:
        if self._plan:
            return self._plan.pop(0)
        if self.level == "harsh" and writes:
            owed = self._owed.setdefault(ability, self._random.sample(CALL_FAULTS, len(CALL_FAULTS)))
            if owed and self.calls[ability] % 3:  # two of three: even an ability that is seldom called meets them all
                return owed.pop(0)
        return self._random.choice(CALL_FAULTS) if self._random.random() < self.rate else ""

    def push(self) -> str:
        """The fault for one callback of ours, or ""."""
        with self._lock:
            return self._random.choice(PUSH_FAULTS) if self._random.random() < self.rate else ""

    def note(self, fault: str) -> None:
        """Count a fault the twin made by itself (moving pages, duplicates, reordering)."""
        with self._lock:
            self.bitten[fault] += 1


class Pusher:
    """Sends a twin's callbacks and sends them again until the receiver's words say it has them.

    accepted(status, body) reads the receiver's answer in the system's words. Deliveries run in one thread, in order
    but for the faults; `idle` is true when nothing is left to say.
    """

    def __init__(self, faults: Faults, accepted: Callable[[int, bytes], bool], retry_s: float = 0.3) -> None:
        self._faults, self.accepted, self._retry_s = faults, accepted, retry_s
        self._waiting: list[tuple[float, str, str, bytes, dict[str, str]]] = []
        self._changed = threading.Condition()
        self._busy = 0
        self.attempts = 0
        threading.Thread(target=self._run, daemon=True).start()

    def say(self, name: str, url: str, body: bytes, headers: dict[str, str], delay_s: float = 0.0) -> None:
        """Queue one callback. name: our name for it in the fault counters."""
        fault = self._faults.push()
        due = time.monotonic() + delay_s + (0.6 if fault == "reorder" else 0.0)
        if fault:
            self._faults.note(f"{fault}/{name}")
        with self._changed:
            for _ in range(2 if fault == "duplicate" else 1):
                self._waiting.append((due, name, url, body, headers))
            self._changed.notify()

    @property
    def idle(self) -> bool:
        """Whether everything that was to be said has been heard."""
        with self._changed:
            return not self._waiting and not self._busy

    def _run(self) -> None:
        while True:
            due, name, url, body, headers = self._take()
            heard = self._deliver(url, body, headers)
            with self._changed:
                self._busy -= 1
                if not heard:
                    self._waiting.append((time.monotonic() + self._retry_s, name, url, body, headers))
                    self._changed.notify()

    def _take(self) -> tuple[float, str, str, bytes, dict[str, str]]:
        with self._changed:
            while True:
                now = time.monotonic()
                ready = min(self._waiting, default=None, key=lambda w: w[0])
                if ready and ready[0] <= now:
                    self._waiting.remove(ready)
                    self._busy += 1
                    return ready
                self._changed.wait(ready[0] - now if ready else None)

    def _deliver(self, url: str, body: bytes, headers: dict[str, str]) -> bool:
        self.attempts += 1
        request = urllib.request.Request(url, data=body, headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return self.accepted(answer.status, answer.read())
        except urllib.error.HTTPError as error:
            return self.accepted(error.code, error.read())
        except OSError:
            return False


class Server:
    """A twin on a loopback port, in threads of this process."""

    def __init__(self, twin: Twin, faults: Faults, port: int = 0) -> None:
        handler = type("Handler", (_Handler,), {"twin": twin, "faults": faults})
        self._server = _Listener(("127.0.0.1", port), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hung up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: without this each answer waits 40 ms for an ACK
    twin: Twin
    faults: Faults

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        parts = urlsplit(self.path)
        headers = {k.lower(): v for k, v in self.headers.items()}
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        call = Call(self.command, parts.path, query, headers, self.rfile.read(length))
        if call.path.startswith("/_twin/"):
            self._control(call)
        else:
            self._outside(call)

    def _control(self, call: Call) -> None:
        action = call.path.removeprefix("/_twin/")
        if action == "faults":
            if call.body:
                self.faults.set(**call.json)
            result: Any = {"bitten": self.faults.bitten, "calls": self.faults.calls}
        else:
            result = self.twin.control(action, call.json)
        self._send(Answer(json.dumps(result, ensure_ascii=False)))

    def _outside(self, call: Call) -> None:
        ability = self.twin.ability(call)
        fault = self.faults.next(ability, ability in self.twin.write_abilities)
        match fault:
            case "429":
                self._send(self.twin.throttled(call))
            case "5xx":
                self._send(Answer("upstream is away", 503, "text/plain"))
            case "timeout_before":
                self._hang()
            case "timeout_after":
                self.twin.answer(call)
                self._hang()
            case "truncated":
                self._cut(self.twin.answer(call))
            case _:
                self._send(self.twin.answer(call))

    def _hang(self) -> None:
        time.sleep(self.faults.hang_s)
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _cut(self, answer: Answer) -> None:
        body = _bytes(answer.body)
        self._head(answer, len(body))
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _send(self, answer: Answer) -> None:
        body = _bytes(answer.body)
        self._head(answer, len(body))
        self.wfile.write(body)

    def _head(self, answer: Answer, length: int) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(length))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()


def _bytes(body: bytes | str) -> bytes:
    return body.encode() if isinstance(body, str) else body
