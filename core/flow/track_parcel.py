"""What couriers say on the way: facts are added in any order, the milestone is derived."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select

from core.errors import Unmatched
from core.flow.hear import Spoken, fresh
from core.flow.tell import Happened, tell
from core.model import TrackedRow, Tracking
from core.rules.tracking import Fact, milestone
from core.store import inbox
from core.store import tables as t
from core.store.rows import chunks, insert_or_skip
from core.store.store import Transaction, many


def track_parcels(tx: Transaction, batch: Sequence[Spoken]) -> None:
    """Add tracking facts; one message may speak of several merchants' parcels. Unknown waybills park the message."""
    heard = fresh(tx, batch)
    parcels = _parcels(tx, heard)
    facts, settled = [], []
    for spoken in heard:
        rows = _rows(spoken)
        facts += [
            _fact(tx, parcels[(spoken.connection_id, r.waybill)], r)
            for r in rows
            if (spoken.connection_id, r.waybill) in parcels
        ]
        unknown = next((r.waybill for r in rows if (spoken.connection_id, r.waybill) not in parcels), "")
        if unknown:
            inbox.park(tx, spoken.inbox_id, Unmatched("waybill", unknown))
        else:
            settled.append(spoken.inbox_id)
    new = insert_or_skip(tx.conn, t.tracking_facts, facts)
    tx.tally("duplicates_absorbed", len(facts) - len(new))
    kept = set(new)
    _derive(tx, sorted({f["parcel_id"] for f in facts if f["id"] in kept}))
    inbox.settle(tx, settled)


def _rows(spoken: Spoken) -> tuple[TrackedRow, ...]:
    assert isinstance(spoken.noun, Tracking)
    return spoken.noun.rows


def _parcels(tx: Transaction, heard: Sequence[Spoken]) -> dict[tuple[int, str], Mapping[str, Any]]:
    waybills = sorted({row.waybill for s in heard for row in _rows(s)})
    found: dict[tuple[int, str], Mapping[str, Any]] = {}
    for chunk in chunks(waybills, 500):
        p = t.parcels.c
        # Locked, so that two batches that speak of one parcel derive its milestone one after the other.
        mine = select(t.parcels).where(p.waybill.in_(chunk)).order_by(p.id)
        for row in tx.rows(mine.with_for_update(key_share=True)):
            if row["courier_id"]:
                found[(row["courier_id"], row["waybill"])] = row
    return found


def _fact(tx: Transaction, parcel: Mapping[str, Any], row: TrackedRow) -> dict[str, Any]:
    return {
        "id": tx.ids.new(),
        "parcel_id": parcel["id"],
        "key": row.key,
        "code": row.code[:60],
        "milestone": row.milestone,
        "place": row.place[:200],
        "happened_at": row.happened_at,
        "recorded_at": tx.now,
    }


def _derive(tx: Transaction, parcel_ids: Sequence[int]) -> None:
    """Set each parcel's milestone from all its facts; say so where it changed."""
    f = t.tracking_facts.c
    facts: dict[int, list[Fact]] = {}
    known = select(f.parcel_id, f.happened_at, f.milestone).where(f.parcel_id.in_(parcel_ids)) if parcel_ids else None
    for parcel_id, happened_at, said in tx.conn.execute(known) if known is not None else ():
        facts.setdefault(parcel_id, []).append(Fact(happened_at, said))
    told = []
    for parcel in many(tx, t.parcels, "id", parcel_ids):
        shown = milestone(facts[parcel["id"]])
        if shown and shown.milestone != parcel["milestone"]:
            tx.set(t.parcels, parcel["id"], milestone=shown.milestone, milestone_at=shown.happened_at)
            told.append(_happened(parcel, shown))
    tell(tx, told)
    deliver(tx, sorted({h.ids["order"] for h in told if h.type == "parcel.delivered"}))


def _happened(parcel: Mapping[str, Any], shown: Fact) -> Happened:
    ids = {"parcel": parcel["id"], "order": parcel["order_id"]}
    return Happened(
        f"parcel.{shown.milestone}",
        parcel["merchant_id"],
        ids,
        f"order:{parcel['order_id']}",
        {},
        {"waybill": parcel["waybill"]},
    )


def deliver(tx: Transaction, order_ids: Sequence[int]) -> None:
    """Name the orders of which every shipped fulfilment's parcel has been delivered."""
    if order_ids:
        tx.lock_ledger()
    for order in many(tx, t.orders, "id", order_ids):
        if order["state"] == "shipped" and _all_delivered(tx, order["id"]):
            tx.set(t.orders, order["id"], state="delivered")
            ids = {"order": order["id"]}
            tell(tx, [Happened("order.delivered", order["merchant_id"], ids, f"order:{order['id']}")])


def _all_delivered(tx: Transaction, order_id: int) -> bool:
    """Whether every fulfilment that shipped has parcels, and all of them have arrived."""
    p, f = t.parcels.c, t.fulfilments.c
    parcels = tx.rows(
        select(p.fulfilment_id, p.milestone)
        .join(t.fulfilments, f.id == p.fulfilment_id)
        .where(p.order_id == order_id, f.state != "cancelled")
    )
    shipped = tx.rows(select(f.id).where(f.order_id == order_id, f.state == "shipped"))
    known = {r["fulfilment_id"] for r in parcels}
    return all(r["milestone"] == "delivered" for r in parcels) and all(r["id"] in known for r in shipped)
