"""How a warehouse names itself, and the goods of the owners it keeps."""

from __future__ import annotations

from sqlalchemy import select

from core.store import tables as t
from core.store.store import Transaction


def linked_warehouse(tx: Transaction, connection_id: int, ref: str) -> int | None:
    """Our id of the warehouse this connection calls so; None when nobody linked it."""
    li = t.links.c
    mine = (li.connection_id == connection_id) & (li.kind == "warehouse") & (li.ref == ref)
    row = tx.row(select(li.ours).where(mine))
    return int(row["ours"]) if row else None


def owned(tx: Transaction, warehouse_id: int, keeper: str, sku: str, kits: bool = False) -> tuple[int, int] | None:
    """(owner, item) of a SKU under a keeper code; without a code only when one owner alone has it there.

    kits: virtual kits too, which have no stock of their own.
    """
    k, i = t.keepers.c, t.items.c
    query = (
        select(k.owner_id, i.id)
        .join(t.items, i.owner_id == k.owner_id)
        .where(k.warehouse_id == warehouse_id, i.sku == sku)
    )
    if not kits:
        query = query.where(i.is_kit.is_(False))
    if keeper:
        query = query.where(k.code == keeper)
    found = tx.rows(query.limit(2))
    return (found[0]["owner_id"], found[0]["id"]) if len(found) == 1 else None
