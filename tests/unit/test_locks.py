"""Units kept for one shop: asked for, drawn by its orders, given back at the end. Today is 2026-01-05."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from core.errors import OutOfStock, Refused, Unfit, Unmatched
from core.flow import lock_stock, saleable
from core.flow.explain import explain_order, explain_stock
from core.flow.hold_goods import Freeze
from core.flow.journeys import decide
from core.flow.lock_stock import Answer, Line, Lock, Locked, Unlock
from core.flow.reserve_stock import Reserve, Subject
from core.flow.transfer_stock import Transfer
from core.rules.decide import Want
from core.store import tables as t
from core.store.ledger import CellKey
from core.store.scope import HUB, Scope
from tests.worlds import Clock as Watch
from tests.worlds import World, closed, minutes, order, store, unpaid, world
from workers.clock import Clock

HOUR_S = 3600


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    clock = Watch()
    with store(tmp_path, clock=clock) as it:
        yield world(it, clock)


@pytest.fixture
def ten(hub: World) -> World:
    """Ten pens lie in east."""
    hub.counts("pen", 10)
    return hub


def asks(hub: World, units: int = 6, ref: str = "618", **more: Any) -> Answer:
    """alpha wants pens in east kept for its Tmall shop until noon, unless it says otherwise."""
    told: dict[str, Any] = {
        "kind": "campaign",
        "connection_id": hub.tmall,
        "lines": (Line(hub.pen, hub.east, units),),
        "ends_at": minutes(240),
        **more,
    }
    answer: Answer = hub.store.write(lambda tx: decide(tx, [Lock(hub.alpha, ref, who="user anna", **told)]))[0]
    return answer


def locks(hub: World, units: int = 6, **more: Any) -> int:
    """As it asks, and it is given; the lock's id."""
    answer = asks(hub, units, **more)
    assert isinstance(answer, Locked), answer
    return answer.id


def unlocks(hub: World, ref: str = "618") -> Answer:
    answer: Answer = hub.store.write(lambda tx: decide(tx, [Unlock(hub.alpha, ref, "user anna")]))[0]
    return answer


def left(hub: World) -> list[int]:
    """Units nobody has drawn, of each open lock."""
    query = select(t.claims.c.backed).where(t.claims.c.kind.in_(("campaign", "exclusive")), t.claims.c.open.is_(True))
    return [row["backed"] for row in hub.rows(query.order_by(t.claims.c.id))]


def ticks(hub: World) -> None:
    """The clock looks once."""
    Clock(hub.store, lambda lanes: None).tick()
    assert hub.audit() == []


def shown(hub: World, shop: int, listing: str = "pen") -> int:
    """What this listing may show."""
    row = hub.row(t.listings, connection_id=shop, ref=listing)
    with hub.store.read() as tx:
        return saleable.targets(tx, [row])[row["id"]]


def untold(hub: World) -> list[list[int]]:
    """The items of all marks; they are taken."""
    rows = hub.rows(select(t.marks).order_by(t.marks.c.id))
    hub.store.write(lambda tx: tx.conn.execute(t.marks.delete()))
    return [row["items"] for row in rows if row["items"]]


def test_a_lock_takes_free_units_and_its_shop_draws_them(ten: World) -> None:
    ident = locks(ten, 6)
    assert ten.cell(ten.pen) == {"free": 4, "reserved": 6}
    assert ten.entries("lock") == [("free", -6), ("reserved", 6)]
    ten.takes(order("A", ("pen", 4)))
    assert (left(ten), ten.claims("A"), ten.cell(ten.pen)) == ([2], [(4, 4)], {"free": 4, "reserved": 6})
    assert ten.entries("draw") == [("reserved", -4), ("reserved", 4)]
    assert ten.row(t.lock_draws, lock_id=ident)["units"] == 4
    assert ten.audit() == []


def test_an_order_takes_the_rest_from_free(ten: World) -> None:
    locks(ten, 6)
    ten.takes(order("A", ("pen", 8)))
    assert (left(ten), ten.claims("A"), ten.cell(ten.pen)) == ([0], [(8, 8)], {"free": 2, "reserved": 8})
    ten.confirms(ten.releases("A"), ("pen", 8))
    assert (ten.order("A")["state"], ten.cell(ten.pen), left(ten)) == ("shipped", {"free": 2}, [0])
    assert ten.audit() == []


