"""Goods change their owner where they lie: one journal, whole or not at all, and no warehouse has to count anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from core.errors import OutOfStock, Refused, Unfit
from core.flow.journeys import decide
from core.flow.lock_stock import Line, Lock, Locked
from core.flow.transfer_stock import Transfer
from core.flow.transfer_title import TransferTitle
from core.model import Adjustment, AdjustmentRow
from core.model.stock import Lot
from core.store import lots
from core.store import tables as t
from core.store.scope import HUB
from tests.conftest import stories
from tests.worlds import Clock, World, in_memory, order, store, unpaid, world
from web.reads.titles import statement


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        yield world(it, clock)


@pytest.fixture
def shared(hub: World) -> World:
    """Ten of alpha's pens in the east, where beta's goods are known by the same code."""
    know(hub, hub.beta, "ALPHA")
    hub.counts("pen", 10)
    return hub


def know(hub: World, owner: int, code: str) -> None:
    """The east knows this owner's goods by that code."""
    hub.store.write(lambda tx: tx.add(t.keepers, [{"owner_id": owner, "warehouse_id": hub.east, "code": code}]))


def passes(hub: World, units: int, ref: str = "TT1", **more: Any) -> Any:
    """alpha gives beta so many good pens in the east."""
    condition, to = more.pop("condition", "ZP"), more.pop("to", hub.beta)
    asked = TransferTitle(hub.alpha, to, hub.east, ref, ((hub.pen, condition, units),), "anna", **more)
    return hub.store.write(lambda tx: decide(tx, [asked]))[0]


def whose(hub: World, condition: str = "ZP", account: str = "free") -> tuple[int, int]:
    """Pens of alpha and of beta in the east."""
    ce = t.cells.c
    rows = hub.rows(
        select(t.cells).where(ce.item_id == hub.pen, ce.warehouse_id == hub.east, ce.condition == condition)
    )
    units = {row["owner_id"]: row[account] for row in rows}
    return units.get(hub.alpha, 0), units.get(hub.beta, 0)


def test_4_of_10_pass_in_one_journal_and_lie_where_they_lay(shared: World) -> None:
    assert passes(shared, 4).ref == "TT1"
    assert whose(shared) == (6, 4)
    assert shared.entries("title") == [("free", -4), ("free", 4)]
    assert shared.audit() == []


def test_asked_again_it_stands_and_with_other_content_it_is_refused(shared: World) -> None:
    first = passes(shared, 4)
    assert passes(shared, 4) == first._replace(repeated=True)
    assert whose(shared) == (6, 4)
    assert isinstance(passes(shared, 5), Refused)
    assert whose(shared) == (6, 4)


def test_reserved_units_are_refused_by_figure_and_nothing_is_written(shared: World) -> None:
    shared.takes(order("O1", ("pen", 7)))
    answer = passes(shared, 4)
    assert isinstance(answer, OutOfStock)
    assert answer.missing == ((shared.pen, 4, 3),)
    assert whose(shared) == (3, 0)
    assert shared.rows(select(t.title_transfers.c.id)) == []


def test_unback_takes_the_newest_promises_back_first_and_leaves_them_short(shared: World) -> None:
    shared.takes(unpaid("O1", ("pen", 4)), unpaid("O2", ("pen", 4)))
    assert passes(shared, 5, unback=True).ref == "TT1"
    assert whose(shared) == (0, 5)
    assert (shared.claims("O1"), shared.claims("O2")) == ([(4, 4)], [(4, 1)])
    assert shared.audit() == []


def test_what_a_warehouse_was_told_of_is_not_taken_back_and_then_nothing_is(shared: World) -> None:
    shared.takes(order("O1", ("pen", 7)))
    shared.releases("O1")
    shared.takes(unpaid("O2", ("pen", 2)))
    assert isinstance(passes(shared, 4, unback=True), OutOfStock)
    assert (shared.claims("O1"), shared.claims("O2"), whose(shared)) == ([(7, 7)], [(2, 2)], (1, 0))


