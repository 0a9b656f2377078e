"""A shop that takes a level only over the figure we expect: what it shows instead is read, then written over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from connectors.registry import Connector
from core.flow import publish_stock
from core.store import tables as t
from core.store.scope import HUB
from hub import outward
from hub.onboard.connections import NewConnection, add_connection
from hub.onboard.goods import NewListing, NewListings, add_listings
from hub.wiring import Hub, Options, meaning
from sandbox.contract.stage import Aimed
from sandbox.twin import Server
from tests.worlds import Clock, World, store, world

MANIFEST, TWIN = "connectors/sales/tiny/connector.yaml", "sandbox/sales/tiny.py"
MAPPING = "mappings/sales/tiny/stock.yaml"
COMPARES = (
    (MANIFEST, "forms: [set]", "decrements_at: create, forms: [compare, read_set]"),
    (MANIFEST, "  slow: Throttled\n", "  slow: Throttled\n  moved: Mismatch\n"),
    (
        MAPPING,
        "  count: quantity | number\n",
        "  count: quantity | number\n  was: expected? | number | when(form, compare)\n",
    ),
    (
        TWIN,
        "        with self.lock:\n",
        """        if call.json.get("was", self.shown.get(call.json.get("id"))) != self.shown.get(call.json.get("id")):
            self.moved += 1
            return Answer('{"error": "moved"}')
        with self.lock:
""",
    ),
    (TWIN, "        self.changes = 0\n", "        self.changes = self.moved = 0\n"),
)


@dataclass
class Place:
    """The hub, its books and the shop."""

    hub: Hub
    world: World
    twin: Any
    pool: ThreadPoolExecutor

    def says(self) -> None:
        """What moved is told."""
        self.world.store.write(publish_stock.take_marks)
        while outward.drain(self.hub, "stock", self.pool):
            continue


@pytest.fixture
def place(tmp_path: Path, shop: Callable[..., Connector]) -> Iterator[Place]:
    """Ten pens in the east, and the compare-speaking shop shows them."""
    meaning.cache_clear()
    module = import_module(shop(*COMPARES).twin)
    twin = module.make(Aimed())
    with _served(twin) as url, store(tmp_path, clock=(clock := Clock())) as it, ThreadPoolExecutor(2) as pool:
        books = world(it, clock)
        settings = {**module.SETTINGS, **module.SECRETS, "base_url": url}
        new = NewConnection(code="tiny", connector="sales/tiny", merchant="alpha", settings=settings, pool=("east",))
        pen = NewListings(connection="tiny", listings=(NewListing(ref="P1", item="pen", owner="alpha"),))
        for code in ("tmall", "vendure", "beta_shop"):
            ident = books.row(t.connections, code=code)["id"]
            it.write(lambda tx, ident=ident: tx.set(t.connections, ident, state="paused"))
        it.write(lambda tx: add_connection(tx, HUB, new))
        it.write(lambda tx: add_listings(tx, HUB, pen))
        books.counts("pen", 10)
        found = Place(Hub(it, Options(allow=("127.0.0.0/8",))), books, twin, pool)
        found.says()
        it.write(lambda tx: tx.conn.execute(t.shelves.update().values(doubt=False)))
        assert twin.shown == {"P1": 10}
        yield found
    meaning.cache_clear()


@contextmanager
def _served(twin: Any) -> Iterator[str]:
    server = Server(twin, twin.faults)
    try:
        yield server.url
    finally:
        server.stop()


def test_a_level_over_the_figure_we_expect_is_one_call(place: Place) -> None:
    place.world.counts("pen", 5)
    place.says()
    assert (place.twin.shown, place.twin.moved, place.twin.faults.calls["fetch_stock"]) == ({"P1": 15}, 0, 1)


def test_what_a_shop_shows_instead_is_read_and_written_over_at_once(place: Place) -> None:
    """Three are sold there and not heard of, five come in: of fifteen it may show twelve."""
    place.twin.shown["P1"] -= 3
    place.world.counts("pen", 5)
    place.says()
    listing = place.world.row(t.listings, ref="P1")["id"]
    shelf = place.world.row(t.shelves, listing_id=listing)
    assert (place.twin.shown, place.twin.moved) == ({"P1": 12}, 1)
    assert (shelf["told"], shelf["doubt"], shelf["unknown"]) == (15, True, False)
    (last,) = place.world.rows(t.outbox.select().order_by(t.outbox.c.id.desc()).limit(1))
    assert (last["state"], last["attempts"], last["problem"]) == ("done", 2, None)
