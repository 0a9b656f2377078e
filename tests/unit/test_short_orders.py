"""What becomes of orders the pool cannot back: four policies, whatever frees a unit, and who takes promises back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from core.errors import Refused, Unfit, Unmatched
from core.flow import reserve_stock, tell_shipment
from core.flow.journeys import decide
from core.flow.reserve_stock import Release, Reserve, Subject
from core.rules.decide import Want
from core.store import tables as t
from core.store.scope import HUB, Scope
from hub import orders as work
from hub.onboard.merchants import MerchantChange, NewMerchant, change_merchant
from hub.orders import Resource
from tests.worlds import Clock, World, closed, minutes, order, store, unpaid, world


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        yield world(it, clock, policy="wait")


def places(hub: World, ref: str) -> list[tuple[str, int, int]]:
    """(warehouse, wanted, backed) of the order's open claims, in the order they were made."""
    query = t.claims.join(t.cells, t.cells.c.id == t.claims.c.cell_id).join(
        t.warehouses, t.warehouses.c.id == t.cells.c.warehouse_id
    )
    c = t.claims.c
    rows = hub.rows(
        query.select()
        .with_only_columns(t.warehouses.c.code, c.asked, c.shipped, c.backed)
        .where(c.order_id == hub.order(ref)["id"], c.open.is_(True))
        .order_by(c.id)
    )
    return [(r["code"], r["asked"] - r["shipped"], r["backed"]) for r in rows]


def asks(hub: World, ref: str, units: int, until: Any = None) -> Any:
    """A caller's reservation of pens in the east."""
    want = Want(0, hub.alpha, hub.pen, units)
    wanted = Reserve(Subject(hub.alpha, "api", ref), (want,), (hub.east,), until)
    return hub.store.write(lambda tx: decide(tx, [wanted]))[0]


def resources(hub: World, ref: str, *warehouses: str, scope: Scope = HUB) -> dict[str, Any]:
    """A person presses the button."""
    ident = hub.order(ref)["id"]
    return hub.store.write(lambda tx: work.resource(tx, scope, ident, Resource(warehouses=warehouses)))


# part or nothing


def test_what_is_left_to_others_goes_to_the_next_order_that_it_backs_whole(hub: World) -> None:
    hub.decides("wait", part_backing=False)
    hub.counts("pen", 3)
    hub.takes(order("A", ("pen", 5)), order("B", ("pen", 2)))
    assert (hub.claims("A"), hub.claims("B")) == ([(5, 0)], [(2, 2)])


def test_without_parts_a_waiting_order_is_backed_once_all_its_lines_are_there(hub: World) -> None:
    hub.decides("wait", part_backing=False)
    hub.takes(order("A", ("pen", 2), ("ink", 2)))
    hub.counts("pen", 2)
    assert hub.claims("A") == [(2, 0), (2, 0)]
    hub.counts("ink", 2)
    assert hub.claims("A") == [(2, 2), (2, 2)]
    assert hub.order("A")["state"] == "released"
    assert hub.audit() == []


def test_without_parts_an_order_that_wants_less_is_backed_by_what_is_there(hub: World) -> None:
    hub.decides("wait", part_backing=False)
    hub.counts("pen", 2)
    hub.takes(order("A", ("pen", 4)))
    hub.takes(order("A", ("pen", 2), version="2"))
    assert (hub.claims("A"), hub.order("A")["state"]) == ([(2, 2)], "released")


def test_without_parts_an_order_whose_missing_line_is_called_off_is_backed_by_what_is_there(hub: World) -> None:
    hub.decides("wait", part_backing=False)
    hub.counts("ink", 2)
    hub.takes(order("A", ("ink", 2), ("pen", 4)))
    hub.takes(order("A", ("ink", 2), version="2"))
    assert (hub.claims("A"), hub.order("A")["state"]) == ([(2, 2)], "released")


# whatever frees a unit


def test_units_of_a_cancelled_order_go_to_the_oldest_that_waits(hub: World) -> None:
    hub.counts("pen", 3)
    hub.takes(order("A", ("pen", 3), holds=("remark",)), order("B", ("pen", 2), placed_at=minutes(9)))
    hub.takes(order("C", ("pen", 2), placed_at=minutes(5)))
    hub.takes(closed("A", ("pen", 3)))
    assert (hub.claims("C"), hub.claims("B")) == ([(2, 2)], [(2, 1)])
    assert [hub.order(ref)["state"] for ref in "ABC"] == ["cancelled", "short", "released"]
    assert hub.audit() == []