def test_orders_of_one_batch_share_what_is_kept(ten: World) -> None:
    locks(ten, 6)
    ten.takes(order("A", ("pen", 4)), order("B", ("pen", 4)), order("C", ("pen", 3)))
    assert [sum(b for _, b in ten.claims(ref)) for ref in "ABC"] == [4, 4, 2]
    assert (left(ten), ten.cell(ten.pen), ten.audit()) == ([0], {"reserved": 10}, [])


def test_another_shop_cannot_sell_what_is_kept(ten: World) -> None:
    locks(ten, 6)
    for ref, shop in (("A", ten.vendure), ("B", ten.beta_shop)):
        ten.takes(order(ref, ("pen", 3)), at=shop)
    assert (ten.claims("A"), ten.claims("B")) == ([(3, 3)], [(3, 1)])
    assert left(ten) == [6]
    assert ten.audit() == []


def test_nobody_who_asks_gets_what_is_kept(ten: World) -> None:
    locks(ten, 6)
    reserve = Reserve(Subject(ten.alpha, "api", "R"), (Want(0, ten.alpha, ten.pen, 5),), (ten.east,))
    move = Transfer(ten.alpha, "M", ten.east, ten.west, ((ten.pen, 5),))
    hold = Freeze(CellKey(ten.alpha, ten.pen, ten.east), 5, "H", "frozen", "user anna")
    answers = ten.store.write(lambda tx: decide(tx, [reserve, move, hold]))
    assert [type(answer) for answer in answers] == [OutOfStock] * 3
    assert isinstance(asks(ten, 5, ref="other"), OutOfStock)
    assert (left(ten), ten.cell(ten.pen)) == ([6], {"free": 4, "reserved": 6})


def test_each_shop_shows_what_is_there_for_it(ten: World) -> None:
    locks(ten, 6)
    assert (shown(ten, ten.tmall), shown(ten, ten.vendure), shown(ten, ten.beta_shop)) == (10, 4, 4)
    assert shown(ten, ten.tmall, "pen-box") == 1
    ten.takes(order("A", ("pen", 5)))
    assert (shown(ten, ten.tmall), shown(ten, ten.vendure)) == (5, 4)


def test_a_draw_is_told_to_shops_though_no_balance_moves(ten: World) -> None:
    locks(ten, 6)
    untold(ten)
    ten.takes(order("A", ("pen", 5)))
    assert untold(ten) == [[ten.pen]]


def test_a_lock_for_some_listings_is_for_those(ten: World) -> None:
    box = ten.row(t.listings, connection_id=ten.tmall, ref="pen-box")["id"]
    locks(ten, 6, listings=(box,))
    assert (shown(ten, ten.tmall, "pen-box"), shown(ten, ten.tmall)) == (1, 4)
    ten.takes(order("A", ("pen", 5)), order("B", ("pen-box", 1)))
    assert (ten.claims("A"), ten.claims("B"), left(ten)) == ([(5, 4)], [(6, 6)], [0])
    assert ten.audit() == []


def test_a_cancelled_order_gives_its_units_back_to_the_lock(ten: World) -> None:
    locks(ten, 6)
    ten.takes(order("A", ("pen", 8)))
    ten.takes(closed("A", ("pen", 8)))
    assert (left(ten), ten.cell(ten.pen)) == ([6], {"free": 4, "reserved": 6})
    assert ten.entries("put_back") == [("reserved", -6), ("reserved", 6)]
    assert ten.row(t.lock_draws)["units"] == 0
    assert ten.audit() == []


def test_an_order_that_becomes_smaller_gives_back_to_the_lock_and_a_larger_one_draws_more(ten: World) -> None:
    locks(ten, 6)
    ten.takes(unpaid("A", ("pen", 4)))
    ten.takes(order("A", ("pen", 4, 3), version="2"))
    assert (left(ten), ten.claims("A")) == ([5], [(1, 1)])
    ten.takes(order("A", ("pen", 3), version="3"))
    assert (left(ten), sum(b for _, b in ten.claims("A")), ten.row(t.lock_draws)["units"]) == ([3], 3, 3)
    assert ten.audit() == []


