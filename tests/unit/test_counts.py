"""Stock-takes by persons: against the books of their moment, booked at once or once another agrees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from core.errors import Refused, Unfit
from core.flow import count_stock, move_stock, settle_residual
from core.flow.count_stock import Counted
from core.model import Snapshot, SnapshotRow
from core.store import tables as t
from core.store.ledger import Ledger
from core.store.store import one
from tests.worlds import Clock, World, minutes, order, store, unpaid, world


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        yield world(it, clock)


def finds(hub: World, ref: str, units: int, at: float = 0, condition: str = "ZP") -> str:
    """A person counted pens in east so many minutes after Monday 8:00; how the stock-take stands."""
    told = Counted(hub.alpha, hub.east, ref, minutes(at), ((hub.pen, condition, units),), "user anna")
    hub.store.write(lambda tx: count_stock.count(tx, Ledger(tx), told))
    return state(hub, ref)


def state(hub: World, ref: str) -> str:
    return str(hub.row(t.counts, ref=ref)["state"])


def approves(hub: World, ref: str) -> None:
    hub.store.write(lambda tx: count_stock.approve(tx, Ledger(tx), _row(tx, ref), "user bob"))


def rejects(hub: World, ref: str) -> None:
    hub.store.write(lambda tx: count_stock.reject(tx, _row(tx, ref), "counted twice", "user bob"))


def _row(tx: Any, ref: str) -> Any:
    return one(tx, t.counts, ref=ref)


def waits(hub: World, minutes_: float = 1) -> None:
    assert hub.clock is not None
    hub.clock.wait(60 * minutes_)


def five_short(hub: World) -> None:
    """Two pens are free and eight reserved, and a count finds five of them."""
    hub.counts("pen", 10)
    hub.takes(unpaid("A", ("pen", 8)))
    assert finds(hub, "C1", 5) == "booked"


def test_count_minus_5_with_free_2_reserved_8_then_unback_3(hub: World) -> None:
    hub.decides("wait")
    five_short(hub)
    assert hub.entries("count") == [("world", 5), ("free", -2), ("suspense", -3)]
    assert hub.cell(hub.pen) == {"reserved": 8, "suspense": -3}
    cell = hub.row(t.cells, item_id=hub.pen, warehouse_id=hub.east, condition="ZP")
    assert hub.store.write(lambda tx: move_stock.unback(tx, cell["id"])) == 3
    assert hub.entries("unback") == [("reserved", -3), ("suspense", 3)]
    assert hub.audit() == []


def test_a_difference_up_to_the_limit_is_booked_at_once_and_one_more_unit_waits(hub: World) -> None:
    assert finds(hub, "C1", 10) == "booked"
    assert hub.cell(hub.pen) == {"free": 10}
    waits(hub)
    assert finds(hub, "C2", 21, at=1) == "waiting"
    assert hub.cell(hub.pen) == {"free": 10}
    assert hub.worklist() == ["stock_take"]
    assert hub.audit() == []


def test_an_approved_one_is_booked_once(hub: World) -> None:
    finds(hub, "C1", 20)
    approves(hub, "C1")
    approves(hub, "C1")
    assert hub.cell(hub.pen) == {"free": 20}
    assert (state(hub, "C1"), hub.worklist()) == ("booked", [])
    with pytest.raises(Refused, match="booked already"):
        rejects(hub, "C1")
    assert hub.audit() == []


def test_a_rejected_one_is_never_booked(hub: World) -> None:
    finds(hub, "C1", 20)
    rejects(hub, "C1")
    rejects(hub, "C1")
    with pytest.raises(Refused, match="count again"):
        approves(hub, "C1")
    assert (hub.cell(hub.pen), state(hub, "C1"), hub.worklist()) == ({}, "rejected", [])
    assert hub.audit() == []


def test_what_moved_since_the_moment_of_counting_is_no_difference(hub: World) -> None:
    hub.counts("pen", 10)
    waits(hub)
    hub.receives(hub.announces((hub.pen, 4)), ("pen", 4))
    assert finds(hub, "C1", 9, at=0.5) == "booked"
    assert hub.cell(hub.pen) == {"free": 13}
    assert hub.audit() == []


def test_one_that_waits_is_held_against_what_is_known_when_it_is_approved(hub: World) -> None:
    """Both found the same fifteen pens; they are booked once."""
    finds(hub, "C1", 15)
    waits(hub, 5)
    finds(hub, "C2", 15, at=5)
    approves(hub, "C1")
    approves(hub, "C2")
    assert hub.cell(hub.pen) == {"free": 15}
    assert hub.audit() == []


def test_an_older_one_is_refused_once_a_later_one_is_booked(hub: World) -> None:
    finds(hub, "C1", 15)
    waits(hub, 5)
    finds(hub, "C2", 15, at=5)
    approves(hub, "C2")
    with pytest.raises(Refused, match="count again"):
        approves(hub, "C1")
    with pytest.raises(Refused, match="count again"):
        finds(hub, "C3", 12, at=1)
    assert hub.cell(hub.pen) == {"free": 15}
    assert hub.rows(t.counts.select().where(t.counts.c.ref == "C3")) == []


def test_told_again_it_stands_and_with_other_content_it_is_refused(hub: World) -> None:
    assert finds(hub, "C1", 10) == "booked"
    assert finds(hub, "C1", 10) == "booked"
    for units, condition in ((9, "ZP"), (10, "CC")):
        with pytest.raises(Refused, match="another ref"):
            finds(hub, "C1", units, condition=condition)
    assert hub.cell(hub.pen) == {"free": 10}


def test_what_was_not_counted_yet_does_not_fit(hub: World) -> None:
    with pytest.raises(Unfit, match="to come"):
        finds(hub, "C1", 10, at=1)
    twice = Counted(hub.alpha, hub.east, "C1", minutes(0), ((hub.pen, "ZP", 1), (hub.pen, "ZP", 1)), "user anna")
    with pytest.raises(Unfit, match="twice"):
        hub.store.write(lambda tx: count_stock.count(tx, Ledger(tx), twice))
    assert hub.rows(t.counts.select()) == []


def test_defective_units_found_are_held(hub: World) -> None:
    assert finds(hub, "C1", 3, condition="CC") == "booked"
    assert hub.cell(hub.pen, condition="CC") == {"held": 3}


def test_found_units_fill_what_is_missing_first_and_back_who_waits(hub: World) -> None:
    hub.decides("wait")
    hub.takes(order("A", ("pen", 4)))
    hub.counts("pen", -2)
    waits(hub)
    assert finds(hub, "C1", 3, at=1) == "booked"
    assert hub.claims("A") == [(4, 3)]
    assert hub.cell(hub.pen) == {"reserved": 3}
    assert hub.audit() == []


def test_the_audit_names_a_stock_take_that_is_not_booked_as_it_says(hub: World) -> None:
    finds(hub, "C1", 10)
    hub.store.write(lambda tx: tx.conn.execute(t.counts.update().values(state="waiting")))
    assert any("is off by 0, 10 booked" in breach for breach in hub.audit())


# beside snapshots


def shows(hub: World, *units: int) -> None:
    """Snapshots that show so many pens, a quarter of an hour after one another."""
    for n in units:
        rows = (SnapshotRow(sku="pen", warehouse="EAST", keeper="ALPHA", quantity=n),)
        assert hub.hears(Snapshot(rows=rows), at=hub.wms) == ["done"]
        waits(hub, 15)


def hundred(hub: World) -> None:
    """A hundred pens, of which two may be missing without a question."""
    hub.counts("pen", 100)
    hub.store.write(lambda tx: tx.set(t.merchants, hub.alpha, count_limit=2))
    waits(hub, 10)


@pytest.mark.parametrize(("answer", "left"), [(approves, 94), (rejects, 94)])
def test_what_a_waiting_stock_take_found_no_snapshot_books_besides(hub: World, answer: Any, left: int) -> None:
    """94 counted and waiting, 94 shown twice: booked by the one or by the other."""
    hundred(hub)
    assert finds(hub, "C1", 94, at=9) == "waiting"
    shows(hub, 94, 94)
    assert (hub.entries("snapshot"), hub.cell(hub.pen)) == ([], {"free": 100})
    answer(hub, "C1")
    shows(hub, 94, 94)
    assert hub.cell(hub.pen) == {"free": left}
    assert hub.audit() == []


def test_a_waiting_stock_take_holds_up_its_own_cells_alone(hub: World) -> None:
    hundred(hub)
    assert finds(hub, "C1", 9, at=9, condition="CC") == "waiting"
    shows(hub, 94, 94)
    assert hub.cell(hub.pen) == {"free": 94}


@pytest.mark.parametrize(
    ("counted", "booked"),
    [(94, 0), (97, 0), (100, 0), (92, -2), (101, 1)],
    ids=["it found them", "it found some", "they went later", "it found more", "it found others"],
)
def test_what_a_snapshot_booked_may_have_been_missing_when_it_was_counted(
    hub: World, counted: int, booked: int
) -> None:
    """Six are shown missing and booked, then somebody enters the sheet of before."""
    hundred(hub)
    shows(hub, 94, 94)
    assert hub.cell(hub.pen) == {"free": 94}
    assert finds(hub, "C1", counted, at=5) == "booked"
    assert hub.cell(hub.pen) == {"free": 94 + booked}
    assert hub.audit() == []


def test_a_surplus_a_snapshot_booked_is_not_found_once_more(hub: World) -> None:
    hundred(hub)
    shows(hub, 106, 106)
    assert finds(hub, "C1", 106, at=5) == "booked"
    assert hub.cell(hub.pen) == {"free": 106}


def test_a_stock_take_after_a_snapshot_is_held_against_what_that_booked(hub: World) -> None:
    hundred(hub)
    shows(hub, 94, 94)
    assert finds(hub, "C1", 95, at=39) == "booked"
    assert hub.cell(hub.pen) == {"free": 95}


def test_one_that_waited_is_held_against_a_residual_a_person_accepted_meanwhile(hub: World) -> None:
    """Thirty are missing, which a person is asked about twice: by the stock-take and by the snapshots."""
    hundred(hub)
    shows(hub, 70, 70)
    assert finds(hub, "C1", 70, at=9) == "waiting"
    (task,) = hub.rows(select(t.worklist).where(t.worklist.c.kind == "stock.residual"))
    first = int(task["subject"].removeprefix("comparison:"))
    assert hub.store.write(lambda tx: settle_residual.accept(tx, first)) == -30
    approves(hub, "C1")
    assert hub.cell(hub.pen) == {"free": 70}
    assert hub.audit() == []
