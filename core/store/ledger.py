"""The ledger: balanced append-only journals over guarded balances. Whoever opens it is its one writer until the commit.

Accounts of a cell: free, reserved, held, transit, inbound (guarded ≥ 0), suspense (signed) and world (derived, no row).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import sub
from typing import Any, NamedTuple

from sqlalchemy import func, select, update

from core.errors import Broken
from core.store import contracts, lots
from core.store import tables as t
from core.store.recall import Recall, Row
from core.store.rows import Look, Rows, Sums, insert_or_skip, look, must_lack, must_stand, write_rows
from core.store.store import Transaction

GUARDED = ("free", "reserved", "held", "transit", "inbound")
KEPT = (*GUARDED, "suspense")
ON_HAND = ("free", "reserved", "held", "suspense")
JOURNAL = ("id", "key", "kind", "cause", "happened_at", "recorded_at")
CELL = ("id", "owner_id", "item_id", "warehouse_id", "condition", *KEPT)
NO_ROW = (None,) * (1 + len(KEPT))
ENTRY = ("journal_id", "n", "cell_id", "account", "quantity")
MISSING_TASK = "stock.missing"
MISSING = "{} units are missing that the books say are there: have them counted, or take promises for them back"


class CellKey(NamedTuple):
    """owner × item × warehouse × condition."""

    owner_id: int
    item_id: int
    warehouse_id: int
    condition: str = "ZP"


@dataclass(slots=True)
class Cell:
    """One cell as it stands inside this transaction."""

    id: int
    key: CellKey
    free: int = 0
    reserved: int = 0
    held: int = 0
    transit: int = 0
    inbound: int = 0
    suspense: int = 0
    before: tuple[int, ...] = (0,) * len(KEPT)
    """The balances as the database has them."""

    def balances(self) -> tuple[int, ...]:
        """free, reserved, held, transit, inbound, suspense."""
        return self.free, self.reserved, self.held, self.transit, self.inbound, self.suspense

    @property
    def promisable(self) -> int:
        """What admission may still back."""
        return self.free if self.suspense >= 0 else max(0, self.free + self.suspense)

    @property
    def account(self) -> str:
        """Where units of its condition stand: good ones free, all others held."""
        return "free" if self.key.condition == "ZP" else "held"

    @property
    def on_hand(self) -> int:
        """What should lie in the warehouse."""
        return self.free + self.reserved + self.held + self.suspense


class Entry(NamedTuple):
    """A signed quantity on one account of one cell."""

    cell: Cell
    account: str
    quantity: int


class Right(NamedTuple):
    """A signed quantity of what may be sold of an item under a contract: granted, allowance or used."""

    contract_id: int
    item_id: int
    account: str
    quantity: int


class LotMove(NamedTuple):
    """Units of an entry whose lot the document names: signed, on hand of one cell. Days are YYYY-MM-DD."""

    cell: Cell
    lot: str
    units: int
    made_on: str | None = None
    expires_on: str | None = None


class Ledger:
    """Cells and journals of one transaction; nothing is written before `flush`."""

    def __init__(self, tx: Transaction) -> None:
        tx.lock_ledger()
        self._tx = tx
        self._cells: dict[CellKey, Cell] = {}
        self._by_id: dict[int, Cell] = {}
        self._journals: list[tuple[Any, ...]] = []
        self._entries: list[tuple[Any, ...]] = []
        self._physical: list[lots.Moved] = []
        self._rights: list[Right] = []
        self._allowed: Counter[tuple[int, int]] = Counter()
        self._moved: dict[int, Cell] = {}
        self._built_on: dict[CellKey, Row | None] = {}
        self._taken_as_new: set[str] = set()
        self.risen: set[int] = set()
        """Items of which more may be promised somewhere, or to someone, than before, or less is waited for."""
        self.sunk: set[int] = set()
        """Cells that miss more units than before."""
        self.relotted: set[int] = set()
        """Cells where other units of some lot lie than before, or are pinned by another claim."""

    def open(self, keys: Iterable[CellKey]) -> None:
        """Load these cells, making those that are not there."""
        wanted = set(keys)
        self.load(wanted)
        new = [{"id": self._tx.ids.new(), **k._asdict()} for k in sorted(wanted) if k not in self._cells]
        if new:
            insert_or_skip(self._tx.conn, t.cells, new)
            self.load(wanted)

    def load(self, keys: Iterable[CellKey]) -> None:
        """Load those of these cells that are there, and those of other owners or conditions beside them."""
        if missing := [k for k in keys if k not in self._cells]:
            self._remember(*look(self._tx.conn, _beside(missing)))

    def found(self, key: CellKey) -> Cell | None:
        """A loaded cell; None where there is none."""
        return self._cells.get(key)

    def cell(self, key: CellKey) -> Cell:
        """The cell of that key, as it stands now."""
        if key not in self._cells:
            self.open([key])
        return self._cells[key]

    def cells_by_id(self, ids: Iterable[int]) -> dict[int, Cell]:
        """The cells with these ids, as they stand now."""
        missing = sorted({i for i in ids if i not in self._by_id})
        if missing:
            self._remember(*look(self._tx.conn, Look(t.cells, CELL, {"id": missing})))
        return self._by_id

    def known(self, keys: Sequence[str], cells: Collection[CellKey] = ()) -> set[str]:
        """Which of these business keys are booked already. cells: load these in the same trip.

        Where cells may be recalled, nothing is asked under the lock and all keys are taken as new: a cell that is no
        longer so, or a key that was booked before, raises with the commit.
        """
        mine = {key for _, key, *_ in self._journals} & set(keys)
        recall = self._tx.recall
        if cells and recall and not recall.is_wary:
            self._build_on(recall, cells)
            self._taken_as_new |= set(keys)
            return mine
        asked = [Look(t.journals, ("key",), {"key": keys}), *([_beside(cells)] if cells else [])]
        found, *rows = look(self._tx.conn, *asked)
        for some in rows:
            self._remember(some)
        if recall:
            recall.keep({key: _row(self._cells.get(key)) for key in cells})
        return mine | {key for (key,) in found}

    def moved(self, key: str) -> dict[tuple[int, str], int]:
        """(item, condition) → units the journal of this key brought on hand, below 0 took away; {} when it did not."""
        self.flush()
        e, j, ce = t.entries.c, t.journals.c, t.cells.c
        units = func.sum(e.quantity)
        query = select(ce.item_id, ce.condition, units.label("n")).join(t.cells, ce.id == e.cell_id)
        mine = query.join(t.journals, j.id == e.journal_id).where(j.key == key, e.account.in_(ON_HAND))
        rows = self._tx.rows(mine.group_by(ce.item_id, ce.condition).having(units != 0))
        return {(r["item_id"], r["condition"]): int(r["n"]) for r in rows}

    def book(
        self,
        key: str,
        kind: str,
        cause: str,
        entries: Sequence[Entry],
        happened_at: datetime | None = None,
        named: Sequence[LotMove] = (),
    ) -> None:
        """One balanced journal. named: lots of what it moves, as far as they are known.

        Raises Broken when it is unbalanced or would overdraw a guarded balance.
        """
        entries = [e for e in entries if e.quantity]
        _check_balanced(key, entries)
        ident = self._tx.ids.new()
        self._journals.append((ident, key, kind, cause, happened_at, self._tx.stamp))
        on_hand: dict[int, int] = {}
        for n, (cell, account, quantity) in enumerate(entries):
            at = cell.id
            self._entries.append((ident, n, at, account, quantity))
            if account in ON_HAND:
                on_hand[at] = on_hand.get(at, 0) + quantity
            if account != "world":
                _move(cell, account, quantity, key)
                self._moved[at] = cell
        if named or any(on_hand.values()):
            self._physical += _physical(ident, entries, on_hand, named)
        if self._rights:
            contracts.write(self._tx, ident, self._rights)
            self._rights = []

    def use(self, rights: Iterable[Right]) -> None:
        """Rights that move with the journal that is booked next."""
        moved = [right for right in rights if right.quantity]
        self._rights += moved
        for contract_id, item_id, account, units in moved:
            if account == "allowance":
                self._allowed[contract_id, item_id] += units

    def using(self, contract_id: int, item_id: int) -> int:
        """Units by which what moves with the next journal makes that contract's allowance smaller."""
        mine = (r.quantity for r in self._rights if r[:3] == (contract_id, item_id, "allowance"))
        return -sum(mine)

    def flush(self, *also: Rows) -> None:
        """Write journals, entries, balances and marks; and rows of other tables that belong to them."""
        if self._rights:
            self.book(f"rights:{self._tx.ids.new()}", "rights", f"contract:{self._rights[0].contract_id}", [])
        tx, moved = self._tx, [self._moved[i] for i in sorted(self._moved)]
        marks = [(tx.ids.new(), sorted({cell.key.item_id for cell in moved}))] if moved else []
        inserts = (
            Rows(t.journals, JOURNAL, self._journals),
            Rows(t.entries, ENTRY, self._entries),
            Rows(t.marks, ("id", "items"), marks),
        )
        changes = [(cell.id, *map(sub, cell.balances(), cell.before)) for cell in moved]
        changed = [(cell, change) for cell, change in zip(moved, changes, strict=True) if any(change[1:])]
        were = self._rely([cell for cell, _ in changed])
        write_rows(tx.conn, [*inserts, *also], Sums(t.cells, ("id", *KEPT), [change for _, change in changed], were))
        self.relotted |= lots.write(tx, self._physical)
        self._watch_suspense([cell for cell, change in zip(moved, changes, strict=True) if change[-1]])
        if moved:
            tx.lanes.add("stock")
        for cell in moved:
            self._note_promises(cell)
            cell.before = cell.balances()
        self.risen |= {item_id for (_, item_id), units in self._allowed.items() if units > 0}
        self._allowed.clear()
        if tx.recall:
            tx.recall.follow({cell.key: _row(cell) for cell in moved})
        self._journals, self._entries, self._moved = [], [], {}
        self._physical = []

    def _build_on(self, recall: Recall, cells: Collection[CellKey]) -> None:
        """Load cells without the lock: those that are remembered, and by a glance those that are not."""
        known = recall.some_of(cells)
        if missing := [key for key in cells if key not in known]:
            (rows,) = recall.glance(_beside(missing))
            there = {CellKey(*row[1:5]): (row[0], *row[5:]) for row in rows}
            known |= {key: there.get(key) for key in missing}
            recall.keep(known)
        for key, row in known.items():
            if row:
                self._stands(key, row)
        self._built_on |= known

    def _rely(self, changed: Sequence[Cell]) -> list[tuple[int, ...]]:
        """Say what was built on that nobody has read; returns what the cells that change have to be for that."""
        if not self._built_on:
            return []
        others = self._built_on.keys() - {cell.key for cell in changed}
        if rows := [(*key, *(self._built_on[key] or NO_ROW)) for key in others]:
            must_stand(self._tx.conn, t.cells, (*CellKey._fields, "id", *KEPT), len(CellKey._fields), rows)
        if not_booked := self._taken_as_new - {key for _, key, *_ in self._journals}:
            must_lack(self._tx.conn, t.journals, "key", sorted(not_booked))
        self._built_on, self._taken_as_new = {}, set()
        return [cell.before for cell in changed]

    def _note_promises(self, cell: Cell) -> None:
        """Remember what rose above or sank below what stands in the database."""
        free, suspense = cell.before[0], cell.before[-1]
        if cell.free <= free and cell.suspense == suspense:
            return
        if cell.promisable > max(0, free + min(0, suspense)):
            self.risen.add(cell.key.item_id)
        if cell.suspense < min(0, suspense):
            self.sunk.add(cell.id)

    def _watch_suspense(self, cells: Sequence[Cell]) -> None:
        """A cell whose suspense is negative is on the worklist as long as it is."""
        for cell in cells:
            w = t.worklist.c
            subject = {"kind": MISSING_TASK, "subject": f"cell:{cell.id}"}
            mine = (w.kind == subject["kind"]) & (w.subject == subject["subject"])
            if cell.suspense >= 0:
                self._tx.conn.execute(update(t.worklist).where(mine, w.done_at.is_(None)).values(done_at=self._tx.now))
                continue
            said = {"reason": MISSING.format(-cell.suspense), "done_at": None, "created_at": self._tx.now}
            row = {"id": self._tx.ids.new(), **subject, "merchant_id": cell.key.owner_id, "fix": "look", **said}
            if not insert_or_skip(self._tx.conn, t.worklist, [row]):
                self._tx.conn.execute(update(t.worklist).where(mine).values(**said))

    def _remember(self, rows: Iterable[tuple[Any, ...]]) -> None:
        for row in rows:
            self._stands(CellKey(*row[1:5]), (row[0], *row[5:]))

    def _stands(self, key: CellKey, row: Row) -> None:
        if row[0] not in self._by_id:
            cell = self._cells[key] = self._by_id[row[0]] = Cell(row[0], key, *row[1:])
            cell.before = row[1:]


