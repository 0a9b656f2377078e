"""An order that follows a reservation: the claim moves and is not repeated, whichever of the two is heard of first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from core.errors import Refused, Unmatched
from core.flow import follow_reservation, reserve_stock
from core.flow.journeys import decide
from core.flow.reserve_stock import Answer, Command, Confirm, Release, Reservation, Reserve, Subject
from core.rules.decide import Want
from core.store import tables as t
from tests.worlds import Clock, World, closed, order, store, unpaid, world


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        yield world(it, clock)


def decides(hub: World, *commands: Command) -> Sequence[Answer]:
    return hub.store.write(lambda tx: decide(tx, commands))


def reserves(hub: World, ref: str, *units: tuple[int, int], keep_s: int | None = None) -> Subject:
    """A caller's units of items, from the east, then the west."""
    assert hub.clock is not None
    subject = Subject(hub.alpha, "api", ref)
    until = hub.clock.now + timedelta(seconds=keep_s) if keep_s else None
    wants = tuple(Want(n, hub.alpha, item, quantity) for n, (item, quantity) in enumerate(units))
    (answer,) = decides(hub, Reserve(subject, wants, (hub.east, hub.west), until))
    assert isinstance(answer, Reservation)
    return subject


def promises(hub: World, subject: Subject, ref: str, shop: int = 0) -> int | None:
    return hub.store.write(lambda tx: follow_reservation.promise(tx, subject, shop or hub.tmall, ref))


def state(hub: World, subject: Subject) -> str:
    with hub.store.read() as tx:
        return reserve_stock.standing(tx, [subject])[subject].state


def test_an_order_that_comes_takes_over_the_units_and_reserved_stays_as_it_was(hub: World) -> None:
    hub.counts("pen", 5)
    cart = reserves(hub, "R1", (hub.pen, 3))
    assert promises(hub, cart, "A") is None
    assert hub.takes(order("A", ("pen", 3))) == ["done"]
    assert hub.cell(hub.pen) == {"free": 2, "reserved": 3}
    assert hub.claims("A") == [(3, 3)]
    assert [hub.entries("hand_over"), len(hub.entries("reserve"))] == [[("reserved", -3), ("reserved", 3)], 2]
    assert (state(hub, cart), hub.order("A")["state"]) == ("ordered", "released")
    assert hub.audit() == []


def test_the_last_units_are_the_orders_although_nothing_is_free(hub: World) -> None:
    hub.counts("pen", 3)
    cart = reserves(hub, "R1", (hub.pen, 3))
    promises(hub, cart, "A")
    hub.takes(order("B", ("pen", 1)), order("A", ("pen", 3)))
    assert (hub.claims("A"), hub.claims("B")) == ([(3, 3)], [(1, 0)])


def test_an_order_that_is_here_and_short_takes_them_over_too(hub: World) -> None:
    hub.counts("pen", 3)
    cart = reserves(hub, "R1", (hub.pen, 3))
    hub.takes(order("A", ("pen", 5)))
    assert hub.claims("A") == [(5, 0)]
    assert promises(hub, cart, "A") == hub.order("A")["id"]
    assert sorted(hub.claims("A")) == [(2, 0), (3, 3)]
    assert hub.cell(hub.pen) == {"reserved": 3}
    assert hub.audit() == []


def test_what_an_order_has_been_backed_already_is_given_back_and_not_kept_twice(hub: World) -> None:
    hub.counts("pen", 6)
    cart = reserves(hub, "R1", (hub.pen, 3))
    hub.takes(order("A", ("pen", 3)))
    assert hub.cell(hub.pen) == {"reserved": 6}
    promises(hub, cart, "A")
    assert hub.cell(hub.pen) == {"free": 3, "reserved": 3}
    assert state(hub, cart) == "ordered"
    assert hub.audit() == []


def test_an_order_of_less_gives_the_rest_back_and_one_of_more_is_backed_further(hub: World) -> None:
    hub.counts("pen", 9)
    less, more = reserves(hub, "R1", (hub.pen, 3)), reserves(hub, "R2", (hub.pen, 2))
    promises(hub, less, "A")
    promises(hub, more, "B")
    hub.takes(order("A", ("pen", 1)), order("B", ("pen", 4)))
    assert (hub.claims("A"), hub.claims("B")) == ([(1, 1)], [(2, 2), (2, 2)])
    assert hub.cell(hub.pen) == {"free": 4, "reserved": 5}
    assert hub.audit() == []


