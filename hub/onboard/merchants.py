"""Takes merchants in: the tenants, and the owners of goods; and what each wants done where goods are missing."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StrictBool, StrictInt, model_validator

from core.errors import Unfit
from core.flow import keep_promises
from core.store import tables as t
from core.store.scope import Scope
from core.store.store import Transaction
from hub.onboard.form import Code, Form, Name, Row, find, note, refuse_twice

Short = Literal["ask", "wait", "resource", "part_ship"]
Unback = Literal["person", "newest"]
Units = Annotated[StrictInt, Field(ge=0, le=10**9)]
NO_PARTS = "part_ship sends what is backed of an order, so it needs part_backing: allow it, or choose another policy"


class NewMerchant(Form):
    """short_policy: for a paid order the pool cannot back, `ask` the shop to cancel it, `wait` for goods where it
    stands, `resource` it to any warehouse of its pool that gets goods, or `part_ship` what is there and wait for the
    rest. part_backing: whether such an order keeps what there is of it, or leaves it to others until all is there.
    unback: promises of an owner's goods that turn out missing are taken back by a `person`, or at once, `newest` first.
    count_limit: units by which a stock-take may differ from the books in all to be booked without a second person.
    """

    code: Code
    name: Name
    short_policy: Short = "ask"
    part_backing: StrictBool = True
    unback: Unback = "person"
    count_limit: Units = 10

    @model_validator(mode="after")
    def _parts_that_ship_are_backed(self) -> Self:
        if self.short_policy == "part_ship" and not self.part_backing:
            raise ValueError(NO_PARTS)
        return self


class MerchantChange(Form):
    """What is named changes, the rest stays."""

    name: Name | None = None
    short_policy: Short | None = None
    part_backing: StrictBool | None = None
    unback: Unback | None = None
    count_limit: Units | None = None


def add_merchant(tx: Transaction, scope: Scope, new: NewMerchant) -> Row:
    """The merchant as it now stands. Raises Refused when the code is taken."""
    refuse_twice(tx, t.merchants, new.code)
    tx.add(t.merchants, [{"id": tx.ids.new(), "created_at": tx.now, **new.model_dump()}])
    note(tx, scope, "merchant added", new.code)
    return find(tx, scope, t.merchants, new.code)


def change_merchant(tx: Transaction, scope: Scope, code: str, change: MerchantChange) -> Row:
    """The merchant as it now stands; its short orders and missing goods are looked at under the new policy at once.

    Raises Unmatched for one there is not, Unfit for policies that contradict each other.
    """
    before = find(tx, scope, t.merchants, code)
    values: dict[str, Any] = change.model_dump(exclude_none=True)
    after = {**before, **values}
    if after["short_policy"] == "part_ship" and not after["part_backing"]:
        raise Unfit(NO_PARTS)
    if values:
        tx.set(t.merchants, before["id"], **values)
        keep_promises.policy_changed(tx, before["id"])
    note(tx, scope, "merchant changed", code, **values)
    return after
