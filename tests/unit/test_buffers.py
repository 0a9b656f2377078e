"""What buffer would have kept oversell down: replays of stories told by hand, and of stories nobody thought of."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.rules.buffers import DAY_S, DRAWS, FEWEST, Lag, Outcome, Replay, Sale, Step, Story, advise, withheld
from core.rules.channels import Policy

MINUTE = (Lag(60.0, 60.0, 1),)
NONE = Decimal(0)


def story(there: int, *moves: tuple[float, int], sales: Sequence[Sale] = (), lags: Sequence[Lag] = MINUTE) -> Story:
    """A day. moves: (second, units) that others took of the pool, or that came."""
    steps, units = [], there
    for at, change in moves:
        units += change
        steps.append(Step(at, units))
    return Story(there, steps, sales, lags, DAY_S)


def none_over(outcome: Outcome) -> bool:
    return outcome.oversold == 0


def many(n: int) -> list[Sale]:
    """So many sales of one unit each, long before anything else."""
    return [Sale(1.0 + i, 1.0 + i, 1) for i in range(n)]


def test_three_units_sold_elsewhere_that_the_shop_had_not_been_told_of_need_a_buffer_of_three() -> None:
    replay = Replay(story(10, (100, -3), sales=[Sale(130, 131, 10)]))
    assert [replay.with_buffer(b).oversold / DRAWS for b in range(5)] == [3, 2, 1, 0, 0]
    assert replay.smallest(none_over) == 3
    assert replay.with_buffer(3).refused / DRAWS == 3


def test_what_the_shop_was_told_in_time_needs_no_buffer() -> None:
    replay = Replay(story(10, (100, -3), sales=[Sale(161, 162, 10)]))
    assert (replay.smallest(none_over), replay.with_buffer(0).refused / DRAWS) == (0, 3)


def test_goods_that_came_before_the_sale_was_heard_back_it() -> None:
    assert Replay(story(10, (100, -3), (120, 3), sales=[Sale(130, 131, 10)])).smallest(none_over) == 0
    assert Replay(story(10, (100, -3), (120, 2), sales=[Sale(130, 131, 10)])).smallest(none_over) == 1


def test_a_figure_that_came_late_stands_for_those_before_it() -> None:
    late = Replay(story(10, (100, -3), (101, -1), sales=[Sale(162, 163, 10)]))
    assert late.smallest(none_over) == 0


def test_what_moves_before_a_sale_is_heard_is_gone_when_it_is() -> None:
    assert Replay(story(5, (100, -2), sales=[Sale(50, 300, 5)])).smallest(none_over) == 2


def test_units_that_were_called_off_may_be_sold_again() -> None:
    off, again = Sale(10, 11, 4, back=4, back_at=20), Sale(30, 31, 5)
    assert Replay(story(5, sales=[off, again])).with_buffer(0).refused == 0
    assert Replay(story(5, sales=[off._replace(back=0), again])).with_buffer(0).refused / DRAWS == 4


def test_the_listings_own_journals_are_not_counted_beside_its_sales() -> None:
    own = Story(10, [Step(11, 6, own=True)], [Sale(10, 11, 4), Sale(100, 101, 6)], MINUTE, DAY_S)
    assert (Replay(own).smallest(none_over), Replay(own).with_buffer(0).refused) == (0, 0)


def test_a_floor_that_shows_what_is_gone_cannot_be_mended_by_a_buffer() -> None:
    told = story(10, (100, -3), sales=[Sale(130, 131, 10)])
    assert Replay(told, Policy(floor=10)).smallest(none_over) is None
    found = advise(busy(), Policy(floor=100), 0, NONE)
    assert (found.reason, found.buffer, found.replayed) == ("no_buffer_does", None, 3.0)


def test_a_buffer_withholds_what_there_is_of_it_on_average() -> None:
    half = story(10, (DAY_S / 2, -8))
    assert withheld(half, Policy(), 4) == pytest.approx(3.0)
    assert withheld(half, Policy(), 0) == 0.0
    assert withheld(half, Policy(cap=5), 4) == pytest.approx(1.0)


def busy(n: int = 40, taken: int = 3) -> Story:
    """Others take some of what is left, then the shop sells it all."""
    return story(n + 10, (1000, -taken), sales=[*many(n), Sale(1030, 1031, 10)])


def test_advice_says_the_smallest_buffer_and_what_it_costs() -> None:
    found = advise(busy(), Policy(), 0, NONE)
    assert (found.reason, found.buffer, found.replayed, found.would_be, found.refused) == ("raise", 3, 3.0, 0.0, 3.0)
    assert (found.low, found.high) == (3, 3)
    assert advise(busy(), Policy(), 3, NONE).reason == "keep"
    assert advise(busy(), Policy(), 9, NONE).reason == "lower"


def test_a_share_that_allows_some_asks_for_less() -> None:
    assert [advise(busy(), Policy(), 0, Decimal(x)).buffer for x in ("0", "0.02", "0.04", "0.06")] == [3, 2, 1, 0]


def test_so_few_sales_cannot_show_so_small_a_share() -> None:
    assert not advise(busy(), Policy(), 0, Decimal("0.001")).sure
    assert advise(busy(), Policy(), 0, Decimal("0.06")).sure


def test_nothing_is_advised_without_sales_or_lags() -> None:
    few = story(10, sales=many(FEWEST - 1))
    assert (advise(few, Policy(), 0, NONE).reason, advise(few, Policy(), 0, NONE).buffer) == ("few_sales", None)
    assert advise(busy()._replace(lags=()), Policy(), 0, NONE).reason == "no_lags"


def test_what_stale_figures_do_not_explain_has_other_causes() -> None:
    assert advise(busy(), Policy(), 0, NONE, oversold=6).reason == "raise"
    assert advise(busy(), Policy(), 0, NONE, oversold=7).reason == "other_causes"


def test_days_that_differ_widen_the_interval() -> None:
    calm = [Sale(day * DAY_S + i, day * DAY_S + i, 1) for day in range(6) for i in range(10)]
    wild = [Sale(6 * DAY_S + 130, 6 * DAY_S + 131, 40)]
    moves = [Step(6 * DAY_S + 100, 100 - 30)]
    week = Story(100, moves, [*calm, *wild], MINUTE, 7 * DAY_S)
    found = advise(week, Policy(), 0, NONE)
    assert (found.buffer, found.low, found.high) == (30, 0, 30)


moves = st.lists(st.tuples(st.floats(0, 2 * DAY_S), st.integers(-9, 9)), max_size=12)
soon = st.floats(0, 900)
sold = st.builds(
    lambda at, units, late, back, after: Sale(at, at + late, units, min(units, back), at + late + after),
    st.floats(0, 2 * DAY_S), st.integers(1, 9), soon, st.integers(0, 9), soon,
)  # fmt: skip
lag = st.builds(lambda low, more, calls: Lag(low, low + more, calls), soon, soon, st.integers(1, 5))


@st.composite
def stories(draw: Any) -> Story:
    there = units = draw(st.integers(0, 30))
    steps = []
    for at, change in sorted(draw(moves)):
        units = max(0, units + change)
        steps.append(Step(at, units, draw(st.booleans())))
    return Story(
        there, steps, draw(st.lists(sold, max_size=12)), draw(st.lists(lag, min_size=1, max_size=4)), 2 * DAY_S
    )


@given(told=stories(), share=st.sampled_from(["0", "0.05", "0.3"]), seed=st.integers(0, 3))
def test_the_advised_buffer_holds_and_one_less_does_not(told: Story, share: str, seed: int) -> None:
    replay, allowed = Replay(told, seed=seed), Decimal(share) * told.sold * DRAWS
    found = replay.smallest(lambda outcome: outcome.oversold <= allowed)
    assert found is not None
    assert replay.with_buffer(found).oversold <= allowed
    assert found == 0 or replay.with_buffer(found - 1).oversold > allowed


@given(told=stories(), cap=st.none() | st.integers(0, 20))
def test_a_higher_buffer_never_oversells_more_and_never_sells_more(told: Story, cap: int | None) -> None:
    replay = Replay(told, Policy(cap=cap))
    outcomes = [replay.with_buffer(b) for b in range(replay.most + 2)]
    assert [o.oversold for o in outcomes] == sorted((o.oversold for o in outcomes), reverse=True)
    assert [o.refused for o in outcomes] == sorted(o.refused for o in outcomes)
    assert outcomes[-1].oversold == 0
    assert replay.with_buffer(0) == Replay(told, Policy(cap=cap)).with_buffer(0)


@given(told=stories(), current=st.integers(0, 30))
def test_a_buffer_withholds_no_more_than_itself(told: Story, current: int) -> None:
    assert 0 <= withheld(told, Policy(), current) <= current + 1e-9
