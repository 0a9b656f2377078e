"""The database: SQLite or PostgreSQL. Dialect names stand here, in `rows` and in `trips`, and nowhere else.

SQLite has one writer thread per process; processes queue on a lock file before BEGIN IMMEDIATE, and one that holds up
others pauses as long as it held the lock. PostgreSQL writes in the caller's thread; ledger writers take an advisory
lock.
"""

from __future__ import annotations

import fcntl
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    DateTime,
    Dialect,
    Engine,
    Integer,
    Select,
    cast,
    create_engine,
    event,
    func,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import QueuePool
from sqlalchemy.types import JSON, LargeBinary, TypeDecorator

from core.store import trips

T = TypeVar("T")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LEDGER_LOCK = 0x59495041  # "YIPA"
SCHEMA_LOCK = LEDGER_LOCK + 1
CLAIM_LOCK = LEDGER_LOCK + 2
PRAGMAS = (
    "busy_timeout=20000",
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "wal_autocheckpoint=20000",
)
"""The log is written back by `checkpoint`, outside of any transaction; by a commit only when nobody did so for long."""
IDLE_S = 2.0
"""After which a connection to PostgreSQL may have gone."""
CROSSED, OVER_AGAIN = ("40P01", "40001"), 4
"""PostgreSQL's states for a deadlock and for a transaction that cannot be put in order."""
Id = BigInteger().with_variant(Integer(), "sqlite")
Json = JSON().with_variant(postgresql.JSONB(), "postgresql")
Blob = LargeBinary()


NOW = "SELECT now()"
LOCK = (
    "SELECT set_config('yipan.locked_at', clock_timestamp()::text, true)::timestamptz"
    f" FROM (SELECT pg_advisory_xact_lock({LEDGER_LOCK})) AS locked"
)
"""Be the only ledger writer until the commit, and know since when."""
SINCE = "(SELECT current_setting('yipan.locked_at')::timestamptz)"
LOCKED_AT: Any = object()
"""In place of a time of PostgreSQL's: since when its transaction is the only ledger writer."""


