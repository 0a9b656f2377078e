"""The plain lists: merchants, warehouses, connections, items, listings, inbound goods, parcels, keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import case, or_, select

from connectors.registry import connector
from core.errors import Misconfigured
from core.rules import levels
from core.store import tables as t
from core.store.scope import Scope
from core.store.store import Transaction, many
from hub.onboard.form import find
from hub.onboard.warehouses import LIMITS
from web.reads.shape import PAGE, all_shown, page_after, shown

Row = Mapping[str, Any]


def merchants(tx: Transaction, scope: Scope) -> dict[str, Any]:
    """All merchants the scope sees."""
    m = t.merchants.c
    return _whole(tx, tx.rows(select(t.merchants).where(scope.sees(m.id)).order_by(m.code)))


def warehouses(tx: Transaction, scope: Scope) -> dict[str, Any]:
    """Warehouses with the keeper codes of the owners seen; a merchant sees those that keep its goods."""
    k, m, w = t.keepers.c, t.merchants.c, t.warehouses.c
    query = select(k.warehouse_id, k.code, m.code.label("owner")).join(t.merchants, m.id == k.owner_id)
    keepers = tx.rows(query.where(scope.sees(k.owner_id)).order_by(m.code))
    rows = select(w.id, w.code, w.name, w.region, w.carrier, w.wms_id, w.courier_id, w.created_at)
    rows = rows.add_columns(w.authority_id, *(w[name] for name in LIMITS)).order_by(w.code)
    if scope.merchant_id is not None:
        rows = rows.where(w.id.in_(sorted({row["warehouse_id"] for row in keepers})))
    shaped = [
        {**row, "keepers": [_keeper(r) for r in keepers if r["warehouse_id"] == row["id"]]} for row in tx.rows(rows)
    ]
    return _whole(tx, shaped)


def _keeper(row: Row) -> dict[str, str]:
    return {"owner": row["owner"], "code": row["code"]}


def connections(tx: Transaction, scope: Scope) -> dict[str, Any]:
    """Connections with how they fare: cursors, what waits and what is parked."""
    c = t.connections.c
    rows = tx.rows(select(t.connections).where(scope.sees(c.merchant_id)).order_by(c.code))
    return _whole(tx, [connection_card(tx, row) for row in rows])


def connection(tx: Transaction, scope: Scope, code: str) -> dict[str, Any]:
    """One connection. Raises Unmatched, whether it is another's or not there."""
    return shown(connection_card(tx, find(tx, scope, t.connections, code)))


def connection_card(tx: Transaction, row: Row) -> dict[str, Any]:
    """A connection without its secrets: which settings, which doors are valid, how its readings go."""
    d, u = t.doors.c, t.cursors.c
    hints = tx.rows(
        select(d.hint, d.created_at).where(d.connection_id == row["id"], d.revoked_at.is_(None)).order_by(d.created_at)
    )
    cursors = tx.rows(
        select(u.ability, u.read_until, u.due_at, u.failures, u.reason).where(u.connection_id == row["id"])
    )
    p, w = t.pools.c, t.warehouses.c
    pool = tx.conn.execute(
        select(w.code).join(t.pools, p.warehouse_id == w.id).where(p.connection_id == row["id"]).order_by(p.rank)
    )
    names = ("id", "code", "connector", "kind", "merchant_id", "settings", "state", "created_at")
    merchant = many(tx, t.merchants, "id", [row["merchant_id"]]) if row["merchant_id"] else []
    return {
        **{name: row[name] for name in names},
        "merchant": merchant[0]["code"] if merchant else None,
        "secrets_set": _secret_names(row["connector"]),
        "can": sorted(row["can"]),
        "warning": levels.warning(row["can"]) or None,
        "callback_tokens": all_shown(hints),
        "reading": all_shown(cursors),
        "pool": list(pool.scalars()),
    }


def _secret_names(name: str) -> list[str]:
    try:
        settings = connector(name).manifest.settings
    except Misconfigured:
        return []
    return [key for key, setting in settings.items() if setting.secret]


