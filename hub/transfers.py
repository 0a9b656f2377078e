"""Transfers as people and callers speak of them: codes and SKUs become what is decided, and acts are written down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple, Self

from pydantic import Field, StrictBool, StrictInt, model_validator
from sqlalchemy import select

from core.errors import Unfit, Unmatched
from core.flow import carry_transfer, keep_promises, transfer_stock
from core.flow.carry_transfer import Told, Units
from core.flow.transfer_stock import Accepted, Answer, Fate, Transfer
from core.model.stock import Condition
from core.store import tables as t
from core.store.ledger import Ledger
from core.store.scope import Scope
from core.store.store import Transaction, one
from hub.answers import named
from hub.onboard.form import PRINTED, Code, Form, Ref, Row, find, note
from hub.onboard.goods import item_id

LINES = 1000
Number = Annotated[str, Field(max_length=120, pattern=PRINTED)]
"""The caller's own number of what it asks or tells."""
Quantity = Annotated[StrictInt, Field(ge=1, le=10**9)]
Reason = Annotated[str, Field(max_length=500, pattern=PRINTED)]


class WantedLine(Form):
    """So many base units of an item, in good condition."""

    sku: Ref
    quantity: Quantity


class NewTransfer(Form):
    """Units to move between two warehouses, whole or not at all. ref: the caller's own number: asked again, it stands.

    owner: whose goods, where the key does not say.
    """

    ref: Number
    owner: Code | None = None
    from_: Annotated[Code, Field(alias="from")]
    to: Code
    lines: Annotated[tuple[WantedLine, ...], Field(min_length=1, max_length=LINES)]


class MovedLine(Form):
    """So many base units of an item that left or arrived, in one condition."""

    sku: Ref
    quantity: Quantity
    condition: Condition = "ZP"


class Moved(Form):
    """An increment that left or arrived. ref: its own number, booked once; final: nothing more will."""

    ref: Number
    lines: Annotated[tuple[MovedLine, ...], Field(max_length=LINES)] = ()
    final: StrictBool = False

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.lines and not self.final:
            raise ValueError("say what moved, or that nothing more will")
        return self


class FateLine(Form):
    """What became of units of an item that left and did not arrive."""

    sku: Ref
    lost: Annotated[StrictInt, Field(ge=0, le=10**9)] = 0
    came_back: Annotated[StrictInt, Field(ge=0, le=10**9)] = 0


class Closing(Form):
    """Every unit on the way is named: lost for good, or back where it had left. reason: how one knows."""

    reason: Reason
    lines: Annotated[tuple[FateLine, ...], Field(max_length=LINES)] = ()


class Asked(NamedTuple):
    """What the funnel is asked, and the SKUs it is about."""

    command: Transfer
    skus: dict[int, str]

    def named(self, answer: Answer) -> Accepted:
        """The transfer, or why there is none, in the caller's words. Raises what was answered."""
        return named(self.command.ref, answer, self.skus)


def owner_of(tx: Transaction, scope: Scope, code: str | None) -> Row:
    """Whose goods it is about: the merchant that is named, else the key's own. Raises Unfit where neither says."""
    if code:
        return find(tx, scope, t.merchants, code)
    own = one(tx, t.merchants, id=scope.merchant_id) if scope.merchant_id is not None else None
    if own is None:
        raise Unfit("say whose goods they are (owner): this key is not a merchant's")
    return own


def asked(tx: Transaction, scope: Scope, new: NewTransfer) -> Asked:
    """What the funnel is asked. Raises Unmatched for an owner, item or warehouse there is not."""
    owner = owner_of(tx, scope, new.owner)
    places = [int(find(tx, scope, t.warehouses, code)["id"]) for code in (new.from_, new.to)]
    items = [item_id(tx, scope, owner["code"], line.sku) for line in new.lines]
    lines = tuple(zip(items, (line.quantity for line in new.lines), strict=True))
    command = Transfer(owner["id"], new.ref, places[0], places[1], lines)
    return Asked(command, dict(zip(items, (line.sku for line in new.lines), strict=True)))