def test_after_its_end_what_is_cancelled_is_free(ten: World) -> None:
    locks(ten, 6)
    ten.takes(order("A", ("pen", 4)))
    unlocks(ten)
    ten.takes(closed("A", ("pen", 4)))
    assert (ten.cell(ten.pen), left(ten), ten.audit()) == ({"free": 10}, [], [])


def test_what_a_cancelled_order_gives_back_backs_the_shops_next_who_waits(ten: World) -> None:
    ten.decides("wait")
    locks(ten, 10)
    ten.takes(order("A", ("pen", 8)))
    ten.takes(order("B", ("pen", 5)))
    ten.takes(order("V", ("pen", 1)), at=ten.vendure)
    assert (ten.claims("B"), ten.claims("V")) == ([(5, 2)], [(1, 0)])
    ten.takes(closed("A", ("pen", 8)))
    assert (ten.claims("B"), ten.claims("V"), left(ten)) == ([(5, 5)], [(1, 0)], [5])
    assert ten.order("B")["state"] == "released"
    assert ten.audit() == []


def test_at_its_end_the_clock_gives_back_the_rest_and_backs_who_waits(ten: World) -> None:
    ten.decides("wait")
    locks(ten, 10)
    ten.takes(order("A", ("pen", 4)))
    ten.takes(order("V", ("pen", 3)), at=ten.vendure)
    assert ten.clock
    ten.clock.wait(4 * HOUR_S - 1)
    ticks(ten)
    assert (left(ten), ten.claims("V")) == ([6], [(3, 0)])
    ten.clock.wait(1)
    ticks(ten)
    assert (left(ten), ten.claims("V"), ten.cell(ten.pen)) == ([], [(3, 3)], {"free": 3, "reserved": 7})
    assert ten.entries("unlock") == [("reserved", -6), ("free", 6)]
    assert ten.row(t.locks)["ended_at"] == minutes(240)
    with ten.store.read() as tx:
        assert not lock_stock.any_due(tx)
    ticks(ten)


def test_an_order_placed_after_the_end_draws_nothing_though_the_clock_is_late(ten: World) -> None:
    locks(ten, 10)
    assert ten.clock
    ten.clock.wait(5 * HOUR_S)
    ten.takes(order("L", ("pen", 1), placed_at=minutes(241)), order("E", ("pen", 1), placed_at=minutes(239)))
    assert (ten.claims("L"), ten.claims("E"), shown(ten, ten.tmall)) == ([(1, 0)], [(1, 1)], 0)


def test_a_pre_sale_is_kept_now_and_shown_and_drawn_from_its_beginning(ten: World) -> None:
    locks(ten, 6, starts_at=minutes(60))
    untold(ten)
    assert (ten.cell(ten.pen), shown(ten, ten.tmall)) == ({"free": 4, "reserved": 6}, 4)
    ten.takes(order("early", ("pen", 5)))
    assert (ten.claims("early"), left(ten)) == ([(5, 4)], [6])
    ticks(ten)
    untold(ten)
    assert ten.clock
    ten.clock.wait(HOUR_S)
    ticks(ten)
    assert (untold(ten), shown(ten, ten.tmall), shown(ten, ten.vendure)) == ([[ten.pen]], 6, 0)
    ten.takes(order("later", ("pen", 5), placed_at=minutes(61)))
    assert (ten.claims("later"), left(ten)) == ([(5, 5)], [1])
    ten.clock.wait(3 * HOUR_S)
    ticks(ten)
    assert left(ten) == []


def test_exclusives_stay_until_somebody_ends_them(ten: World) -> None:
    locks(ten, 6, kind="exclusive", ends_at=None)
    assert ten.clock
    ten.clock.wait(1000 * HOUR_S)
    ticks(ten)
    ten.takes(order("A", ("pen", 2), placed_at=minutes(50_000)))
    assert left(ten) == [4]
    assert [unlocks(ten), unlocks(ten)] == [Locked(ten.row(t.locks)["id"])] * 2
    assert (left(ten), ten.cell(ten.pen)) == ([], {"free": 8, "reserved": 2})
    assert ten.row(t.locks)["ended_by"] == "user anna"
    assert ten.audit() == []


