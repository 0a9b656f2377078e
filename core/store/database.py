"""The database: SQLite or PostgreSQL. Dialect names stand in this file and nowhere else (but for `trips`).

SQLite has one writer thread per process; processes queue on a lock file before BEGIN IMMEDIATE, and one that holds up
others pauses as long as it held the lock. PostgreSQL writes in the caller's thread; ledger writers take an advisory
lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    DateTime,
    Dialect,
    Engine,
    FromClause,
    Integer,
    Select,
    Table,
    bindparam,
    create_engine,
    event,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import QueuePool
from sqlalchemy.types import JSON, LargeBinary, TypeDecorator, TypeEngine

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
TOGETHER = 100
"""Rows SQLite is given in one statement."""
COPY_FROM = 400
"""Rows from which PostgreSQL is given them as a stream and not as one statement's parameters."""
CROSSED, OVER_AGAIN = ("40P01", "40001"), 4
"""PostgreSQL's states for a deadlock and for a transaction that cannot be put in order."""
Id = BigInteger().with_variant(Integer(), "sqlite")
Json = JSON().with_variant(postgresql.JSONB(), "postgresql")
Blob = LargeBinary()


NOW = "SELECT now()"
BEGUN: Any = "now"
"""In place of a time of PostgreSQL's: when its transaction began."""
LOCKED_NOW = f"SELECT now(), pg_advisory_xact_lock({LEDGER_LOCK})"


class Utc(TypeDecorator[datetime]):
    """An aware UTC time: timestamptz on PostgreSQL, microseconds since 1970 on SQLite. A naive time is refused."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        kind = DateTime(timezone=True) if dialect.name == "postgresql" else BigInteger()
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None or value is BEGUN:
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

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view for reading."""
        with self._readers.connect() as conn, conn.begin():
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

        ledger: also be the only ledger writer until the commit, before anything else is done.
        """
        if self.is_sqlite:
            now = datetime.now(UTC)
            return lambda: now
        trips.open_with(conn, LOCKED_NOW if ledger else NOW)
        return lambda: trips.opened(conn)[0][0].astimezone(UTC)

    def glance(self, *asked: Look) -> list[Sequence[tuple[Any, ...]]]:
        """The rows of each as PostgreSQL has them now, whoever is changing them."""
        with self._readers.connect() as conn:
            try:
                return [*trips.glance(conn, _looks(asked))]
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
        _lock(conn, LEDGER_LOCK)


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


def room_for_changes(percent: int) -> dict[str, Any]:
    """Keyword arguments of a table whose rows change often: that much of a page stays free for their next versions."""
    return {"postgresql_with": {"fillfactor": 100 - percent}}


def insert_or_skip(conn: Connection, table: Table, rows: Sequence[dict[str, Any]], returning: Any = None) -> list[Any]:
    """Insert rows, passing over those whose unique key is there; returns `returning` of the inserted ones."""
    column = table.c[returning] if returning else next(iter(table.primary_key.columns))
    kind = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
    if not rows:
        return []
    # The rows are parameters and not `values()`, which would be compiled anew for each number of rows.
    statement = kind(table).on_conflict_do_nothing().returning(column)
    return list(conn.execute(statement, list(rows)).scalars())


def upsert(conn: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows, or lay them over those with the same primary key."""
    if not rows:
        return
    kind: Any = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
    statement, keys = kind(table), [column.name for column in table.primary_key]
    change = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    conn.execute(statement.on_conflict_do_update(index_elements=keys, set_=change), list(rows))


def any_of(conn: Connection, column: Any, values: Sequence[Any]) -> ColumnElement[bool]:
    """Whether the column is one of these: one parameter, however many they are, so that statements stay the same."""
    if conn.dialect.name == "postgresql":
        listed = select(func.unnest(bindparam(None, list(values), postgresql.ARRAY(column.type))))
    else:
        listed = select(func.json_each(json.dumps(list(values))).table_valued("value").c.value)
    return column.in_(listed)  # type: ignore[no-any-return]


