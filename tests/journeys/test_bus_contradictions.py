"""A warehouse's message number that comes again: the same is absorbed, other content waits for a person."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.flow.journeys import decide
from core.flow.transfer_stock import Transfer
from hub.parked import press
from sandbox.wms.qimen_papers import Job, Line, change_of, confirm_of, count_of, receipt_of, return_of
from tests.towns import HUB, Town, town

CELL = ("EAST", "ALPHA", "pen", "ZP")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Town]:
    """Ten pens lie there, and the warehouse moves nothing by itself."""
    with town(tmp_path, "tmall") as it:
        it.stocks(pen=10)
        it.twins["wms"].hold()
        yield it


def says(place: Town, method: str, body: bytes) -> None:
    """The warehouse says this; whatever it causes is done."""
    place.twins["wms"]._say(method, body)
    place.live(3)


def pens(place: Town) -> dict[str, int]:
    return place.world.cell(place.world.pen)


def press_(place: Town, ident: int, button: str) -> None:
    place.store.write(lambda tx: press(tx, HUB, "document", ident, button))
    place.live(3)


def count(units: int) -> bytes:
    return count_of("PD1", CELL, units)


def test_a_second_count_under_its_number_is_parked_with_what_both_say(place: Town) -> None:
    says(place, "inventory.report", count(-1))
    says(place, "inventory.report", count(-3))
    (parked,) = place.parked()
    assert (parked["kind"], parked["problem"], parked["fix"]) == ("count", "Contradicted", "dismiss")
    for word in ("inventory.report:PD1-1", "First: rows -1 pen", "Now: rows -3 pen", "dismiss this one"):
        assert word in parked["reason"]
    assert pens(place) == {"free": 9}


def test_a_true_repeat_is_silent_whatever_its_time_and_its_spaces(place: Town) -> None:
    body = count(-1)
    says(place, "inventory.report", body)
    later = body.replace(b"<checkTime>2", b"<checkTime>1").replace(b"<items>", b"\n  <items>\n")
    assert later != body
    says(place, "inventory.report", later)
    says(place, "inventory.report", body)
    assert (pens(place), place.parked()) == ({"free": 9}, [])


def test_another_order_of_rows_is_not_booked_once_more(place: Town) -> None:
    """The key of a row names its place: pens second where they were first would be two counts."""
    one, two = "<item><itemCode>pen</itemCode><quantity>-1</quantity></item>", "<item><itemCode>ink</itemCode>"
    two += "<quantity>2</quantity></item>"
    for rows in (one + two, two + one):
        body = count(-1)
        start, end = body.index(b"<items>") + 7, body.index(b"</items>")
        says(place, "inventory.report", body[:start] + rows.encode() + body[end:])
    assert (pens(place), place.world.cell(place.world.ink), place.parked()) == ({"free": 9}, {"free": 2}, [])


def test_a_confirmation_of_more_under_its_number_is_not_lost(place: Town) -> None:
    """2 of 5 left, says m-1; then 3 left and that was all, says m-1 again."""
    fulfilment = released(place)
    job = Job(fulfilment, "CK1", "EAST", "ALPHA", [Line("1", "pen", "ALPHA", 5)], status="PARTDELIVERED")
    says(place, "deliveryorder.confirm", confirm_of(job, [2], False))
    job.said = 0
    says(place, "deliveryorder.confirm", confirm_of(job, [3], True))
    (parked,) = place.parked()
    assert "First: final false; lines 2 pen" in parked["reason"]
    assert "Now: final true; lines 3 pen" in parked["reason"]
    assert pens(place) == {"free": 5, "reserved": 3}
    says(place, "deliveryorder.confirm", confirm_of(job, [3], True))
    press_(place, parked["id"], "dismiss")
    assert (pens(place), place.parked()) == ({"free": 5}, [])
    assert place.world.audit() == []


def released(place: Town) -> str:
    """A shopper's order of five pens has reached the warehouse; our number of its fulfilment."""
    ref = place.buys("tmall", ("11", 5))
    place.live(8)
    return str(place.world.fulfilments(ref)[0]["ref"])


def other(method: str, units: int) -> bytes:
    """The same number each time, so many units."""
    if method == "entryorder.confirm":
        line = Line("1", "pen", "ALPHA", units, units)
        return receipt_of(Job("A1", "RK1", "EAST", "ALPHA", [line], status="FULFILLED"))
    if method == "returnorder.confirm":
        return return_of("RT1", "TH1", CELL, units)
    return change_of("YD1", "M1", CELL, units)


@pytest.mark.parametrize("method", ["entryorder.confirm", "returnorder.confirm", "stockchange.report"])
def test_every_kind_of_fact_is_held_to_its_number(place: Town, method: str) -> None:
    place.world.announces((place.world.pen, 10), ref="A1")
    for units in (4, 6, 4, 6):
        says(place, method, other(method, units))
    assert [row["problem"] for row in place.parked()] == ["Contradicted"]
    assert pens(place)["free"] == 14
    assert place.world.audit() == []


def test_of_two_that_are_not_booked_the_one_that_is_true_is_replayed(place: Town) -> None:
    """An unknown SKU the first time, the right one under the same number the second."""
    for sku in ("pne", "pen"):
        says(place, "inventory.report", count_of("PD1", ("EAST", "ALPHA", sku, "ZP"), 4))
    wrong, right = place.parked()
    assert (wrong["problem"], right["problem"]) == ("Unmatched", "Contradicted")
    assert "Neither is booked" in right["reason"]
    press_(place, right["id"], "replay")
    assert pens(place) == {"free": 10}
    press_(place, wrong["id"], "dismiss")
    press_(place, right["id"], "replay")
    assert (pens(place), place.parked()) == ({"free": 14}, [])


def test_what_a_transfers_warehouse_says_otherwise_under_its_number_is_parked(place: Town) -> None:
    """Decision 023, at Qimen's door."""
    w = place.world
    asked = Transfer(w.alpha, "M1", w.east, w.west, ((w.pen, 10),))
    (answer,) = place.store.write(lambda tx: decide(tx, [asked]))
    place.live(3)
    number = f"T{answer.id}"
    job = Job(number, "CK1", "EAST", "ALPHA", [Line("1", "pen", "ALPHA", 10)], status="PARTDELIVERED")
    for units in (4, 5):
        job.said = 0
        says(place, "stockout.confirm", confirm_of(job, [units], False, "DBCK"))
    assert [row["problem"] for row in place.parked()] == ["Contradicted"]
    assert pens(place) == {"reserved": 6}


def test_what_was_first_said_and_is_erased_is_for_a_person_too(place: Town) -> None:
    says(place, "inventory.report", count(-1))
    place.clock.wait(40 * 86400)
    place.store.write(lambda tx: place.store.vault.drop(tx, tx.now))
    says(place, "inventory.report", count(-3))
    (parked,) = place.parked()
    assert "what cannot be read" in parked["reason"]
    assert pens(place) == {"free": 9}
