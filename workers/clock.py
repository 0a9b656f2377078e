"""The clock: leases that ran out, hints for what is due, days that are over. A tick that comes twice does no harm."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from core.flow import channel_policy, hold_expiring, lock_stock, make_contract, reserve_stock
from core.store import inbox, outbox
from core.store.store import Store
from workers.days import Days
from workers.hints import LANES

log = structlog.get_logger("clock")
TICK_S = 0.5
BEAT_TICKS = 4
EXPIRY_TICKS = 20


class Clock:
    """Ticks until stopped; patience multiplies settle times as everywhere."""

    def __init__(self, store: Store, wake: Callable[[set[str]], None], patience: float = 1.0) -> None:
        self._store, self._wake, self._patience = store, wake, patience
        self._ticks = 0
        self._days = Days(store)
        self.stopped = False

    def run(self) -> None:
        """Tick, sleep, tick; a fault ends the tick, not the clock."""
        self._days.start()
        while not self.stopped:
            try:
                self.tick()
            except Exception:
                log.exception("tick_failed")
            time.sleep(TICK_S)
        self._days.stop()

    def tick(self) -> None:
        """One tick."""
        with self._store.read() as tx:
            expired, kept_long_enough = outbox.any_expired(tx), reserve_stock.any_expired(tx)
            due = {lane for lane in LANES if outbox.any_due(tx, lane)} | inbox.due_lanes(tx)
            turns = [flow.turn for flow in (lock_stock, make_contract, channel_policy) if flow.any_due(tx)]
            near_expiry = self._ticks % EXPIRY_TICKS == 0 and hold_expiring.any_due(tx)
        if expired:
            self._store.write(lambda tx: outbox.expire(tx, self._patience))
        if kept_long_enough:
            self._store.write(reserve_stock.expire, ledger=True)
        for turn in turns:
            self._store.write(turn, ledger=True)
        if near_expiry:
            self._store.write(hold_expiring.hold, ledger=True)
        if due:
            self._wake(due)
        if self._ticks % BEAT_TICKS == 0:
            self._store.beat()
        self._ticks += 1