def given(conn: Connection, columns: Mapping[str, TypeEngine[Any]], rows: Sequence[tuple[Any, ...]]) -> FromClause:
    """Rows as a table of a query, by the names and types of its columns; one parameter a column, however many rows."""
    if conn.dialect.name == "postgresql":
        turned = zip(columns.values(), zip(*rows, strict=True), strict=True)
        arrays = [bindparam(None, list(values), postgresql.ARRAY(type_)) for type_, values in turned]
        return func.unnest(*arrays).table_valued(*columns).render_derived()
    each = func.json_each(json.dumps(rows)).table_valued("value").c.value
    return select(*(func.json_extract(each, f"$[{n}]").label(name) for n, name in enumerate(columns))).subquery()


class Rows(NamedTuple):
    """Rows of one table, as tuples in the order of these columns."""

    table: Table
    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]


class Sums(NamedTuple):
    """What to add to counters of a table: (id, a number for each of these columns).

    were: the counters before, row by row, where nobody has read them: PostgreSQL raises unless they are so still.
    """

    table: Table
    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]
    were: Sequence[tuple[Any, ...]] = ()


def write_rows(conn: Connection, inserts: Sequence[Rows], sums: Sums | None = None) -> None:
    """Insert rows, then add to counters, at the database's own speed.

    PostgreSQL gets all of it as one statement, or as streams where it is much.
    """
    inserts = [_bound(conn.dialect, r) for r in inserts if r.rows]
    sums = sums if sums and sums.rows else None
    if conn.dialect.name != "postgresql":
        for one in inserts:
            _insert_many(conn, one)
        if sums:
            turned = [(*row[1:], row[0]) for row in sums.rows]
            conn.exec_driver_sql(_add_sqlite(sums.table, sums.columns), turned)
        return
    if max((len(one.rows) for one in inserts), default=0) >= COPY_FROM:
        for one in inserts:
            _copy(conn, one)
        inserts = []
    if inserts or sums:
        given = [array for one in inserts for array in _arrays(one.rows)]
        if sums:
            given += [*_arrays(sums.rows), *_arrays(sums.were), *([str(len(sums.rows))] if sums.were else [])]
        added = (sums.table, sums.columns, bool(sums.were)) if sums else None
        trips.defer(conn, (_statement(tuple((one.table, one.columns) for one in inserts), added), given))


