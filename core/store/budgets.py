"""Call budgets: one row an account, spent before a call is made; who is over budget waits in a `due` column."""

from __future__ import annotations


from sqlalchemy import select, update

from core.store import tables as t
from core.store.database import insert_or_skip
from core.store.store import Transaction


def spend(tx: Transaction, account: str, *, per_s: float, per_day: int | None) -> bool:
    """Take one call out of an account's budget; False when this second or this day has none left for it."""
    second, day = int(tx.now.timestamp()), tx.now.strftime("%Y-%m-%d")
    insert_or_skip(tx.conn, t.budgets, [{"account": account, "second": 0, "used": 0, "day": day, "used_today": 0}])
    row = tx.row(select(t.budgets).where(t.budgets.c.account == account).with_for_update())
    assert row is not None
    used = row["used"] if row["second"] == second else 0
    today = row["used_today"] if row["day"] == day else 0
    if used >= per_s or (per_day is not None and today >= per_day):
        return False
    values = {"second": second, "used": used + 1, "day": day, "used_today": today + 1}
    tx.conn.execute(update(t.budgets).where(t.budgets.c.account == account).values(**values))
    return True
