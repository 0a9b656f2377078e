"""What-if: the same scenario gives the same figures, a policy withholds and protects, and the past can be replayed."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.errors import Unfit, Unmatched
from core.flow import publish_stock
from hub.simulate.past import recorded
from hub.simulate.pool import simulate
from hub.simulate.scenario import Arrival, Sale, Scenario, Ways, drawn
from tests.worlds import MONDAY, Clock, order, store, unpaid, world
from workers.cli import app

SLOW = Ways(form="set", poll_s=600, latency_s=5)


def rush(policy: dict[str, int] | None = None, ways: Ways = SLOW) -> Scenario:
    """Two shops that are read every ten minutes sell five units of one item between them, six wanted at each.

    They hold nothing back but what the policy says.
    """
    sales = tuple(Sale(30.0 + n, shop, 0) for n in range(6) for shop in (0, 1))
    return Scenario((ways, ways), (5,), sales, policy={"buffer": 0, **(policy or {})})


def test_slow_shops_oversell_each_others_units_and_the_cause_is_named() -> None:
    result = simulate(rush())
    assert (result.asked, result.sold, result.turned_away, result.oversold) == (12, 10, 2, 5)
    assert sum(result.oversold_by.values()) == 5
    assert (result.short, result.astray) == (5, 0)
    assert result.oversold <= result.window


def test_a_share_of_half_sells_less_and_oversells_nothing() -> None:
    result = simulate(rush({"share": 40}))
    assert (result.sold, result.oversold, result.lost_sales > 0) == (4, 0, True)
    assert result.withheld > simulate(rush()).withheld


def test_the_same_seed_gives_the_same_figures() -> None:
    one = drawn([Ways()] * 2, items=4, stock=6, orders=25, hours=0.2, seed=5, policy={})
    assert simulate(one) == simulate(one)
    assert one == drawn([Ways()] * 2, items=4, stock=6, orders=25, hours=0.2, seed=5, policy={})


def test_units_that_come_in_are_shown_and_sold_and_what_is_lost_is_short() -> None:
    quick = Ways(form="delta", poll_s=10, latency_s=0)
    comes = Scenario((quick,), (0,), (Sale(20, 0, 0), Sale(90, 0, 0)), (Arrival(60, 0, 1),))
    result = simulate(comes)
    assert (result.sold, result.turned_away, result.oversold, result.astray) == (1, 1, 0, 0)
    gone = Scenario((quick,), (2,), (Sale(20, 0, 0), Sale(21, 0, 0)), (Arrival(15, 0, -2),))
    result = simulate(gone)
    assert (result.sold, result.oversold, result.astray) == (0, 0, 0)


def test_what_is_never_paid_is_closed_and_sold_again() -> None:
    quick = Ways(form="delta", poll_s=10, latency_s=0)
    result = simulate(Scenario((quick,), (1,), (Sale(10, 0, 0, pays_s=None), Sale(20, 0, 0), Sale(2500, 0, 0))))
    assert (result.sold, result.turned_away, result.oversold, result.astray) == (2, 1, 0, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Ways(form="shout"),
        lambda: Ways(decrements_at="later"),
        lambda: Ways(poll_s=0),
        lambda: Ways(lost=1),
        lambda: Scenario((Ways(),), (1,), (), policy={"exclusive": 3}),
        lambda: Scenario((), (1,), ()),
    ],
)
def test_what_cannot_be_says_what_to_change(wrong) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Unfit):
        wrong()


def test_the_command_compares_policies() -> None:
    words = ["simulate", "pool", "--shops", "2", "--listings", "2", "--stock", "3", "--orders", "12", "--hours", "0.1"]
    answer = CliRunner().invoke(app, [*words, "--policy", "", "--policy", "share=50,buffer=1", "--json"])
    assert answer.exit_code == 0, answer.output
    rows = json.loads(answer.stdout)
    assert [row["policy"] for row in rows] == ["", "share=50,buffer=1"]
    assert rows[0]["sold"] >= rows[1]["sold"]
    assert "no policy" in CliRunner().invoke(app, [*words]).stdout
    assert CliRunner().invoke(app, [*words, "--policy", "share"]).exit_code == 2


def test_recorded_orders_become_a_scenario(tmp_path: Path) -> None:
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        hub = world(it, clock)
        hub.counts("pen", 7)
        clock.wait(3600)
        since = clock.now
        hub.takes(order("A", ("pen", 2), placed_at=clock.now, paid_at=clock.now + timedelta(seconds=30)))
        clock.wait(60)
        hub.takes(unpaid("B", ("pen-box", 1)).model_copy(update={"placed_at": clock.now}), at=hub.tmall)
        hub.counts("pen", 5)
        hub.store.write(publish_stock.take_marks)
        with hub.store.read() as tx:
            told = recorded(tx, "alpha", since, 2.0, {"share": 50})
            with pytest.raises(Unmatched):
                recorded(tx, "nobody", since, 2.0, {})
            with pytest.raises(Unfit):
                recorded(tx, "alpha", MONDAY + timedelta(days=9), 2.0, {})
    assert told.stock == (7,)
    assert told.sales == (Sale(0.0, 0, 0, 2, 30.0), Sale(60.0, 0, 0, 6, None))
    assert told.arrivals == (Arrival(60.0, 0, 5),)
    assert {ways.form for ways in told.shops} == {"delta", "set"}
    assert simulate(told).asked == 8