def test_units_stay_in_the_warehouses_where_they_were_reserved(hub: World) -> None:
    hub.counts("pen", 2)
    hub.counts("pen", 2, "west")
    cart = reserves(hub, "R1", (hub.pen, 3))
    promises(hub, cart, "A")
    hub.counts("pen", 9)
    hub.takes(order("A", ("pen", 3)))
    assert (hub.cell(hub.pen), hub.cell(hub.pen, hub.west)) == ({"free": 9, "reserved": 2}, {"free": 1, "reserved": 1})
    assert len(hub.fulfilments("A")) == 2


def test_several_lines_and_reservations_of_one_order_are_matched_by_item(hub: World) -> None:
    hub.counts("pen", 4)
    hub.counts("ink", 1)
    first, second = reserves(hub, "R1", (hub.pen, 3), (hub.ink, 1)), reserves(hub, "R2", (hub.pen, 1))
    promises(hub, first, "A")
    promises(hub, second, "A")
    hub.takes(order("A", ("pen", 2), ("ink", 1), ("pen", 2)))
    assert all(asked == backed for asked, backed in hub.claims("A"))
    assert (hub.cell(hub.pen), hub.cell(hub.ink)) == ({"reserved": 4}, {"reserved": 1})
    assert hub.audit() == []


def test_said_again_it_changes_nothing_before_and_after_the_order_came(hub: World) -> None:
    hub.counts("pen", 5)
    cart = reserves(hub, "R1", (hub.pen, 3))
    assert [promises(hub, cart, "A") for _ in range(2)] == [None, None]
    hub.takes(order("A", ("pen", 3)))
    ident = hub.order("A")["id"]
    assert [promises(hub, cart, "A") for _ in range(2)] == [ident, ident]
    hub.takes(order("A", ("pen", 3), version="2"))
    assert hub.claims("A") == [(3, 3)]
    assert len(hub.rows(select(t.hand_overs))) == 1
    assert hub.audit() == []


def test_an_unpaid_order_keeps_them_softly_and_gives_them_back_when_it_closes(hub: World) -> None:
    hub.counts("pen", 5)
    cart = reserves(hub, "R1", (hub.pen, 3))
    promises(hub, cart, "A")
    hub.takes(unpaid("A", ("pen", 3)))
    assert [r["soft"] for r in hub.rows(select(t.claims.c.soft).where(t.claims.c.order_id.is_not(None)))] == [True]
    hub.takes(closed("A", ("pen", 3), paid_at=None))
    assert hub.cell(hub.pen) == {"free": 5}
    assert hub.audit() == []


def test_an_order_that_comes_closed_gives_them_back(hub: World) -> None:
    hub.counts("pen", 5)
    cart = reserves(hub, "R1", (hub.pen, 3))
    promises(hub, cart, "A")
    hub.takes(closed("A", ("pen", 3)))
    assert (hub.cell(hub.pen), state(hub, cart)) == ({"free": 5}, "ordered")


def test_what_ran_out_before_the_order_came_is_backed_by_the_order_itself(hub: World) -> None:
    assert hub.clock is not None
    hub.counts("pen", 5)
    cart = reserves(hub, "R1", (hub.pen, 3), keep_s=60)
    promises(hub, cart, "A")
    hub.clock.wait(61)
    hub.store.write(reserve_stock.expire)
    assert hub.cell(hub.pen) == {"free": 5}
    hub.takes(order("A", ("pen", 3)))
    assert (hub.claims("A"), state(hub, cart)) == ([(3, 3)], "released")
    assert hub.audit() == []


def test_what_became_an_order_is_confirmed_by_it_and_not_released_any_more(hub: World) -> None:
    hub.counts("pen", 5)
    cart = reserves(hub, "R1", (hub.pen, 3))
    promises(hub, cart, "A")
    hub.takes(order("A", ("pen", 3)))
    confirmed, released = decides(hub, Confirm(cart)), decides(hub, Release(cart))
    assert isinstance(confirmed[0], Reservation)
    assert confirmed[0].state == "ordered"
    assert isinstance(released[0], Refused)
    assert hub.cell(hub.pen) == {"free": 2, "reserved": 3}


def test_what_cannot_be_followed_is_refused_and_nothing_is_written(hub: World) -> None:
    hub.counts("pen", 5)
    cart, gone = reserves(hub, "R1", (hub.pen, 1)), reserves(hub, "R2", (hub.pen, 1))
    decides(hub, Release(gone))
    promises(hub, cart, "A")
    with pytest.raises(Refused, match="promised to the order 'A'"):
        promises(hub, cart, "B")
    with pytest.raises(Refused, match="R2 was given back"):
        promises(hub, gone, "A")
    with pytest.raises(Unmatched, match="no reservation 'R9'"):
        promises(hub, Subject(hub.alpha, "api", "R9"), "A")
    assert [r["ref"] for r in hub.rows(select(t.hand_overs))] == ["R1"]
