"""How a warehouse names itself, and the goods of the owners it keeps."""

from __future__ import annotations

from sqlalchemy import and_, select

from core.store import tables as t
from core.store.cells import moved
from core.store.store import Transaction


def linked_warehouse(tx: Transaction, connection_id: int, ref: str) -> int | None:
    """Our id of the warehouse this connection calls so; None when nobody linked it."""
    li = t.links.c
    mine = (li.connection_id == connection_id) & (li.kind == "warehouse") & (li.ref == ref)
    row = tx.row(select(li.ours).where(mine))
    return int(row["ours"]) if row else None


def owned(tx: Transaction, warehouse_id: int, keeper: str, sku: str, kits: bool = False) -> tuple[int, int] | None:
    """(owner, item) of a SKU under a keeper code; without a code only when one owner alone has it there.

    It is the item's own owner's, else whose units of it title passed to. kits: virtual kits too, which have no stock
    of their own.
    """
    k, i, ce = t.keepers.c, t.items.c, t.cells.c
    known = [k.warehouse_id == warehouse_id, i.sku == sku, *([] if kits else [i.is_kit.is_(False)])]
    known += [k.code == keeper] if keeper else []
    its = select(k.owner_id, i.id).join(t.items, i.owner_id == k.owner_id).where(*known)
    bought = select(k.owner_id, i.id).join(t.cells, and_(ce.owner_id == k.owner_id, ce.warehouse_id == k.warehouse_id))
    bought = bought.join(t.items, i.id == ce.item_id).where(*known, moved()).distinct()
    found = tx.rows(its.limit(2)) or tx.rows(bought.limit(2))
    return (found[0]["owner_id"], found[0]["id"]) if len(found) == 1 else None