def found(tx: Transaction, scope: Scope, ref: str, owner: str | None) -> Row:
    """A transfer by its asker's number. Raises Unmatched."""
    tr = t.transfers.c
    mine = (tr.ref == ref) & (tr.owner_id == owner_of(tx, scope, owner)["id"])
    row = tx.row(select(t.transfers).where(mine, scope.sees(tr.owner_id)))
    if row is None:
        raise Unmatched("transfer", ref, f"there is no transfer {ref!r}")
    return row


def depart(tx: Transaction, scope: Scope, ref: str, owner: str | None, moved: Moved) -> None:
    """Goods left, as a person says. Raises Unmatched, or Refused where this number told of other units before."""
    ledger, row = _opened(tx, scope, ref, owner)
    told = _told(tx, row, moved, carry_transfer.out_key(row, f"person:{moved.ref}"))
    carry_transfer.depart(tx, ledger, row, told)
    _done(tx, ledger, scope, row, "transfer left", number=moved.ref)


def arrive(tx: Transaction, scope: Scope, ref: str, owner: str | None, moved: Moved) -> None:
    """Goods arrived, as a person says. Raises Unmatched, or Refused where this number told of other units before."""
    ledger, row = _opened(tx, scope, ref, owner)
    told = _told(tx, row, moved, carry_transfer.in_key(row, f"person:{moved.ref}"))
    carry_transfer.arrive(tx, ledger, row, told)
    _done(tx, ledger, scope, row, "transfer arrived", number=moved.ref)


def close(tx: Transaction, scope: Scope, ref: str, owner: str | None, closing: Closing) -> None:
    """Settle what is on the way. Raises Unmatched, or Refused where that is not exactly what is named."""
    ledger, row = _opened(tx, scope, ref, owner)
    items = _items(tx, row, [line.sku for line in closing.lines])
    if len(set(items)) != len(items):
        raise Unfit(f"{ref}: an item is named twice: add its units up")
    fates = {item: Fate(line.lost, line.came_back) for item, line in zip(items, closing.lines, strict=True)}
    transfer_stock.close(tx, ledger, row, fates, closing.reason, scope.actor)
    _done(tx, ledger, scope, row, "transfer closed", reason=closing.reason)


def call_off(tx: Transaction, scope: Scope, ref: str, owner: str | None) -> None:
    """Nothing of it shall move. Raises Unmatched, or Refused once goods have moved."""
    ledger, row = _opened(tx, scope, ref, owner)
    transfer_stock.call_off(tx, ledger, row)
    _done(tx, ledger, scope, row, "transfer called off")


def _opened(tx: Transaction, scope: Scope, ref: str, owner: str | None) -> tuple[Ledger, Row]:
    ledger = Ledger(tx)
    return ledger, found(tx, scope, ref, owner)


def _told(tx: Transaction, row: Row, moved: Moved, key: str) -> Told:
    units: Units = {}
    for item, line in zip(_items(tx, row, [line.sku for line in moved.lines]), moved.lines, strict=True):
        units[item, line.condition] = units.get((item, line.condition), 0) + line.quantity
    return Told(key, f"transfer:{row['id']}", units, moved.final)


def _items(tx: Transaction, row: Row, skus: Sequence[str]) -> list[int]:
    known = {line["sku"]: line["item_id"] for line in transfer_stock.lines_of(tx, row["id"])}
    if strange := next((sku for sku in skus if sku not in known), None):
        raise Unmatched("item", strange, f"{strange!r} is not on {row['ref']}; it moves: {', '.join(sorted(known))}")
    return [known[sku] for sku in skus]


def _done(tx: Transaction, ledger: Ledger, scope: Scope, row: Row, act: str, **detail: str) -> None:
    keep_promises.after_moves(tx, ledger)
    note(tx, scope, act, row["ref"], **detail)
