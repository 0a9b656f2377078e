"""Call budgets: one row an account, spent before a call is made; who is over budget waits in a `due` column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import select

from core.store import tables as t
from core.store.rows import change_rows, insert_or_skip
from core.store.store import Transaction


class Ask(NamedTuple):
    """Calls that are wanted of an account, and what it allows."""

    wanted: int
    per_s: float
    per_day: int | None


def lease(tx: Transaction, asks: Mapping[str, Ask]) -> dict[str, int]:
    """Take up to what is wanted out of each account's budget for this second: account → calls, 0 when none are left.

    In a transaction of its own: accounts are rows that every process wants.
    """
    second, day = int(tx.now.timestamp()), tx.now.strftime("%Y-%m-%d")
    names, b = sorted(asks), t.budgets.c
    mine = select(t.budgets).where(b.account.in_(names)).order_by(b.account).with_for_update()
    rows = {row["account"]: row for row in tx.rows(mine)}
    if missing := [name for name in names if name not in rows]:
        nothing_yet = {"second": 0, "used": 0, "day": day, "used_today": 0}
        insert_or_skip(tx.conn, t.budgets, [{"account": name, **nothing_yet} for name in missing])
        rows = {row["account"]: row for row in tx.rows(mine)}
    given, spent = {}, []
    for name in names:
        row, ask = rows[name], asks[name]
        used = row["used"] if row["second"] == second else 0
        today = row["used_today"] if row["day"] == day else 0
        left = max(1, int(ask.per_s)) - used
        given[name] = max(0, min(ask.wanted, left, left if ask.per_day is None else ask.per_day - today))
        spent.append((name, second, used + given[name], day, today + given[name]))
    change_rows(tx.conn, t.budgets, ("account", "second", "used", "day", "used_today"), spent)
    return given
