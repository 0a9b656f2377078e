"""kill -9 at every commit of a whole story: started again, the hub ends well, and nothing was decided or done twice.

Every point is a forked process of its own, once killed with its transaction written but not committed, once with it
committed and nothing after it done.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from sqlalchemy import case, func, select

from core.flow import audit_ledger
from core.store import tables as t
from core.store.store import Store, Transaction
from core.store.vault import Vault
from tests.worlds import MASTER_KEY, Clock, World, abilities, about, closed, in_memory, order, store, world

ROOT = Path(__file__).parents[2]
RESTARTED_S = 3600
AGAIN = {
    ability
    for name in ("sales/tmall", "wms/qimen", "courier/sf")
    for ability, can in abilities(name).items()
    if can["idempotent"]
}
"""What may be said again: the other side knows it by its key."""
STEP = 1 if settings.default.max_examples > 100 else 5
"""Every point in `make test-long` (and, on PostgreSQL, in `make test-services`), every fifth in `make test`."""
ORDERS = {
    "tmall": [
        order("T0", ("pen", 2)),
        order("T1", ("pen", 3), ("ink", 2)),
        order("T3", ("pen", 14)),
        order("T0", ("pen", 4), version="2"),
        closed("T1", ("pen", 3), ("ink", 2)),
    ],
    "beta_shop": [order("B0", ("pen", 2)), order("B2", ("pen", 40))],
}
REFS = {about(told) for some in ORDERS.values() for told in some}


def prepared(hub: World) -> dict[str, int]:
    """Stock lies there, and everything the story is about waits in the inbox."""
    for sku, units, warehouse in (("pen", 12, "east"), ("pen", 8, "west"), ("ink", 3, "east"), ("ink", 3, "west")):
        hub.counts(sku, units, warehouse)
    for quiet in (hub.vendure, hub.erp):
        hub.store.write(lambda tx, quiet=quiet: tx.set(t.connections, quiet, state="paused"))
    for shop, told in ORDERS.items():
        hub.keeps("order", *told, at=getattr(hub, shop))
    return {name: int(getattr(hub, name)) for name in World.__annotations__ if name not in ("store", "clock")}


@dataclass
class Teller:
    """The process that forks one for each point, and a way to a fresh copy of the prepared database."""

    child: subprocess.Popen[str]
    notes: Path
    copy: Callable[[], Any]

    def tell(self, url: str, stop: str = "", late: int = 0) -> dict[str, int]:
        """How one process ended, and its commits."""
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write(json.dumps({"url": url, "stop": stop, "late": late}) + "\n")
        self.child.stdin.flush()
        told: dict[str, int] = json.loads(self.child.stdout.readline())
        return told

    def whole(self) -> int:
        """Commits of a process nobody kills; it ends well."""
        self.notes.write_text("")
        with self.copy() as url:
            told = self.tell(url)
            assert told["end"] == 0
            ended_well(url, self.notes)
        return told["commits"]

    def survives(self, stop: str) -> None:
        """Killed at this point, the books are right; started again, it ends well."""
        self.notes.write_text("")
        with self.copy() as url:
            assert self.tell(url, stop)["end"] == -signal.SIGKILL
            with opened(url) as tx:
                assert audit_ledger.audit(tx) == []
            assert self.tell(url, late=RESTARTED_S)["end"] == 0
            ended_well(url, self.notes)


@contextmanager
def teller(folder: Path, ids: dict[str, int], copy: Callable[[], Any]) -> Iterator[Teller]:
    notes = folder / "calls"
    notes.write_text("")
    command = [sys.executable, "-W", "error", "-m", "tests.simulation.crash_story", json.dumps(ids), str(notes)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        yield Teller(child, notes, copy)
        child.communicate(timeout=60)


@contextmanager
def opened(url: str) -> Iterator[Transaction]:
    with closing(Store(url, Vault([MASTER_KEY]), clock=Clock())) as it, it.read() as tx:
        yield tx


def ended_well(url: str, notes: Path) -> None:
    """Nothing is left to do, everything was decided and done once, and the books are right."""
    with opened(url) as tx:
        assert audit_ledger.audit(tx) == []
        assert count(tx, t.outbox.c.state) <= {"done", "moot"}
        assert count(tx, t.inbox.c.state) == {"done"}
        orders_decided_once(tx)
        what_left_was_booked_once(tx)
        callers_have_their_answers(tx)
    calls = Counter(tuple(json.loads(line)) for line in notes.read_text().splitlines())
    assert {call for call, n in calls.items() if n > 1 and call[0] not in AGAIN} == set()


def count(tx: Transaction, column: Any) -> set[str]:
    return set(tx.conn.execute(select(column)).scalars())


def orders_decided_once(tx: Transaction) -> None:
    """Every order was taken once, and is over or waits for stock; its lines' claims add up to what it wants."""
    o, ol, c, e = t.orders.c, t.order_lines.c, t.claims.c, t.events.c
    assert Counter(tx.conn.execute(select(o.ref)).scalars()) == Counter(REFS)
    taken = tx.conn.execute(select(e.subject).where(e.type == "order.taken")).scalars().all()
    assert (len(taken), len(set(taken))) == (len(REFS), len(REFS))
    assert count(tx, o.state) <= {"shipped", "part_shipped", "cancelled", "short"}
    asked = func.coalesce(func.sum(case((c.open.is_(True), c.asked - c.shipped), else_=0)), 0)
    lines = select(o.closed, ol.ordered, ol.shipped, ol.short, asked.label("asked")).join(t.orders, o.id == ol.order_id)
    for line in tx.rows(lines.join(t.claims, c.line_id == ol.id, isouter=True).group_by(ol.id, o.id)):
        wanted = 0 if line["closed"] else line["ordered"] - line["short"]
        assert line["asked"] + line["shipped"] == max(wanted, line["shipped"])


