"""What warehouses show to the pool's machine: the truth, or a lie; a lie that is told twice is believed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from core.flow.expect_stock import Subject, books, source
from core.model import Snapshot, SnapshotRow
from core.store import tables as t
from core.store.ledger import Ledger
from core.store.store import Transaction

QUARTER_S = 900


def booked(hub: Any) -> Iterator[tuple[str, str, int]]:
    """(sku, warehouse code, units) of every residual that was booked."""
    c, w = t.comparisons.c, t.warehouses.c
    query = select(c.sku, c.residual, w.code).join(t.warehouses, w.id == c.warehouse_id)
    for row in hub.rows(query.where(c.state == "booked").order_by(c.id)):
        yield row["sku"], row["code"], row["residual"]


def shows(hub: Any, sku: str, warehouse: str, units: int, as_of: datetime | None = None) -> list[str]:
    """The warehouse shows so many; what became of the snapshot."""
    row = SnapshotRow(sku=sku, keeper="ALPHA", warehouse=warehouse.upper(), quantity=units)
    return list(hub.hears(Snapshot(as_of=as_of, rows=(row,)), at=hub.wms))


def may_lie_there(hub: Any, sku: str, warehouse: str, units: int) -> bool:
    """Whether so many units agree with what the books expect now."""

    def work(tx: Transaction) -> int:
        held = books(tx, Ledger(tx), source(tx, hub.wms), [sku], tx.now)
        subject = Subject(getattr(hub, warehouse), "ALPHA", sku, "ZP")
        return held.expected(held.meant(subject), "ZP", tx.now).residual(units)

    return hub.store.write(work) == 0


def ago(now: datetime, minutes: int) -> datetime:
    """So many minutes before."""
    return now - timedelta(minutes=minutes)
