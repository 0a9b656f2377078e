"""The town: child processes for the twins and the hub, and plain HTTP to both."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

TWINS = {
    "qimen": "sandbox.wms.qimen",
    "sf": "sandbox.courier.sf",
    "tryton": "sandbox.erp.tryton",
    "tmall-aurora": "sandbox.sales.tmall",
    "tmall-birch": "sandbox.sales.tmall",
    "vendure-aurora": "sandbox.sales.vendure",
    "vendure-birch": "sandbox.sales.vendure",
    "tmall-cedar": "sandbox.sales.tmall",
    "vendure-cedar": "sandbox.sales.vendure",
}
"""Name → module."""
SHOPS = tuple(name for name in TWINS if name.startswith(("tmall", "vendure")))
READY_S = 60.0
LEASH = "YIPAN_LEASH"
"""The hub ends when the pipe of this number closes: with us, however we end."""
PORTS = range(18020, 18999)


class Stopped(RuntimeError):
    """The town cannot go on: the sentence says why."""


@dataclass
class Town:
    """Twins, by name, and the hub. restarts counts how often the supervisor had to be started again."""

    home: Path
    port: int
    environment: dict[str, str]
    twins: dict[str, str] = field(default_factory=dict)
    twin_process: subprocess.Popen[str] | None = None
    hub: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    session: requests.Session = field(default_factory=requests.Session)
    leash: tuple[int, int] = field(default_factory=os.pipe)

    @property
    def url(self) -> str:
        """Where the hub's doors are."""
        return f"http://127.0.0.1:{self.port}"

    def ask(self, twin: str, action: str, body: Any = None) -> Any:
        """A control action of a twin."""
        return self.session.post(f"{self.twins[twin]}/_twin/{action}", json=body, timeout=10).json()

    def api(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        """The hub's REST API; waits out a web process being started again. Raises Stopped with its problem."""
        deadline = time.monotonic() + READY_S
        while True:
            try:
                answer = self.session.request(method, f"{self.url}/api/v1{path}", json=body, params=params, timeout=30)
                break
            except requests.ConnectionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        if answer.status_code >= 400:
            raise Stopped(f"{method} {path}: {answer.text}")
        return answer.json() if answer.content else None

    def rows(self, path: str, **params: Any) -> list[Any]:
        """All rows of a paged list."""
        found: list[Any] = []
        page = self.api("GET", path, **params)
        while True:
            found += page["rows"]
            if not page["next"]:
                return found
            page = self.api("GET", path, **{**params, "after": page["next"], "before": page["next"]})

    def start_hub(self) -> None:
        """Start `yipan up`, or start it again on the same folder and port."""
        command = [sys.executable, "-P", "-m", "workers", "up"]
        log = (self.home / "hub.log").open("ab")
        with log:
            self.hub = subprocess.Popen(
                command,
                env={**self.environment, LEASH: str(self.leash[0])},
                pass_fds=(self.leash[0],),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait_until_healthy(self) -> None:
        """Until every process of the hub shows a heartbeat."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            with contextlib.suppress(requests.RequestException):
                if self.session.get(f"{self.url}/healthz", timeout=2).status_code == 200:
                    return
            if self.hub and self.hub.poll() is not None:
                raise Stopped(f"the hub ended by itself: {(self.home / 'hub.log').read_text()[-2000:]}")
            time.sleep(0.1)
        raise Stopped(f"the hub did not become healthy: {(self.home / 'hub.log').read_text()[-2000:]}")


@contextlib.contextmanager
def town(home: Path, settings: Mapping[str, str], twins: Mapping[str, str] = TWINS) -> Iterator[Town]:
    """A running town with these twins (name → module); everything it started ends with it."""
    port = _free_port()
    environment = {**os.environ, **settings, "YIPAN_HOME": str(home), "YIPAN_WEB__PORT": str(port)}
    environment |= {"YIPAN_OUTBOUND__ALLOW": '["127.0.0.0/8"]', "YIPAN_FIRST_SECRETS": str(home / "first.json")}
    environment.setdefault("YIPAN_VAULT__KEY_FILE", str(home / "keys" / "master.key"))
    place = Town(home, port, environment)
    try:
        _start_twins(place, twins)
        place.start_hub()
        place.wait_until_healthy()
        yield place
    finally:
        _end(place)


def _start_twins(place: Town, twins: Mapping[str, str]) -> None:
    command = [sys.executable, "-P", "-m", "sandbox.serve"]
    place.twin_process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert place.twin_process.stdin and place.twin_process.stdout
    wanted = [{"name": name, "module": module} for name, module in twins.items()]
    place.twin_process.stdin.write(json.dumps(wanted) + "\n")
    place.twin_process.stdin.flush()
    place.twins = json.loads(place.twin_process.stdout.readline())


def _end(place: Town) -> None:
    if place.hub and place.hub.poll() is None:
        place.hub.send_signal(signal.SIGTERM)
        try:
            place.hub.wait(15)
        except subprocess.TimeoutExpired:
            place.hub.kill()
            place.hub.wait()
    if place.twin_process:
        assert place.twin_process.stdin and place.twin_process.stdout
        place.twin_process.stdin.close()
        place.twin_process.wait(10)
        place.twin_process.stdout.close()
    place.session.close()
    for end in place.leash:
        os.close(end)


def _free_port() -> int:
    """A free port below the range the system hands out by itself, so that a restart finds it free.

    Any of them: another demo on this machine must not find the one that is free because our web process was killed.
    """
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise Stopped(f"no free port between {PORTS[0]} and {PORTS[-1]}")
