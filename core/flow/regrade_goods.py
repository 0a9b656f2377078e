"""Goods judged anew: what a warehouse tells as so many less in one condition and as many more in another."""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import Unmatched
from core.flow import name_lots
from core.flow.hear import Spoken
from core.model import Adjustment, AdjustmentRow
from core.rules import posting
from core.store.keepers import linked_warehouse, owned
from core.store.ledger import Cell, CellKey, Entry, Ledger
from core.store.store import Transaction

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


def regrade(tx: Transaction, ledger: Ledger, spoken: Spoken, told: Adjustment, pair: Pair) -> Unmatched | None:
    """Book a pair in one journal, once, or say what it names that we do not know."""
    less, more = told.rows[pair[0]], told.rows[pair[1]]
    warehouse = linked_warehouse(tx, spoken.connection_id, less.warehouse)
    found = owned(tx, warehouse, less.keeper, less.sku) if warehouse else None
    if warehouse is None or found is None:
        return Unmatched("item", less.sku) if warehouse else Unmatched("warehouse", less.warehouse)
    key = f"regrade:{spoken.connection_id}:{less.event_id}:{less.sku}:{less.condition}:{pair[0]}"
    if ledger.known([key]):
        tx.tally("duplicates_absorbed")
        return None
    origin, goal = (ledger.cell(CellKey(*found, warehouse, row.condition)) for row in (less, more))
    entries = _entries(origin, goal, more.quantity)
    lots = name_lots.moves(origin, less.lots) + name_lots.moves(goal, more.lots)
    ledger.book(key, "regrade", f"inbox:{spoken.inbox_id}", entries, less.happened_at or told.happened_at, lots)
    return None


def _entries(origin: Cell, goal: Cell, units: int) -> list[Entry]:
    leaves, comes = _account(origin), _account(goal)
    lacks, fills = posting.regrade(units, balance=getattr(origin, leaves), to_suspense=goal.suspense)
    moves = [(origin, leaves, lacks - units), (origin, "suspense", -lacks), (goal, "suspense", fills)]
    return [Entry(*move) for move in (*moves, (goal, comes, units - fills)) if move[2]]


def _account(cell: Cell) -> str:
    return "free" if cell.key.condition == "ZP" else "held"
