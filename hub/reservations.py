"""Reservations as callers ask for them: codes and SKUs become what the funnel decides, its answers become words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, StrictBool, StrictInt, model_validator
from sqlalchemy import case, func, or_, select

from core.errors import Unfit, Unmatched
from core.flow import sell_kits
from core.flow.follow_reservation import promise
from core.flow.reserve_stock import Answer, Reservation, Reserve, Subject, standing
from core.rules.decide import Want
from core.store import contracts, policies
from core.store import tables as t
from core.store.cells import had_by
from core.store.lots import UNNAMED
from core.store.scope import Scope
from core.store.store import Transaction, many
from hub.answers import named
from hub.onboard.form import PRINTED, Code, Form, Ref, Row, find, note

LINES, DAYS = 200, 30
KEPT_S = 900
Kind = Literal["api", "cart", "jit"]
"""What the units are wanted for: an order the caller will make, a shopper's cart, goods a platform occupies (JIT)."""
ASKING: Collection[Kind] = ("api", "cart")
"""What callers ask for, and a channel policy bounds. What a platform occupied it took of what it was shown."""
Number = Annotated[str, Field(max_length=120, pattern=PRINTED)]
"""The caller's own number of a reservation."""
Found = dict[tuple[str | None, str], Row]
"""(owner, or None for the holder itself, SKU) → item."""


class Which(NamedTuple):
    """What a caller knows a reservation by: its own number, whose it is, and what it is for."""

    ref: str
    merchant: str | None = None
    kind: Kind = "api"


class Line(Form):
    """So many base units of an item. owner: whose, when it is not the holder's. lot: units of this lot only."""

    sku: Ref
    quantity: Annotated[StrictInt, Field(ge=1, le=10**9)]
    owner: Code | None = None
    lot: Ref | None = None


class NewReservation(Form):
    """Units to keep, whole or not at all. ref: the caller's own number: asked again, nothing is kept twice.

    kind: what for; each kind has its own numbers, and channel policies bind `api` and `cart`. merchant: who holds it,
    where the key does not say. connection: a shop, whose pool it comes from; or warehouses, best first. keep_s:
    seconds until it is given back by itself; null keeps it until it is released.
    """

    ref: Number
    kind: Kind = "api"
    merchant: Code | None = None
    connection: Code | None = None
    warehouses: Annotated[tuple[Code, ...], Field(max_length=20)] = ()
    lines: Annotated[tuple[Line, ...], Field(min_length=1, max_length=LINES)]
    keep_s: Annotated[StrictInt, Field(ge=1, le=DAYS * 86400)] | None = KEPT_S
    may_split: StrictBool = True

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.connection is None) == (not self.warehouses):
            raise ValueError("name a connection or warehouses, and not both")
        return self


class Follows(Form):
    """The order a reservation becomes: the shop's connection, and the shop's own number of it."""

    connection: Code
    order: Ref


class Asked(NamedTuple):
    """What the funnel is asked, and the SKUs it is about."""

    command: Reserve
    skus: dict[int, str]

    def named(self, answer: Answer) -> Reservation:
        """The reservation, or why there is none, in the caller's words. Raises what was answered."""
        return named(self.command.subject.ref, answer, self.skus)