def _row(cell: Cell | None) -> Row | None:
    """Its id and balances as the database has them."""
    return (cell.id, *cell.before) if cell else None


def _beside(keys: Collection[CellKey]) -> Look:
    """These cells, and those of other owners or conditions beside them."""
    among = {"item_id": sorted({k.item_id for k in keys}), "warehouse_id": sorted({k.warehouse_id for k in keys})}
    return Look(t.cells, CELL, among)


def standing(cell: Cell, account: str, entries: Iterable[Entry]) -> int:
    """The balance of an account once these entries are booked too."""
    moved = sum(e.quantity for e in entries if e.cell is cell and e.account == account)
    return int(getattr(cell, account)) + moved


def _move(cell: Cell, account: str, quantity: int, key: str) -> None:
    after = getattr(cell, account) + quantity
    if after < 0 and account in GUARDED:
        raise Broken(f"journal {key} would leave {account} of cell {cell.id} at {after}")
    setattr(cell, account, after)


def _physical(
    journal_id: int, entries: Sequence[Entry], on_hand: dict[int, int], named: Sequence[LotMove]
) -> list[lots.Moved]:
    """What a journal changes of the units on hand, cell by cell. on_hand: cell → units its entries change."""
    cells = {e.cell.id: e.cell for e in entries} | {move.cell.id: move.cell for move in named}
    changes = dict.fromkeys(cells, 0) | on_hand
    told = {ident: [lots.Named(*move[1:]) for move in named if move.cell.id == ident] for ident in changes}
    return [
        lots.Moved(journal_id, ident, cells[ident].key.item_id, units, told[ident])
        for ident, units in changes.items()
        if units or told[ident]
    ]


def _check_balanced(key: str, entries: Sequence[Entry]) -> None:
    sums: dict[int, int] = {}
    for cell, _, quantity in entries:
        item = cell.key.item_id
        sums[item] = sums.get(item, 0) + quantity
    if any(sums.values()):
        raise Broken(f"journal {key} is not balanced: {sums}")
