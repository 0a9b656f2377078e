"""A fulfilment that is over: what left is told to the shop, and the order's state follows from all its fulfilments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from core.flow import pick_lots, tell_counterparts, track_parcel
from core.flow.tell import Happened, tell
from core.store import tables as t
from core.store.store import Transaction, many, one

OVER = ("shipped", "short")
LATE_S = 3.0
"""How long a shop waits for word of a shipment that came out smaller than ordered: the rest may have been overtaken."""


def finish(tx: Transaction, fulfilment: Mapping[str, Any], missing: int = 0, stopped: bool = False) -> None:
    """Nothing more will come of it: shipped when anything left, else cancelled when it was stopped, else short."""
    left = any(line["shipped"] for line in many(tx, t.fulfilment_lines, "fulfilment_id", [fulfilment["id"]]))
    state = "shipped" if left else "cancelled" if stopped else "short"
    tx.set(t.fulfilments, fulfilment["id"], state=state, final=True, shipped_at=tx.now if left else None)
    pick_lots.let_go(tx, fulfilment["id"])
    order = one(tx, t.orders, id=fulfilment["order_id"])
    assert order is not None
    ids = {"fulfilment": fulfilment["id"], "order": order["id"]}
    subject, shop = f"order:{order['id']}", {"shop": order["connection_id"]}
    told = []
    if left or stopped:
        type_ = f"fulfilment.{state}"
        delay_s = LATE_S if missing else 0
        about = {"ref": fulfilment["ref"]}
        told.append(Happened(type_, order["merchant_id"], ids, subject, shop, about, delay_s=delay_s))
    if missing:
        told.append(Happened("fulfilment.part_short", order["merchant_id"], ids, subject, shop, {"units": missing}))
    tell(tx, told)
    if left:
        tell_counterparts.shipped(tx, fulfilment)


def tell_rest(tx: Transaction, fulfilment: Mapping[str, Any], cause: str) -> None:
    """More left after the end was told: the shop hears of the rest."""
    order = one(tx, t.orders, id=fulfilment["order_id"])
    assert order is not None
    ids, subject = {"fulfilment": fulfilment["id"], "order": order["id"]}, f"order:{order['id']}"
    shop, payload = {"shop": order["connection_id"]}, {"ref": fulfilment["ref"]}
    tell(tx, [Happened("fulfilment.shipped", order["merchant_id"], ids, subject, shop, payload, cause)])
    tell_counterparts.shipped(tx, fulfilment, cause)


def sum_up(tx: Transaction, order_id: int) -> None:
    """The order's state, from its fulfilments and from what still waits to become one."""
    order = one(tx, t.orders, id=order_id)
    assert order is not None
    states = [f["state"] for f in many(tx, t.fulfilments, "order_id", [order_id]) if f["state"] != "cancelled"]
    if not states or order["state"] == "cancelled":
        return
    c = t.claims.c
    loose = select(c.id).where(c.order_id == order_id, c.open.is_(True), c.fulfilment_id.is_(None)).limit(1)
    over = all(state in OVER for state in states) and tx.row(loose) is None
    if over:
        state = "shipped" if "shipped" in states else "short"
    else:
        state = "part_shipped" if "shipped" in states else order["state"]
    if state != order["state"] and order["state"] != "delivered":
        tx.set(t.orders, order_id, state=state)
        tell(tx, [Happened(f"order.{state}", order["merchant_id"], {"order": order_id}, f"order:{order_id}")])
        track_parcel.deliver(tx, [order_id])
