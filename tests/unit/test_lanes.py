"""Loops of a worker: woken by hints, by their own sweep when none comes, and not ended by a fault."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from core.store import tables as t
from hub.wiring import Hub, Options
from tests.worlds import store
from workers.lanes import Loop, Worker

LONG_S = 3600.0


class Work:
    """Rounds that are counted; `left` says how many still find something to do."""

    def __init__(self, left: int = 0) -> None:
        self.rounds, self.left = 0, left
        self.done = threading.Semaphore(0)

    def __call__(self) -> int:
        """One round."""
        self.rounds += 1
        found, self.left = min(1, self.left), max(0, self.left - 1)
        self.done.release()
        return found


def begun(work: Work, sweep_s: float = LONG_S) -> Loop:
    """A running loop."""
    loop = Loop("test", work, sweep_s)
    loop.start()
    return loop


def test_woken_loop_works_at_once_and_until_nothing_is_left() -> None:
    work = Work(left=3)
    loop = begun(work)
    loop.wake()
    assert all(work.done.acquire(timeout=10) for _ in range(4))
    loop.stop()
    assert work.rounds == 4


def test_loop_nobody_wakes_sweeps_by_itself() -> None:
    work = Work()
    loop = begun(work, sweep_s=0.01)
    assert all(work.done.acquire(timeout=10) for _ in range(3))
    loop.stop()


def test_wake_that_comes_while_a_round_runs_is_not_lost() -> None:
    held, running = threading.Event(), threading.Event()
    work = Work()

    def slow() -> int:
        running.set()
        held.wait(10)
        return work()

    loop = Loop("test", slow, LONG_S)
    loop.start()
    loop.wake()
    assert running.wait(10)
    loop.wake()
    held.set()
    assert all(work.done.acquire(timeout=10) for _ in range(2))
    loop.stop()


def test_fault_ends_the_round_and_not_the_loop() -> None:
    work = Work()
    broken = [RuntimeError("the database is away"), ValueError("a bug")]

    def stumbles() -> int:
        if broken:
            raise broken.pop()
        return work()

    loop = Loop("test", stumbles, 0.01)
    loop.start()
    assert work.done.acquire(timeout=10)
    loop.stop()


def test_stopped_loop_finishes_what_is_in_hand() -> None:
    work = Work(left=1)
    loop = begun(work)
    loop.wake()
    assert work.done.acquire(timeout=10)
    loop.stop()
    assert not loop._thread.is_alive()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub with nothing to do."""
    with store(tmp_path) as it:
        yield Hub(it, Options(threads=2))


def test_worker_serves_only_its_lanes_and_passes_over_strange_hints(hub: Hub) -> None:
    worker = Worker(hub, ("stock", "slow"), LONG_S)
    worker.start()
    worker.wake({"orders", "no-such-lane", "stock"})
    assert sorted(worker.loops) == ["slow", "stock"]
    worker.stop()


def test_documents_are_understood_by_one_loop_though_three_lanes_bring_them(hub: Hub) -> None:
    worker = Worker(hub, ("orders", "fulfilment", "tracking"), LONG_S)
    inboxes = {id(loop) for loops in worker.loops.values() for loop in loops if loop.name == "inbox"}
    assert len(inboxes) == 1
    worker.start()
    worker.stop()


def test_work_is_done_by_the_sweep_when_no_hint_ever_comes(hub: Hub) -> None:
    hub.store.write(lambda tx: tx.add(t.marks, [{"id": tx.ids.new(), "item_id": None, "listing_id": None}]))
    worker = Worker(hub, ("stock",), 0.02)
    gone = threading.Event()

    def marks() -> int:
        with hub.store.read() as tx:
            left = len(tx.rows(select(t.marks.c.id)))
        if not left:
            gone.set()
        return 0

    looks = Loop("looks", marks, 0.02)
    looks.start()
    worker.start()
    assert gone.wait(10)
    worker.stop()
    looks.stop()
