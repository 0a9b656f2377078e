"""Inward: what is read, booked, put off or parked, document by document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from connectors.registry import connectors
from core.errors import Unavailable
from core.flow import journeys
from core.flow.hear import Spoken
from core.model import Document
from core.store import inbox
from core.store import tables as t
from core.store.store import Transaction
from hub import inward
from hub.unread import UNREAD
from tests.towns import Town, town


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Town]:
    """A town without shops: a warehouse and a courier."""
    with town(tmp_path) as it:
        yield it


def test_every_kind_a_connector_brings_starts_a_journey() -> None:
    kinds = {kind for found in connectors().values() for can in found.manifest.can.values() for kind in can.documents}
    assert kinds - set(journeys.DOCUMENTS) == set()


def test_every_kind_a_connector_brings_has_a_mapping() -> None:
    missing = [
        f"{found.name}/{kind}"
        for found in connectors().values()
        for can in found.manifest.can.values()
        for kind in can.documents
        if not (found.mappings / f"{kind}.yaml").exists()
    ]
    assert missing == []


def keep(place: Town, *documents: Document, at: str = "courier") -> None:
    """The hub keeps these."""
    place.store.write(lambda tx: inbox.keep(tx, getattr(place.world, at), 0, documents))


def push(waybill: str) -> Document:
    """A route push of one parcel nobody knows."""
    row = f'{{"id":"1","mailno":"{waybill}","acceptTime":"2026-01-05 08:00:00","opCode":"50"}}'
    return Document(kind="tracking", ref=waybill, body=f'{{"Body":{{"WaybillRoute":[{row}]}}}}'.encode())


def test_empty_inbox_is_looked_at_and_nothing_happens(place: Town) -> None:
    assert inward.settle(place.hub) == 0


def test_settle_takes_no_more_than_it_is_asked_to(place: Town) -> None:
    keep(place, *(push(f"SF{n}") for n in range(5)))
    assert [inward.settle(place.hub, 2), inward.settle(place.hub, 2), inward.settle(place.hub, 2)] == [2, 2, 1]


def test_flow_that_must_wait_puts_its_document_off_and_takes_it_up_again(
    place: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def waits(tx: Transaction, batch: Sequence[Spoken]) -> None:
        calls.append(len(batch))
        if len(calls) < 3:
            raise Unavailable("the database is being moved")
        inbox.settle(tx, [spoken.inbox_id for spoken in batch])

    monkeypatch.setitem(journeys.DOCUMENTS, "tracking", waits)
    keep(place, push("SF1"))
    assert (inward.settle(place.hub), inward.settle(place.hub)) == (1, 0)
    row = place.world.row(t.inbox, ref="SF1")
    assert (row["state"], row["attempts"], row["problem"]) == ("waiting", 1, "Unavailable")
    place.live(6)
    assert place.world.row(t.inbox, ref="SF1")["state"] == "done"


def test_unreadable_and_readable_of_one_batch_part_ways(place: Town) -> None:
    keep(place, push("SF1"), Document(kind="tracking", ref="cut", body=b'{"Body":'), push("SF2"))
    inward.settle(place.hub)
    rows = {row["ref"]: (row["state"], row["problem"]) for row in place.parked()}
    assert rows == {
        "SF1": ("parked", "Unmatched"),
        "cut": ("parked", "Unfit"),
        "SF2": ("parked", "Unmatched"),
    }


def test_push_nobody_could_read_is_read_again_by_its_client(place: Town) -> None:
    body = push("SF7").body
    headers = {"content-type": "application/json", "method": "POST"}
    keep(place, Document(kind=UNREAD, ref="digest", body=body, headers=headers))
    inward.settle(place.hub)
    assert place.world.row(t.inbox, ref="digest")["state"] == "done"
    assert place.world.row(t.inbox, ref="SF7")["kind"] == "tracking"


def test_push_that_still_cannot_be_read_parks_again(place: Town) -> None:
    keep(place, Document(kind=UNREAD, ref="digest", body=b"<html>", headers={"content-type": "application/json"}))
    inward.settle(place.hub)
    assert place.world.row(t.inbox, ref="digest")["state"] == "parked"


def test_second_worker_that_read_the_same_document_books_nothing_twice(place: Town) -> None:
    keep(place, push("SF1"))
    with place.store.read() as tx:
        heard = inbox.waiting(tx)
    inward._settle_kind(place.hub, "tracking", heard)
    place.store.write(lambda tx: inbox.settle(tx, [heard[0].id]))
    inward._settle_kind(place.hub, "tracking", heard)
    assert place.world.row(t.inbox, ref="SF1")["state"] == "done"
