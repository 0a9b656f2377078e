"""The level board says what `saleable` says, and only what shops do not show already becomes a write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from connectors.spi import Ability
from core.errors import Refused
from core.flow import channel_policy, note_told, publish_stock, saleable
from core.flow.board import Board
from core.flow.channel_policy import Scope
from core.flow.journeys import decide
from core.flow.lock_stock import Line, Lock
from core.rules.levels import LAG_BUFFER
from core.store import outbox
from core.store import tables as t
from core.store.scope import HUB
from hub.onboard.connections import Change, change_connection, set_state
from hub.onboard.goods import NewItem, NewItems, NewListing, NewListings, add_items, add_listings
from hub.onboard.kits import Recipe, set_parts
from tests.worlds import Clock, World, in_memory, minutes, order, share, store, world


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        yield world(it, clock)


def by_board(hub: World, board: Board) -> dict[int, int]:
    """Listing id → what it may show, of all."""
    with hub.store.read() as tx:
        board.look(tx)
        found = board.all()
        levels = board.targets(tx, found)
    return {
        ident: level
        for some, level_of in zip(found, levels, strict=True)
        for ident, level in zip(some.ids.tolist(), level_of.tolist(), strict=True)
    }


def by_rule(hub: World) -> dict[int, int]:
    with hub.store.read() as tx:
        return saleable.targets(tx, tx.rows(select(t.listings)))


def runs(hub: World, board: Board) -> None:
    hub.store.write(lambda tx: publish_stock.take_marks(tx, board=board))


def waits(hub: World) -> list[Any]:
    """Levels that are to be said, oldest first."""
    o = t.outbox.c
    waiting = select(t.outbox).where(o.ability == "send_stock", o.state == "waiting")
    return list(hub.rows(waiting.order_by(o.id)))


def claims(hub: World) -> list[Any]:
    """What waits is taken up and computed: (intent, what it says)."""

    def take(tx: Any) -> list[Any]:
        rows = [row for row in outbox.claim(tx, "stock", 50, 60) if row["ability"] == "send_stock"]
        return [(row, publish_stock.compute(tx, row)) for row in rows]

    return hub.store.write(take)


def lands(hub: World, *claimed: Any) -> None:
    """The calls are answered."""
    for row, said in claimed:
        hub.store.write(lambda tx, r=row, s=said: outbox.done(tx, r) and note_told.told(tx, s))


def tells(hub: World, board: Board) -> None:
    """Everything is told."""
    runs(hub, board)
    while claimed := claims(hub):
        lands(hub, *claimed)


policy = st.fixed_dictionaries(
    {"share": st.integers(0, 100)},
    optional={
        "floor": st.integers(0, 5),
        "cap": st.integers(5, 9),
        "reserve": st.integers(0, 4),
        "buffer": st.integers(0, 4),
    },
)
moves = st.one_of(
    st.tuples(
        st.just("count"), st.sampled_from(["pen", "ink"]), st.integers(-9, 12), st.sampled_from(["east", "west"])
    ),
    st.tuples(st.just("policy"), policy, st.sampled_from(["merchant", "shop", "listing"])),
    st.tuples(st.just("exclusive"), st.integers(1, 3), st.sampled_from(["pen", "set", "box"]), st.integers(0, 2)),
    st.tuples(st.just("lock"), st.integers(1, 4)),
    st.tuples(st.just("contract"), st.integers(1, 6)),
    st.tuples(st.just("kit"), st.integers(1, 3)),
    st.tuples(st.just("pack"), st.integers(2, 5)),
    st.tuples(st.just("pool"), st.booleans()),
    st.tuples(st.just("blind"), st.integers(0, 3)),
)
"""Whatever a level depends on, changed through the doors that change it."""


def stands(hub: World, scope: Scope, terms: dict[str, int]) -> None:
    def work(tx: Any) -> None:
        channel_policy.activate(tx, channel_policy.propose(tx, scope, terms, None, "anna"), "anna")

    hub.store.write(work)


def listing(hub: World, shop: int, ref: str = "pen") -> int:
    return int(hub.row(t.listings, connection_id=shop, ref=ref)["id"])


def moved(hub: World, kind: str, *said: Any) -> None:
    """One of these moves."""
    match kind, *said:
        case "count", sku, units, warehouse:
            hub.counts(sku, units, warehouse)
        case "policy", terms, width:
            one = listing(hub, hub.tmall) if width == "listing" else None
            stands(hub, Scope(hub.alpha, None if width == "merchant" else hub.tmall, one), terms)
        case "exclusive", units, ref, priority:
            shop = hub.tmall if ref == "set" else hub.vendure
            if ref != "pen":
                hub.store.write(lambda tx: kitted(tx, units))
            hub.counts("pen", 6 * units)
            hub.counts("ink", 2 * units)
            with suppress(Refused):  # where as many are missing
                stands(hub, Scope(hub.alpha, shop, listing(hub, shop, ref)), {"exclusive": units, "priority": priority})
        case "lock", units:
            hub.counts("ink", units)
            lines = (Line(hub.ink, hub.east, units),)
            ref = f"L{uuid4().hex}"
            command = Lock(hub.alpha, ref, "campaign", hub.tmall, lines, who="anna", ends_at=minutes(60))
            hub.store.write(lambda tx: decide(tx, [command]))
        case "contract", units:
            hub.store.write(lambda tx: share(tx, hub.alpha, hub.beta, {hub.pen: {"units": units}}, f"K{tx.ids.new()}"))
        case "kit", units:
            hub.store.write(lambda tx: kitted(tx, units))
        case "pack", pack:
            new = NewListing(ref="ink", item="ink", owner="alpha", pack=pack)
            listings = NewListings(connection="tmall", listings=(new,))
            hub.store.write(lambda tx: add_listings(tx, HUB, listings))
        case "blind", units:
            blinded(hub, hub.tmall, units)
        case "pool", both:
            change = Change(pool=("east", "west") if both else ("west",))
            hub.store.write(lambda tx: change_connection(tx, HUB, "vendure", change))


def blinded(hub: World, shop: int, units: int = 1) -> None:
    """This shop can be told levels alone, and is told so many units less."""
    can = hub.row(t.connections, id=shop)["can"]
    can = {**can, "send_stock": {**can["send_stock"], "forms": ["set"], "lag_buffer": units}}
    hub.store.write(lambda tx: tx.set(t.connections, shop, can=can))


def kitted(tx: Any, units: int) -> None:
    """tmall sells a set of pens and an ink, vendure a box of two pens."""
    for sku, shop, parts in (("set", "tmall", {"pen": units, "ink": 1}), ("box", "vendure", {"pen": 2})):
        add_items(tx, HUB, NewItems(owner="alpha", items=(NewItem(sku=sku, name=sku),)))
        set_parts(tx, HUB, sku, Recipe(owner="alpha", parts=parts))
        new = NewListing(ref=sku, item=sku, owner="alpha", product=f"P{sku}")
        add_listings(tx, HUB, NewListings(connection=shop, listings=(new,)))


@given(story=st.lists(moves, min_size=1, max_size=8))
def test_a_board_that_is_kept_says_what_the_rule_says_whatever_changes(story: list[tuple[Any, ...]]) -> None:
    clock, board = Clock(), Board()
    with in_memory() as folder, store(folder, clock=clock) as it:
        hub = world(it, clock)
        for move in story:
            moved(hub, *move)
            assert by_board(hub, board) == by_rule(hub), move


@given(story=st.lists(moves, min_size=1, max_size=6), sku=st.sampled_from(["pen", "ink"]), units=st.integers(1, 9))
def test_more_goods_never_show_less(story: list[tuple[Any, ...]], sku: str, units: int) -> None:
    clock = Clock()
    with in_memory() as folder, store(folder, clock=clock) as it:
        hub = world(it, clock)
        for move in story:
            moved(hub, *move)
        before = by_rule(hub)
        hub.counts(sku, units)
        after = by_rule(hub)
    assert {ident: (n, after[ident]) for ident, n in before.items() if after[ident] < n} == {}


def test_a_shops_own_sale_makes_no_write(hub: World) -> None:
    board = Board()
    hub.counts("pen", 10)
    tells(hub, board)
    hub.takes(order("A", ("pen", 2)))
    runs(hub, board)
    told = {ident for row in waits(hub) for ident in row["payload"]["listings"]}
    assert told == {listing(hub, hub.vendure), listing(hub, hub.beta_shop)}


def test_while_a_write_is_on_its_way_a_level_that_came_back_is_said_again(hub: World) -> None:
    """Told 10; 12 is on its way when two are sold elsewhere: 10 is not skipped because 10 was told last."""
    board = Board()
    hub.counts("pen", 10)
    tells(hub, board)
    hub.counts("pen", 2)
    runs(hub, board)
    under_way = claims(hub)
    hub.counts("pen", -2)
    runs(hub, board)
    lands(hub, *under_way)
    tells(hub, board)
    shelf = hub.row(t.shelves, listing_id=listing(hub, hub.vendure))
    assert shelf["told"] == 10


def test_what_moved_while_a_shop_was_paused_is_told_when_it_goes_on(hub: World) -> None:
    board = Board()
    hub.counts("pen", 10)
    tells(hub, board)
    hub.store.write(lambda tx: set_state(tx, HUB, "vendure", "paused"))
    hub.counts("pen", -3)
    tells(hub, board)
    assert hub.row(t.shelves, listing_id=listing(hub, hub.vendure))["told"] == 10
    hub.store.write(lambda tx: set_state(tx, HUB, "vendure", "active"))
    tells(hub, board)
    assert hub.row(t.shelves, listing_id=listing(hub, hub.vendure))["told"] == 7


def test_a_mark_that_joins_a_waiting_write_makes_no_second_one(hub: World) -> None:
    board = Board()
    hub.counts("pen", 10)
    runs(hub, board)
    before = [row["id"] for row in waits(hub)]
    hub.counts("ink", 4)
    runs(hub, board)
    assert [row["id"] for row in waits(hub)] == before
    (tmall,) = [row["payload"]["listings"] for row in waits(hub) if row["connection_id"] == hub.tmall]
    assert len(tmall) == 3


def test_a_blind_shop_is_told_a_listing_unit_less_unless_a_policy_says_another_buffer(hub: World) -> None:
    """Of ten pens and ten inks in packs of two: 9 and 4; under a policy with a buffer of three or of none 7 or 10."""
    moved(hub, "pack", 2)
    hub.counts("pen", 10)
    hub.counts("ink", 10)
    pen, ink = listing(hub, hub.tmall), listing(hub, hub.tmall, "ink")
    assert (by_rule(hub)[pen], by_rule(hub)[ink]) == (10, 5)
    blinded(hub, hub.tmall)
    assert (by_rule(hub)[pen], by_rule(hub)[ink]) == (9, 4)
    for units, shown in ((3, 7), (0, 10)):
        stands(hub, Scope(hub.alpha, hub.tmall), {"buffer": units})
        assert by_rule(hub)[pen] == shown


def test_a_blind_shop_is_told_what_a_manifest_says_less_or_one(hub: World) -> None:
    assert Ability(mark="A", fact="", forms=("set",)).lag_buffer == LAG_BUFFER == 1
    blinded(hub, hub.tmall, 4)
    hub.counts("pen", 10)
    assert by_rule(hub)[listing(hub, hub.tmall)] == 6
