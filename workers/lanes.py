"""What a worker does: one loop a kind of work, woken by hints, and by its own sweep when none comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from core.flow import publish_stock
from core.flow.board import Board
from hub import inward, outward, polling, reconcile
from hub.wiring import Hub

log = structlog.get_logger("lanes")
LINGER_S = 0.03
QUIET_S = 15.0
READ_BACK_S = 0.5
RECONCILE_S = 3600.0
ROUNDS = {"stock": 2}
"""Of lanes with more than one: levels are computed or booked in one while shops answer in the other."""


class Loop:
    """Runs `work` when woken and every `sweep_s`; again at once while it finds something to do.

    hinted: whether a hint on its lane wakes it.
    """

    def __init__(self, name: str, work: Callable[[], int], sweep_s: float, hinted: bool = True) -> None:
        self.name, self._work, self._sweep_s, self.hinted = name, work, sweep_s, hinted
        self._woken = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """There may be work."""
        self._woken.set()

    def stop(self) -> None:
        """Finish what is in hand, then end."""
        self._stopped = True
        self._woken.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped:
            self._woken.wait(self._sweep_s)
            self._woken.clear()
            while not self._stopped and self._once():
                time.sleep(LINGER_S)

    def _once(self) -> int:
        """One round. A fault of the database or a bug ends the round, not the worker."""
        try:
            return self._work()
        except Exception:
            log.exception("round_failed", loop=self.name)
            time.sleep(self._sweep_s)
            return 0


class Worker:
    """The loops of one process for some lanes."""

    def __init__(self, hub: Hub, lanes: Sequence[str], sweep_s: float = 1.0) -> None:
        self._pool = ThreadPoolExecutor(hub.options.threads, thread_name_prefix="call")
        self._lanes = tuple(lanes)
        self.loops: dict[str, list[Loop]] = {
            lane: [self._drain(hub, lane, sweep_s) for _ in range(ROUNDS.get(lane, 1))] for lane in lanes
        }
        hears = Loop("inbox", lambda: inward.settle(hub), sweep_s)
        for lane in {"orders", "fulfilment", "tracking"} & set(lanes):
            self.loops[lane].append(hears)
        if "stock" in lanes:
            board = Board()
            self.loops["stock"].insert(0, Loop("marks", lambda: _take_marks(hub, board), sweep_s))
            self.loops["stock"].append(Loop("read-back", lambda: 0 * polling.settle_doubts(hub, QUIET_S), READ_BACK_S))
            every_s = RECONCILE_S * hub.options.patience
            self.loops["stock"].append(Loop("reconcile", lambda: 0 * reconcile.mend(hub), every_s, hinted=False))
        if "orders" in lanes:
            self.loops["orders"].append(Loop("poll", lambda: 0 * polling.poll_due(hub, self._pool), min(sweep_s, 0.25)))

    def start(self) -> None:
        """Begin all loops."""
        for loop in self._all():
            loop.start()

    def wake(self, lanes: set[str]) -> None:
        """These lanes may have work; those this worker does not serve are passed over."""
        for lane in lanes & set(self._lanes):
            for loop in self.loops[lane]:
                if loop.hinted:
                    loop.wake()

    def stop(self) -> None:
        """Finish what is in hand, then end."""
        for loop in self._all():
            loop.stop()
        self._pool.shutdown()

    def _all(self) -> list[Loop]:
        return list(dict.fromkeys(loop for loops in self.loops.values() for loop in loops))

    def _drain(self, hub: Hub, lane: str, sweep_s: float) -> Loop:
        return Loop(lane, lambda: outward.drain(hub, lane, self._pool), sweep_s)


def _take_marks(hub: Hub, board: Board) -> int:
    with hub.store.read() as tx:
        if not publish_stock.any_marks(tx):
            return 0
    return hub.store.write(lambda tx: publish_stock.take_marks(tx, hub.options.stop, board))
