"""Polling: a page and its cursor move together, once, however many read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from connectors.spi import Page
from core.errors import NotAuthorised, Unavailable
from core.model import Document
from core.store import tables as t
from hub import polling
from tests.towns import Town, town


class Shop:
    """A client whose pages a test writes; `fails` is raised instead of the next page."""

    def __init__(self) -> None:
        self.pages: list[Page] = []
        self.asked: list[Mapping[str, Any]] = []
        self.fails: list[Exception] = []

    def fetch_orders(self, cursor: Mapping[str, Any]) -> Page:
        """The next page; an empty one when there is none."""
        self.asked.append(dict(cursor))
        if self.fails:
            raise self.fails.pop(0)
        return self.pages.pop(0) if self.pages else Page(cursor=cursor)

    def fetch_one(self, kind: str, ref: str) -> Document:
        """One order by its number."""
        return document(f"{kind}-{ref}")


def document(ref: str) -> Document:
    """An order nobody can read."""
    return Document(kind="order", ref=ref, body=ref.encode())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Town]:
    """A town with one shop, all of whose calls have been made once."""
    with town(tmp_path, "tmall") as it:
        it.live(1)
        it.clock.wait(60)
        yield it


@pytest.fixture
def shop(place: Town, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The shop's client, replaced."""
    it = Shop()
    client = place.hub.client(place.world.tmall)
    monkeypatch.setattr(client, "fetch_orders", it.fetch_orders)
    monkeypatch.setattr(client, "fetch_one", it.fetch_one)
    return it


def cursor(place: Town) -> Mapping[str, Any]:
    """The shop's cursor."""
    return place.world.row(t.cursors, connection_id=place.world.tmall, ability="fetch_orders")


def kept(place: Town) -> list[str]:
    """Refs of what was kept."""
    rows = place.world.rows(t.inbox.select().where(t.inbox.c.kind == "order").order_by(t.inbox.c.id))
    return [row["ref"] for row in rows]


def test_pages_are_read_until_there_are_no_more_and_the_cursor_ends_behind_the_last(place: Town, shop: Shop) -> None:
    shop.pages = [Page([document("A")], cursor={"n": 1}, more=True), Page([document("B")], ["C"], {"n": 2})]
    polling.poll_due(place.hub, place.pool)
    assert (kept(place), cursor(place)["value"]) == (["A", "B", "order-C"], {"n": 2})
    assert cursor(place)["lease_until"] is None
    assert cursor(place)["due_at"] > place.clock.now


def test_page_that_fails_leaves_the_cursor_behind_the_last_one_kept(place: Town, shop: Shop) -> None:
    shop.pages = [Page([document("A")], cursor={"n": 1}, more=True)]
    fetch = shop.fetch_orders

    def then_fails(value: Mapping[str, Any]) -> Page:
        page = fetch(value)
        shop.fails = [Unavailable("away")]
        return page

    place.hub.client(place.world.tmall).fetch_orders = then_fails
    polling.poll_due(place.hub, place.pool)
    assert (kept(place), cursor(place)["value"], cursor(place)["failures"]) == (["A"], {"n": 1}, 1)
    place.hub.client(place.world.tmall).fetch_orders = shop.fetch_orders
    place.clock.wait(60)
    polling.poll_due(place.hub, place.pool)
    assert shop.asked[-1] == {"n": 1}
    assert cursor(place)["failures"] == 0


def test_cursor_somebody_else_moved_meanwhile_keeps_their_place_and_the_page_is_dropped(
    place: Town, shop: Shop
) -> None:
    client = place.hub.client(place.world.tmall)

    def overtaken(value: Mapping[str, Any]) -> Page:
        place.store.write(lambda tx: tx.conn.execute(t.cursors.update().values(moves=99, value={"n": 7})))
        return Page([document("A")], cursor={"n": 1}, more=True)

    client.fetch_orders = overtaken
    polling.poll_due(place.hub, place.pool)
    assert (kept(place), cursor(place)["value"], cursor(place)["moves"]) == ([], {"n": 7}, 99)


def test_leased_cursor_is_left_alone_until_its_lease_runs_out(place: Town, shop: Shop) -> None:
    with place.store.read() as tx:
        rows = tx.rows(polling._due(tx))
    place.store.write(lambda tx: polling._lease(place.hub, tx))
    assert len(rows) == 1
    assert polling.poll_due(place.hub, place.pool) == 0
    place.clock.wait(31)
    assert polling.poll_due(place.hub, place.pool) == 1


def test_failures_are_spaced_out_and_those_for_a_person_more_so_but_never_beyond_five_minutes(
    place: Town, shop: Shop
) -> None:
    waits = []
    for error in [Unavailable("away")] * 3 + [NotAuthorised("no")] * 4:
        shop.fails = [error]
        polling.poll_due(place.hub, place.pool)
        waits.append((cursor(place)["due_at"] - place.clock.now).total_seconds())
        place.clock.now = cursor(place)["due_at"]
    assert waits == [5, 10, 20, 300, 300, 300, 300]


def test_page_without_end_lets_go_of_its_cursor_and_goes_on(place: Town, shop: Shop) -> None:
    shop.pages = [Page([document(f"O{n}")], cursor={"n": n}, more=True) for n in range(120)]
    for _ in range(30):
        polling.poll_due(place.hub, place.pool)
        place.clock.wait(1)
    assert len(kept(place)) == 120


def test_shop_that_says_the_same_again_is_kept_once(place: Town, shop: Shop) -> None:
    for n in range(3):
        shop.pages = [Page([document("A")], cursor={"n": n})]
        polling.poll_due(place.hub, place.pool)
        place.clock.wait(60)
    assert kept(place) == ["A"]
    assert place.world.tally("duplicates_absorbed") == 2
