"""The inbox: what is kept, what counts as a duplicate, what waits, what is parked and sent through again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from core.errors import Refused, Unavailable, Unmatched
from core.model import Document
from core.store import inbox
from core.store import tables as t
from core.store.inbox import Delivery, Kept
from tests.worlds import MONDAY, Clock, World, store, world


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        yield world(it, clock)


def document(ref: str, body: str, event_id: str | None = None, kind: str = "order") -> Document:
    return Document(kind=kind, ref=ref, body=body.encode(), event_id=event_id)


def keep(hub: World, *documents: Document, at: int = 0, holder: int = 0) -> Kept:
    return hub.store.write(lambda tx: inbox.keep(tx, at or hub.tmall, holder, documents))


def waiting(hub: World) -> list[tuple[str, bytes]]:
    with hub.store.read() as tx:
        return [(heard.ref, heard.body) for heard in inbox.waiting(tx)]


def test_a_then_b_then_a_again_are_three_documents(hub: World) -> None:
    for body in "ABA":
        assert len(keep(hub, document("1", body)).new) == 1
    assert waiting(hub) == [("1", b"A"), ("1", b"B"), ("1", b"A")]


def test_what_equals_the_latest_is_absorbed_and_counted(hub: World) -> None:
    keep(hub, document("1", "A"))
    assert keep(hub, document("1", "A")) == Kept((), 1)
    assert keep(hub, document("1", "B"), document("1", "B"), document("1", "A"), document("2", "A")).duplicates == 1
    assert waiting(hub) == [("1", b"A"), ("1", b"B"), ("1", b"A"), ("2", b"A")]
    assert hub.tally("duplicates_absorbed") == 2


def test_the_same_words_from_two_connections_or_of_two_kinds_are_two_documents(hub: World) -> None:
    keep(hub, document("1", "A"))
    assert len(keep(hub, document("1", "A"), at=hub.vendure).new) == 1
    assert len(keep(hub, document("1", "A", kind="stock")).new) == 1


def test_an_event_id_is_unique_whatever_the_document_says(hub: World) -> None:
    assert len(keep(hub, document("1", "A", "E1"), document("1", "A", "E2")).new) == 2
    assert keep(hub, document("1", "B", "E1")) == Kept((), 1)
    assert len(keep(hub, document("1", "B", "E1"), at=hub.wms).new) == 1
    assert hub.tally("duplicates_absorbed") == 1


def test_an_event_id_twice_in_one_page_is_kept_once(hub: World) -> None:
    kept = keep(hub, document("1", "A", "E1"), document("1", "A", "E1"))
    assert (len(kept.new), kept.duplicates) == (1, 1)


def test_many_deliveries_are_kept_with_their_order(hub: World) -> None:
    pages = [
        Delivery(hub.tmall, hub.alpha, [document(str(n), "A") for n in range(700)]),
        Delivery(hub.wms, 0, [document("x", "B")]),
    ]
    kept = hub.store.write(lambda tx: inbox.keep_deliveries(tx, pages))
    assert (len(kept.new), kept.duplicates) == (701, 0)
    with hub.store.read() as tx:
        refs = [heard.ref for heard in inbox.waiting(tx, 1000)]
    assert refs == [str(n) for n in range(700)] + ["x"]


def test_nothing_brought_is_nothing_kept(hub: World) -> None:
    assert keep(hub) == Kept((), 0)


def test_bodies_lie_sealed_and_open_under_the_holders_key_alone(hub: World) -> None:
    keep(hub, document("1", "张三 13800000000"), holder=hub.alpha)
    row = hub.row(t.inbox, ref="1")
    assert "张三".encode() not in row["body"]
    assert b"13800000000" not in row["body"]
    assert hub.row(t.vault_keys, id=row["key_id"])["holder"] == hub.alpha
    assert waiting(hub) == [("1", "张三 13800000000".encode())]


def test_a_dropped_month_can_never_be_read_again(hub: World) -> None:
    keep(hub, document("1", "A"))
    assert hub.store.write(lambda tx: hub.store.vault.drop(tx, MONDAY + timedelta(days=31))) == 1
    with hub.store.read() as tx, pytest.raises(Refused, match="erased"):
        inbox.waiting(tx)


def test_what_is_parked_says_why_and_waits_for_a_person(hub: World) -> None:
    (ident,) = keep(hub, document("1", "A")).new
    hub.store.write(lambda tx: inbox.park(tx, ident, Unmatched("listing", "L1")))
    row = hub.row(t.inbox, id=ident)
    assert (row["state"], row["problem"], row["fix"]) == ("parked", "Unmatched", "link")
    assert "'L1'" in row["reason"]
    assert waiting(hub) == []


def test_what_was_parked_or_done_can_be_sent_through_again(hub: World) -> None:
    one, two, three = (keep(hub, document(str(n), "A")).new[0] for n in range(3))
    hub.store.write(lambda tx: inbox.park(tx, one, Unmatched("listing", "L1")))
    hub.store.write(lambda tx: inbox.settle(tx, [two]))
    assert hub.store.write(lambda tx: inbox.replay(tx, [one, two, three])) == 2
    assert len(waiting(hub)) == 3
    hub.store.write(lambda tx: inbox.settle(tx, [one]))
    row = hub.row(t.inbox, id=one)
    assert (row["state"], row["problem"], row["reason"]) == ("done", None, None)


def test_what_is_delayed_waits_for_its_time(hub: World) -> None:
    (ident,) = keep(hub, document("1", "A")).new
    hub.store.write(lambda tx: inbox.delay(tx, ident, Unavailable("nobody there"), 30))
    assert waiting(hub) == []
    assert hub.clock is not None
    hub.clock.wait(31)
    assert len(waiting(hub)) == 1
    assert hub.row(t.inbox, id=ident)["attempts"] == 1


def test_only_those_nobody_settled_are_still_waiting(hub: World) -> None:
    one, two = (keep(hub, document(str(n), "A")).new[0] for n in range(2))
    hub.store.write(lambda tx: inbox.settle(tx, [one]))
    assert hub.store.write(lambda tx: inbox.still_waiting(tx, [one, two])) == {two}


def test_lanes_are_woken_after_the_commit_and_not_when_it_fails(hub: World) -> None:
    woken: list[set[str]] = []
    hub.store.woken = woken.append
    keep(hub, document("1", "A"), document("2", "A", kind="tracking"))
    with pytest.raises(ZeroDivisionError):
        hub.store.write(lambda tx: (inbox.keep(tx, hub.tmall, 0, [document("3", "A")]), 1 // 0))
    assert woken == [{"orders", "tracking"}]
    assert [r["ref"] for r in hub.rows(select(t.inbox.c.ref).where(t.inbox.c.ref == "3"))] == []


def told(body: str, event_id: str = "m-1") -> Document:
    return document("F1", body, event_id, kind="confirm")


def test_a_fact_under_a_known_number_with_other_content_is_kept_beside_the_first(hub: World) -> None:
    """3 went, says m-1; then 5 went, says m-1: the second is not dropped, and says what it repeats."""
    (first,) = keep(hub, told("3"), at=hub.wms).new
    (other,) = keep(hub, told("5"), at=hub.wms).new
    assert waiting(hub) == [("F1", b"3"), ("F1", b"5")]
    assert [hub.row(t.inbox, id=ident)["repeats"] for ident in (first, other)] == [None, first]
    assert [keep(hub, told(body), at=hub.wms) for body in "353"] == [Kept((), 1)] * 3
    assert len(keep(hub, told("7"), told("7"), told("8", "m-2"), at=hub.wms).new) == 2


def test_two_facts_under_one_number_in_one_page_are_both_kept(hub: World) -> None:
    kept = keep(hub, told("3"), told("5"), told("3"), at=hub.wms)
    assert (len(kept.new), kept.duplicates) == (2, 1)
    assert waiting(hub) == [("F1", b"3"), ("F1", b"5")]
