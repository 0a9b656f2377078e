"""Every unit a shop sold beyond what the pool could back is counted once, with its cause and what was known then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, select

from core.flow import mend_shops, note_oversold, note_told, publish_stock
from core.model import Order
from core.rules.oversold import Evidence, causes
from core.store import tables as t
from core.store.scope import HUB
from core.store.store import one
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
            note_told.told(tx, publish_stock.compute(tx, row))
            tx.set(t.outbox, row["id"], state="done", done_at=tx.now)

        hub.store.write(say)


def sold(hub: World, ref: str, units: int, after_s: float = 60, **more: Any) -> Order:
    """Pens bought and paid so long after what went before."""
    assert hub.clock
    hub.clock.wait(after_s)
    return order(ref, ("pen", units), **{"placed_at": hub.clock.now, "paid_at": hub.clock.now, **more})


def read_until(hub: World) -> dict[str, Any]:
    """The cursor of beta's shop: all it sold until now has been read."""
    assert hub.clock
    now = hub.clock.now
    return {"connection_id": hub.beta_shop, "ability": "fetch_orders", "value": {}, "due_at": now, "read_until": now}


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
    hub.takes(sold(hub, "O1", 8), sold(hub, "O2", 4))
    assert noted(hub) == [("shop_race", 2)]
    assert (kept(hub)["told"], kept(hub)["expected"]) == (10, -2)


@pytest.mark.parametrize(
    ("lead_s", "cause"),
    [(5, "publish_lag"), (0, "publish_lag"), (-2, "publish_lag"), (-3, "shop_race")],
    ids=["before", "at once", "as near as clocks are", "after"],
)
def test_what_was_sold_before_the_lower_figure_came_is_our_lag(hub: World, lead_s: float, cause: str) -> None:
    """All show ten; beta's shop sells three, is told 0 since tmall sold all ten, and only then the three are heard."""
    hub.counts("pen", 10)
    tells(hub)
    hub.takes(sold(hub, "A1", 10))
    tells(hub)
    assert hub.clock
    told_at = hub.clock.now
    at = told_at - timedelta(seconds=lead_s)
    hub.takes(sold(hub, "B1", 3, after_s=10, placed_at=at, paid_at=at), at=hub.beta_shop)
    assert noted(hub) == [(cause, 3)]
    known = kept(hub)
    assert (known["told"], known["expected"], known["lagging"]) == (0, -3, False)
    assert (known["sold_at"], known["lowered_at"]) == (at.isoformat(), told_at.isoformat())


def test_a_rush_is_the_shops_race_though_its_figure_was_set_right_while_it_went_on(hub: World) -> None:
    """Shown ten, bought 15 times in one minute, heard in three parts: being told 0 again lowers nothing."""
    hub.counts("pen", 10)
    tells(hub)
    rush = [sold(hub, f"O{n}", 1, after_s=4) for n in range(15)]
    hub.takes(*rush[:12])
    tells(hub)
    hub.takes(*rush[12:])
    tells(hub)
    assert noted(hub) == [("shop_race", 1)] * 5


def test_a_rush_on_a_figure_that_was_lowered_a_moment_ago_is_our_lag_by_what_it_was_lowered(hub: World) -> None:
    """Twenty shown, then ten, and thirty bought that second, heard in three parts: twenty were shown at most."""
    hub.counts("pen", 20)
    tells(hub)
    hub.counts("pen", -10)
    tells(hub)
    rush = [sold(hub, f"O{n}", 1, after_s=0.01) for n in range(30)]
    hub.takes(*rush[:12])
    hub.takes(*rush[12:17])
    tells(hub)
    hub.takes(*rush[17:])
    assert Counter(cause for cause, _ in noted(hub)) == {"publish_lag": 10, "shop_race": 10}


