"""Advice on buffers from what a hub has recorded: pools rebuilt from the journal, sales, lags, and what bounds it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, insert, update

from core.errors import Unfit, Unmatched
from core.flow import advise_buffer, channel_policy, pool_steps, saleable
from core.flow.advise_buffer import Asked
from core.flow.channel_policy import Scope as PolicyScope
from core.flow.pool_steps import Pools
from core.store import tables as t
from core.store.scope import HUB, Scope
from tests.unit.test_kits import kit
from tests.worlds import Clock, World, closed, minutes, order, share, store, world

NONE_AT_ALL = Asked(share=Decimal(0))


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        yield world(it, clock)


def sells(hub: World, shop: str, ref: str, units: int, sku: str = "pen", wait: float = 1.0) -> None:
    """A shop sells this and we hear of it at once."""
    assert hub.clock
    hub.takes(order(ref, (sku, units), placed_at=hub.clock.now), at=getattr(hub, shop))
    hub.clock.wait(wait)


def arrive(hub: World, pens: int) -> None:
    """Pens come, and every shop has been told of them."""
    assert hub.clock
    hub.counts("pen", pens)
    hub.clock.wait(120)


def lags(hub: World, bucket_ms: int = 60_000, calls: int = 10) -> None:
    """So many calls told tmall within that time what had moved."""
    assert hub.clock
    row = {"connection_id": hub.tmall, "minute": hub.clock.now, "bucket_ms": bucket_ms, "calls": calls}
    hub.store.write(lambda tx: tx.conn.execute(insert(t.publish_lags), row))


def three_too_many(hub: World) -> None:
    """tmall sells 20 pens one by one; vendure sells 3 of the last 10, and tmall all 10 before it is told."""
    arrive(hub, 30)
    for n in range(20):
        sells(hub, "tmall", f"O{n}", 1)
    sells(hub, "vendure", "V1", 3, wait=10)
    sells(hub, "tmall", "O99", 10)
    lags(hub)


def advice(hub: World, asked: Asked = NONE_AT_ALL, scope: Scope = HUB) -> list[dict[str, Any]]:
    with hub.store.read() as tx:
        return list(advise_buffer.all_advice(tx, scope, asked))


def of(hub: World, shop: str = "tmall", listing: str = "pen", **asked: Any) -> dict[str, Any]:
    rows = advice(hub, Asked(**{"share": Decimal(0), **asked}))
    return next(row for row in rows if (row["connection"], row["listing"]) == (shop, listing))


def test_three_units_the_shop_had_not_been_told_of_advise_a_buffer_of_three(hub: World) -> None:
    three_too_many(hub)
    found = of(hub)
    assert (found["reason"], found["current"], found["buffer"]) == ("raise", 0, 3)
    assert (found["sales"], found["sold"], found["oversold"], found["replayed"]) == (21, 30, 3, 3.0)
    assert (found["would_be"], found["refused"], found["withheld"]) == (0.0, 3.0, 0.0)
    assert (found["lag_p50_ms"], found["lag_p95_ms"], found["sku"]) == (60_000, 60_000, "pen")
    assert (found["low"], found["high"]) == (0, 3)
    assert of(hub, "vendure")["reason"] == "few_sales"


def test_the_advice_changes_nothing(hub: World) -> None:
    three_too_many(hub)
    of(hub)
    assert hub.rows(t.policies.select()) == []
    assert {row["buffer"] for row in hub.rows(t.listings.select())} == {0}


def test_the_buffer_that_stands_is_its_policys_else_its_listings(hub: World) -> None:
    three_too_many(hub)
    ident = hub.row(t.listings, connection_id=hub.tmall, ref="pen")["id"]
    hub.store.write(lambda tx: tx.set(t.listings, ident, buffer=3))
    assert (of(hub)["current"], of(hub)["reason"]) == (3, "keep")
    assert hub.clock
    hub.counts("pen", 9)
    hub.clock.wait(86_400)
    assert of(hub)["withheld"] == 0.4

    def stand(tx: Any) -> None:
        scope = PolicyScope(hub.alpha, hub.tmall)
        channel_policy.activate(tx, channel_policy.propose(tx, scope, {"buffer": 5}, None, "anna"), "anna")

    hub.store.write(stand)
    assert (of(hub)["current"], of(hub)["reason"], of(hub)["replayed"]) == (5, "lower", 0.0)


def test_without_a_measured_lag_nothing_is_advised(hub: World) -> None:
    three_too_many(hub)
    hub.store.write(lambda tx: tx.conn.execute(t.publish_lags.delete()))
    assert (of(hub)["reason"], of(hub)["buffer"], of(hub)["lag_p95_ms"]) == ("no_lags", None, None)


def test_a_shop_that_is_told_at_once_needs_no_buffer_and_had_another_cause(hub: World) -> None:
    three_too_many(hub)
    hub.store.write(lambda tx: tx.conn.execute(update(t.publish_lags).values(bucket_ms=1000)))
    assert (of(hub)["reason"], of(hub)["buffer"]) == ("other_causes", 0)


def test_what_was_called_off_is_not_gone(hub: World) -> None:
    assert hub.clock
    arrive(hub, 25)
    for n in range(20):
        sells(hub, "tmall", f"O{n}", 1)
    sells(hub, "tmall", "O98", 5, wait=60)
    hub.takes(closed("O98", ("pen", 5), placed_at=hub.clock.now - timedelta(seconds=60)))
    hub.clock.wait(1)
    sells(hub, "tmall", "O99", 5)
    lags(hub)
    found = of(hub)
    assert (found["reason"], found["oversold"], found["replayed"], found["refused"]) == ("keep", 0, 0.0, 0.0)


def test_goods_of_an_owner_who_lends_by_quota_are_not_replayed(hub: World) -> None:
    three_too_many(hub)
    hub.store.write(lambda tx: share(tx, hub.beta, hub.alpha, {hub.pen: {"units": 5}}, ref="C2"))
    assert (of(hub)["reason"], of(hub)["buffer"]) == ("quota", None)


def test_each_merchant_is_advised_on_its_own_shops(hub: World) -> None:
    shops = {row["connection"] for row in advice(hub, scope=Scope("merchant", hub.beta))}
    assert shops == {"beta_shop"}
    assert {row["connection"] for row in advice(hub, Asked("vendure"))} == {"vendure"}
    with pytest.raises(Unmatched, match="there is no shop 'tmall'"):
        advice(hub, Asked("tmall"), Scope("merchant", hub.beta))
    with pytest.raises(Unmatched, match="there is no shop 'wms'"):
        advice(hub, Asked("wms"))


@pytest.mark.parametrize("days", [0, 32])
def test_days_that_cannot_be_looked_back_on(hub: World, days: int) -> None:
    with pytest.raises(Unfit, match="say 1 to 31"):
        advice(hub, Asked(days=days))


def test_a_share_is_said_in_per_cent() -> None:
    assert (advise_buffer.share_of("0.1%"), advise_buffer.share_of(" 2 ")) == (Decimal("0.001"), Decimal("0.02"))
    for text in ("some", "-1%", "101", "NaN"):
        with pytest.raises(Unfit, match=r"write it like 0\.1%"):
            advise_buffer.share_of(text)


def rebuilt(hub: World, shop: str, listing: str, back: float = 60 * 24) -> tuple[Any, int, list[int]]:
    """(since when, what there was then, what there was after each move since) of a listing's pool."""
    with hub.store.read() as tx:
        rows = advise_buffer._listings(tx, HUB, shop, 0, 50)
        pools = Pools(tx, rows, tx.now - timedelta(minutes=back))
        first, steps = pools.steps(next(row for row in rows if row["listing"] == listing), set())
    return pools.since, first, [step.there for step in steps]


