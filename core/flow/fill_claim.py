"""Units that go into a claim and out of it again: whose cell they come from, what they use of a contract, who owes.

A claim holds units of the cell it stands on. Where title passes when an order is backed, it stands on the merchant's
cell and its units come from the owner's and go back there; what is owed for them is written at the same time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import func, select

from core.flow import pick_lots, use_rights
from core.rules.posting import inflow
from core.store import contracts, lots, pins
from core.store import tables as t
from core.store.contracts import AT_RESERVE
from core.store.ledger import Cell, Entry, Ledger, LotMove
from core.store.store import Transaction, one

Row = Mapping[str, Any]


class Journal(NamedTuple):
    """How a movement is booked: its business key, what it is, and what caused it."""

    key: str
    kind: str
    cause: str


def seat(tx: Transaction, ledger: Ledger, cell: Cell, contract_id: int | None) -> Cell:
    """The cell an order's claim on these goods stands on: the merchant's, where title passes when it is backed."""
    contract = one(tx, t.contracts, id=contract_id) if contract_id else None
    if contract is None or contract["title_passes"] != AT_RESERVE:
        return cell
    return ledger.cell(cell.key._replace(owner_id=contract["beneficiary_id"]))


def home(tx: Transaction, ledger: Ledger, claim: Row) -> Cell:
    """The cell a claim's units come from and go back to: the one it stands on, unless title passed to it."""
    here = ledger.cells_by_id([claim["cell_id"]])[claim["cell_id"]]
    contract = one(tx, t.contracts, id=claim["contract_id"]) if claim["contract_id"] else None
    if contract is None or contract["title_passes"] != AT_RESERVE:
        return here
    return ledger.cell(here.key._replace(owner_id=contract["owner_id"]))


def has_passed(tx: Transaction, ledger: Ledger, claim: Row) -> bool:
    """Whether the title of what this claim holds passed when it was backed."""
    return bool(home(tx, ledger, claim).id != claim["cell_id"])


def may_pass(tx: Transaction, source: Cell, claim: Row) -> bool:
    """Whether units of that cell may back the claim: where title passes, one keeper code has to know both owners."""
    if source.id == claim["cell_id"]:
        return True
    contract = one(tx, t.contracts, id=claim["contract_id"])
    assert contract is not None
    return source.key.warehouse_id in contracts.together(tx, contract["owner_id"], contract["beneficiary_id"])


def fill(tx: Transaction, ledger: Ledger, claim: Row, units: int, journal: Journal) -> None:
    """Free units become the claim's, in one journal; its row is the caller's to write."""
    here, source = ledger.cells_by_id([claim["cell_id"]])[claim["cell_id"]], home(tx, ledger, claim)
    named = _lots_in(tx, ledger, claim, source, here, units)
    use_rights.held(tx, ledger, claim["contract_id"], here.key.item_id, units)
    _book(tx, ledger, claim, units, journal, [Entry(source, "free", -units), Entry(here, "reserved", units)], named)


def empty(tx: Transaction, ledger: Ledger, claim: Row, units: int, journal: Journal, to: str = "free") -> None:
    """Units the claim holds go back where they came from, missing ones first; its row is the caller's to write."""
    here, source = ledger.cells_by_id([claim["cell_id"]])[claim["cell_id"]], home(tx, ledger, claim)
    named = _lots_back(tx, ledger, claim, source, units)
    use_rights.held(tx, ledger, claim["contract_id"], here.key.item_id, -units)
    moves = inflow(units, suspense=source.suspense, source="reserved", to=to)
    entries = [Entry(here if account == "reserved" else source, account, n) for account, n in moves]
    _book(tx, ledger, claim, -units, journal, entries, named)


