"""Orders: listed newest first, found by any number at hand, and told as a timeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, or_, select

from core.errors import Unmatched
from core.store import tables as t
from core.store.scope import Scope
from core.store.store import Transaction, many
from web.reads.shape import PAGE, all_shown, number, paged, shown

o = t.orders.c
Row = Mapping[str, Any]


def orders(
    tx: Transaction, scope: Scope, search: str = "", state: str = "", before: str = "", limit: int = PAGE
) -> dict[str, Any]:
    """A page of orders, newest first. search: an order's ref, a waybill, a fulfilment's ref, a SKU."""
    query = _mine(scope).order_by(o.id.desc()).limit(limit + 1)
    if search.strip():
        query = query.where(_matches(search.strip()))
    if state:
        query = query.where(o.state == state)
    if before:
        query = query.where(o.id < number(before))
    return paged(tx, tx.rows(query), limit)


def order(tx: Transaction, scope: Scope, ident: str) -> dict[str, Any]:
    """One order with everything that belongs to it. Raises Unmatched, whether it is another's or not there."""
    row = tx.row(_mine(scope).where(o.id == number(ident)))
    if row is None:
        raise Unmatched("order", ident, f"there is no order {ident}")
    fulfilments = many(tx, t.fulfilments, "order_id", [row["id"]])
    parcels = many(tx, t.parcels, "order_id", [row["id"]])
    return {
        **shown(row),
        "lines": all_shown(_ordered(many(tx, t.order_lines, "order_id", [row["id"]]))),
        "claims": all_shown(_claims(tx, row["id"])),
        "fulfilments": _fulfilments(tx, fulfilments),
        "parcels": _parcels(tx, parcels),
        "documents": _documents(tx, row),
        "intents": _intents(tx, row["id"], [f["id"] for f in fulfilments]),
        "events": all_shown(_events(tx, row["id"], fulfilments, parcels)),
        "as_of": tx.now.isoformat(),
    }


def _mine(scope: Scope) -> Select[Any]:
    shop = t.connections.c
    columns = [c for c in t.orders.c if c.name != "party_id"]
    return (
        select(*columns, shop.code.label("shop"), shop.connector)
        .join(t.connections, shop.id == o.connection_id)
        .where(scope.sees(o.merchant_id))
    )


def _matches(search: str) -> Any:
    f, p, li = t.fulfilments.c, t.parcels.c, t.order_lines.c
    by_fulfilment = select(f.order_id).where(or_(f.ref == search, f.waybill == search, f.wms_ref == search))
    by_parcel = select(p.order_id).where(p.waybill == search)
    by_sku = select(li.order_id).where(li.sku == search)
    return or_(
        o.ref.startswith(search, autoescape=True), o.id.in_(by_fulfilment), o.id.in_(by_parcel), o.id.in_(by_sku)
    )


def _claims(tx: Transaction, order_id: int) -> list[Row]:
    c, cell, w, i = t.claims.c, t.cells.c, t.warehouses.c, t.items.c
    names = ("id", "kind", "line_id", "asked", "backed", "shipped", "soft", "open", "fulfilment_id")
    query = (
        select(*(c[n] for n in names), w.code.label("warehouse"), i.sku, cell.condition)
        .join(t.cells, cell.id == c.cell_id)
        .join(t.warehouses, w.id == cell.warehouse_id)
        .join(t.items, i.id == cell.item_id)
    )
    return tx.rows(query.where(c.order_id == order_id).order_by(c.id))


def _fulfilments(tx: Transaction, fulfilments: list[Row]) -> list[dict[str, Any]]:
    lines = many(tx, t.fulfilment_lines, "fulfilment_id", [f["id"] for f in fulfilments])
    codes = {w["id"]: w["code"] for w in many(tx, t.warehouses, "id", [f["warehouse_id"] for f in fulfilments])}
    return [
        {
            **shown(f),
            "warehouse": codes[f["warehouse_id"]],
            "lines": all_shown(line for line in lines if line["fulfilment_id"] == f["id"]),
        }
        for f in _ordered(fulfilments)
    ]


def _parcels(tx: Transaction, parcels: list[Row]) -> list[dict[str, Any]]:
    facts = many(tx, t.tracking_facts, "parcel_id", [p["id"] for p in parcels])
    return [
        {
            **shown(p),
            "facts": all_shown(sorted((f for f in facts if f["parcel_id"] == p["id"]), key=lambda f: f["happened_at"])),
        }
        for p in _ordered(parcels)
    ]


def _documents(tx: Transaction, row: Row) -> list[dict[str, Any]]:
    i = t.inbox.c
    names = ("id", "kind", "ref", "version", "state", "problem", "reason", "fix", "received_at", "settled_at")
    query = select(*(i[n] for n in names)).where(
        i.connection_id == row["connection_id"], i.kind == "order", i.ref == row["ref"]
    )
    return all_shown(tx.rows(query.order_by(i.id)))


def _intents(tx: Transaction, order_id: int, fulfilments: list[int]) -> list[dict[str, Any]]:
    x, c = t.outbox.c, t.connections.c
    keys = [f"order:{order_id}", *(f"fulfilment:{f}" for f in fulfilments)]
    names = (
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
    query = select(*(x[n] for n in names), c.code.label("connection")).join(t.connections, c.id == x.connection_id)
    return all_shown(tx.rows(query.where(x.key.in_(keys)).order_by(x.id)))


def _events(tx: Transaction, order_id: int, fulfilments: list[Row], parcels: list[Row]) -> list[Row]:
    subjects = [
        f"order:{order_id}",
        *(f"fulfilment:{f['id']}" for f in fulfilments),
        *(f"parcel:{p['id']}" for p in parcels),
    ]
    e = t.events.c
    query = select(e.id, e.type, e.subject, e.time, e.payload).where(e.subject.in_(subjects))
    return [{**row, "payload": shown(row["payload"])} for row in tx.rows(query.order_by(e.time, e.id))]


def _ordered(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row["id"])
