"""What a courier carries, and what is said of it on the way."""

from __future__ import annotations

from typing import Literal, get_args

from core.model.base import Model, Ref, Time

Milestone = Literal[
    "unknown",
    "created",
    "picked_up",
    "in_transit",
    "customs",
    "arrived_destination",
    "out_for_delivery",
    "delivery_failed",
    "ready_for_pickup",
    "exception",
    "returning",
    "delivered",
    "returned",
    "cancelled",
    "lost_or_damaged",
]
MILESTONES: tuple[str, ...] = get_args(Milestone)


class TrackedRow(Model):
    """One tracking fact. key: the courier's event id, else what makes it unique; code and place as they say them."""

    waybill: Ref
    key: Ref
    code: str
    milestone: Milestone
    happened_at: Time
    place: str = ""
    text: str = ""
    order_ref: str = ""


class Tracking(Model):
    """Tracking facts of any number of parcels, of any number of merchants, in any order, doubled or not."""

    rows: tuple[TrackedRow, ...]