def take_over(tx: Transaction, ledger: Ledger, claim: dict[str, Any]) -> list[Entry]:
    """An order's new claim, on units a reservation held: the entries by which they pass, for the caller to book.

    Where title passes when an order is backed, it passes now, in a journal of its own.
    """
    source = ledger.cells_by_id([claim["cell_id"]])[claim["cell_id"]]
    here = seat(tx, ledger, source, claim["contract_id"])
    units = claim["backed"]
    entries = [Entry(source, "reserved", -units), Entry(here, "reserved", units)]
    if here is source or not units:
        return entries
    named = _lots_in(tx, ledger, claim, source, here, units)
    claim["cell_id"] = here.id
    pins.move(tx, claim["id"], here.id)
    journal = Journal(f"take-over:{claim['id']}", "hand_over", f"order:{claim['order_id']}")
    _book(tx, ledger, claim, units, journal, entries, named)
    return []


def _book(
    tx: Transaction,
    ledger: Ledger,
    claim: Row,
    units: int,
    journal: Journal,
    entries: list[Entry],
    named: list[LotMove],
) -> None:
    """Book it; title that passes by it is owed for. What moved for an order is found again by its order."""
    key, kind, cause = journal
    source = home(tx, ledger, claim)
    if source.id != claim["cell_id"]:
        cause = f"order:{claim['order_id']}"
        use_rights.passed(tx, claim, source.key.item_id, units, key)
    ledger.book(key, kind, cause, entries, named=named)


def _lots_in(tx: Transaction, ledger: Ledger, claim: Row, source: Cell, here: Cell, units: int) -> list[LotMove]:
    """The lots that change their owner with units that back a claim: the one it pins, else soonest to expire first."""
    if here is source or not lots.keeping(tx, {here.key.item_id}):
        return []
    ledger.flush()
    pinned = pins.lot_of(tx, claim)
    return [
        LotMove(cell, lot, sign * n)
        for lot, n in ([(pinned, units)] if pinned else pick_lots.soonest(tx, source, units))
        for cell, sign in ((source, -1), (here, 1))
    ]


def _lots_back(tx: Transaction, ledger: Ledger, claim: Row, source: Cell, units: int) -> list[LotMove]:
    """Of the lots that came with this order and are there, those that go back: what expires last, as it was to stay."""
    here = ledger.cells_by_id([claim["cell_id"]])[claim["cell_id"]]
    if here is source or not lots.keeping(tx, {here.key.item_id}):
        return []
    ledger.flush()
    moves = []
    for lot, there in _came(tx, here, claim["order_id"], pins.lot_of(tx, claim)):
        n = min(units, there)
        units -= n
        moves += [LotMove(here, lot, -n), LotMove(source, lot, n)] if n else []
    return moves


def _came(tx: Transaction, here: Cell, order_id: int, pinned: str) -> list[tuple[str, int]]:
    """(lot, units) that came to a cell for this order and may lie there still, last to expire first.

    pinned: of this lot alone; where it is "", what is pinned is left alone.
    """
    e, j, li, lo = t.lot_entries.c, t.journals.c, t.lot_on_hand.c, t.lots.c
    came = func.sum(e.units)
    there = (li.units if pinned else li.units - lots.pinned()).label("there")
    query = select(e.lot, came.label("came"), there).join(t.journals, j.id == e.journal_id)
    query = query.join(t.lot_on_hand, (li.cell_id == e.cell_id) & (li.lot == e.lot))
    query = query.join(t.lots, (lo.item_id == here.key.item_id) & (lo.code == e.lot))
    query = query.where(e.cell_id == here.id, j.cause == f"order:{order_id}", there.element > 0)
    query = query.where(e.lot == pinned) if pinned else query
    query = query.group_by(e.lot, li.cell_id, li.lot, li.units, lo.expires_on).having(came > 0)
    rows = tx.rows(query.order_by(lo.expires_on.is_(None).desc(), lo.expires_on.desc(), e.lot.desc()))
    return [(row["lot"], min(int(row["came"]), int(row["there"]))) for row in rows]
