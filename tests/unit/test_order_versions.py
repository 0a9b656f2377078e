"""Orders as shops change their minds: newer and older versions, quantities, calling off, before and after release."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from core.errors import Refused, Throttled
from core.flow import cancel_order, release_order, tell_shipment
from core.flow.hear import Spoken
from core.flow.take_order import take_orders
from core.model import Confirm, ConfirmedLine, Order, OrderLine
from core.store import outbox
from core.store import tables as t
from core.store.store import Transaction
from tests.worlds import Clock, World, closed, minutes, order, store, unpaid, world


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        built = world(it, clock)
        built.counts("pen", 20)
        yield built


# versions


def test_a_newer_version_is_laid_over_the_older_one(hub: World) -> None:
    hub.takes(unpaid("A", ("pen", 2), version="1"))
    hub.takes(order("A", ("pen", 2), version="2"))
    assert (hub.order("A")["version"], hub.order("A")["status"]) == ("2", "paid")
    assert hub.cell(hub.pen) == {"free": 18, "reserved": 2}


def test_an_older_version_changes_nothing(hub: World) -> None:
    hub.takes(order("A", ("pen", 2), version="2"))
    assert hub.takes(order("A", ("pen", 9), version="1")) == ["done"]
    assert hub.cell(hub.pen) == {"free": 18, "reserved": 2}
    assert hub.order("A")["version"] == "2"


def test_the_same_version_again_changes_nothing_but_one_that_says_something_new_is_applied(hub: World) -> None:
    hub.takes(order("A", ("pen", 2)))
    hub.takes(order("A", ("pen", 2)))
    assert hub.claims("A") == [(2, 2)]
    hub.takes(order("A", ("pen", 3)))
    assert sorted(hub.claims("A")) == [(1, 1), (2, 2)]


def test_versions_in_one_batch_leave_the_newest_whatever_their_order(hub: World) -> None:
    batch = [order("A", ("pen", n), version=str(n)) for n in (2, 4, 3)]
    assert hub.takes(*batch) == ["done", "done", "done"]
    assert hub.claims("A") == [(4, 4)]


def test_a_cancel_before_its_create_leaves_a_tombstone(hub: World) -> None:
    hub.takes(closed("A", ("pen", 2), version="2"))
    hub.takes(order("A", ("pen", 2), version="1"))
    assert hub.order("A")["state"] == "cancelled"
    assert hub.claims("A", also_closed=True) == []
    assert hub.cell(hub.pen) == {"free": 20}
    assert hub.intents("send_sale") == []


def test_an_order_first_heard_of_when_it_had_shipped_is_somebody_elses(hub: World) -> None:
    hub.takes(order("A", ("pen", 2), status="shipped"))
    assert hub.order("A")["state"] == "elsewhere"
    assert hub.cell(hub.pen) == {"free": 20}
    hub.takes(order("A", ("pen", 2), status="delivered", version="2"))
    assert hub.order("A")["state"] == "elsewhere"


def test_our_own_shipment_read_back_from_the_shop_changes_nothing(hub: World) -> None:
    hub.takes(order("A", ("pen", 2)))
    hub.confirms(hub.releases("A"), ("pen", 2))
    hub.takes(order("A", ("pen", 2), version="2", status="shipped"))
    assert hub.order("A")["state"] == "shipped"
    assert hub.cell(hub.pen) == {"free": 18}
    assert hub.claims("A") == []


def test_the_same_number_at_two_shops_is_two_orders(hub: World) -> None:
    hub.takes(order("A", ("pen", 2)))
    hub.takes(order("A", ("pen", 3)), at=hub.vendure)
    assert hub.cell(hub.pen) == {"free": 15, "reserved": 5}


# bad input


def test_an_unknown_listing_parks_its_order_without_effect_on_its_neighbours(hub: World) -> None:
    batch = [order("A", ("pen", 1)), order("B", ("pen", 1), ("no-such-listing", 1)), order("C", ("pen", 1))]
    assert hub.takes(*batch) == ["done", "parked", "done"]
    assert hub.cell(hub.pen) == {"free": 18, "reserved": 2}
    parked = hub.rows(select(t.inbox).where(t.inbox.c.state == "parked"))
    assert [(r["problem"], r["fix"]) for r in parked] == [("Unmatched", "link")]
    assert "no-such-listing" in parked[0]["reason"]
    assert hub.rows(select(t.orders.c.ref).where(t.orders.c.ref == "B")) == []


def test_a_line_that_bears_no_stock_needs_no_listing(hub: World) -> None:
    gift_card = OrderLine(ref="2", listing="card", quantity=1, bears_stock=False)
    told = order("A", ("pen", 1))
    assert hub.takes(told.model_copy(update={"lines": (*told.lines, gift_card)})) == ["done"]
    assert hub.claims("A") == [(1, 1)]
    assert len(hub.fulfilments("A")) == 1


def test_a_shop_without_a_pool_parks_its_orders_and_says_what_to_do(hub: World) -> None:
    hub.store.write(lambda tx: tx.conn.execute(t.pools.delete().where(t.pools.c.connection_id == hub.beta_shop)))
    assert hub.takes(order("A", ("pen", 1)), at=hub.beta_shop) == ["parked"]
    assert "give its connection a pool" in hub.row(t.inbox, state="parked")["reason"]


def test_one_order_that_breaks_the_flow_leaves_no_trace_of_its_batch(hub: World) -> None:
    def broken(tx: Transaction) -> None:
        take_orders(tx, [Spoken("order", i, hub.tmall, hub.alpha, n) for i, n in zip(ids, nouns, strict=True)])
        raise ZeroDivisionError

    nouns = [order("A", ("pen", 1)), order("B", ("pen", 1))]
    ids = hub.keeps("order", *nouns, at=hub.tmall)
    with pytest.raises(ZeroDivisionError):
        hub.store.write(broken)
    assert hub.rows(select(t.orders)) == []
    assert hub.cell(hub.pen) == {"free": 20}
    assert [hub.row(t.inbox, id=i)["state"] for i in ids] == ["waiting", "waiting"]


def test_a_document_that_was_settled_meanwhile_is_not_booked_again(hub: World) -> None:
    noun = order("A", ("pen", 2))
    (ident,) = hub.keeps("order", noun, at=hub.tmall)
    for _ in range(2):
        hub.store.write(lambda tx: take_orders(tx, [Spoken("order", ident, hub.tmall, hub.alpha, noun)]))
    assert hub.claims("A") == [(2, 2)]
    assert hub.events("order.taken") == 1


# quantities, before the release


def held(ref: str, *lines: tuple[str, int] | tuple[str, int, int], version: str = "1") -> Order:
    """An order that waits for its remark to be read."""
    return order(ref, *lines, version=version, holds=("remark",))


def test_more_of_a_line_claims_the_difference(hub: World) -> None:
    hub.takes(held("A", ("pen", 2)))
    hub.takes(held("A", ("pen", 5), version="2"))
    assert hub.cell(hub.pen) == {"free": 15, "reserved": 5}
    hub.takes(order("A", ("pen", 5), version="3"))
    assert [f["state"] for f in hub.fulfilments("A")] == ["labelling"]
    told = [r["quantity"] for r in hub.rows(select(t.fulfilment_lines.c.quantity))]
    assert sum(told) == 5


def test_less_of_a_line_gives_the_difference_back_at_once(hub: World) -> None:
    hub.takes(held("A", ("pen", 5)))
    hub.takes(held("A", ("pen", 2), version="2"))
    assert hub.cell(hub.pen) == {"free": 18, "reserved": 2}
    assert hub.claims("A") == [(2, 2)]


def test_a_called_off_line_gives_back_and_the_others_stay(hub: World) -> None:
    hub.counts("ink", 5)
    hub.takes(held("A", ("pen", 5), ("ink", 3)))
    hub.takes(held("A", ("pen", 5, 5), ("ink", 3), version="2"))
    assert hub.cell(hub.pen) == {"free": 20}
    assert hub.cell(hub.ink) == {"free": 2, "reserved": 3}
    assert hub.order("A")["state"] == "held"


def test_a_line_that_is_gone_from_the_newer_version_gives_back(hub: World) -> None:
    hub.counts("ink", 5)
    hub.takes(held("A", ("ink", 3), ("pen", 5)))
    hub.takes(held("A", ("ink", 3), version="2"))
    assert hub.cell(hub.pen) == {"free": 20}
    assert hub.line("A", "2")["cancelled"] == 5


def test_a_new_line_claims_its_units(hub: World) -> None:
    hub.counts("ink", 5)
    hub.takes(held("A", ("pen", 5)))
    hub.takes(held("A", ("pen", 5), ("ink", 3), version="2"))
    assert hub.cell(hub.ink) == {"free": 2, "reserved": 3}


def test_all_lines_called_off_cancel_the_order(hub: World) -> None:
    hub.takes(held("A", ("pen", 5)))
    hub.takes(held("A", ("pen", 5, 5), version="2"))
    assert hub.order("A")["state"] == "cancelled"


def test_a_held_order_is_released_when_the_hold_is_gone(hub: World) -> None:
    hub.takes(held("A", ("pen", 5)))
    assert (hub.order("A")["state"], hub.fulfilments("A")) == ("held", [])
    hub.takes(order("A", ("pen", 5), version="2"))
    assert (hub.order("A")["state"], len(hub.fulfilments("A"))) == ("released", 1)


# called off, after the release


def test_closed_while_the_booking_is_on_its_way_gives_back_at_once_and_the_waybill_is_ignored(hub: World) -> None:
    hub.takes(order("A", ("pen", 5)))
    hub.sends("send_booking", outcome="none yet")
    hub.takes(closed("A", ("pen", 5)))
    assert hub.cell(hub.pen) == {"free": 20}
    hub.store.write(lambda tx: release_order.labelled(tx, hub.fulfilments("A")[0]["id"], "SF1"))
    assert hub.fulfilments("A")[0]["state"] == "cancelled"
    assert hub.intents("send_delivery_order") == []
    assert hub.intents("send_booking") == ["sending"]
    assert hub.order("A")["state"] == "cancelled"


def test_closed_before_the_booking_was_sent_takes_it_back(hub: World) -> None:
    hub.takes(order("A", ("pen", 5)))
    hub.takes(closed("A", ("pen", 5)))
    assert hub.intents("send_booking") == ["moot"]


def test_a_create_never_sent_is_annihilated(hub: World) -> None:
    hub.takes(order("A", ("pen", 5)))
    hub.sends("send_booking")
    hub.labels("A")
    hub.takes(closed("A", ("pen", 5)))
    assert hub.intents("send_delivery_order") == ["moot"]
    assert hub.intents("send_cancellation") == []
    assert hub.cell(hub.pen) == {"free": 20}
    assert (hub.order("A")["state"], hub.events("order.cancelled")) == ("cancelled", 1)


@pytest.mark.parametrize("error", [Refused("no such SKU"), Throttled("later")])
def test_a_create_that_was_turned_away_is_annihilated_too(hub: World, error: Exception) -> None:
    hub.takes(order("A", ("pen", 5)))
    hub.sends("send_booking")
    hub.labels("A")
    (row,) = hub.sends("send_delivery_order", outcome="turned away")
    finish = outbox.park if isinstance(error, Refused) else lambda tx, row, error: outbox.again(tx, row, 5, error)
    hub.store.write(lambda tx: finish(tx, row, error))
    hub.takes(closed("A", ("pen", 5)))
    assert hub.intents("send_delivery_order") == ["moot"]
    assert hub.order("A")["state"] == "cancelled"


def test_a_create_in_flight_is_waited_for_and_the_stock_stays_reserved(hub: World) -> None:
    hub.takes(order("A", ("pen", 5)))
    hub.sends("send_booking")
    hub.labels("A")
    (row,) = hub.sends("send_delivery_order", outcome="none yet")
    hub.takes(closed("A", ("pen", 5)))
    assert hub.cell(hub.pen) == {"free": 15, "reserved": 5}
    assert hub.fulfilments("A")[0]["state"] == "cancelling"
    assert hub.sends("send_cancellation") == []
    hub.store.write(lambda tx: outbox.done(tx, row))
    assert len(hub.sends("send_cancellation")) == 1


def test_verdict_yes_gives_back_and_verdict_no_does_not(hub: World) -> None:
    for ref, answer in (("A", "cancelled"), ("B", "cancel_refused")):
        hub.takes(order(ref, ("pen", 5)))
        fulfilment = hub.releases(ref)
        hub.takes(closed(ref, ("pen", 5)))
        hub.answers(fulfilment, answer)
    assert hub.cell(hub.pen) == {"free": 15, "reserved": 5}
    assert [hub.fulfilments(ref)[0]["state"] for ref in "AB"] == ["cancelled", "cannot_stop"]
    assert hub.order("A")["state"] == "cancelled"


def test_the_verdict_told_twice_counts_once(hub: World) -> None:
    hub.takes(order("A", ("pen", 5)))
    fulfilment = hub.releases("A")
    hub.takes(closed("A", ("pen", 5)))
    hub.answers(fulfilment, "cancelled")
    hub.answers(fulfilment, "cancelled")
    hub.answers(fulfilment, "cancel_refused")
    assert hub.events("order.cancelled") == 1
    assert hub.fulfilments("A")[0]["state"] == "cancelled"
    assert hub.cell(hub.pen) == {"free": 20}


def test_less_after_the_release_stops_the_fulfilment_and_releases_what_is_still_wanted(hub: World) -> None:
    hub.takes(order("A", ("pen", 5)))
    fulfilment = hub.releases("A")
    hub.takes(order("A", ("pen", 3), version="2"))
    assert hub.cell(hub.pen) == {"free": 15, "reserved": 5}
    hub.answers(fulfilment, "cancelled")
    assert hub.cell(hub.pen) == {"free": 17, "reserved": 3}
    assert [f["state"] for f in hub.fulfilments("A")] == ["cancelled", "labelling"]
    assert hub.order("A")["state"] == "released"
    hub.confirms(hub.releases("A"), ("pen", 3))
    assert hub.order("A")["state"] == "shipped"
    assert hub.cell(hub.pen) == {"free": 17}
    assert hub.audit() == []


def test_less_before_the_warehouse_heard_releases_anew_at_once(hub: World) -> None:
    hub.takes(order("A", ("pen", 5)))
    hub.takes(order("A", ("pen", 3), version="2"))
    assert hub.cell(hub.pen) == {"free": 17, "reserved": 3}
    assert [f["state"] for f in hub.fulfilments("A")] == ["cancelled", "labelling"]


def test_more_after_the_release_makes_one_more_fulfilment(hub: World) -> None:
    hub.takes(order("A", ("pen", 3)))
    first = hub.releases("A")
    hub.takes(order("A", ("pen", 5), version="2"))
    second = hub.releases("A")
    assert first != second
    hub.confirms(first, ("pen", 3))
    assert hub.order("A")["state"] == "part_shipped"
    hub.confirms(second, ("pen", 2))
    assert hub.order("A")["state"] == "shipped"
    assert hub.line("A")["shipped"] == 5


def test_less_and_then_more_again_before_the_verdict_ends_where_it_began(hub: World) -> None:
    hub.takes(order("A", ("pen", 5)))
    fulfilment = hub.releases("A")
    hub.takes(order("A", ("pen", 3), version="2"))
    hub.takes(order("A", ("pen", 5), version="3"))
    hub.answers(fulfilment, "cancelled")
    assert hub.cell(hub.pen) == {"free": 15, "reserved": 5}
    hub.confirms(hub.releases("A"), ("pen", 5))
    assert hub.order("A")["state"] == "shipped"


def test_one_line_called_off_after_the_release_of_two_ships_the_other(hub: World) -> None:
    hub.counts("ink", 5)
    hub.takes(order("A", ("pen", 5), ("ink", 3)))
    fulfilment = hub.releases("A")
    hub.takes(order("A", ("pen", 5, 5), ("ink", 3), version="2"))
    hub.answers(fulfilment, "cancelled")
    assert hub.cell(hub.pen) == {"free": 20}
    hub.confirms(hub.releases("A"), ("ink", 3))
    assert hub.order("A")["state"] == "shipped"
    assert hub.audit() == []


def test_closed_after_part_has_left_ends_shipped_and_the_shop_hears_of_what_left(hub: World) -> None:
    hub.takes(order("A", ("pen", 5)))
    fulfilment = hub.releases("A")
    hub.confirms(fulfilment, ("pen", 2), final=False)
    hub.takes(closed("A", ("pen", 5)))
    hub.answers(fulfilment, "cancelled")
    assert hub.order("A")["state"] == "shipped"
    assert hub.intents("send_shipment") == ["waiting"]
    said = hub.store.write(lambda tx: tell_shipment.shipment(tx, hub.fulfilments("A")[0]["id"]))
    assert said is not None
    assert [(line.ref, line.quantity) for line in said.lines] == [("1", 2)]


# two warehouses


def split(hub: World) -> list[str]:
    """5 of east's and 4 of west's: one order of 9, both fulfilments in their warehouses."""
    hub.counts("pen", -15)
    hub.counts("pen", 4, "west")
    hub.takes(order("A", ("pen", 9)))
    hub.releases("A")
    return [f["ref"] for f in hub.fulfilments("A")]


def test_an_order_that_no_warehouse_can_back_alone_is_split(hub: World) -> None:
    east, west = split(hub)
    assert hub.cell(hub.pen) == {"reserved": 5}
    assert hub.cell(hub.pen, hub.west) == {"reserved": 4}
    hub.confirms(east, ("pen", 5))
    assert hub.order("A")["state"] == "part_shipped"
    hub.confirms(west, ("pen", 4))
    assert hub.order("A")["state"] == "shipped"
    said = hub.store.write(lambda tx: tell_shipment.shipment(tx, hub.fulfilments("A")[0]["id"]))
    assert said is not None
    assert (said.split, [line.quantity for line in said.lines]) == (True, [5])


def test_the_whole_order_goes_to_the_second_warehouse_rather_than_be_split(hub: World) -> None:
    hub.counts("pen", -15)
    hub.counts("pen", 9, "west")
    hub.takes(order("A", ("pen", 9)))
    assert hub.cell(hub.pen) == {"free": 5}
    assert hub.cell(hub.pen, hub.west) == {"reserved": 9}


def test_one_of_two_fulfilments_comes_up_short_by_what_the_other_does_not_bring(hub: World) -> None:
    east, west = split(hub)
    hub.confirms(east, ("pen", 3))
    assert hub.line("A")["short"] == 2
    hub.confirms(west, ("pen", 4))
    assert (hub.order("A")["state"], hub.line("A")["short"]) == ("shipped", 2)


def test_less_after_one_of_two_has_shipped_releases_the_rest_of_the_other_anew(hub: World) -> None:
    east, west = split(hub)
    hub.confirms(east, ("pen", 5))
    hub.takes(order("A", ("pen", 7), version="2"))
    hub.answers(west, "cancelled")
    assert hub.cell(hub.pen, hub.west) == {"free": 2, "reserved": 2}
    assert hub.order("A")["state"] == "part_shipped"
    hub.confirms(hub.releases("A"), ("pen", 2))
    assert hub.order("A")["state"] == "shipped"
    assert hub.audit() == []


# delivered


def test_delivered_before_the_final_confirm_is_delivered_once_it_is_confirmed(hub: World) -> None:
    hub.takes(order("A", ("pen", 2)))
    fulfilment = hub.releases("A")
    hub.tracks((hub.fulfilments("A")[0]["waybill"], "delivered", 60))
    assert hub.order("A")["state"] == "released"
    hub.confirms(fulfilment, ("pen", 2))
    assert hub.order("A")["state"] == "delivered"
    assert hub.events("order.delivered") == 1


def test_an_order_of_two_parcels_is_delivered_with_the_last(hub: World) -> None:
    east, west = split(hub)
    hub.confirms(east, ("pen", 5))
    hub.confirms(west, ("pen", 4))
    first, second = (f["waybill"] for f in hub.fulfilments("A"))
    hub.tracks((first, "delivered", 60))
    assert hub.order("A")["state"] == "shipped"
    hub.tracks((second, "delivered", 61))
    assert hub.order("A")["state"] == "delivered"


def test_an_order_that_left_without_a_known_parcel_is_not_delivered(hub: World) -> None:
    hub.takes(order("A", ("pen", 2)))
    hub.confirms(hub.fulfilments("A")[0]["ref"], ("pen", 2))
    assert hub.order("A")["state"] == "shipped"


def test_more_of_a_delivered_order_is_one_more_fulfilment(hub: World) -> None:
    hub.takes(order("A", ("pen", 2)))
    hub.confirms(hub.releases("A"), ("pen", 2))
    hub.tracks((hub.fulfilments("A")[0]["waybill"], "delivered", 60))
    hub.takes(order("A", ("pen", 3), version="2"))
    assert hub.order("A")["state"] == "part_shipped"
    hub.confirms(hub.releases("A"), ("pen", 1))
    assert hub.order("A")["state"] == "shipped"


# what the shop is told


def test_lines_of_a_pack_are_told_in_listing_units(hub: World) -> None:
    hub.takes(order("A", ("pen-box", 2)))
    assert hub.claims("A") == [(12, 12)]
    hub.confirms(hub.releases("A"), ("pen", 12))
    said = hub.store.write(lambda tx: tell_shipment.shipment(tx, hub.fulfilments("A")[0]["id"]))
    assert said is not None
    assert [(line.ref, line.quantity) for line in said.lines] == [("1", 2)]


def test_two_claims_of_one_line_are_one_line_of_the_shipment(hub: World) -> None:
    hub.takes(held("A", ("pen", 2)))
    hub.takes(order("A", ("pen", 5), version="2"))
    rows = tuple(ConfirmedLine(line=n, sku="pen", quantity=q) for n, q in (("1", 2), ("2", 3)))
    hub.hears(Confirm(fulfilment=hub.releases("A"), final=True, lines=rows), at=hub.wms)
    said = hub.store.write(lambda tx: tell_shipment.shipment(tx, hub.fulfilments("A")[0]["id"]))
    assert said is not None
    assert [(line.ref, line.quantity) for line in said.lines] == [("1", 5)]


def test_an_owners_goods_sold_by_another_merchant_travel_under_the_owners_keeper_code(hub: World) -> None:
    hub.takes(order("A", ("pen", 2)), at=hub.beta_shop)
    assert [r["keeper"] for r in hub.rows(select(t.fulfilment_lines.c.keeper))] == ["ALPHA"]
    assert hub.order("A")["merchant_id"] == hub.beta
    assert hub.intents("send_sale") == []


def test_only_a_merchants_own_erp_hears_of_its_orders(hub: World) -> None:
    hub.takes(order("A", ("pen", 2)))
    hub.takes(order("B", ("pen", 2)), at=hub.beta_shop)
    assert hub.intents("send_sale") == ["waiting"]


def test_a_person_who_is_not_needed_any_more_finds_the_work_gone(hub: World) -> None:
    hub.takes(order("A", ("pen", 30)))
    assert hub.worklist() == ["order.short/send_cancellation"]
    hub.takes(closed("A", ("pen", 30)))
    assert hub.worklist() == []
    assert hub.order("A")["state"] == "cancelled"


def test_progress_never_goes_back(hub: World) -> None:
    hub.takes(order("A", ("pen", 2)))
    fulfilment = hub.releases("A")
    for stage in ("working", "accepted", "ready", "working"):
        hub.answers(fulfilment, stage)
    assert hub.fulfilments("A")[0]["state"] == "ready"
    assert hub.events("fulfilment.accepted") == 0


def test_the_time_it_was_placed_decides_who_is_topped_up_first(hub: World) -> None:
    hub.decides("wait")
    hub.counts("pen", -20)
    hub.takes(order("late", ("pen", 1), placed_at=minutes(5)))
    hub.takes(order("early", ("pen", 1), placed_at=minutes(1)))
    hub.counts("pen", 1)
    assert (hub.claims("early"), hub.claims("late")) == ([(1, 1)], [(1, 0)])


def test_stopping_what_is_over_changes_nothing(hub: World) -> None:
    hub.takes(order("A", ("pen", 2)))
    hub.confirms(hub.releases("A"), ("pen", 2))
    fulfilment = hub.fulfilments("A")[0]
    assert not hub.store.write(lambda tx: cancel_order.stop(tx, fulfilment["id"], hub.order("A")))
    hub.takes(closed("A", ("pen", 2)))
    assert hub.fulfilments("A")[0]["state"] == "shipped"
    assert hub.order("A")["state"] == "shipped"
