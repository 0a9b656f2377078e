"""What distributors buy at Taobao's distribution platform, from the purchase to the parcel, over real twins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from core.store import tables as t
from tests.towns import Town, town

XIAOWU = "小五的店"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Town]:
    """Twenty of alpha's pens; beta sells them in its shop, and buys of alpha as 小五的店 on its account (代销)."""
    with town(tmp_path, "beta_shop", "fenxiao") as it:
        terms = {"known_as": XIAOWU, "title_passes": "never"}
        it.store.write(lambda tx: tx.conn.execute(update(t.contracts).values(**terms)))
        it.stocks(pen=20)
        yield it


def buys(place: Town, units: int, **more: Any) -> str:
    """小五的店 makes a purchase order of pens."""
    return place.buys("fenxiao", ("31", units), distributor=XIAOWU, receiver={}, **more)


def waybills(place: Town, shop: str, ref: str) -> list[str]:
    """Of what that platform knows was sent for this order."""
    return [one["waybill"] for one in place.books(shop)["orders"][ref]["shipments"]]


def owed(place: Town) -> list[int]:
    """Units of every settlement line."""
    return [row["units"] for row in place.world.rows(select(t.settlement_lines))]


def test_a_purchase_is_made_shipped_and_settled(place: Town) -> None:
    ref = buys(place, 3)
    place.live(60)
    assert place.state(ref) == "shipped"
    assert len(waybills(place, "fenxiao", ref)) == 1
    assert (owed(place), place.parked(), place.world.audit()) == ([3], [], [])


def test_a_shoppers_trade_and_its_purchase_claim_once_and_both_platforms_hear_of_the_parcel(place: Town) -> None:
    trade = place.buys("beta_shop", ("21", 2))
    place.live(12)
    purchase = buys(place, 2, tc_order_id=int(trade))
    place.live(60)
    assert place.world.cell(place.world.pen) == {"free": 18}
    (waybill,) = waybills(place, "beta_shop", trade)
    assert waybills(place, "fenxiao", purchase) == [waybill]
    assert (owed(place), place.parked(), place.world.worklist()) == ([2], [], [])
    assert place.books("fenxiao")["fulfilments_doubled"] == place.books("beta_shop")["fulfilments_doubled"] == 0


def test_a_purchase_heard_of_when_its_parcel_has_left_is_told_all_the_same(place: Town) -> None:
    trade = place.buys("beta_shop", ("21", 2))
    place.live(60)
    purchase = buys(place, 2, tc_order_id=int(trade))
    place.live(60)
    assert waybills(place, "fenxiao", purchase) == waybills(place, "beta_shop", trade)


def ships_first(place: Town, **other: str) -> None:
    """beta's shop consigns each trade by itself just before we do, under our number or another."""
    platform = place.twins["beta_shop"]
    consigns = platform._send_shipment

    def before_us(form: Any) -> Any:
        consigns({**form, **other})
        return consigns(form)

    platform._send_shipment = before_us


def test_a_trade_the_platform_shipped_by_itself_asks_nobody(place: Town) -> None:
    ships_first(place)
    trade = place.buys("beta_shop", ("21", 2))
    purchase = buys(place, 2, tc_order_id=int(trade))
    place.live(60)
    assert waybills(place, "beta_shop", trade) == waybills(place, "fenxiao", purchase)
    assert (place.state(trade), place.intent("send_shipment")["state"]) == ("shipped", "done")
    assert place.world.rows(select(t.outbox).where(t.outbox.c.state == "parked")) == []


def test_a_trade_shipped_under_another_number_is_a_persons(place: Town) -> None:
    ships_first(place, out_sid="SF0000000001")
    trade = place.buys("beta_shop", ("21", 2))
    place.live(60)
    (parked,) = place.world.rows(select(t.outbox).where(t.outbox.c.state == "parked"))
    assert (parked["ability"], parked["problem"]) == ("send_shipment", "Refused")
    assert "不能重复发货" in parked["reason"]
    assert waybills(place, "beta_shop", trade) == ["SF0000000001"]
