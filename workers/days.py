"""Leaves statements of days that are over, beside the clock's ticks, which no audit holds up."""

from __future__ import annotations

import threading

import structlog

from core.flow import close_day
from core.store.store import Store

log = structlog.get_logger("days")
LOOK_S, AGAIN_S = 30.0, 60.0
FAREWELL_S = 2.0


class Days:
    """Looks for days without a statement at once and every half minute; what fails is tried again a minute later."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="days", daemon=True)

    def start(self) -> None:
        """Look until stopped."""
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more; an audit under way is given up with the process, and made anew by the next one."""
        self._stopped.set()
        self._thread.join(FAREWELL_S)

    def look(self) -> float:
        """Make the statements that are due; the seconds until the next look."""
        try:
            self._close()
        except Exception:
            log.exception("statement_failed")
            return AGAIN_S
        return LOOK_S

    def _run(self) -> None:
        wait_s = 0.0
        while not self._stopped.wait(wait_s):
            wait_s = self.look()

    def _close(self) -> None:
        with self._store.read() as tx:
            days = close_day.due(tx)
        if not days:
            return
        with self._store.read() as tx:
            statements = close_day.draw_up(tx, days)
        if self._stopped.is_set() or not self._store.write(lambda tx: close_day.keep(tx, statements)):
            return
        for breach in statements[-1].breaches:
            log.error("audit_breach", day=days[-1], breach=breach)
