"""`yipan up`: children that die come back, and none outlives the supervisor, however that ends."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from config.settings import Settings
from workers import leash
from workers.hints import LANES
from workers.supervisor import APART, CHILDREN, Child, Supervisor, commands

READY_S = 60
GONE_S = 3
FAREWELL_S = 10
STRAY = ("config", "core", "hub", "web", "workers")


@dataclass
class Up:
    """A running `yipan up`, started in a folder full of modules named like ours."""

    process: subprocess.Popen[bytes]
    folder: Path

    def children(self) -> dict[str, int]:
        """Name → process id, as the supervisor wrote it down; empty before that."""
        path = self.folder / "home" / "data" / "children"
        text = path.read_text() if path.exists() else ""
        return {name: int(pid) for name, pid in (line.split() for line in text.splitlines()) if name in CHILDREN}

    def beating(self) -> set[str]:
        """Roles that have signed in and beaten since."""
        path = self.folder / "home" / "data" / "yipan.sqlite"
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as conn:
            return {role for (role,) in conn.execute("SELECT role FROM processes WHERE beat_at > started_at")}
        return set()


@contextmanager
def up(folder: Path) -> Iterator[Up]:
    """Running with all three children; whatever a test leaves over ends with it."""
    for name in STRAY:
        (folder / f"{name}.py").write_text(
            "from pathlib import Path\nPath(__file__).with_suffix('.imported').touch()\n"
        )
    environment = {**os.environ, "YIPAN_HOME": str(folder / "home"), "YIPAN_WEB__PORT": "0"}
    command = [str(Path(sys.executable).with_name("yipan")), "up"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    it = Up(process, folder)
    try:
        until(lambda: set(CHILDREN) <= it.beating(), READY_S)
        yield it
    finally:
        pids = it.children().values()
        process.kill()
        process.wait()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def until(holds: Callable[[], bool], limit_s: float) -> None:
    """Wait until it holds; what happens in other processes sends no event."""
    deadline = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {limit_s} s"
        time.sleep(0.02)


def runs(pid: int) -> bool:
    """Whether a process lives; a dead one nobody has collected yet does not."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_child_killed_comes_back_and_all_are_gone_soon_after_their_supervisor_is_killed(tmp_path: Path) -> None:
    with up(tmp_path) as it:
        first = it.children()
        os.kill(first["clock"], signal.SIGKILL)
        until(lambda: it.children()["clock"] != first["clock"], READY_S)
        second = it.children()
        assert {name for name in CHILDREN if second[name] != first[name]} == {"clock"}
        assert runs(second["clock"])
        it.process.kill()
        it.process.wait()
        until(lambda: not any(runs(pid) for pid in second.values()), GONE_S)


def test_sigterm_ends_everything_and_modules_lying_about_were_never_imported(tmp_path: Path) -> None:
    with up(tmp_path) as it:
        children = it.children()
        it.process.terminate()
        assert it.process.wait(FAREWELL_S) == 0
        assert [name for name, pid in children.items() if runs(pid)] == []
        assert list(tmp_path.glob("*.imported")) == []


def test_where_processes_write_beside_each_other_every_lane_is_served_once_and_levels_apart() -> None:
    served = [lane for name, command in APART.items() for lane in command[-1].split(",")]
    assert (sorted(served), set(APART) & set(CHILDREN)) == (sorted(LANES), {"worker"})
    assert commands(Settings(database="postgresql+psycopg://hub@db/hub")) == CHILDREN | APART
    assert commands(Settings()) == CHILDREN


class Stub(Supervisor):
    """A supervisor whose children are never really started."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        self.begun.append(name)
        return subprocess.Popen([sys.executable, "-S", "-c", "pass"])

    def _write_down(self) -> None:
        """Nowhere."""


def test_child_that_keeps_dying_young_is_started_ever_more_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("workers.supervisor.time.monotonic", lambda: now[0])
    stub = Stub()
    child = Child("clock", stub._start("clock"), now[0])
    pauses = []
    for _ in range(7):
        child.process.wait()
        stub._look_after(child)
        pauses.append(round(child.due - now[0], 3))
        now[0] = child.due
        stub._look_after(child)
    child.process.wait()
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert stub.begun == ["clock"] * 8


def test_child_that_has_lived_long_is_started_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("workers.supervisor.time.monotonic", lambda: now[0])
    stub = Stub()
    child = Child("web", stub._start("web"), now[0], pause_s=5.0)
    child.process.wait()
    now[0] += 60
    stub._look_after(child)
    assert round(child.due - now[0], 3) == 0.1


def test_process_on_a_leash_ends_with_whoever_holds_the_other_end() -> None:
    reading, writing = leash.make()
    held = "import time; from workers import leash; leash.hold(); print('held', flush=True); time.sleep(60)"
    environment = {**os.environ, leash.VARIABLE: str(reading)}
    with subprocess.Popen(
        [sys.executable, "-c", held], env=environment, pass_fds=(reading,), stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        os.close(reading)
        os.close(writing)
        assert child.wait(GONE_S) == 0


def test_process_without_a_leash_runs_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(leash.VARIABLE, raising=False)
    leash.hold()
