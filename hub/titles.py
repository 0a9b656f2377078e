"""Title transfers as people and callers ask for them: codes and SKUs become what the funnel decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

from pydantic import Field, StrictBool

from core.errors import Unfit, Unmatched
from core.flow.transfer_title import Answer, Passed, TransferTitle
from core.model.stock import Condition
from core.store import tables as t
from core.store.scope import Scope
from core.store.store import Transaction, one
from hub.answers import named
from hub.onboard.form import Code, Form, Ref, find, note
from hub.onboard.goods import item_id
from hub.transfers import LINES, Number, Quantity, owner_of


class TitleLine(Form):
    """So many base units of an item, in one condition."""

    sku: Ref
    quantity: Quantity
    condition: Condition = "ZP"


class NewTitle(Form):
    """Goods that shall be another merchant's, where they lie, whole or not at all.

    ref: the asker's own number: asked again, it stands. owner: whose they are now, where the key does not say. unback:
    promises on them are taken back where the free ones do not suffice.
    """

    ref: Number
    owner: Code | None = None
    to: Code
    warehouse: Code
    lines: Annotated[tuple[TitleLine, ...], Field(min_length=1, max_length=LINES)]
    unback: StrictBool = False


def title_lines(lines: Sequence[str]) -> tuple[TitleLine, ...]:
    """What a command line says as SKU=UNITS, good units. Raises Unfit for what does not read so."""
    goods = []
    for line in lines:
        sku, _, units = line.rpartition("=")
        if not sku or not units.isdecimal() or not int(units):
            raise Unfit(f"{line!r}: write SKU=UNITS, like TEA-100=40")
        goods.append(TitleLine(sku=sku, quantity=int(units)))
    return tuple(goods)


class Asked(NamedTuple):
    """What the funnel is asked, and the SKUs it is about."""

    command: TransferTitle
    skus: dict[int, str]
    to: str

    def named(self, answer: Answer) -> Passed:
        """The title transfer, or why there is none, in the caller's words. Raises what was answered."""
        return named(self.command.ref, answer, self.skus)


def asked(tx: Transaction, scope: Scope, new: NewTitle) -> Asked:
    """What the funnel is asked. Raises Unmatched for a merchant, item or warehouse there is not."""
    owner, place = owner_of(tx, scope, new.owner), find(tx, scope, t.warehouses, new.warehouse)
    to = one(tx, t.merchants, code=new.to)
    if to is None:
        raise Unmatched("merchant", new.to, f"there is no merchant {new.to!r}: name whose they shall be")
    items = {sku: item_id(tx, scope, owner["code"], sku) for sku in dict.fromkeys(line.sku for line in new.lines)}
    lines = tuple((items[line.sku], line.condition, line.quantity) for line in new.lines)
    command = TransferTitle(owner["id"], to["id"], place["id"], new.ref, lines, scope.actor, new.unback)
    return Asked(command, {ident: sku for sku, ident in items.items()}, new.to)


def noted(tx: Transaction, scope: Scope, wanted: Asked, answer: Answer) -> Passed:
    """The title transfer, written into the audit log. Raises what was answered instead."""
    passed = wanted.named(answer)
    note(tx, scope, "title transferred", passed.ref, to=wanted.to)
    return passed
