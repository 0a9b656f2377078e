"""Ledger, warehouse and shop side by side: each unit that differs has its cause; what has none is told again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from core.errors import Unavailable
from core.flow import mend_shops, note_told, publish_stock
from core.flow.board import Board
from core.flow.reconcile import reconcile, unexplained
from core.model import Snapshot, SnapshotRow
from core.store import tables as t
from core.store.scope import HUB, Scope
from hub import reconcile as work
from hub.onboard.warehouses import Arrangement, arrange_warehouse
from hub.wiring import Hub
from tests.worlds import Clock, World, minutes, order, store, world


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        yield world(it, clock)


def mends(hub: World, most: int) -> int:
    """What is off without a cause is told again, so many a day."""
    with hub.store.read() as tx:
        listings = mend_shops.suspects(tx, Board())
    return hub.store.write(lambda tx: mend_shops.mend(tx, most, listings))


def passes(hub: World, seconds: float) -> None:
    assert hub.clock is not None
    hub.clock.wait(seconds)


def shows(hub: World, units: int) -> None:
    row = SnapshotRow(sku="pen", warehouse="EAST", keeper="ALPHA", quantity=units)
    assert hub.hears(Snapshot(rows=(row,)), at=hub.wms) == ["done"]
    passes(hub, 900)


def found(hub: World, scope: Scope = HUB) -> dict[str, list[dict[str, Any]]]:
    with hub.store.read() as tx:
        return reconcile(tx, scope)


def pens(hub: World) -> tuple[int, int | None, int | None, dict[str, int]]:
    """(ledger, shown, drift, causes) of the pens in the east."""
    row = next(r for r in found(hub)["stock"] if (r["sku"], r["warehouse"]) == ("pen", "east"))
    return row["ledger"], row["shown"], row["drift"], causes(row)


def causes(row: Mapping[str, Any]) -> dict[str, int]:
    return {c["cause"]: c["units"] for c in row["causes"]}


def listing(hub: World, shop: str = "vendure") -> Mapping[str, Any]:
    return next(r for r in found(hub)["shops"] if (r["connection"], r["listing"]) == (shop, "pen"))


def told(hub: World) -> None:
    """All shops have been told what they shall show, and nobody doubts it."""
    hub.store.write(publish_stock.take_marks)
    for intent in hub.sends("send_stock"):
        hub.store.write(lambda tx, i=intent: note_told.told(tx, publish_stock.compute(tx, i)))
    hub.store.write(lambda tx: tx.conn.execute(t.shelves.update().values(doubt=False)))


def showing(hub: World, units: int, shop: str = "vendure") -> None:
    """The shop is read; the ledger had heard of all its orders until a minute later."""
    assert hub.clock is not None
    at, ident = hub.clock.now, getattr(hub, shop)
    cursor = {"connection_id": ident, "ability": "fetch_orders", "value": {}, "due_at": at}
    with hub.store.read() as tx:
        known = tx.row(select(t.cursors).where(t.cursors.c.connection_id == ident))
    if known is None:
        hub.store.write(lambda tx: tx.add(t.cursors, [{**cursor, "read_until": minutes(10**5)}]))
    hub.store.write(lambda tx: mend_shops.note_showings(tx, ident, {"pen": units}, at))


# ledger and warehouse


def test_what_was_never_compared_has_no_drift(hub: World) -> None:
    hub.counts("pen", 10)
    assert pens(hub) == (10, None, None, {})


def test_units_that_are_sent_or_announced_are_the_cause_of_what_differs(hub: World) -> None:
    """10 on hand, 5 sent: 7 may lie there, or 12 once 7 came."""
    hub.counts("pen", 10)
    hub.takes(order("A", ("pen", 5)))
    hub.releases("A")
    shows(hub, 7)
    assert pens(hub) == (10, 7, -3, {"sent_unconfirmed": -3})
    hub.announces((hub.pen, 7))
    shows(hub, 12)
    assert pens(hub) == (10, 12, 2, {"announced": 2})


def test_a_residual_is_told_by_what_became_of_it(hub: World) -> None:
    hub.counts("pen", 20)
    shows(hub, 18)
    assert pens(hub) == (20, 18, -2, {"residual_waits": -2})
    assert hub.counts("cup", -2) == ["parked"]
    assert pens(hub) == (20, 18, -2, {"unsettled": -2})
    hub.store.write(
        lambda tx: tx.conn.execute(t.inbox.update().where(t.inbox.c.state == "parked").values(state="done"))
    )
    shows(hub, 18)
    assert pens(hub) == (18, 18, 0, {})
    shows(hub, 2)
    shows(hub, 2)
    assert pens(hub) == (18, 2, -16, {"residual_asked": -16})


def test_what_was_booked_since_the_reading_is_a_cause_of_its_own(hub: World) -> None:
    hub.counts("pen", 20)
    shows(hub, 18)
    hub.counts("pen", 5)
    assert pens(hub) == (25, 18, -7, {"booked_since": -5, "residual_waits": -2})
    assert unexplained(found(hub)) == []


def test_only_the_authority_is_held_against_the_ledger(hub: World) -> None:
    hub.counts("pen", 20)
    shows(hub, 18)
    hub.store.write(lambda tx: arrange_warehouse(tx, HUB, "east", Arrangement(authority="erp")))
    assert pens(hub) == (20, None, None, {})


def test_a_merchant_sees_its_own_goods_and_shops(hub: World) -> None:
    hub.counts("pen", 20)
    mine = found(hub, Scope("merchant", hub.beta))
    assert (mine["stock"], [r["connection"] for r in mine["shops"]]) == ([], ["beta_shop"])


# ledger and shop


def test_a_shop_that_was_never_told_has_no_drift(hub: World) -> None:
    row = listing(hub)
    assert (row["expected"], row["drift"], row["causes"]) == (None, None, [])


def test_what_the_shop_is_about_to_be_told_explains_its_drift(hub: World) -> None:
    hub.counts("pen", 20)
    told(hub)
    assert listing(hub)["drift"] == 0
    hub.counts("pen", -4)
    assert (listing(hub)["drift"], causes(listing(hub))) == (4, {"marked": 4})
    hub.store.write(publish_stock.take_marks)
    assert causes(listing(hub)) == {"being_told": 4}
    level = hub.row(t.outbox, connection_id=hub.vendure, state="waiting")
    for state in ("in_doubt", "parked"):
        hub.store.write(lambda tx, s=state: tx.set(t.outbox, level["id"], state=s))
        assert causes(listing(hub)) == {state: 4}


def test_a_paused_shop_says_so(hub: World) -> None:
    hub.counts("pen", 20)
    told(hub)
    hub.store.write(lambda tx: tx.set(t.connections, hub.vendure, state="paused"))
    hub.counts("pen", -4)
    hub.store.write(publish_stock.take_marks)
    assert causes(listing(hub)) == {"paused": 4}


def test_sales_not_heard_of_yet_explain_that_a_shop_shows_less(hub: World) -> None:
    hub.counts("pen", 20)
    told(hub)
    hub.store.write(lambda tx: mend_shops.note_showings(tx, hub.vendure, {"pen": 17}, tx.now))
    assert causes(listing(hub)) == {"unseen_sales": -3}


def test_buffer_and_packs_say_why_a_shop_may_show_less_than_there_is(hub: World) -> None:
    """20 pens, a buffer of 3: two boxes of 6 and a part of one."""
    hub.counts("pen", 20)
    box = hub.row(t.listings, connection_id=hub.tmall, ref="pen-box")
    hub.store.write(lambda tx: tx.set(t.listings, box["id"], buffer=3))
    row = next(r for r in found(hub)["shops"] if r["listing"] == "pen-box")
    assert (row["pool"], row["target"], {c["cause"]: c["units"] for c in row["held_back"]}) == (
        20,
        2,
        {"buffer": 3, "part_of_a_pack": 5},
    )


# mended


def test_a_shop_that_shows_something_else_without_a_cause_is_told_again(hub: World) -> None:
    """It shows 25 of 20: it is put in doubt, so that its level is said anew."""
    hub.counts("pen", 20)
    told(hub)
    showing(hub, 25)
    assert (listing(hub)["drift"], causes(listing(hub))) == (5, {"unexplained": 5})
    assert mends(hub, 10) == 1
    hub.store.write(publish_stock.take_marks)
    assert causes(listing(hub)) == {"being_told": 5}
    (intent,) = hub.sends("send_stock")
    said = hub.store.write(lambda tx: publish_stock.compute(tx, intent))
    assert said.told == {str(listing(hub)["listing_id"]): 20}


def test_beyond_a_days_bound_it_is_left_to_a_person_until_the_shop_agrees(hub: World) -> None:
    hub.counts("pen", 20)
    told(hub)
    showing(hub, 25)
    showing(hub, 19, "beta_shop")
    assert mends(hub, 1) == 1
    assert hub.worklist() == ["shop.drift"]
    hub.store.write(publish_stock.take_marks)
    assert mends(hub, 1) == 0
    showing(hub, 20)
    showing(hub, 20, "beta_shop")
    mends(hub, 1)
    assert hub.worklist() == []


def test_the_bound_is_a_new_one_each_day(hub: World) -> None:
    hub.counts("pen", 20)
    told(hub)
    showing(hub, 25)
    assert mends(hub, 1) == 1
    told(hub)
    passes(hub, 86400)
    showing(hub, 25)
    assert mends(hub, 1) == 1


def test_shops_are_read_and_what_is_off_is_told_again(hub: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shop that cannot be read is passed over."""

    def shown_by(wired: Any, refs: list[str]) -> dict[str, int]:
        if wired.row["code"] == "beta_shop":
            raise Unavailable("nobody answers")
        return {"pen": 25, "pen-box": 3} if wired.row["code"] == "tmall" else {"pen": 20}

    monkeypatch.setattr(work, "shown_by", shown_by)
    monkeypatch.setattr(Hub, "wired", lambda self, tx, ident: Named({"code": codes[ident], "id": ident}))
    monkeypatch.setattr(Hub, "may_call", lambda self, wired, lane: True)
    codes = {hub.tmall: "tmall", hub.vendure: "vendure", hub.beta_shop: "beta_shop"}
    hub.counts("pen", 20)
    told(hub)
    showing(hub, 0, "tmall")
    assert work.look(Hub(hub.store)) == 2
    assert [listing(hub, shop)["shown"] for shop in ("tmall", "vendure", "beta_shop")] == [25, 20, None]
    assert work.mend(Hub(hub.store)) == 1
    assert hub.row(t.marks)["listing_id"] == listing(hub, "tmall")["listing_id"]


@dataclass(frozen=True)
class Named:
    """A connection that knows its name and no more."""

    row: Mapping[str, Any]
