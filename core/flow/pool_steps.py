"""What the pools of some listings could promise over a time, rebuilt from the journal."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import case, func, select

from core.flow import sell_kits
from core.rules import kits
from core.rules.buffers import Step
from core.store import contracts
from core.store import tables as t
from core.store.pools import pools
from core.store.rows import any_of
from core.store.store import Transaction, many, since

Row = Mapping[str, Any]
MOST_MOVES = 20_000
"""Moves that are read at once; of more the newest, and the time looked at begins with them."""
SKEW = timedelta(hours=1)
"""By how much the clocks that make identifiers may differ from the database's."""


class Pools:
    """Cells of some listings as they were at a time, and what moved in them since; a fixed number of queries.

    since: when that time really begins; under_quota: listings that may sell others' goods, but not all there is.
    """

    def __init__(self, tx: Transaction, rows: Sequence[Row], begin: datetime) -> None:
        shops = {row["connection_id"]: row["merchant_id"] for row in rows}
        self._sold_from = pools(tx, shops)
        recipes = sell_kits.recipes(tx, {row["item_id"] for row in rows})
        self._recipes = {row["id"]: recipes.get(row["item_id"]) or {str(row["item_id"]): 1} for row in rows}
        items = sorted({int(part) for recipe in self._recipes.values() for part in recipe})
        self._others = contracts.sources(tx, shops.values(), items)
        self._limited = self._quotas(tx, items)
        self._cells = self._standing(tx, items)
        self.since, self._moves = _moved(tx, sorted(self._cells), begin)
        for move in self._moves:
            cell = self._cells[move["cell_id"]]
            cell["free"], cell["suspense"] = cell["free"] - move["free"], cell["suspense"] - move["suspense"]
        self.under_quota = {row["id"] for row in rows if self._is_limited(row)}

    def steps(self, row: Row, orders: Set[int]) -> tuple[int, list[Step]]:
        """(units a listing's pool could promise as the time began, steps since). orders: its own sales, by id."""
        room = _Room(self._recipes[row["id"]], [self._cells[ident] for ident in self._reach(row)])
        first, steps, own = room.units, [], {f"order:{ident}" for ident in orders}
        for _, together in groupby(self._moves, lambda move: move["journal_id"]):
            moved = [move for move in together if move["cell_id"] in room.cells]
            if moved and room.moves(moved):
                at = (moved[0]["recorded_at"] - self.since).total_seconds()
                steps.append(Step(max(0.0, at), room.units, moved[0]["cause"] in own))
        return first, steps

    def _reach(self, row: Row) -> Set[int]:
        """Cells its orders may be backed from: its merchant's own, and those of owners who let it sell."""
        parts = {int(part) for part in self._recipes[row["id"]]}
        who = {
            part: {row["merchant_id"], *(s.owner_id for s in self._others.get((row["merchant_id"], part), ()))}
            for part in parts
        }
        places = set(self._sold_from.get(row["connection_id"], ()))
        return {
            ident
            for ident, cell in self._cells.items()
            if cell["warehouse_id"] in places and cell["owner_id"] in who.get(cell["item_id"], ())
        }

    def _standing(self, tx: Transaction, items: Sequence[int]) -> dict[int, dict[str, Any]]:
        ce = t.cells.c
        query = select(ce.id, ce.owner_id, ce.item_id, ce.warehouse_id, ce.free, ce.suspense)
        return {
            row["id"]: dict(row)
            for row in tx.rows(query.where(any_of(tx.conn, ce.item_id, items), ce.condition == "ZP"))
        }

    def _quotas(self, tx: Transaction, items: Sequence[int]) -> set[tuple[int, int]]:
        """(contract, item) where not all there is may be sold."""
        named = sorted({s.contract_id for some in self._others.values() for s in some})
        rows = many(tx, t.contract_items, "contract_id", named)
        return {(row["contract_id"], row["item_id"]) for row in rows if row["percent"] != 100}

    def _is_limited(self, row: Row) -> bool:
        parts = [int(part) for part in self._recipes[row["id"]]]
        return any(
            (source.contract_id, part) in self._limited
            for part in parts
            for source in self._others.get((row["merchant_id"], part), ())
        )


class _Room:
    """What some cells can promise together: units of an item, or whole kits of one warehouse each."""

    def __init__(self, recipe: Mapping[str, int], cells: Sequence[Row]) -> None:
        self.cells = {cell["id"]: dict(cell) for cell in cells}
        self._recipe = recipe
        self._there: dict[int, Counter[int]] = defaultdict(Counter)
        for cell in self.cells.values():
            self._there[cell["warehouse_id"]][cell["item_id"]] += _promisable(cell)
        self.units = self._whole()

    def moves(self, moved: Sequence[Row]) -> bool:
        """Book these moves of one journal; whether more or less can be promised after it."""
        for move in moved:
            cell = self.cells[move["cell_id"]]
            before = _promisable(cell)
            cell["free"], cell["suspense"] = cell["free"] + move["free"], cell["suspense"] + move["suspense"]
            self._there[cell["warehouse_id"]][cell["item_id"]] += _promisable(cell) - before
        before, self.units = self.units, self._whole()
        return self.units != before

    def _whole(self) -> int:
        return sum(kits.whole(self._recipe, units) for units in self._there.values())


def _promisable(cell: Row) -> int:
    return max(0, int(cell["free"] + min(0, cell["suspense"])))


def _moved(tx: Transaction, cells: Sequence[int], begin: datetime) -> tuple[datetime, list[Row]]:
    """(since when, what moved in these cells since then): units of free and suspense by journal and cell, in order."""
    e, j = t.entries.c, t.journals.c
    sums = [func.sum(case((e.account == name, e.quantity), else_=0)).label(name) for name in ("free", "suspense")]
    query = select(e.journal_id, e.cell_id, j.recorded_at, j.cause, *sums).join(t.journals, j.id == e.journal_id)
    recent = (any_of(tx.conn, e.cell_id, cells), e.journal_id > since(begin - SKEW), j.recorded_at >= begin)
    query = query.where(*recent, e.account.in_(("free", "suspense")))
    query = query.group_by(e.journal_id, e.cell_id, j.recorded_at, j.cause).order_by(e.journal_id.desc(), e.cell_id)
    rows: list[Row] = [
        {**row, "free": int(row["free"]), "suspense": int(row["suspense"])}
        for row in tx.rows(query.limit(MOST_MOVES + 1))
    ]
    if len(rows) > MOST_MOVES:
        begin = rows[-1]["recorded_at"]
        rows = [row for row in rows if row["recorded_at"] > begin]
    return begin, rows[::-1]
