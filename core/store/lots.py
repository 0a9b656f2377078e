"""Which lots the units on hand are of: written beside the journals, for items that keep lots."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, func, select, update

from core.store import tables as t
from core.store.rows import add_up, any_of, insert_or_skip
from core.store.store import Transaction

UNNAMED = "?"
"""The lot of units nobody named one for."""


class Named(NamedTuple):
    """Signed units of one lot, as a document tells them."""

    lot: str
    units: int
    made_on: str | None = None
    expires_on: str | None = None


class Moved(NamedTuple):
    """The signed change a journal makes to what is on hand of a cell, and what is told of its lots."""

    journal_id: int
    cell_id: int
    item_id: int
    units: int
    named: Sequence[Named]


def write(tx: Transaction, moved: Sequence[Moved]) -> set[int]:
    """Book lots of what moved, and say in which cells; units without a named lot are booked under "?", so that the
    sum is always on hand.
    """
    keeps = keeping(tx, {m.item_id for m in moved})
    for move in (m for m in moved if m.item_id in keeps):
        units: dict[str, int] = defaultdict(int)
        for named in move.named:
            units[named.lot] += named.units
            _know(tx, move.item_id, named)
        units[UNNAMED] += move.units - sum(n.units for n in move.named)
        for lot, n in units.items():
            _book(tx, move.journal_id, move.cell_id, lot, n)
    return {m.cell_id for m in moved if m.item_id in keeps}


def held() -> ColumnElement[int]:
    """Of a row of `lot_on_hand`, the units that are held of it."""
    li, h = t.lot_on_hand.c, t.holds.c
    units = select(func.coalesce(func.sum(h.remaining), 0)).where(h.cell_id == li.cell_id, h.lot == li.lot)
    return units.scalar_subquery()


def to_leave() -> ColumnElement[int]:
    """Of a row of `lot_on_hand`, the units warehouses were told to send of it and have not."""
    li, p = t.lot_on_hand.c, t.picks.c
    mine = (p.cell_id == li.cell_id, p.lot == li.lot, p.remaining > 0)
    return select(func.coalesce(func.sum(p.remaining), 0)).where(*mine).scalar_subquery()


def pinned() -> ColumnElement[int]:
    """Of a row of `lot_on_hand`, the units that claims hold of it by name and no warehouse was told of."""
    li, p, c = t.lot_on_hand.c, t.pins.c, t.claims.c
    units = select(func.coalesce(func.sum(c.backed), 0)).join(t.pins, p.claim_id == c.id)
    mine = (p.cell_id == li.cell_id, p.lot == li.lot, c.open.is_(True), c.fulfilment_id.is_(None))
    return units.where(*mine).correlate(t.lot_on_hand).scalar_subquery()


def spoken_for() -> ColumnElement[int]:
    """Of a row of `lot_on_hand`, the units that are held of it, to leave, or pinned."""
    return to_leave() + held() + pinned()


def begin(tx: Transaction, item_ids: Sequence[int]) -> None:
    """These items keep lots from now on: what lies there and is of no lot yet is of "?"."""
    if not item_ids:
        return
    tx.lock_ledger()
    ce, li = t.cells.c, t.lot_on_hand.c
    known = func.coalesce(func.sum(li.units), 0)
    missing = (t.on_hand - known).label("units")
    query = select(ce.id, ce.item_id, missing).join(t.lot_on_hand, li.cell_id == ce.id, isouter=True)
    query = query.where(any_of(tx.conn, ce.item_id, sorted(item_ids)))
    for cell in tx.rows(query.group_by(ce.id)):
        if not cell["units"]:
            continue
        ident = tx.ids.new()
        head = {"id": ident, "key": f"lots:{ident}", "kind": "lots", "cause": f"item:{cell['item_id']}"}
        tx.add(t.journals, [{**head, "recorded_at": tx.now}])
        _book(tx, ident, cell["id"], UNNAMED, int(cell["units"]))


def keeping(tx: Transaction, item_ids: Collection[int]) -> set[int]:
    """Those of these items that keep lots."""
    if not item_ids:
        return set()
    i = t.items.c
    query = select(i.id).where(any_of(tx.conn, i.id, sorted(item_ids)), i.keeps_lots.is_(True))
    return set(tx.conn.execute(query).scalars())


def _know(tx: Transaction, item_id: int, named: Named) -> None:
    """Remember a lot with its days; days that are told anew replace those told before."""
    days = {k: v for k, v in (("made_on", named.made_on), ("expires_on", named.expires_on)) if v}
    new = insert_or_skip(tx.conn, t.lots, [{"item_id": item_id, "code": named.lot, **days}])
    if days and not new:
        c = t.lots.c
        tx.conn.execute(update(t.lots).where(c.item_id == item_id, c.code == named.lot).values(**days))


def _book(tx: Transaction, journal_id: int, cell_id: int, lot: str, units: int) -> None:
    if units:
        where = {"cell_id": cell_id, "lot": lot}
        tx.add(t.lot_entries, [{"journal_id": journal_id, **where, "units": units}])
        add_up(tx.conn, t.lot_on_hand, "units", (where, units))
