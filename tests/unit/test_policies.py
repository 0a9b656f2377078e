"""Channel policies: what listings may show by them, looked at before they stand, over at their day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, select

from core.errors import Refused, Unfit
from core.flow import channel_policy, saleable
from core.flow.channel_policy import Scope
from core.flow.journeys import decide
from core.flow.lock_stock import Line, Lock
from core.rules.channels import Bound, Claimed, Place, Policy, There, beside, granted, shown
from core.store import policies, shelves
from core.store import tables as t
from core.store.ledger import CellKey, Entry, Ledger
from core.store.scope import HUB
from core.store.store import Transaction
from hub.onboard.connections import set_state
from tests.unit.test_kits import kit, made_of
from tests.worlds import MONDAY, Clock, World, order, store, world


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    """Ten of alpha's pens lie in the east; tmall, vendure and beta's shop sell them."""
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        made = world(it, clock)
        made.counts("pen", 10)
        yield made


def listing(hub: World, shop: str) -> int:
    return int(hub.row(t.listings, connection_id=getattr(hub, shop), item_id=hub.pen)["id"])


def proposes(hub: World, scope: Scope, end_at: Any = None, **terms: int) -> int:
    return hub.store.write(lambda tx: channel_policy.propose(tx, scope, terms, end_at, "anna"))


def stands(hub: World, scope: Scope, end_at: Any = None, **terms: int) -> int:
    ident = proposes(hub, scope, end_at, **terms)
    hub.store.write(lambda tx: channel_policy.activate(tx, ident, "anna"))
    return ident


def of(hub: World, shop: str = "") -> Scope:
    """A policy of alpha's for one listing of pens, or for all of alpha's."""
    if not shop:
        return Scope(hub.alpha)
    merchant = hub.beta if shop == "beta_shop" else hub.alpha
    return Scope(merchant, getattr(hub, shop), listing(hub, shop))


def shows(hub: World) -> tuple[int, int, int]:
    """Pens that tmall, vendure and beta's shop may show."""
    with hub.store.read() as tx:
        rows = tx.rows(select(t.listings).where(t.listings.c.item_id == hub.pen))
        found = saleable.targets(tx, rows)
    return tuple(found[listing(hub, shop)] for shop in ("tmall", "vendure", "beta_shop"))  # type: ignore[return-value]


def test_without_a_policy_every_shop_shows_all_there_is(hub: World) -> None:
    assert shows(hub) == (10, 10, 10)


@pytest.mark.parametrize(
    ("terms", "figure"),
    [
        ({"share": 50}, 5),
        ({"share": 33}, 3),
        ({"share": 10, "floor": 4}, 4),
        ({"floor": 40}, 10),
        ({"cap": 6}, 6),
        ({"reserve": 4}, 6),
        ({"reserve": 4, "share": 50}, 3),
        ({"buffer": 3}, 7),
        ({"buffer": 8, "floor": 5}, 5),
        ({"share": 0}, 0),
    ],
)
def test_one_listing_by_its_terms(hub: World, terms: dict[str, int], figure: int) -> None:
    stands(hub, of(hub, "tmall"), **terms)
    assert shows(hub) == (figure, 10, 10)


def test_the_most_specific_policy_stands(hub: World) -> None:
    stands(hub, of(hub), share=50)
    assert shows(hub) == (5, 5, 10)
    stands(hub, Scope(hub.alpha, hub.tmall), share=40)
    assert shows(hub) == (4, 5, 10)
    narrow = stands(hub, of(hub, "tmall"), cap=9)
    assert shows(hub) == (9, 5, 10)
    hub.store.write(lambda tx: channel_policy.withdraw(tx, narrow))
    assert shows(hub) == (4, 5, 10)


def test_exclusive_units_are_left_alone_by_the_others_and_the_higher_priority_gets_them_first(hub: World) -> None:
    stands(hub, of(hub, "tmall"), exclusive=4)
    assert shows(hub) == (10, 6, 6)
    stands(hub, of(hub, "vendure"), exclusive=5, priority=1)
    assert shows(hub) == (5, 6, 1)
    hub.takes(order("O1", ("pen", 4)))
    assert shows(hub) == (1, 5, 0)


