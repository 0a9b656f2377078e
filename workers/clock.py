"""The clock: leases that ran out, hints for what is due, the daily audit. A tick does no harm when it comes twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

import structlog

from core.flow import audit_ledger, channel_policy, hold_expiring, lock_stock, make_contract, measure_lag, reserve_stock
from core.store import inbox, outbox
from core.store.store import Store
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
        self._audited: str | None = None
        self.stopped = False

    def run(self) -> None:
        """Tick, sleep, tick; a fault ends the tick, not the clock."""
        while not self.stopped:
            try:
                self.tick()
            except Exception:
                log.exception("tick_failed")
            time.sleep(TICK_S)

    def tick(self) -> None:
        """One tick."""
        with self._store.read() as tx:
            expired, kept_long_enough = outbox.any_expired(tx), reserve_stock.any_expired(tx)
            due = {lane for lane in LANES if outbox.any_due(tx, lane)} | inbox.due_lanes(tx)
            turns = [flow.turn for flow in (lock_stock, make_contract, channel_policy) if flow.any_due(tx)]
            near_expiry = self._ticks % EXPIRY_TICKS == 0 and hold_expiring.any_due(tx)
            now = tx.now
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
        self._audit_daily(now)

    def _audit_daily(self, now: datetime) -> None:
        day = now.strftime("%Y-%m-%d")
        if self._audited is None:
            self._audited = day
        if day != self._audited:
            self._audited = day
            self._store.write(measure_lag.forget)
            with self._store.read() as tx:
                breaches = audit_ledger.audit(tx)
            for breach in breaches:
                log.error("audit_breach", breach=breach)
            self._store.write(lambda tx: audit_ledger.post(tx, day, breaches))
