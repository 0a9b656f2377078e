"""What persons and warehouses may do about goods between warehouses: rules of the pool machine."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from core.errors import OutOfStock, Refused
from core.flow import count_stock, keep_promises, transfer_stock
from core.flow.count_stock import Counted
from core.flow.journeys import decide
from core.flow.transfer_stock import Accepted, Fate, Transfer
from core.store import tables as t
from core.store.ledger import Ledger
from core.store.store import Transaction, one
from tests.worlds import World

PLACES = ("east", "west")


class Moves:
    """Rules over a hub and its physics; `transfers` and `carried` are what was asked for, and what was said to move.

    counted: stock-takes that wait: number, SKU, warehouse, by how many units they differ from what lay there then, and
    how often anybody had corrected that figure; corrected: how often by now.
    """

    hub: World
    physics: Any

    def __init__(self) -> None:
        super().__init__()
        self.transfers: list[tuple[str, str, str, str]] = []
        self.carried: list[tuple[str, str, str, int, str, bool, str]] = []
        self.counted: list[tuple[str, str, str, int, int]] = []
        self.corrected: Counter[tuple[str, str]] = Counter()

    @rule(sku=st.sampled_from(["pen", "ink"]), origin=st.sampled_from(PLACES), units=st.integers(1, 8))
    def goods_shall_move(self, sku: str, origin: str, units: int) -> None:
        """Accepted whole where that can be promised, else told no; asked again it stands."""
        hub, item, goal = self.hub, getattr(self.hub, sku), "west" if origin == "east" else "east"
        places = (getattr(hub, origin), getattr(hub, goal))
        there = max(0, sum(map(hub.cell(item, places[0]).get, ("free", "suspense"), (0, 0))))
        asked = Transfer(hub.alpha, f"M{len(self.transfers)}", *places, ((item, units),))
        answer, again = hub.store.write(lambda tx: decide(tx, [asked, asked]))
        if units > there:
            assert isinstance(answer, OutOfStock) and isinstance(again, OutOfStock)
            return
        assert isinstance(answer, Accepted)
        assert again == answer._replace(repeated=True)
        self.transfers.append((f"T{answer.id}", sku, origin, goal))

    @precondition(lambda self: self.transfers)
    @rule(
        data=st.data(), units=st.integers(0, 9), condition=st.sampled_from(["ZP", "ZP", "CC"]), final=st.booleans(),
        way=st.sampled_from(["out", "in"]),
    )  # fmt: skip
    def moved_goods_are_told(self, data: st.DataObject, units: int, condition: str, final: bool, way: str) -> None:
        """Anything: less, more, before it left, after it had ended or was called off."""
        number, sku, origin, goal = data.draw(st.sampled_from(self.transfers))
        told = (way, number, sku, units, condition if way == "in" else "ZP", final, f"V{len(self.carried)}")
        self.carried.append(told)
        self.say_what_moved(*told)
        where, sign = (origin, -1) if way == "out" else (goal, 1)
        self.physics.move(sku if told[4] == "ZP" else f"{sku} {told[4]}", where, sign * units)

    def say_what_moved(
        self, way: str, number: str, sku: str, units: int, condition: str, final: bool, event: str
    ) -> None:
        tell = self.hub.confirms if way == "out" else self.hub.receives
        line = (sku, units) if way == "out" else (sku, units, condition)
        assert tell(number, line, final=final, event_id=event) == ["done"]  # type: ignore[arg-type]

    @precondition(lambda self: self.carried)
    @rule(data=st.data())
    def moved_goods_are_told_twice(self, data: st.DataObject) -> None:
        self.say_what_moved(*data.draw(st.sampled_from(self.carried)))

    @precondition(lambda self: self.transfers)
    @rule(data=st.data(), share=st.floats(0, 1), stop=st.booleans())
    def a_transfer_is_closed_or_called_off(self, data: st.DataObject, share: float, stop: bool) -> None:
        """Of what is on the way some is lost, the rest came back; or it is refused."""
        number, sku, origin, _ = data.draw(st.sampled_from(self.transfers))
        row = self.hub.row(t.transfers, number=number)
        way = max(0, transfer_stock.on_the_way(self.hub.row(t.transfer_lines, transfer_id=row["id"])))
        fate = Fate(int(way * share), way - int(way * share))

        def act(tx: Transaction) -> None:
            ledger, now = Ledger(tx), one(tx, t.transfers, number=number)
            assert now is not None
            if stop:
                transfer_stock.call_off(tx, ledger, now)
            else:
                transfer_stock.close(tx, ledger, now, {getattr(self.hub, sku): fate}, "looked", "anna")
            keep_promises.after_moves(tx, ledger)

        with contextlib.suppress(Refused):
            self.hub.store.write(act)
            if not stop and row["state"] == "under_way":
                self.physics.move(sku, origin, fate.came_back)
        after = self.hub.row(t.transfers, number=number)["state"]
        assert after in ("cancelled", row["state"]) if stop else after != "under_way"

    @rule(sku=st.sampled_from(["pen", "ink"]), where=st.sampled_from(PLACES), units=st.integers(0, 15))
    def a_person_counts(self, sku: str, where: str, units: int) -> None:
        """Whatever the books say, so many lie there now; a difference above the limit waits and changes nothing."""
        hub = self.hub
        assert hub.clock is not None
        lines, there = ((getattr(hub, sku), "ZP", units),), self.physics.there.get((sku, where), 0)
        told = Counted(hub.alpha, getattr(hub, where), f"K{next(hub._numbers)}", hub.clock.now, lines, "anna")
        hub.store.write(lambda tx: count_stock.count(tx, Ledger(tx), told))
        hub.clock.wait(1)
        if hub.row(t.counts, ref=told.ref)["state"] == "booked":
            self.physics.there[sku, where] = units
            self.corrected[sku, where] += 1
        else:
            self.counted.append((told.ref, sku, where, units - there, self.corrected[sku, where]))

    @precondition(lambda self: self.counted)
    @rule(data=st.data(), agreed=st.booleans())
    def a_person_decides_on_a_count(self, data: st.DataObject, agreed: bool) -> None:
        """It is booked by what it differed then, whatever moved since; what was corrected since is not booked twice."""
        told = data.draw(st.sampled_from(self.counted))
        ref, sku, where, differed, corrected = told

        def press(tx: Transaction) -> None:
            row = one(tx, t.counts, ref=ref)
            assert row is not None
            count_stock.approve(tx, Ledger(tx), row, "otto") if agreed else count_stock.reject(tx, row, "no", "otto")

        before = self.on_hand(sku, where)
        self.counted.remove(told)
        try:
            self.hub.store.write(press)
        except Refused:  # a later one of these goods is booked
            assert self.corrected[sku, where] > corrected
            return
        booked = self.on_hand(sku, where) - before
        if agreed and self.corrected[sku, where] == corrected:
            assert booked == differed
        assert agreed or not booked
        self.physics.move(sku, where, booked)
        self.corrected[sku, where] += 1 if booked else 0

    def on_hand(self, sku: str, where: str) -> int:
        """Units the books say lie there."""
        cell = self.hub.cell(getattr(self.hub, sku), getattr(self.hub, where))
        return sum(cell.get(account, 0) for account in ("free", "reserved", "held", "suspense"))