def test_what_a_lock_keeps_for_a_shop_is_outside_its_share(hub: World) -> None:
    lock = Lock(
        hub.alpha, "L1", "campaign", hub.tmall, (Line(hub.pen, hub.east, 4),), "anna", None, MONDAY + timedelta(9)
    )
    hub.store.write(lambda tx: decide(tx, [lock]))
    stands(hub, of(hub, "tmall"), share=50)
    assert shows(hub) == (3 + 4, 6, 6)
    stands(hub, of(hub, "tmall"), cap=5)
    assert shows(hub) == (5, 6, 6)


def test_who_sells_anothers_goods_keeps_none_from_their_owner(hub: World) -> None:
    stands(hub, of(hub, "beta_shop"), exclusive=6)
    assert shows(hub) == (10, 10, 10)
    stands(hub, of(hub, "tmall"), exclusive=4)
    assert shows(hub) == (10, 6, 6)


def test_a_preview_says_who_shows_what_and_changes_nothing(hub: World) -> None:
    ident = proposes(hub, of(hub, "tmall"), share=50, exclusive=3)
    with hub.store.read() as tx:
        row = hub.row(t.policies, id=ident)
        changes = {one["id"]: (one["now"], one["then"]) for one in channel_policy.preview(tx, row)}
        overlaps = channel_policy.overlap(tx, [hub.pen]), channel_policy.overlap(tx, [hub.pen], [row])
    assert changes == {
        listing(hub, "tmall"): (10, 5), listing(hub, "vendure"): (10, 7), listing(hub, "beta_shop"): (10, 7)
    }  # fmt: skip
    assert (overlaps[0][hub.pen], overlaps[1][hub.pen]) == ((36, 10), (25, 10))
    assert shows(hub) == (10, 10, 10)


def test_a_new_version_replaces_the_former_and_history_stays(hub: World) -> None:
    first = stands(hub, of(hub, "tmall"), share=50)
    second = stands(hub, of(hub, "tmall"), share=60)
    rows = hub.rows(select(t.policies).order_by(t.policies.c.version))
    assert [(r["id"], r["version"], r["state"]) for r in rows] == [(first, 1, "replaced"), (second, 2, "active")]
    with pytest.raises(Refused, match="version 1 is replaced"):
        hub.store.write(lambda tx: channel_policy.activate(tx, first, "anna"))
    hub.store.write(lambda tx: channel_policy.activate(tx, second, "anna"))
    assert shows(hub)[0] == 6


def test_it_is_over_at_its_day_and_shops_are_told(hub: World) -> None:
    assert hub.clock
    stands(hub, of(hub), share=50)
    stands(hub, of(hub, "tmall"), MONDAY + timedelta(minutes=10), share=20)
    assert shows(hub) == (2, 5, 10)
    hub.store.write(lambda tx: tx.conn.execute(delete(t.marks)))
    hub.clock.wait(601)
    assert shows(hub) == (5, 5, 10)
    with hub.store.read() as tx:
        assert channel_policy.any_due(tx)
    assert hub.store.write(channel_policy.turn) == 1
    assert hub.rows(select(t.marks))
    with hub.store.read() as tx:
        assert not channel_policy.any_due(tx)


def test_activating_marks_what_it_is_about(hub: World) -> None:
    hub.store.write(lambda tx: tx.conn.execute(delete(t.marks)))
    ident = proposes(hub, of(hub, "tmall"), share=50)
    assert hub.rows(select(t.marks)) == []
    hub.store.write(lambda tx: channel_policy.activate(tx, ident, "anna"))
    assert [row["items"] for row in hub.rows(select(t.marks))] == [[hub.pen]]


def test_of_kits_whole_ones_are_counted(hub: World) -> None:
    kit(hub)
    hub.counts("ink", 5)
    row = hub.row(t.listings, ref="set")
    stands(hub, Scope(hub.alpha, row["connection_id"], row["id"]), share=50)
    with hub.store.read() as tx:
        assert saleable.targets(tx, [row]) == {row["id"]: 2}


@pytest.mark.parametrize(
    ("terms", "why"),
    [
        ({}, "say at least one"),
        ({"share": 101}, "a share of 101 %"),
        ({"share": -1}, "a share of -1 %"),
        ({"cap": 3, "floor": 4}, "cannot both be"),
        ({"reserve": -1}, "whole numbers"),
        ({"buffer": 10**10}, "whole numbers"),
    ],
)
def test_terms_that_make_no_policy_are_named_and_nothing_is_written(
    hub: World, terms: dict[str, int], why: str
) -> None:
    with pytest.raises(Unfit, match=why):
        proposes(hub, of(hub, "tmall"), **terms)
    with pytest.raises(Unfit, match="name it"):
        proposes(hub, of(hub), exclusive=3)
    with pytest.raises(Unfit, match="over already"):
        proposes(hub, of(hub), MONDAY - timedelta(days=1), share=3)
    assert hub.rows(select(t.policies)) == []


