"""What was told of a serial number."""

from __future__ import annotations

from typing import Any

from sqlalchemy import or_, select

from core.errors import Unmatched
from core.store import tables as t
from core.store.scope import Scope
from core.store.store import Transaction, many
from web.reads.shape import all_shown


def serial(tx: Transaction, scope: Scope, serial: str) -> dict[str, Any]:
    """Facts of units with this serial, of items the scope owns or sold. Raises Unmatched where there is none."""
    s, i, m, f, o, r = (x.c for x in (t.serial_facts, t.items, t.merchants, t.fulfilments, t.orders, t.returns))
    names = (i.sku, m.code.label("owner"), s.what, f.ref.label("fulfilment"), o.ref.label("order"))
    query = (
        select(s.id, *names, r.ref.label("return"), s.fulfilment_id, s.happened_at, s.recorded_at)
        .join(t.items, i.id == s.item_id)
        .join(t.merchants, m.id == i.owner_id)
        .join(t.fulfilments, f.id == s.fulfilment_id, isouter=True)
        .join(t.orders, o.id == f.order_id, isouter=True)
        .join(t.returns, r.id == s.return_id, isouter=True)
        .where(s.serial == serial, or_(scope.sees(i.owner_id), scope.sees(f.merchant_id)))
    )
    rows = tx.rows(query.order_by(s.id))
    if not rows:
        raise Unmatched("serial", serial, f"no warehouse told of a unit with the serial number {serial!r}")
    waybills: dict[int, list[str]] = {}
    for parcel in many(tx, t.parcels, "fulfilment_id", [row["fulfilment_id"] for row in rows if row["fulfilment_id"]]):
        waybills.setdefault(parcel["fulfilment_id"], []).append(parcel["waybill"])
    shown = [{**row, "waybills": sorted(waybills.get(row.pop("fulfilment_id"), ()))} for row in map(dict, rows)]
    return {"serial": serial, "facts": all_shown(shown)}