class Utc(TypeDecorator[datetime]):
    """An aware UTC time: timestamptz on PostgreSQL, microseconds since 1970 on SQLite. A naive time is refused."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        kind = DateTime(timezone=True) if dialect.name == "postgresql" else BigInteger()
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None or value is LOCKED_AT:
            return value
        if value.tzinfo is None:
            raise ValueError(f"a naive time cannot be kept: {value!r}")
        return value if dialect.name == "postgresql" else (value - EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.astimezone(UTC) if dialect.name == "postgresql" else EPOCH + timedelta(microseconds=value)


class Database:
    """One database, for one process. commits counts its write transactions."""

    def __init__(self, url: str, hurried: bool = False) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        self.commits = 0
        self._closed = False
        if self.is_sqlite:
            self._readers = _sqlite_engine(url, "BEGIN", pool_size=8)
            self._writer: Engine = _sqlite_engine(url, "BEGIN IMMEDIATE", pool_size=1)
            self._gate = _Gate(Path(str(self._readers.url.database)), hurried)
            self._jobs: queue.SimpleQueue[tuple[Callable[[Connection], Any], Future[Any]] | None] = queue.SimpleQueue()
            self._thread = threading.Thread(target=self._run_jobs, name="writer", daemon=True)
            self._thread.start()
        else:
            self._readers = self._writer = _postgresql_engine(url)
            self._alone = threading.Lock()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view for reading."""
        with (
            self._readers.connect() as conn,
            nullcontext() if self.is_sqlite else trips.looking(conn),
            conn.begin(),
        ):
            yield conn

    def write(self, work: Callable[[Connection], T], sent: Callable[[], None] = trips.nothing) -> T:
        """Run `work` in one transaction; committed when this returns, without trace when it raises.

        It may be run more than once, so all it does has to go through the connection. sent: called by PostgreSQL's last
        trip, if there is one, when it is under way.
        """
        if self._closed:
            raise RuntimeError("this database was closed: nothing more can be written")
        if not self.is_sqlite:
            return self._commit_again(work, sent)
        job: Future[T] = Future()
        self._jobs.put((work, job))
        return job.result()

    def close(self) -> None:
        """Finish what is queued and let go of the files."""
        if self._closed:
            return
        self._closed = True
        if self.is_sqlite:
            self._jobs.put(None)
            self._thread.join()
            self._gate.close()
        self._readers.dispose()
        self._writer.dispose()

    @contextmanager
    def turn(self, what: str) -> Iterator[None]:
        """One process at a time does this, where they would only do the same work twice (SQLite: one writer anyway)."""
        if not self.is_sqlite:
            yield
            return
        handle = os.open(f"{self._readers.url.database}.{what}", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def checkpoint(self) -> None:
        """Write SQLite's log back into its file, in nobody's way."""
        if self.is_sqlite:
            with closing(self._readers.raw_connection()) as connection:
                connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)").close()

    def clock(self, conn: Connection, ledger: bool = False) -> Callable[[], datetime]:
        """The database's clock at the beginning of a transaction in `write`, which it tells when it is asked.

        ledger: be the only ledger writer until the commit, before anything else is done; it begins once that is so.
        """
        if self.is_sqlite:
            now = datetime.now(UTC)
            return lambda: now
        if ledger:
            trips.open_with(conn, LOCK, self._alone)
        else:
            trips.open_with(conn, NOW)
        return lambda: trips.opened(conn)[0][0].astimezone(UTC)

    @contextmanager
    def apart(self) -> Iterator[Connection]:
        """A connection to ask something in a trip of its own, in nobody's way; thrown away when that fails."""
        with self._readers.connect() as conn:
            try:
                yield conn
            except Exception:
                conn.invalidate()
                raise

    def now(self, conn: Connection) -> datetime:
        """The database's clock."""
        return datetime.now(UTC) if self.is_sqlite else trips.ask(conn, NOW)[0][0].astimezone(UTC)

    def _commit_again(self, work: Callable[[Connection], T], sent: Callable[[], None]) -> T:
        """PostgreSQL ends one of two transactions that wait for each other: that one is done over, a few times."""
        for _ in range(OVER_AGAIN):
            try:
                return self._commit(work, sent)
            except Exception as error:
                if getattr(getattr(error, "orig", error), "sqlstate", "") not in CROSSED:
                    raise
        return self._commit(work, sent)

    def _commit(self, work: Callable[[Connection], T], sent: Callable[[], None] = trips.nothing) -> T:
        with (
            self._writer.connect() as conn,
            conn.begin(),
            nullcontext() if self.is_sqlite else trips.ending(conn, sent),
        ):
            result = work(conn)
        self.commits += 1
        return result

    def _run_jobs(self) -> None:
        while job := self._jobs.get():
            work, future = job
            with self._gate:
                try:
                    future.set_result(self._commit(work))
                except BaseException as error:
                    future.set_exception(error)


