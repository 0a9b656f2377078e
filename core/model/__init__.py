"""The canonical nouns: frozen values that every connector's documents are translated into."""

from core.model.base import Model, Time
from core.model.document import Document
from core.model.fulfilment import (
    Asn,
    AsnLine,
    Booking,
    Cancellation,
    Confirm,
    ConfirmedLine,
    DeliveryLine,
    DeliveryOrder,
    PackedParcel,
    Progress,
    Receipt,
    ReceivedLine,
    Return,
    ReturnedLine,
    Shipment,
    ShippedLine,
    Stockout,
)
from core.model.item import Catalogue, CatalogueItem
from core.model.order import Order, OrderLine, Sale, SaleLine
from core.model.parcel import MILESTONES, Milestone, TrackedRow, Tracking
from core.model.party import Party
from core.model.stock import Adjustment, AdjustmentRow, Level, Lot, Snapshot, SnapshotRow

INWARD: dict[str, type[Model]] = {
    "order": Order,
    "confirm": Confirm,
    "receipt": Receipt,
    "return": Return,
    "progress": Progress,
    "count": Adjustment,
    "stock_change": Adjustment,
    "stock": Snapshot,
    "tracking": Tracking,
    "item": Catalogue,
}
"""Document kind → the noun its `read:` mapping yields."""

OUTWARD: dict[str, type[Model]] = {
    "stock": Level,
    "shipment": Shipment,
    "delivery_order": DeliveryOrder,
    "asn": Asn,
    "stockout": Stockout,
    "cancellation": Cancellation,
    "booking": Booking,
    "sale": Sale,
}
"""Noun of a `send_<noun>` ability → the value its `write:` mapping starts from."""

__all__ = [
    "INWARD",
    "MILESTONES",
    "OUTWARD",
    "Adjustment",
    "AdjustmentRow",
    "Asn",
    "AsnLine",
    "Booking",
    "Cancellation",
    "Catalogue",
    "CatalogueItem",
    "Confirm",
    "ConfirmedLine",
    "DeliveryLine",
    "DeliveryOrder",
    "Document",
    "Level",
    "Lot",
    "Milestone",
    "Model",
    "Order",
    "OrderLine",
    "PackedParcel",
    "Party",
    "Progress",
    "Receipt",
    "ReceivedLine",
    "Return",
    "ReturnedLine",
    "Sale",
    "SaleLine",
    "Shipment",
    "ShippedLine",
    "Snapshot",
    "SnapshotRow",
    "Stockout",
    "Time",
    "TrackedRow",
    "Tracking",
]
