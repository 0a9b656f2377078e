"""A transaction that waits for its time keeps no other from having its own."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any, cast

from core.store.store import Transaction

MONDAY, TUESDAY = datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 1, 6, tzinfo=UTC)


def transaction(clock: Any) -> Transaction:
    return Transaction(cast(Any, None), cast(Any, None), cast(Any, None), clock)


def test_one_that_waits_for_the_ledger_does_not_stop_the_one_that_has_it() -> None:
    asked, given = threading.Event(), threading.Event()

    def waits() -> datetime:
        asked.set()
        assert given.wait(5)
        return MONDAY

    waiting, has_it = transaction(waits), transaction(lambda: TUESDAY)
    thread = threading.Thread(target=lambda: waiting.now, daemon=True)
    thread.start()
    assert asked.wait(5)
    other = threading.Thread(target=lambda: (has_it.now, given.set()), daemon=True)
    other.start()
    other.join(2)
    assert given.is_set()
    thread.join(5)
    assert (waiting.now, has_it.now) == (MONDAY, TUESDAY)


def test_its_time_stays_what_it_was() -> None:
    times = iter((MONDAY, TUESDAY))
    one = transaction(lambda: next(times))
    assert (one.now, one.now) == (MONDAY, MONDAY)
