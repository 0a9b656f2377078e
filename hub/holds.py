"""Holds as people ask for them: codes and SKUs become what the funnel decides, its answers become words."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StrictInt
from sqlalchemy import select

from core.flow.hold_goods import Answer, Freeze, Thaw
from core.store import tables as t
from core.store.ledger import CellKey
from core.store.scope import Scope
from core.store.store import Transaction
from hub.answers import given
from hub.onboard.form import PRINTED, Code, Form, Ref, Row, find, note
from hub.onboard.goods import item_id
from hub.reservations import Number, holder

Why = Annotated[str, Field(min_length=1, max_length=200, pattern=PRINTED)]


class NewHold(Form):
    """Free good units to keep back. ref: the caller's own number: asked again, nothing is held twice.

    owner: whose goods, where the key does not say. lot: units of this lot only. units: base units.
    """

    ref: Number
    sku: Ref
    warehouse: Code
    units: Annotated[StrictInt, Field(ge=1, le=10**9)]
    owner: Code | None = None
    lot: Ref | None = None
    reason: Why = "frozen"


class Release(Form):
    """Give held units back until `keep` of them are held."""

    keep: Annotated[StrictInt, Field(ge=0, le=10**9)] = 0


def asked(tx: Transaction, scope: Scope, new: NewHold) -> Freeze:
    """What the funnel is asked. Raises Unmatched for what there is not."""
    owner_id = holder(tx, scope, new.owner)
    owner = tx.conn.execute(select(t.merchants.c.code).where(t.merchants.c.id == owner_id)).scalar_one()
    warehouse = find(tx, scope, t.warehouses, new.warehouse)
    key = CellKey(owner_id, item_id(tx, scope, owner, new.sku), warehouse["id"])
    return Freeze(key, new.units, new.ref, new.reason, scope.actor, new.lot)


def given_back(tx: Transaction, scope: Scope, ref: str, owner: str | None, release: Release) -> Thaw:
    """What the funnel is asked to give back."""
    return Thaw(holder(tx, scope, owner), ref, scope.actor, release.keep)


def noted(tx: Transaction, scope: Scope, action: str, answer: Answer) -> dict[str, Any]:
    """The hold in words, written into the audit log. Raises what was answered instead."""
    hold = given(answer)
    note(tx, scope, action, hold["ref"], units=hold["units"], remaining=hold["remaining"])
    return dict(rows(tx, scope, t.holds.c.id == hold["id"])[0])


def rows(tx: Transaction, scope: Scope, *where: Any, limit: int | None = None) -> list[Row]:
    """Holds by id, with names, of owners the scope sees."""
    h, ce, i, w, m = t.holds.c, t.cells.c, t.items.c, t.warehouses.c, t.merchants.c
    names = (h.id, h.ref, m.code.label("owner"), i.sku, w.code.label("warehouse"), h.lot, h.reason, h.who)
    query = select(*names, h.units, h.remaining, h.opened_at, h.ended_at, h.released_by)
    query = query.join(t.cells, ce.id == h.cell_id).join(t.items, i.id == ce.item_id)
    query = query.join(t.warehouses, w.id == ce.warehouse_id).join(t.merchants, m.id == h.owner_id)
    return tx.rows(query.where(scope.sees(h.owner_id), *where).order_by(h.id).limit(limit))
