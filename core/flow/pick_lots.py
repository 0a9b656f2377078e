"""Which lots a warehouse shall send, and whether it did: told to no two lines at once, checked, never enforced."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import select, update

from core.flow import pin_lots
from core.flow.tell import ask_person
from core.rules.fefo import Lot, pick
from core.store import pins
from core.store import tables as t
from core.store.ledger import Cell, LotMove
from core.store.lots import UNNAMED, held, keeping, spoken_for, to_leave
from core.store.rows import any_of
from core.store.store import Transaction, many

Row = Mapping[str, Any]
LATER = "{2} units of lot {0} left for {1} although {3} expires first and was to leave: ask the warehouse why"


def instruct(tx: Transaction, lines: Sequence[Row], cells: Mapping[int, int]) -> None:
    """Say for each line of a fulfilment which lots shall leave: of what pins a lot that alone, before all others.

    cells: claim id → its cell.
    """
    keeps = keeping(tx, {line["item_id"] for line in lines})
    mine = [line for line in lines if line["item_id"] in keeps]
    pinned = pins.of(tx, [line["claim_id"] for line in mine])
    for line in sorted(mine, key=lambda it: it["claim_id"] not in pinned):
        cell_id, lot = cells[line["claim_id"]], pinned.get(line["claim_id"])
        head = {"fulfilment_id": line["fulfilment_id"], "n": line["n"], "cell_id": cell_id}
        picks = _pinned(tx, cell_id, lot, line) if lot else pick(_there(tx, cell_id), line["quantity"])
        tx.add(t.picks, [{**head, "lot": lot, "units": n, "remaining": n} for lot, n in picks if lot != UNNAMED])


def _pinned(tx: Transaction, cell_id: int, lot: str, line: Row) -> list[tuple[str, int]]:
    """What there is of the lot a line pins; a person hears of what is not."""
    li = t.lot_on_hand.c
    left = select(li.units - held() - to_leave()).where(li.cell_id == cell_id, li.lot == lot, li.lot != UNNAMED)
    units = max(0, min(line["quantity"], int(tx.conn.execute(left).scalar() or 0)))
    if units < line["quantity"]:
        pin_lots.told_less(tx, line["fulfilment_id"], lot, line["quantity"], units)
    return [(lot, units)] if units else []


def _there(tx: Transaction, cell_id: int) -> list[Lot]:
    """Lots of a cell, less what is held of them, pinned, or was said to leave and has not."""
    li, lo, ce = t.lot_on_hand.c, t.lots.c, t.cells.c
    query = select(li.lot, lo.expires_on, (li.units - spoken_for()).label("units")).join(t.cells, ce.id == li.cell_id)
    query = query.join(t.lots, (lo.item_id == ce.item_id) & (lo.code == li.lot), isouter=True)
    rows = tx.rows(query.where(li.cell_id == cell_id))
    return [Lot(r["lot"], r["expires_on"], int(r["units"])) for r in rows]


def soonest(tx: Transaction, cell: Cell, units: int) -> list[tuple[str, int]]:
    """(lot, units) of so many units of a cell, soonest to expire first; what is of no lot is left out."""
    picks = pick(_there(tx, cell.id), units) if keeping(tx, {cell.key.item_id}) else []
    return [(lot, n) for lot, n in picks if lot != UNNAMED]


def let_go(tx: Transaction, fulfilment_id: int) -> None:
    """Nothing more will leave for this fulfilment: its lots may be given to others."""
    p = t.picks.c
    tx.conn.execute(update(t.picks).where(p.fulfilment_id == fulfilment_id, p.remaining > 0).values(remaining=0))


def check(tx: Transaction, fulfilment: Row, left: Sequence[LotMove], pinned: Collection[int]) -> None:
    """Hold what left against what was to leave: what is done is ticked off, a person hears of a lot that came too soon.

    left: signed moves of the confirmation, not booked yet. pinned: numbers of the lines whose lots were not chosen by
    when they expire.
    """
    picks = [dict(p) for p in many(tx, t.picks, "fulfilment_id", [fulfilment["id"]]) if p["remaining"]]
    if not picks:
        return
    rest = [(move, _tick_off(tx, _of(picks, move, own=True), -move.units)) for move in left]
    for move, units in ((move, units) for move, units in rest if units > 0):
        waits = [p for p in _of(picks, move, own=False) if p["remaining"]]
        if first := _sooner(tx, move, [p for p in waits if p["n"] not in pinned]):
            why = LATER.format(move.lot, fulfilment["ref"], units, first)
            ask_person(tx, "lot.too_soon", f"fulfilment:{fulfilment['id']}", fulfilment["merchant_id"], why)
        _tick_off(tx, waits, units)


def _of(picks: Sequence[dict[str, Any]], move: LotMove, own: bool) -> list[dict[str, Any]]:
    """Instructions for the cell something left from: of that lot, or of others."""
    return [p for p in picks if p["cell_id"] == move.cell.id and (p["lot"] == move.lot) == own]


def _tick_off(tx: Transaction, picks: Sequence[dict[str, Any]], units: int) -> int:
    """Take units that left off these instructions; returns those beyond them."""
    p = t.picks.c
    for one in picks:
        done = min(units, one["remaining"])
        if done > 0:
            one["remaining"] -= done
            units -= done
            mine = (p.fulfilment_id == one["fulfilment_id"]) & (p.n == one["n"]) & (p.lot == one["lot"])
            tx.conn.execute(update(t.picks).where(mine).values(remaining=one["remaining"]))
    return units


def _sooner(tx: Transaction, move: LotMove, waits: Sequence[Row]) -> str:
    """The instructed lot that is there and expires before the one that left; "" for none."""
    lo, li = t.lots.c, t.lot_on_hand.c
    query = select(lo.code, lo.expires_on).where(lo.item_id == move.cell.key.item_id, lo.expires_on.is_not(None))
    days = {r["code"]: r["expires_on"] for r in tx.rows(query.where(any_of(tx.conn, lo.code, _codes(move, waits))))}
    there = select(li.lot).where(li.cell_id == move.cell.id, li.units > 0)
    lies = set(tx.conn.execute(there).scalars())
    day = move.expires_on or days.get(move.lot)
    sooner = [w["lot"] for w in waits if w["lot"] in lies and day and days.get(w["lot"], day) < day]
    return min(sooner, key=lambda lot: days[lot], default="")


def _codes(move: LotMove, waits: Sequence[Row]) -> list[str]:
    return sorted({move.lot, *(w["lot"] for w in waits)})


def told(tx: Transaction, fulfilment_id: int) -> dict[int, list[Row]]:
    """Line → (lot, units, expires_on) that shall leave for it, soonest to expire first."""
    p, lo, ce = t.picks.c, t.lots.c, t.cells.c
    query = select(p.n, p.lot, p.units, lo.expires_on).join(t.cells, ce.id == p.cell_id)
    query = query.join(t.lots, (lo.item_id == ce.item_id) & (lo.code == p.lot), isouter=True)
    query = query.where(p.fulfilment_id == fulfilment_id)
    found: dict[int, list[Row]] = {}
    for row in tx.rows(query.order_by(p.n, lo.expires_on.is_(None), lo.expires_on, p.lot)):
        found.setdefault(row["n"], []).append(row)
    return found
