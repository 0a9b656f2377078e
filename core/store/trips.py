"""PostgreSQL in few trips: a transaction begins with its first statement, and its last rows go with its COMMIT."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.adapt import Transformer
from psycopg.generators import execute
from psycopg.pq import ExecStatus, TransactionStatus
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

FINE = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)
SETTINGS = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
BY_INDEX = ("SELECT " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in SETTINGS.items()),)
"""Before what is prepared: its plan is remembered, and finds rows by their index even when the table was empty then."""
AS_EVER = tuple(f"SET LOCAL {name} TO DEFAULT" for name in SETTINGS)
BEGIN, BEGIN_TO_LOOK = "BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
Call = tuple[str, Sequence[str]]
"""A statement with %s for each parameter, and the parameters as PostgreSQL writes them."""
Found = list[tuple[Any, ...]]


def nothing() -> None:
    """Whom nobody tells."""


@dataclass
class _Line:
    """What one connection has still to say, and what it has prepared."""

    begin: str = BEGIN
    opening: str = ""
    opened: Any = None
    alone: AbstractContextManager[Any] = field(default_factory=nullcontext)
    unsent: list[str] = field(default_factory=list)
    may_wait: bool = False
    names: dict[str, str] = field(default_factory=dict)
    named: int = 0


@contextmanager
def ending(conn: Connection, sent: Callable[[], None] = nothing) -> Iterator[None]:
    """Rows deferred in here are written when something else is said, else together with the COMMIT.

    sent: called once these are on their way, which is before they are done.
    """
    line = _line(conn)
    line.may_wait = True
    try:
        yield
        if line.unsent:
            is_whole = line.opening and _is_idle(conn)
            with line.alone if is_whole else nullcontext():
                _say(conn, [*BY_INDEX, *line.unsent, "COMMIT"], sent)
    finally:
        line.may_wait, line.opening = False, ""
        line.unsent.clear()


@contextmanager
def looking(conn: Connection) -> Iterator[None]:
    """The transaction that begins in here sees one moment, whatever is committed meanwhile, and writes nothing."""
    line = _line(conn)
    line.begin = BEGIN_TO_LOOK
    try:
        yield
    finally:
        line.begin = BEGIN


def open_with(conn: Connection, statement: str, alone: AbstractContextManager[Any] | None = None) -> None:
    """Say this first of all, in one trip with what is said first; inside of `ending`, before anything was said.

    alone: entered by a transaction that is said whole, in one trip, until that is done: those that would wait for each
    other in PostgreSQL wait here. There, whoever is let in stands in the way of the answer to the one before.
    """
    line = _line(conn)
    line.opening, line.alone = statement, alone or nullcontext()


def opened(conn: Connection) -> Found:
    """The rows of what the transaction was opened with."""
    settle(conn)
    return _rows(conn, _line(conn).opened)


def defer(conn: Connection, call: Call) -> None:
    """Write these rows before anything else is said; at once where no `ending` waits for them."""
    line = _line(conn)
    line.unsent.append(_called(conn, call))
    if not line.may_wait:
        settle(conn)


def settle(conn: Connection) -> None:
    """Say what has waited."""
    line = _line(conn)
    if line.unsent or line.opening or (line.begin != BEGIN and _is_idle(conn)):
        words = list(line.unsent)
        line.unsent.clear()
        _say(conn, words)


def ask(conn: Connection, statement: str) -> Found:
    """The rows of a statement; the transaction begins in the same trip. Raises DBAPIError, as SQLAlchemy does."""
    settle(conn)
    return _rows(conn, _say(conn, [statement])[-1])


def ask_prepared(conn: Connection, calls: Sequence[Call]) -> list[Found]:
    """The rows of each of these, in one trip. Raises DBAPIError, as SQLAlchemy does."""
    words = [_called(conn, call) for call in calls]
    if _line(conn).unsent:
        settle(conn)
    results = _say(conn, [*BY_INDEX, *words, *AS_EVER])[len(BY_INDEX) : -len(AS_EVER)]
    return [_rows(conn, result) for result in results]


def glance(conn: Connection, calls: Sequence[Call]) -> list[Found]:
    """The rows of each of these as they stand committed, in one trip and a transaction of its own."""
    words = [_called(conn, call) for call in calls]
    results = _say(conn, [*BY_INDEX, *words, "COMMIT"])[len(BY_INDEX) : -1]
    return [_rows(conn, result) for result in results]


def forget(conn: Connection) -> None:
    """The driver drops what this connection has prepared, as it does with each rollback."""
    _line(conn).names.clear()


def _line(conn: Connection) -> _Line:
    line = conn.info.get("line")
    if line is None:
        line = conn.info["line"] = _Line()
    return line


def _called(conn: Connection, call: Call) -> str:
    """The words that run a statement by the name under which this connection has prepared it."""
    (statement, values), line = call, _line(conn)
    if statement not in line.names:
        line.named += 1
        name, parts = f"yipan_{line.named}", statement.split("%s")
        numbered = "".join(f"{part}${n}" for n, part in enumerate(parts[:-1], 1)) + parts[-1]
        _say(conn, [f"PREPARE {name} AS {numbered}"])
        line.names[statement] = name
    return f"EXECUTE {line.names[statement]}({', '.join(map(_literal, values))})"


def _literal(value: str) -> str:
    """As a literal where standard_conforming_strings is on."""
    return f"""'{value.replace("'", "''")}'"""


def _say(conn: Connection, statements: Sequence[str], sent: Callable[[], None] = nothing) -> list[Any]:
    """The result of each statement, in one trip, which also begins the transaction where it has not begun."""
    driver: Any = conn.connection.driver_connection
    if not _is_idle(conn):
        return _said(driver, statements, sent)
    line = _line(conn)
    first = [line.begin, line.opening] if line.opening else [line.begin]
    line.opening = ""
    found = _said(driver, [*first, *statements], sent)
    line.opened = found[len(first) - 1]
    return found[len(first) :]


def _is_idle(conn: Connection) -> bool:
    """Whether no transaction has begun."""
    driver: Any = conn.connection.driver_connection
    return bool(driver.pgconn.transaction_status == TransactionStatus.IDLE)


def _said(driver: Any, statements: Sequence[str], sent: Callable[[], None]) -> list[Any]:
    words, encoding = "; ".join(statements), driver.info.encoding
    try:
        if "\0" in words:
            raise psycopg.DataError("PostgreSQL keeps no text that has a NUL in it")
        driver.pgconn.send_query(words.encode(encoding))
        driver.pgconn.flush()
        sent()
        results: list[Any] = driver.wait(execute(driver.pgconn))
        for result in results:
            if result.status not in FINE:
                raise psycopg.errors.error_from_result(result, encoding=encoding)
    except psycopg.Error as error:
        raise DBAPIError.instance(None, None, error, psycopg.Error) from error
    return results


def _rows(conn: Connection, result: Any) -> Found:
    if not result.ntuples:
        return []
    reader = Transformer(conn.connection.driver_connection)
    reader.set_pgresult(result)
    return reader.load_rows(0, result.ntuples, tuple)
