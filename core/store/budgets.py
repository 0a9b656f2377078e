"""Call budgets: one row an account, spent before a call is made; who is over budget waits in a `due` column."""

from __future__ import annotations

from sqlalchemy import select, update

from core.store import tables as t
from core.store.database import insert_or_skip
from core.store.store import Transaction


def lease(tx: Transaction, account: str, wanted: int, *, per_s: float, per_day: int | None) -> int:
    """Take up to `wanted` calls out of an account's budget for this second; 0 when it has none left.

    In a transaction of its own: accounts are rows that every process wants.
    """
    second, day = int(tx.now.timestamp()), tx.now.strftime("%Y-%m-%d")
    insert_or_skip(tx.conn, t.budgets, [{"account": account, "second": 0, "used": 0, "day": day, "used_today": 0}])
    row = tx.row(select(t.budgets).where(t.budgets.c.account == account).with_for_update())
    assert row is not None
    used = row["used"] if row["second"] == second else 0
    today = row["used_today"] if row["day"] == day else 0
    left = max(1, int(per_s)) - used
    given = max(0, min(wanted, left, left if per_day is None else per_day - today))
    if given:
        values = {"second": second, "used": used + given, "day": day, "used_today": today + given}
        tx.conn.execute(update(t.budgets).where(t.budgets.c.account == account).values(**values))
    return given
