"""Virtual kits: one line at the shop, parts in the pool, whole kits or none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from core.errors import Refused, Unfit
from core.flow import follow_reservation, journeys, publish_stock, saleable, sell_kits, tell_fulfilment, tell_shipment
from core.flow.funnel import Funnel
from core.flow.reserve_stock import Reservation, Reserve, Subject
from core.rules import kits
from core.rules.decide import Request, Want, decide
from core.rules.kits import Need
from core.store import tables as t
from core.store.scope import HUB
from core.store.store import Transaction
from hub.onboard.kits import Recipe, parts, set_parts
from tests.unit.test_reserve_stock import asking, race
from tests.worlds import Clock, World, closed, order, store, world


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        yield world(it, clock)


def kit(hub: World, pens: int = 2, inks: int = 1) -> int:
    """`set`: so many pens and inks, sold at tmall."""
    ident = hub.store.write(lambda tx: _item(tx, hub))
    made_of(hub, pen=pens, ink=inks)
    return ident


def _item(tx: Transaction, hub: World) -> int:
    ident, listing = tx.ids.new(), tx.ids.new()
    tx.add(t.items, [{"id": ident, "owner_id": hub.alpha, "sku": "set", "name": "set", "created_at": tx.now}])
    row = {"id": listing, "connection_id": hub.tmall, "ref": "set", "product": "P1", "sku": "set", "pack": 1}
    tx.add(t.listings, [{**row, "item_id": ident, "created_at": tx.now}])
    return ident


def made_of(hub: World, sku: str = "set", **recipe: int) -> None:
    hub.store.write(lambda tx: set_parts(tx, HUB, sku, Recipe(owner="alpha", parts=recipe)))


def stock(hub: World, pens: int, inks: int, warehouse: str = "east") -> None:
    hub.counts("pen", pens, warehouse)
    hub.counts("ink", inks, warehouse)


def shows(hub: World, listing: str) -> int:
    rows = hub.rows(select(t.listings).where(t.listings.c.ref == listing, t.listings.c.connection_id == hub.tmall))
    with hub.store.read() as tx:
        return saleable.targets(tx, rows)[rows[0]["id"]]


def line(hub: World, ref: str) -> dict[str, int]:
    return {name: hub.line(ref)[name] for name in ("ordered", "shipped", "short", "returned") if hub.line(ref)[name]}


def test_a_listing_of_a_kit_shows_whole_kits_of_one_warehouse(hub: World) -> None:
    kit(hub)
    stock(hub, 5, 9)
    stock(hub, 3, 0, "west")
    assert shows(hub, "set") == 2
    hub.counts("ink", 1, "west")
    assert shows(hub, "set") == 3


def test_a_kit_and_its_loose_part_are_added_before_they_are_decided(hub: World) -> None:
    kit(hub, pens=1)
    stock(hub, 3, 3)
    hub.takes(order("fits", ("set", 2), ("pen", 1)))
    assert hub.claims("fits") == [(2, 2), (2, 2), (1, 1)]
    hub.takes(closed("fits", ("set", 2), ("pen", 1)))
    hub.takes(order("short", ("set", 2), ("pen", 2)))
    assert hub.claims("short") == [(2, 2), (2, 2), (2, 1)]
    assert hub.order("short")["state"] == "short"
    assert hub.audit() == []


def test_no_part_is_kept_for_a_kit_of_which_another_is_missing(hub: World) -> None:
    kit(hub)
    stock(hub, 5, 1)
    hub.takes(order("A", ("set", 2)))
    assert sorted(hub.claims("A")) == [(2, 1), (4, 2)]
    assert hub.cell(hub.pen) == {"free": 3, "reserved": 2}
    assert hub.audit() == []


def test_the_kit_comes_from_one_warehouse_and_kits_may_be_split(hub: World) -> None:
    kit(hub)
    stock(hub, 2, 5)
    stock(hub, 9, 1, "west")
    hub.takes(order("A", ("set", 2)))
    assert hub.cell(hub.pen) == {"reserved": 2}
    assert hub.cell(hub.pen, hub.west) == {"free": 7, "reserved": 2}
    assert len(hub.fulfilments("A")) == 2
    assert hub.audit() == []


def test_the_warehouse_picks_parts_and_the_shop_hears_of_whole_kits(hub: World) -> None:
    kit(hub)
    stock(hub, 8, 4)
    hub.takes(order("A", ("set", 3)))
    ref = hub.releases("A")
    ident = hub.fulfilments("A")[0]["id"]
    with hub.store.read() as tx:
        told = tell_fulfilment.delivery_order(tx, ident, doubted=True)
    assert told is not None
    assert sorted((row.sku, row.quantity) for row in told.lines) == [("ink", 3), ("pen", 6)]
    assert sum(row.net_minor for row in told.lines) == told.total_minor == 100
    hub.confirms(ref, ("pen", 6), ("ink", 1), final=False)
    assert line(hub, "A") == {"ordered": 3, "shipped": 1}
    hub.confirms(ref, ("ink", 1))
    assert line(hub, "A") == {"ordered": 3, "shipped": 2, "short": 1}
    with hub.store.read() as tx:
        said = tell_shipment.shipment(tx, ident)
    assert said is not None
    assert [(row.ref, row.quantity) for row in said.lines] == [("1", 2)]
    hub.store.write(lambda tx: tell_shipment.told_shop(tx, ident))
    with hub.store.read() as tx:
        assert tell_shipment.shipment(tx, ident) is None
    hub.confirms(ref, ("ink", 1))
    with hub.store.read() as tx:
        late = tell_shipment.shipment(tx, ident)
    assert late is not None
    assert [(row.ref, row.quantity) for row in late.lines] == [("1", 1)]
    assert hub.line("A")["shipped"] == 3
    assert hub.audit() == []


def test_what_is_called_off_gives_whole_kits_back(hub: World) -> None:
    kit(hub)
    stock(hub, 8, 4)
    hub.takes(order("A", ("set", 3), holds=("risk",)))
    hub.takes(order("A", ("set", 3, 2), version="2", holds=("risk",)))
    assert sorted(hub.claims("A")) == [(1, 1), (2, 2)]
    hub.takes(closed("A", ("set", 3)))
    assert hub.cell(hub.pen) == {"free": 8}
    assert hub.cell(hub.ink) == {"free": 4}
    assert hub.audit() == []


def test_an_order_keeps_the_recipe_it_was_taken_with(hub: World) -> None:
    kit(hub)
    stock(hub, 20, 20)
    hub.takes(order("A", ("set", 1), holds=("risk",)))
    made_of(hub, ink=5)
    hub.takes(order("A", ("set", 2), version="2", holds=("risk",)))
    assert hub.cell(hub.pen) == {"free": 16, "reserved": 4}
    hub.takes(order("B", ("set", 1)))
    assert hub.cell(hub.ink) == {"free": 13, "reserved": 7}
    assert hub.audit() == []


@pytest.mark.parametrize("policy", ["wait", "resource"])
def test_who_waits_for_a_kit_gets_it_whole(hub: World, policy: str) -> None:
    kit(hub)
    hub.decides(policy)
    stock(hub, 1, 2)
    hub.takes(order("A", ("set", 2)))
    assert sorted(hub.claims("A")) == [(2, 0), (4, 0)]
    hub.counts("pen", 2)
    assert sorted(hub.claims("A")) == [(2, 1), (4, 2)]
    hub.counts("pen", 1)
    assert sorted(hub.claims("A")) == [(2, 2), (4, 4)]
    assert hub.order("A")["state"] == "released"
    assert hub.audit() == []


def test_part_ships_are_of_whole_kits(hub: World) -> None:
    kit(hub)
    hub.decides("part_ship")
    stock(hub, 5, 9)
    hub.takes(order("A", ("set", 3)))
    ref = hub.releases("A")
    hub.confirms(ref, ("pen", 4), ("ink", 2))
    assert hub.order("A")["state"] == "part_shipped"
    assert sorted(hub.claims("A")) == [(1, 0), (2, 0)]
    hub.counts("pen", 1)
    hub.confirms(hub.releases("A"), ("pen", 2), ("ink", 1))
    assert line(hub, "A") == {"ordered": 3, "shipped": 3}
    assert hub.order("A")["state"] == "shipped"
    assert hub.audit() == []


def test_a_missing_part_takes_back_whole_kits(hub: World) -> None:
    kit(hub)
    stock(hub, 6, 3)
    hub.takes(order("A", ("set", 3), holds=("risk",)))
    hub.decides("wait", unback="newest")
    hub.counts("pen", -1)
    assert sorted(hub.claims("A")) == [(3, 2), (6, 4)]
    assert hub.cell(hub.pen) == {"free": 1, "reserved": 4}
    assert hub.cell(hub.ink) == {"free": 1, "reserved": 2}
    assert hub.audit() == []


def test_parts_come_back_one_by_one_and_make_whole_kits(hub: World) -> None:
    kit(hub)
    stock(hub, 4, 2)
    hub.takes(order("A", ("set", 2)))
    hub.confirms(hub.releases("A"), ("pen", 4), ("ink", 2))
    hub.takes_back("RT1", ("pen", 3), ("ink", 1, "CC"), order="A")
    assert line(hub, "A")["returned"] == 1
    hub.takes_back("RT2", ("set", 1), order="A")
    assert line(hub, "A")["returned"] == 2
    assert hub.cell(hub.pen) == {"free": 5}
    assert hub.worklist() == ["return.too_many"]
    assert hub.audit() == []


def test_whatever_moves_a_part_marks_the_listings_of_its_kits(hub: World) -> None:
    kit(hub)
    hub.store.write(publish_stock.take_marks)
    hub.sends("send_stock")
    hub.counts("ink", 1)
    hub.store.write(publish_stock.take_marks)
    wanted = select(t.outbox.c.payload).where(t.outbox.c.ability == "send_stock", t.outbox.c.state == "waiting")
    listings = {ident for row in hub.rows(wanted) for ident in row["payload"]["listings"]}
    assert hub.row(t.listings, ref="set")["id"] in listings


def test_one_level_of_kit_and_no_stock_of_its_own(hub: World) -> None:
    kit(hub)
    with pytest.raises(Unfit, match="is part of a kit"):
        made_of(hub, "pen", ink=1)
    with pytest.raises(Unfit, match="is a kit itself"):
        made_of(hub, "set", set=1)
    assert hub.counts("set", 5) == ["parked"]
    made_of(hub, "set")
    assert hub.counts("set", 5) == ["done"]
    with pytest.raises(Refused, match="has stock"):
        made_of(hub, "set", pen=1)
    with hub.store.read() as tx:
        assert parts(tx, HUB, "set", "alpha") == {}


def test_of_64_racers_for_a_shared_part_as_many_win_as_there_are_kits(hub: World) -> None:
    ident = kit(hub)
    stock(hub, 21, 64)
    with hub.store.read() as tx:
        recipe = sell_kits.recipes(tx, [ident])[ident]
    of = {"id": 0, "item_id": ident, "recipe": recipe}
    wanted = tuple(sell_kits.wants(of, hub.alpha, 1))
    asks = [Reserve(Subject(hub.alpha, "api", f"R{n}"), wanted, (hub.east,)) for n in range(64)]
    funnel = Funnel(hub.store)
    answers = race(asking([funnel], asks))
    funnel.close()
    assert sum(isinstance(answer, Reservation) for answer in answers) == 10
    assert hub.cell(hub.pen) == {"free": 1, "reserved": 20}
    assert hub.cell(hub.ink) == {"free": 54, "reserved": 10}
    assert hub.audit() == []


few = st.integers(0, 9)


@given(need=st.lists(st.tuples(few, st.integers(1, 4), few), min_size=1, max_size=4))
def test_kits_lack_as_many_as_counting_down_finds(need: list[tuple[int, int, int]]) -> None:
    found = next(n for n in range(100) if all(max(0, units - n * per) <= there for units, per, there in need))
    assert kits.lacking(Need(*one) for one in need) == found


@given(wanted=st.integers(1, 6), pens=st.integers(0, 12), inks=st.integers(0, 12), west=few, loose=few)
def test_admission_backs_whole_kits_and_never_more_than_there_is(
    wanted: int, pens: int, inks: int, west: int, loose: int
) -> None:
    wants = [Want(1, 1, 1, 2 * wanted, 2), Want(1, 1, 2, wanted, 1), *([Want(2, 1, 1, loose)] if loose else [])]
    there = {(1, 1, 8): pens, (1, 2, 8): inks, (1, 1, 9): west, (1, 2, 9): west}
    made = decide(there, [Request(wants, (8, 9))])[0]
    for warehouse in (8, 9):
        backed = {(p.line, p.item_id): p.backed for p in made if p.warehouse_id == warehouse}
        assert backed.get((1, 1), 0) == 2 * backed.get((1, 2), 0)
        assert backed.get((1, 1), 0) + backed.get((2, 1), 0) <= there[1, 1, warehouse]
        assert backed.get((1, 2), 0) <= there[1, 2, warehouse]


def test_what_was_sent_for_a_part_makes_the_kit_whole_and_comes_back_as_that_part(hub: World) -> None:
    kit(hub, pens=1)
    nib = hub.store.write(lambda tx: _nib(tx, hub))
    stock(hub, 2, 2)
    hub.takes(order("A", ("set", 2)))
    hub.confirms(hub.releases("A"), ("nib", 2), ("ink", 2))
    assert line(hub, "A") == {"ordered": 2, "shipped": 2}
    assert hub.cell(hub.pen) == {"free": 2}
    assert hub.cell(nib) == {"suspense": -2}
    hub.takes_back("RT", ("nib", 2), ("ink", 1), order="A")
    assert line(hub, "A")["returned"] == 1
    assert hub.worklist() == []
    assert hub.audit() == []


def _nib(tx: Transaction, hub: World) -> int:
    ident = tx.ids.new()
    tx.add(t.items, [{"id": ident, "owner_id": hub.alpha, "sku": "nib", "name": "nib", "created_at": tx.now}])
    tx.add(t.substitutes, [{"item_id": hub.pen, "instead_id": ident, "created_at": tx.now}])
    return ident


def test_an_order_of_kits_takes_the_units_that_were_reserved_for_it(hub: World) -> None:
    ident = kit(hub)
    stock(hub, 2, 1)
    with hub.store.read() as tx:
        recipe = sell_kits.recipes(tx, [ident])[ident]
    wanted = tuple(sell_kits.wants({"id": 0, "item_id": ident, "recipe": recipe}, hub.alpha, 1))
    subject = Subject(hub.alpha, "api", "R1")
    hub.store.write(lambda tx: journeys.decide(tx, [Reserve(subject, wanted, (hub.east,))]))
    hub.store.write(lambda tx: follow_reservation.promise(tx, subject, hub.tmall, "A"))
    hub.takes(order("A", ("set", 1)))
    assert sorted(hub.claims("A")) == [(1, 1), (2, 2)]
    assert hub.cell(hub.pen) == {"reserved": 2}
    assert hub.audit() == []
