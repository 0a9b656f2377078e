"""Orders through the whole hub, over real twins on loopback: every hand-over, nothing left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Select, select

from core.flow import keep_promises
from core.store import tables as t
from core.store.ledger import Ledger
from core.store.store import Transaction
from hub.onboard.connections import Change, change_connection
from tests.towns import HUB, Town, town


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Town]:
    """A town with one Tmall shop and one Vendure shop of the same merchant."""
    with town(tmp_path, "tmall", "vendure") as it:
        yield it


def waybill(place: Town, ref: str) -> str:
    """The waybill of the order's newest fulfilment."""
    return str(place.world.fulfilments(ref)[-1]["waybill"])


@pytest.mark.parametrize(("shop", "listing"), [("tmall", "11"), ("vendure", "1")])
def test_one_order_goes_from_the_shop_to_the_door(place: Town, shop: str, listing: str) -> None:
    place.stocks(pen=10)
    ref = place.buys(shop, (listing, 2))
    place.live(20)
    assert place.state(ref) == "shipped"
    [sent] = place.books(shop)["orders"][ref]["shipments"]
    assert sent["waybill"] == waybill(place, ref)
    place.delivers(waybill(place, ref))
    place.live(2)
    assert place.state(ref) == "delivered"
    assert place.world.cell(place.world.pen) == {"free": 8}
    assert place.books("wms")["stock"] == {"EAST|ALPHA|pen|ZP": 8}
    assert place.world.audit() == []


def test_shops_show_what_the_pool_promises(place: Town) -> None:
    place.stocks(pen=10, ink=3)
    assert place.books("tmall")["stock"] == {"11": 10, "12": 3}
    assert place.books("vendure")["stock"] == {"1": 10, "2": 3}
    place.buys("tmall", ("11", 4))
    place.live(20)
    assert place.books("tmall")["stock"] == {"11": 6, "12": 3}
    assert place.books("vendure")["stock"] == {"1": 6, "2": 3}


def test_order_bought_between_our_last_poll_and_our_write_is_not_sold_twice(place: Town) -> None:
    place.stocks(pen=10)
    place.withheld = {"orders"}
    place.buys("vendure", ("1", 3))
    place.buys("tmall", ("11", 2))
    place.world.counts("pen", 5)
    place.live(20)
    assert place.world.cell(place.world.pen)["free"] == 10
    assert (place.books("tmall")["stock"]["11"], place.books("vendure")["stock"]["1"]) == (10, 10)


def test_unpaid_order_holds_stock_and_gives_it_back_when_the_shop_closes_it(place: Town) -> None:
    place.stocks(pen=10)
    ref = place.buys("tmall", ("11", 4), pay=False)
    place.live(12)
    assert (place.state(ref), place.world.cell(place.world.pen)) == ("unpaid", {"free": 6, "reserved": 4})
    place.twins["tmall"].control("close", {"ref": ref})
    place.live(20)
    assert (place.state(ref), place.world.cell(place.world.pen)) == ("cancelled", {"free": 10})
    assert place.books("tmall")["stock"]["11"] == place.books("vendure")["stock"]["1"] == 10
    assert place.books("wms")["deliveries"] == {}


def test_unpaid_order_that_is_paid_ships(place: Town) -> None:
    place.stocks(pen=10)
    ref = place.buys("tmall", ("11", 4), pay=False)
    place.live(12)
    place.twins["tmall"].control("pay", {"ref": ref})
    place.live(20)
    assert place.state(ref) == "shipped"


def test_short_order_is_called_off_at_a_shop_that_knows_how(place: Town) -> None:
    place.stocks(pen=1)
    ref = place.buys("vendure", ("1", 2))
    place.live(20)
    assert place.state(ref) == "cancelled"
    assert place.books("vendure")["orders"][ref]["cancelled"] is True
    assert place.world.cell(place.world.pen) == {"free": 1}
    assert place.world.audit() == []


def test_short_order_waits_for_a_person_where_no_call_is_known(place: Town) -> None:
    place.stocks(pen=1)
    ref = place.buys("tmall", ("11", 2))
    place.live(12)
    assert place.state(ref) == "short"
    assert place.world.worklist() == ["order.short/send_cancellation"]


def test_short_order_of_a_merchant_who_waits_ships_when_goods_come(tmp_path: Path) -> None:
    with town(tmp_path, "tmall", policy="wait") as place:
        place.stocks(pen=1)
        ref = place.buys("tmall", ("11", 2))
        place.live(12)
        assert (place.state(ref), place.world.worklist()) == ("short", [])
        place.stocks(pen=1)
        place.live(12)
        assert place.state(ref) == "shipped"


