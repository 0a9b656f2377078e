"""A shop with locks and one without sell the same pens; whatever happens, the books and the locks agree."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from core.flow.lock_stock import Line, Locked
from core.store import tables as t
from tests.unit.test_locks import HOUR_S, asks, left, sells_sets, shown, unlocks
from tests.worlds import Clock as Watch
from tests.worlds import World, in_memory, minutes, order, store, world
from workers.clock import Clock

units = st.integers(1, 7)
steps = st.one_of(
    st.tuples(st.just("sell"), st.sampled_from((("tmall", "pen"), ("vendure", "pen"), ("tmall", "set"))), units),
    st.tuples(st.just("change"), st.integers(0, 4), units),
    st.tuples(st.just("close"), st.integers(0, 4)),
    st.tuples(st.just("ship"), st.integers(0, 4)),
    st.tuples(st.just("count"), st.integers(-4, 6), st.sampled_from(("east", "west"))),
    st.tuples(st.just("lock"), units, st.integers(0, 2), st.integers(1, 3), st.sampled_from(("east", "west", "sets"))),
    st.tuples(st.just("unlock"), st.integers(0, 2)),
    st.tuples(st.just("wait"), st.integers(1, 3)),
)


class Story:
    """A shop with locks and one without sell the same pens for some hours."""

    def __init__(self, hub: World, clock: Watch) -> None:
        self.hub, self.clock = hub, clock
        self.orders: list[tuple[str, int, str, int]] = []
        """(ref, shop, listing, units)"""
        self.locks = 0

    def does(self, step: tuple[Any, ...]) -> None:
        what, *how = step
        if what in ("change", "close", "ship") and how[0] >= len(self.orders):
            return
        getattr(self, what)(*how)

    def sell(self, where: tuple[str, str], units: int) -> None:
        shop, listing = where
        self.orders.append((f"O{len(self.orders)}", getattr(self.hub, shop), listing, units))
        self.tells(len(self.orders) - 1, units)

    def tells(self, n: int, units: int, **more: Any) -> None:
        ref, shop, listing, _ = self.orders[n]
        version = f"{self.clock.now:%d%H}{len(self.hub.rows(select(t.inbox.c.id))):06}"
        placed_at = minutes(n) if n % 2 else self.clock.now
        self.hub.takes(order(ref, (listing, units), version=version, placed_at=placed_at, **more), at=shop)

    def change(self, n: int, units: int) -> None:
        self.tells(n, units)

    def close(self, n: int) -> None:
        self.tells(n, self.orders[n][3], status="closed", may_ship=False, closed=True)

    def ship(self, n: int) -> None:
        if any(not f["final"] for f in self.hub.fulfilments(self.orders[n][0])):
            ref = self.hub.releases(self.orders[n][0])
            inks = [("ink", 1)] if self.orders[n][2] == "set" else []
            self.hub.confirms(ref, ("pen", 2), *inks, final=n % 2 == 0)

    def count(self, difference: int, warehouse: str) -> None:
        if difference:
            self.hub.counts("pen", difference, warehouse)

    def lock(self, units: int, begins_h: int, hours: int, what: str) -> None:
        begins = self.clock.now + timedelta(hours=begins_h)
        ends = begins + timedelta(hours=hours)
        where = self.hub.west if what == "west" else self.hub.east
        inks = (Line(self.hub.ink, where, units),) if what == "sets" else ()
        told = {"lines": (Line(self.hub.pen, where, units), *inks), "starts_at": begins, "ends_at": ends}
        self.locks += isinstance(asks(self.hub, ref=f"L{self.locks}", **told), Locked)

    def unlock(self, n: int) -> None:
        unlocks(self.hub, f"L{n}")

    def wait(self, hours: int) -> None:
        self.clock.wait(hours * HOUR_S)
        Clock(self.hub.store, lambda lanes: None).tick()

    def ends(self) -> None:
        """Every lock is ended and every order called off."""
        for n in range(self.locks):
            self.unlock(n)
        for n, (ref, _, _, units) in enumerate(self.orders):
            self.tells(n, units, status="closed", may_ship=False, closed=True)
            for fulfilment in self.hub.fulfilments(ref):
                self.hub.answers(fulfilment["ref"], "cancelled")


@settings(max_examples=settings.default.max_examples // 4)
@given(told=st.lists(steps, min_size=4, max_size=14), policy=st.sampled_from(("ask", "wait", "resource")))
def test_whatever_happens_the_books_and_the_locks_agree(told: list[tuple[Any, ...]], policy: str) -> None:
    with in_memory() as folder:
        clock = Watch()
        with store(folder, clock=clock) as it:
            hub = world(it, clock)
            hub.decides(policy, unback="newest", part_backing=len(told) % 2 == 0)
            hub.counts("pen", 10)
            sells_sets(hub)
            story = Story(hub, clock)
            for step in told:
                story.does(step)
                assert [b for b in hub.audit() if "in suspense" not in b] == [], step
                assert shown(hub, hub.vendure) <= hub.cell(hub.pen).get("free", 0)
            story.ends()
            assert [b for b in hub.audit() if "in suspense" not in b] == []
            assert left(hub) == []
            cells = [(item, at) for item in (hub.pen, hub.ink) for at in (hub.east, hub.west)]
            assert [hub.cell(*cell).get("reserved", 0) for cell in cells] == [0] * 4
