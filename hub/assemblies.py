"""Assemblies as people ask for them: codes and SKUs become what the funnel decides."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StrictInt
from sqlalchemy import select

from core.errors import OutOfStock, Unfit
from core.flow.assemble_kits import Answer, Assemble
from core.store import tables as t
from core.store.scope import Scope
from core.store.store import Transaction, many
from hub.answers import given
from hub.onboard.form import Code, Form, Ref, Row, find, note
from hub.onboard.goods import item_id
from hub.reservations import Number
from hub.transfers import owner_of


class NewAssembly(Form):
    """Make so many stocked kits of their parts in a warehouse; below zero: take so many apart.

    ref: the asker's own number: asked again, nothing is made twice. owner: whose goods, where the key does not say.
    """

    ref: Number
    sku: Ref
    warehouse: Code
    units: Annotated[StrictInt, Field(ge=-(10**6), le=10**6)]
    owner: Code | None = None


def asked(tx: Transaction, scope: Scope, new: NewAssembly) -> Assemble:
    """What the funnel is asked. Raises Unmatched for what there is not, Unfit for no units."""
    if not new.units:
        raise Unfit(f"{new.ref}: say how many kits to make, or below zero how many to take apart")
    owner, warehouse = owner_of(tx, scope, new.owner), find(tx, scope, t.warehouses, new.warehouse)
    item = item_id(tx, scope, owner["code"], new.sku)
    return Assemble(owner["id"], warehouse["id"], item, new.units, new.ref)


def noted(tx: Transaction, scope: Scope, answer: Answer) -> Row:
    """The assembly in words, written into the audit log. Raises what was answered instead, naming SKUs."""
    if isinstance(answer, OutOfStock):
        skus = {row["id"]: row["sku"] for row in many(tx, t.items, "id", [item for item, *_ in answer.missing])}
        words = ", ".join(f"{n} of {skus[item]} where {there} are free" for item, n, there in answer.missing)
        raise OutOfStock(f"{words}: ask for less", answer.missing)
    made = given(answer)
    note(tx, scope, "kits assembled", made["ref"], units=made["units"])
    return rows(tx, scope, t.assemblies.c.id == made["id"])[0]


def rows(tx: Transaction, scope: Scope, *where: Any, limit: int | None = None) -> list[Row]:
    """Assemblies by id, of owners the scope sees."""
    a, i, w, m = t.assemblies.c, t.items.c, t.warehouses.c, t.merchants.c
    names = (a.id, a.ref, m.code.label("owner"), i.sku, w.code.label("warehouse"), a.units, a.created_at)
    query = select(*names).join(t.items, i.id == a.item_id).join(t.warehouses, w.id == a.warehouse_id)
    query = query.join(t.merchants, m.id == a.owner_id)
    return tx.rows(query.where(scope.sees(a.owner_id), *where).order_by(a.id).limit(limit))
