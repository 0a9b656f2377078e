"""Runs that would sweep a shop's shelves stop for a person, and how long shops wait for their figures is measured."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from core.errors import Refused
from core.flow import measure_lag, note_told, publish_stock
from core.flow.publish_stock import Said
from core.flow.stop_levels import Stop
from core.model import Level
from core.store import tables as t
from core.store.scope import HUB, Scope
from hub import outward
from hub.parked import parked, press
from tests.worlds import Clock, World, order, store, world
from web.health import metrics
from web.reads.publishing import publishing

STOP = Stop(percent=30, listings=5, window_s=60)
LISTED = 20


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        yield filled(world(it, clock))


def filled(hub: World) -> World:
    """tmall sells twenty more items, ten units of each are in the east, and the shop was told."""
    hub.store.write(lambda tx: _list(tx, hub))
    for n in range(LISTED):
        hub.counts(f"s{n}", 10)
    runs(hub)
    tells(hub)
    return hub


def _list(tx: Any, hub: World) -> None:
    for n in range(LISTED):
        item = {"id": tx.ids.new(), "owner_id": hub.alpha, "sku": f"s{n}", "name": f"s{n}", "created_at": tx.now}
        tx.add(t.items, [item])
        listing = {
            "id": tx.ids.new(),
            "connection_id": hub.tmall,
            "ref": f"s{n}",
            "item_id": item["id"],
            "product": f"p{n}",
        }
        tx.add(t.listings, [{**listing, "created_at": tx.now}])


def runs(hub: World) -> None:
    hub.store.write(lambda tx: publish_stock.take_marks(tx, STOP))


def tells(hub: World) -> int:
    """What waits is said; how many calls that were."""
    o, calls = t.outbox.c, 0
    for row in hub.rows(select(t.outbox).where(o.ability == "send_stock", o.state == "waiting")):

        def say(tx: Any, row: Any = row) -> int:
            said = publish_stock.compute(tx, row, STOP)
            note_told.told(tx, said)
            measure_lag.note(tx, row)
            tx.set(t.outbox, row["id"], state="done", done_at=tx.now)
            return bool(said.levels)

        calls += hub.store.write(say)
    return calls


def told(hub: World) -> dict[str, int]:
    """Listing → what tmall was told of it."""
    li, s = t.listings.c, t.shelves.c
    query = select(li.ref, s.told).join(t.shelves, s.listing_id == li.id).where(li.connection_id == hub.tmall)
    return {row["ref"]: row["told"] for row in hub.rows(query)}


def lose(hub: World, *numbers: int, units: int = 10) -> None:
    for n in numbers:
        hub.counts(f"s{n}", -units)


def held(hub: World) -> int:
    return len(hub.rows(select(t.held_levels)))


def test_what_ordinarily_moves_is_told(hub: World) -> None:
    lose(hub, *range(4))
    runs(hub)
    tells(hub)
    assert (held(hub), [told(hub)[f"s{n}"] for n in (0, 3, 4)]) == (0, [0, 0, 10])


def test_a_run_that_would_empty_8_of_23_listings_waits_for_a_person_and_then_is_told(hub: World) -> None:
    lose(hub, *range(8))
    runs(hub)
    assert (tells(hub), held(hub), told(hub)["s0"]) == (0, 8, 10)
    (task,) = [row for row in hub.store.write(lambda tx: parked(tx, HUB)) if row["what"] == "publish.swept"]
    assert task["buttons"] == ["publish"]
    assert "8 of 23 listings of tmall" in task["reason"]
    with pytest.raises(Refused):
        hub.store.write(lambda tx: press(tx, HUB, "task", task["id"], "done"))
    hub.store.write(lambda tx: press(tx, HUB, "task", task["id"], "publish"))
    runs(hub)
    tells(hub)
    assert (held(hub), [told(hub)[f"s{n}"] for n in range(9)]) == (0, [0] * 8 + [10])
    assert hub.worklist().count("publish.swept") == 0


def pressed(hub: World, what: str = "publish.swept") -> None:
    """A person presses the one task of this kind."""
    (task,) = [row for row in hub.store.write(lambda tx: parked(tx, HUB)) if row["what"] == what]
    hub.store.write(lambda tx: press(tx, HUB, "task", task["id"], "publish"))


def test_what_a_person_let_pass_waits_for_its_shop_and_the_next_sweep_is_held_again(hub: World) -> None:
    """8 are held at 4 of 10, let pass and told an hour later; minutes after, 8 would be emptied."""
    assert hub.clock
    lose(hub, *range(8), units=6)
    runs(hub)
    pressed(hub)
    runs(hub)
    lose(hub, 0, units=1)
    runs(hub)
    hub.clock.wait(3600)
    assert (tells(hub), held(hub), [told(hub)[f"s{n}"] for n in (0, 1, 7)]) == (8, 0, [3, 4, 4])
    hub.clock.wait(60)
    lose(hub, *range(1, 8), units=4)
    runs(hub)
    assert (held(hub), tells(hub), told(hub)["s1"]) == (7, 0, 4)


def test_what_came_back_before_it_was_told_is_not_let_pass_later(hub: World) -> None:
    lose(hub, *range(8))
    runs(hub)
    for n in range(8):
        hub.counts(f"s{n}", 10)
    runs(hub)
    pressed(hub)
    runs(hub)
    tells(hub)
    assert (held(hub), told(hub)["s0"]) == (0, 10)
    lose(hub, *range(8))
    runs(hub)
    assert held(hub) == 8


def test_writes_that_wait_already_do_not_tell_what_is_held(hub: World) -> None:
    """A unit of each of 8 goes while the shop is away, so 8 writes wait; then a wrong count empties them."""
    lose(hub, *range(8), units=1)
    runs(hub)
    lose(hub, *range(8), units=9)
    runs(hub)
    assert (held(hub), tells(hub), told(hub)["s0"]) == (8, 0, 10)
    pressed(hub)
    runs(hub)
    tells(hub)
    assert (held(hub), told(hub)["s0"]) == (0, 0)


def test_writes_that_are_taken_up_before_the_marks_of_a_sweep_are_judged_too(hub: World) -> None:
    """6 of 23 may be emptied; of 8 writes computed one by one the first 6 are told, the other two wait for a person."""
    lose(hub, *range(8), units=1)
    runs(hub)
    lose(hub, *range(8), units=9)
    tells(hub)
    assert (held(hub), hub.worklist()) == (2, ["publish.swept"])
    assert sum(told(hub)[f"s{n}"] == 0 for n in range(8)) == 6


def test_a_sweep_in_small_runs_stops_too(hub: World) -> None:
    """6, 6, 6 and 2 of 20 are emptied 10 seconds apart: the first 6 are told, of 23 listings no more may go."""
    assert hub.clock
    for numbers in (range(6), range(6, 12), range(12, 18), range(18, 20)):
        lose(hub, *numbers)
        runs(hub)
        tells(hub)
        hub.clock.wait(10)
    assert (held(hub), [told(hub)[f"s{n}"] for n in range(20)]) == (14, [0] * 6 + [10] * 14)
    (task,) = [row for row in hub.store.write(lambda tx: parked(tx, HUB)) if row["what"] == "publish.swept"]
    assert "6 of 23 listings of tmall" in task["reason"] and "and 6 were lately" in task["reason"]


def test_what_sells_out_over_hours_is_told(hub: World) -> None:
    assert hub.clock
    for n in range(0, 20, 4):
        lose(hub, *range(n, n + 4))
        runs(hub)
        tells(hub)
        hub.clock.wait(601)
    assert (held(hub), set(told(hub).values())) == (0, {0})


def test_deliveries_one_by_one_are_no_sweep(hub: World) -> None:
    for n in range(20):
        hub.counts(f"s{n}", 30)
        runs(hub)
        tells(hub)
    assert (held(hub), set(told(hub).values())) == (0, {40})


def test_the_others_are_told_meanwhile_and_what_is_held_stays_held(hub: World) -> None:
    lose(hub, *range(8))
    runs(hub)
    lose(hub, 12, units=3)
    hub.counts("s0", 1)
    runs(hub)
    tells(hub)
    assert (held(hub), told(hub)["s0"], told(hub)["s12"]) == (8, 10, 7)


def test_changes_by_more_than_half_sweep_too_and_smaller_ones_do_not(hub: World) -> None:
    lose(hub, *range(8), units=5)
    runs(hub)
    assert (held(hub), tells(hub) > 0) == (0, True)
    lose(hub, *range(8), units=3)
    runs(hub)
    assert held(hub) == 8


def test_first_figures_and_goods_that_came_into_empty_shelves_are_no_sweep(hub: World) -> None:
    assert hub.clock
    lose(hub, *range(4))
    runs(hub)
    tells(hub)
    hub.clock.wait(601)
    lose(hub, *range(4, 8))
    runs(hub)
    tells(hub)
    for n in range(8):
        hub.counts(f"s{n}", 40)
    runs(hub)
    tells(hub)
    assert (held(hub), told(hub)["s0"]) == (0, 40)


def test_lags_are_measured_from_what_moved_to_the_call(hub: World) -> None:
    rows = hub.rows(select(t.publish_lags))
    assert sum(row["calls"] for row in rows) > 0
    with hub.store.read() as tx:
        (shop,) = [row for row in publishing(tx, HUB)["rows"] if row["connection"] == "tmall"]
    assert (shop["listings"], shop["told"], shop["held"], shop["waiting"]) == (23, 20, 0, 0)
    assert shop["calls"] == sum(row["calls"] for row in rows if row["connection_id"] == hub.tmall)
    assert len(shop["hours"]) == 24


def test_how_often_a_free_unit_is_shown_is_what_all_shops_show_by_what_is_free(hub: World) -> None:
    """20 items of 10 at tmall; vendure was told of 3 packs of 4 of the first, and sold one."""
    with hub.store.read() as tx:
        before, mine = publishing(tx, HUB), publishing(tx, Scope("merchant", hub.beta))
    assert (before["published_overlap"], mine["published_overlap"]) == (1.0, None)

    def shown(tx: Any) -> None:
        (listing,) = tx.rows(select(t.listings).where(t.listings.c.ref == "s0"))
        row = {**listing, "id": tx.ids.new(), "connection_id": hub.vendure, "pack": 4}
        tx.add(t.listings, [row])
        tx.add(t.shelves, [{"listing_id": row["id"], "told": 3, "seen_base": 0, "doubt": False, "told_at": tx.now}])

    hub.store.write(shown)
    hub.takes(order("V1", ("s0", 1)), at=hub.vendure)
    with hub.store.read() as tx:
        after = publishing(tx, HUB)
    assert {row["connection"]: row["shown"] for row in after["rows"]} == {"tmall": 200, "vendure": 8, "beta_shop": 0}
    assert after["published_overlap"] == round(208 / 196, 2) == 1.06


def test_what_the_shop_shows_otherwise_is_counted(hub: World) -> None:
    assert hub.clock
    hub.clock.wait(5)
    s, li = t.shelves.c, t.listings.c
    mine = select(li.id).where(li.connection_id == hub.tmall)

    def read(tx: Any) -> None:
        tx.conn.execute(update(t.shelves).where(s.listing_id.in_(mine)).values(doubt=False))
        ids = tx.conn.execute(select(s.listing_id).where(s.listing_id.in_(mine)).order_by(s.listing_id)).scalars()
        shown = [10, 7, *[10] * 18]
        rows = zip(ids, shown, strict=True)
        tx.add(t.showings, [{"listing_id": ident, "shown": n, "read_at": tx.now} for ident, n in rows])

    hub.store.write(read)
    with hub.store.read() as tx:
        (shop,) = [row for row in publishing(tx, HUB)["rows"] if row["connection"] == "tmall"]
        assert publishing(tx, Scope("merchant", hub.beta))["rows"][0]["connection"] == "beta_shop"
    assert (shop["off"], shop["in_doubt"]) == (1, 0)
    text = bytes(metrics(hub.store).body).decode()
    assert 'yipan_shop_figures{shop="tmall",state="off"} 1.0' in text
    assert "yipan_published_overlap 1.0" in text


def test_old_counts_are_forgotten(hub: World) -> None:
    hub.store.write(lambda tx: tx.conn.execute(update(t.publish_lags).values(minute=tx.now - timedelta(days=9))))
    hub.store.write(measure_lag.forget)
    assert hub.rows(select(t.publish_lags)) == []


@given(waits=st.lists(st.floats(0, 10**8), min_size=1, max_size=40), percent=st.integers(1, 100))
def test_a_percentile_is_the_bucket_of_the_call_at_that_place(waits: list[float], percent: int) -> None:
    counts: dict[int, int] = {}
    for wait in waits:
        counts[measure_lag.bucket(wait)] = counts.get(measure_lag.bucket(wait), 0) + 1
    place = -(-len(waits) * percent // 100)
    assert measure_lag.percentile(counts, percent) == measure_lag.bucket(sorted(waits)[place - 1])
    assert measure_lag.percentile({}, percent) is None


def test_an_absolute_level_of_a_process_that_died_is_computed_anew_and_read_back(hub: World) -> None:
    """It said 7 of ten and died; five more came in: 15 is said, and read back, since the 7 may arrive after it."""
    hub.counts("s0", 5)
    runs(hub)
    o = t.outbox.c
    (row,) = hub.rows(select(t.outbox).where(o.ability == "send_stock", o.state == "waiting"))
    (listing,) = row["payload"]["listings"]
    old = Said((Level(listing="s0", form="set", quantity=7, expected=10, key="k"),), {str(listing): 7}, {}, {}, True)

    def say(tx: Any) -> Said:
        said = outward._said(tx, [{**row, "token": None, "reached": {"said": old.as_json()}}])[row["id"]]
        note_told.told(tx, said)
        return said

    said = hub.store.write(say)
    assert ([level.quantity for level in said.levels], said.told) == ([15], {str(listing): 15})
    assert hub.row(t.shelves, listing_id=listing)["doubt"]


def test_a_difference_that_may_have_arrived_is_said_the_same_again(hub: World) -> None:
    hub.counts("s0", 5)
    runs(hub)
    o = t.outbox.c
    (row,) = hub.rows(select(t.outbox).where(o.ability == "send_stock", o.state == "waiting"))
    level = Level(listing="s0", form="delta", quantity=12, change=2, expected=10, key="k")
    old = Said((level,), {str(row["payload"]["listings"][0]): 12}, {}, {}, reads=False)
    kept = {**row, "reached": {"said": old.as_json()}}
    assert hub.store.write(lambda tx: outward._said(tx, [kept]))[row["id"]] == old
