"""Claims that are for units of one lot alone: which, and how much of a lot they leave to others."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, select, update

from core.store import tables as t
from core.store.lots import UNNAMED, held, spoken_for
from core.store.rows import any_of
from core.store.store import Transaction

Row = Mapping[str, Any]
lot = func.coalesce(t.pins.c.lot, "").label("lot")
"""Of a claim that `pins` is joined to from outside: the lot it pins, "" for none."""


def of(tx: Transaction, claim_ids: Sequence[int]) -> dict[int, str]:
    """Claim → its lot, of those of these that pin one."""
    p = t.pins.c
    query = select(p.claim_id, p.lot).where(any_of(tx.conn, p.claim_id, claim_ids))
    return {row["claim_id"]: row["lot"] for row in tx.rows(query)} if claim_ids else {}


def lot_of(tx: Transaction, claim: Row) -> str:
    """The lot a claim pins, "" for none: what was read with it, else what stands in `pins`."""
    return str(claim["lot"]) if "lot" in claim else of(tx, [claim["id"]]).get(claim["id"], "")


def room(tx: Transaction, cell_ids: Collection[int], lots: Collection[str]) -> dict[tuple[int, str], int]:
    """(cell, lot) → units there that are not held, to leave, or pinned; none of "?", nor of items that keep no lots.

    Below zero where more of a lot was promised than lies there.
    """
    li, ce, i = t.lot_on_hand.c, t.cells.c, t.items.c
    query = select(li.cell_id, li.lot, (li.units - spoken_for()).label("n")).join(t.cells, ce.id == li.cell_id)
    query = query.join(t.items, i.id == ce.item_id).where(li.lot != UNNAMED, i.keeps_lots.is_(True))
    query = query.where(any_of(tx.conn, li.cell_id, sorted(cell_ids)), any_of(tx.conn, li.lot, sorted(lots)))
    return {(row["cell_id"], row["lot"]): int(row["n"]) for row in tx.rows(query)}


def standing(tx: Transaction, *where: ColumnElement[bool]) -> list[Row]:
    """Open claims that hold units of a lot by name, oldest first, each with what lies there of it and is not held."""
    p, c, o, li = t.pins.c, t.claims.c, t.orders.c, t.lot_on_hand.c
    who = func.coalesce(o.merchant_id, c.holder_id).label("merchant_id")
    there = func.coalesce(li.units - held(), 0).label("there")
    ref = func.coalesce(o.ref, c.ref).label("ref")
    query = select(p.cell_id, p.lot, c.id, ref, c.order_id, c.fulfilment_id, c.backed, who, there)
    query = query.join(t.claims, c.id == p.claim_id).join(t.orders, o.id == c.order_id, isouter=True)
    query = query.join(t.lot_on_hand, (li.cell_id == p.cell_id) & (li.lot == p.lot), isouter=True)
    return tx.rows(query.where(c.open.is_(True), c.backed > 0, *where).order_by(p.cell_id, p.lot, c.id))


def move(tx: Transaction, claim_id: int, cell_id: int) -> None:
    """The claim stands on another cell from now on."""
    tx.conn.execute(update(t.pins).where(t.pins.c.claim_id == claim_id).values(cell_id=cell_id))
