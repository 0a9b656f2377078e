"""`yipan up`: web, workers and clock as children, restarted when they die, gone when this process goes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

from config.settings import Settings
from hub.onboard.first import first_start
from workers import leash
from workers.wire import open_store

CHILDREN = {
    "web": ("web",),
    "worker": ("worker",),
    "clock": ("clock",),
}
"""Name → the command's arguments."""
APART = {
    "worker": ("worker", "--lanes", "orders,fulfilment,tracking,slow"),
    "publisher": ("worker", "--lanes", "stock"),
}
"""On a database that several processes write at once, shops are told their levels while others take orders."""
SHORT_LIFE_S = 3.0
PAUSE_MAX_S = 5.0
FAREWELL_S = 8.0


def commands(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The children of this installation, each with its command's arguments."""
    return CHILDREN | APART if settings.database.startswith("postgresql") else CHILDREN


@dataclass
class Child:
    """One child process, and how quickly it may be started again."""

    name: str
    process: subprocess.Popen[bytes]
    started: float
    due: float = 0.0
    pause_s: float = 0.1


class Supervisor:
    """Starts the children, watches them, ends them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._commands = commands(settings)
        self._reading, self._writing = leash.make()
        self._stopped = threading.Event()
        self._children: list[Child] = []

    def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopped.set())
        shutil.rmtree(self._settings.data / "hints", ignore_errors=True)
        self._children = [Child(name, self._start(name), time.monotonic()) for name in self._commands]
        self._write_down()
        while not self._stopped.wait(0.1):
            for child in self._children:
                self._look_after(child)
        self._end()

    def _look_after(self, child: Child) -> None:
        """Start a dead child again; one that dies young waits a little longer each time."""
        now = time.monotonic()
        if child.process.poll() is None:
            return
        if not child.due:
            child.pause_s = min(PAUSE_MAX_S, child.pause_s * 2) if now - child.started < SHORT_LIFE_S else 0.1
            child.due = now + child.pause_s
        if now >= child.due:
            child.process, child.started, child.due = self._start(child.name), now, 0.0
            self._write_down()

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, leash.VARIABLE: str(self._reading)}
        command = [sys.executable, "-P", "-m", "workers", *self._commands[name]]
        return subprocess.Popen(command, env=environment, pass_fds=(self._reading,), stdin=subprocess.DEVNULL)

    def _write_down(self) -> None:
        """The children's process ids, for whoever looks after this machine; never to be read half written."""
        pids = "".join(f"{child.name} {child.process.pid}\n" for child in self._children)
        path = self._settings.data / "children"
        fresh = path.with_suffix(".new")
        fresh.write_text(f"up {os.getpid()}\n{pids}")
        fresh.replace(path)

    def _end(self) -> None:
        for child in self._children:
            child.process.terminate()
        deadline = time.monotonic() + FAREWELL_S
        for child in self._children:
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
        os.close(self._writing)


def open_hub(settings: Settings) -> tuple[str, str] | None:
    """Bring the database up to date; the first time, the administrator's password and the operator's key."""
    store = open_store(settings, "up")
    try:
        return store.write(first_start)
    finally:
        store.close()
