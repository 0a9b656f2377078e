"""How others reserve stock, each leaving exactly the rows ours leaves (but for marks, which only ours writes)."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import redis
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session, registry

from benchmarks.stock_orders import HOLDER, KIND, Order, libpq
from core.store import tables as t
from core.store.store import Ids

Ask = Callable[[Order], bool]
"""Reserve it durably; whether it was backed."""
CLAIMS = "claims (id, kind, holder_id, ref, cell_id, asked, backed, shipped, soft, open)"
JOURNALS = "journals (id, key, kind, cause, recorded_at)"
ENTRIES = "entries (journal_id, n, cell_id, account, quantity)"
FUNCTION = """
CREATE FUNCTION bench_reserve(p_ref text, p_journal bigint, p_claims bigint[], p_cells bigint[], p_units bigint[])
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE n int;
BEGIN
  FOR n IN 1 .. cardinality(p_cells) LOOP
    UPDATE cells SET free = free - p_units[n], reserved = reserved + p_units[n]
      WHERE id = p_cells[n] AND free >= p_units[n];
    IF NOT FOUND THEN RAISE EXCEPTION 'short' USING ERRCODE = 'P0001'; END IF;
  END LOOP;
  INSERT INTO journals (id, key, kind, cause, recorded_at)
    VALUES (p_journal, 'reserve:1:api:' || p_ref, 'reserve', 'api:' || p_ref, now());
  INSERT INTO entries (journal_id, n, cell_id, account, quantity)
    SELECT p_journal, 2 * (o - 1) + side, c, CASE side WHEN 0 THEN 'free' ELSE 'reserved' END, (2 * side - 1) * u
    FROM unnest(p_cells, p_units) WITH ORDINALITY x(c, u, o), generate_series(0, 1) side;
  INSERT INTO claims (id, kind, holder_id, ref, cell_id, asked, backed, shipped, soft, open)
    SELECT i, 'api', 1, p_ref, c, u, u, 0, true, true FROM unnest(p_claims, p_cells, p_units) x(i, c, u);
  RETURN true;
END $$
"""
LUA = """
for n = 1, #ARGV - 3, 2 do
  if tonumber(redis.call('HGET', 'cell:' .. ARGV[n], 'free')) < tonumber(ARGV[n + 1]) then return 0 end
