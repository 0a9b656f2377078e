"""The store of one process: its database, its identifiers, its vault, and one transaction at a time."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Executable, Table, insert, select, update

from core.store import tables as t
from core.store.database import LOCKED_AT, Database, lock_ledger
from core.store.recall import Recall
from core.store.rows import add_up, change_rows
from core.store.trips import nothing
from core.store.vault import Vault

T = TypeVar("T")
BEGINNING_MS = 1_704_067_200_000  # 2024-01-01
SLOTS = 4096


def since(at: datetime) -> int:
    """The first identifier of that moment: what was made later has a greater one."""
    return max(0, int(at.timestamp() * 1000) - BEGINNING_MS) << 22


def made_at(ident: int) -> datetime:
    """When an identifier was made, to the millisecond."""
    return datetime.fromtimestamp(((ident >> 22) + BEGINNING_MS) / 1000, UTC)


class Ids:
    """63-bit identifiers that sort with time: 41 bits of milliseconds, 12 of process slot, 10 of sequence."""

    def __init__(self, slot: int) -> None:
        self._slot = slot % SLOTS
        self._last = 0
        self._lock = threading.Lock()

    def new(self) -> int:
        """The next identifier."""
        with self._lock:
            at = self._last = max(self._last + 1, self._first())
        return self._made(at)

    def some(self, n: int) -> list[int]:
        """The next identifiers."""
        with self._lock:
            first = max(self._last + 1, self._first())
            self._last = first + n - 1
        return [self._made(at) for at in range(first, first + n)]

    def _first(self) -> int:
        """Where this millisecond begins."""
        return (int(time.time() * 1000) - BEGINNING_MS) << 10

    def _made(self, at: int) -> int:
        return at >> 10 << 22 | self._slot << 10 | at & 1023


@dataclass
class Transaction:
    """One decision in the making: everything it writes lands together. lanes: those that have work once it has."""

    conn: Connection
    ids: Ids
    vault: Vault
    clock: Callable[[], datetime]
    lanes: set[str] = field(default_factory=set)
    has_ledger: bool = False
    sealing: dict[int, int] = field(default_factory=dict)
    """Holder → the key its documents are sealed under, once asked."""
    recall: Recall | None = None
    """What may be built on without reading it again."""
    locked_at: Any = None
    """In place of the time of a journal, where only the database knows it."""
    _now: datetime | None = None

    @property
    def stamp(self) -> datetime:
        """The time of what is booked: no earlier than that of whoever had the ledger before."""
        return self.locked_at or self.now

    @property
    def now(self) -> datetime:
        """The time of all of it.

        Asking may wait for the ledger, hence no `cached_property`: in Python 3.11 one lock serves all of them.
        """
        if self._now is None:
            self._now = self.clock()
        return self._now

    def rows(self, query: Executable) -> list[Mapping[str, Any]]:
        """All rows as mappings."""
        return [dict(row) for row in self.conn.execute(query).mappings()]

    def row(self, query: Executable) -> Mapping[str, Any] | None:
        """The first row, or None."""
        found = self.conn.execute(query).mappings().first()
        return dict(found) if found else None

    def add(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows; nothing for none."""
        if rows:
            self.conn.execute(insert(table), list(rows))

    def set(self, table: Table, ident: int, **values: Any) -> None:
        """Change one row."""
        self.conn.execute(update(table).where(table.c.id == ident).values(**values))

    def set_each(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Change several rows, each by its id; all of them the same columns."""
        if rows:
            columns = ("id", *(name for name in rows[0] if name != "id"))
            change_rows(self.conn, table, columns, [tuple(row[name] for name in columns) for row in rows])

    def tally(self, name: str, n: int = 1) -> None:
        """Add to a counter that must not be lost."""
        if n:
            add_up(self.conn, t.tallies, "n", ({"name": name}, n))

    def lock_ledger(self) -> None:
        """Be the only ledger writer until the commit."""
        if not self.has_ledger:
            lock_ledger(self.conn)
            self.has_ledger = True


class Store:
    """What a process remembers with. woken(lanes) is called after each commit that left work; it must not raise."""

    def __init__(
        self, url: str, vault: Vault, *, role: str = "tool", clock: Callable[[], datetime] | None = None
    ) -> None:
        self.db = Database(url, hurried=role == "web")
        self.vault = vault
        self.woken: Callable[[set[str]], None] = lambda lanes: None
        self._clock = clock
        self.process = self._sign_in(role)
        self.ids = Ids(self.process)

    def write(
        self,
        work: Callable[[Transaction], T],
        ledger: bool = False,
        recall: Recall | None = None,
        sent: Callable[[], None] = nothing,
    ) -> T:
        """Run `work` in one transaction; afterwards wake the lanes it left work on.

        ledger: it is about the ledger, so be its only writer from the start (one trip less). recall: what it may build
        on; where that is no longer so, this raises and nothing is written. sent: as in `Database.write`.
        """
        lanes: set[str] = set()
        locked_at = None if self.db.is_sqlite or self._clock else LOCKED_AT

        def run(conn: Connection) -> T:
            clock = self._clock_of(conn, ledger)
            lanes.clear()
            tx = Transaction(conn, self.ids, self.vault, clock, lanes, ledger, recall=recall, locked_at=locked_at)
            return work(tx)

        result = self.db.write(run, sent)
        if lanes:
            self.woken(lanes)
        return result

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A consistent view for reading; writing through it is a mistake the database refuses or discards."""
        with self.db.read() as conn:
            now = self._clock() if self._clock else self.db.now(conn)
            yield Transaction(conn, self.ids, self.vault, lambda: now)

    def beat(self) -> None:
        """Show that this process lives, and how often it has committed; and do the housekeeping of a beat."""
        self.db.checkpoint()
        commits = self.db.commits + 1
        self.write(lambda tx: tx.set(t.processes, self.process, beat_at=tx.now, commits=commits))

    def close(self) -> None:
        """Sign out and let go."""
        commits = self.db.commits + 1
        self.write(lambda tx: tx.set(t.processes, self.process, beat_at=tx.now, stopped_at=tx.now, commits=commits))
        self.db.close()

    def _clock_of(self, conn: Connection, ledger: bool = False) -> Callable[[], datetime]:
        if self._clock is None:
            return self.db.clock(conn, ledger)
        if ledger:
            lock_ledger(conn)
        now = self._clock()
        return lambda: now

    def _sign_in(self, role: str) -> int:
        def work(conn: Connection) -> int:
            now = self._clock() if self._clock else self.db.now(conn)
            row = {"role": role, "pid": os.getpid(), "started_at": now, "beat_at": now}
            return int(conn.execute(insert(t.processes).returning(t.processes.c.id), row).scalar_one())

        return self.db.write(work)


def one(tx: Transaction, table: Table, **equal: Any) -> Mapping[str, Any] | None:
    """The row whose columns equal these, or None."""
    return tx.row(select(table).where(*(table.c[k] == v for k, v in equal.items())))


def many(tx: Transaction, table: Table, column: str, values: Sequence[Any]) -> list[Mapping[str, Any]]:
    """The rows whose column is one of these values."""
    if not values:
        return []
    return tx.rows(select(table).where(table.c[column].in_(list(values))))
