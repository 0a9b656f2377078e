"""What the shop is told of a fulfilment that has left, and that it has been told: in whole listing units, each once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import case, update

from core.flow import sell_kits
from core.model import Shipment, ShippedLine
from core.store import tables as t
from core.store.store import Transaction, many, one


def shipment(tx: Transaction, fulfilment_id: int) -> Shipment | None:
    """What the shop has not been told yet of a shipped fulfilment, in listing units; None when that is nothing."""
    fulfilment = one(tx, t.fulfilments, id=fulfilment_id)
    if fulfilment is None or fulfilment["state"] not in ("shipped", "delivered"):
        return None
    order = one(tx, t.orders, id=fulfilment["order_id"])
    lines = many(tx, t.fulfilment_lines, "fulfilment_id", [fulfilment_id])
    sold = {row["id"]: row for row in many(tx, t.order_lines, "order_id", [fulfilment["order_id"]])}
    assert order is not None
    told = _shipped_lines([line for line in lines if not sold[line["line_id"]]["recipe"]], sold)
    told += sell_kits.shipped_lines(tx, fulfilment_id, sold)
    if not told:
        return None
    return phrased(tx, fulfilment, order["ref"], told)


def phrased(tx: Transaction, fulfilment: Mapping[str, Any], order_ref: str, lines: tuple[ShippedLine, ...]) -> Shipment:
    """These lines of a shop's order, as they left with a fulfilment; split: not all of the purchase did."""
    order_id = fulfilment["order_id"]
    others = [f for f in many(tx, t.fulfilments, "order_id", [order_id]) if f["state"] != "cancelled"]
    return Shipment(
        ref=fulfilment["ref"],
        order_ref=order_ref,
        carrier=fulfilment["carrier"],
        waybill=fulfilment["waybill"],
        shipped_at=fulfilment["shipped_at"],
        split=len(others) > 1 or any(c["open"] for c in many(tx, t.claims, "order_id", [order_id])),
        lines=lines,
    )


def _shipped_lines(
    lines: Sequence[Mapping[str, Any]], sold: Mapping[int, Mapping[str, Any]]
) -> tuple[ShippedLine, ...]:
    """Per order line what left and was not told, in whole listing units, never more than was ordered."""
    units: dict[int, int] = defaultdict(int)
    for line in lines:
        units[line["line_id"]] += max(0, line["shipped"] - line["told"])
    told = [(sold[i], min(n, sold[i]["ordered"]) // sold[i]["pack"]) for i, n in units.items()]
    return tuple(ShippedLine(ref=line["ref"], quantity=n) for line, n in told if n)


def fulfilled_with(tx: Transaction, fulfilment_id: int, said: Shipment) -> dict[str, int]:
    """Per line, the base units the shop will have in fulfilments with this one; it may tell us before we book it."""
    lines = many(tx, t.fulfilment_lines, "fulfilment_id", [fulfilment_id])
    sold = {row["ref"]: row for row in many(tx, t.order_lines, "id", [line["line_id"] for line in lines])}
    return {told.ref: sold[told.ref]["fulfilled"] + told.quantity * sold[told.ref]["pack"] for told in said.lines}


def told_shop(
    tx: Transaction,
    fulfilment_id: int,
    said: Shipment | None = None,
    whole_lines: bool = False,
    fulfilled: Mapping[str, int] | None = None,
) -> None:
    """The shop has booked this shipment: its own figures have moved. said: what it was told, by default all there is.

    whole_lines: telling it of part of a line tells it all. fulfilled: `fulfilled_with` it, from before it was said.
    """
    said = said or shipment(tx, fulfilment_id)
    lines = many(tx, t.fulfilment_lines, "fulfilment_id", [fulfilment_id])
    sold = {row["ref"]: row for row in many(tx, t.order_lines, "id", [line["line_id"] for line in lines])}
    o, f = t.order_lines.c, t.fulfilment_lines.c
    for told in said.lines if said else ():
        row = sold[told.ref]
        units = (fulfilled or {}).get(told.ref, row["fulfilled"] + told.quantity * row["pack"])
        less = update(t.order_lines).where(o.id == row["id"], o.fulfilled < units)
        tx.conn.execute(less.values(fulfilled=units))
        if row["recipe"]:
            sell_kits.told_shop(tx, row, told.quantity * row["pack"])
            continue
        mine = (f.fulfilment_id == fulfilment_id) & (f.line_id == row["id"])
        now = (
            case((f.quantity > f.shipped, f.quantity), else_=f.shipped)
            if whole_lines
            else f.told + told.quantity * row["pack"]
        )
        tx.conn.execute(update(t.fulfilment_lines).where(mine).values(told=now))
