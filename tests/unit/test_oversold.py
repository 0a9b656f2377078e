"""Every unit a shop sold beyond what the pool could back is counted once, with its cause and what was known then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, select

from core.flow import mend_shops, note_oversold, publish_stock
from core.rules.oversold import Evidence, causes
from core.store import tables as t
from core.store.scope import HUB
from tests.unit.test_kits import kit
from tests.worlds import Clock, World, closed, order, store, unpaid, world
from web.reads import oversold as reads


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        yield world(it, clock)


def tells(hub: World, *shops: str) -> None:
    """What waits to be said is said to all shops, or to these alone, and confirmed."""
    hub.store.write(publish_stock.take_marks)
    o = t.outbox.c
    for row in hub.rows(select(t.outbox).where(o.ability == "send_stock", o.state == "waiting")):
        if shops and row["connection_id"] not in [getattr(hub, shop) for shop in shops]:
            continue

        def say(tx: Any, row: Any = row) -> None:
            publish_stock.told(tx, publish_stock.compute(tx, row))
            tx.set(t.outbox, row["id"], state="done", done_at=tx.now)

        hub.store.write(say)


def noted(hub: World) -> list[tuple[str, int]]:
    """(cause, units), oldest first."""
    return [(r["cause"], r["units"]) for r in hub.rows(select(t.oversold).order_by(t.oversold.c.id))]


def kept(hub: World) -> dict[str, Any]:
    evidence: dict[str, Any] = hub.rows(select(t.oversold))[-1]["evidence"]
    return evidence


def test_what_the_pool_backs_is_not_oversold(hub: World) -> None:
    hub.counts("pen", 10)
    tells(hub)
    hub.takes(order("O1", ("pen", 10)))
    assert noted(hub) == []


def test_a_shop_that_was_never_told_sold_by_itself(hub: World) -> None:
    hub.takes(order("O1", ("pen", 2)))
    assert noted(hub) == [("never_told", 2)]
    assert kept(hub)["told"] is None


def test_a_shop_that_sold_12_of_10_had_a_race_of_its_own_for_2(hub: World) -> None:
    hub.counts("pen", 10)
    tells(hub)
    hub.takes(order("O1", ("pen", 8)), order("O2", ("pen", 4)))
    assert noted(hub) == [("shop_race", 2)]
    assert (kept(hub)["told"], kept(hub)["expected"]) == (10, -2)


def test_a_figure_that_was_raised_in_the_shop_is_a_manual_edit(hub: World) -> None:
    assert hub.clock
    hub.counts("pen", 10)
    tells(hub)
    hub.clock.wait(60)
    ref = hub.row(t.listings, connection_id=hub.tmall, item_id=hub.pen)["ref"]
    hub.store.write(lambda tx: mend_shops.note_showings(tx, hub.tmall, {ref: 50}, tx.now))
    hub.takes(order("O1", ("pen", 13)))
    assert noted(hub) == [("manual_edit", 3)]
    assert kept(hub)["shown"] == 50


def test_two_shops_that_showed_the_same_units_overlap(hub: World) -> None:
    hub.counts("pen", 10)
    tells(hub)
    hub.takes(order("A1", ("pen", 7)))
    hub.store.write(lambda tx: tx.conn.execute(delete(t.marks)))
    hub.takes(order("B1", ("pen", 5)), at=hub.beta_shop)
    assert noted(hub) == [("policy_overlap", 2)]
    assert kept(hub)["elsewhere"] >= 3


def test_a_lower_figure_that_was_still_on_its_way_is_our_lag(hub: World) -> None:
    hub.counts("pen", 10)
    tells(hub)
    hub.takes(order("A1", ("pen", 7)))
    hub.store.write(publish_stock.take_marks)
    hub.takes(order("B1", ("pen", 5)), at=hub.beta_shop)
    assert noted(hub) == [("publish_lag", 2)]
    assert kept(hub)["lagging"]


def test_goods_that_went_missing_after_the_shop_was_told(hub: World) -> None:
    assert hub.clock
    hub.counts("pen", 10)
    tells(hub)
    hub.clock.wait(1)
    hub.counts("pen", -4)
    hub.store.write(lambda tx: tx.conn.execute(delete(t.marks)))
    hub.takes(order("O1", ("pen", 9)))
    assert noted(hub) == [("pool_lost_goods", 3)]


def test_goods_that_no_contract_lets_it_sell(hub: World) -> None:
    hub.counts("pen", 10)
    hub.store.write(lambda tx: [tx.conn.execute(delete(table)) for table in (t.contract_items, t.contracts)])
    hub.takes(order("B1", ("pen", 2)), at=hub.beta_shop)
    assert noted(hub) == [("no_contract", 2)]


def test_one_sale_may_have_two_causes_and_no_unit_two(hub: World) -> None:
    hub.counts("pen", 10)
    tells(hub)
    hub.takes(order("B1", ("pen", 4)), at=hub.beta_shop)
    hub.store.write(lambda tx: tx.conn.execute(delete(t.marks)))
    hub.takes(order("O1", ("pen", 13)))
    assert noted(hub) == [("shop_race", 3), ("policy_overlap", 4)]


def test_an_order_that_is_told_again_counts_nothing_twice_and_one_that_grows_counts_what_it_adds(hub: World) -> None:
    hub.counts("pen", 3)
    tells(hub)
    hub.takes(order("O1", ("pen", 5)))
    hub.takes(order("O1", ("pen", 5)))
    assert noted(hub) == [("shop_race", 2)]
    hub.takes(order("O1", ("pen", 6), version="2"))
    assert noted(hub) == [("shop_race", 2), ("shop_race", 1)]


def test_of_kits_whole_ones_are_counted(hub: World) -> None:
    kit(hub)
    hub.counts("pen", 5)
    hub.counts("ink", 9)
    hub.takes(order("O1", ("set", 4)))
    assert noted(hub) == [("never_told", 2)]


def test_what_became_of_them_is_told_and_only_paid_ones_are_in_the_figure(hub: World) -> None:
    hub.decides("wait")
    hub.counts("pen", 1)
    hub.takes(unpaid("O1", ("pen", 3)))
    with hub.store.read() as tx:
        assert (note_oversold.total(tx), reads.oversold(tx, HUB)["rows"]) == (0, [])
    hub.takes(order("O1", ("pen", 3), version="2"), order("O2", ("pen", 2)))
    with hub.store.read() as tx:
        found = reads.oversold(tx, HUB)
        assert note_oversold.total(tx) == 4
    assert found["totals"] == [{"connection": "tmall", "cause": "never_told", "units": 4}]
    assert [(r["order"], r["outcome"]) for r in found["rows"]] == [("O1", "waits"), ("O2", "waits")]
    hub.counts("pen", 2)
    hub.takes(closed("O2", ("pen", 2)))
    with hub.store.read() as tx:
        rows = reads.oversold(tx, HUB)["rows"]
    assert [(r["order"], r["outcome"]) for r in rows] == [("O1", "backed"), ("O2", "called_off")]
    assert hub.audit() == []


few = st.integers(0, 9)


@given(
    units=st.integers(1, 9), told=st.none() | few, beyond=few, shown=st.none() | few, lagging=st.booleans(), lost=few,
    elsewhere=few, may_sell=st.booleans(),
)  # fmt: skip
def test_every_unit_has_one_cause(units: int, **known: Any) -> None:
    found = causes(units, Evidence(**known))
    assert sum(n for _, n in found) == units
    assert all(n > 0 for _, n in found)
    assert len({cause for cause, _ in found}) == len(found)
