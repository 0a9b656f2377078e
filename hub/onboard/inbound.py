"""Takes word of goods on their way to a warehouse, and passes it on."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from core.flow.move_stock import announce
from core.store import tables as t
from core.store.scope import Scope
from core.store.store import Transaction, one
from hub.onboard.form import Code, Form, Ref, find, note
from hub.onboard.goods import item_id

LIMIT = 1000


class InboundLine(Form):
    """So many base units of one of the owner's items."""

    sku: Ref
    quantity: Annotated[int, Field(ge=1, le=10**9)]


class NewInbound(Form):
    """ref: the owner's own number of it: told again, it stands; made up when there is none.

    inspect: good units are held for quality control on arrival.
    """

    owner: Code
    warehouse: Code
    ref: str = Field("", max_length=60)
    inspect: bool = False
    lines: Annotated[tuple[InboundLine, ...], Field(min_length=1, max_length=LIMIT)]


def announce_inbound(tx: Transaction, scope: Scope, new: NewInbound) -> dict[str, Any]:
    """The announcement as it now stands, `repeated` where it stood before; its warehouse is told of it once.

    Raises Unmatched for what there is not, Refused when the owner's ref stands for something else.
    """
    owner_id = find(tx, scope, t.merchants, new.owner)["id"]
    warehouse_id = find(tx, scope, t.warehouses, new.warehouse)["id"]
    lines = [(item_id(tx, scope, new.owner, line.sku), line.quantity) for line in new.lines]
    answer = announce(tx, owner_id, warehouse_id, lines, new.ref, new.inspect)
    if not answer.repeated:
        note(tx, scope, "inbound announced", new.warehouse, lines=len(lines))
    row = one(tx, t.asns, id=answer.id)
    assert row is not None
    return {**row, "repeated": answer.repeated}