def test_units_exclusive_to_a_shop_that_is_paused_are_told_to_the_others(hub: World) -> None:
    stands(hub, of(hub, "tmall"), exclusive=6)
    assert shows(hub) == (10, 4, 4)
    for state, figures in (("paused", 10), ("active", 4)):
        hub.store.write(lambda tx: tx.conn.execute(t.marks.delete()))
        hub.store.write(lambda tx, state=state: set_state(tx, HUB, "tmall", state))
        assert (shows(hub)[1:], [row["items"] for row in hub.rows(select(t.marks))][0]) == ((figures,) * 2, _sold(hub))


def _sold(hub: World) -> list[int]:
    """What tmall sells."""
    return sorted({row["item_id"] for row in hub.rows(select(t.listings)) if row["connection_id"] == hub.tmall})


def test_more_exclusive_units_than_there_are_overlap_and_are_refused(hub: World) -> None:
    stands(hub, of(hub, "tmall"), exclusive=6)
    ident = proposes(hub, of(hub, "vendure"), exclusive=5)
    with pytest.raises(Refused, match="11 units would be exclusive to 2 listings where 10 are free"):
        hub.store.write(lambda tx: channel_policy.activate(tx, ident, "anna"))
    assert hub.row(t.policies, id=ident)["state"] == "draft"


def test_exclusive_units_that_lie_where_their_shop_cannot_reach_are_left_to_the_others(hub: World) -> None:
    """vendure sells from the east alone: of twelve pens two lie there once the rest has gone to the west."""
    hub.counts("pen", 2)
    stands(hub, of(hub, "vendure"), exclusive=10)
    assert shows(hub) == (2, 12, 2)
    hub.counts("pen", -10)
    hub.counts("pen", 10, "west")
    assert shows(hub) == (12 - 2, 2, 0)
    hub.counts("pen", -2)
    assert shows(hub) == (10, 0, 0)
    hub.counts("pen", 4)
    assert shows(hub) == (10, 4, 0)


def test_exclusive_units_that_cannot_be_reached_are_named_and_kept_from_nobody(hub: World) -> None:
    """Four pens lie in the east and ten in the west."""
    hub.counts("pen", -6)
    hub.counts("pen", 10, "west")
    ident = proposes(hub, of(hub, "vendure"), exclusive=10)
    with hub.store.read() as tx:
        assert channel_policy.unreached(tx, hub.row(t.policies, id=ident)) == {"pen": 6}
    hub.store.write(lambda tx: channel_policy.activate(tx, ident, "anna"))
    assert shows(hub) == (10, 4, 0)
    hub.counts("pen", 6)
    assert shows(hub) == (10, 10, 0)
    with hub.store.read() as tx:
        assert channel_policy.unreached(tx, hub.row(t.policies, id=ident)) == {}


def test_exclusive_units_that_overlap_where_both_reach_are_refused_though_more_lie_elsewhere(hub: World) -> None:
    hub.counts("pen", -6)
    hub.counts("pen", 10, "west")
    stands(hub, of(hub, "vendure"), exclusive=3)
    ident = proposes(hub, of(hub, "beta_shop"), exclusive=2)
    with pytest.raises(Refused, match="pen: 5 units would be exclusive to 2 listings that reach 4 of 14"):
        hub.store.write(lambda tx: channel_policy.activate(tx, ident, "anna"))


def test_goods_whose_title_has_passed_are_not_kept_for_who_may_not_sell_them(hub: World) -> None:
    """Six of ten pens become beta's own: tmall has five for itself, and reaches the four that are left to alpha."""
    stands(hub, of(hub, "tmall"), exclusive=5)
    assert shows(hub) == (10, 5, 5)
    hub.store.write(lambda tx: _passes(tx, hub, 6))
    assert shows(hub) == (4, 0, 6)


def _passes(tx: Transaction, hub: World, units: int) -> None:
    ledger = Ledger(tx)
    cells = [ledger.cell(CellKey(owner, hub.pen, hub.east)) for owner in (hub.alpha, hub.beta)]
    ledger.book("title", "title", "test", [Entry(cells[0], "free", -units), Entry(cells[1], "free", units)])
    ledger.flush()


