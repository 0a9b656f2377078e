"""Serial numbers are facts: kept with what left and what came back, asked about when one leaves twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from core.errors import Unmatched
from core.flow import explain
from core.model import Confirm, ConfirmedLine, Return, ReturnedLine
from core.store import tables as t
from core.store.scope import HUB, Scope
from tests.worlds import Clock, World, order, store, world
from web.reads.serials import serial


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        yield world(it, clock)


def sells(hub: World, ref: str, units: int = 1) -> str:
    """A released order of pens; its fulfilment."""
    hub.counts("pen", units)
    hub.takes(order(ref, ("pen", units)))
    return str(hub.releases(ref))


def ships(hub: World, fulfilment: str, *serials: str, event: str = "E1") -> None:
    line = ConfirmedLine(sku="pen", quantity=len(serials), serials=serials)
    told = Confirm(fulfilment=fulfilment, event_id=event, final=True, lines=(line,))
    assert hub.hears(told, at=hub.wms) == ["done"]


def comes_back(hub: World, *serials: str, order_ref: str = "A") -> None:
    line = ReturnedLine(sku="pen", keeper="ALPHA", quantity=len(serials), serials=serials, order=order_ref)
    told = Return(ref="RT1", warehouse="EAST", event_id="B1", final=True, lines=(line,))
    assert hub.hears(told, at=hub.wms) == ["done"]


def facts(hub: World) -> list[tuple[str, str]]:
    s = t.serial_facts.c
    return [(r["serial"], r["what"]) for r in hub.rows(select(s.serial, s.what).order_by(s.id))]


def test_serials_that_left_are_kept_once_however_often_they_are_told(hub: World) -> None:
    fulfilment = sells(hub, "A", 2)
    for _ in range(2):
        ships(hub, fulfilment, "SN1", "SN2")
    assert facts(hub) == [("SN1", "left"), ("SN2", "left")]


def test_a_serial_that_came_back_may_leave_again(hub: World) -> None:
    ships(hub, sells(hub, "A"), "SN1")
    comes_back(hub, "SN1")
    ships(hub, sells(hub, "B"), "SN1", event="E2")
    assert facts(hub) == [("SN1", "left"), ("SN1", "came"), ("SN1", "left")]
    assert hub.worklist() == []


def test_a_serial_that_leaves_twice_is_booked_and_asked_about(hub: World) -> None:
    first, second = sells(hub, "A"), sells(hub, "B")
    ships(hub, first, "SN1")
    ships(hub, second, "SN1", event="E2")
    assert facts(hub) == [("SN1", "left"), ("SN1", "left")]
    assert hub.worklist() == ["serial.twice"]
    reason = hub.row(t.worklist, kind="serial.twice")["reason"]
    assert reason.startswith(f"serial SN1 of pen left with {second}, and with {first} before")


def test_who_asks_for_a_serial_is_told_where_it_went_if_it_is_their_business(hub: World) -> None:
    fulfilment = sells(hub, "A")
    ships(hub, fulfilment, "SN1")
    comes_back(hub, "SN1")
    with hub.store.read() as tx:
        left, came = serial(tx, Scope("merchant", hub.alpha), "SN1")["facts"]
        for scope, ref in ((Scope("merchant", hub.beta), "SN1"), (HUB, "SN2")):
            with pytest.raises(Unmatched, match=f"no warehouse told of a unit with the serial number '{ref}'"):
                serial(tx, scope, ref)
        told = explain.explain_order(tx, HUB, hub.order("A")["id"])["happened"]
    assert (left["sku"], left["what"], left["fulfilment"], left["order"]) == ("pen", "left", fulfilment, "A")
    assert (came["what"], came["return"]) == ("came", "RT1")
    assert [one["words"] for one in told if one["what"] == "serial"] == ["pen SN1 left"]
