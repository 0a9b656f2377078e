"""Says which items a warehouse may send instead of one that was ordered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from sqlalchemy import delete, select

from core.errors import Unfit
from core.store import tables as t
from core.store.scope import Scope
from core.store.store import Transaction
from hub.onboard.form import Code, Form, Ref, note
from hub.onboard.goods import item_id


class Substitutes(Form):
    """substitutes: SKUs of the same owner's; they replace those declared before, none declares that there are none."""

    owner: Code
    substitutes: Annotated[tuple[Ref, ...], Field(max_length=50)]


def set_substitutes(tx: Transaction, scope: Scope, sku: str, new: Substitutes) -> list[str]:
    """What may be sent instead from now on. Raises Unmatched for an item there is not, Unfit for the item itself."""
    ident = item_id(tx, scope, new.owner, sku)
    if sku in new.substitutes:
        raise Unfit(f"{sku!r} cannot stand in for itself: name other items")
    instead = [item_id(tx, scope, new.owner, other) for other in dict.fromkeys(new.substitutes)]
    tx.conn.execute(delete(t.substitutes).where(t.substitutes.c.item_id == ident))
    tx.add(t.substitutes, [{"item_id": ident, "instead_id": other, "created_at": tx.now} for other in instead])
    note(tx, scope, "substitutes set", sku, owner=new.owner, substitutes=list(new.substitutes))
    return substitutes(tx, scope, sku, new.owner)


def substitutes(tx: Transaction, scope: Scope, sku: str, owner: str | None = None) -> list[str]:
    """SKUs that may be sent instead. owner: whose item, when it is not the asker's. Raises Unmatched."""
    s, i = t.substitutes.c, t.items.c
    ident = item_id(tx, scope, owner or own(tx, scope), sku)
    query = select(i.sku).join(t.substitutes, s.instead_id == i.id).where(s.item_id == ident)
    found: Sequence[str] = tx.conn.execute(query.order_by(i.sku)).scalars().all()
    return list(found)


def own(tx: Transaction, scope: Scope) -> str:
    """The code of the asker's own merchant. Raises Unfit where it has none."""
    m = t.merchants.c
    code = tx.conn.execute(select(m.code).where(m.id == scope.merchant_id)).scalar()
    if code is None:
        raise Unfit("say which owner's item: this key is not a merchant's")
    return str(code)