@pytest.fixture
def kits(hub: World) -> World:
    """Five inks lie beside the ten pens; tmall sells `set`, two pens and an ink, and vendure `box`, three pens."""
    kit(hub)
    hub.counts("ink", 5)
    hub.store.write(lambda tx: _boxed(tx, hub))
    made_of(hub, "box", pen=3)
    return hub


def _boxed(tx: Transaction, hub: World) -> None:
    ident, sold = tx.ids.new(), tx.ids.new()
    tx.add(t.items, [{"id": ident, "owner_id": hub.alpha, "sku": "box", "name": "box", "created_at": tx.now}])
    row = {"id": sold, "connection_id": hub.vendure, "ref": "box", "product": "P2", "sku": "box", "pack": 1}
    tx.add(t.listings, [{**row, "item_id": ident, "created_at": tx.now}])


def sold_as(hub: World, ref: str) -> Scope:
    """A policy for the one listing of that name."""
    row = hub.row(t.listings, ref=ref, connection_id=hub.vendure if ref == "box" else hub.tmall)
    return Scope(hub.alpha, row["connection_id"], row["id"])


def all_show(hub: World) -> dict[str, int]:
    """What every listing may show: single pens by their shop, the others by their name."""
    names = {hub.tmall: "tmall", hub.vendure: "vendure", hub.beta_shop: "beta_shop"}
    with hub.store.read() as tx:
        rows = tx.rows(select(t.listings).where(t.listings.c.pack == 1))
        found = saleable.targets(tx, rows)
    return {names[r["connection_id"]] if r["ref"] == "pen" else r["ref"]: found[r["id"]] for r in rows}


LOOSE = {"tmall": 10, "vendure": 10, "beta_shop": 10, "ink": 5, "set": 5, "box": 3}


def test_what_is_exclusive_of_a_kit_is_kept_of_its_parts(kits: World) -> None:
    """Two sets are four pens and two inks: (10 - 4) // 3 boxes are left of the pens."""
    assert all_show(kits) == LOOSE
    stands(kits, sold_as(kits, "set"), exclusive=2)
    assert all_show(kits) == LOOSE | {"tmall": 6, "vendure": 6, "beta_shop": 6, "ink": 3, "box": 2}
    stands(kits, sold_as(kits, "box"), exclusive=1)
    assert all_show(kits) == {"tmall": 3, "vendure": 3, "beta_shop": 3, "ink": 3, "set": 3, "box": 2}


def test_a_kit_heeds_what_is_exclusive_of_its_parts(kits: World) -> None:
    """(10 - 5) // 2 sets, (10 - 5) // 3 boxes."""
    stands(kits, of(kits, "vendure"), exclusive=5)
    assert all_show(kits) == LOOSE | {"tmall": 5, "beta_shop": 5, "set": 2, "box": 1}


@pytest.mark.parametrize(
    ("priorities", "figures"),
    [
        ((1, 0), {"tmall": 0, "vendure": 1, "beta_shop": 0, "ink": 2, "set": 3, "box": 0}),
        ((0, 1), {"tmall": 0, "vendure": 4, "beta_shop": 0, "ink": 2, "set": 1, "box": 0}),
    ],
)
def test_of_a_kit_and_its_part_the_higher_priority_gets_its_units_first(
    kits: World, priorities: tuple[int, int], figures: dict[str, int]
) -> None:
    """Of seven pens three sets want six and vendure four: 6 and 1 are granted, else 4 and 3."""
    stands(kits, sold_as(kits, "set"), exclusive=3, priority=priorities[0])
    stands(kits, of(kits, "vendure"), exclusive=4, priority=priorities[1])
    kits.counts("pen", -3)
    assert all_show(kits) == figures


def test_what_is_exclusive_of_a_kit_does_not_wait_for_its_other_part(kits: World) -> None:
    """Without inks no set can be made, and four pens are kept for two all the same: more inks show no fewer pens."""
    stands(kits, sold_as(kits, "set"), exclusive=2)
    kits.counts("ink", -5)
    assert all_show(kits) == {"tmall": 6, "vendure": 6, "beta_shop": 6, "ink": 0, "set": 0, "box": 2}


