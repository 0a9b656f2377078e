"""Announced goods that are to be inspected are held on arrival, and promised once somebody has released them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import select

from core.flow import move_stock
from core.flow.hold_goods import Thaw
from core.model import Receipt, ReceivedLine
from core.model.stock import Lot
from core.store import tables as t
from tests.unit.test_lots import asks, keep_lots
from tests.worlds import Clock, World, order, store, world


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        yield world(it, clock)


def announces(hub: World, units: int = 10) -> str:
    lines = [(hub.pen, units)]
    hub.store.write(lambda tx: move_stock.announce(tx, hub.alpha, hub.east, lines, "A1", inspect=True))
    return "A1"


def receives(hub: World, *lines: tuple[int, str], lots: Sequence[Lot] = (), event: str = "E1") -> None:
    told = tuple(
        ReceivedLine(sku="pen", quantity=n, condition=c, lots=tuple(lots) if c == "ZP" else ())  # type: ignore[arg-type]
        for n, c in lines
    )
    asked = Receipt(asn="A1", warehouse="EAST", event_id=event, final=False, lines=told)
    assert hub.hears(asked, at=hub.wms) == ["done"]
    assert hub.audit() == []


def held(hub: World) -> list[tuple[str | None, int, str]]:
    h = t.holds.c
    return [tuple(r.values()) for r in hub.rows(select(h.lot, h.remaining, h.reason).order_by(h.id))]  # type: ignore[misc]


def test_good_units_are_held_for_quality_control_and_defective_ones_stay_apart(hub: World) -> None:
    announces(hub)
    receives(hub, (8, "ZP"), (2, "CC"))
    assert held(hub) == [(None, 8, "qc")]
    assert hub.cell(hub.pen) == {"held": 8}


def test_nobody_is_promised_what_is_not_released(hub: World) -> None:
    hub.decides("wait")
    announces(hub)
    hub.takes(order("A", ("pen", 5)))
    receives(hub, (10, "ZP"))
    assert hub.claims("A") == [(5, 0)]
    asks(hub, Thaw(hub.alpha, hub.rows(select(t.holds))[0]["ref"], "anna", keep=4))
    assert hub.claims("A") == [(5, 5)]
    assert hub.cell(hub.pen) == {"free": 1, "reserved": 5, "held": 4}


def test_each_lot_is_held_by_itself(hub: World) -> None:
    keep_lots(hub)
    announces(hub)
    receives(hub, (9, "ZP"), lots=[Lot(code="L1", quantity=5), Lot(code="", quantity=4)])
    assert held(hub) == [("L1", 5, "qc"), (None, 4, "qc")]


def test_missing_units_are_made_good_first(hub: World) -> None:
    hub.counts("pen", -3)
    announces(hub)
    receives(hub, (10, "ZP"))
    assert held(hub) == [(None, 7, "qc")]
    assert hub.cell(hub.pen) == {"held": 7}


def test_a_receipt_told_twice_is_held_once(hub: World) -> None:
    announces(hub)
    for _ in range(2):
        receives(hub, (4, "ZP"))
    assert held(hub) == [(None, 4, "qc")]
