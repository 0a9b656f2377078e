"""Many rows at the database's own speed: read, written, changed, added up, and held to what they were taken for.

PostgreSQL gets each kind as one statement with an array a column; what need not be answered goes with what is said
next, at the latest with the COMMIT (`trips`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    FromClause,
    Table,
    bindparam,
    func,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import JSON, TypeEngine

from core.store import trips
from core.store.database import LOCKED_AT, SINCE, Database, Utc

T = TypeVar("T")
TOGETHER = 100
"""Rows SQLite is given in one statement."""
COPY_FROM = 400
"""Rows from which PostgreSQL is given them as a stream and not as one statement's parameters."""


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
    """Rows of one table, as tuples in the order of these columns.

    stamped: more columns, beside two others at least, which PostgreSQL fills in with the time at which the ledger was
    locked.
    """

    table: Table
    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]
    stamped: tuple[str, ...] = ()


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
    inserts = [_unstamped(_bound(conn.dialect, r)) for r in inserts if r.rows]
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
        trips.defer(conn, (_statement(tuple((i.table, i.columns, i.stamped) for i in inserts), added), given))


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
    words = f"COPY {one.table.name} ({', '.join((*one.columns, *one.stamped))}) FROM STDIN"
    at = trips.ask(conn, f"SELECT {SINCE}")[0] * len(one.stamped) if one.stamped else ()
    trips.settle(conn)
    with conn.connection.driver_connection.cursor() as cursor, cursor.copy(words) as copy:  # type: ignore[union-attr]
        for row in one.rows:
            copy.write_row((*row, *at))


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
    if kinds == {type(None)}:
        return f"{{{','.join(['NULL'] * len(values))}}}"
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
    inserts: tuple[tuple[Table, tuple[str, ...], tuple[str, ...]], ...],
    sums: tuple[Table, tuple[str, ...], bool] | None,
) -> str:
    """All of it as one statement: each part stands in a WITH, and the rules between tables are held at its end."""
    parts = [f"part{n} AS ({_insert_postgresql(*one)})" for n, one in enumerate(inserts)]
    parts += [f"added AS ({_add_postgresql(*sums)})"] if sums else []
    all_were_so = " 1 / ((SELECT count(*) FROM added) = %s::bigint)::int" if sums and sums[2] else ""
    return f"WITH {', '.join(parts)} SELECT{all_were_so}"


def _insert_postgresql(table: Table, columns: tuple[str, ...], stamped: tuple[str, ...]) -> str:
    what = ", ".join(("*", *(SINCE for _ in stamped)))
    names = ", ".join((*columns, *stamped))
    return f"INSERT INTO {table.name} ({names}) SELECT {what} FROM {_unnested(table, columns)}"


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


def glance(db: Database, *asked: Look) -> list[Sequence[tuple[Any, ...]]]:
    """The rows of each as PostgreSQL has them committed, whoever is changing them."""
    with db.apart() as conn:
        return [*trips.glance(conn, _looks(asked))]


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


def _unstamped(one: Rows) -> Rows:
    """Without the columns that stand for the time at which the ledger was locked."""
    if LOCKED_AT not in one.rows[0]:
        return one
    stamped = tuple(name for name, value in zip(one.columns, one.rows[0], strict=True) if value is LOCKED_AT)
    kept = itemgetter(*(n for n, name in enumerate(one.columns) if name not in stamped))
    return Rows(one.table, kept(one.columns), list(map(kept, one.rows)), stamped)


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
