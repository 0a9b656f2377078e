"""Rows that wait for their COMMIT on PostgreSQL are seen, fail and survive as if they had not waited."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, select
from sqlalchemy.exc import DataError, IntegrityError, InternalError, OperationalError

from core.store import tables as t
from core.store.database import Database
from core.store.rows import Look, Rows, Sums, look, write_rows
from core.store.schema import prepare

JOURNAL = ("id", "key", "kind", "cause", "recorded_at")
AWKWARD = "it's \"quoted\" \\ {braced}, NULL; 'DROP TABLE cells'; 一盘货 $1 %s"


@pytest.fixture
def db(postgres_url: str) -> Iterator[Database]:
    prepare(postgres_url)
    database = Database(postgres_url)
    yield database
    database.close()


def journal(conn: Connection, ident: int, key: str, cause: str = "test") -> None:
    write_rows(conn, [Rows(t.journals, JOURNAL, [(ident, key, "count", cause, datetime.now(UTC))])])


def keys(conn: Connection) -> list[str]:
    return list(conn.execute(select(t.journals.c.key).order_by(t.journals.c.id)).scalars())


def kept(db: Database) -> list[str]:
    with db.read() as conn:
        return keys(conn)


def test_what_waits_is_seen_by_whatever_is_asked_next(db: Database) -> None:
    def work(conn: Connection) -> tuple[list[str], list[tuple[str]]]:
        journal(conn, 1, "first")
        by_sqlalchemy = keys(conn)
        journal(conn, 2, "second")
        (found,) = look(conn, Look(t.journals, ("key",), {"key": ["second", "third"]}))
        return by_sqlalchemy, list(found)

    assert db.write(work) == (["first"], [("second",)])
    assert kept(db) == ["first", "second"]


def test_what_waited_and_breaks_a_rule_raises_at_the_commit_and_leaves_nothing(db: Database) -> None:
    db.write(lambda conn: journal(conn, 1, "same"))

    def work(conn: Connection) -> None:
        journal(conn, 2, "other")
        journal(conn, 3, "same")

    with pytest.raises(IntegrityError, match="same"):
        db.write(work)
    assert kept(db) == ["same"]


def test_after_a_failure_the_same_connection_writes_on(db: Database) -> None:
    for ident in range(1, 9):
        db.write(lambda conn, ident=ident: journal(conn, ident, f"key {ident}"))  # type: ignore[misc]
        with pytest.raises(IntegrityError):
            db.write(lambda conn: journal(conn, 100, "key 1"))
        with pytest.raises(ZeroDivisionError):
            db.write(lambda conn: keys(conn) and 1 / 0)
    assert [f"key {ident}" for ident in range(1, 9)] == kept(db)


def test_rows_of_a_transaction_that_was_given_up_are_not_written_by_the_next(db: Database) -> None:
    def give_up(conn: Connection) -> None:
        journal(conn, 1, "given up")
        raise LookupError

    with pytest.raises(LookupError):
        db.write(give_up)
    db.write(lambda conn: journal(conn, 2, "next"))
    assert kept(db) == ["next"]


def test_any_text_comes_back_as_it_was(db: Database) -> None:
    db.write(lambda conn: journal(conn, 1, AWKWARD, AWKWARD))
    found = db.write(lambda conn: look(conn, Look(t.journals, ("key", "cause"), {"key": [AWKWARD]})))
    assert found == [[(AWKWARD, AWKWARD)]]


def test_a_text_the_database_cannot_keep_is_refused_whole(db: Database) -> None:
    with pytest.raises(DataError, match="NUL"):
        db.write(lambda conn: journal(conn, 1, "before\0'); DROP TABLE journals"))
    assert kept(db) == []


def test_a_plan_made_while_the_table_was_empty_finds_cells_by_their_index(db: Database) -> None:
    sums = Sums(t.cells, ("id", "free"), [(1, 1)])
    db.write(lambda conn: write_rows(conn, [], sums))

    def plan(conn: Connection) -> str:
        conn.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
        name = conn.exec_driver_sql("SELECT name FROM pg_prepared_statements WHERE statement ~ 'UPDATE'").scalar_one()
        words = conn.exec_driver_sql(f"EXPLAIN EXECUTE {name}('{{1}}', '{{1}}')").scalars()
        return "\n".join(words)

    told = db.write(plan)
    assert "Index Scan" in told
    assert "Seq Scan" not in told


@contextmanager
def held(db: Database) -> Iterator[None]:
    """Somebody has the ledger until this ends, and books a journal with the key "held"."""
    has_it, may_end = threading.Event(), threading.Event()

    def hold(conn: Connection) -> None:
        db.clock(conn, ledger=True)()
        journal(conn, 1, "held")
        has_it.set()
        may_end.wait()

    with ThreadPoolExecutor(1) as pool:
        holder = pool.submit(db.write, hold)
        has_it.wait()
        try:
            yield
        finally:
            may_end.set()
        holder.result()


def waiting(db: Database) -> int:
    """How many wait for a lock in this database."""
    here = "(SELECT oid FROM pg_database WHERE datname = current_database())"
    with db.read() as conn:
        query = f"SELECT count(*) FROM pg_locks WHERE NOT granted AND database = {here}"
        return int(conn.exec_driver_sql(query).scalar_one())


def test_who_waited_for_the_ledger_sees_what_its_holder_wrote(db: Database) -> None:
    def ask(conn: Connection) -> list[object]:
        db.clock(conn, ledger=True)
        return [*look(conn, Look(t.journals, ("key",), {"key": ["held"]}))]

    with ThreadPoolExecutor(1) as pool:
        with held(db):
            waits = pool.submit(db.write, ask)
            while not waiting(db):
                pass
        assert waits.result() == [[("held",)]]


def test_of_two_that_are_said_whole_the_second_is_sent_when_the_first_is_done(db: Database) -> None:
    all_of_them, sent = threading.Barrier(4), list[int]()

    def say(ident: int, is_prepared: bool) -> None:
        def work(conn: Connection) -> None:
            db.clock(conn, ledger=True)
            if not is_prepared:  # each on a connection of its own; what has to be prepared takes a trip of its own
                all_of_them.wait()
            journal(conn, ident, f"key {ident}")

        db.write(work, lambda: sent.append(ident))

    with ThreadPoolExecutor(4) as pool:
        for prepares in [pool.submit(say, ident, False) for ident in range(2, 6)]:
            prepares.result()
        sent.clear()
        with held(db):
            says = [pool.submit(say, ident, True) for ident in (6, 7)]
            while not waiting(db):
                pass
            time.sleep(0.05)
            assert [len(sent), waiting(db)] == [1, 1]
        for one in says:
            one.result()
    assert sorted(sent) == [6, 7]
    assert sorted(kept(db)) == ["held", *(f"key {ident}" for ident in range(2, 8))]


def test_a_view_shows_one_moment_whatever_is_written_meanwhile(db: Database) -> None:
    db.write(lambda conn: journal(conn, 1, "first"))
    with db.read() as conn:
        before = keys(conn)
        db.write(lambda conn: journal(conn, 2, "second"))
        assert [before, keys(conn)] == [["first"], ["first"]]
    assert kept(db) == ["first", "second"]


def test_a_view_writes_nothing_and_its_connection_writes_on(db: Database) -> None:
    with pytest.raises(InternalError, match="read-only"), db.read() as conn:
        journal(conn, 1, "looked at")
    db.write(lambda conn: journal(conn, 2, "written"))
    assert kept(db) == ["written"]


def test_the_time_of_a_transaction_is_when_it_began_whenever_it_is_asked(db: Database) -> None:
    def work(conn: Connection) -> tuple[datetime, datetime]:
        clock = db.clock(conn)
        began = conn.exec_driver_sql("SELECT now()").scalar_one()
        conn.exec_driver_sql("SELECT pg_sleep(0.01)")
        return began, clock()

    began, told = db.write(work)
    assert told == began


def test_a_connection_that_was_cut_leaves_nothing_and_another_takes_its_place(db: Database) -> None:
    def cut(conn: Connection) -> None:
        mine = conn.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        journal(conn, 1, "cut off")
        with db.read() as other:
            other.exec_driver_sql(f"SELECT pg_terminate_backend({mine})")

    with pytest.raises(OperationalError):
        db.write(cut)
    db.write(lambda conn: journal(conn, 2, "next"))
    assert kept(db) == ["next"]