def test_units_that_are_missing_cannot_be_given(shared: World) -> None:
    shared.takes(unpaid("O1", ("pen", 8)))
    shared.counts("pen", -5)
    answer = passes(shared, 1)
    assert isinstance(answer, OutOfStock)
    assert answer.missing == ((shared.pen, 1, 0),)
    assert passes(shared, 1, unback=True).ref == "TT1"
    assert whose(shared) == (0, 1)
    assert "stock.missing" not in shared.worklist()
    assert shared.audit() == []


def test_what_comes_fills_what_the_new_owner_misses(shared: World) -> None:
    passes(shared, 2)
    shared.store.write(lambda tx: tx.set(t.cells, _cell(shared, shared.beta), free=0, suspense=-1))
    passes(shared, 3, "TT2")
    row = shared.row(t.cells, id=_cell(shared, shared.beta))
    assert (row["free"], row["suspense"]) == (2, 0)


def _cell(hub: World, owner: int) -> int:
    return int(hub.row(t.cells, owner_id=owner, item_id=hub.pen, warehouse_id=hub.east, condition="ZP")["id"])


def test_defective_goods_pass_too(shared: World) -> None:
    shared.counts("pen", 3, condition="CC")
    passes(shared, 2, condition="CC")
    assert whose(shared, "CC", "held") == (1, 2)
    assert isinstance(passes(shared, 2, "TT2", condition="CC"), OutOfStock)


def test_lots_pass_with_the_goods_soonest_to_expire_first(shared: World) -> None:
    shared.store.write(lambda tx: [tx.set(t.items, shared.pen, keeps_lots=True), lots.begin(tx, [shared.pen])])
    shared.counts("pen", -10)
    for code, day, units in (("late", "2027-06-01", 4), ("soon", "2027-01-01", 3)):
        lot = Lot(code=code, quantity=units, expires_on=day)
        row = AdjustmentRow(sku="pen", keeper="ALPHA", warehouse="EAST", quantity=units, event_id=code, lots=(lot,))
        shared.hears(Adjustment(ref=code, rows=(row,)), at=shared.wms)
    passes(shared, 5)
    li, ce = t.lot_on_hand.c, t.cells.c
    query = select(ce.owner_id, li.lot, li.units).join(t.cells, ce.id == li.cell_id).where(li.units != 0)
    found = {(row["owner_id"], row["lot"]): row["units"] for row in shared.rows(query)}
    assert found == {(shared.beta, "soon"): 3, (shared.beta, "late"): 2, (shared.alpha, "late"): 2}
    assert shared.audit() == []


@pytest.mark.parametrize("units", [0, -1, 1.5, True, 10**13])
def test_what_is_no_number_of_units_does_not_fit(shared: World, units: Any) -> None:
    assert isinstance(passes(shared, units), Unfit)
    assert whose(shared) == (10, 0)


def test_to_oneself_or_to_whom_the_warehouse_does_not_know_is_refused(hub: World) -> None:
    hub.counts("pen", 10)
    assert isinstance(passes(hub, 1, to=hub.alpha), Refused)
    answer = passes(hub, 1)
    assert isinstance(answer, Refused)
    assert "beta has no keeper code in east" in answer.message


def test_across_keeper_codes_the_warehouse_carries_them_over_and_the_title_passes_as_it_says(hub: World) -> None:
    know(hub, hub.beta, "BETA")
    hub.counts("pen", 10)
    passes(hub, 4)
    assert (whose(hub), whose(hub, account="reserved")) == ((6, 0), (4, 0))
    number = hub.rows(select(t.transfers))[0]["number"]
    hub.sends("send_stockout")
    assert hub.confirms(number, ("pen", 4)) == ["done"]
    assert (whose(hub), whose(hub, account="transit")) == ((6, 0), (0, 4))
    assert hub.receives(number, ("pen", 3), final=False) == ["done"]
    assert (whose(hub), whose(hub, account="transit")) == ((6, 3), (0, 1))
    assert hub.receives(number, ("pen", 1)) == ["done"]
    assert (whose(hub), hub.rows(select(t.transfers))[0]["state"]) == ((6, 4), "closed")
    assert hub.audit() == []


