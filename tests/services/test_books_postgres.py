"""The books on PostgreSQL while several write: they show what was, in the order in which it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from core.flow import audit_moves, carry_transfer, keep_promises
from core.flow.carry_transfer import Told
from core.flow.journeys import decide
from core.flow.transfer_stock import Transfer
from core.store import cells
from core.store import tables as t
from core.store.ledger import Ledger
from core.store.scope import HUB
from core.store.store import Transaction, one
from tests.worlds import World, order, store, world


@pytest.fixture
def hub(tmp_path: Path, postgres_url: str) -> Iterator[World]:
    with store(tmp_path, postgres_url) as it:
        yield world(it)


def wants_four(hub: World) -> Transfer:
    return Transfer(hub.alpha, "T1", hub.east, hub.west, ((hub.pen, 4),))


def test_what_is_booked_later_is_recorded_later_although_its_transaction_began_before(hub: World) -> None:
    """A person asks for four pens while none are there; five come in before that is decided."""
    began, came = threading.Event(), threading.Event()

    def asks(tx: Transaction) -> Any:
        tx.rows(select(t.merchants.c.id))
        at = tx.now
        began.set()
        assert came.wait(10)
        return at, decide(tx, [wants_four(hub)])

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(hub.store.write, asks)
        assert began.wait(10)
        hub.counts("pen", 5)
        came.set()
        at, _ = asked.result()
    kinds = select(t.journals.c.kind).order_by(t.journals.c.recorded_at)
    assert [row["kind"] for row in hub.rows(kinds)] == ["adjust", "reserve"]
    with hub.store.read() as tx:
        assert cells.balances_at(tx, HUB, at) == []


def test_all_of_a_batch_is_recorded_at_one_moment_after_it_has_the_ledger(hub: World) -> None:
    hub.counts("pen", 600)
    hub.takes(*(order(f"O{n}", ("pen", 1)) for n in range(500)))
    j = t.journals.c
    (row,) = hub.rows(
        select(func.count(j.id).label("n"), func.count(j.recorded_at.distinct()).label("moments")).where(
            j.kind == "reserve"
        )
    )
    assert row == {"n": 500, "moments": 1}


def test_an_audit_during_which_goods_leave_shows_the_books_of_one_moment(
    hub: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.counts("pen", 10)
    hub.store.write(lambda tx: decide(tx, [wants_four(hub)]))
    booked = audit_moves._booked

    def depart(tx: Transaction) -> None:
        ledger, row = Ledger(tx), one(tx, t.transfers, ref="T1")
        assert row is not None
        carry_transfer.depart(tx, ledger, row, Told(carry_transfer.out_key(row, "p"), "x", {(hub.pen, "ZP"): 2}))
        keep_promises.after_moves(tx, ledger)

    def booked_before_they_left(tx: Transaction) -> Any:
        found = booked(tx)
        hub.store.write(depart)
        return found

    monkeypatch.setattr(audit_moves, "_booked", booked_before_they_left)
    assert hub.audit() == []
    monkeypatch.undo()
    assert hub.audit() == []