def asked(tx: Transaction, scope: Scope, new: NewReservation) -> Asked:
    """What the funnel is asked. Raises Unmatched for what there is not, or is not for this holder to sell; Unfit for a
    lot of what has none.
    """
    holder_id = holder(tx, scope, new.merchant)
    named = [find(tx, scope, t.warehouses, code)["id"] for code in dict.fromkeys(new.warehouses)]
    warehouses = _pool(tx, scope, new.connection) if new.connection else named
    items = _items(tx, holder_id, warehouses, new.lines)
    wanted = enumerate(zip(items, new.lines, strict=True))
    recipes = sell_kits.recipes(tx, [item["id"] for item in items if item["is_kit"]])
    lines = [
        (_wish(n, item, line, recipes.get(item["id"])), item["owner_id"], line.quantity) for n, (item, line) in wanted
    ]
    wants = _sourced(tx, holder_id, [want for line in lines for want in sell_kits.wants(*line)])
    until = tx.now + timedelta(seconds=new.keep_s) if new.keep_s else None
    subject = Subject(holder_id, new.kind, new.ref)
    sold = many(tx, t.items, "id", [want.item_id for want in wants])
    owners = {row["id"]: row["owner_id"] for row in sold}
    bounds = policies.bounds(tx, holder_id, owners) if new.kind in ASKING else {}
    command = Reserve(subject, tuple(wants), tuple(warehouses), until, new.may_split, bounds)
    return Asked(command, {row["id"]: row["sku"] for row in sold})


def _wish(n: int, item: Row, line: Line, recipe: sell_kits.Recipe | None) -> Row:
    """A line as an order's line is. Raises Unfit."""
    if line.lot and item["is_kit"]:
        raise Unfit(f"{line.sku} is a virtual kit, which has no lots: reserve its parts by lot")
    if line.lot and not item["keeps_lots"]:
        raise Unfit(f"{line.sku} keeps no lots: leave lot out, or have the item keep them")
    if line.lot == UNNAMED:
        raise Unfit(f"{line.sku}: lot {UNNAMED} is of units nobody named a lot for: leave lot out to have any units")
    return {"id": n, "item_id": item["id"], "recipe": recipe, "lot": line.lot or ""}


def _sourced(tx: Transaction, holder_id: int, wants: Sequence[Want]) -> list[Want]:
    """The holder's own goods first, then others' under its contracts."""
    named = contracts.sources(tx, [holder_id], {want.item_id for want in wants})
    return [w._replace(owner_id=holder_id, others=named.get((holder_id, w.item_id), ())) for w in wants]


def holder(tx: Transaction, scope: Scope, code: str | None) -> int:
    """The merchant it is for: the key's own, else the one that is named. Raises Unfit where neither says."""
    if code:
        return int(find(tx, scope, t.merchants, code)["id"])
    if scope.merchant_id is None:
        raise Unfit("say which merchant it is for: this key is not a merchant's")
    return scope.merchant_id


def subject(tx: Transaction, scope: Scope, which: Which) -> Subject:
    """What a reservation is known by in the ledger."""
    return Subject(holder(tx, scope, which.merchant), which.kind, which.ref)


def _items(tx: Transaction, holder_id: int, warehouses: Sequence[int], lines: Sequence[Line]) -> list[Row]:
    """The item of each line: the holder's own, another's of which it has had units, or another's that its shops sell
    from all of these warehouses.
    """
    i, m, had = t.items.c, t.merchants.c, had_by(holder_id)
    columns = (i.id, i.sku, i.owner_id, i.is_kit, i.keeps_lots, m.code.label("owner"))
    query = select(*columns, case((had, 1), else_=0).label("had")).join(t.merchants, m.id == i.owner_id)
    owners = or_(i.owner_id == holder_id, had, m.code.in_([line.owner for line in lines if line.owner]))
    rows = tx.rows(query.where(i.sku.in_([line.sku for line in lines]), owners))
    sold = _sold(tx, holder_id, warehouses, [row["id"] for row in rows if row["owner_id"] != holder_id])
    theirs = [row for row in rows if row["owner_id"] == holder_id or row["had"] or row["id"] in sold]
    found: Found = {(row["owner"], row["sku"]): row for row in theirs}
    for sku in {row["sku"] for row in rows}:
        own = [row for row in rows if row["sku"] == sku and row["owner_id"] == holder_id]
        own = own or [row for row in rows if row["sku"] == sku and row["had"]]
        found |= {(None, sku): own[0]} if len(own) == 1 else {}
    return [_item(found, line) for line in lines]


