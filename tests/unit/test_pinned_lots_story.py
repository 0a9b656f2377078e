"""Whatever is said of lots, loose and pinned, in any order: no unit of a lot is promised by name twice."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from core.flow.reserve_stock import Release, Subject
from core.store import tables as t
from tests.conftest import stories
from tests.unit.test_lots import counts, freezes, instructed, keep_lots, ships
from tests.unit.test_pinned_lots import arrives, decided, pinned, pins, reserve
from tests.worlds import Clock, World, in_memory, order, store, unpaid, world

LOTS = st.sampled_from(["L1", "L2"])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("receive"), LOTS, st.integers(1, 6), st.sampled_from(["east", "west"])),
        st.tuples(st.just("sell"), st.sampled_from(["", "L1", "L2"]), st.integers(1, 6), st.booleans()),
        st.tuples(st.just("reserve"), st.sampled_from(["", "L1", "L2"]), st.integers(1, 6), st.booleans()),
        st.tuples(st.just("hold"), st.sampled_from(["", "L1", "L2"]), st.integers(1, 3), st.just("")),
        st.tuples(st.just("pay"), st.integers(0, 9), st.just(0), st.just("")),
        st.tuples(st.just("cancel"), st.integers(0, 9), st.just(0), st.just("")),
        st.tuples(st.just("ship"), st.integers(0, 9), st.just(0), st.just("")),
        st.tuples(st.just("release"), st.integers(0, 9), st.just(0), st.just("")),
        st.tuples(st.just("count"), st.sampled_from(["L1", "L2", ""]), st.integers(-5, 5), st.just("")),
    ),
    min_size=3,
    max_size=14,
)


class Story:
    """What a list of steps says to a world, and whether units were ever taken away by a fact."""

    def __init__(self, hub: World) -> None:
        self.hub, self.lost = hub, False
        self.orders: list[tuple[str, str, int]] = []
        self.kept: list[Subject] = []

    def receive(self, lot: str, units: int, where: str) -> None:
        arrives(self.hub, {lot: units}, where)

    def sell(self, lot: str, units: int, paid: bool) -> None:
        self.orders.append((f"O{len(self.orders)}", lot, units))
        self.tell(len(self.orders) - 1, "1", paid)

    def tell(self, n: int, version: str, paid: bool) -> None:
        ref, lot, units = self.orders[n]
        self.hub.takes(pins((order if paid else unpaid)(ref, ("pen", units), version=version), lot))

    def pay(self, n: int, *_: Any) -> None:
        if n < len(self.orders):
            self.tell(n, "2", paid=True)

    def cancel(self, n: int, *_: Any) -> None:
        if n < len(self.orders):
            ref, lot, units = self.orders[n]
            told = unpaid(ref, ("pen", units), version="9").model_copy(update={"status": "closed", "closed": True})
            self.hub.takes(pins(told, lot))

    def ship(self, n: int, *_: Any) -> None:
        """Just what was told; where no lot was, units of none."""
        told = self.hub.fulfilments(self.orders[n][0]) if n < len(self.orders) else []
        if told and not told[-1]["final"] and told[-1]["state"] not in ("cancelled", "cancelling"):
            ref = self.orders[n][0]
            self.hub.releases(ref)
            units = {lot: some for lot, some in instructed(self.hub, ref).items() if some}
            rest = self.orders[n][2] - sum(units.values())
            ships(self.hub, ref, {**units, **({"": rest} if rest > 0 else {})})

    def reserve(self, lot: str, units: int, split: bool) -> None:
        places = (self.hub.east, self.hub.west)
        asked = reserve(self.hub, f"R{len(self.kept)}", (units, lot), warehouses=places, may_split=split)
        decided(self.hub, asked)
        self.kept.append(asked.subject)

    def release(self, n: int, *_: Any) -> None:
        if n < len(self.kept):
            decided(self.hub, Release(self.kept[n]))

    def hold(self, lot: str, units: int, _: str) -> None:
        freezes(self.hub, units, f"H{next(self.hub._numbers)}", lot or None)

    def count(self, lot: str, units: int, _: str) -> None:
        self.lost = self.lost or units < 0
        counts(self.hub, {lot: units}, f"C{next(self.hub._numbers)}")


def unspoken_for(hub: World) -> dict[tuple[str, str], int]:
    """(warehouse, lot) → units of the lot that lie there less what is held of it and what is to leave."""
    ce, w, h, p = t.cells.c, t.warehouses.c, t.holds.c, t.picks.c
    cells = select(ce.id, w.code).join(t.warehouses, w.id == ce.warehouse_id).where(ce.condition == "ZP")
    codes = {r["id"]: r["code"] for r in hub.rows(cells)}
    found = {
        (codes[r["cell_id"]], r["lot"]): r["units"] for r in hub.rows(select(t.lot_on_hand)) if r["cell_id"] in codes
    }
    for row in hub.rows(select(h.cell_id, h.lot, h.remaining).where(h.lot.is_not(None))):
        found[codes[row["cell_id"]], row["lot"]] -= row["remaining"]
    for row in hub.rows(select(p.cell_id, p.lot, p.remaining)):
        found[codes[row["cell_id"]], row["lot"]] -= row["remaining"]
    return found


@settings(max_examples=stories(60))
@given(st.sampled_from(["wait", "resource", "part_ship"]), st.sampled_from(["person", "newest"]), steps)
def test_no_unit_of_a_lot_is_pinned_twice_whatever_is_said(
    policy: str, unback: str, told: list[tuple[Any, ...]]
) -> None:
    clock = Clock()
    with in_memory() as folder, store(folder, clock=clock) as it:
        hub = world(it, clock, policy=policy)
        hub.decides(policy, unback=unback)
        keep_lots(hub)
        story = Story(hub)
        for what, *how in told:
            getattr(story, what)(*how)
            there = unspoken_for(hub)
            if not story.lost:
                assert all(n <= there.get(at, 0) for at, n in pinned(hub, only_loose=True).items())
                assert "lot.pinned_gone" not in hub.worklist()
            assert all(row[a] >= 0 for row in hub.rows(select(t.cells)) for a in ("free", "reserved", "held"))
            assert [breach for breach in hub.audit() if "in suspense" not in breach] == []