def test_units_of_a_cancelled_order_go_to_who_waits_in_the_same_batch(hub: World) -> None:
    hub.counts("pen", 3)
    hub.takes(order("A", ("pen", 3), holds=("remark",)))
    hub.takes(order("B", ("pen", 3)), closed("A", ("pen", 3)))
    assert hub.order("B")["state"] == "released"
    assert hub.cell(hub.pen) == {"reserved": 3}


def test_units_a_warehouse_stopped_or_did_not_send_go_to_who_waits(hub: World) -> None:
    hub.counts("pen", 4)
    hub.takes(order("A", ("pen", 2)), order("B", ("pen", 2)))
    hub.sends("send_booking")
    hub.labels("A")
    hub.labels("B")
    hub.sends("send_delivery_order")
    hub.takes(order("C", ("pen", 2)), order("D", ("pen", 1), placed_at=minutes(1)))
    hub.takes(closed("A", ("pen", 2)))
    hub.answers(str(hub.fulfilments("A")[0]["ref"]), "cancelled")
    assert (hub.claims("C"), hub.claims("D")) == ([(2, 2)], [(1, 0)])
    hub.confirms(str(hub.fulfilments("B")[0]["ref"]), ("pen", 1))
    assert hub.claims("D") == [(1, 1)]
    assert hub.cell(hub.pen) == {"reserved": 3}
    assert hub.audit() == []


def test_units_a_caller_gives_back_or_lets_run_out_go_to_who_waits(hub: World) -> None:
    assert hub.clock is not None
    hub.counts("pen", 4)
    asks(hub, "R1", 2)
    asks(hub, "R2", 2, until=hub.clock.now)
    hub.takes(order("A", ("pen", 4)))
    hub.store.write(lambda tx: decide(tx, [Release(Subject(hub.alpha, "api", "R1"))]))
    assert hub.claims("A") == [(4, 2)]
    hub.store.write(reserve_stock.expire)
    assert hub.claims("A") == [(4, 4)]
    assert hub.order("A")["state"] == "released"
    assert hub.audit() == []


def test_who_asks_the_shop_gets_nothing_by_itself_whatever_frees_a_unit(hub: World) -> None:
    hub.decides("ask")
    hub.counts("pen", 3)
    hub.takes(order("A", ("pen", 3), holds=("remark",)), order("B", ("pen", 2)))
    hub.takes(closed("A", ("pen", 3)))
    assert hub.claims("B") == [(2, 0)]
    assert hub.cell(hub.pen) == {"free": 3}


def test_taking_what_is_backed_asks_nothing_about_who_waits(hub: World) -> None:
    said: list[str] = []
    hub.counts("pen", 9)

    def listen(conn: Any, cursor: Any, statement: str, *more: Any) -> None:
        said.append(statement)

    event.listen(hub.store.db._writer, "before_cursor_execute", listen)
    hub.takes(order("A", ("pen", 1)), order("B", ("pen", 1)))
    asks(hub, "R1", 1)
    event.remove(hub.store.db._writer, "before_cursor_execute", listen)
    assert said
    assert [s for s in said if "claims.open and claims.asked" in s] == []


# wait, re-source, part ship


def test_who_waits_stays_at_its_warehouse_and_who_re_sources_follows_the_goods(hub: World) -> None:
    hub.counts("pen", 3)
    hub.takes(order("A", ("pen", 5)))
    hub.counts("pen", 5, "west")
    assert places(hub, "A") == [("east", 5, 3)]
    hub.decides("resource")
    hub.counts("pen", 1, "west")
    assert places(hub, "A") == [("west", 5, 5)]
    assert sorted(hub.entries("resource")) == sorted([("free", -5), ("free", 3), ("reserved", -3), ("reserved", 5)])
    assert (hub.cell(hub.pen), hub.cell(hub.pen, hub.west)) == ({"free": 3}, {"free": 1, "reserved": 5})
    assert [f["warehouse_id"] for f in hub.fulfilments("A")] == [hub.west]
    assert hub.audit() == []


def test_what_a_re_sourced_order_leaves_behind_goes_to_the_next_one(hub: World) -> None:
    hub.decides("resource")
    hub.counts("pen", 3)
    hub.takes(order("A", ("pen", 5)), order("B", ("pen", 2)))
    hub.counts("pen", 5, "west")
    assert (places(hub, "A"), places(hub, "B")) == ([("west", 5, 5)], [("east", 2, 2)])
    assert [hub.order(ref)["state"] for ref in "AB"] == ["released", "released"]
    assert hub.audit() == []