end
if redis.call('SETNX', 'journal:' .. ARGV[#ARGV - 2], ARGV[#ARGV - 1]) == 0 then return 1 end
for n = 1, #ARGV - 3, 2 do
  local cell, units = ARGV[n], ARGV[n + 1]
  redis.call('HINCRBY', 'cell:' .. cell, 'free', -units)
  redis.call('HINCRBY', 'cell:' .. cell, 'reserved', units)
  redis.call('RPUSH', 'entries', ARGV[#ARGV - 2] .. ':' .. cell .. ':free:-' .. units)
  redis.call('RPUSH', 'entries', ARGV[#ARGV - 2] .. ':' .. cell .. ':reserved:' .. units)
  redis.call('HSET', 'claim:' .. ARGV[#ARGV - 2] .. ':' .. n, 'kind', 'api', 'holder', 1, 'cell', cell,
    'asked', units, 'backed', units, 'shipped', 0, 'soft', 1, 'open', 1)
end
return 1
"""


def rows_of(ids: Ids, order: Order) -> tuple[tuple[Any, ...], list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """The journal, entries and claims of one order, without recorded_at; lines in the one global order of cells."""
    journal = ids.new()
    lines = sorted(order.lines)
    sides = [
        (cell, account, side * units) for cell, units in lines for account, side in (("free", -1), ("reserved", 1))
    ]
    entries = [(journal, n, *side) for n, side in enumerate(sides)]
    claims = [(ids.new(), KIND, HOLDER, order.ref, cell, units, units, 0, True, True) for cell, units in lines]
    return (journal, f"reserve:{HOLDER}:{KIND}:{order.ref}", "reserve", f"{KIND}:{order.ref}"), entries, claims


@contextmanager
def for_update(address: str, ids: Ids) -> Iterator[Ask]:
    """psycopg: SELECT … FOR UPDATE in the one global order, then one statement a table."""
    with psycopg.connect(libpq(address)) as conn:

        def ask(order: Order) -> bool:
            lines = sorted(order.lines)
            with conn.transaction():
                query = "SELECT id, free FROM cells WHERE id = ANY(%s) ORDER BY id FOR UPDATE"
                free = dict(conn.execute(query, ([cell for cell, _ in lines],)).fetchall())
                if any(free[cell] < units for cell, units in lines):
                    return False
                journal, entries, claims = rows_of(ids, order)
                conn.execute(_insert(JOURNALS, 4, 1, ", now()"), journal)
                conn.execute(_insert(ENTRIES, 5, len(entries)), _flat(entries))
                conn.execute(_insert(CLAIMS, 10, len(claims)), _flat(claims))
                moved = ", ".join(["(%s::bigint, %s::bigint)"] * len(lines))
                words = f"UPDATE cells SET free = free - n, reserved = reserved + n FROM (VALUES {moved}) d(c, n)"
                conn.execute(f"{words} WHERE id = c", _flat(lines))
            return True

        yield ask


def _insert(into: str, columns: int, rows: int, more: str = "") -> str:
    return f"INSERT INTO {into} VALUES " + ", ".join([f"({', '.join(['%s'] * columns)}{more})"] * rows)


def _flat(rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    return [value for row in rows for value in row]


class _Cell:
    free: int
    reserved: int


class _Journal:
    """A row."""


class _Entry:
    """A row."""


class _Claim:
    """A row."""


MAPPED = registry()
for mapped, table in ((_Cell, t.cells), (_Journal, t.journals), (_Entry, t.entries), (_Claim, t.claims)):
    MAPPED.map_imperatively(mapped, table)


@contextmanager
def orm(address: str, ids: Ids) -> Iterator[Ask]:
    """SQLAlchemy's ORM: with_for_update, objects, commit."""
    engine = create_engine(address)

    def ask(order: Order) -> bool:
        wanted = dict(order.lines)
        with Session(engine) as session, session.begin():
            query = select(_Cell).where(t.cells.c.id.in_(wanted)).order_by(t.cells.c.id).with_for_update()
            cells: dict[int, Any] = {cell.id: cell for cell in session.scalars(query)}  # type: ignore[attr-defined]
            if any(cells[n].free < units for n, units in wanted.items()):
                return False
            journal, entries, claims = rows_of(ids, order)
            for n, units in wanted.items():
                cells[n].free -= units
                cells[n].reserved += units
            names = ("id", "key", "kind", "cause")
            session.add(_of(_Journal, (*names, "recorded_at"), (*journal, datetime.now(UTC))))
            session.flush()
            session.add_all(_of(_Entry, ("journal_id", "n", "cell_id", "account", "quantity"), e) for e in entries)
            columns = ("id", "kind", "holder_id", "ref", "cell_id", "asked", "backed", "shipped", "soft", "open")
            session.add_all(_of(_Claim, columns, c) for c in claims)
        return True

    yield ask
    engine.dispose()


def _of(kind: type, names: Sequence[str], values: Sequence[Any]) -> Any:
    made = kind()
    for name, value in zip(names, values, strict=True):
        setattr(made, name, value)
    return made


def add_function(address: str) -> None:
    """Put the server-side rival into a database."""
    with psycopg.connect(libpq(address)) as conn:
        conn.execute(FUNCTION)


@contextmanager
def plpgsql(address: str, ids: Ids) -> Iterator[Ask]:
    """One call of a server-side function an order."""
    with psycopg.connect(libpq(address), autocommit=True) as conn:

        def ask(order: Order) -> bool:
            lines = sorted(order.lines)
            given = [[ids.new() for _ in lines], [cell for cell, _ in lines], [units for _, units in lines]]
            try:
                conn.execute("SELECT bench_reserve(%s, %s, %s, %s, %s)", (order.ref, ids.new(), *given))
            except psycopg.errors.RaiseException:
                return False
            return True

        yield ask


def copy_all(address: str, ids: Ids, orders: Sequence[Order], at_once: int) -> Callable[[], None]:
    """COPY of the rows these orders leave, made beforehand, so many orders a commit: nothing is decided."""
    batches = []
    for start in range(0, len(orders), at_once):
        made = [rows_of(ids, order) for order in orders[start : start + at_once]]
        now = datetime.now(UTC)
        journals = [(*journal, now) for journal, _, _ in made]
        batches.append((journals, [e for _, es, _ in made for e in es], [c for *_, cs in made for c in cs]))

    def run() -> None:
        with psycopg.connect(libpq(address)) as conn:
            for tables in batches:
                for into, rows in zip((JOURNALS, ENTRIES, CLAIMS), tables, strict=True):
                    with conn.cursor() as cursor, cursor.copy(f"COPY {into} FROM STDIN") as copy:  # type: ignore[arg-type]
                        for row in rows:
                            copy.write_row(row)
                conn.commit()

    return run


@contextmanager
def redis_server(skus: int, free: int) -> Iterator[int]:
    """A redis-server of our own that syncs each write to disk, with this stock; its port."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free_port:
        free_port.bind(("127.0.0.1", 0))
        port = int(free_port.getsockname()[1])
        free_port.close()
        keeps = ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--dir", folder]
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", *keeps]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            client = redis.Redis(port=port)
            _wait_for(client)
            with client.pipeline(transaction=False) as pipe:
                for sku in range(1, skus + 1):
                    pipe.hset(f"cell:{sku}", mapping={"free": free, "reserved": 0})
                pipe.execute()
            client.close()
            yield port
        finally:
            server.terminate()
            server.wait(20)


def has_redis() -> bool:
    """Whether this machine can run the rival."""
    return shutil.which("redis-server") is not None


def _wait_for(client: Any, seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            client.ping()
            return
        except redis.ConnectionError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


@contextmanager
def redis_lua(port: int) -> Iterator[Ask]:
    """One script an order. It has no guarded balance, no unique keys over tables, no query and no second copy."""
    client = redis.Redis(port=port)
    script = client.register_script(LUA)

    def ask(order: Order) -> bool:
        return bool(script(args=[*_flat(sorted(order.lines)), order.ref, f"{KIND}:{order.ref}", time.time()]))

    yield ask
    client.close()


@contextmanager
def sqlite_each(path: Path, ids: Ids) -> Iterator[Ask]:
    """sqlite3, a connection of its own, BEGIN IMMEDIATE, one commit an order."""
    with ExitStack() as stack:
        conn = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=60)
        stack.callback(conn.close)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            conn.execute(f"PRAGMA {pragma}")

        def ask(order: Order) -> bool:
            conn.execute("BEGIN IMMEDIATE")
            for cell, units in order.lines:
                if conn.execute("SELECT free FROM cells WHERE id = ?", (cell,)).fetchone()[0] < units:
                    conn.execute("ROLLBACK")
                    return False
            journal, entries, claims = rows_of(ids, order)
            now = time.time_ns() // 1000
            conn.execute(f"INSERT INTO {JOURNALS} VALUES (?, ?, ?, ?, ?)", (*journal, now))
            conn.executemany(f"INSERT INTO {ENTRIES} VALUES (?, ?, ?, ?, ?)", entries)
            conn.executemany(f"INSERT INTO {CLAIMS} VALUES ({', '.join('?' * 10)})", claims)
            moves = [(units, units, cell) for cell, units in order.lines]
            conn.executemany("UPDATE cells SET free = free - ?, reserved = reserved + ? WHERE id = ?", moves)
            conn.execute("COMMIT")
            return True

        yield ask