def test_lowered_twice_before_its_sales_were_heard_a_shop_had_shown_it_all(hub: World) -> None:
    """Beta's shop shows ten and sells five; it is told six and one meanwhile, and both are less than it showed then."""
    assert hub.clock
    hub.counts("pen", 10)
    tells(hub)
    at = hub.clock.now
    for ref, units in (("A1", 4), ("A2", 5), ("A3", 1)):
        hub.takes(sold(hub, ref, units))
        tells(hub)
    hub.takes(sold(hub, "B1", 5, placed_at=at, paid_at=at), at=hub.beta_shop)
    assert noted(hub) == [("publish_lag", 5)]


def test_what_it_was_lowered_by_before_its_sales_were_heard_explains_no_later_rush(hub: World) -> None:
    """The same, but its orders are read up to after the second figure: only the third was late, by one unit."""
    assert hub.clock
    hub.counts("pen", 10)
    tells(hub)
    for ref, units in (("A1", 4), ("A2", 5)):
        hub.takes(sold(hub, ref, units))
        tells(hub)
    hub.clock.wait(60)
    hub.store.write(lambda tx: tx.add(t.cursors, [read_until(hub)]))
    at = hub.clock.now
    hub.takes(sold(hub, "A3", 1))
    tells(hub)
    hub.takes(sold(hub, "B1", 5, placed_at=at, paid_at=at), at=hub.beta_shop)
    assert noted(hub) == [("publish_lag", 1), ("shop_race", 4)]


def test_what_a_shop_sold_before_it_was_first_told_is_none_of_its_races(hub: World) -> None:
    assert hub.clock
    at = hub.clock.now
    hub.clock.wait(60)
    hub.counts("pen", 1)
    tells(hub)
    hub.takes(sold(hub, "O1", 3, placed_at=at, paid_at=at))
    assert noted(hub) == [("never_told", 2)]


def test_a_shop_that_takes_units_off_when_they_are_paid_sold_them_then(hub: World) -> None:
    """Placed before the lower figure came and paid after it."""
    assert hub.clock
    hub.store.write(lambda tx: _decrements(tx, hub.beta_shop, "pay"))
    hub.counts("pen", 10)
    tells(hub)
    placed_at = hub.clock.now
    hub.takes(sold(hub, "A1", 10))
    tells(hub)
    hub.takes(sold(hub, "B1", 3, placed_at=placed_at), at=hub.beta_shop)
    assert noted(hub) == [("shop_race", 3)]


def _decrements(tx: Any, shop: int, moment: str) -> None:
    can = one(tx, t.connections, id=shop)["can"]
    tx.set(t.connections, shop, can={**can, "send_stock": {**can["send_stock"], "decrements_at": moment}})


def test_what_a_newer_version_adds_was_sold_after_the_former_was_heard(hub: World) -> None:
    """One pen before the lower figure came, and three more long after."""
    hub.counts("pen", 10)
    tells(hub)
    first = sold(hub, "B1", 1)
    hub.takes(first, at=hub.beta_shop)
    hub.takes(sold(hub, "A1", 9))
    tells(hub)
    hub.takes(sold(hub, "B1", 1, version="2", placed_at=first.placed_at), at=hub.beta_shop)
    more = sold(hub, "B1", 4, version="3", placed_at=first.placed_at, paid_at=first.paid_at)
    hub.takes(more, at=hub.beta_shop)
    assert noted(hub) == [("shop_race", 3)]


def test_a_figure_that_was_raised_in_the_shop_is_a_manual_edit(hub: World) -> None:
    assert hub.clock
    hub.counts("pen", 10)
    tells(hub)
    hub.clock.wait(60)
    ref = hub.row(t.listings, connection_id=hub.tmall, item_id=hub.pen)["ref"]
    hub.store.write(lambda tx: mend_shops.note_showings(tx, hub.tmall, {ref: 50}, tx.now))
    hub.takes(sold(hub, "O1", 13))
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
    hub.takes(sold(hub, "O1", 13))
    assert noted(hub) == [("shop_race", 3), ("policy_overlap", 4)]


