"""A day that is over leaves a statement, whoever comes first, whatever failed before; and no audit holds up a tick."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.flow import audit_ledger, close_day
from core.store import tables as t
from core.store.store import Transaction
from tests.worlds import Clock, World, order, store, world
from workers.clock import Clock as Ticking
from workers.days import AGAIN_S, LOOK_S, Days

DAY_S = 86400


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    """Monday, 23:59:59: ten pens lie in east, and three of them are promised."""
    clock = Clock(datetime(2026, 1, 5, 8, tzinfo=UTC))
    with store(tmp_path, clock=clock) as it:
        built = world(it, clock)
        built.counts("pen", 10)
        built.takes(order("A", ("pen", 3)))
        clock.now = datetime(2026, 1, 5, 23, 59, 59, tzinfo=UTC)
        yield built


def statements(hub: World) -> list[tuple[str, int]]:
    """(day, breaches) of each statement there is."""
    rows = hub.rows(t.statements.select().order_by(t.statements.c.day))
    assert [row["found"] for row in rows] == [len(row["breaches"]) for row in rows]
    return [(row["day"], row["found"]) for row in rows]


def broken(hub: World) -> None:
    """Somebody changes a balance by hand."""
    cell = hub.row(t.cells, item_id=hub.pen)
    hub.store.write(lambda tx: tx.set(t.cells, cell["id"], free=6))


def waits(hub: World, seconds: float) -> None:
    assert hub.clock is not None
    hub.clock.wait(seconds)


def test_a_clean_day_leaves_its_figures(hub: World) -> None:
    Days(hub.store).look()
    waits(hub, 2)
    assert Days(hub.store).look() == LOOK_S
    assert statements(hub) == [("2026-01-04", 0), ("2026-01-05", 0)]
    row = hub.row(t.statements, day="2026-01-05")
    assert row["figures"] == {
        "on_hand": 10,
        "free": 7,
        "reserved": 3,
        "held": 0,
        "transit": 0,
        "inbound": 0,
        "suspense": 0,
        "journals": 2,
        "ledger_overcommitted_units": 0,
        "shop_oversold_units": 0,
    }
    assert (row["made_at"], row["breaches"]) == (datetime(2026, 1, 6, 0, 0, 1, tzinfo=UTC), [])


def test_a_clock_that_was_restarted_over_midnight_closes_the_day(hub: World) -> None:
    Days(hub.store).look()
    broken(hub)
    waits(hub, 2)
    Days(hub.store).look()
    assert statements(hub) == [("2026-01-04", 0), ("2026-01-05", 1)]
    assert hub.worklist() == ["audit"]


def test_an_audit_that_failed_is_tried_again_the_same_day(hub: World, monkeypatch: pytest.MonkeyPatch) -> None:
    days = Days(hub.store)
    with monkeypatch.context() as patch:
        patch.setattr(audit_ledger, "audit", lambda tx: 1 / 0)
        assert days.look() == AGAIN_S
    assert statements(hub) == []
    assert days.look() == LOOK_S
    assert statements(hub) == [("2026-01-04", 0)]


def test_a_hub_that_runs_by_day_only_misses_none(hub: World) -> None:
    """It ran on Monday, and again on Thursday morning."""
    Days(hub.store).look()
    waits(hub, 2.3 * DAY_S)
    Days(hub.store).look()
    assert [day for day, _ in statements(hub)] == ["2026-01-04", "2026-01-05", "2026-01-06", "2026-01-07"]
    journals = [hub.row(t.statements, day=f"2026-01-0{n}")["figures"]["journals"] for n in (5, 6, 7)]
    assert journals == [2, 0, 0]


def test_a_red_day_keeps_every_breach_and_stays_red(hub: World) -> None:
    hub.counts("pen", 10)
    hub.takes(*(order(f"B{n}", ("pen", 1)) for n in range(12)))
    hub.store.write(lambda tx: tx.conn.execute(t.order_lines.update().values(shipped=9)))
    Days(hub.store).look()
    red = hub.row(t.statements, day="2026-01-04")
    assert (red["found"], len(red["breaches"])) == (13, 13)
    assert "and 3 more" in hub.row(t.worklist, kind="audit")["reason"]
    hub.store.write(lambda tx: tx.conn.execute(t.order_lines.update().values(shipped=0)))
    waits(hub, 2)
    Days(hub.store).look()
    assert statements(hub) == [("2026-01-04", 13), ("2026-01-05", 0)]
    assert hub.worklist() == []


def test_of_two_clocks_the_first_makes_it(hub: World) -> None:
    with hub.store.read() as tx:
        first = close_day.draw_up(tx, close_day.due(tx))
    broken(hub)
    with hub.store.read() as tx:
        second = close_day.draw_up(tx, close_day.due(tx))
    assert [hub.store.write(lambda tx, it=it: close_day.keep(tx, it)) for it in (first, second)] == [True, False]
    assert (statements(hub), hub.worklist()) == ([("2026-01-04", 0)], [])


def test_an_audit_that_takes_long_holds_up_no_tick_and_no_stop(hub: World, monkeypatch: pytest.MonkeyPatch) -> None:
    auditing, may_end, ticks = threading.Event(), threading.Event(), threading.Semaphore(0)

    def slow(tx: Transaction) -> list[str]:
        auditing.set()
        may_end.wait()
        return []

    monkeypatch.setattr(audit_ledger, "audit", slow)
    monkeypatch.setattr("workers.clock.TICK_S", 0.01)
    monkeypatch.setattr("workers.days.FAREWELL_S", 0.01)
    clock = Ticking(hub.store, lambda lanes: None)
    monkeypatch.setattr(clock, "tick", ticks.release)
    thread = threading.Thread(target=clock.run, daemon=True)
    thread.start()
    assert auditing.wait(10)
    for _ in range(3):
        assert ticks.acquire(timeout=10)
    clock.stopped = True
    thread.join(10)
    assert not thread.is_alive()
    may_end.set()
    clock._days._thread.join(10)
    assert statements(hub) == []