def test_an_order_is_split_over_the_pool_where_that_backs_all_of_it(hub: World) -> None:
    hub.decides("resource")
    hub.counts("pen", 3)
    hub.takes(order("A", ("pen", 5)))
    hub.counts("pen", 2, "west")
    assert places(hub, "A") == [("east", 3, 3), ("west", 2, 2)]
    assert hub.entries("resource") == [("reserved", 2), ("free", -2)]
    assert len(hub.fulfilments("A")) == 2


def test_a_beta_shop_never_gets_units_of_a_warehouse_outside_its_pool(hub: World) -> None:
    hub.decides("resource")
    hub.takes(order("A", ("pen", 5)), at=hub.beta_shop)
    hub.counts("pen", 9, "west")
    assert places(hub, "A") == [("east", 5, 0)]


def test_what_a_warehouse_was_told_of_does_not_move_by_itself_nor_by_hand(hub: World) -> None:
    hub.decides("resource")
    hub.counts("pen", 5)
    hub.takes(order("A", ("pen", 5)))
    hub.releases("A")
    hub.counts("pen", 9, "west")
    assert places(hub, "A") == [("east", 5, 5)]
    with pytest.raises(Refused, match="nothing of it can move"):
        resources(hub, "A")
    assert hub.entries("resource") == []


def test_after_a_cancel_verdict_what_is_still_wanted_may_be_re_sourced(hub: World) -> None:
    hub.decides("resource")
    hub.counts("pen", 5)
    hub.takes(order("A", ("pen", 5)))
    fulfilment = hub.releases("A")
    hub.takes(order("A", ("pen", 5, 1), version="2", holds=("remark",)))
    assert hub.fulfilments("A")[0]["state"] == "cancelling"
    hub.answers(fulfilment, "cancelled")
    hub.counts("pen", 9, "west")
    assert places(hub, "A") == [("east", 4, 4)]
    assert resources(hub, "A", "west")["backed"] == 4
    assert places(hub, "A") == [("west", 4, 4)]
    assert hub.entries("resource") == [("free", 4), ("reserved", 4), ("reserved", -4), ("free", -4)]
    assert hub.audit() == []


def test_a_person_re_sources_once_and_a_second_time_changes_nothing(hub: World) -> None:
    hub.counts("pen", 3)
    hub.takes(order("A", ("pen", 5), holds=("remark",)))
    hub.counts("pen", 5, "west")
    first = resources(hub, "A")
    assert (first["state"], first["wanted"], first["backed"]) == ("held", 5, 5)
    again = resources(hub, "A")
    assert again == first
    assert len(hub.entries("resource")) == 4
    assert hub.audit() == []


def test_a_person_names_warehouses_of_the_pool_that_back_as_much(hub: World) -> None:
    hub.counts("pen", 5)
    hub.counts("pen", 2, "west")
    hub.takes(order("A", ("pen", 4), holds=("remark",)))
    with pytest.raises(Refused, match="back 2 of its units, where it is now 4 are"):
        resources(hub, "A", "west")
    with pytest.raises(Unmatched, match="there is no warehouse 'north'"):
        resources(hub, "A", "north")
    hub.takes(order("V", ("pen", 1), holds=("remark",)), at=hub.vendure)
    with pytest.raises(Refused, match="west is not in the pool"):
        resources(hub, "V", "west")
    assert hub.entries("resource") == []
    assert places(hub, "A") == [("east", 4, 4)]


def test_another_merchants_order_cannot_be_re_sourced_nor_topped_up(hub: World) -> None:
    hub.takes(order("A", ("pen", 4)))
    beta = Scope("merchant", hub.beta)
    with pytest.raises(Unmatched, match="there is no order"):
        resources(hub, "A", scope=beta)
    with pytest.raises(Unmatched, match="there is no order"):
        hub.store.write(lambda tx: work.top_up(tx, beta, hub.order("A")["id"]))


def test_a_person_tops_up_an_order_of_who_asks(hub: World) -> None:
    hub.decides("ask")
    hub.takes(order("A", ("pen", 5)))
    hub.counts("pen", 6)
    found = hub.store.write(lambda tx: work.top_up(tx, HUB, hub.order("A")["id"]))
    assert (found["state"], found["wanted"], found["backed"]) == ("released", 5, 5)
    again = hub.store.write(lambda tx: work.top_up(tx, HUB, hub.order("A")["id"]))
    assert again == found
    assert hub.cell(hub.pen) == {"free": 1, "reserved": 5}


