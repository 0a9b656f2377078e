"""Parcels on their way: facts in any order, doubled, of several merchants, and what is shown of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from core.model import MILESTONES, Party
from core.rules.tracking import RANK, TERMINAL, Fact, milestone
from core.store import tables as t
from tests.worlds import Clock, World, minutes, order, store, world


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        built = world(it, clock)
        built.counts("pen", 20)
        yield built


def parcel(hub: World, ref: str, at: int = 0) -> str:
    """A shipped order's waybill."""
    hub.takes(order(ref, ("pen", 1)), at=at or hub.tmall)
    hub.confirms(hub.releases(ref), ("pen", 1))
    return str(hub.fulfilments(ref)[0]["waybill"])


def shown(hub: World, waybill: str) -> str:
    return str(hub.row(t.parcels, waybill=waybill)["milestone"])


WAY = [("picked_up", 10), ("in_transit", 20), ("out_for_delivery", 30), ("delivered", 40)]


@pytest.mark.parametrize("told", list(permutations(WAY)))
def test_any_order_of_arrival_ends_delivered(told: list[tuple[str, int]]) -> None:
    facts = [Fact(minutes(at), name) for name, at in told]
    assert milestone(facts) == Fact(minutes(40), "delivered")


def test_facts_out_of_order_and_doubled_show_the_newest_and_deliver_once(hub: World) -> None:
    waybill = parcel(hub, "A")
    for name, at in [WAY[3], WAY[0], WAY[3], WAY[1], WAY[0]]:
        assert hub.tracks((waybill, name, at)) == ["done"]
    assert shown(hub, waybill) == "delivered"
    assert hub.order("A")["state"] == "delivered"
    assert (hub.events("parcel.delivered"), hub.events("order.delivered")) == (1, 1)
    assert hub.tally("duplicates_absorbed") == 2
    assert len(hub.rows(select(t.tracking_facts.c.id))) == 3


def test_the_same_fact_twice_in_one_message_is_one_fact(hub: World) -> None:
    waybill = parcel(hub, "A")
    hub.tracks((waybill, "picked_up", 10), (waybill, "picked_up", 10))
    assert len(hub.rows(select(t.tracking_facts.c.id))) == 1
    assert hub.events("parcel.picked_up") == 1


def test_one_message_of_two_merchants_parcels_reaches_each_merchants_own_order(hub: World) -> None:
    mine, theirs = parcel(hub, "A"), parcel(hub, "B", at=hub.beta_shop)
    hub.tracks((mine, "delivered", 40), (theirs, "picked_up", 10))
    assert (shown(hub, mine), shown(hub, theirs)) == ("delivered", "picked_up")
    assert [hub.order(ref)["state"] for ref in "AB"] == ["delivered", "shipped"]
    e = t.events.c
    told = hub.rows(select(e.type, e.merchant_id).where(e.type.like("parcel.%")).order_by(e.id))
    assert [(r["type"], r["merchant_id"]) for r in told] == [
        ("parcel.delivered", hub.alpha),
        ("parcel.picked_up", hub.beta),
    ]


def test_an_unknown_waybill_parks_the_message_and_the_known_parcels_move_all_the_same(hub: World) -> None:
    waybill = parcel(hub, "A")
    assert hub.tracks((waybill, "delivered", 40), ("SF404", "delivered", 40)) == ["parked"]
    assert shown(hub, waybill) == "delivered"
    assert "SF404" in hub.row(t.inbox, state="parked")["reason"]


def test_a_courier_speaks_of_its_own_parcels_alone(hub: World) -> None:
    waybill = parcel(hub, "A")
    assert hub.tracks((waybill, "delivered", 40), at=hub.wms) == ["parked"]
    assert shown(hub, waybill) == "created"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (["delivered", "in_transit"], "delivered"),
        (["delivered", "exception"], "delivered"),
        (["delivered", "returning"], "returning"),
        (["delivered", "returning", "returned"], "returned"),
        (["delivered", "returning", "in_transit"], "returning"),
        (["delivered", "returning", "delivered"], "delivered"),
        (["delivery_failed", "out_for_delivery"], "out_for_delivery"),
        (["exception", "in_transit"], "in_transit"),
        (["in_transit", "exception"], "exception"),
        (["out_for_delivery", "delivery_failed", "out_for_delivery", "delivered"], "delivered"),
        (["cancelled", "picked_up"], "cancelled"),
        (["lost_or_damaged", "delivered"], "lost_or_damaged"),
    ],
)
def test_after_the_end_only_a_return_changes_what_is_shown(told: list[str], expected: str) -> None:
    found = milestone([Fact(minutes(n), name) for n, name in enumerate(told)])
    assert found is not None
    assert found.milestone == expected


def test_at_one_moment_the_higher_rank_is_shown() -> None:
    assert milestone([Fact(minutes(1), "in_transit"), Fact(minutes(1), "exception")]) == (minutes(1), "in_transit")


def test_no_fact_shows_nothing() -> None:
    assert milestone([]) is None


def test_every_milestone_has_a_rank() -> None:
    assert set(RANK) == set(MILESTONES)


facts = st.lists(st.builds(Fact, st.integers(0, 20).map(minutes), st.sampled_from(MILESTONES)), max_size=12)


@given(facts, st.randoms())
def test_what_is_shown_does_not_depend_on_the_order_of_arrival_or_on_repeats(told: list[Fact], dice: object) -> None:
    again = [*told, *told[:3]]
    dice.shuffle(again)  # type: ignore[attr-defined]
    assert milestone(again) == milestone(told)


@given(facts)
def test_once_over_it_stays_over_or_is_on_its_way_back(told: list[Fact]) -> None:
    found = milestone(told)
    if any(fact.milestone in TERMINAL for fact in told):
        assert found is not None
        assert found.milestone in TERMINAL | {"returning"}


def test_a_parcel_the_warehouse_labelled_itself_is_tracked_even_if_the_courier_speaks_first(hub: World) -> None:
    sealed = Party(kind="token", token="1OAID", province="浙江省", city="杭州市")
    hub.takes(order("A", ("pen", 1), party=sealed))
    assert hub.intents("send_booking") == []
    assert hub.tracks(("SF9", "picked_up", 10)) == ["parked"]
    hub.confirms(hub.releases("A"), ("pen", 1), waybill="SF9")
    waiting = hub.row(t.inbox, kind="tracking")
    assert (waiting["state"], waiting["problem"]) == ("waiting", "Unmatched")
