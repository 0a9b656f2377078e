"""While a source of a shop's levels is stale its figures may sink, not rise; heard again, what was held is told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from core.flow import mend_shops, publish_stock, reconcile, stale_sources
from core.flow.board import Board
from core.store import tables as t
from core.store.scope import HUB
from hub import polling
from hub.onboard.warehouses import Arrangement, arrange_warehouse
from tests.towns import town
from tests.unit.test_board import listing, tells
from tests.worlds import Clock, World, store, world
from web.reads.publishing import publishing


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        yield told_ten(world(it, clock))


def told_ten(hub: World) -> World:
    """Every shop shows the ten pens there are; vendure's orders and the warehouse's stock are read at intervals."""
    hub.counts("pen", 10)
    tells(hub, Board())
    reads(hub, hub.vendure, "fetch_orders", 900)
    reads(hub, hub.wms, "fetch_stock", 900)
    return hub


def reads(hub: World, connection: int, ability: str, fresh_s: float) -> None:
    """It was read, and counts as fresh for so long."""

    def work(tx):  # type: ignore[no-untyped-def]
        row = {"connection_id": connection, "ability": ability, "value": {}, "due_at": tx.now}
        times = {"read_until": tx.now, "stale_at": tx.now + timedelta(seconds=fresh_s)}
        tx.conn.execute(
            t.cursors.delete().where(t.cursors.c.connection_id == connection, t.cursors.c.ability == ability)
        )
        tx.add(t.cursors, [{**row, **times}])

    hub.store.write(work)


def shows(hub: World) -> int:
    """Pens vendure was told of."""
    return int(hub.row(t.shelves, listing_id=listing(hub, hub.vendure))["told"])


def waits(hub: World, seconds: float) -> None:
    assert hub.clock is not None
    hub.clock.wait(seconds)


def stale(hub: World) -> dict[int, str]:
    with hub.store.read() as tx:
        return stale_sources.stale(tx, [hub.tmall, hub.vendure, hub.beta_shop])


def test_while_its_orders_are_stale_a_shop_sinks_and_does_not_rise(hub: World) -> None:
    reads(hub, hub.wms, "fetch_stock", 10**6)
    waits(hub, 901)
    assert stale(hub) == {hub.vendure: "orders"}
    hub.counts("pen", 5)
    tells(hub, Board())
    assert shows(hub) == 10
    hub.counts("pen", -8)
    tells(hub, Board())
    assert shows(hub) == 7
    tmall = hub.row(t.shelves, listing_id=listing(hub, hub.tmall))
    assert tmall["told"] == 7


def test_stale_stock_of_a_warehouse_holds_every_shop_that_sells_from_it(hub: World) -> None:
    reads(hub, hub.vendure, "fetch_orders", 10**6)
    waits(hub, 901)
    assert stale(hub) == dict.fromkeys((hub.tmall, hub.vendure, hub.beta_shop), "stock")
    hub.counts("pen", 5)
    tells(hub, Board())
    assert shows(hub) == 10


def test_what_was_held_is_told_once_the_source_is_heard_again(hub: World) -> None:
    waits(hub, 901)
    hub.counts("pen", 5)
    tells(hub, Board())
    reads(hub, hub.vendure, "fetch_orders", 900)
    reads(hub, hub.wms, "fetch_stock", 900)
    hub.store.write(lambda tx: stale_sources.heard(tx, hub.wms, "fetch_stock"))
    tells(hub, Board())
    assert (stale(hub), shows(hub)) == ({}, 15)


def test_what_was_held_is_told_once_another_source_rules_the_warehouse(hub: World) -> None:
    reads(hub, hub.vendure, "fetch_orders", 10**6)
    waits(hub, 901)
    hub.counts("pen", 5)
    tells(hub, Board())
    assert shows(hub) == 10
    hub.store.write(lambda tx: arrange_warehouse(tx, HUB, "east", Arrangement(authority="erp")))
    tells(hub, Board())
    assert (stale(hub), shows(hub)) == ({hub.tmall: "stock"}, 15)


def test_a_write_computed_while_a_source_is_stale_does_not_raise_either(hub: World) -> None:
    hub.counts("pen", 5)
    hub.store.write(publish_stock.take_marks)
    waits(hub, 901)
    tells(hub, Board())
    assert shows(hub) == 10


def test_what_is_held_is_no_drift_without_a_cause_and_the_page_names_the_source(hub: World) -> None:
    waits(hub, 901)
    hub.counts("pen", 5)
    tells(hub, Board())
    with hub.store.read() as tx:
        rows = reconcile.shops(tx, HUB, mend_shops.suspects(tx, Board()))
        page = publishing(tx, HUB)
    causes = {row["connection"]: [c["cause"] for c in row["causes"]] for row in rows if row["listing"] == "pen"}
    assert causes["vendure"] == ["stale_source"]
    assert {row["connection"]: row["stale"] for row in page["rows"]}["vendure"] == "orders"


def test_a_poll_says_until_when_it_is_fresh_and_marks_what_was_held(tmp_path: Path) -> None:
    with town(tmp_path, "vendure") as place:
        place.live()
        shop = place.world.vendure
        cursor = place.world.row(t.cursors, connection_id=shop, ability="fetch_orders")
        assert cursor["stale_at"] > cursor["read_until"]
        with place.store.read() as tx:
            assert stale_sources.stale(tx, [shop]) == {}
        past = {"stale_at": cursor["read_until"] - timedelta(days=1), "due_at": cursor["read_until"]}
        mine = (t.cursors.c.connection_id == shop) & (t.cursors.c.ability == "fetch_orders")
        place.store.write(lambda tx: tx.conn.execute(t.cursors.update().where(mine).values(**past)))
        place.store.write(lambda tx: tx.conn.execute(t.marks.delete()))
        polling.poll_due(place.hub, place.pool)
        assert place.world.rows(t.marks.select())