def test_whole_kits_of_each_warehouse_are_the_most_that_is_shown(kits: World) -> None:
    """Pens for five sets lie in the east and for four in the west, one ink there; two pens of 18 are exclusive."""
    kits.counts("pen", 8, "west")
    kits.counts("ink", 1, "west")
    assert all_show(kits)["set"] == 5 + 1
    stands(kits, of(kits, "vendure"), exclusive=2)
    assert all_show(kits)["set"] == 5 + 1
    stands(kits, of(kits, "vendure"), exclusive=8)
    assert all_show(kits)["set"] == (18 - 8) // 2


def test_other_listings_of_a_kit_leave_alone_whole_kits(kits: World) -> None:
    """Three sets can be made in the east, for want of inks none in the west: two are another listing's."""
    kits.counts("pen", -4)
    kits.counts("pen", 10, "west")
    stands(kits, sold_as(kits, "set"), exclusive=2)
    row = dict(kits.row(t.listings, ref="set"))
    again = {**row, "id": row["id"] + 1, "ref": "set again"}
    kits.store.write(lambda tx: tx.add(t.listings, [again]))
    assert (all_show(kits)["set"], all_show(kits)["set again"]) == (3, 1)


def test_who_sells_a_kit_of_anothers_goods_keeps_no_part_from_their_owner(kits: World) -> None:
    row = dict(kits.row(t.listings, ref="set"))
    theirs = {**row, "id": row["id"] + 1, "connection_id": kits.beta_shop}
    kits.store.write(lambda tx: tx.add(t.listings, [theirs]))
    stands(kits, Scope(kits.beta, kits.beta_shop, theirs["id"]), exclusive=2)
    shown_now = all_show(kits)
    assert (shown_now["tmall"], shown_now["vendure"], shown_now["beta_shop"], shown_now["box"]) == (10, 10, 6, 3)


def test_exclusive_units_of_a_kit_that_overlap_are_refused_by_the_part(kits: World) -> None:
    """Six sets want 12 of ten pens; five want all of them, and one more is too many."""
    ident = proposes(kits, sold_as(kits, "set"), exclusive=6)
    with pytest.raises(Refused, match="pen: 12 units would be exclusive to 1 listings where 10 are free"):
        kits.store.write(lambda tx: channel_policy.activate(tx, ident, "anna"))
    stands(kits, sold_as(kits, "set"), exclusive=5)
    ident = proposes(kits, of(kits, "vendure"), exclusive=1)
    with pytest.raises(Refused, match="pen: 11 units would be exclusive to 2 listings where 10 are free"):
        kits.store.write(lambda tx: channel_policy.activate(tx, ident, "anna"))


def test_a_preview_of_a_kits_policy_names_who_sells_its_parts(kits: World) -> None:
    ident = proposes(kits, sold_as(kits, "set"), exclusive=2)
    with kits.store.read() as tx:
        changes = channel_policy.preview(tx, kits.row(t.policies, id=ident))
    found = {(one["connection_id"], one["ref"]): (one["now"], one["then"]) for one in changes}
    pens = {(shop, "pen"): (10, 6) for shop in (kits.tmall, kits.vendure, kits.beta_shop)}
    assert found == pens | {(kits.tmall, "ink"): (5, 3), (kits.vendure, "box"): (3, 2)}


def test_whoever_sells_a_part_is_looked_at_when_what_is_exclusive_of_a_kit_changes(kits: World) -> None:
    def marked(work: Any) -> set[int]:
        kits.store.write(lambda tx: tx.conn.execute(delete(t.marks)))
        work()
        return {item for row in kits.rows(select(t.marks)) for item in row["items"]}

    sold, parts = sold_as(kits, "set"), {kits.pen, kits.ink}
    assert parts <= marked(lambda: stands(kits, sold, exclusive=2))
    kits.store.write(lambda tx: tx.conn.execute(delete(t.listings).where(t.listings.c.item_id == kits.ink)))
    assert parts <= marked(lambda: kits.store.write(lambda tx: shelves.mark_shops(tx, [sold.connection_id])))
    assert parts <= marked(lambda: made_of(kits, pen=1))


