"""Lots that expire soon are held by the clock; what a person lets go is left alone. Today is 2026-01-05."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from core.errors import Unfit
from core.flow import hold_expiring
from core.flow.hold_goods import Thaw
from core.store import tables as t
from core.store.scope import HUB
from hub.onboard.goods import NewItem, NewItems, add_items
from tests.unit.test_lots import asks, keep_lots, receives, released
from tests.worlds import Clock as Watch
from tests.worlds import World, order, store, world
from workers.clock import EXPIRY_TICKS, Clock

DAY_S = 86_400


def limit(hub: World, days: int | None) -> None:
    hub.store.write(lambda tx: tx.set(t.items, hub.pen, near_expiry_days=days))


def ticks(hub: World) -> int:
    """The clock looks at what expires; how many holds changed."""
    with hub.store.read() as tx:
        due = hold_expiring.any_due(tx)
    changed = hub.store.write(hold_expiring.hold)
    assert due == bool(changed)
    assert hub.audit() == []
    return changed


def held(hub: World) -> list[tuple[str, int]]:
    """(lot, units still held) of each hold."""
    return [(r["lot"], r["remaining"]) for r in hub.rows(select(t.holds).order_by(t.holds.c.id))]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    clock = Watch()
    with store(tmp_path, clock=clock) as it:
        yield world(it, clock)


@pytest.fixture
def tea(hub: World) -> World:
    """3 of L1, until March 1st, and 7 of L2, until September; pens are held 30 days before."""
    keep_lots(hub)
    limit(hub, 30)
    receives(hub, {"L1": 3}, "2026-03-01")
    receives(hub, {"L2": 7}, "2026-09-01")
    return hub


def passes(hub: World, days: float) -> None:
    assert hub.clock is not None
    hub.clock.wait(days * DAY_S)


def test_a_lot_is_held_from_the_first_day_that_is_near_enough(tea: World) -> None:
    passes(tea, 24)  # January 29th
    assert ticks(tea) == 0
    passes(tea, 1)
    assert ticks(tea) == 1
    assert held(tea) == [("L1", 3)]
    assert tea.cell(tea.pen) == {"free": 7, "held": 3}
    assert ticks(tea) == 0


def test_orders_are_not_promised_what_expires_soon(tea: World) -> None:
    passes(tea, 25)
    ticks(tea)
    tea.takes(order("A", ("pen", 9)))
    assert tea.claims("A") == [(9, 7)]


def test_what_warehouses_were_told_to_send_is_not_held(tea: World) -> None:
    assert released(tea, "A", 2) == {"L1": 2}
    passes(tea, 25)
    assert ticks(tea) == 1
    assert held(tea) == [("L1", 1)]


def test_no_more_is_held_than_is_free_and_the_rest_once_it_comes_free(tea: World) -> None:
    tea.takes(order("A", ("pen", 9)))
    passes(tea, 25)
    ticks(tea)
    assert held(tea) == []  # its fulfilment was told of L1 first
    receives(tea, {"L3": 4}, "2026-02-01")
    tea.counts("pen", -1)
    assert ticks(tea) == 1
    assert held(tea) == [("L3", 4)]


def test_what_is_held_comes_free_when_the_lot_turns_out_to_last(tea: World) -> None:
    tea.decides("wait")
    passes(tea, 25)
    ticks(tea)
    tea.takes(order("A", ("pen", 9)))
    receives(tea, {"L1": 1}, "2026-12-01")
    assert ticks(tea) == 1
    assert held(tea) == [("L1", 0)]
    assert tea.row(t.holds, lot="L1")["released_by"] == "clock"
    assert tea.claims("A") == [(9, 9)]


def test_what_is_held_comes_free_when_the_limit_goes_and_is_held_again_when_it_comes_back(tea: World) -> None:
    passes(tea, 25)
    ticks(tea)
    limit(tea, None)
    assert ticks(tea) == 1
    assert tea.cell(tea.pen) == {"free": 10}
    limit(tea, 40)
    assert ticks(tea) == 1
    assert held(tea) == [("L1", 0), ("L1", 3)]


def test_what_a_person_lets_go_is_not_held_again(tea: World) -> None:
    passes(tea, 25)
    ticks(tea)
    ref = tea.row(t.holds, lot="L1")["ref"]
    asks(tea, Thaw(tea.alpha, ref, "anna", keep=1))
    assert ticks(tea) == 0
    assert held(tea) == [("L1", 1)]


def test_goods_without_days_or_of_other_conditions_are_left_alone(tea: World) -> None:
    tea.counts("pen", 4)
    receives(tea, {"L9": 2}, "2026-01-06", condition="CC")
    assert ticks(tea) == 0


def test_the_clock_looks_now_and_then(tea: World) -> None:
    passes(tea, 25)
    clock = Clock(tea.store, lambda lanes: None)
    for _ in range(EXPIRY_TICKS + 1):
        clock.tick()
    assert held(tea) == [("L1", 3)]


def test_days_without_lots_are_refused(tea: World) -> None:
    item = NewItem(sku="tea", name="tea", near_expiry_days=30)
    new: Any = NewItems(owner="alpha", items=(item,))
    with pytest.raises(Unfit, match="tea: near_expiry_days is about lots: set keeps_lots too"):
        tea.store.write(lambda tx: add_items(tx, HUB, new))
