"""Sources of a shop's levels that were not heard from for too long: until they are, its figures may sink, not rise.

A shop's levels rest on its own orders, and on what the stock authority of each of its warehouses says. A source counts
as stale from the moment its cursor names; one that was never read is new, and one that only pushes is never stale.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import func, select

from core.store import shelves
from core.store import tables as t
from core.store.rows import any_of
from core.store.store import Transaction


def stale(tx: Transaction, connections: Iterable[int]) -> dict[int, str]:
    """Shop → which source of it is stale, `orders` or `stock`; those that are up to date are left out."""
    shops, cu = sorted(set(connections)), t.cursors.c
    late = cu.stale_at <= tx.now
    unheard = select(cu.connection_id).where(cu.ability == "fetch_orders", late)
    found = dict.fromkeys(tx.conn.execute(unheard.where(any_of(tx.conn, cu.connection_id, shops))).scalars(), "orders")
    unread = _shops_of(select(cu.connection_id).where(cu.ability == "fetch_stock", late))
    for shop in tx.conn.execute(unread.where(any_of(tx.conn, t.pools.c.connection_id, shops))).scalars():
        found.setdefault(shop, "stock")
    return found


def heard(tx: Transaction, connection_id: int, ability: str) -> None:
    """A source that was stale is up to date: what was held back is told."""
    shelves.mark_shops(tx, [connection_id] if ability == "fetch_orders" else _shops_of([connection_id]))


def _shops_of(authorities: Any) -> Any:
    """Shops that sell from warehouses whose stock authority is one of these."""
    p, w = t.pools.c, t.warehouses.c
    query = select(p.connection_id).join(t.warehouses, w.id == p.warehouse_id).distinct()
    return query.where(func.coalesce(w.authority_id, w.wms_id).in_(authorities))