def test_asked_twice_it_stands_and_other_content_is_refused(ten: World) -> None:
    ident = locks(ten, 6)
    ten.takes(order("A", ("pen", 2)))
    assert asks(ten, 6) == asks(ten, 6, starts_at=minutes(0)) == Locked(ident, repeated=True)
    for other in ({"units": 5}, {"ends_at": minutes(300)}, {"connection_id": ten.vendure}, {"starts_at": minutes(1)}):
        answer = asks(ten, **other)
        assert isinstance(answer, Refused) and "another ref" in answer.message
    unlocks(ten)
    assert asks(ten, 6) == Locked(ident, repeated=True)
    assert (ten.cell(ten.pen), ten.audit()) == ({"free": 8, "reserved": 2}, [])


def test_the_same_twice_in_one_batch_is_kept_once(ten: World) -> None:
    told = Lock(ten.alpha, "618", "campaign", ten.tmall, (Line(ten.pen, ten.east, 6),), "x", None, minutes(240))
    first, again = ten.store.write(lambda tx: decide(tx, [told, told]))
    assert (again, ten.cell(ten.pen)) == (Locked(first.id, repeated=True), {"free": 4, "reserved": 6})


def test_all_lines_or_none(ten: World) -> None:
    ten.counts("ink", 2)
    lines = (Line(ten.pen, ten.east, 6), Line(ten.ink, ten.east, 3), Line(ten.pen, ten.west, 1))
    answer = asks(ten, lines=lines)
    assert isinstance(answer, OutOfStock)
    assert answer.missing == ((ten.ink, 3, 0 + 2), (ten.pen, 1, 0))
    assert (ten.cell(ten.pen), ten.rows(select(t.locks)), ten.rows(select(t.claims))) == ({"free": 10}, [], [])


def test_what_was_counted_away_is_missing_from_the_lock_first(ten: World) -> None:
    ten.decides("wait", unback="newest")
    locks(ten, 6)
    ten.takes(unpaid("V", ("pen", 2)), at=ten.vendure)
    ten.takes(unpaid("A", ("pen", 2)))
    ten.counts("pen", -5)
    assert (ten.cell(ten.pen), left(ten)) == ({"reserved": 5}, [1])
    assert (ten.claims("V"), ten.claims("A")) == ([(2, 2)], [(2, 2)])
    assert ten.audit() == []
    unlocks(ten)
    assert ten.cell(ten.pen) == {"free": 1, "reserved": 4}


def test_units_that_are_missing_are_neither_drawn_nor_shown(ten: World) -> None:
    locks(ten, 6)
    ten.counts("pen", -7)
    assert ten.cell(ten.pen) == {"reserved": 6, "suspense": -3}
    assert shown(ten, ten.tmall) == 3
    ten.takes(order("A", ("pen", 5)))
    assert (ten.claims("A"), left(ten), shown(ten, ten.tmall)) == ([(5, 3)], [3], 0)
    ten.takes(closed("A", ("pen", 5)))
    assert (ten.cell(ten.pen), left(ten), shown(ten, ten.tmall)) == ({"reserved": 3}, [3], 3)
    assert ten.audit() == []


def test_an_order_that_moves_to_another_warehouse_leaves_its_units_to_the_lock(ten: World) -> None:
    ten.decides("resource")
    ident = locks(ten, 6)
    ten.takes(unpaid("A", ("pen", 6), ("ink", 2)))
    assert left(ten) == [0]
    ten.counts("pen", 6, "west")
    ten.counts("ink", 2, "west")
    assert (ten.cell(ten.pen, ten.west), ten.cell(ten.pen)) == ({"reserved": 6}, {"free": 4, "reserved": 6})
    assert (left(ten), ten.row(t.lock_draws, lock_id=ident)["units"]) == ([6], 0)
    ten.takes(closed("A", ("pen", 6), ("ink", 2)))
    assert (ten.cell(ten.pen, ten.west), left(ten), ten.audit()) == ({"free": 6}, [6], [])


