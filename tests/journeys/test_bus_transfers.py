"""A transfer between two warehouses of one WMS: both are told, and what they confirm ends it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.flow import transfer_stock
from core.flow.journeys import decide
from core.flow.transfer_stock import Accepted, Transfer
from core.store import tables as t
from core.store.ledger import Ledger
from core.store.store import Transaction, one
from tests.towns import Town, town


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Town]:
    """A town where ten pens lie in the east."""
    with town(tmp_path, "tmall") as it:
        it.stocks(pen=10)
        it.finish()
        yield it


def moves(place: Town, units: int) -> str:
    """Pens go from east to west; our number of it."""
    w = place.world
    asked = Transfer(w.alpha, "M1", w.east, w.west, ((w.pen, units),))
    (answer,) = place.store.write(lambda tx: decide(tx, [asked]))
    assert isinstance(answer, Accepted)
    return f"T{answer.id}"


def calls_off(place: Town, number: str) -> None:
    """A person calls it off."""

    def stop(tx: Transaction) -> None:
        ledger, row = Ledger(tx), one(tx, t.transfers, number=number)
        assert row is not None
        transfer_stock.call_off(tx, ledger, row)

    place.store.write(stop)


def test_both_warehouses_carry_a_transfer_out(place: Town) -> None:
    number = moves(place, 6)
    place.finish()
    books = place.books("wms")
    assert {units for key, units in books["stock"].items() if "ZP" in key} == {4, 6}
    assert (books["stockouts"][number]["status"], books["receipts"][number]["status"]) == ("DELIVERED", "FULFILLED")
    w = place.world
    assert w.row(t.transfers, number=number)["state"] == "closed"
    assert (w.cell(w.pen), w.cell(w.pen, w.west)) == ({"free": 4}, {"free": 6})
    assert (place.parked(), w.audit()) == ([], [])


def test_one_that_is_called_off_is_stopped_in_both(place: Town) -> None:
    place.twins["wms"].hold()
    number = moves(place, 6)
    place.finish()
    calls_off(place, number)
    place.finish()
    place.twins["wms"].go()
    place.finish()
    books, w = place.books("wms"), place.world
    assert (books["stockouts"][number]["status"], books["receipts"][number]["status"]) == ("CANCELED", "CANCELED")
    assert (w.cell(w.pen), w.cell(w.pen, w.west), w.audit()) == ({"free": 10}, {}, [])


def test_one_that_is_called_off_before_anybody_was_told_is_never_said(place: Town) -> None:
    number = moves(place, 6)
    calls_off(place, number)
    place.finish()
    assert place.books("wms")["stockouts"] == {}
    states = {row["state"] for row in place.world.rows(t.outbox.select().where(t.outbox.c.key.startswith("transfer:")))}
    assert states == {"moot"}