def test_an_order_that_is_told_again_counts_nothing_twice_and_one_that_grows_counts_what_it_adds(hub: World) -> None:
    hub.counts("pen", 3)
    tells(hub)
    hub.takes(sold(hub, "O1", 5))
    hub.takes(sold(hub, "O1", 5, after_s=0))
    assert noted(hub) == [("shop_race", 2)]
    hub.takes(sold(hub, "O1", 6, version="2"))
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


def test_units_that_lie_in_two_warehouses_and_not_in_one_are_told_apart(hub: World) -> None:
    """Three in the east and two in the west, six bought in one order: one is more than there is."""
    hub.decides("wait")
    hub.counts("pen", 3)
    hub.counts("pen", 2, "west")
    tells(hub)
    hub.takes(sold(hub, "O1", 6))
    assert noted(hub) == [("not_together", 2), ("shop_race", 1)]
    assert (kept(hub)["told"], kept(hub)["apart"]) == (5, 2)
    with hub.store.read() as tx:
        assert note_oversold.total(tx) == 1
        totals = {(row["cause"], row["units"]) for row in reads.oversold(tx, HUB)["totals"]}
    assert totals == {("not_together", 2), ("shop_race", 1)}


def test_units_an_order_left_to_others_since_it_was_not_whole_are_not_oversold(hub: World) -> None:
    hub.decides("wait", part_backing=False)
    hub.counts("pen", 3)
    tells(hub)
    hub.takes(sold(hub, "O1", 5))
    assert noted(hub) == [("not_together", 3), ("shop_race", 2)]


def test_two_lines_whose_goods_lie_apart_are_oversold_by_what_is_missing(hub: World) -> None:
    hub.decides("wait")
    hub.counts("pen", 5)
    hub.counts("ink", 5, "west")
    hub.takes(order("O1", ("pen", 5), ("ink", 6)))
    assert noted(hub) == [("not_together", 5), ("never_told", 1)]


def test_units_that_another_order_of_the_batch_takes_are_nobodys_besides(hub: World) -> None:
    """Five in two places, eight bought at once: three are too many, whoever is short."""
    hub.decides("wait")
    hub.counts("pen", 3)
    hub.counts("pen", 2, "west")
    tells(hub)
    hub.takes(sold(hub, "O1", 6), sold(hub, "O2", 2))
    assert noted(hub) == [("shop_race", 3)]


def test_what_lies_apart_explains_one_order_of_the_batch_and_not_two(hub: World) -> None:
    """Three lie there, and neither of two who want five each gets fewer: seven of ten are missing."""
    hub.decides("wait", part_backing=False)
    hub.counts("pen", 3)
    tells(hub)
    hub.takes(sold(hub, "O1", 5), sold(hub, "O2", 5))
    assert noted(hub) == [("not_together", 3), ("shop_race", 2), ("shop_race", 5)]


def test_kits_whose_parts_lie_apart_are_counted_whole(hub: World) -> None:
    """Two pens and an ink each: six pens lie in the east and two inks in the west."""
    kit(hub)
    hub.decides("wait")
    hub.counts("pen", 6)
    hub.counts("ink", 2, "west")
    hub.takes(order("O1", ("set", 3)))
    assert noted(hub) == [("not_together", 2), ("never_told", 1)]


few = st.integers(0, 9)


@given(
    units=st.integers(1, 9), told=st.none() | few, beyond=few, shown=st.none() | few, lagging=st.booleans(), lost=few,
    elsewhere=few, may_sell=st.booleans(), early=few,
    apart=few,
)  # fmt: skip
def test_every_unit_has_one_cause(units: int, **known: Any) -> None:
    found = causes(units, Evidence(**known))
    assert sum(n for _, n in found) == units
    assert all(n > 0 for _, n in found)
    assert len({cause for cause, _ in found}) == len(found)