def test_a_fulfilment_the_warehouse_stopped_gives_back_to_the_lock(ten: World) -> None:
    locks(ten, 6)
    ten.takes(order("A", ("pen", 6)))
    ref = ten.releases("A")
    ten.takes(closed("A", ("pen", 6)))
    assert left(ten) == [0]
    ten.answers(ref, "cancelled")
    assert (left(ten), ten.cell(ten.pen), ten.audit()) == ([6], {"free": 4, "reserved": 6}, [])


def sells_sets(hub: World) -> None:
    """A set is two pens and one ink, sold at the Tmall shop; six inks lie in east."""

    def work(tx: Any) -> None:
        kit = {"id": tx.ids.new(), "owner_id": hub.alpha, "sku": "set", "name": "set", "is_kit": True}
        tx.add(t.items, [{**kit, "created_at": tx.now}])
        parts = ((hub.pen, 2), (hub.ink, 1))
        tx.add(t.kit_parts, [{"kit_id": kit["id"], "part_id": part, "units": n} for part, n in parts])
        sold = {"connection_id": hub.tmall, "ref": "set", "product": "", "sku": "set", "pack": 1, "item_id": kit["id"]}
        tx.add(t.listings, [{"id": tx.ids.new(), **sold, "created_at": tx.now}])

    hub.store.write(work)
    hub.counts("ink", 6)


@pytest.fixture
def kitted(ten: World) -> World:
    """Ten pens and six inks lie in east, and the Tmall shop sells them as sets too."""
    sells_sets(ten)
    return ten


def parts(hub: World, pens: int, inks: int) -> dict[str, Any]:
    return {"lines": (Line(hub.pen, hub.east, pens), Line(hub.ink, hub.east, inks))}


def test_whole_kits_are_drawn_where_all_their_parts_are_kept(kitted: World) -> None:
    locks(kitted, **parts(kitted, 5, 4))
    assert (shown(kitted, kitted.tmall, "set"), shown(kitted, kitted.tmall), shown(kitted, kitted.vendure)) == (
        2 + 2,
        10,
        5,
    )
    kitted.takes(order("K", ("set", 1)))
    assert (left(kitted), kitted.claims("K")) == ([3, 3], [(2, 2), (1, 1)])
    kitted.takes(order("L", ("set", 3)))
    assert (left(kitted), kitted.claims("L")) == ([1, 2], [(6, 6), (3, 3)])
    assert (shown(kitted, kitted.tmall, "set"), kitted.audit()) == (0, [])
    kitted.takes(closed("L", ("set", 3)))
    assert (left(kitted), shown(kitted, kitted.tmall, "set")) == ([3, 3], 1 + 2)
    kitted.takes(closed("K", ("set", 1)))
    assert (left(kitted), kitted.cell(kitted.pen), kitted.audit()) == ([5, 4], {"free": 5, "reserved": 5}, [])


def test_a_kit_draws_nothing_where_one_of_its_parts_is_not_kept(kitted: World) -> None:
    locks(kitted, 10)
    assert shown(kitted, kitted.tmall, "set") == 0
    kitted.takes(order("K", ("set", 1)))
    assert (left(kitted), kitted.claims("K"), kitted.audit()) == ([10], [(2, 0), (1, 0)], [])


def test_a_lock_for_the_listing_of_a_kit_keeps_all_of_its_parts(kitted: World) -> None:
    kit = kitted.row(t.listings, connection_id=kitted.tmall, ref="set")
    assert isinstance(asks(kitted, listings=(kit["id"],)), Refused)
    assert isinstance(asks(kitted, lines=(Line(kit["item_id"], kitted.east, 1),)), Refused)
    locks(kitted, **parts(kitted, 4, 2), listings=(kit["id"],))
    assert (shown(kitted, kitted.tmall, "set"), shown(kitted, kitted.tmall)) == (2 + 3, 6)
    kitted.takes(order("P", ("pen", 7)), order("K", ("set", 2)))
    assert (kitted.claims("P"), kitted.claims("K")) == ([(7, 6)], [(4, 4), (2, 2)])
    assert (left(kitted), kitted.audit()) == ([0, 0], [])