def test_an_order_that_was_moved_together_again_is_called_off_as_any_other(hub: World) -> None:
    hub.decides("resource")
    hub.counts("pen", 5)
    hub.takes(order("A", ("pen", 5), holds=("remark",)))
    hub.takes(order("A", ("pen", 5, 1), version="2", holds=("remark",)), order("B", ("pen", 1), holds=("remark",)))
    hub.takes(order("A", ("pen", 5), version="3", holds=("remark",)))
    assert hub.claims("A") == [(4, 4), (1, 0)]
    hub.counts("pen", 1)
    assert hub.claims("A") == [(5, 5)]
    assert hub.takes(closed("A", ("pen", 5))) == ["done"]
    assert hub.cell(hub.pen) == {"free": 5, "reserved": 1}
    assert hub.order("A")["state"] == "cancelled"
    assert hub.audit() == []


def test_a_line_wants_less_as_often_as_its_shop_says_so(hub: World) -> None:
    hub.decides("ask")
    hub.counts("pen", 5)
    hub.takes(order("A", ("pen", 5), holds=("remark",)))
    for n in range(2, 8, 2):
        hub.takes(order("A", ("pen", 5, 1), version=str(n), holds=("remark",)))
        assert hub.cell(hub.pen) == {"free": 1, "reserved": 4}
        again = order("A", ("pen", 5), version=str(n + 1), holds=("remark",))
        assert hub.takes(again) == ["done"]
        hub.takes(again)
        resources(hub, "A", "east")
        assert hub.claims("A") == [(5, 5)]
    assert hub.audit() == []


def test_a_verdict_frees_what_an_order_gave_back_before(hub: World) -> None:
    hub.counts("pen", 5)
    hub.takes(order("A", ("pen", 5), holds=("remark",)))
    hub.takes(order("A", ("pen", 5, 1), version="2", holds=("remark",)))
    hub.takes(order("A", ("pen", 5), version="3", holds=("remark",)))
    resources(hub, "A", "east")
    hub.takes(order("A", ("pen", 5), version="4"))
    fulfilment = hub.releases("A")
    hub.takes(order("A", ("pen", 5, 1), version="5"))
    assert hub.answers(fulfilment, "cancelled") == ["done"]
    assert hub.cell(hub.pen) == {"free": 1, "reserved": 4}
    assert hub.audit() == []


def test_who_re_sources_gives_back_to_missing_units_first(hub: World) -> None:
    hub.counts("pen", 3)
    hub.takes(order("A", ("pen", 5)))
    hub.counts("pen", -2)
    assert hub.cell(hub.pen) == {"reserved": 3, "suspense": -2}
    hub.counts("pen", 5, "west")
    resources(hub, "A")
    assert hub.cell(hub.pen) == {"free": 1}
    assert hub.cell(hub.pen, hub.west) == {"reserved": 5}
    assert hub.audit() == []


def test_who_ships_in_part_sends_3_of_5_and_the_2_when_they_come(hub: World) -> None:
    hub.decides("part_ship")
    hub.counts("pen", 3)
    hub.takes(order("A", ("pen", 5)))
    assert places(hub, "A") == [("east", 3, 3), ("east", 2, 0)]
    assert hub.order("A")["state"] == "short"
    first = hub.releases("A")
    hub.confirms(first, ("pen", 3))
    assert (hub.order("A")["state"], hub.line("A")["shipped"], hub.line("A")["short"]) == ("part_shipped", 3, 0)
    said = hub.store.write(lambda tx: tell_shipment.shipment(tx, hub.fulfilments("A")[0]["id"]))
    assert said is not None
    assert (said.split, [line.quantity for line in said.lines]) == (True, [3])
    hub.counts("pen", 4)
    assert len(hub.fulfilments("A")) == 2
    hub.confirms(hub.releases("A"), ("pen", 2))
    assert (hub.order("A")["state"], hub.line("A")["shipped"]) == ("shipped", 5)
    assert hub.cell(hub.pen) == {"free": 2}
    assert hub.audit() == []


def test_who_ships_in_part_sends_whole_boxes_only(hub: World) -> None:
    hub.decides("part_ship")
    hub.counts("pen", 8)
    hub.takes(order("A", ("pen-box", 2)))
    assert places(hub, "A") == [("east", 6, 6), ("east", 6, 2)]
    assert hub.cell(hub.pen) == {"reserved": 8}


def test_who_ships_in_part_sends_nothing_while_the_order_is_held(hub: World) -> None:
    hub.decides("part_ship")
    hub.counts("pen", 3)
    hub.takes(order("A", ("pen", 5), holds=("risk",)))
    assert hub.fulfilments("A") == []
    hub.takes(unpaid("B", ("pen", 5)))
    assert hub.fulfilments("B") == []


