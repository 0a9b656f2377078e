"""What lies where, and what of it may still be promised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import case, func, or_, select

from core.store import tables as t
from core.store.ledger import KEPT
from core.store.scope import Scope
from core.store.store import Transaction
from web.reads.shape import PAGE, number, paged

c = t.cells.c


def stock(
    tx: Transaction, scope: Scope, search: str = "", warehouse: str = "", after: str = "", limit: int = PAGE
) -> dict[str, Any]:
    """A page of cells by id. search: a SKU's beginning, or part of an item's name."""
    w, i, m = t.warehouses.c, t.items.c, t.merchants.c
    query = (
        select(
            c.id,
            m.code.label("owner"),
            i.sku,
            i.name,
            i.unit,
            w.code.label("warehouse"),
            c.condition,
            *(c[a] for a in KEPT),
        )
        .join(t.items, i.id == c.item_id)
        .join(t.warehouses, w.id == c.warehouse_id)
        .join(t.merchants, m.id == c.owner_id)
        .where(scope.sees(c.owner_id))
        .order_by(c.id)
        .limit(limit + 1)
    )
    if search.strip():
        query = query.where(
            or_(i.sku.startswith(search.strip(), autoescape=True), i.name.contains(search.strip(), autoescape=True))
        )
    if warehouse:
        query = query.where(w.code == warehouse)
    if after:
        query = query.where(c.id > number(after))
    return paged(tx, [_with_figures(row) for row in tx.rows(query)], limit)


def drift(tx: Transaction, scope: Scope, limit: int = PAGE) -> dict[str, Any]:
    """Where another's newest figure lies outside what the ledger allows: theirs, our interval, how far off."""
    k, i, w, x = t.comparisons.c, t.items.c, t.warehouses.c, t.connections.c
    newest = select(func.max(k.id)).group_by(k.connection_id, k.item_id, k.warehouse_id)
    columns = (k.id, x.code.label("connection"), i.sku, w.code.label("warehouse"), k.theirs, k.lowest, k.highest)
    query = (
        select(*columns, k.residual, k.as_of)
        .join(t.connections, x.id == k.connection_id)
        .join(t.items, i.id == k.item_id)
        .join(t.warehouses, w.id == k.warehouse_id, isouter=True)
        .where(k.id.in_(newest), k.residual != 0, scope.sees(i.owner_id))
        .order_by(k.id)
    )
    return paged(tx, tx.rows(query.limit(limit + 1)), limit)


def totals(tx: Transaction, scope: Scope) -> dict[str, int]:
    """Units in each account over all good cells, and what is available of them."""
    sums = [func.coalesce(func.sum(c[a]), 0).label(a) for a in KEPT]
    row = tx.row(select(*sums).where(scope.sees(c.owner_id), c.condition == "ZP"))
    available = func.coalesce(func.sum(_promisable()), 0)
    units = tx.conn.execute(select(available).where(scope.sees(c.owner_id), c.condition == "ZP")).scalar_one()
    return {**{a: int((row or {})[a]) for a in KEPT}, "available": int(units)}


def _promisable() -> Any:
    negative = case((c.suspense < 0, c.suspense), else_=0)
    return case((c.free + negative > 0, c.free + negative), else_=0)


def _with_figures(row: Mapping[str, Any]) -> dict[str, Any]:
    on_hand = row["free"] + row["reserved"] + row["held"] + row["suspense"]
    available = max(0, row["free"] + min(0, row["suspense"])) if row["condition"] == "ZP" else 0
    return {**row, "on_hand": on_hand, "available": available}
