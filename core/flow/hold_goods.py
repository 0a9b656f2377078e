"""Good units that are kept from being promised: frozen only where they are free, given back whole or in part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from core.errors import OutOfStock, Refused, Unmatched, YipanError
from core.flow import keep_promises
from core.rules.posting import inflow
from core.store import tables as t
from core.store.ledger import Cell, CellKey, Entry, Ledger
from core.store.lots import held, spoken_for
from core.store.store import Transaction, one

Row = Mapping[str, Any]
Answer = Row | YipanError


@dataclass(frozen=True, slots=True)
class Freeze:
    """Keep free units of a good cell back. ref: the caller's own number of it, by which it is asked once."""

    key: CellKey
    units: int
    ref: str
    reason: str
    who: str
    lot: str | None = None


@dataclass(frozen=True, slots=True)
class Thaw:
    """Give held units back until only `keep` of them are held; the hold is known by (owner, ref)."""

    owner_id: int
    ref: str
    who: str
    keep: int = 0


def freeze(tx: Transaction, ledger: Ledger, commands: Sequence[Freeze]) -> list[Answer]:
    """Decide these in order; a hold, or OutOfStock or Refused for one that leaves no trace."""
    answers = [_freeze(tx, ledger, command) for command in commands]
    ledger.flush()
    return answers


def thaw(tx: Transaction, ledger: Ledger, commands: Sequence[Thaw]) -> list[Answer]:
    """Give back what these say, and back who waits for it; said again it does no harm."""
    answers = [_thaw(tx, ledger, command) for command in commands]
    keep_promises.after_moves(tx, ledger)
    return answers


def _freeze(tx: Transaction, ledger: Ledger, command: Freeze) -> Answer:
    known = one(tx, t.holds, owner_id=command.key.owner_id, ref=command.ref)
    cell = ledger.cell(command.key)
    if known:
        same = (known["cell_id"], known["lot"], known["units"]) == (cell.id, command.lot, command.units)
        return known if same else Refused(f"{command.ref} is another hold already: choose another ref")
    there = min(cell.promisable, _of_lot(tx, ledger, cell, command.lot) if command.lot else cell.promisable)
    if command.units > there:
        what = f" of lot {command.lot}" if command.lot else ""
        why = f"{command.ref}: {command.units} units{what} where {there} are free: hold less, or free some first"
        return OutOfStock(why, ((command.key.item_id, command.units, there),))
    return open_hold(tx, ledger, cell, command)


def open_hold(tx: Transaction, ledger: Ledger, cell: Cell, command: Freeze) -> Row:
    """Move units that are free into a new hold."""
    head = {"id": tx.ids.new(), "owner_id": command.key.owner_id, "ref": command.ref, "cell_id": cell.id}
    said = {"lot": command.lot, "reason": command.reason, "who": command.who}
    row = {**head, **said, "units": command.units, "remaining": command.units, "opened_at": tx.now}
    row |= {"ended_at": None, "released_by": None}
    entries = [Entry(cell, "free", -command.units), Entry(cell, "held", command.units)]
    ledger.book(f"hold:{row['id']}", "hold", f"hold:{command.ref}", entries)
    tx.add(t.holds, [row])
    return row


def _of_lot(tx: Transaction, ledger: Ledger, cell: Cell, lot: str) -> int:
    """Units of the lot that lie there and are not held by it yet; where any is pinned, those nobody was promised."""
    ledger.flush()
    li, p, c = t.lot_on_hand.c, t.pins.c, t.claims.c
    mine = (p.cell_id == cell.id, p.lot == lot, c.open.is_(True))
    pinned = tx.row(select(p.claim_id).join(t.claims, c.id == p.claim_id).where(*mine).limit(1))
    left = li.units - (spoken_for() if pinned else held())
    units = tx.conn.execute(select(left).where(li.cell_id == cell.id, li.lot == lot)).scalar()
    return max(0, int(units or 0))


def _thaw(tx: Transaction, ledger: Ledger, command: Thaw) -> Answer:
    hold = one(tx, t.holds, owner_id=command.owner_id, ref=command.ref)
    if hold is None:
        return Unmatched("hold", command.ref, f"there is no hold {command.ref!r}")
    return give_back(tx, ledger, hold, command.keep, command.who)


def give_back(tx: Transaction, ledger: Ledger, hold: Row, keep: int, who: str) -> Row:
    """Free what is held beyond `keep`; the hold as it stands then."""
    units = hold["remaining"] - keep
    if units <= 0:
        return hold
    cell = ledger.cells_by_id([hold["cell_id"]])[hold["cell_id"]]
    entries = [Entry(cell, account, n) for account, n in inflow(units, suspense=cell.suspense, source="held")]
    ledger.book(f"thaw:{hold['id']}:{keep}", "thaw", f"hold:{hold['ref']}", entries)
    after = {"remaining": keep, "ended_at": None if keep else tx.now, "released_by": who}
    tx.set(t.holds, hold["id"], **after)
    return {**hold, **after}
