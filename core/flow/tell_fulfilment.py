"""What couriers and warehouses are told of a fulfilment: a booking, a delivery order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.flow import pick_lots, sell_kits
from core.model import Booking, DeliveryLine, DeliveryOrder, Party
from core.store import tables as t
from core.store.parties import open_party
from core.store.store import Transaction, many, one

Row = Mapping[str, Any]


def booking(tx: Transaction, fulfilment_id: int, doubted: bool = False) -> Booking | None:
    """What the courier is asked; None when it is no longer wanted (unless it is doubted whether it was said)."""
    found = _wanted(tx, fulfilment_id, ("labelling",), doubted)
    if found is None:
        return None
    fulfilment, order, warehouse = found
    lines = many(tx, t.fulfilment_lines, "fulfilment_id", [fulfilment_id])
    receiver, _, _ = open_party(tx, order["party_id"])
    goods = ", ".join(f"{line['sku']}×{line['quantity']}" for line in lines)[:100]
    return Booking(
        ref=fulfilment["ref"],
        created_at=fulfilment["created_at"],
        sender=Party(**(warehouse["sender"] or {})),
        receiver=receiver,
        goods=goods,
    )


def delivery_order(tx: Transaction, fulfilment_id: int, doubted: bool = False) -> DeliveryOrder | None:
    """What the warehouse is told; None when it is no longer wanted (unless it is doubted whether it was said)."""
    found = _wanted(tx, fulfilment_id, ("released",), doubted)
    if found is None:
        return None
    fulfilment, order, warehouse = found
    receiver, _, note = open_party(tx, order["party_id"])
    shop = one(tx, t.connections, id=order["connection_id"])
    lines = many(tx, t.fulfilment_lines, "fulfilment_id", [fulfilment_id])
    sold = {row["id"]: row for row in many(tx, t.order_lines, "id", [line["line_id"] for line in lines])}
    priced = sell_kits.priced(lines, sold)
    lots = pick_lots.told(tx, fulfilment_id)
    assert shop is not None
    return DeliveryOrder(
        ref=fulfilment["ref"],
        order_ref=order["ref"],
        warehouse=str(warehouse["id"]),
        keeper=lines[0]["keeper"] or "-",
        platform=shop["connector"],
        shop=shop["code"],
        carrier=fulfilment["carrier"],
        waybill=fulfilment["waybill"],
        placed_at=order["placed_at"],
        paid_at=order["paid_at"],
        created_at=fulfilment["created_at"],
        currency=order["currency"],
        total_minor=sum(line["net_minor"] for line in priced) + order["freight_minor"],
        freight_minor=order["freight_minor"],
        note="; ".join([*([note] if note else []), *_several(lines, lots)]),
        sender=Party(**(warehouse["sender"] or {})),
        receiver=receiver,
        lines=tuple(_delivery_line(line, price, lots) for line, price in zip(lines, priced, strict=True)),
    )


def _several(lines: Sequence[Row], lots: Mapping[int, Sequence[Row]]) -> list[str]:
    """Lines that several lots are to fill, in words: a delivery order has room for one lot a line."""
    return [
        f"{line['sku']}: " + ", ".join(f"{lot['units']} × {lot['lot']}" for lot in lots[line["n"]])
        for line in lines
        if _one_lot(line, lots) is None and line["n"] in lots
    ]


def _one_lot(line: Row, lots: Mapping[int, Sequence[Row]]) -> Row | None:
    """The lot all units of a line are to be of, if there is one."""
    mine = lots.get(line["n"], ())
    return mine[0] if len(mine) == 1 and mine[0]["units"] == line["quantity"] else None


def _delivery_line(line: Row, sold: Row, lots: Mapping[int, Sequence[Row]]) -> DeliveryLine:
    lot = _one_lot(line, lots)
    return DeliveryLine(
        line=str(line["n"]),
        sku=line["sku"],
        keeper=line["keeper"] or "-",
        title=sold["title"],
        quantity=line["quantity"],
        order_line=sold["ref"],
        net_minor=sold["net_minor"],
        unit_minor=sold["net_minor"] // max(1, sold["ordered"]),
        lot=lot["lot"] if lot else "",
        expires_on=lot["expires_on"] if lot else None,
    )


def _wanted(tx: Transaction, fulfilment_id: int, states: Sequence[str], doubted: bool) -> tuple[Row, Row, Row] | None:
    fulfilment = one(tx, t.fulfilments, id=fulfilment_id)
    if fulfilment is None or (fulfilment["state"] not in states and not doubted):
        return None
    order = one(tx, t.orders, id=fulfilment["order_id"])
    warehouse = one(tx, t.warehouses, id=fulfilment["warehouse_id"])
    assert order is not None and warehouse is not None
    return fulfilment, order, warehouse
