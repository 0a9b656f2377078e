"""PostgreSQL in few trips: several statements go at once, and the last rows of a transaction go with its COMMIT."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.adapt import Transformer
from psycopg.generators import execute
from psycopg.pq import ExecStatus, TransactionStatus
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

FINE = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)
LAST = (
    "SET LOCAL plan_cache_mode = force_generic_plan",
    "SET LOCAL enable_seqscan = off",
    "SET LOCAL enable_hashjoin = off",
    "SET LOCAL enable_mergejoin = off",
)
"""Before the last rows: their plan is remembered, and finds rows by their index even when the table was empty then."""
Call = tuple[str, Sequence[str]]
"""A statement with %s for each parameter, and the parameters as PostgreSQL writes them."""
Found = list[tuple[Any, ...]]


@contextmanager
def ending(conn: Connection) -> Iterator[None]:
    """Rows deferred in here are written when something else is said, else together with the COMMIT."""
    unsent: list[str] = []
    conn.info["unsent"] = unsent
    try:
        yield
        if unsent:
            _say(conn, [*LAST, *unsent, "COMMIT"])
    finally:
        del conn.info["unsent"]


def defer(conn: Connection, call: Call) -> None:
    """Write these rows before anything else is said; at once where no `ending` waits for them."""
    words = _called(conn, call)
    unsent = conn.info.get("unsent")
    if unsent is None:
        _say(conn, [words])
    else:
        unsent.append(words)


def settle(conn: Connection) -> None:
    """Write what was deferred."""
    if unsent := conn.info.get("unsent"):
        words = list(unsent)
        unsent.clear()
        _say(conn, words)


def ask(conn: Connection, statement: str) -> Found:
    """The rows of a statement; the transaction begins in the same trip. Raises DBAPIError, as SQLAlchemy does."""
    settle(conn)
    return _say(conn, [statement])[-1]


def ask_prepared(conn: Connection, calls: Sequence[Call]) -> list[Found]:
    """The rows of each of these, in one trip. Raises DBAPIError, as SQLAlchemy does."""
    settle(conn)
    return _say(conn, [_called(conn, call) for call in calls])[-len(calls) :]


def forget(conn: Connection) -> None:
    """The driver drops what this connection has prepared, as it does with each rollback."""
    conn.info.pop("prepared", None)


def _called(conn: Connection, call: Call) -> str:
    """The words that run a statement by the name under which this connection has prepared it."""
    statement, values = call
    names: dict[str, str] = conn.info.setdefault("prepared", {})
    if statement not in names:
        made = conn.info["named"] = conn.info.get("named", 0) + 1
        name, parts = f"yipan_{made}", statement.split("%s")
        numbered = "".join(f"{part}${n}" for n, part in enumerate(parts[:-1], 1)) + parts[-1]
        _say(conn, [f"PREPARE {name} AS {numbered}"])
        names[statement] = name
    return f"EXECUTE {names[statement]}({', '.join(map(_literal, values))})"


def _literal(value: str) -> str:
    """As a literal where standard_conforming_strings is on."""
    return f"""'{value.replace("'", "''")}'"""


def _say(conn: Connection, statements: Sequence[str]) -> list[Found]:
    """The rows of each statement, in one trip."""
    driver: Any = conn.connection.driver_connection
    begun = driver.pgconn.transaction_status != TransactionStatus.IDLE
    encoding = driver.info.encoding
    words = "; ".join(statements if begun else ("BEGIN", *statements))
    try:
        if "\0" in words:
            raise psycopg.DataError("PostgreSQL keeps no text that has a NUL in it")
        driver.pgconn.send_query(words.encode(encoding))
        results = driver.wait(execute(driver.pgconn))
        for result in results:
            if result.status not in FINE:
                raise psycopg.errors.error_from_result(result, encoding=encoding)
    except psycopg.Error as error:
        raise _as_sqlalchemy(error) from error
    return [_rows(driver, result) for result in results]


def _rows(driver: Any, result: Any) -> Found:
    if not result.ntuples:
        return []
    reader = Transformer(driver)
    reader.set_pgresult(result)
    return reader.load_rows(0, result.ntuples, tuple)


def _as_sqlalchemy(error: psycopg.Error) -> Exception:
    return DBAPIError.instance(None, None, error, psycopg.Error)