def change_rows(conn: Connection, table: Table, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> None:
    """Change rows, each by its id (the first column), in one statement on PostgreSQL."""
    if not rows:
        return
    if conn.dialect.name == "postgresql":
        trips.defer(conn, (_changed(table, columns), _arrays(_bound(conn.dialect, Rows(table, columns, rows)).rows)))
        return
    change: dict[str, Any] = {name: bindparam(f"new_{name}") for name in columns[1:]}
    given = [{f"new_{name}": value for name, value in zip(columns, row, strict=True)} for row in rows]
    conn.execute(update(table).where(table.c[columns[0]] == bindparam(f"new_{columns[0]}")).values(change), given)


def must_stand(
    conn: Connection, table: Table, columns: tuple[str, ...], key: int, rows: Sequence[tuple[Any, ...]]
) -> None:
    """PostgreSQL raises, at the latest with the COMMIT, unless these rows are so still.

    key: how many of the columns find a row; when all others are None there must be no such row.
    """
    trips.defer(conn, (_standing(table, columns, key), _arrays(rows)))


def must_lack(conn: Connection, table: Table, column: str, values: Sequence[Any]) -> None:
    """PostgreSQL raises, at the latest with the COMMIT, where a row has one of these values."""
    words = f"SELECT 1 / (count(*) = 0)::int FROM {table.name} WHERE {column} = ANY(%s::{_type(table, column)}[])"
    trips.defer(conn, (words, [_array(values)]))


def _insert_many(conn: Connection, one: Rows) -> None:
    """Rows by the hundred, at half the cost of one by one, then those that are left."""
    whole = len(one.rows) - len(one.rows) % TOGETHER
    words = _insert_sqlite(one.table, one.columns)
    for some in chunks(one.rows[:whole], TOGETHER):
        many = words + f", ({', '.join('?' * len(one.columns))})" * (TOGETHER - 1)
        conn.exec_driver_sql(many, tuple(chain.from_iterable(some)))
    if whole < len(one.rows):
        conn.exec_driver_sql(words, list(one.rows[whole:]))


def _copy(conn: Connection, one: Rows) -> None:
    words = f"COPY {one.table.name} ({', '.join(one.columns)}) FROM STDIN"
    trips.settle(conn)
    with conn.connection.driver_connection.cursor() as cursor, cursor.copy(words) as copy:  # type: ignore[union-attr]
        for row in one.rows:
            copy.write_row(row)


def _arrays(rows: Sequence[tuple[Any, ...]]) -> list[str]:
    return [_array(column) for column in zip(*rows, strict=True)]


def _array(values: Sequence[Any]) -> str:
    """Values as the text of a PostgreSQL array: many times faster than the driver's own, value by value."""
    kinds = set(map(type, values))
    if kinds <= {int, bool}:
        return f"{{{str(list(values))[1:-1]}}}"
    if kinds == {str}:
        joined = '","'.join(values)
        if "\\" not in joined and joined.count('"') == 2 * len(values) - 2:
            return f'{{"{joined}"}}'
    return f"{{{','.join(map(_element, values))}}}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if type(value) is str:
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return str(value)


@cache
def _statement(
    inserts: tuple[tuple[Table, tuple[str, ...]], ...], sums: tuple[Table, tuple[str, ...], bool] | None
) -> str:
    """All of it as one statement: each part stands in a WITH, and the rules between tables are held at its end."""
    parts = [f"part{n} AS ({_insert_postgresql(*one)})" for n, one in enumerate(inserts)]
    parts += [f"added AS ({_add_postgresql(*sums)})"] if sums else []
    all_were_so = " 1 / ((SELECT count(*) FROM added) = %s::bigint)::int" if sums and sums[2] else ""
    return f"WITH {', '.join(parts)} SELECT{all_were_so}"


def _insert_postgresql(table: Table, columns: tuple[str, ...]) -> str:
    return f"INSERT INTO {table.name} ({', '.join(columns)}) SELECT * FROM {_unnested(table, columns)}"


def _add_postgresql(table: Table, columns: tuple[str, ...], where_so: bool) -> str:
    """where_so: only rows whose counters were as said, and each row returns something."""
    (ident, *counters), name = columns, table.name
    sums = ", ".join(f"{c} = {name}.{c} + d.{c}" for c in counters)
    known, names, so = columns, ", ".join(columns), ""
    if where_so:
        known = (*columns, *counters)
        names += "".join(f", was_{c}" for c in counters)
        so = "".join(f" AND {name}.{c} = d.was_{c}" for c in counters) + " RETURNING 1"
    given = f"{_unnested(table, known)} AS d({names})"
    return f"UPDATE {name} SET {sums} FROM {given} WHERE {name}.{ident} = d.{ident}{so}"


@cache
def _standing(table: Table, columns: tuple[str, ...], key: int) -> str:
    """Divides by zero when a row is not as it is said to be."""
    found = " AND ".join(f"c.{c} = d.{c}" for c in columns[:key])
    theirs, said = (", ".join(f"{side}.{c}" for c in columns[key:]) for side in "cd")
    given = f"{_unnested(table, columns)} AS d({', '.join(columns)})"
    alike = f"bool_and(({theirs}) IS NOT DISTINCT FROM ({said}))"
    return f"SELECT 1 / {alike}::int FROM {given} LEFT JOIN {table.name} c ON {found}"


@cache
def _changed(table: Table, columns: tuple[str, ...]) -> str:
    ident, *changed = columns
    values = ", ".join(f"{c} = d.{c}" for c in changed)
    given = f"{_unnested(table, columns)} AS d({', '.join(columns)})"
    return f"UPDATE {table.name} SET {values} FROM {given} WHERE {table.name}.{ident} = d.{ident}"


def _unnested(table: Table, columns: tuple[str, ...]) -> str:
    return f"unnest({', '.join(f'%s::{_type(table, c)}[]' for c in columns)})"


def _type(table: Table, column: str) -> str:
    return table.c[column].type.compile(postgresql.dialect())  # type: ignore[no-untyped-call]


class Look(NamedTuple):
    """These columns of the rows of which each column in `among` has one of its values."""

    table: Table
    columns: tuple[str, ...]
    among: Mapping[str, Sequence[Any]]


def look(conn: Connection, *asked: Look) -> list[Sequence[tuple[Any, ...]]]:
    """The rows of each, as tuples; PostgreSQL is asked all of it in one trip."""
    if conn.dialect.name == "postgresql":
        return [*trips.ask_prepared(conn, _looks(asked))]
    return [_looked_up(conn, one) for one in asked]


def _looks(asked: Sequence[Look]) -> list[trips.Call]:
    return [(_look_postgresql(*_named(one)), [_array(v) for v in one.among.values()]) for one in asked]


def _looked_up(conn: Connection, one: Look) -> Sequence[tuple[Any, ...]]:
    given = tuple(json.dumps(list(values)) for values in one.among.values())
    return [tuple(row) for row in conn.exec_driver_sql(_look_sqlite(*_named(one)), given)]


def _named(one: Look) -> tuple[Table, tuple[str, ...], tuple[str, ...]]:
    return one.table, one.columns, tuple(one.among)


@cache
def _look_sqlite(table: Table, columns: tuple[str, ...], among: tuple[str, ...]) -> str:
    where = " AND ".join(f"{c} IN (SELECT value FROM json_each(?))" for c in among)
    return f"SELECT {', '.join(columns)} FROM {table.name} WHERE {where}"


@cache
def _look_postgresql(table: Table, columns: tuple[str, ...], among: tuple[str, ...]) -> str:
    where = " AND ".join(f"{c} = ANY(%s::{_type(table, c)}[])" for c in among)
    return f"SELECT {', '.join(columns)} FROM {table.name} WHERE {where}"


@cache
def _insert_sqlite(table: Table, columns: tuple[str, ...]) -> str:
    return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


@cache
def _add_sqlite(table: Table, columns: tuple[str, ...]) -> str:
    ident, *counters = columns
    return f"UPDATE {table.name} SET {', '.join(f'{c} = {c} + ?' for c in counters)} WHERE {ident} = ?"


@cache
def _times(table: Table, columns: tuple[str, ...]) -> dict[int, Utc]:
    return {n: kind for n, c in enumerate(columns) if isinstance(kind := table.c[c].type, Utc)}


@cache
def _documents(table: Table, columns: tuple[str, ...]) -> list[int]:
    return [n for n, c in enumerate(columns) if isinstance(table.c[c].type, JSON)]


def _bound(dialect: Dialect, one: Rows) -> Rows:
    """The rows as the database keeps them: a time goes the way of its type, which refuses a naive one."""
    times, documents = _times(one.table, one.columns), _documents(one.table, one.columns)
    if not times and not documents:
        return one
    columns: list[Sequence[Any]] = list(zip(*one.rows, strict=True))
    for n, kind in times.items():
        bound = {value: kind.process_bind_param(value, dialect) for value in set(columns[n])}
        columns[n] = [bound[value] for value in columns[n]]
    for n in documents:
        columns[n] = [json.dumps(value) for value in columns[n]]
    return one._replace(rows=list(zip(*columns, strict=True)))


def add_up(conn: Connection, table: Table, column: str, *counted: tuple[Mapping[str, Any], int]) -> None:
    """Add to counter rows (their keys, and how many), making those that are not there."""
    if counted:
        kind: Any = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
        statement, keys = kind(table), list(counted[0][0])
        more = statement.on_conflict_do_update(
            index_elements=keys, set_={column: table.c[column] + statement.excluded[column]}
        )
        conn.execute(more, [{**key, column: n} for key, n in counted])


def chunks(rows: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The rows in slices of at most `size`."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
