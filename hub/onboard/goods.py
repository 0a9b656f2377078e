"""Takes goods in: owners' items, and the listings they are sold as; a new or changed listing is published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import Table, select

from core.errors import Unfit, Unmatched
from core.flow import stop_levels
from core.store import lots, pools
from core.store import tables as t
from core.store.rows import any_of, chunks
from core.store.scope import Scope
from core.store.store import Transaction, many
from hub.onboard.form import Code, Form, Name, Ref, find, note
from hub.onboard.warehouses import link

LIMIT = 1000
"""Rows taken in one call."""
Units = Annotated[int, Field(ge=0, le=10**9)]


class NewItem(Form):
    """One item of an owner; unit is its base unit, in which all quantities count. keeps_lots: whether lots are told.

    near_expiry_days: lots that expire within so many days are held by the clock; None for no such limit.
    """

    sku: Ref
    name: Name
    unit: str = "EA"
    keeps_lots: bool = False
    near_expiry_days: Annotated[int, Field(ge=0, le=3650)] | None = None


class NewItems(Form):
    """Items of one owner."""

    owner: Code
    items: Annotated[tuple[NewItem, ...], Field(min_length=1, max_length=LIMIT)]


class NewListing(Form):
    """One thing a shop sells. ref: the shop's own number of it; item: the owner's SKU; pack: base units in one.

    owner: whose item, when it is not the shop's merchant. location: the shop's stock location. threshold: units an
    on-hand shop never sells; buffer: base units held back from what is promised.
    """

    ref: Ref
    item: Ref
    owner: Code | None = None
    product: str = ""
    sku: str = ""
    title: str = ""
    pack: Annotated[int, Field(ge=1, le=10**6)] = 1
    location: str = ""
    threshold: Units = 0
    buffer: Units = 0


class NewListings(Form):
    """Listings of one shop's connection."""

    connection: Code
    listings: Annotated[tuple[NewListing, ...], Field(min_length=1, max_length=LIMIT)]


class NewLink(Form):
    """Their ref stands for our warehouse, or for an owner's item; pack: base units in one of theirs."""

    ref: Ref
    warehouse: Code | None = None
    owner: Code | None = None
    sku: Ref | None = None
    pack: Annotated[int, Field(ge=1, le=10**6)] = 1


def add_items(tx: Transaction, scope: Scope, new: NewItems) -> dict[str, int]:
    """How many were added and changed; those there already are laid over."""
    for item in new.items:
        if item.near_expiry_days is not None and not item.keeps_lots:
            raise Unfit(f"{item.sku}: near_expiry_days is about lots: set keeps_lots too")
    owner_id = find(tx, scope, t.merchants, new.owner)["id"]
    mine = t.items.c.owner_id == owner_id
    rows = [{"owner_id": owner_id, **item.model_dump()} for item in _once(new.items, "sku")]
    added, changed = _lay_over(tx, t.items, mine, "sku", rows)
    kept = {item.sku for item in new.items if item.keeps_lots}
    lots.begin(tx, [row["id"] for row in many(tx, t.items, "id", changed) if row["sku"] in kept])
    note(tx, scope, "items added", new.owner, added=len(added), changed=len(changed))
    return {"added": len(added), "changed": len(changed)}


def add_listings(tx: Transaction, scope: Scope, new: NewListings) -> dict[str, int]:
    """How many were added and changed; each of them is marked, so that its level is told to the shop.

    Raises Unmatched naming the first item there is not.
    """
    shop = find(tx, scope, t.connections, new.connection)
    if shop["kind"] != "sales":
        raise Unfit(f"{new.connection} is not a shop: listings belong to a sales connection")
    rows = _listing_rows(tx, scope, shop, _once(new.listings, "ref"))
    added, changed = _lay_over(tx, t.listings, t.listings.c.connection_id == shop["id"], "ref", rows)
    tx.add(t.marks, [{"id": tx.ids.new(), "listing_id": ident} for ident in (*added, *changed)])
    stop_levels.corrected(tx, changed)
    if added or changed:
        pools.revise(tx, shop["id"])
        tx.lanes.add("stock")
    note(tx, scope, "listings added", new.connection, added=len(added), changed=len(changed))
    return {"added": len(added), "changed": len(changed)}


