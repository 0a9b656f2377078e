"""Orders: listed newest first, found by any number at hand, and told as a timeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, or_, select

from core.errors import Unmatched
from core.flow import explain
from core.store import facts
from core.store import tables as t
from core.store.scope import Scope
from core.store.store import Transaction, many
from web.reads.shape import PAGE, all_shown, number, paged, shown, shown_whole

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
    fulfilments, parcels = facts.fulfilments(tx, row["id"]), facts.parcels(tx, row["id"])
    returns = facts.returns(tx, row["id"])
    return {
        **shown(row),
        "counterparts": _counterparts(tx, scope, row),
        "lines": all_shown(facts.ordered(many(tx, t.order_lines, "order_id", [row["id"]]))),
        "claims": all_shown(facts.claims(tx, row["id"])),
        "fulfilments": _fulfilments(tx, fulfilments),
        "parcels": _parcels(tx, parcels),
        "returns": all_shown(returns),
        "documents": all_shown(facts.documents(tx, row, returns=returns)),
        "intents": all_shown(facts.intents(tx, row["id"], fulfilments)),
        "events": all_shown(
            {**event, "payload": shown(event["payload"])} for event in facts.events(tx, row["id"], fulfilments, parcels)
        ),
        "as_of": tx.now.isoformat(),
    }


def explain_order(tx: Transaction, scope: Scope, ident: str) -> dict[str, Any]:
    """All that happened to one order, in time order. Raises Unmatched, whether it is another's or not there."""
    return {**shown_whole(explain.explain_order(tx, scope, number(ident))), "as_of": tx.now.isoformat()}


def _mine(scope: Scope) -> Select[Any]:
    shop = t.connections.c
    columns = [c for c in t.orders.c if c.name not in ("party_id", "counterpart_of")]
    return (
        select(*columns, shop.code.label("shop"), shop.connector)
        .join(t.connections, shop.id == o.connection_id)
        .where(scope.sees(o.merchant_id))
    )


def _counterparts(tx: Transaction, scope: Scope, order: Row) -> list[dict[str, Any]]:
    """Orders of the same purchase, and which of them claims its stock; of another merchant's no more than it named."""
    of = select(o.counterpart_of).where(o.id == order["id"]).scalar_subquery()
    query = select(o.id, o.ref, o.state, t.connections.c.code.label("shop"), scope.sees(o.merchant_id).label("mine"))
    query = query.add_columns(o.counterpart_of.is_(None).label("claims")).join(
        t.connections, t.connections.c.id == o.connection_id
    )
    rows = tx.rows(query.where(or_(o.id == of, o.counterpart_of == order["id"])).order_by(o.id))
    hidden = {"id": None, "shop": None}
    return [
        {"claims": bool(row["claims"]), "state": row["state"]}
        | (shown({name: row[name] for name in ("id", "ref", "shop")}) if row["mine"] else hidden | _named(order, row))
        for row in rows
    ]


def _named(order: Row, other: Row) -> dict[str, Any]:
    return {"ref": other["ref"] if other["ref"] == order["counterpart_ref"] else None}


def _matches(search: str) -> Any:
    f, p, li = t.fulfilments.c, t.parcels.c, t.order_lines.c
    by_fulfilment = select(f.order_id).where(or_(f.ref == search, f.waybill == search, f.wms_ref == search))
    by_parcel = select(p.order_id).where(p.waybill == search)
    by_sku = select(li.order_id).where(li.sku == search)
    return or_(
        o.ref.startswith(search, autoescape=True), o.id.in_(by_fulfilment), o.id.in_(by_parcel), o.id.in_(by_sku)
    )


def _fulfilments(tx: Transaction, fulfilments: list[Row]) -> list[dict[str, Any]]:
    lines = many(tx, t.fulfilment_lines, "fulfilment_id", [f["id"] for f in fulfilments])
    instead = facts.sent_instead(tx, fulfilments)
    return [
        {
            **shown(f),
            "lines": all_shown(line for line in lines if line["fulfilment_id"] == f["id"]),
            "instead": all_shown(row for row in instead if row["id"] == f["id"]),
        }
        for f in fulfilments
    ]


def _parcels(tx: Transaction, parcels: list[Row]) -> list[dict[str, Any]]:
    heard = facts.tracking(tx, parcels)
    return [
        {
            **shown(p),
            "facts": all_shown(sorted((f for f in heard if f["parcel_id"] == p["id"]), key=lambda f: f["happened_at"])),
        }
        for p in parcels
    ]