def test_callers_are_bound_by_their_merchants_own_policy_and_by_what_is_exclusive(kits: World) -> None:
    def bounds(merchant: int) -> dict[int, Bound]:
        with kits.store.read() as tx:
            return policies.bounds(tx, merchant, {kits.pen: kits.alpha, kits.ink: kits.alpha})

    assert (bounds(kits.alpha), bounds(kits.beta)) == ({}, {})
    stands(kits, Scope(kits.alpha, kits.tmall), share=20)
    assert bounds(kits.alpha) == {}
    stands(kits, of(kits), share=50)
    half = Bound(Policy(share=50))
    assert (bounds(kits.alpha), bounds(kits.beta)) == ({kits.pen: half, kits.ink: half}, {})
    stands(kits, of(kits, "beta_shop"), exclusive=1)
    assert bounds(kits.alpha) == {kits.pen: half, kits.ink: half}
    stands(kits, sold_as(kits, "set"), exclusive=2)
    east = There(10, {(kits.alpha, kits.east): 10})
    assert {item: one.units(east) for item, one in bounds(kits.alpha).items()} == {kits.pen: 3, kits.ink: 4}
    assert {item: one.units(east) for item, one in bounds(kits.beta).items()} == {
        kits.pen: 10 - 4 - 1, kits.ink: 10 - 2
    }  # fmt: skip


few = st.integers(0, 12)
terms = st.builds(
    Policy,
    share=st.integers(0, 100),
    floor=few,
    cap=st.none() | few,
    buffer=st.none() | few,
    reserve=few,
    exclusive=few,
    priority=st.integers(-2, 2),
)
EAST, WEST, NORTH = PLACES = ((1, 1), (1, 2), (1, 3))
reaches = st.sets(st.sampled_from(PLACES)).map(frozenset)
claims = st.lists(st.builds(Claimed, st.just(0), few, st.integers(-2, 2), reaches=reaches), max_size=4).map(
    lambda some: [one._replace(listing_id=n) for n, one in enumerate(some, 2)]
)
lying = st.fixed_dictionaries(dict.fromkeys(PLACES, few))


def all_of(places: dict[Place, int]) -> There:
    return There(sum(places.values()), places)


@given(places=lying, more=st.sampled_from(PLACES), policy=terms, own=reaches, others=claims)
def test_no_listing_shows_more_than_there_is_and_more_goods_never_show_less(
    places: dict[Place, int], more: Place, policy: Policy, own: frozenset[Place], others: list[Claimed]
) -> None:
    claimed = [*others, Claimed(1, policy.exclusive, policy.priority, reaches=own)]
    units = shown(beside(all_of(places), claimed, 1), policy)
    assert 0 <= units <= sum(places.values())
    assert units <= shown(beside(all_of({**places, more: places[more] + 1}), claimed, 1), policy)
    assert policy.cap is None or units <= policy.cap


@given(places=lying, others=claims)
def test_each_has_its_exclusive_units_as_far_as_priorities_and_its_reach_go(
    places: dict[Place, int], others: list[Claimed]
) -> None:
    """Those first by priority together have as many as can be had by them at all: by no set of them less."""
    there, dealt = all_of(places), granted(all_of(places), others)
    first: list[Claimed] = []
    for one in sorted(others, key=lambda c: (-c.priority, c.listing_id)):
        first.append(one)
        assert sum(dealt[c.listing_id] for c in first) == _most(places, first)
        assert beside(there, others, one.listing_id) >= dealt[one.listing_id]
    assert beside(there, others, 99) == beside(there, others) == there.units - sum(dealt.values())


def _most(places: dict[Place, int], claimed: list[Claimed]) -> int:
    """The least, over all sets of them, of what the set reaches and the others want."""
    sets = (some for n in range(len(claimed) + 1) for some in combinations(claimed, n))
    return min(
        sum(places[it] for it in frozenset().union(*(c.reaches for c in some)))
        + sum(c.units for c in claimed if c not in some)
        for some in sets
    )


def test_one_with_a_wide_reach_leaves_the_east_to_one_without() -> None:
    """Three lie in the east and five in the west: five of the wide one are to be had beside three of the narrow one."""
    wide, narrow = Claimed(1, 5, 1, reaches=frozenset({EAST, WEST})), Claimed(2, 3, 0, reaches=frozenset({EAST}))
    assert granted(There(8, {EAST: 3, WEST: 5}), [wide, narrow]) == {1: 5, 2: 3}
    assert granted(There(7, {EAST: 3, WEST: 4}), [wide, narrow]) == {1: 5, 2: 2}


def test_what_contracts_allow_in_all_is_dealt_once() -> None:
    """Ten lie there, five may be sold."""
    claimed = [Claimed(1, 4, 1, reaches=frozenset({EAST})), Claimed(2, 4, 0, reaches=frozenset({EAST}))]
    assert granted(There(5, {EAST: 10}), claimed) == {1: 4, 2: 1}