def items(tx: Transaction, scope: Scope, search: str = "", after: str = "", limit: int = PAGE) -> dict[str, Any]:
    """A page of items by id. search: a SKU's beginning, or part of a name."""
    i, m = t.items.c, t.merchants.c
    query = select(t.items, m.code.label("owner")).join(t.merchants, m.id == i.owner_id).where(scope.sees(i.owner_id))
    if search.strip():
        query = query.where(
            or_(i.sku.startswith(search.strip(), autoescape=True), i.name.contains(search.strip(), autoescape=True))
        )
    return page_after(tx, query, i.id, after, limit)


def listings(
    tx: Transaction, scope: Scope, connection: str = "", search: str = "", after: str = "", limit: int = PAGE
) -> dict[str, Any]:
    """A page of listings by id, with what was last told to the shop."""
    li, c, i, s = t.listings.c, t.connections.c, t.items.c, t.shelves.c
    query = (
        select(t.listings, c.code.label("connection"), i.sku.label("item"), s.told, s.told_at)
        .join(t.connections, c.id == li.connection_id)
        .join(t.items, i.id == li.item_id)
        .join(t.shelves, s.listing_id == li.id, isouter=True)
        .where(scope.sees(c.merchant_id))
    )
    if connection:
        query = query.where(c.code == connection)
    if search.strip():
        query = query.where(or_(li.ref == search.strip(), li.sku == search.strip(), i.sku == search.strip()))
    return page_after(tx, query, li.id, after, limit)


def inbound(tx: Transaction, scope: Scope, after: str = "", limit: int = PAGE) -> dict[str, Any]:
    """A page of announced goods by id, with their lines."""
    a, m, w = t.asns.c, t.merchants.c, t.warehouses.c
    query = (
        select(t.asns, m.code.label("owner"), w.code.label("warehouse"))
        .join(t.merchants, m.id == a.owner_id)
        .join(t.warehouses, w.id == a.warehouse_id)
        .where(scope.sees(a.owner_id))
    )
    page = page_after(tx, query, a.id, after, limit)
    lines = many(tx, t.asn_lines, "asn_id", [int(row["id"]) for row in page["rows"]])
    for row in page["rows"]:
        row["lines"] = all_shown(line for line in lines if line["asn_id"] == int(row["id"]))
    return page


def returns(tx: Transaction, scope: Scope, ref: str = "", after: str = "", limit: int = PAGE) -> dict[str, Any]:
    """A page of returns by id, with the lines one may see: of one's own orders, and of one's own goods."""
    r, h, w, o, i = t.return_lines.c, t.returns.c, t.warehouses.c, t.orders.c, t.items.c
    mine = or_(scope.sees(r.merchant_id), scope.sees(r.owner_id))
    query = select(t.returns, w.code.label("warehouse")).join(t.warehouses, w.id == h.warehouse_id)
    query = query.where(h.id.in_(select(r.return_id).where(mine)))
    page = page_after(tx, query.where(h.ref == ref.strip()) if ref.strip() else query, h.id, after, limit)
    names = (r.return_id, r.n, i.sku, r.condition, r.quantity)
    order = case((scope.sees(r.merchant_id), o.ref)).label("order")
    lines = select(*names, order).join(t.items, i.id == r.item_id).join(t.orders, o.id == r.order_id, isouter=True)
    found = tx.rows(lines.where(mine, r.return_id.in_([int(row["id"]) for row in page["rows"]])).order_by(r.n))
    for row in page["rows"]:
        row["lines"] = all_shown(line for line in found if line["return_id"] == int(row["id"]))
    return page


def parcels(tx: Transaction, scope: Scope, waybill: str = "", after: str = "", limit: int = PAGE) -> dict[str, Any]:
    """A page of parcels by id."""
    p, o = t.parcels.c, t.orders.c
    query = select(t.parcels, o.ref.label("order")).join(t.orders, o.id == p.order_id).where(scope.sees(p.merchant_id))
    if waybill:
        query = query.where(p.waybill == waybill.strip())
    return page_after(tx, query, p.id, after, limit)


def keys(tx: Transaction, scope: Scope) -> dict[str, Any]:
    """API keys, by their last four characters."""
    k = t.api_keys.c
    return _whole(tx, tx.rows(select(t.api_keys).where(scope.sees(k.merchant_id)).order_by(k.id)))


def _whole(tx: Transaction, rows: list[Any]) -> dict[str, Any]:
    return {"rows": all_shown(rows), "next": None, "as_of": tx.now.isoformat()}
