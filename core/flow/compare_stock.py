"""What others say they have, held against the ledger. Nothing is applied here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import and_, select

from core.flow.hear import Spoken, fresh
from core.flow.link_items import packs, sold_by
from core.model import Snapshot, SnapshotRow
from core.store import inbox
from core.store import tables as t
from core.store.store import Transaction


def compare(tx: Transaction, batch: Sequence[Spoken]) -> None:
    """Keep what a snapshot shows beside what we expect; a difference is drift, shown and never booked here."""
    for spoken in fresh(tx, batch):
        assert isinstance(spoken.noun, Snapshot)
        rows = [c for row in spoken.noun.rows if (c := _compare_row(tx, spoken, spoken.noun, row))]
        tx.add(t.comparisons, rows)
        inbox.settle(tx, [spoken.inbox_id])


def _compare_row(tx: Transaction, spoken: Spoken, snapshot: Snapshot, row: SnapshotRow) -> dict[str, Any] | None:
    """One item's figures: theirs, and the interval ours may lie in while goods are on their way out or in."""
    found = _cells(tx, spoken, row)
    if not found:
        return None
    on_hand = sum(c["free"] + c["reserved"] + c["held"] + c["suspense"] for c in found)
    out = sum(c["reserved"] for c in found)
    inbound = sum(c["inbound"] for c in found)
    item = int(found[0]["item_id"])
    theirs = (row.quantity + row.locked) * packs(tx, spoken.connection_id, [item]).get(item, 1)
    lowest, highest = on_hand - out, on_hand + inbound
    return {
        "id": tx.ids.new(),
        "connection_id": spoken.connection_id,
        "item_id": found[0]["item_id"],
        "warehouse_id": found[0]["warehouse_id"] if len(found) == 1 else None,
        "theirs": theirs,
        "lowest": lowest,
        "highest": highest,
        "residual": theirs - highest if theirs > highest else min(0, theirs - lowest),
        "as_of": snapshot.as_of or tx.now,
    }


def _cells(tx: Transaction, spoken: Spoken, row: SnapshotRow) -> list[Mapping[str, Any]]:
    """The cells a snapshot row speaks of: of its warehouse where it names one, and of whom it may speak.

    A keeper code names the owner; a merchant's own system speaks of what that merchant owns or sells. [] where several
    owners' goods could be meant.
    """
    ce, i, k, w = t.cells.c, t.items.c, t.keepers.c, t.warehouses.c
    query = select(t.cells).join(t.items, i.id == ce.item_id).where(i.sku == row.sku, ce.condition == row.condition)
    if row.warehouse:
        query = query.where(ce.warehouse_id == _linked_warehouse(tx, spoken.connection_id, row.warehouse))
    if row.keeper:
        keeper = and_(k.owner_id == ce.owner_id, k.warehouse_id == ce.warehouse_id, k.code == row.keeper)
        query = query.join(t.keepers, keeper)
    if spoken.merchant_id:
        query = query.where(ce.item_id.in_([r["id"] for r in sold_by(tx, spoken.merchant_id, [row.sku])]))
    else:
        mine = select(w.id).where(w.wms_id == spoken.connection_id)
        query = query.where(ce.warehouse_id.in_(mine))
    found = tx.rows(query)
    return found if len({c["item_id"] for c in found}) == 1 else []


def _linked_warehouse(tx: Transaction, connection_id: int, ref: str) -> int:
    """Our id of the warehouse they call so; 0 when they never told us."""
    li = t.links.c
    link = tx.row(select(li.ours).where(li.connection_id == connection_id, li.kind == "warehouse", li.ref == ref))
    return int(link["ours"]) if link else 0
