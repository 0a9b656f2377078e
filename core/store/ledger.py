"""The ledger: balanced append-only journals over guarded balances. Whoever opens it is its one writer until the commit.

Accounts of a cell: free, reserved, held, transit, inbound (guarded ≥ 0), suspense (signed) and world (derived, no row).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import bindparam, func, select, tuple_, update

from core.errors import Broken
from core.store import tables as t
from core.store.database import chunks, insert_or_skip
from core.store.store import Transaction

GUARDED = ("free", "reserved", "held", "transit", "inbound")
KEPT = (*GUARDED, "suspense")
MISSING = "{} units are missing that the books say are there: have them counted, or take them back from orders"


class CellKey(NamedTuple):
    """owner × item × warehouse × condition."""

    owner_id: int
    item_id: int
    warehouse_id: int
    condition: str = "ZP"


@dataclass
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

    @property
    def promisable(self) -> int:
        """What admission may still back."""
        return max(0, self.free + min(0, self.suspense))

    @property
    def on_hand(self) -> int:
        """What should lie in the warehouse."""
        return self.free + self.reserved + self.held + self.suspense


class Entry(NamedTuple):
    """A signed quantity on one account of one cell."""

    cell: Cell
    account: str
    quantity: int


class Ledger:
    """Cells and journals of one transaction; nothing is written before `flush`."""

    def __init__(self, tx: Transaction) -> None:
        tx.lock_ledger()
        self._tx = tx
        self._cells: dict[CellKey, Cell] = {}
        self._by_id: dict[int, Cell] = {}
        self._journals: list[dict[str, object]] = []
        self._entries: list[dict[str, object]] = []
        self._deltas: dict[tuple[int, str], int] = defaultdict(int)
        self._marks: set[int] = set()

    def open(self, keys: Iterable[CellKey]) -> None:
        """Load these cells, making those that are not there."""
        missing = sorted({k for k in keys if k not in self._cells})
        for chunk in chunks(missing, 200):
            found = self._load(chunk)
            new = [{"id": self._tx.ids.new(), **k._asdict()} for k in chunk if k not in found]
            if new:
                insert_or_skip(self._tx.conn, t.cells, new)
                self._load(chunk)

    def cell(self, key: CellKey) -> Cell:
        """The cell of that key, as it stands now."""
        if key not in self._cells:
            self.open([key])
        return self._cells[key]

    def cells_by_id(self, ids: Iterable[int]) -> dict[int, Cell]:
        """The cells with these ids, as they stand now."""
        missing = sorted({i for i in ids if i not in self._by_id})
        for chunk in chunks(missing, 200):
            self._remember(select(t.cells).where(t.cells.c.id.in_(chunk)))
        return self._by_id

    def known(self, keys: Sequence[str]) -> set[str]:
        """Which of these business keys are booked already."""
        booked = {str(j["key"]) for j in self._journals} & set(keys)
        for chunk in chunks(list(keys), 500):
            booked |= set(self._tx.conn.execute(select(t.journals.c.key).where(t.journals.c.key.in_(chunk))).scalars())
        return booked

    def arrived(self, key: str) -> dict[int, int]:
        """Item → units the journal of this key brought anywhere; {} when it moved nothing."""
        e, j, ce = t.entries.c, t.journals.c, t.cells.c
        units = select(ce.item_id, func.sum(e.quantity).label("n")).join(t.cells, ce.id == e.cell_id)
        mine = units.join(t.journals, j.id == e.journal_id).where(j.key == key, e.quantity > 0)
        return {r["item_id"]: int(r["n"]) for r in self._tx.rows(mine.group_by(ce.item_id))}

    def book(
        self, key: str, kind: str, cause: str, entries: Sequence[Entry], happened_at: datetime | None = None
    ) -> None:
        """One balanced journal. Raises Broken when it is unbalanced or would overdraw a guarded balance."""
        entries = [e for e in entries if e.quantity]
        _check_balanced(key, entries)
        ident = self._tx.ids.new()
        row = {"id": ident, "key": key, "kind": kind, "cause": cause, "happened_at": happened_at}
        self._journals.append({**row, "recorded_at": self._tx.now})
        for n, entry in enumerate(entries):
            self._entries.append(
                {
                    "journal_id": ident,
                    "n": n,
                    "cell_id": entry.cell.id,
                    "account": entry.account,
                    "quantity": entry.quantity,
                }
            )
            if entry.account != "world":
                self._move(entry, key)

    def flush(self) -> None:
        """Write journals, entries, balances and marks."""
        tx = self._tx
        tx.add(t.journals, self._journals)
        tx.add(t.entries, self._entries)
        self._write_balances()
        self._watch_suspense()
        tx.add(t.marks, [{"id": tx.ids.new(), "item_id": item, "listing_id": None} for item in sorted(self._marks)])
        if self._marks:
            tx.lanes.add("stock")
        self._journals, self._entries, self._marks = [], [], set()
        self._deltas.clear()

    def _move(self, entry: Entry, key: str) -> None:
        cell, account = entry.cell, entry.account
        after = getattr(cell, account) + entry.quantity
        if after < 0 and account in GUARDED:
            raise Broken(f"journal {key} would leave {account} of cell {cell.id} at {after}")
        setattr(cell, account, after)
        self._deltas[(cell.id, account)] += entry.quantity
        self._marks.add(cell.key.item_id)

    def _write_balances(self) -> None:
        moved = sorted({cell for (cell, _), quantity in self._deltas.items() if quantity})
        if not moved:
            return
        c = t.cells.c
        statement = (
            update(t.cells).where(c.id == bindparam("cell")).values({a: c[a] + bindparam(f"d_{a}") for a in KEPT})
        )
        rows = [{"cell": cell, **{f"d_{a}": self._deltas.get((cell, a), 0) for a in KEPT}} for cell in moved]
        self._tx.conn.execute(statement, rows)

    def _watch_suspense(self) -> None:
        """A cell whose suspense is negative is on the worklist as long as it is."""
        for cell_id in sorted({cell for (cell, account), n in self._deltas.items() if account == "suspense" and n}):
            cell, w = self._by_id[cell_id], t.worklist.c
            subject = {"kind": "stock.missing", "subject": f"cell:{cell_id}"}
            mine = (w.kind == subject["kind"]) & (w.subject == subject["subject"])
            if cell.suspense >= 0:
                self._tx.conn.execute(update(t.worklist).where(mine, w.done_at.is_(None)).values(done_at=self._tx.now))
                continue
            said = {"reason": MISSING.format(-cell.suspense), "done_at": None, "created_at": self._tx.now}
            row = {"id": self._tx.ids.new(), **subject, "merchant_id": cell.key.owner_id, "fix": "look", **said}
            if not insert_or_skip(self._tx.conn, t.worklist, [row]):
                self._tx.conn.execute(update(t.worklist).where(mine).values(**said))

    def _load(self, keys: Sequence[CellKey]) -> set[CellKey]:
        c = t.cells.c
        columns = tuple_(c.owner_id, c.item_id, c.warehouse_id, c.condition)
        return self._remember(select(t.cells).where(columns.in_([tuple(k) for k in keys])))

    def _remember(self, query: object) -> set[CellKey]:
        found = set()
        for row in self._tx.rows(query):  # type: ignore[arg-type]
            key = CellKey(row["owner_id"], row["item_id"], row["warehouse_id"], row["condition"])
            cell = Cell(row["id"], key, **{a: row[a] for a in KEPT})
            self._cells[key] = self._by_id[cell.id] = cell
            found.add(key)
        return found


def _check_balanced(key: str, entries: Sequence[Entry]) -> None:
    sums: dict[int, int] = defaultdict(int)
    for entry in entries:
        sums[entry.cell.key.item_id] += entry.quantity
    if any(sums.values()):
        raise Broken(f"journal {key} is not balanced: {dict(sums)}")
