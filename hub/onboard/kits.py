"""Says what a kit is made of: a virtual one, or one that warehouses keep assembled."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictInt
from sqlalchemy import delete, exists, or_, select

from core.errors import Refused, Unfit
from core.store import shelves
from core.store import tables as t
from core.store.scope import Scope
from core.store.store import Transaction
from hub.onboard.form import Code, Form, Ref, note
from hub.onboard.goods import item_id
from hub.onboard.substitutes import own

Units = Annotated[StrictInt, Field(ge=1, le=10**6)]


class Recipe(Form):
    """parts: SKU of the same owner's → base units in one kit; without any it is no kit any more.

    stocked: warehouses keep it assembled, so it has stock of its own; else it is sold from that of its parts.
    """

    owner: Code
    parts: Annotated[dict[Ref, Units], Field(max_length=50)]
    stocked: bool = False


def set_parts(tx: Transaction, scope: Scope, sku: str, new: Recipe) -> dict[str, int]:
    """The recipe of orders that are taken from now on; what sells it is published anew.

    Raises Unmatched for an item there is not, Unfit for a kit within a kit, Refused for an item that has stock.
    """
    tx.lock_ledger()
    ident = item_id(tx, scope, new.owner, sku)
    made_of = {item_id(tx, scope, new.owner, part): units for part, units in new.parts.items()}
    if made_of:
        _refuse_nested(tx, ident, sku, made_of)
    if made_of and not new.stocked:
        _refuse_stock(tx, ident, sku)
    former = tx.conn.execute(select(t.kit_parts.c.part_id).where(t.kit_parts.c.kit_id == ident)).scalars().all()
    tx.conn.execute(delete(t.kit_parts).where(t.kit_parts.c.kit_id == ident))
    tx.add(t.kit_parts, [{"kit_id": ident, "part_id": part, "units": units} for part, units in made_of.items()])
    tx.set(t.items, ident, is_kit=bool(made_of) and not new.stocked)
    shelves.mark(tx, {ident, *former, *made_of})  # who sells a part heeds what is exclusive of the kit
    note(tx, scope, "kit parts set", sku, owner=new.owner, parts=dict(new.parts))
    return parts(tx, scope, sku, new.owner)


def parts(tx: Transaction, scope: Scope, sku: str, owner: str | None = None) -> dict[str, int]:
    """SKU → base units in one kit. owner: whose item, when it is not the asker's. Raises Unmatched."""
    k, i = t.kit_parts.c, t.items.c
    ident = item_id(tx, scope, owner or own(tx, scope), sku)
    query = select(i.sku, k.units).join(t.kit_parts, k.part_id == i.id).where(k.kit_id == ident)
    return {row["sku"]: row["units"] for row in tx.rows(query.order_by(i.sku))}


def _refuse_nested(tx: Transaction, ident: int, sku: str, made_of: dict[int, int]) -> None:
    k = t.kit_parts.c
    if ident in made_of or tx.row(select(k.kit_id).where(k.kit_id.in_(list(made_of))).limit(1)):
        raise Unfit(f"a part of {sku!r} is a kit itself: name what that one is made of")
    if tx.row(select(t.kit_parts.c.kit_id).where(t.kit_parts.c.part_id == ident).limit(1)):
        raise Unfit(f"{sku!r} is part of a kit: a kit cannot be made of kits")


def _refuse_stock(tx: Transaction, ident: int, sku: str) -> None:
    ce, c = t.cells.c, t.claims.c
    accounts = ("free", "reserved", "held", "transit", "inbound", "suspense")
    wanted = exists().where(c.cell_id == ce.id, c.open.is_(True))
    if tx.row(select(ce.id).where(ce.item_id == ident, or_(wanted, *(ce[a] != 0 for a in accounts))).limit(1)):
        raise Refused(f"{sku!r} has stock or open orders of its own, a virtual kit has none: use another SKU for it")