def test_across_keeper_codes_promises_are_taken_back_where_that_is_wanted_and_enough(hub: World) -> None:
    know(hub, hub.beta, "BETA")
    hub.counts("pen", 5)
    hub.takes(unpaid("O1", ("pen", 4)))
    for refused in (passes(hub, 5), passes(hub, 6, unback=True)):
        assert isinstance(refused, OutOfStock)
        assert refused.missing[0][2] == 1
        assert hub.claims("O1") == [(4, 4)]
    assert passes(hub, 5, unback=True).transfer_id
    assert (whose(hub), whose(hub, account="reserved"), hub.claims("O1")) == ((0, 0), (5, 0), [(4, 0)])
    assert hub.audit() == []


def test_across_keeper_codes_a_ref_that_is_taken_takes_no_promise_back(hub: World) -> None:
    know(hub, hub.beta, "BETA")
    hub.counts("pen", 5)
    taken = Transfer(hub.alpha, "title/TT1", hub.east, hub.east, ((hub.pen, 1),), hub.beta)
    hub.store.write(lambda tx: decide(tx, [taken]))
    hub.takes(unpaid("O1", ("pen", 4)))
    assert isinstance(passes(hub, 4, unback=True), Refused)
    assert hub.claims("O1") == [(4, 4)]


def settled(hub: World, first: str = "", last: str = "") -> list[tuple[Any, ...]]:
    """The rows of a statement: day, condition, units, transfers."""
    with hub.store.read() as tx:
        rows = statement(tx, HUB, first, last)["rows"]
    return [(row["day"], row["condition"], row["units"], row["transfers"]) for row in rows]


def test_a_statement_has_what_was_carried_over_on_the_days_it_arrived_and_a_day_stays_as_it_was(hub: World) -> None:
    know(hub, hub.beta, "BETA")
    hub.counts("pen", 60)
    assert passes(hub, 50).transfer_id
    number, monday = hub.rows(select(t.transfers))[0]["number"], settled(hub)
    hub.confirms(number, ("pen", 50))
    assert monday == settled(hub) == []
    days = {}
    assert hub.clock
    for day, units, condition in (("06", 0, "ZP"), ("07", 40, "ZP"), ("08", 7, "ZP"), ("08", 2, "ZP"), ("08", 1, "CC")):
        hub.clock.now = hub.clock.now.replace(day=int(day))
        if units:
            assert hub.receives(number, ("pen", units, condition), final=False) == ["done"]
        days[day] = settled(hub)
    assert days == {
        "06": [],
        "07": [("2026-01-07", "ZP", 40, 1)],
        "08": [("2026-01-08", "CC", 1, 1), ("2026-01-08", "ZP", 9, 1)],
    }
    assert [settled(hub, f"2026-01-{day}") for day in ("05", "06", "07", "08")] == [[], *days.values()]
    assert settled(hub, "2026-01-05", "2026-01-08") == [*days["07"], *days["08"]]


def test_a_statement_has_what_passed_at_once_on_its_day(shared: World) -> None:
    passes(shared, 4)
    assert shared.clock
    shared.clock.wait(86400)
    passes(shared, 1, "TT2")
    passes(shared, 2, "TT3")
    assert settled(shared) == [("2026-01-06", "ZP", 3, 2)]
    assert settled(shared, "2026-01-05") == [("2026-01-05", "ZP", 4, 1)]


def test_each_side_is_told_under_its_own_code(hub: World) -> None:
    from core.flow import transfer_stock

    know(hub, hub.beta, "BETA")
    hub.counts("pen", 10)
    ident = passes(hub, 4).transfer_id
    with hub.store.read() as tx:
        leaves, comes = transfer_stock.stockout(tx, ident), transfer_stock.notice(tx, ident)
    assert leaves and comes
    assert (leaves.keeper, comes.keeper, leaves.warehouse, comes.warehouse) == (
        "ALPHA",
        "BETA",
        str(hub.east),
        str(hub.east),
    )


