"""Lots and holds held against the journal and the balances, picks against what they are for."""

from __future__ import annotations

from sqlalchemy import func, select

from core.flow.audit_causes import last, last_of_lot, shipments
from core.flow.pin_lots import unasked
from core.store import tables as t
from core.store.ledger import ON_HAND
from core.store.store import Transaction


def lots(tx: Transaction) -> list[str]:
    """Cells whose lots do not add up to what is on hand, and lots that are not the sum of their entries."""
    ce, i, li, e = t.cells.c, t.items.c, t.lot_on_hand.c, t.lot_entries.c
    total = func.coalesce(func.sum(li.units), 0)
    cells = select(ce.id, t.on_hand.label("on_hand"), total.label("n")).join(t.items, i.id == ce.item_id)
    cells = cells.join(t.lot_on_hand, li.cell_id == ce.id, isouter=True).where(i.keeps_lots.is_(True))
    wrong = tx.rows(cells.group_by(ce.id).having(total != t.on_hand))
    booked = func.coalesce(func.sum(e.units), 0)
    each = select(li.cell_id, li.lot, li.units, booked.label("n"))
    each = each.join(t.lot_entries, (e.cell_id == li.cell_id) & (e.lot == li.lot), isouter=True)
    strange = tx.rows(each.group_by(li.cell_id, li.lot, li.units).having(booked != li.units))
    return [
        *(
            f"cell {r['id']}: its lots add up to {r['n']}, on hand are {r['on_hand']}{last(tx, r['id'], *ON_HAND)}"
            for r in wrong
        ),
        *(
            f"cell {r['cell_id']}: lot {r['lot']} is {r['units']}, its journal says {r['n']}"
            f"{last_of_lot(tx, r['cell_id'], r['lot'])}"
            for r in strange
        ),
    ]


def holds(tx: Transaction) -> list[str]:
    """Good cells that hold other than the sum of their open holds."""
    ce, h = t.cells.c, t.holds.c
    total = func.coalesce(func.sum(h.remaining), 0)
    query = select(ce.id, ce.held, total.label("n")).join(t.holds, h.cell_id == ce.id, isouter=True)
    query = query.where(ce.condition == "ZP").group_by(ce.id, ce.held).having(total != ce.held)
    return [
        f"cell {r['id']}: {r['held']} units are held, its holds say {r['n']}{last(tx, r['id'], 'held')}"
        for r in tx.rows(query)
    ]


def picks(tx: Transaction) -> list[str]:
    """Lots that are still to leave for fulfilments that are over, or beyond what their line is to send."""
    p, f, li = t.picks.c, t.fulfilments.c, t.fulfilment_lines.c
    over = tx.rows(select(p.fulfilment_id).join(t.fulfilments, f.id == p.fulfilment_id).where(f.final, p.remaining > 0))
    total = func.sum(p.units)
    lines = select(li.fulfilment_id, li.n, li.quantity, total.label("told"))
    lines = lines.join(t.picks, (p.fulfilment_id == li.fulfilment_id) & (p.n == li.n))
    much = tx.rows(lines.group_by(li.fulfilment_id, li.n, li.quantity).having(total > li.quantity))
    by = shipments(tx, {row["fulfilment_id"] for row in over})
    return [
        *(
            f"fulfilment {r['fulfilment_id']} is over, but lots are still to leave for it{by[r['fulfilment_id']]}"
            for r in over
        ),
        *(f"fulfilment {r['fulfilment_id']}, line {r['n']}: {r['told']} units by lot of {r['quantity']}" for r in much),
    ]


CHECKS = (lots, holds, picks, unasked)
