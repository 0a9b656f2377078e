"""What persons find in a warehouse: stock-takes, who agrees to them, and goods judged anew."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AwareDatetime, Field, StrictInt
from sqlalchemy import select

from core.errors import Refused, Unfit, Unmatched
from core.flow import count_stock, regrade_goods
from core.flow.count_stock import Counted, Taken
from core.flow.regrade_goods import Judged
from core.model.stock import Condition
from core.store import tables as t
from core.store.ledger import CellKey, Ledger
from core.store.scope import Scope
from core.store.store import Transaction
from hub.onboard.form import Code, Form, Ref, Row, find, note
from hub.onboard.goods import item_id
from hub.transfers import LINES, Number, Quantity, Reason, owner_of

NOT_BY_WHOM_IT_COUNTED = "whoever counted does not approve: let someone else look, an operator or the owner"


class CountedLine(Form):
    """So many base units of an item lie there in one condition."""

    sku: Ref
    quantity: Annotated[StrictInt, Field(ge=0, le=10**9)]
    condition: Condition = "ZP"


class NewCount(Form):
    """What was counted, and when. ref: the caller's own number: told again, it stands.

    owner: whose goods, where the key does not say.
    """

    ref: Number
    owner: Code | None = None
    warehouse: Code
    counted_at: AwareDatetime
    lines: Annotated[tuple[CountedLine, ...], Field(min_length=1, max_length=LINES)]


class Rejection(Form):
    """Why a stock-take is not booked."""

    reason: Reason = "rejected"


class NewRegrade(Form):
    """Units of an item that are of another condition than the books say. ref: the caller's own number."""

    ref: Number
    owner: Code | None = None
    warehouse: Code
    sku: Ref
    quantity: Quantity
    from_: Annotated[Condition, Field(alias="from")]
    to: Condition
    reason: Reason


def add_count(tx: Transaction, scope: Scope, new: NewCount) -> Taken:
    """How it was taken. Raises Unmatched for what there is not, and whatever `count_stock.count` does."""
    ledger = Ledger(tx)
    owner, warehouse_id = owner_of(tx, scope, new.owner), _kept(tx, scope, new.warehouse, new.owner)
    lines = tuple((item_id(tx, scope, owner["code"], li.sku), li.condition, li.quantity) for li in new.lines)
    counted = Counted(owner["id"], warehouse_id, new.ref, new.counted_at, lines, scope.actor)
    taken = count_stock.count(tx, ledger, counted)
    if not taken.repeated:
        note(tx, scope, "stock counted", new.ref, warehouse=new.warehouse, lines=len(lines))
    return taken


def _kept(tx: Transaction, scope: Scope, warehouse: str, owner: str | None) -> int:
    """Our id of a warehouse that keeps goods of this owner. Raises Unmatched, Refused."""
    ident, k = int(find(tx, scope, t.warehouses, warehouse)["id"]), t.keepers.c
    mine = (k.warehouse_id == ident) & (k.owner_id == owner_of(tx, scope, owner)["id"])
    if tx.row(select(k.code).where(mine)) is None:
        raise Refused(f"{warehouse} has no keeper code for that owner: add it first")
    return ident


def count_of(tx: Transaction, scope: Scope, ident: int) -> Row:
    """A stock-take. Raises Unmatched."""
    co = t.counts.c
    row = tx.row(select(t.counts).where(co.id == ident, scope.sees(co.owner_id)))
    if row is None:
        raise Unmatched("count", str(ident), f"there is no stock-take {ident}")
    return row


def approve(tx: Transaction, scope: Scope, ident: int) -> None:
    """Book it. Raises Unmatched, Refused for one who may not, or where `count_stock.approve` does."""
    ledger = Ledger(tx)
    row = count_of(tx, scope, ident)
    if scope.role != "operator" and (scope.role == "warehouse" or scope.actor == row["asked_by"]):
        raise Refused(NOT_BY_WHOM_IT_COUNTED)
    count_stock.approve(tx, ledger, row, scope.actor)
    note(tx, scope, "stock-take approved", row["ref"])


def reject(tx: Transaction, scope: Scope, ident: int, rejection: Rejection) -> None:
    """Nothing of it is booked. Raises Unmatched, or Refused where it is booked already."""
    tx.lock_ledger()
    row = count_of(tx, scope, ident)
    count_stock.reject(tx, row, rejection.reason, scope.actor)
    note(tx, scope, "stock-take rejected", row["ref"], reason=rejection.reason)


def regrade(tx: Transaction, scope: Scope, new: NewRegrade) -> dict[str, Any]:
    """What was booked, or had been. Raises Unmatched, Unfit, or Refused where the ref stands for something else."""
    if new.from_ == new.to:
        raise Unfit(f"{new.ref}: the goods are {new.to} already: name two conditions")
    ledger = Ledger(tx)
    owner, warehouse_id = owner_of(tx, scope, new.owner), _kept(tx, scope, new.warehouse, new.owner)
    origin = CellKey(owner["id"], item_id(tx, scope, owner["code"], new.sku), warehouse_id, new.from_)
    key = f"regrade:person:{owner['id']}:{new.ref}"
    fresh = regrade_goods.judge(tx, ledger, Judged(key, f"regrade:{new.ref}", origin, new.to, new.quantity))
    if fresh:
        note(tx, scope, "goods regraded", new.ref, reason=new.reason, sku=new.sku, units=new.quantity)
    told = new.model_dump(by_alias=True) | {"owner": owner["code"]}
    return {**told, "repeated": not fresh}