@pytest.mark.parametrize("units", [0, -1, 1.5, True, 10**12 + 1, 2**70])
def test_what_is_no_number_of_units_is_unfit(ten: World, units: Any) -> None:
    assert isinstance(asks(ten, units), Unfit)
    assert ten.rows(select(t.locks)) == []


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"ends_at": minutes(0)}, "past"),
        ({"ends_at": minutes(-60)}, "past"),
        ({"starts_at": minutes(60), "ends_at": minutes(60)}, "before it begins"),
        ({"ends_at": None}, "when the campaign ends"),
        ({"lines": ()}, "whole number"),
    ],
)
def test_times_that_cannot_be_are_unfit(ten: World, more: dict[str, Any], says: str) -> None:
    answer = asks(ten, **more)
    assert isinstance(answer, Unfit) and says in answer.message
    assert (ten.rows(select(t.locks)), ten.cell(ten.pen)) == ([], {"free": 10})


def test_a_lock_is_for_ones_own_shop_goods_and_listings(ten: World) -> None:
    theirs = ten.row(t.listings, connection_id=ten.vendure, ref="pen")["id"]
    ink = ten.row(t.listings, connection_id=ten.tmall, ref="ink")["id"]
    wrongs: list[dict[str, Any]] = [
        {"connection_id": ten.beta_shop},
        {"connection_id": ten.wms},
        {"connection_id": ten.erp},
        {"connection_id": 1},
        {"connection_id": ten.vendure, "lines": (Line(ten.pen, ten.west, 1),)},
        {"lines": (Line(1, ten.east, 1),)},
        {"listings": (theirs,)},
        {"listings": (ink,)},
        {"listings": (1,)},
    ]
    assert [type(asks(ten, **wrong)) for wrong in wrongs] == [Refused] * len(wrongs)
    told = Lock(ten.beta, "x", "campaign", ten.beta_shop, (Line(ten.pen, ten.east, 1),), "bob", None, minutes(9))
    assert isinstance(ten.store.write(lambda tx: decide(tx, [told]))[0], Refused)
    assert (ten.rows(select(t.locks)), ten.cell(ten.pen)) == ([], {"free": 10})


def test_what_never_was_cannot_be_ended(ten: World) -> None:
    assert isinstance(unlocks(ten, "nothing"), Unmatched)


def test_a_lock_is_explained_by_its_ref_to_whose_it_is(ten: World) -> None:
    locks(ten, 6)
    ten.takes(order("A", ("pen", 2)))
    ten.counts("pen", -5)
    with ten.store.read() as tx:
        mine = explain_stock(tx, HUB, ten.pen)
        story = explain_order(tx, HUB, ten.order("A")["id"])
    assert [(c["kind"], c["ref"]) for c in mine["claims"]] == [("campaign", "618"), ("order", "A")]
    kinds = {j["kind"]: (j["cause"]["kind"], j["cause"]["ref"]) for j in mine["journals"]}
    assert (kinds["lock"], kinds["draw"]) == (("campaign", "618"), ("order", "A"))
    assert "draw: pen east reserved -2, pen east reserved +2" in [one["words"] for one in story["happened"]]
    with ten.store.read() as tx:
        beta = explain_stock(tx, Scope("merchant", ten.beta), ten.pen)
    assert "618" not in str(beta)


def test_an_audit_finds_a_lock_whose_books_do_not_add_up(ten: World) -> None:
    locks(ten, 6)
    ten.takes(order("A", ("pen", 4)))
    ten.store.write(lambda tx: tx.conn.execute(update(t.lock_draws).values(units=5)))
    assert [breach.split(": ")[1] for breach in ten.audit()] == ["2 are left and 5 drawn of 6"]
    ten.store.write(lambda tx: tx.conn.execute(update(t.lock_draws).values(units=4)))
    ten.store.write(lambda tx: tx.conn.execute(update(t.locks).values(ended_at=tx.now)))
    assert [breach.split(": ")[1] for breach in ten.audit()] == ["its claim outlives it"]