def add_links(tx: Transaction, scope: Scope, code: str, links: Sequence[NewLink]) -> int:
    """Say what their refs at this connection stand for; returns how many were said."""
    connection_id = find(tx, scope, t.connections, code)["id"]
    for new in links:
        if new.warehouse:
            link(tx, connection_id, "warehouse", new.ref, find(tx, scope, t.warehouses, new.warehouse)["id"])
        elif new.owner and new.sku:
            link(tx, connection_id, "item", new.ref, item_id(tx, scope, new.owner, new.sku), new.pack)
        else:
            raise Unfit(f"{new.ref}: say the warehouse, or the owner and the SKU it stands for")
    note(tx, scope, "links added", code, refs=len(links))
    return len(links)


def item_id(tx: Transaction, scope: Scope, owner: str, sku: str) -> int:
    """Our id of an owner's item. Raises Unmatched when there is none."""
    owner_id = find(tx, scope, t.merchants, owner)["id"]
    return _item_ids(tx, owner_id, [sku], owner)[sku]


def _item_ids(tx: Transaction, owner_id: int, skus: Sequence[str], owner: str) -> dict[str, int]:
    i = t.items.c
    found: dict[str, int] = {}
    for some in chunks(skus, 500):
        rows = tx.rows(select(i.id, i.sku).where(i.owner_id == owner_id, i.sku.in_(list(some))))
        found |= {row["sku"]: row["id"] for row in rows}
    found |= _bought(tx, owner_id, [sku for sku in skus if sku not in found])
    if missing := next((sku for sku in skus if sku not in found), None):
        raise Unmatched("item", missing, f"{owner} has no item {missing!r}: add it first")
    return found


def _bought(tx: Transaction, owner_id: int, skus: Sequence[str]) -> dict[str, int]:
    """Items of somebody else's of which this owner has had units, by SKU; a SKU that two of them share is left out."""
    i, ce = t.items.c, t.cells.c
    query = select(i.sku, i.id).join(t.cells, ce.item_id == i.id).where(ce.owner_id == owner_id, i.owner_id != owner_id)
    rows = tx.rows(query.where(any_of(tx.conn, i.sku, list(skus))).distinct()) if skus else []
    skus_of = Counter(row["sku"] for row in rows)
    return {row["sku"]: row["id"] for row in rows if skus_of[row["sku"]] == 1}


def _listing_rows(
    tx: Transaction, scope: Scope, shop: Mapping[str, Any], new: Sequence[NewListing]
) -> list[dict[str, Any]]:
    by_owner: dict[str | None, list[str]] = {}
    for listing in new:
        by_owner.setdefault(listing.owner, []).append(listing.item)
    ids: dict[tuple[str | None, str], int] = {}
    for owner, skus in by_owner.items():
        owner_id = find(tx, scope, t.merchants, owner)["id"] if owner else shop["merchant_id"]
        ids |= {(owner, sku): i for sku, i in _item_ids(tx, owner_id, skus, owner or "the shop's merchant").items()}
    fields = {"ref", "product", "sku", "title", "pack", "location", "threshold", "buffer"}
    return [
        {
            "connection_id": shop["id"],
            "item_id": ids[(n.owner, n.item)],
            **n.model_dump(include=fields),
            "sku": n.sku or n.item,
        }
        for n in new
    ]


def _lay_over(
    tx: Transaction, table: Table, mine: Any, key: str, rows: Sequence[dict[str, Any]]
) -> tuple[list[int], list[int]]:
    """Insert what is new, update what differs; ids of both."""
    known: dict[str, Mapping[str, Any]] = {}
    for some in chunks(rows, 500):
        known |= {r[key]: r for r in tx.rows(select(table).where(mine, table.c[key].in_([row[key] for row in some])))}
    fresh = [{"id": tx.ids.new(), "created_at": tx.now, **row} for row in rows if row[key] not in known]
    tx.add(table, fresh)
    changed = [row for row in rows if row[key] in known and any(known[row[key]][k] != v for k, v in row.items())]
    for row in changed:
        tx.set(table, known[row[key]]["id"], **row)
    return [row["id"] for row in fresh], [known[row[key]]["id"] for row in changed]


def _once(forms: Sequence[Any], key: str) -> Sequence[Any]:
    twice = [ref for ref, n in Counter(getattr(form, key) for form in forms).items() if n > 1]
    if twice:
        raise Unfit(f"{twice[0]!r} is there twice")
    return forms