def reached(hub: World, shop: str, listing: str) -> int:
    with hub.store.read() as tx:
        rows = [row for row in advise_buffer._listings(tx, HUB, shop, 0, 50) if row["listing"] == listing]
        return saleable.reach(tx, rows)[0].free


def test_a_pool_is_rebuilt_as_it_was_and_ends_as_it_stands(hub: World) -> None:
    assert hub.clock
    hub.counts("pen", 7)
    hub.clock.wait(3600)
    hub.counts("pen", 4, warehouse="west")
    sells(hub, "beta_shop", "B1", 2)
    hub.counts("pen", -7)
    assert rebuilt(hub, "tmall", "pen")[1:] == (0, [7, 11, 9, 4])
    assert rebuilt(hub, "tmall", "pen", back=30)[1:] == (7, [11, 9, 4])
    assert rebuilt(hub, "vendure", "pen")[1:] == (0, [7, 5, 0])
    assert (reached(hub, "tmall", "pen"), reached(hub, "vendure", "pen")) == (4, 0)


def test_a_kits_pool_is_what_its_parts_make_whole(hub: World) -> None:
    kit(hub)
    hub.counts("pen", 5)
    hub.counts("ink", 9)
    hub.counts("pen", -2)
    _, _, there = rebuilt(hub, "tmall", "set")
    assert there[-1] == reached(hub, "tmall", "set")
    assert len(there) == 2


def test_where_too_much_moved_the_newest_of_it_is_looked_at(hub: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub.clock
    for _ in range(5):
        hub.counts("pen", 2)
        hub.clock.wait(60)
    monkeypatch.setattr(pool_steps, "MOST_MOVES", 2)
    since, first, there = rebuilt(hub, "tmall", "pen")
    assert (since, first, there) == (minutes(2), 6, [8, 10])


def test_many_listings_take_no_more_queries_than_one(hub: World) -> None:
    three_too_many(hub)
    asked: list[str] = []
    event.listen(hub.store.db._readers, "before_cursor_execute", lambda *args: asked.append(args[2]))
    with hub.store.read() as tx:
        (one,) = advise_buffer.advise(tx, HUB, Asked("beta_shop"))
        alone = [query for query in asked if query != "BEGIN"]
        asked.clear()
        rows = advise_buffer.advise(tx, HUB, Asked())
    assert (len(rows), one["connection"]) == (5, "beta_shop")
    assert len(asked) == len(alone) - 1, "but for the query that finds the shop"
