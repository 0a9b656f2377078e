"""Shops sell while our polls, reads and writes are on their way: what they sell is there, or lies in the window.

One or two modelled shops in every wire form and way of decrementing, driven through the hub's own flows by whatever
order of sales, arrivals, losses, polls and answers Hypothesis thinks of.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.simulate.pool import Run
from hub.simulate.scenario import Arrival, Result, Sale, Scenario, Ways
from tests.worlds import in_memory, store

LONG = settings.default.max_examples > 100
EXAMPLES = 500 if LONG else 6
WAYS = [
    *(
        (form, moment, "saleable")
        for form in ("compare", "delta", "read_set", "set")
        for moment in ("create", "pay", "ship")
    ),
    ("set", "ship", "on_hand"),
]
seconds = st.integers(0, 120).map(float)
sales = st.builds(
    Sale,
    at_s=seconds,
    shop=st.integers(0, 1),
    item=st.integers(0, 1),
    units=st.integers(1, 3),
    pays_s=st.sampled_from([0.0, 0.0, 7.0, 40.0, None]),
)
arrivals = st.builds(Arrival, at_s=seconds, item=st.integers(0, 1), units=st.integers(-4, 6).filter(bool))


def scenarios(form: str, moment: str, means: str) -> st.SearchStrategy[Scenario]:
    """Two shops of that kind, two scarce items, a dozen sales within two minutes."""
    shop = st.builds(
        Ways,
        form=st.just(form),
        decrements_at=st.just(moment),
        level_means=st.just(means),
        per=st.sampled_from(["account", "location"]),
        poll_s=st.sampled_from([5.0, 20.0, 60.0]),
        latency_s=st.sampled_from([0.0, 1.0, 6.0]),
        lost=st.sampled_from([0.0, 0.0, 0.3]),
    )
    return st.builds(
        Scenario,
        shops=st.tuples(shop, shop),
        stock=st.tuples(st.integers(0, 8), st.integers(0, 8)),
        sales=st.lists(sales, max_size=12).map(tuple),
        arrivals=st.lists(arrivals, max_size=3).map(tuple),
        seed=st.integers(0, 3),
    )


def through(scenario: Scenario) -> Result:
    run = Run(scenario)
    with in_memory() as folder, store(folder, clock=lambda: run.now) as it:
        return run.through(it)


@pytest.mark.parametrize(("form", "moment", "means"), WAYS)
def test_what_is_oversold_lies_in_the_window_and_every_shop_ends_right(form: str, moment: str, means: str) -> None:
    tried = 0

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(scenarios(form, moment, means))
    def told(scenario: Scenario) -> None:
        nonlocal tried
        tried += 1
        result = through(scenario)
        assert result.oversold <= result.window, result
        assert result.astray == 0, result

    told()
    print(f"{form} {moment} {means}: {tried} interleavings")


def one(form: str, moment: str = "create", rush_s: float = 100.0, **more: Any) -> Scenario:
    """A single shop that shows ten; three are sold before we hear of it, five more come in, then thirty are wanted."""
    early = tuple(Sale(at_s=5.0, shop=0, item=0) for _ in range(3))
    many = tuple(Sale(at_s=rush_s + n / 10, shop=0, item=0) for n in range(30))
    ways = Ways(form=form, decrements_at=moment, poll_s=60.0, latency_s=1.0, **more)
    return Scenario((ways,), (10,), (*early, *many), (Arrival(8.0, 0, 5),))


@pytest.mark.parametrize("form", ["compare", "delta", "read_set"])
def test_sales_we_have_not_heard_of_are_not_sold_twice(form: str) -> None:
    """LEDGER 6: told 10, 3 unseen, receipt 5: 15 are there and 15 are sold."""
    result = through(one(form))
    assert (result.sold, result.oversold, result.astray) == (15, 0, 0)


@pytest.mark.parametrize("buffer", [0, 1, 3])
def test_a_blind_write_sells_unheard_sales_beyond_the_buffer_again_and_the_window_says_so(buffer: int) -> None:
    result = through(blind(buffer, rush_s=10.0))
    assert (result.sold, result.oversold, result.window >= 3) == (18 - buffer, 3 - buffer, True)


@pytest.mark.parametrize("buffer", [0, 1])
def test_a_blind_write_is_mended_by_the_next_once_the_sales_are_heard(buffer: int) -> None:
    result = through(blind(buffer))
    assert (result.sold, result.oversold, result.astray) == (15 - buffer, 0, 0)


def blind(buffer: int, **more: Any) -> Scenario:
    """That shop told blindly; with a buffer of one it is under no policy."""
    return replace(one("set", **more), policy={} if buffer == 1 else {"buffer": buffer})