def test_a_part_shipped_order_that_is_called_off_gives_back_what_waits(hub: World) -> None:
    hub.decides("part_ship")
    hub.counts("pen", 3)
    hub.takes(order("A", ("pen", 5)))
    fulfilment = hub.releases("A")
    hub.takes(closed("A", ("pen", 5)))
    assert places(hub, "A") == [("east", 3, 3)]
    hub.answers(fulfilment, "cancelled")
    assert (hub.order("A")["state"], hub.cell(hub.pen)) == ("cancelled", {"free": 3})
    assert hub.audit() == []


# who takes promises back


def test_newest_first_is_taken_back_at_once_where_the_owner_leaves_it_to_us(hub: World) -> None:
    hub.decides("wait", unback="newest")
    hub.counts("pen", 10)
    hub.takes(order("A", ("pen", 6), holds=("remark",)), order("B", ("pen", 2), holds=("remark",)))
    hub.counts("pen", -5)
    assert hub.cell(hub.pen) == {"reserved": 5}
    assert (hub.claims("A"), hub.claims("B")) == ([(6, 5)], [(2, 0)])
    assert hub.entries("unback") == [("reserved", -2), ("suspense", 2), ("reserved", -1), ("suspense", 1)]
    assert hub.worklist() == []
    assert hub.audit() == []


def test_a_person_takes_back_where_nobody_said_otherwise(hub: World) -> None:
    hub.counts("pen", 10)
    hub.takes(order("A", ("pen", 8), holds=("remark",)))
    hub.counts("pen", -5)
    assert hub.cell(hub.pen) == {"reserved": 8, "suspense": -3}
    assert hub.worklist() == ["stock.missing"]


def test_what_is_taken_back_finds_its_units_elsewhere_where_the_policy_is_to_look(hub: World) -> None:
    hub.decides("resource", unback="newest")
    hub.counts("pen", 8)
    hub.counts("pen", 9, "west")
    hub.takes(order("A", ("pen", 8), holds=("remark",)))
    hub.counts("pen", -3)
    assert places(hub, "A") == [("west", 8, 8)]
    assert (hub.cell(hub.pen), hub.cell(hub.pen, hub.west)) == ({"free": 5}, {"free": 1, "reserved": 8})
    assert hub.audit() == []


def test_goods_sent_late_are_taken_back_from_the_newest_order_too(hub: World) -> None:
    hub.decides("wait", unback="newest")
    hub.counts("pen", 5)
    hub.takes(order("A", ("pen", 5)))
    fulfilment = hub.releases("A")
    hub.takes(closed("A", ("pen", 5)))
    hub.answers(fulfilment, "cancelled")
    hub.takes(order("B", ("pen", 5), holds=("remark",)))
    hub.confirms(fulfilment, ("pen", 5))
    assert (hub.cell(hub.pen), hub.claims("B")) == ({}, [(5, 0)])
    assert hub.worklist() == ["fulfilment.left_though_cancelled"]
    assert hub.audit() == []


# said by the operator


def change(hub: World, **values: Any) -> Any:
    return hub.store.write(lambda tx: change_merchant(tx, HUB, "alpha", MerchantChange(**values)))


def test_a_changed_policy_holds_for_what_is_short_already(hub: World) -> None:
    hub.decides("ask")
    hub.takes(order("A", ("pen", 5)))
    hub.counts("pen", 3)
    assert places(hub, "A") == [("east", 5, 0)]
    assert hub.worklist() == ["order.short/send_cancellation"]
    change(hub, short_policy="wait")
    assert hub.worklist() == []
    assert places(hub, "A") == [("east", 5, 3)]
    hub.counts("pen", 1)
    assert places(hub, "A") == [("east", 5, 4)]
    change(hub, short_policy="part_ship")
    assert places(hub, "A") == [("east", 4, 4), ("east", 1, 0)]
    assert len(hub.fulfilments("A")) == 1
    hub.counts("ink", 2)
    hub.takes(order("B", ("ink", 2), holds=("remark",)))
    hub.counts("ink", -1)
    change(hub, unback="newest")
    assert places(hub, "B") == [("east", 2, 1)]
    assert hub.audit() == []


def test_parts_cannot_ship_that_may_not_be_backed(hub: World) -> None:
    with pytest.raises(ValueError, match="part_ship sends what is backed"):
        NewMerchant(code="x", name="x", short_policy="part_ship", part_backing=False)
    change(hub, part_backing=False)
    with pytest.raises(Unfit, match="part_ship sends what is backed"):
        change(hub, short_policy="part_ship")
    with pytest.raises(ValueError, match="short_policy"):
        MerchantChange(short_policy="maybe")  # type: ignore[arg-type]
    assert hub.row(t.merchants, code="alpha")["short_policy"] == "wait"
