"""kill -9 while orders are taken: whatever was committed stands, nothing else does, and every order is decided once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from sqlalchemy import func, select

from core.store import tables as t
from tests.worlds import MASTER_KEY, World, order, store, world

ROOT = Path(__file__).parents[2]
ORDERS, STOCK = 60, 45
Child = subprocess.Popen[str]


def begin(hub: World, size: int, stop: str = "never") -> Child:
    """A process that is about to take the shop's orders."""
    arguments = [hub.store.db.url, MASTER_KEY, str(hub.tmall), str(hub.alpha), str(size), stop]
    command = [sys.executable, "-W", "error", "-m", "tests.simulation.hub_process", *arguments]
    child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert line(child) == "ready"
    return child


def line(child: Child) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def go(child: Child) -> None:
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()


def kill(child: Child) -> None:
    child.send_signal(signal.SIGKILL)
    assert end(child) == -signal.SIGKILL


def end(child: Child) -> int:
    """Its exit code, once it is gone and its pipes are closed."""
    child.communicate(timeout=60)
    return child.returncode


def sell(hub: World, units: int = STOCK) -> None:
    """Orders of one pen each wait in the inbox, more than there are pens."""
    hub.counts("pen", units)
    hub.keeps("order", *(order(f"K{n}", ("pen", 1)) for n in range(ORDERS)), at=hub.tmall)


def decided(hub: World) -> int:
    """Orders in the books; each has exactly one claim and its inbox row is settled in the same commit."""
    o, c, i = t.orders, t.claims, t.inbox
    orders = hub.rows(select(func.count().label("n")).select_from(o))[0]["n"]
    claims = hub.rows(select(func.count().label("n"), func.count(c.c.order_id.distinct()).label("of")))[0]
    settled = hub.rows(select(func.count().label("n")).where(i.c.kind == "order", i.c.state == "done"))[0]["n"]
    assert (claims["n"], claims["of"], settled) == (orders, orders, orders)
    assert hub.audit() == []
    return int(orders)


def finish(hub: World) -> None:
    """A process that is not killed takes the rest; every order was decided exactly once."""
    child = begin(hub, 20)
    go(child)
    assert end(child) == 0
    assert decided(hub) == ORDERS
    assert hub.events("order.taken") == ORDERS
    assert hub.cell(hub.pen) == {"reserved": STOCK}
    backed = hub.rows(select(t.claims.c.backed))
    assert sum(r["backed"] for r in backed) == STOCK
    assert len(hub.rows(select(t.fulfilments.c.id))) == STOCK


def killed_inside_a_transaction(hub: World) -> None:
    sell(hub)
    before = 0
    for nth in (1, 3):
        child = begin(hub, 7, f"inside:{nth}")
        go(child)
        said = [line(child) for _ in range(nth)]
        assert said == ["committed"] * (nth - 1) + ["inside"]
        kill(child)
        assert decided(hub) == before + 7 * (nth - 1)
        before += 7 * (nth - 1)
    finish(hub)


def killed_at_any_moment(hub: World, seed: int) -> None:
    dice = random.Random(seed)
    sell(hub)
    for _ in range(3):
        child = begin(hub, 3)
        go(child)
        commits = dice.randint(1, 4)
        for _ in range(commits):
            line(child)
        kill(child)
        assert decided(hub) >= 0
    finish(hub)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    with store(tmp_path) as it:
        yield world(it)


def test_killed_inside_a_transaction_it_leaves_nothing_of_it(hub: World) -> None:
    killed_inside_a_transaction(hub)


@pytest.mark.parametrize("seed", range(10) if settings.default.max_examples > 100 else [1])
def test_killed_at_any_moment_every_order_is_decided_exactly_once(hub: World, seed: int) -> None:
    killed_at_any_moment(hub, seed)


def race(hub: World, processes: int, size: int) -> None:
    """Several processes take from one inbox at the same moment."""
    children = [begin(hub, size) for _ in range(processes)]
    for child in children:
        go(child)
    assert [end(child) for child in children] == [0] * processes


def test_two_processes_that_take_from_one_inbox_decide_every_order_once(hub: World) -> None:
    sell(hub)
    race(hub, 2, 4)
    finish(hub)
