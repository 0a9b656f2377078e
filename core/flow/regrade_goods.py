"""Goods judged anew, by a person or by a warehouse: so many less in one condition and as many more in another."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select

from core.errors import Contradicted, Refused, Unmatched
from core.flow import keep_promises, name_lots
from core.flow.hear import Spoken, Units, repeated
from core.model import Adjustment, AdjustmentRow
from core.model.stock import Lot
from core.rules import posting
from core.store import tables as t
from core.store.keepers import linked_warehouse, owned
from core.store.ledger import Cell, CellKey, Entry, Ledger
from core.store.store import Transaction


class Judged(NamedTuple):
    """So many base units of a cell are of another condition. key: the business key of who said so.

    less, more: the lots that are named of what left the one and came to the other, signed.
    """

    key: str
    cause: str
    origin: CellKey
    condition: str
    units: int
    less: Sequence[Lot] = ()
    more: Sequence[Lot] = ()


Pair = tuple[int, int]
"""The places of two rows in their document: where units leave, where they come."""


def pairs(rows: Sequence[AdjustmentRow]) -> list[Pair]:
    """Rows that cancel each other out but for their condition; none of them names an order."""
    found: list[Pair] = []
    for n, row in enumerate(rows):
        used = {place for pair in found for place in pair}
        if row.quantity < 0 and not row.order_ref and n not in used:
            to = (m for m, other in enumerate(rows) if m not in used and _answers(row, other))
            found += [(n, m) for m in to][:1]
    return found


def _answers(row: AdjustmentRow, other: AdjustmentRow) -> bool:
    same = (row.sku, row.keeper, row.warehouse, -row.quantity)
    return (
        (other.sku, other.keeper, other.warehouse, other.quantity) == same
        and other.condition != row.condition
        and not other.order_ref
    )


def regrade(
    tx: Transaction, ledger: Ledger, spoken: Spoken, told: Adjustment, pair: Pair
) -> Unmatched | Contradicted | None:
    """Book a pair in one journal, once, or say why it cannot be understood."""
    less, more = told.rows[pair[0]], told.rows[pair[1]]
    warehouse = linked_warehouse(tx, spoken.connection_id, less.warehouse)
    found = owned(tx, warehouse, less.keeper, less.sku) if warehouse else None
    if warehouse is None or found is None:
        return Unmatched("item", less.sku) if warehouse else Unmatched("warehouse", less.warehouse)
    key = f"regrade:{spoken.connection_id}:{less.event_id}:{less.sku}:{less.condition}:{pair[0]}"
    if ledger.known([key]):
        units: Units = {(found[1], row.condition): row.quantity for row in (less, more)}
        return repeated(tx, ledger, key, less.event_id, units)
    origin = CellKey(*found, warehouse, less.condition)
    judged = Judged(key, f"inbox:{spoken.inbox_id}", origin, more.condition, more.quantity, less.lots, more.lots)
    book(ledger, judged, less.happened_at or told.happened_at)
    return None


def book(ledger: Ledger, judged: Judged, happened_at: datetime | None = None) -> None:
    """One journal: out of one condition, the units that the books lack there out of suspense, and into the other."""
    origin = ledger.cell(judged.origin)
    goal = ledger.cell(judged.origin._replace(condition=judged.condition))
    lots = name_lots.moves(origin, judged.less) + name_lots.moves(goal, judged.more)
    ledger.book(judged.key, "regrade", judged.cause, _entries(origin, goal, judged.units), happened_at, lots)


def judge(tx: Transaction, ledger: Ledger, judged: Judged) -> bool:
    """A person judged goods anew; False where that was said before. Raises Refused where the key stands for another."""
    if ledger.known([judged.key]):
        if _moved(tx, judged.key) != _would_move(judged):
            raise Refused("this ref stands for another regrade already: choose another ref")
        return False
    book(ledger, judged)
    keep_promises.after_moves(tx, ledger)
    return True


def _would_move(judged: Judged) -> dict[CellKey, int]:
    return {judged.origin: -judged.units, judged.origin._replace(condition=judged.condition): judged.units}


def _moved(tx: Transaction, key: str) -> dict[CellKey, int]:
    """Units per cell of the journal of this key."""
    e, j, ce = t.entries.c, t.journals.c, t.cells.c
    place = (ce.owner_id, ce.item_id, ce.warehouse_id, ce.condition)
    query = select(*place, func.sum(e.quantity).label("n")).join(t.cells, ce.id == e.cell_id)
    rows = tx.conn.execute(query.join(t.journals, j.id == e.journal_id).where(j.key == key).group_by(*place))
    return {CellKey(*row[:4]): int(row[4]) for row in rows}


def _entries(origin: Cell, goal: Cell, units: int) -> list[Entry]:
    leaves, comes = origin.account, goal.account
    lacks, fills = posting.regrade(units, balance=getattr(origin, leaves), to_suspense=goal.suspense)
    moves = [(origin, leaves, lacks - units), (origin, "suspense", -lacks), (goal, "suspense", fills)]
    return [Entry(*move) for move in (*moves, (goal, comes, units - fills)) if move[2]]