def _item(found: Found, line: Line) -> Row:
    """Another's goods that are not sold here are answered as if they were not there."""
    item = found.get((line.owner, line.sku))
    if item is None:
        why = f"there is no item {line.sku!r} this merchant may reserve there: name its owner"
        raise Unmatched("item", line.sku, why)
    return item


def _sold(tx: Transaction, holder_id: int, warehouses: Sequence[int], items: Sequence[int]) -> set[int]:
    """Those of these items that shops of the holder sell from each of the warehouses."""
    if not items:
        return set()
    li, c, p = t.listings.c, t.connections.c, t.pools.c
    query = select(li.item_id).join(t.connections, c.id == li.connection_id).join(t.pools, p.connection_id == c.id)
    theirs = query.where(c.merchant_id == holder_id, li.item_id.in_(items), p.warehouse_id.in_(warehouses))
    everywhere = func.count(p.warehouse_id.distinct()) == len(warehouses)
    return set(tx.conn.execute(theirs.group_by(li.item_id).having(everywhere)).scalars())


def _pool(tx: Transaction, scope: Scope, code: str) -> list[int]:
    rows = many(tx, t.pools, "connection_id", [find(tx, scope, t.connections, code)["id"]])
    if not rows:
        raise Unfit(f"{code} sells from no warehouse: give it a pool, or name warehouses")
    return [row["warehouse_id"] for row in sorted(rows, key=lambda row: row["rank"])]


def reservation(tx: Transaction, scope: Scope, which: Which) -> Reservation:
    """A reservation as it stands. Raises Unmatched."""
    wanted = subject(tx, scope, which)
    found = standing(tx, [wanted]).get(wanted)
    if found is None:
        raise Unmatched("reservation", which.ref, f"there is no reservation {which.ref!r}")
    return found


def becomes_order(tx: Transaction, scope: Scope, which: Which, follows: Follows) -> dict[str, Any]:
    """The reservation as it stands, and our id of the order that has taken it over, null until it comes.

    Raises Unmatched for what there is not, Unfit for a shop of another merchant's, Refused for one given back or
    promised to another order.
    """
    wanted = subject(tx, scope, which)
    shop = find(tx, scope, t.connections, follows.connection)
    if shop["kind"] != "sales" or shop["merchant_id"] != wanted.holder_id:
        raise Unfit(f"{follows.connection} is no shop of whoever holds {which.ref}: name one that is")
    order_id = promise(tx, wanted, shop["id"], follows.order)
    note(tx, scope, "reservation follows order", which.ref, connection=follows.connection, order=follows.order)
    found = in_words(tx, scope, reservation(tx, scope, which))
    return {
        **found,
        "order": {"connection": follows.connection, "ref": follows.order, "id": order_id and str(order_id)},
    }


def in_words(tx: Transaction, scope: Scope, found: Reservation) -> dict[str, Any]:
    """A reservation with codes and SKUs. units: that were asked for; backed: those of them that are kept now."""
    items = {r["id"]: r["sku"] for r in many(tx, t.items, "id", [k.item_id for k in found.kept])}
    warehouses = {r["id"]: r["code"] for r in many(tx, t.warehouses, "id", [k.warehouse_id for k in found.kept])}
    merchants = {r["id"]: r["code"] for r in many(tx, t.merchants, "id", _parties(found))}
    rows = [
        {
            "owner": merchants[k.owner_id],
            "sku": items[k.item_id],
            "warehouse": warehouses[k.warehouse_id],
            "units": k.units,
            "backed": k.units - k.missing,
            **({"lot": k.lot} if k.lot else {}),
        }
        for k in found.kept
    ]
    until = found.until.isoformat() if found.until else None
    names = {"ref": found.subject.ref, "kind": found.subject.kind}
    head = {**names, "merchant": merchants[found.subject.holder_id], "state": found.state}
    return {**head, "until": until, "kept": rows}


def _parties(found: Reservation) -> Sequence[int]:
    return sorted({found.subject.holder_id, *(k.owner_id for k in found.kept)})
