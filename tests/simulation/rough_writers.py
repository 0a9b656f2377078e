"""What befalls the processes of the pool machine: one dies between any two statements, two write at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from sqlalchemy import func, select

from core.flow.hear import Spoken
from core.flow.journeys import decide
from core.store import tables as t
from core.store.store import Store, Transaction
from tests.worlds import World, opened, order

STEPS_OF_SQLITE = 5
"""Instructions of SQLite's machine between two moments at which a process may die."""


class RoughWriters:
    """Rules of a machine that has a hub and orders; `next_writer` is a second process over the same books."""

    hub: World
    open: ExitStack
    orders: dict[str, Any]

    def begin_processes(self) -> None:
        """From now on the hub is two processes, of which either may die."""
        self.dies_after: int | None = None
        self.deaths = 0
        self.next_writer = self.open.enter_context(opened(self.hub.store.db.url, self.hub.clock))
        for one in (self.hub.store, self.next_writer):
            self._may_die(one)

    def _may_die(self, store: Store) -> None:
        """What it writes is written once more, as a restarted process does, where it died at first."""
        write = store.write

        def mortal(work: Callable[[Transaction], Any], *how: Any, **more: Any) -> Any:
            if self.dies_after is None:
                return write(work, *how, **more)
            before = self._booked()
            moments = self.dies_after
            try:
                return write(lambda tx: _killed_after(tx, moments, work), *how, **more)
            except Exception as error:
                if "interrupted" not in str(error):
                    raise
            assert self._booked() == before
            self.dies_after, self.deaths = None, self.deaths + 1
            return write(work, *how, **more)

        store.write = mortal  # type: ignore[method-assign]

    def _booked(self) -> list[int]:
        """Rows of the tables a decision writes."""
        counted = (t.journals, t.entries, t.claims, t.orders, t.marks, t.outbox, t.events)
        query = select(*(select(func.count()).select_from(table).scalar_subquery() for table in counted))
        return list(self.hub.rows(query)[0].values())

    @precondition(lambda self: self.dies_after is None)
    @rule(moments=st.integers(0, 500))
    def one_that_writes_dies(self, moments: int) -> None:
        """The first whose way to the commit is that long, somewhere on it."""
        self.dies_after = moments

    @rule()
    def another_process_goes_on(self) -> None:
        self.hub.store, self.next_writer = self.next_writer, self.hub.store

    @rule(pens=st.integers(1, 6), more=st.integers(1, 6))
    def two_processes_take_an_order_at_once(self, pens: int, more: int) -> None:
        """The second one wants to write while the first decides, and has to wait for it; neither dies."""
        self.dies_after = None
        hub, beside = self.hub, replace(self.hub, store=self.next_writer)
        first, second = f"O{len(self.orders)}", f"O{len(self.orders) + 1}"
        self.orders |= {first: ("tmall", 1, [("pen", pens)]), second: ("vendure", 1, [("pen", more)])}
        told = [
            Spoken("order", *beside.keeps("order", noun, at=shop), shop, hub.alpha, noun)
            for noun, shop in ((order(first, ("pen", pens), version="0001"), hub.tmall),
                               (order(second, ("pen", more), version="0001"), hub.vendure))
        ]  # fmt: skip
        other = threading.Thread(target=beside.store.write, args=(lambda tx: decide(tx, told[1:]),))

        def with_the_other_waiting(tx: Transaction) -> None:
            if not other.ident:
                other.start()
            decide(tx, told[:1])

        hub.store.write(with_the_other_waiting)
        other.join(30)
        assert [hub.row(t.inbox, id=one.inbox_id)["state"] for one in told] == ["done", "done"]


def _killed_after(tx: Transaction, moments: int, work: Callable[[Transaction], Any]) -> Any:
    """The work, broken off in the middle of whatever SQLite does at that moment, with all that it had written."""
    connection = tx.conn.connection.driver_connection
    left = iter(range(moments))
    connection.set_progress_handler(lambda: next(left, None) is None, STEPS_OF_SQLITE)
    try:
        return work(tx)
    finally:
        connection.set_progress_handler(None, 0)
