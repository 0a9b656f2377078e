"""What the pool machine says of lots and holds: pens keep lots, and a person freezes what is free."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from sqlalchemy import select

from core.errors import OutOfStock
from core.flow.hold_goods import Freeze, Thaw
from core.flow.journeys import decide
from core.model import Adjustment, AdjustmentRow, Confirm, ConfirmedLine
from core.model.stock import Lot
from core.store import lots, pins
from core.store import tables as t
from core.store.ledger import CellKey
from tests.worlds import order, unpaid

CODES = st.sampled_from(["L1", "L2"])
PLACES = st.sampled_from(["east", "west"])


class HeldLots:
    """Rules of a machine that has a hub, physics and lines."""

    hub: Any
    physics: Any
    lines: list[tuple[Any, ...]]
    orders: dict[str, tuple[str, int, list[tuple[str, int]]]]

    def begin_lots(self) -> None:
        """Pens keep lots from now on; by_lot: units of each (warehouse, named lot)."""
        self.by_lot: dict[tuple[str, str], int] = {}
        self.held: list[str] = []
        pen = self.hub.pen
        self.hub.store.write(lambda tx: [tx.set(t.items, pen, keeps_lots=True), lots.begin(tx, [pen])])

    def move_lot(self, warehouse: str, lot: str, units: int) -> None:
        self.physics.move("pen", warehouse, units)
        self.by_lot[warehouse, lot] = self.by_lot.get((warehouse, lot), 0) + units

    @rule(warehouse=PLACES, lot=CODES, units=st.integers(-4, 9))
    def a_lot_is_counted(self, warehouse: str, lot: str, units: int) -> None:
        event = f"L{next(self.hub._numbers)}"
        named = {"sku": "pen", "keeper": "ALPHA", "warehouse": warehouse.upper(), "event_id": event}
        row = AdjustmentRow(**named, quantity=units, lots=(Lot(code=lot, quantity=units),))
        assert self.hub.hears(Adjustment(ref=event, rows=(row,)), at=self.hub.wms) == ["done"]
        self.move_lot(warehouse, lot, units)

    def room(self, cell_id: int, lot: str) -> int:
        """Units of a lot that may still be promised by name there."""
        with self.hub.store.read() as tx:
            return max(0, pins.room(tx, [cell_id], [lot]).get((cell_id, lot), 0))

    @rule(lot=CODES, units=st.integers(1, 5), paid=st.booleans())
    def a_shop_sells_units_of_a_lot(self, lot: str, units: int, paid: bool) -> None:
        """And does not say so again."""
        ref = f"O{len(self.orders)}"
        self.orders[ref] = ("tmall", 1, [("pen", units)])
        told = (order if paid else unpaid)(ref, ("pen", units), version="0001")
        lines = tuple(line.model_copy(update={"lot": lot}) for line in told.lines)
        assert self.hub.takes(told.model_copy(update={"lines": lines})) == ["done"]

    @precondition(lambda self: any(line[2] == "pen" for line in self.lines))
    @rule(data=st.data(), lot=CODES, units=st.integers(1, 7))
    def a_warehouse_ships_any_lot(self, data: st.DataObject, lot: str, units: int) -> None:
        """Be it there or not."""
        ref, _, _, warehouse, *_ = data.draw(st.sampled_from([line for line in self.lines if line[2] == "pen"]))
        line = ConfirmedLine(sku="pen", quantity=units, lots=(Lot(code=lot, quantity=units),))
        told = Confirm(fulfilment=ref, event_id=f"L{next(self.hub._numbers)}", final=True, lines=(line,))
        assert self.hub.hears(told, at=self.hub.wms) == ["done"]
        self.move_lot(warehouse, lot, -units)

    @rule(sku=st.sampled_from(["pen", "ink"]), warehouse=PLACES, units=st.integers(1, 6))
    def a_person_freezes(self, sku: str, warehouse: str, units: int) -> None:
        """As much as is free, no more."""
        hub, ref = self.hub, f"H{len(self.held)}"
        item, place = getattr(hub, sku), getattr(hub, warehouse)
        before = hub.cell(item, place)
        there = max(0, before.get("free", 0) + before.get("suspense", 0))
        asked = Freeze(CellKey(hub.alpha, item, place), units, ref, "frozen", "anna")
        (answer,) = hub.store.write(lambda tx: decide(tx, [asked]))
        assert isinstance(answer, OutOfStock) == (units > there)
        if units <= there:
            self.held.append(ref)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), keep=st.integers(0, 3))
    def a_person_gives_back(self, data: st.DataObject, keep: int) -> None:
        asked = Thaw(self.hub.alpha, data.draw(st.sampled_from(self.held)), "anna", keep)
        (answer,) = self.hub.store.write(lambda tx: decide(tx, [asked]))
        assert answer["remaining"] <= keep

    @invariant()
    def named_lots_are_what_was_told_of_them(self) -> None:
        li, ce, w = t.lot_on_hand.c, t.cells.c, t.warehouses.c
        query = select(w.code, li.lot, li.units).join(t.cells, ce.id == li.cell_id)
        query = query.join(t.warehouses, w.id == ce.warehouse_id).where(ce.condition == "ZP", li.lot != lots.UNNAMED)
        booked = {(r["code"], r["lot"]): r["units"] for r in self.hub.rows(query) if r["units"]}
        assert booked == {key: units for key, units in self.by_lot.items() if units}
