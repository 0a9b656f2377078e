"""What a warehouse is told and tells: goods announced and received, parcels ordered and sent."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from core.model.base import Currency, Minor, Model, Quantity, Ref, Time
from core.model.party import Party
from core.model.stock import Condition, Lot, check_lots


class AsnLine(Model):
    """One item that is announced, or shall leave, in base units."""

    line: Ref
    sku: Ref
    quantity: Quantity


class Asn(Model):
    """Advance shipping notice: goods on their way. `ref` is ours; `warehouse` is our id, linked by the mapping.

    keeper: how that warehouse knows the owner (Qimen ownerCode). reason: why goods come.
    """

    ref: Ref
    warehouse: Ref
    keeper: Ref
    reason: Literal["other", "transfer"] = "other"
    created_at: Time
    expected_at: Time | None = None
    lines: tuple[AsnLine, ...]


class Stockout(Model):
    """Goods a warehouse shall send to another one. `ref` is ours; `warehouse` is our id, linked by the mapping.

    keeper: how that warehouse knows the owner; goal: what the other is called.
    """

    ref: Ref
    warehouse: Ref
    keeper: Ref
    goal: str
    created_at: Time
    lines: tuple[AsnLine, ...]


class _LottedLine(Model):
    """Units of one item in one condition, in base units; lots, where they are told, add up to exactly these units."""

    line: str = ""
    sku: Ref
    quantity: Quantity
    condition: Condition = "ZP"
    lots: tuple[Lot, ...] = ()

    @model_validator(mode="after")
    def _lots_agree(self) -> Self:
        check_lots(self.lots, self.quantity, self.condition)
        return self


class ReceivedLine(_LottedLine):
    """Units of one item that have arrived in one condition."""


class Receipt(Model):
    """Goods received against an ASN: increments. event_id: the sender's message id ("" if it sends none)."""

    asn: Ref
    warehouse: Ref
    keeper: str = ""
    event_id: str = ""
    final: bool
    happened_at: Time | None = None
    lines: tuple[ReceivedLine, ...]


class ReturnedLine(_LottedLine):
    """Units of one item that came back, graded. order: the shop's order or our fulfilment they belong to, if told.

    serials: of those units that have one.
    """

    keeper: str = ""
    order: str = ""
    serials: tuple[Ref, ...] = ()


class Return(Model):
    """Goods a warehouse took back: increments. ref: what the return is called; event_id: the sender's message id.

    warehouse is their code for it. carrier, waybill: how the goods came back; the waybill is ours where a parcel was
    refused.
    """

    ref: Ref
    warehouse: Ref
    event_id: str = ""
    final: bool
    happened_at: Time | None = None
    carrier: str = ""
    waybill: str = ""
    reason: str = ""
    lines: tuple[ReturnedLine, ...]


class DeliveryLine(Model):
    """One line the warehouse shall pick, in base units. Amounts are totals of the line. lot: of which all shall be."""

    line: Ref
    sku: Ref
    keeper: Ref
    title: str = ""
    quantity: Quantity
    order_line: str = ""
    net_minor: Minor = 0
    unit_minor: Minor = 0
    lot: str = ""
    expires_on: str | None = None


class DeliveryOrder(Model):
    """One fulfilment as its warehouse is told of it. `ref` is ours; `warehouse` is our id, linked by the mapping.

    carrier: canonical carrier code (`mappings/tables/couriers.yaml`). Amounts are totals in minor units.
    """

    ref: Ref
    order_ref: Ref
    warehouse: Ref
    keeper: Ref
    platform: str = "OTHER"
    shop: str = ""
    carrier: str = "OTHER"
    waybill: str = ""
    placed_at: Time
    paid_at: Time | None = None
    created_at: Time
    currency: Currency
    total_minor: Minor = 0
    freight_minor: Minor = 0
    note: str = ""
    sender: Party
    receiver: Party
    lines: tuple[DeliveryLine, ...]


class Cancellation(Model):
    """Stop this. For a warehouse `ref` is our fulfilment, `their_ref` theirs; for a shop `ref` is the shop's order.

    warehouse is our id, linked by the mapping. of: what the warehouse shall stop.
    """

    ref: Ref
    their_ref: str = ""
    warehouse: str = ""
    keeper: str = ""
    of: Literal["delivery", "stockout", "asn"] = "delivery"
    reason: str = ""


class ConfirmedLine(_LottedLine):
    """Units of one line that have left the warehouse: an increment, in base units. serials: of those that have one."""

    serials: tuple[Ref, ...] = ()


class PackedParcel(Model):
    """One parcel that was packed. weight in grams."""

    carrier: str
    waybill: Ref
    weight_g: int | None = None


class Confirm(Model):
    """What the warehouse says has left: increments. final: nothing more will come. event_id: "" if it sends none."""

    fulfilment: Ref
    warehouse: str = ""
    event_id: str = ""
    final: bool
    happened_at: Time | None = None
    parcels: tuple[PackedParcel, ...] = ()
    lines: tuple[ConfirmedLine, ...]


class Progress(Model):
    """A step of a fulfilment inside the warehouse. stage: canonical; code: theirs."""

    fulfilment: Ref
    code: str
    stage: Literal["accepted", "working", "ready", "shipped", "delivered", "exception", "cancelled", "cancel_refused"]
    happened_at: Time | None = None


class Booking(Model):
    """A waybill asked of a courier for one fulfilment. `ref` is ours and unique at the courier. weight in grams."""

    ref: Ref
    created_at: Time
    sender: Party
    receiver: Party
    goods: str
    pieces: int = 1
    weight_g: int | None = None


class Shipment(Model):
    """What a shop is told when goods have left: which order, which lines, which waybill.

    carrier is the canonical carrier code; `lines` are (their line ref, listing units).
    """

    ref: Ref
    order_ref: Ref
    carrier: str
    waybill: Ref
    shipped_at: Time
    split: bool = False
    lines: tuple[ShippedLine, ...]


class ShippedLine(Model):
    """One shop line in a shipment, in listing units."""

    ref: Ref
    quantity: Quantity


Shipment.model_rebuild()
