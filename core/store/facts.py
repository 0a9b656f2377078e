"""What is stored about one order, kind by kind, oldest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import and_, or_, select

from core.store import pins
from core.store import tables as t
from core.store.store import Transaction, many

Row = Mapping[str, Any]
DOCUMENT = ("id", "kind", "ref", "version", "state", "problem", "reason", "fix", "received_at", "settled_at")
INTENT = (
    "id",
    "ability",
    "state",
    "attempts",
    "their_ref",
    "problem",
    "reason",
    "fix",
    "due_at",
    "created_at",
    "done_at",
)
CLAIM = ("id", "kind", "line_id", "asked", "backed", "shipped", "soft", "open", "fulfilment_id")


def claims(tx: Transaction, order_id: int) -> list[Row]:
    """Its claims, with the cells they are on."""
    c, cell, w, i = t.claims.c, t.cells.c, t.warehouses.c, t.items.c
    query = (
        select(*(c[n] for n in CLAIM), w.code.label("warehouse"), i.sku, cell.condition, pins.lot)
        .join(t.cells, cell.id == c.cell_id)
        .join(t.warehouses, w.id == cell.warehouse_id)
        .join(t.items, i.id == cell.item_id)
        .join(t.pins, t.pins.c.claim_id == c.id, isouter=True)
    )
    return tx.rows(query.where(c.order_id == order_id).order_by(c.id))


def fulfilments(tx: Transaction, order_id: int) -> list[Row]:
    """Its fulfilments, with the codes of their warehouses."""
    found = ordered(many(tx, t.fulfilments, "order_id", [order_id]))
    codes = {w["id"]: w["code"] for w in many(tx, t.warehouses, "id", [f["warehouse_id"] for f in found])}
    return [{**f, "warehouse": codes[f["warehouse_id"]]} for f in found]


def parcels(tx: Transaction, order_id: int) -> list[Row]:
    """Its parcels."""
    return ordered(many(tx, t.parcels, "order_id", [order_id]))


def tracking(tx: Transaction, parcels: Sequence[Row]) -> list[Row]:
    """What couriers reported of these parcels, as it was heard."""
    return ordered(many(tx, t.tracking_facts, "parcel_id", [p["id"] for p in parcels]))


def sent_instead(tx: Transaction, fulfilments: Sequence[Row]) -> list[Row]:
    """What left in place of what was ordered, per line of these fulfilments. id: of the fulfilment."""
    s, f, i = t.sent_instead.c, t.fulfilment_lines.c, t.items.c
    query = select(s.fulfilment_id.label("id"), s.n, f.line_id, f.sku.label("ordered"), i.sku, s.quantity)
    query = query.join(t.fulfilment_lines, and_(f.fulfilment_id == s.fulfilment_id, f.n == s.n))
    query = query.join(t.items, i.id == s.item_id)
    return tx.rows(query.where(s.fulfilment_id.in_([f["id"] for f in fulfilments])).order_by(s.fulfilment_id, s.n))


def serials(tx: Transaction, fulfilments: Sequence[Row]) -> list[Row]:
    """Serials that left with these fulfilments."""
    s, i = t.serial_facts.c, t.items.c
    query = select(s.id, s.serial, i.sku, s.recorded_at).join(t.items, i.id == s.item_id)
    return tx.rows(query.where(s.fulfilment_id.in_([f["id"] for f in fulfilments])).order_by(s.id))


def returns(tx: Transaction, order_id: int) -> list[Row]:
    """What came back of it, by return and message. id: of the return."""
    r, h, i, w = t.return_lines.c, t.returns.c, t.items.c, t.warehouses.c
    names = (h.id, h.ref, w.code.label("warehouse"), i.sku, r.condition, r.quantity, r.line_id, r.inbox_id)
    query = select(*names, h.final, h.created_at).join(t.returns, h.id == r.return_id).join(t.items, i.id == r.item_id)
    query = query.join(t.warehouses, w.id == h.warehouse_id)
    return tx.rows(query.where(r.order_id == order_id).order_by(h.id, r.n))


def documents(
    tx: Transaction,
    order: Row,
    fulfilments: Sequence[Row] = (),
    parcels: Sequence[Row] = (),
    returns: Sequence[Row] = (),
) -> list[Row]:
    """What its shop said of it; and what others said of these fulfilments, parcels and returns."""
    i, c, w = t.inbox.c, t.connections.c, t.warehouses.c
    about = [and_(i.connection_id == order["connection_id"], i.kind == "order", i.ref == order["ref"])]
    if fulfilments:
        theirs = select(w.wms_id).where(w.id.in_({f["warehouse_id"] for f in fulfilments}))
        named = i.ref.in_([f["ref"] for f in fulfilments])
        about.append(and_(i.connection_id.in_(theirs), i.kind.in_(("confirm", "progress")), named))
    if couriers := {p["courier_id"] for p in parcels if p["courier_id"]}:
        named = i.ref.in_([p["waybill"] for p in parcels])
        about.append(and_(i.connection_id.in_(couriers), i.kind == "tracking", named))
    if returns:
        about.append(i.id.in_({r["inbox_id"] for r in returns}))
    query = select(*(i[n] for n in DOCUMENT), c.code.label("connection")).join(t.connections, c.id == i.connection_id)
    return tx.rows(query.where(or_(*about)).order_by(i.id))


def intents(tx: Transaction, order_id: int, fulfilments: Sequence[Row]) -> list[Row]:
    """What others were or are to be told of it."""
    x, c = t.outbox.c, t.connections.c
    keys = [f"order:{order_id}", *(f"fulfilment:{f['id']}" for f in fulfilments)]
    query = select(*(x[n] for n in INTENT), c.code.label("connection")).join(t.connections, c.id == x.connection_id)
    return tx.rows(query.where(x.key.in_(keys)).order_by(x.id))


def events(tx: Transaction, order_id: int, fulfilments: Sequence[Row], parcels: Sequence[Row]) -> list[Row]:
    """What happened to it, to its fulfilments and to its parcels."""
    subjects = [
        f"order:{order_id}",
        *(f"fulfilment:{f['id']}" for f in fulfilments),
        *(f"parcel:{p['id']}" for p in parcels),
    ]
    e = t.events.c
    query = select(e.id, e.type, e.subject, e.time, e.payload).where(e.subject.in_(subjects))
    return tx.rows(query.order_by(e.time, e.id))


def ordered(rows: Sequence[Row]) -> list[Row]:
    """Oldest first: identifiers sort with time."""
    return sorted(rows, key=lambda row: row["id"])
