"""An ERP's items are linked to ours by their SKUs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import or_, select

from core.errors import Refused
from core.flow.hear import Spoken, fresh
from core.model import Catalogue
from core.store import inbox
from core.store import tables as t
from core.store.rows import insert_or_skip
from core.store.store import Transaction


def link_items(tx: Transaction, batch: Sequence[Spoken]) -> None:
    """Link an ERP's items to ours by SKU: the merchant's own, and those its listings sell."""
    for spoken in fresh(tx, batch):
        assert isinstance(spoken.noun, Catalogue)
        refs = {item.sku: item.ref for item in spoken.noun.items}
        rows = [
            {"connection_id": spoken.connection_id, "kind": "item", "ref": refs[r["sku"]], "ours": str(r["id"])}
            for r in sold_by(tx, spoken.merchant_id, list(refs))
        ]
        insert_or_skip(tx.conn, t.links, rows, returning="ref")
        inbox.settle(tx, [spoken.inbox_id])


def packs(tx: Transaction, connection_id: int, items: Iterable[int]) -> dict[int, int]:
    """Item → base units in one of what this connection counts, of those it counts in packs."""
    li = t.links.c
    ours = [str(item) for item in items]
    mine = (li.connection_id == connection_id) & (li.kind == "item") & li.ours.in_(ours)
    return {int(row["ours"]): row["pack"] for row in tx.rows(select(li.ours, li.pack).where(mine, li.pack > 1))}


def in_packs(units: int, pack: int, sku: str) -> int:
    """Base units in their packs. Raises Refused where these are not whole."""
    if units % pack:
        raise Refused(
            f"{units} units of {sku} are no whole packs of {pack}: book it there by hand, or link single units"
        )
    return units // pack


def sold_by(tx: Transaction, merchant_id: int, skus: Sequence[str]) -> list[Mapping[str, Any]]:
    i, li, c = t.items.c, t.listings.c, t.connections.c
    listed = select(li.item_id).join(t.connections, c.id == li.connection_id).where(c.merchant_id == merchant_id)
    return tx.rows(select(i.id, i.sku).where(i.sku.in_(skus), or_(i.owner_id == merchant_id, i.id.in_(listed))))