class _Gate:
    """The lock file processes queue on. Whoever waits shows it on a second file, so that the holder gives way after.

    hurried: somebody outside waits for this process (a callback's sender): it shows so on a third file, and the others
    don't queue beside it.
    """

    def __init__(self, database: Path, hurried: bool = False) -> None:
        self._hurried = hurried
        self._urgent = os.open(f"{database}.urgent", os.O_CREAT | os.O_RDWR, 0o600)
        self._lock = os.open(f"{database}.writer", os.O_CREAT | os.O_RDWR, 0o600)
        self._waiting = os.open(f"{database}.waiting", os.O_CREAT | os.O_RDWR, 0o600)
        self._since = 0.0

    def __enter__(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._queue()
        self._since = time.monotonic()

    def __exit__(self, *exc: object) -> None:
        held_s = time.monotonic() - self._since
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        if not self._hurried and self._somebody_waits():
            time.sleep(held_s)

    def close(self) -> None:
        """Let go of the files."""
        os.close(self._urgent)
        os.close(self._lock)
        os.close(self._waiting)

    def _queue(self) -> None:
        fcntl.flock(self._waiting, fcntl.LOCK_SH)
        if self._hurried:
            fcntl.flock(self._urgent, fcntl.LOCK_SH)
        else:
            self._let_the_hurried_pass()
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        if self._hurried:
            fcntl.flock(self._urgent, fcntl.LOCK_UN)
        fcntl.flock(self._waiting, fcntl.LOCK_UN)

    def _let_the_hurried_pass(self) -> None:
        fcntl.flock(self._urgent, fcntl.LOCK_EX)
        fcntl.flock(self._urgent, fcntl.LOCK_UN)

    def _somebody_waits(self) -> bool:
        try:
            fcntl.flock(self._waiting, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(self._waiting, fcntl.LOCK_UN)
        return False


def _sqlite_engine(url: str, begin: str, pool_size: int) -> Engine:
    engine = create_engine(
        url, poolclass=QueuePool, pool_size=pool_size, max_overflow=16, connect_args={"check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: object) -> None:
        connection.isolation_level = None
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def start(conn: Connection) -> None:
        conn.exec_driver_sql(begin)

    return engine


def _postgresql_engine(url: str) -> Engine:
    """A pool that asks a connection whether it lives when nobody has used it for a while.

    Statements are planned for the tables as they are: a plan remembered from when a table was empty reads all of it.
    """
    engine = create_engine(url, pool_size=8, max_overflow=16)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: object) -> None:
        connection.execute("SET plan_cache_mode = force_custom_plan")
        connection.execute("SET standard_conforming_strings = on")
        connection.commit()

    @event.listens_for(engine, "before_cursor_execute")
    def settle(conn: Connection, *statement: object) -> None:
        trips.settle(conn)

    event.listen(engine, "rollback", trips.forget)

    @event.listens_for(engine, "checkin")
    def note_use(connection: Any, record: Any) -> None:
        record.info["used_at"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def ask(connection: Any, record: Any, proxy: object) -> None:
        if time.monotonic() - record.info.get("used_at", time.monotonic()) < IDLE_S:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error:
            raise DisconnectionError from None

    return engine


@contextmanager
def alone(url: str) -> Iterator[Connection]:
    """One transaction that may change tables, while no other process does (nor, on SQLite, writes anything)."""
    is_sqlite = url.startswith("sqlite")
    engine = _sqlite_engine(url, "BEGIN IMMEDIATE", pool_size=1) if is_sqlite else create_engine(url)
    try:
        if is_sqlite:
            gate = _Gate(Path(str(engine.url.database)))
            try:
                with gate, engine.connect() as conn, conn.begin():
                    yield conn
            finally:
                gate.close()
        else:
            with engine.connect() as conn, conn.begin():
                _lock(conn, SCHEMA_LOCK)
                yield conn
    finally:
        engine.dispose()


def _lock(conn: Connection, number: int) -> None:
    conn.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})


def lock_ledger(conn: Connection) -> None:
    """One ledger writer at a time between processes; on SQLite every writer already is alone."""
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql(LOCK)


def lock_claims(conn: Connection) -> None:
    """One process at a time decides what goes out next; on SQLite every writer already is alone."""
    if conn.dialect.name == "postgresql":
        _lock(conn, CLAIM_LOCK)


def skip_locked(query: Select[Any]) -> Select[Any]:
    """Lock the rows and pass over those another worker holds; on SQLite every writer already is alone."""
    return query.with_for_update(skip_locked=True)


def only_where(condition: str) -> dict[str, Any]:
    """Keyword arguments that make an index partial."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def number_in(conn: Connection, column: ColumnElement[str]) -> ColumnElement[int]:
    """The number that stands second in a text of parts with colons between them, as `confirm:17:…`."""
    if conn.dialect.name == "postgresql":
        return cast(func.split_part(column, ":", 2), BigInteger)
    return cast(func.substr(column, func.instr(column, ":") + 1), Integer)


def room_for_changes(percent: int) -> dict[str, Any]:
    """Keyword arguments of a table whose rows change often: that much of a page stays free for their next versions."""
    return {"postgresql_with": {"fillfactor": 100 - percent}}