def test_defective_goods_are_not_carried_over(hub: World) -> None:
    know(hub, hub.beta, "BETA")
    hub.counts("pen", 3, condition="CC")
    assert isinstance(passes(hub, 2, condition="CC"), Refused)


def test_a_snapshot_of_the_code_speaks_of_both_owners_goods(shared: World) -> None:
    from tests.simulation import shown_stock

    passes(shared, 4)
    assert shown_stock.shows(shared, "pen", "east", 10) == ["done"]
    assert {row["state"] for row in shared.rows(select(t.comparisons))} == {"agrees"}


def test_what_the_warehouse_counts_is_the_items_owners(shared: World) -> None:
    passes(shared, 4)
    shared.counts("pen", -1)
    assert whose(shared) == (5, 4)


def test_what_a_warehouse_says_under_the_new_owners_own_code_is_booked_on_it(hub: World) -> None:
    know(hub, hub.beta, "BETA")
    hub.counts("pen", 10)
    passes(hub, 4)
    number = hub.rows(select(t.transfers))[0]["number"]
    hub.confirms(number, ("pen", 4))
    hub.receives(number, ("pen", 4))
    assert hub.counts("pen", -1, keeper="BETA") == ["done"]
    assert hub.takes_back("R1", ("pen", 2), keeper="BETA") == ["done"]
    assert (whose(hub), hub.audit()) == ((6, 5), [])


def test_a_code_whose_owner_never_had_such_goods_stays_a_question(hub: World) -> None:
    know(hub, hub.beta, "BETA")
    assert hub.counts("pen", 3, keeper="BETA") == ["parked"]
    assert whose(hub) == (0, 0)


def test_what_passed_is_kept_for_its_new_owners_shop_and_sold_there(shared: World) -> None:
    passes(shared, 6)
    asked = Lock(shared.beta, "L1", "exclusive", shared.beta_shop, (Line(shared.pen, shared.east, 3),), "anna")
    assert isinstance(shared.store.write(lambda tx: decide(tx, [asked]))[0], Locked)
    assert (whose(shared), whose(shared, account="reserved")) == ((4, 3), (0, 3))
    shared.takes(order("B1", ("pen", 5)), at=shared.beta_shop)
    assert (shared.claims("B1"), whose(shared), shared.audit()) == ([(5, 5)], (4, 1), [])


def test_what_an_owner_never_had_is_not_kept_for_its_shop(shared: World) -> None:
    asked = Lock(shared.beta, "L1", "exclusive", shared.beta_shop, (Line(shared.pen, shared.east, 3),), "anna")
    answer = shared.store.write(lambda tx: decide(tx, [asked]))[0]
    assert isinstance(answer, Refused)
    assert "only an owner's own goods" in answer.message


@settings(max_examples=stories(60))
@given(moves=st.lists(st.tuples(st.booleans(), st.integers(1, 8), st.booleans()), max_size=8), sold=st.integers(0, 6))
def test_what_lies_under_a_code_is_the_same_after_any_transfers(moves: list[tuple[bool, int, bool]], sold: int) -> None:
    with in_memory() as folder, store(folder, clock=Clock()) as it:
        hub = world(it, None)
        know(hub, hub.beta, "ALPHA")
        hub.counts("pen", 10)
        if sold:
            hub.takes(unpaid("O1", ("pen", sold)))
        for n, (forth, units, unback) in enumerate(moves):
            sides = (hub.alpha, hub.beta) if forth else (hub.beta, hub.alpha)
            asked = TransferTitle(*sides, hub.east, f"T{n}", ((hub.pen, "ZP", units),), "anna", unback)
            before = whose(hub)[0 if forth else 1]
            (answer,) = hub.store.write(lambda tx, asked=asked: decide(tx, [asked]))
            assert unback or isinstance(answer, OutOfStock) == (units > before)
        assert sum(whose(hub)) + sum(whose(hub, account="reserved")) == 10
        e = t.entries.c
        assert hub.rows(select(func.sum(e.quantity).label("n")))[0]["n"] == 0
        assert hub.audit() == []
