"""What lies where, and what of it may still be promised."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import case, func, or_, select

from core.flow import explain
from core.store import cells
from core.store import tables as t
from core.store.ledger import KEPT
from core.store.scope import Scope
from core.store.store import Transaction
from web.reads import lots
from web.reads.shape import PAGE, number, paged, shown_whole

c = t.cells.c


def stock(
    tx: Transaction,
    scope: Scope,
    search: str = "",
    warehouse: str = "",
    after: str = "",
    limit: int = PAGE,
    at: datetime | None = None,
) -> dict[str, Any]:
    """A page of cells by id. search: a SKU's beginning, or part of an item's name; at: as they were then."""
    w, i, where = t.warehouses.c, t.items.c, []
    if search.strip():
        said = search.strip()
        where.append(or_(i.sku.startswith(said, autoescape=True), i.name.contains(said, autoescape=True)))
    if warehouse:
        where.append(w.code == warehouse)
    if after:
        where.append(c.id > number(after))
    if at is None:
        return paged(tx, cells.balances(tx, scope, *where, limit=limit + 1), limit)
    then = cells.balances_at(tx, scope, at, *where, limit=limit + 1)
    return {**paged(tx, then, limit), "as_of": at.isoformat()}


def explain_stock(
    tx: Transaction, scope: Scope, sku: str, owner: str = "", warehouse: str = "", limit: int = explain.NEWEST
) -> dict[str, Any]:
    """Why an item's cells are what they are. Raises Unmatched, Refused when it is not clear which item is meant."""
    item, where = explain.find_item(tx, scope, sku, owner), explain.find_warehouse(tx, warehouse)
    kept = {"lots": lots.of_item(tx, scope, item, where), "holds": lots.open_holds(tx, scope, item, where)}
    return {**shown_whole(explain.explain_stock(tx, scope, item, where, limit)), **kept, "as_of": tx.now.isoformat()}


def drift(tx: Transaction, scope: Scope, limit: int = PAGE) -> dict[str, Any]:
    """Where another's newest figure lies outside what the ledger allows: theirs, our interval, how far off."""
    k, i, w, x = t.comparisons.c, t.items.c, t.warehouses.c, t.connections.c
    newest = select(func.max(k.id)).group_by(k.connection_id, k.warehouse_id, k.keeper, k.sku, k.condition)
    whose = scope.sees(i.owner_id) if scope.merchant_id is not None else scope.sees(x.id)
    columns = (
        k.id,
        x.code.label("connection"),
        k.sku,
        k.keeper,
        k.condition,
        k.state,
        w.code.label("warehouse"),
        k.theirs,
        k.lowest,
        k.highest,
    )
    query = (
        select(*columns, k.residual, k.as_of)
        .join(t.connections, x.id == k.connection_id)
        .join(t.items, i.id == k.item_id, isouter=True)
        .join(t.warehouses, w.id == k.warehouse_id, isouter=True)
        .where(k.id.in_(newest), k.residual != 0, k.state != "booked", whose)
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
