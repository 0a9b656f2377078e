"""Cells with names and figures: as they stand, or rebuilt from the journal as they were at any moment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, FromClause, case, cast, func, or_, select

from core.errors import Unfit
from core.store import tables as t
from core.store.database import Id
from core.store.ledger import KEPT
from core.store.scope import Scope
from core.store.store import Transaction

Row = Mapping[str, Any]


def balances(tx: Transaction, scope: Scope, *where: ColumnElement[bool], limit: int | None = None) -> list[Row]:
    """Cells as they stand, by id: names, accounts, on hand and available units."""
    return _cells(tx, scope, t.cells, where, limit)


def balances_at(
    tx: Transaction, scope: Scope, at: datetime, *where: ColumnElement[bool], limit: int | None = None
) -> list[Row]:
    """Cells as they were when all that was recorded up to `at` was booked, by id; those without units are left out."""
    return _cells(tx, scope, _booked(at), where, limit)


def moved() -> ColumnElement[bool]:
    """Whether units were ever booked on a cell: its owner has, or has had, goods of the item."""
    return select(t.entries.c.n).where(t.entries.c.cell_id == t.cells.c.id).exists()


def had_by(owner_id: int) -> ColumnElement[bool]:
    """Whether an owner has, or has had, units of an item: title may have passed to it of somebody else's items."""
    ce = t.cells.c
    return select(ce.id).where(ce.item_id == t.items.c.id, ce.owner_id == owner_id, moved()).exists()


def aware(text: str) -> datetime:
    """A moment as ISO 8601 says it. Raises Unfit for what is none, or leaves open where on earth it is that time."""
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise Unfit(f"{text!r} is no ISO 8601 time: write it like 2026-01-05T08:00:00Z") from None
    if at.tzinfo is None:
        raise Unfit(f"{text!r} does not say its time zone: write it like 2026-01-05T08:00:00Z")
    return at


def _booked(at: datetime) -> FromClause:
    """Per cell, what its journal says of each account up to then."""
    e, j = t.entries.c, t.journals.c
    sums = {a: func.sum(case((e.account == a, e.quantity), else_=0)) for a in KEPT}
    query = select(e.cell_id.label("id"), *(cast(n, Id).label(a) for a, n in sums.items()))
    query = query.join(t.journals, j.id == e.journal_id).where(j.recorded_at <= at)
    return query.group_by(e.cell_id).having(or_(*(n != 0 for n in sums.values()))).subquery()


def _cells(
    tx: Transaction, scope: Scope, accounts: FromClause, where: tuple[ColumnElement[bool], ...], limit: int | None
) -> list[Row]:
    c, w, i, m = t.cells.c, t.warehouses.c, t.items.c, t.merchants.c
    names = (m.code.label("owner"), i.sku, i.name, i.unit, w.code.label("warehouse"))
    query = (
        select(c.id, *names, c.condition, *(accounts.c[a] for a in KEPT))
        .join(t.items, i.id == c.item_id)
        .join(t.warehouses, w.id == c.warehouse_id)
        .join(t.merchants, m.id == c.owner_id)
        .where(scope.sees(c.owner_id), *where)
        .order_by(c.id)
        .limit(limit)
    )
    if accounts is not t.cells:
        query = query.join(accounts, accounts.c.id == c.id)
    return [_with_figures(row) for row in tx.rows(query)]


def _with_figures(row: Row) -> Row:
    on_hand = row["free"] + row["reserved"] + row["held"] + row["suspense"]
    available = max(0, row["free"] + min(0, row["suspense"])) if row["condition"] == "ZP" else 0
    return {**row, "on_hand": on_hand, "available": available}
