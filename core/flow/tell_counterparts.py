"""What leaves for a purchase is told at every shop that has an order of it, not only at that of the order which claims.

A distributor's purchase is shipped at its supplier's account by its own number (Taobao: sales-platforms §1.4); what the
platform then does with the shopper's order is its own affair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select

from core.flow import tell_shipment
from core.flow.tell import Happened, tell
from core.model import Shipment, ShippedLine
from core.store import tables as t
from core.store.store import Transaction, many, one

Row = Mapping[str, Any]
LEFT = ("shipped", "delivered")
GONE = ("shipped", "delivered", "closed")
SHIPPED = "counterpart.shipped"


def shipped(tx: Transaction, fulfilment: Row, cause: str = "") -> None:
    """A fulfilment has left: the shops of the orders that follow its order hear of it."""
    o = t.orders.c
    _tell(tx, fulfilment, tx.rows(select(t.orders).where(o.counterpart_of == fulfilment["order_id"])), cause)


def began(tx: Transaction, orders: Sequence[Row]) -> None:
    """These orders follow another from now on: what has left for it already is told at their shops too."""
    for order in (row for row in orders if row["counterpart_of"] is not None):
        for fulfilment in many(tx, t.fulfilments, "order_id", [order["counterpart_of"]]):
            if fulfilment["state"] in LEFT:
                _tell(tx, fulfilment, [order])


def _tell(tx: Transaction, fulfilment: Row, orders: Sequence[Row], cause: str = "") -> None:
    about = f"fulfilment:{fulfilment['id']}" + (f":{cause}" if cause else "")
    told = [
        Happened(
            SHIPPED,
            order["merchant_id"],
            {"order": order["id"], "fulfilment": fulfilment["id"]},
            f"order:{order['id']}",
            {"shop": order["connection_id"]},
            {"ref": fulfilment["ref"]},
            about,
        )
        for order in orders
        if order["status"] not in GONE
    ]
    tell(tx, told)


def shipment(tx: Transaction, row: Row) -> Shipment | None:
    """What the shop of an order that follows is told by this intent: what left and was not told; None for nothing."""
    order = one(tx, t.orders, id=row["payload"]["order"])
    fulfilment = one(tx, t.fulfilments, id=row["payload"]["fulfilment"])
    assert order is not None and fulfilment is not None
    if order["counterpart_of"] != fulfilment["order_id"] or order["status"] in GONE:
        return None
    lines = _dealt(tx, order, _left(tx, fulfilment["order_id"]), _told(tx, row))
    return tell_shipment.phrased(tx, fulfilment, order["ref"], lines) if lines else None


def _left(tx: Transaction, order_id: int) -> Counter[int]:
    """Item → base units, or kits, that have left for the order that claims."""
    left = Counter[int]()
    for line in many(tx, t.order_lines, "order_id", [order_id]):
        if line["item_id"]:
            left[line["item_id"]] += line["shipped"]
    return left


def _told(tx: Transaction, row: Row) -> Counter[str]:
    """Line's ref → listing units that the shop was told have left for this order."""
    o = t.outbox.c
    mine = (o.connection_id == row["connection_id"]) & (o.key == row["key"]) & (o.ability == row["ability"])
    told = Counter[str]()
    for reached in tx.conn.execute(select(o.reached).where(mine, o.state == "done")).scalars():
        for line in reached.get("said", {}).get("lines", ()):
            told[line["ref"]] += line["quantity"]
    return told


def _dealt(tx: Transaction, order: Row, left: Counter[int], told: Counter[str]) -> tuple[ShippedLine, ...]:
    """What left, dealt out over the order's own lines of the item, in whole listing units, less what was told."""
    found = []
    for line in sorted(many(tx, t.order_lines, "order_id", [order["id"]]), key=lambda it: it["id"]):
        units = min(line["ordered"] - line["cancelled"], left[line["item_id"]] if line["item_id"] else 0)
        left[line["item_id"]] -= units
        if (n := units // line["pack"] - told[line["ref"]]) > 0:
            found.append(ShippedLine(ref=line["ref"], quantity=n))
    return tuple(found)
