"""Locks as people and callers ask for them: codes and SKUs become what the funnel decides, its answers become words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal, NamedTuple

from pydantic import AwareDatetime, Field
from sqlalchemy import select

from core.errors import Unmatched
from core.flow.lock_stock import Answer, Line, Lock, Locked, Unlock
from core.store import tables as t
from core.store.scope import Scope
from core.store.store import Transaction
from hub.answers import named
from hub.onboard.form import Code, Form, Ref, Row, find
from hub.onboard.goods import item_id
from hub.transfers import Number, Quantity, owner_of

LINES = 1000
FIRST, LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
Moment = Annotated[AwareDatetime, Field(ge=FIRST, le=LAST)]


class LockedLine(Form):
    """So many base units of an item, in good condition, in one warehouse."""

    sku: Ref
    warehouse: Code
    quantity: Quantity


class NewLock(Form):
    """Free units to keep for one shop, whole or not at all. ref: the caller's own number: asked again, it stands.

    kind: for a campaign, which ends by itself, or the shop's exclusives. listings: the shop's own numbers of the only
    ones it is for; none is all. from: when its orders begin to take of it, null is now. owner: where the key does not
    say whose goods and shop.
    """

    ref: Number
    kind: Literal["campaign", "exclusive"] = "campaign"
    owner: Code | None = None
    connection: Code
    listings: Annotated[tuple[Ref, ...], Field(max_length=LINES)] = ()
    lines: Annotated[tuple[LockedLine, ...], Field(min_length=1, max_length=LINES)]
    from_: Annotated[Moment | None, Field(alias="from")] = None
    until: Moment | None = None


class Asked(NamedTuple):
    """What the funnel is asked, and the SKUs it is about."""

    command: Lock
    skus: dict[int, str]

    def named(self, answer: Answer) -> Locked:
        """The lock, or why there is none, in the caller's words. Raises what was answered."""
        return named(self.command.ref, answer, self.skus)


def asked(tx: Transaction, scope: Scope, new: NewLock) -> Asked:
    """What the funnel is asked. Raises Unmatched for what there is not."""
    owner = owner_of(tx, scope, new.owner)
    shop = find(tx, scope, t.connections, new.connection)
    items = {sku: item_id(tx, scope, owner["code"], sku) for sku in dict.fromkeys(line.sku for line in new.lines)}
    places = {code: int(find(tx, scope, t.warehouses, code)["id"]) for code in {line.warehouse for line in new.lines}}
    lines = tuple(Line(items[line.sku], places[line.warehouse], line.quantity) for line in new.lines)
    head = (owner["id"], new.ref, new.kind, shop["id"], lines, scope.actor)
    command = Lock(*head, new.from_, new.until, _listings(tx, shop, new.listings))
    return Asked(command, {ident: sku for sku, ident in items.items()})


def _listings(tx: Transaction, shop: Row, refs: Sequence[str]) -> tuple[int, ...]:
    li = t.listings.c
    rows = tx.rows(select(li.id, li.ref).where(li.connection_id == shop["id"], li.ref.in_(refs))) if refs else []
    known = {row["ref"]: row["id"] for row in rows}
    if strange := next((ref for ref in refs if ref not in known), None):
        raise Unmatched("listing", strange, f"{shop['code']} has no listing {strange!r}: add it first")
    return tuple(known[ref] for ref in refs)


def ended(tx: Transaction, scope: Scope, ref: str, owner: str | None) -> Unlock:
    """What the funnel is asked to give back."""
    return Unlock(owner_of(tx, scope, owner)["id"], ref, scope.actor)