def what_left_was_booked_once(tx: Transaction) -> None:
    """A journal for each confirmation; what came less what left lies there."""
    confirms = tx.rows(select(t.inbox.c.id).where(t.inbox.c.kind == "confirm"))
    ship = tx.rows(select(t.journals.c.cause).where(t.journals.c.kind == "ship"))
    assert sorted(r["cause"] for r in ship) == sorted(f"inbox:{r['id']}" for r in confirms)
    ce = t.cells.c
    lies = tx.conn.execute(select(func.sum(ce.free + ce.reserved + ce.held + ce.suspense))).scalar_one()
    left = tx.conn.execute(select(func.sum(t.fulfilment_lines.c.shipped))).scalar_one()
    assert lies == 26 - left


def callers_have_their_answers(tx: Transaction) -> None:
    """R1 is kept for good, R2 was given back, R3 ran out."""
    c = t.claims.c
    kept = tx.conn.execute(select(c.ref, c.open, c.soft, c.backed).where(c.ref.is_not(None)).order_by(c.ref)).all()
    assert [tuple(row) for row in kept] == [("R1", True, False, 1), ("R2", False, True, 0), ("R3", False, True, 0)]


def survives_every_point(it: Teller, step: int = 1) -> None:
    """step: of how many points one is tried."""
    commits = it.whole()
    points = [(n, where) for n in range(1, commits + 1) for where in ("inside", "after")][::step]
    for n, where in points:
        it.survives(f"{where}:{n}")
    print(f"crash matrix: {len(points)} of {2 * commits} points of {commits} commits")


@pytest.fixture
def told() -> Iterator[Teller]:
    with in_memory() as folder:
        first, second = folder / "first", folder / "second"
        first.mkdir()
        with store(first, clock=Clock()) as it:
            ids = prepared(world(it))

        @contextmanager
        def copy() -> Iterator[str]:
            shutil.copytree(first, second)
            yield f"sqlite:///{second}/hub.db"
            shutil.rmtree(second)

        with teller(folder, ids, copy) as it:
            yield it


def test_killed_at_any_commit_the_story_ends_well(told: Teller) -> None:
    survives_every_point(told, STEP)
