"""Calls that have to wait: for the account's budget, for a paused connection, for a person; nobody sleeps over them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import select, update

from core.store import budgets, outbox
from core.store import tables as t
from core.store.scope import HUB
from hub import wiring
from hub.onboard.connections import set_state
from hub.parked import parked, press
from tests.towns import Town, connection, town


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Town]:
    """One Tmall shop with ten pens to sell."""
    with town(tmp_path, "tmall") as it:
        it.stocks(pen=10)
        yield it


def no_budget(place: Town, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the account has no call left."""
    mine = str(connection(place, code)["id"])
    real = budgets.lease
    monkeypatch.setattr(budgets, "lease", lambda tx, asks: {**real(tx, asks), **({mine: 0} if mine in asks else {})})
    place.hub._purse._left.clear()


def lease(place: Town, ask: budgets.Ask) -> int:
    return place.store.write(lambda tx: budgets.lease(tx, {"x": ask}))["x"]


def test_call_over_budget_waits_in_its_row_and_nobody_sleeps(place: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    no_budget(place, "courier", monkeypatch)
    place.buys("tmall", ("11", 2))
    place.live(8)
    started = time.monotonic()
    place.turn()
    assert time.monotonic() - started < 0.5
    row = place.intent("send_booking")
    assert (row["state"], row["attempts"], row["token"], row["lease_until"]) == ("waiting", 0, None, None)
    assert 0 < (row["due_at"] - place.clock.now).total_seconds() <= 0.5
    assert place.faults["courier"].calls["send_booking"] == 0
    monkeypatch.undo()
    place.finish()
    assert place.world.intents("send_booking") == ["done"]


def test_level_that_waited_for_budget_is_computed_anew(place: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    no_budget(place, "tmall", monkeypatch)
    place.world.counts("pen", 5)
    place.live(2)
    assert place.books("tmall")["stock"]["11"] == 10
    place.world.counts("pen", 2)
    place.live(2)
    monkeypatch.undo()
    place.finish()
    place.live(11)
    assert place.books("tmall")["stock"]["11"] == 17


def test_poll_over_budget_is_put_off_with_its_cursor_where_it_stood(
    place: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_budget(place, "tmall", monkeypatch)
    before = place.world.rows(select(t.cursors.c.value))
    ref = place.buys("tmall", ("11", 2))
    place.live(8)
    assert place.world.rows(select(t.cursors.c.value)) == before
    monkeypatch.undo()
    place.live(8)
    assert place.state(ref) == "shipped"


def test_stock_keeps_a_share_of_the_budget_to_itself(place: Town) -> None:
    with place.store.read() as tx:
        shop = place.hub.wired(tx, connection(place, "tmall")["id"])
    share = shop.connector.manifest.budget
    given = []
    while lease(place, budgets.Ask(1, share.per_s * (1 - share.share_for_stock), None)):
        given.append(1)
    kept = [lease(place, budgets.Ask(1, share.per_s, None)) for _ in range(9)]
    assert (len(given), sum(kept)) == (14, 6)


def test_daily_budget_opens_again_the_next_day(place: Town) -> None:
    a_day = budgets.Ask(5, per_s=10, per_day=3)
    assert [lease(place, a_day), lease(place, a_day)] == [3, 0]
    place.clock.wait(86_400)
    assert lease(place, a_day) == 3


def test_calls_of_one_round_are_leased_together_and_none_beyond_the_budget(
    place: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "time", SimpleNamespace(time=lambda: 1000.0))
    with place.store.read() as tx:
        shop, courier = (place.hub.wired(tx, connection(place, code)["id"]) for code in ("tmall", "courier"))
    purse, before = wiring.Purse(place.store), place.store.db.commits
    purse.fill([shop] * 9 + [courier] * 2, stock=True)
    assert place.store.db.commits == before + 1
    assert [purse.spend(shop, stock=True) for _ in range(9)] == [True] * 9
    assert [purse.spend(courier, stock=True) for _ in range(2)] == [True] * 2
    assert place.store.db.commits == before + 1
    purse.fill([shop] * 40 + [courier] * 40, stock=True)
    more = [purse.spend(shop, stock=True) for _ in range(40)]
    assert sum(more) == shop.connector.manifest.budget.per_s - 9


def test_paused_connection_is_not_called_and_goes_on_when_it_is_active_again(place: Town) -> None:
    place.store.write(lambda tx: set_state(tx, HUB, "tmall", "paused"))
    ref = place.buys("tmall", ("11", 2))
    place.world.counts("pen", 5)
    before = dict(place.faults["tmall"].calls)
    place.live(12)
    assert dict(place.faults["tmall"].calls) == before
    place.store.write(lambda tx: set_state(tx, HUB, "tmall", "active"))
    place.live(15)
    place.finish()
    assert place.state(ref) == "shipped"
    assert place.books("tmall")["stock"]["11"] == 13


def test_what_a_paused_connection_was_to_be_told_waits_without_a_scratch(place: Town) -> None:
    place.buys("tmall", ("11", 2))
    place.store.write(lambda tx: set_state(tx, HUB, "courier", "paused"))
    place.live(8)
    row = place.intent("send_booking")
    assert (row["state"], row["attempts"]) == ("waiting", 0)


def test_refused_call_is_parked_with_its_reason_and_goes_on_after_retry(place: Town) -> None:
    place.twins["wms"].control("setup", {"skus": ["ink"]})
    ref = place.buys("tmall", ("11", 2))
    other = place.buys("tmall", ("12", 1))
    place.world.counts("ink", 3)
    place.live(12)
    assert place.state(ref) == "released"
    [waits] = [row for row in _parked(place) if row["kind"] == "intent"]
    assert (waits["what"], waits["problem"], waits["fix"]) == ("send_delivery_order", "Refused", "retry")
    assert "商品pen不存在" in waits["reason"]
    assert "retry" in waits["buttons"]
    place.twins["wms"].control("setup", {"skus": ["ink", "pen"]})
    place.store.write(lambda tx: press(tx, HUB, "intent", waits["id"], "retry"))
    place.live(5)
    assert place.state(ref) == "shipped"
    assert place.state(other) in ("shipped", "short")


def _parked(place: Town):  # type: ignore[no-untyped-def]
    with place.store.read() as tx:
        return parked(tx, HUB)


def test_parked_call_holds_up_its_own_key_alone(place: Town) -> None:
    place.twins["wms"].control("setup", {"skus": ["pen"]})
    place.world.counts("ink", 5)
    stuck, free = place.buys("tmall", ("12", 2)), place.buys("tmall", ("11", 2))
    place.live(12)
    assert (place.state(stuck), place.state(free)) == ("released", "shipped")


def test_credentials_that_ran_out_park_the_call_with_the_button_that_renews_them(place: Town) -> None:
    place.twins["courier"].control("setup", {"checkword": "another-check-word-than-before!"})
    place.buys("tmall", ("11", 2))
    place.live(8)
    row = place.intent("send_booking")
    assert (row["state"], row["problem"], row["fix"]) == ("parked", "NotAuthorised", "authorise")


def test_lease_that_was_lost_changes_nothing_when_its_call_comes_back(place: Town) -> None:
    place.withheld = {"fulfilment"}
    place.buys("tmall", ("11", 2))
    place.live(8)
    [lost] = place.store.write(lambda tx: outbox.claim(tx, "fulfilment", 1, 30))
    place.clock.wait(31)
    place.store.write(lambda tx: outbox.expire(tx))
    assert place.store.write(lambda tx: outbox.done(tx, lost, "SF-LATE")) is False
    assert place.intent("send_booking")["state"] == "in_doubt"


def test_unknown_connection_of_an_intent_parks_it_and_spares_its_neighbours(place: Town) -> None:
    place.withheld = {"fulfilment"}
    ref = place.buys("tmall", ("11", 2))
    place.live(8)
    place.withheld = set()
    place.store.write(
        lambda tx: tx.conn.execute(
            update(t.outbox)
            .where(t.outbox.c.ability == "send_shipment", t.outbox.c.state == "waiting")
            .values(connection_id=1)
        )
    )
    place.live(5)
    assert place.state(ref) == "shipped"
