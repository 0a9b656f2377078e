"""Why the stock is what it is, and how an order came to be where it is: told from what is stored, changing nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, cast, func, or_, select

from core.errors import Refused, Unmatched
from core.store import cells, facts, pins
from core.store import tables as t
from core.store.causes import Cause, resolve
from core.store.claims import cause
from core.store.database import Id
from core.store.locks import KINDS
from core.store.rows import any_of
from core.store.scope import Scope
from core.store.store import Transaction, many, one

NEWEST = 20
Row = Mapping[str, Any]


def find_item(tx: Transaction, scope: Scope, sku: str, owner: str = "") -> int:
    """The id of the item with this SKU. Raises Unmatched for none, Refused when several owners have one."""
    i, c, m = t.items.c, t.cells.c, t.merchants.c
    held = select(c.item_id).where(scope.sees(c.owner_id))
    query = select(i.id, m.code).join(t.merchants, m.id == i.owner_id)
    query = query.where(i.sku == sku, or_(scope.sees(i.owner_id), i.id.in_(held))).order_by(m.code)
    found = tx.rows(query.where(m.code == owner) if owner else query)
    return _only(found, "item", sku, owner, "owner")


def find_warehouse(tx: Transaction, code: str) -> int | None:
    """The id of the warehouse with this code; None without a code. Raises Unmatched for one that is not there."""
    found = one(tx, t.warehouses, code=code) if code else None
    if code and found is None:
        raise Unmatched("warehouse", code, f"there is no warehouse {code!r}")
    return int(found["id"]) if found else None


def find_order(tx: Transaction, scope: Scope, ref: str, connection: str = "") -> int:
    """The id of the order a shop calls so. Raises Unmatched for none, Refused when several shops have one."""
    o, c = t.orders.c, t.connections.c
    query = select(o.id, c.code).join(t.connections, c.id == o.connection_id)
    query = query.where(o.ref == ref, scope.sees(o.merchant_id)).order_by(c.code)
    found = tx.rows(query.where(c.code == connection) if connection else query)
    return _only(found, "order", ref, connection, "connection")


def _only(found: Sequence[Row], what: str, ref: str, of: str, by: str) -> int:
    """The id of the one that was found. by: what tells several of them apart, of: which of those was named."""
    if not found:
        raise Unmatched(what, ref, f"there is no {what} {ref!r}{f' of {of!r}' if of else ''}")
    if len(found) > 1:
        codes = ", ".join(row["code"] for row in found)
        raise Refused(f"{ref!r} is an {what} of {codes}: name the {by}")
    return int(found[0]["id"])


def explain_stock(
    tx: Transaction, scope: Scope, item_id: int, warehouse_id: int | None = None, limit: int = NEWEST
) -> dict[str, Any]:
    """An item's cells as they stand, the open claims on them, and the newest journals that touched them.

    limit: of claims (oldest first) and of journals (newest first). `open` says how many claims there are, and for what.
    """
    c = t.cells.c
    here = [c.item_id == item_id, *([c.warehouse_id == warehouse_id] if warehouse_id else [])]
    item = one(tx, t.items, id=item_id)
    found = cells.balances(tx, scope, *here)
    ids = [cell["id"] for cell in found]
    return {
        **{name: item[name] for name in ("sku", "name", "unit") if item},
        "cells": found,
        "open": _open(tx, ids),
        "claims": _claims(tx, scope, ids, limit),
        "journals": _journals(tx, scope, _touching(tx, ids, limit), c.item_id == item_id),
    }


def _open(tx: Transaction, cell_ids: Sequence[int]) -> dict[str, int]:
    """How many open claims there are on these cells, what they still want, and what backs them."""
    c = t.claims.c
    sums = (func.count(), func.sum(c.asked - c.shipped), func.sum(c.backed))
    query = select(*(cast(func.coalesce(n, 0), Id) for n in sums))
    counts = tx.conn.execute(query.where(any_of(tx.conn, c.cell_id, cell_ids), c.open.is_(True))).one()
    return dict(zip(("claims", "asked", "backed"), counts, strict=True))


def _claims(tx: Transaction, scope: Scope, cell_ids: Sequence[int], limit: int) -> list[Row]:
    """Open claims, each with who wants the units: an order of a shop, or the reservation a caller made."""
    c, ce, w = t.claims.c, t.cells.c, t.warehouses.c
    names = (c.id, c.kind, c.ref, c.asked, c.backed, c.shipped, c.soft, c.expires_at, c.order_id)
    mine = or_(c.holder_id.is_(None), scope.sees(c.holder_id)).label("mine")
    query = select(*names, w.code.label("warehouse"), ce.condition, mine, pins.lot)
    query = query.join(t.cells, ce.id == c.cell_id).join(t.warehouses, w.id == ce.warehouse_id)
    query = query.join(t.pins, t.pins.c.claim_id == c.id, isouter=True)
    rows = tx.rows(query.where(any_of(tx.conn, c.cell_id, cell_ids), c.open.is_(True)).order_by(c.id).limit(limit))
    named = resolve(tx, scope, [cause(r) for r in rows if r["order_id"] or r["kind"] in KINDS])
    return [_claim(row, named) for row in rows]


def _claim(row: Row, named: Mapping[str, Cause]) -> Row:
    """A claim of another merchant is a number of units and no more."""
    own = Cause(row["kind"], row["ref"] if row["mine"] else None)
    who = named.get(cause(row), own)
    order_id = row["order_id"] if who.ref is not None else None
    return {**{k: v for k, v in row.items() if k != "mine"}, **who._asdict(), "order_id": order_id}


def _touching(tx: Transaction, cell_ids: Sequence[int], limit: int) -> list[int]:
    """The newest journals that touched these cells."""
    e = t.entries.c
    query = select(e.journal_id).where(any_of(tx.conn, e.cell_id, cell_ids)).distinct()
    return list(tx.conn.execute(query.order_by(e.journal_id.desc()).limit(limit)).scalars())


def _journals(tx: Transaction, scope: Scope, ids: Sequence[int], *only: ColumnElement[bool]) -> list[Row]:
    """These journals, newest first, with the entries the scope may see; others: whether there are more."""
    j = t.journals.c
    names = (j.id, j.kind, j.cause, j.happened_at, j.recorded_at)
    rows = tx.rows(select(*names).where(any_of(tx.conn, j.id, ids)).order_by(j.id.desc()))
    words, moved = resolve(tx, scope, [r["cause"] for r in rows]), _entries(tx, scope, ids, only)
    return [{**row, "cause": words[row["cause"]]._asdict(), **_seen(moved[row["id"]])} for row in rows]


def _entries(
    tx: Transaction, scope: Scope, ids: Sequence[int], only: Iterable[ColumnElement[bool]]
) -> Mapping[int, list[Row]]:
    e, ce, i, w = t.entries.c, t.cells.c, t.items.c, t.warehouses.c
    names = (e.journal_id, i.sku, w.code.label("warehouse"), ce.condition, e.account, e.quantity)
    query: Select[Any] = (
        select(*names, scope.sees(ce.owner_id).label("mine"))
        .join(t.cells, ce.id == e.cell_id)
        .join(t.items, i.id == ce.item_id)
        .join(t.warehouses, w.id == ce.warehouse_id)
        .where(any_of(tx.conn, e.journal_id, ids), *only)
        .order_by(e.journal_id, e.n)
    )
    found: dict[int, list[Row]] = defaultdict(list)
    for row in tx.rows(query):
        found[row["journal_id"]].append(row)
    return found


def _seen(entries: Sequence[Row]) -> Row:
    names = ("sku", "warehouse", "condition", "account", "quantity")
    mine = [{name: e[name] for name in names} for e in entries if e["mine"]]
    return {"entries": mine, "others": len(mine) < len(entries)}


def explain_order(tx: Transaction, scope: Scope, order_id: int) -> dict[str, Any]:
    """An order, and in time order all that happened to it: {at, what, words, detail} each.

    what: order, document, journal, claim, oversold, fulfilment, substitute, serial, parcel, return, tracking, intent
    or event. Raises Unmatched, whether it is another's or not there.
    """
    o, c = t.orders.c, t.connections.c
    names = [o[n] for n in ("id", "connection_id", "ref", "state", "status", "version", "created_at", "placed_at")]
    query = select(*names, c.code.label("shop")).join(t.connections, c.id == o.connection_id)
    order = tx.row(query.where(o.id == order_id, scope.sees(o.merchant_id)))
    if order is None:
        raise Unmatched("order", str(order_id), f"there is no order {order_id}")
    head = {name: order[name] for name in ("id", "ref", "shop", "state", "status")}
    return {**head, "happened": _happened(tx, scope, order)}


def _happened(tx: Transaction, scope: Scope, order: Row) -> list[Row]:
    """Identifiers sort with time, so they are the order; a claim bears no time and is as old as what made it."""
    said = sorted(_all(tx, scope, order), key=lambda one: one[0])
    last = order["created_at"]
    found: list[Row] = []
    for _, at, what, words, detail in said:
        last = at or last
        found.append({"at": last, "what": what, "words": words, "detail": detail})
    return found


Said = tuple[int, datetime | None, str, str, Row]
"""(id, when, what, words, detail)"""


def _all(tx: Transaction, scope: Scope, order: Row) -> list[Said]:
    ident = order["id"]
    fulfilments, parcels = facts.fulfilments(tx, ident), facts.parcels(tx, ident)
    returns, oversold = facts.returns(tx, ident), facts.ordered(many(tx, t.oversold, "order_id", [ident]))
    documents = facts.documents(tx, order, fulfilments, parcels, returns)
    causes = [
        f"order:{ident}",
        *(f"fulfilment:{f['id']}" for f in fulfilments),
        *(f"inbox:{d['id']}" for d in documents),
    ]
    return [
        (ident, order["created_at"], "order", f"taken from {order['shop']}, now {order['state']}", {}),
        *(_said(d, "received_at", "document", _document(d)) for d in documents),
        *(_said(j, "recorded_at", "journal", _journal(j)) for j in _caused(tx, scope, ident, causes)),
        *(_said(c, "", "claim", _wants(c)) for c in facts.claims(tx, ident)),
        *(_said(s, "recorded_at", "oversold", f"{s['units']} that nothing backs: {s['cause']}") for s in oversold),
        *(_said(f, "created_at", "fulfilment", _fulfilment(f)) for f in fulfilments),
        *(_said(s, "", "substitute", _instead(s)) for s in facts.sent_instead(tx, fulfilments)),
        *(_said(s, "recorded_at", "serial", f"{s['sku']} {s['serial']} left") for s in facts.serials(tx, fulfilments)),
        *(_said(p, "created_at", "parcel", f"{p['carrier']} {p['waybill']}, now {p['milestone']}") for p in parcels),
        *(_said(r, "created_at", "return", _returned(r)) for r in returns),
        *(_said(s, "recorded_at", "tracking", _tracked(s)) for s in facts.tracking(tx, parcels)),
        *(_said(i, "created_at", "intent", _intent(i)) for i in facts.intents(tx, ident, fulfilments)),
        *(_said(e, "time", "event", e["type"]) for e in facts.events(tx, ident, fulfilments, parcels)),
    ]


def _said(row: Row, when: str, what: str, words: str) -> Said:
    return row["id"], row[when] if when else None, what, words, {k: v for k, v in row.items() if k not in ("id", when)}


def _caused(tx: Transaction, scope: Scope, order_id: int, causes: Sequence[str]) -> list[Row]:
    """The journals of these causes; none of them can be older than the order."""
    j = t.journals.c
    query = select(j.id).where(j.id > order_id, any_of(tx.conn, j.cause, causes))
    return _journals(tx, scope, list(tx.conn.execute(query).scalars()))


def _document(row: Row) -> str:
    return _words(row["kind"], row["version"] and f"version {row['version']}", f"from {row['connection']}", _fate(row))


def _journal(row: Row) -> str:
    moved = [f"{e['sku']} {e['warehouse']} {e['account']} {e['quantity']:+}" for e in row["entries"]]
    others = ["units of another owner"] if row["others"] else []
    return f"{row['kind']}: {', '.join(moved + others) or 'no units'}"


def _wants(row: Row) -> str:
    over = "" if row["open"] else ", over"
    units = f"wants {row['asked']}, backed {row['backed']}, shipped {row['shipped']}"
    lot = f" lot {row['lot']}" if row["lot"] else ""
    return f"{row['sku']}{lot} {row['warehouse']}: {units}{over}"


def _fulfilment(row: Row) -> str:
    return f"{row['ref']} at {row['warehouse']}, now {row['state']}"


def _instead(row: Row) -> str:
    return f"{row['quantity']} {row['sku']} left in place of {row['ordered']}"


def _returned(row: Row) -> str:
    return f"{row['ref']}: {row['quantity']} {row['sku']} came back to {row['warehouse']} as {row['condition']}"


def _tracked(row: Row) -> str:
    return _words(row["milestone"], row["place"] and f"at {row['place']}")


def _intent(row: Row) -> str:
    return _words(row["ability"], f"to {row['connection']}", _fate(row))


def _fate(row: Row) -> str:
    """What became of it, and why."""
    return f"{row['state']}: {row['reason']}" if row["reason"] else str(row["state"])


def _words(*parts: str | None) -> str:
    return ", ".join(part for part in parts if part)
