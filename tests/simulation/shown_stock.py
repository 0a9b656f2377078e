"""What warehouses show to the pool's machine: the truth, or a lie; a lie that is told twice is believed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from core.flow import settle_residual
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


def set_limits(tx: Transaction) -> None:
    """Residuals of up to 6 units are booked, however few lie there."""
    tx.conn.execute(t.warehouses.update().values(residual_max_units=6, residual_max_percent=10**6))


def decide(hub: Any, accept: bool) -> None:
    """A person accepts or dismisses every residual there is."""
    w = t.worklist.c
    press = settle_residual.accept if accept else settle_residual.dismiss
    for task in hub.rows(select(w.subject).where(w.kind == settle_residual.TASK, w.done_at.is_(None))):
        hub.store.write(lambda tx, task=task: press(tx, int(task["subject"].partition(":")[2])))
    assert hub.rows(select(w.id).where(w.kind == settle_residual.TASK, w.done_at.is_(None))) == []


def ago(now: datetime, minutes: int) -> datetime:
    """So many minutes before."""
    return now - timedelta(minutes=minutes)
