"""The figures of the hub: orders by state, what waits, what was absorbed, and whether the books agree."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from core.flow import note_oversold
from core.flow.audit_ledger import overcommitted_units
from core.store import tables as t
from core.store.outbox import OPEN
from core.store.scope import Scope
from core.store.store import Transaction
from web.health import INBOX_OPEN, count_by, open_rows, rows_in
from web.reads.stock import totals

DAYS = 7


def figures(tx: Transaction, scope: Scope) -> dict[str, Any]:
    """Counts over everything the scope sees; those of the hub as a whole only where the scope is."""
    o, f, p = t.orders.c, t.fulfilments.c, t.parcels.c
    mine = {
        "orders": count_by(tx, t.orders, o.state, scope.sees(o.merchant_id)),
        "fulfilments": count_by(tx, t.fulfilments, f.state, scope.sees(f.merchant_id)),
        "parcels": count_by(tx, t.parcels, p.milestone, scope.sees(p.merchant_id)),
        "stock": totals(tx, scope),
        "as_of": tx.now.isoformat(),
        "source": "ledger",
    }
    return mine if scope.merchant_id is not None else {**mine, **_of_the_hub(tx)}


def _of_the_hub(tx: Transaction) -> dict[str, Any]:
    return {
        "inbox": open_rows(tx, t.inbox, INBOX_OPEN),
        "outbox": open_rows(tx, t.outbox, OPEN),
        "marks": rows_in(tx, t.marks),
        "doubts": rows_in(tx, t.shelves, t.shelves.c.doubt.is_(True)),
        "shop_oversold_units": note_oversold.total(tx),
        "worklist": rows_in(tx, t.worklist, t.worklist.c.done_at.is_(None)),
        "tallies": {row["name"]: row["n"] for row in tx.rows(select(t.tallies))},
        "ledger_overcommitted_units": overcommitted_units(tx),
        "commits": int(tx.conn.execute(select(func.coalesce(func.sum(t.processes.c.commits), 0))).scalar_one()),
    }


def shipped_by_day(tx: Transaction, scope: Scope) -> list[tuple[datetime, int]]:
    """(day, units shipped) of the last seven days, oldest first, by UTC days."""
    f, li = t.fulfilments.c, t.fulfilment_lines.c
    first = tx.now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS - 1)
    query = select(f.shipped_at, li.shipped).join(t.fulfilments, f.id == li.fulfilment_id)
    units: dict[Any, int] = {}
    for at, shipped in tx.conn.execute(query.where(f.shipped_at >= first, scope.sees(f.merchant_id))):
        units[at.date()] = units.get(at.date(), 0) + int(shipped)
    days = [first + timedelta(days=n) for n in range(DAYS)]
    return [(day, units.get(day.date(), 0)) for day in days]
