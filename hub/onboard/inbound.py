"""Takes word of goods on their way to a warehouse, and passes it on."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from core.errors import Refused
from core.flow.move_stock import announce
from core.store import tables as t
from core.store.scope import Scope
from core.store.store import Transaction, one
from hub.onboard.form import Code, Form, Ref, Row, find, note
from hub.onboard.goods import item_id

LIMIT = 1000


class InboundLine(Form):
    """So many base units of one of the owner's items."""

    sku: Ref
    quantity: Annotated[int, Field(ge=1, le=10**9)]


class NewInbound(Form):
    """ref: the owner's own number of it, unique; made up when there is none.

    inspect: good units are held for quality control on arrival.
    """

    owner: Code
    warehouse: Code
    ref: str = Field("", max_length=60)
    inspect: bool = False
    lines: Annotated[tuple[InboundLine, ...], Field(min_length=1, max_length=LIMIT)]


def announce_inbound(tx: Transaction, scope: Scope, new: NewInbound) -> Row:
    """The announcement as it now stands; its warehouse is told of it. Raises Refused when the ref is taken."""
    if new.ref and one(tx, t.asns, ref=new.ref):
        raise Refused(f"goods were announced as {new.ref!r} already: give it another ref")
    owner_id = find(tx, scope, t.merchants, new.owner)["id"]
    warehouse_id = find(tx, scope, t.warehouses, new.warehouse)["id"]
    lines = [(item_id(tx, scope, new.owner, line.sku), line.quantity) for line in new.lines]
    ident = announce(tx, owner_id, warehouse_id, lines, new.ref, new.inspect)
    note(tx, scope, "inbound announced", new.warehouse, lines=len(lines))
    row = one(tx, t.asns, id=ident)
    assert row is not None
    return row
