"""Statements of days that are over: what the audit found and what the books held, kept for good."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from sqlalchemy import func, select

from core.flow import audit_ledger, measure_lag, note_oversold
from core.store import tables as t
from core.store.ledger import KEPT
from core.store.rows import insert_or_skip
from core.store.store import Transaction

MOST = 31
"""Days that get a statement at once, where no clock ran for long."""


class Statement(NamedTuple):
    """A day (UTC, YYYY-MM-DD), the breaches an audit found once it was over, and figures.

    figures: units of all cells as they stood then, and `journals`, those recorded that day.
    """

    day: str
    breaches: list[str]
    figures: dict[str, int]


def due(tx: Transaction) -> list[str]:
    """Days that are over and have no statement: all since the last that has one, the last ever where none has."""
    today = tx.now.astimezone(UTC).date()
    newest = tx.conn.execute(select(func.max(t.statements.c.day))).scalar()
    missing = (today - date.fromisoformat(newest)).days - 1 if newest else 1
    return [(today - timedelta(days=n)).isoformat() for n in range(min(missing, MOST), 0, -1)]


def draw_up(tx: Transaction, days: Sequence[str]) -> list[Statement]:
    """Audit the books as they stand, and sum them up; days without one that are over together share it."""
    breaches, units = audit_ledger.audit(tx), _units(tx)
    return [Statement(day, breaches, {**units, "journals": _journals(tx, day)}) for day in days]


def keep(tx: Transaction, statements: Sequence[Statement]) -> bool:
    """Keep them, and leave the breaches to people; False where somebody else did."""
    rows = [{**one._asdict(), "found": len(one.breaches), "made_at": tx.now} for one in statements]
    kept = insert_or_skip(tx.conn, t.statements, rows, "day")
    newest = statements[-1]
    if newest.day not in kept:
        return False
    audit_ledger.post(tx, newest.day, newest.breaches)
    measure_lag.forget(tx)
    return True


def _units(tx: Transaction) -> dict[str, int]:
    sums = {"on_hand": t.on_hand, **{account: t.cells.c[account] for account in KEPT}}
    row = tx.row(select(*(func.coalesce(func.sum(n), 0).label(name) for name, n in sums.items())))
    assert row is not None
    overcommitted, oversold = audit_ledger.overcommitted_units(tx), note_oversold.total(tx)
    totals = {name: int(row[name]) for name in sums}
    return {**totals, "ledger_overcommitted_units": overcommitted, "shop_oversold_units": oversold}


def _journals(tx: Transaction, day: str) -> int:
    j, begin = t.journals.c, datetime.combine(date.fromisoformat(day), time(), UTC)
    its = (j.recorded_at >= begin, j.recorded_at < begin + timedelta(days=1))
    return int(tx.conn.execute(select(func.count()).select_from(t.journals).where(*its)).scalar_one())
