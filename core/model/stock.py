"""Stock in others' words: snapshots, signed differences, and the level a shop is told."""

from __future__ import annotations

from datetime import date
from typing import Literal, Self

from pydantic import model_validator

from core.model.base import Change, Model, Quantity, Ref, Time

Condition = Literal["ZP", "CC", "JS", "XS"]
"""Good, defective, machine damage, box damage (Qimen's inventoryType)."""


class Lot(Model):
    """Units of one row that share a lot (批次). condition: where it is said per lot; it must be the row's own."""

    code: str = ""
    quantity: Change
    condition: Condition | None = None
    made_on: date | None = None
    expires_on: date | None = None


def check_lots(lots: tuple[Lot, ...], quantity: int, condition: Condition) -> None:
    """Lots that are told add up to their row and share its condition; raises ValueError."""
    told = sum(lot.quantity for lot in lots)
    if lots and told != quantity:
        raise ValueError(f"its lots add up to {told}, the row itself says {quantity}")
    if any(lot.condition not in (None, condition) for lot in lots):
        raise ValueError("a lot is in another condition than its row: they must be rows of their own")


class SnapshotRow(Model):
    """One figure they show. `listing` for a shop, `sku` (and keeper code) for a warehouse or an ERP.

    quantity: what is saleable or unfrozen; locked: frozen or allocated units their quantity leaves out.
    on_hand: set where they show it apart (an on-hand shop). read_at: where rows were read at times of their own.
    """

    listing: str = ""
    sku: str = ""
    warehouse: str = ""
    location: str = ""
    keeper: str = ""
    condition: Condition = "ZP"
    quantity: Change
    locked: Change = 0
    on_hand: Change | None = None
    read_at: Time | None = None


class Snapshot(Model):
    """What they say they have, as of one moment. Compared, never applied as a level.

    keeper, sku: all that they were asked about, where it was that little; what they do not name of it is not there.
    announced: how many rows they said there are, received: how many came; both before rows of no meaning were left out.
    """

    as_of: Time | None = None
    keeper: str = ""
    sku: str = ""
    announced: Quantity | None = None
    received: Quantity | None = None
    rows: tuple[SnapshotRow, ...]


class AdjustmentRow(Model):
    """A signed difference that has happened. order_ref: the document it belongs to; if it is ours, it only confirms."""

    sku: Ref
    keeper: str = ""
    warehouse: Ref
    condition: Condition = "ZP"
    quantity: Change
    order_ref: str = ""
    event_id: Ref
    happened_at: Time | None = None
    lots: tuple[Lot, ...] = ()

    @model_validator(mode="after")
    def _lots_agree(self) -> Self:
        check_lots(self.lots, self.quantity, self.condition)
        return self


class Adjustment(Model):
    """A count (盘点) or stock change (异动) a warehouse reports: facts, always booked."""

    ref: Ref
    happened_at: Time | None = None
    rows: tuple[AdjustmentRow, ...]


class Level(Model):
    """What a shop shall show for one listing at one location.

    form: how it is said. `set`: absolute `quantity`; `delta`: signed `change` with idempotency key `key`;
    `compare`: set `quantity` where the shop still shows `expected`. quantity is in listing units; for an on-hand
    shop it is the on-hand figure.
    """

    listing: Ref
    product: str = ""
    sku: str = ""
    location: str = ""
    form: Literal["set", "delta", "compare"]
    quantity: Quantity
    change: Change = 0
    expected: Change | None = None
    key: str