def test_order_called_off_after_release_gives_its_stock_back_when_the_warehouse_says_yes(place: Town) -> None:
    place.stocks(pen=10)
    place.twins["wms"].hold()
    ref = place.buys("vendure", ("1", 2))
    place.live(15)
    assert place.world.cell(place.world.pen) == {"free": 8, "reserved": 2}
    line = place.world.line(ref, "1")["ref"]
    place.twins["vendure"].control("cancel_line", {"ref": ref, "line": line, "quantity": 2})
    place.live(15)
    assert place.world.intents("send_cancellation") == ["done"]
    assert (place.state(ref), place.world.cell(place.world.pen)) == ("cancelled", {"free": 10})
    place.twins["wms"].go()
    place.live(5)
    assert place.books("wms")["stock"] == {"EAST|ALPHA|pen|ZP": 10}
    assert place.world.audit() == []


def test_order_called_off_too_late_leaves_the_warehouse_and_a_person_is_asked(place: Town) -> None:
    place.stocks(pen=10)
    place.twins["wms"].hold()
    ref = place.buys("vendure", ("1", 2))
    place.live(15)
    [fulfilment] = place.world.fulfilments(ref)
    place.twins["wms"].deliveries[fulfilment["ref"]].status = "PACKAGE"
    place.twins["vendure"].control("cancel_line", {"ref": ref, "line": "1", "quantity": 2})
    place.live(15)
    assert place.world.fulfilments(ref)[0]["state"] == "cannot_stop"
    assert place.world.cell(place.world.pen) == {"free": 8, "reserved": 2}
    place.twins["wms"].go()
    place.live(15)
    assert place.world.fulfilments(ref)[0]["state"] == "shipped"
    assert place.world.cell(place.world.pen) == {"free": 8}
    assert place.world.audit() == []


def test_order_called_off_before_anything_was_said_leaves_no_trace_at_courier_and_warehouse(place: Town) -> None:
    place.stocks(pen=10)
    place.withheld = {"fulfilment"}
    ref = place.buys("vendure", ("1", 2))
    place.live(12)
    assert place.world.intents("send_booking") == ["waiting"]
    place.twins["vendure"].control("cancel_line", {"ref": ref, "line": "1", "quantity": 2})
    place.live(12)
    place.withheld = set()
    place.live(5)
    assert (place.state(ref), place.world.intents("send_booking")) == ("cancelled", ["moot"])
    assert (place.books("courier")["orders"], place.books("wms")["deliveries"]) == ({}, {})


def test_cancellation_is_moot_when_goods_came_before_it_was_said(place: Town) -> None:
    place.stocks(pen=1)
    place.withheld = {"fulfilment"}
    ref = place.buys("vendure", ("1", 2))
    place.live(12)
    assert (place.state(ref), place.world.intents("send_cancellation")) == ("short", ["waiting"])
    place.world.counts("pen", 1)
    place.store.write(lambda tx: _try_again(tx, place.world.order(ref)["id"]))
    place.withheld = set()
    place.live(12)
    assert place.world.intents("send_cancellation") == ["moot"]
    assert place.books("vendure")["orders"][ref]["cancelled"] is False


@pytest.mark.parametrize("shop", ["tmall", "vendure"])
def test_every_order_is_taken_once_though_the_pages_move_while_they_are_read(place: Town, shop: str) -> None:
    place.stocks(pen=100)
    code = {"settings": {"page_size": 4}}
    place.store.write(lambda tx: change_connection(tx, HUB, shop, Change(**code)))
    listing = "11" if shop == "tmall" else "1"
    refs = [place.buys(shop, (listing, 1), ago_s=30 - n) for n in range(14)]
    place.twins[shop].control("setup", {"moving_pages": True})
    place.live(25)
    assert place.faults[shop].bitten["moving_pages/fetch_orders"] > 0
    assert {ref: place.state(ref) for ref in refs} == dict.fromkeys(refs, "shipped")
    assert place.world.cell(place.world.pen) == {"free": 86}


def test_one_push_tells_of_two_merchants_parcels_and_each_order_hears_its_own(tmp_path: Path) -> None:
    with town(tmp_path, "tmall", "beta_shop") as place:
        place.stocks(pen=10)
        mine, theirs = place.buys("tmall", ("11", 1)), place.buys("beta_shop", ("21", 2), tid=5_000_000_000_000_000_000)
        place.live(20)
        place.delivers(waybill(place, mine), waybill(place, theirs))
        place.live(2)
        assert (place.state(mine), place.state(theirs)) == ("delivered", "delivered")
        world = place.world
        told = world.rows(_deliveries())
        assert {(r["merchant_id"], r["subject"]) for r in told} == {
            (world.alpha, f"order:{world.order(mine)['id']}"),
            (world.beta, f"order:{world.order(theirs)['id']}"),
        }


def _deliveries() -> Select[Any]:
    return select(t.events.c.merchant_id, t.events.c.subject).where(t.events.c.type == "order.delivered")


def _try_again(tx: Transaction, order_id: int) -> None:
    ledger = Ledger(tx)
    keep_promises.top_up_order(tx, ledger, order_id)
    ledger.flush()
