"""Lots that expire soon are kept from being promised, by the clock; what a person lets go of them stays let go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, false, or_, select

from core.flow import hold_goods, keep_promises
from core.flow.hold_goods import Freeze
from core.store import tables as t
from core.store.ledger import Ledger
from core.store.lots import spoken_for
from core.store.store import Transaction

REASON, CLOCK = "near_expiry", "clock"
Row = Mapping[str, Any]


def any_due(tx: Transaction) -> bool:
    """Whether units are to be held, or given back because their lot does not expire soon any more."""
    return bool(_near(tx) or _not_near(tx))


def hold(tx: Transaction) -> int:
    """Hold what is free of lots that expire soon, give back what is held of others; returns how many holds changed."""
    ledger = Ledger(tx)
    over, near = _not_near(tx), _near(tx)
    for held in over:
        hold_goods.give_back(tx, ledger, held, 0, CLOCK)
    cells = ledger.cells_by_id(r["cell_id"] for r in near)
    for row in near:
        cell = cells[row["cell_id"]]
        if units := min(cell.promisable, row["units"]):
            ref = f"{REASON} {tx.ids.new()}"
            hold_goods.open_hold(tx, ledger, cell, Freeze(cell.key, units, ref, REASON, CLOCK, row["lot"]))
    keep_promises.after_moves(tx, ledger)
    return len(over) + len(near)


def _near(tx: Transaction) -> Sequence[Row]:
    """(cell, lot, units) of good units there is something free of, soonest to expire first."""
    li, lo, ce, i, h = t.lot_on_hand.c, t.lots.c, t.cells.c, t.items.c, t.holds.c
    units = li.units - spoken_for()
    let_go = select(h.id).where(h.cell_id == li.cell_id, h.lot == li.lot, h.reason == REASON, h.released_by != CLOCK)
    query = (
        select(li.cell_id, li.lot, units.label("units"))
        .join(t.cells, ce.id == li.cell_id)
        .join(t.items, i.id == ce.item_id)
        .join(t.lots, (lo.item_id == ce.item_id) & (lo.code == li.lot))
        .where(ce.condition == "ZP", ce.free + ce.suspense > 0, units > 0, ~let_go.exists(), _expires_soon(tx))
    )
    return tx.rows(query.order_by(lo.expires_on, li.cell_id, li.lot))


def _not_near(tx: Transaction) -> Sequence[Row]:
    """Holds of the clock whose lot does not expire soon: days were told anew, or the item's limit changed."""
    h, lo, ce, i = t.holds.c, t.lots.c, t.cells.c, t.items.c
    query = select(t.holds).join(t.cells, ce.id == h.cell_id).join(t.items, i.id == ce.item_id)
    query = query.join(t.lots, (lo.item_id == ce.item_id) & (lo.code == h.lot))
    soon = and_(i.near_expiry_days.is_not(None), lo.expires_on.is_not(None), _expires_soon(tx))
    return tx.rows(query.where(h.reason == REASON, h.remaining > 0, ~soon).order_by(h.id))


def _expires_soon(tx: Transaction) -> ColumnElement[bool]:
    """Whether a lot expires within its item's days from today (UTC), or has expired."""
    lo, i = t.lots.c, t.items.c
    limits = tx.conn.execute(select(i.near_expiry_days).where(i.near_expiry_days.is_not(None)).distinct()).scalars()
    last = {days: (tx.now.date() + timedelta(days=days)).isoformat() for days in limits}
    return or_(false(), *(and_(i.near_expiry_days == days, lo.expires_on <= day) for days, day in last.items()))
