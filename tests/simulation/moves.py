"""What persons and warehouses may do about goods between warehouses: rules of the pool machine."""

from __future__ import annotations

import contextlib
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
    """Rules over a hub and its physics; `transfers` and `carried` are what was asked for, and what was said to move."""

    hub: World
    physics: Any

    def __init__(self) -> None:
        super().__init__()
        self.transfers: list[tuple[str, str, str, str]] = []
        self.carried: list[tuple[str, str, str, int, str, bool, str]] = []

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
        lines = ((getattr(hub, sku), "ZP", units),)
        told = Counted(hub.alpha, getattr(hub, where), f"K{next(hub._numbers)}", hub.clock.now, lines, "anna")
        hub.store.write(lambda tx: count_stock.count(tx, Ledger(tx), told))
        if hub.row(t.counts, ref=told.ref)["state"] == "booked":
            self.physics.there[sku, where] = units
