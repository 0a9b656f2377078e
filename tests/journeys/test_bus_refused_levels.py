"""One listing its shop refuses waits for a person; the levels that travel beside it are told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from connectors.spi import Outcome
from core.errors import NotAuthorised, Refused, Unavailable
from core.store import tables as t
from core.store.scope import HUB
from hub.onboard.goods import NewListing, NewListings, add_listings
from hub.parked import parked, press
from tests.towns import Town, town
from web.reads.publishing import publishing


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Town]:
    """A Vendure shop that shows 100 pens and 50 inks, all of one location."""
    with town(tmp_path, "vendure") as it:
        it.stocks(pen=100, ink=50)
        yield it


def lists(place: Town, ref: str, **more: Any) -> None:
    """alpha lists the pen once more, under a variant the shop may not have."""
    one = NewListing(**{"ref": ref, "item": "pen", "owner": "alpha", "location": "1", **more})
    new = NewListings(connection="vendure", listings=(one,))
    place.store.write(lambda tx: add_listings(tx, HUB, new))
    place.finish()


def loses_45_inks(place: Town) -> None:
    place.world.counts("ink", -45)
    place.finish()


def adds_99(place: Town) -> None:
    """The shop has that variant now."""
    stock = place.books("vendure")["on_hand"]
    variants = [{"id": ref, "sku": ref, "name": ref, "price": 1, "on_hand": n} for ref, n in {**stock, "99": 0}.items()]
    place.twins["vendure"].control("setup", {"variants": variants})


def tasks(place: Town) -> list[Any]:
    return [row for row in place.store.write(lambda tx: parked(tx, HUB)) if row["what"].startswith("publish")]


def states(place: Town) -> list[str]:
    return [state for state in place.world.intents("send_stock") if state != "done"]


def test_listing_its_shop_does_not_know_waits_alone(place: Town) -> None:
    """45 of 50 inks are lost: the shop is told 5, though variant 99 of the same location does not exist."""
    lists(place, "99")
    loses_45_inks(place)
    assert (place.books("vendure")["stock"], states(place)) == ({"1": 100, "2": 5}, [])
    (task,) = tasks(place)
    assert (task["what"], task["buttons"]) == ("publish.refused", ["publish"])
    assert "listing 99" in task["reason"] and "there is no variant 99" in task["reason"]
    with place.store.read() as tx:
        (held,) = publishing(tx, HUB)["held"]
    assert (held["connection"], held["listing"]) == ("vendure", "99")
    assert "there is no variant 99" in held["refused"]


def test_what_goes_beside_a_refused_level_in_one_call_is_booked_told(place: Town) -> None:
    place.withheld.add("stock")
    lists(place, "99")
    loses_45_inks(place)
    place.withheld.clear()
    place.finish()
    li, s = t.listings.c, t.shelves.c
    query = select(li.ref, s.told).join(t.shelves, s.listing_id == li.id).where(li.connection_id == place.world.vendure)
    assert {row["ref"]: row["told"] for row in place.world.rows(query)} == {"1": 100, "2": 5}
    assert (place.books("vendure")["stock"], states(place), len(tasks(place))) == ({"1": 100, "2": 5}, [], 1)


def test_refused_listing_is_told_once_a_person_says_so(place: Town) -> None:
    lists(place, "99")
    (task,) = tasks(place)
    place.world.counts("pen", -20)
    place.finish()
    calls = place.faults["vendure"].calls["send_stock"]
    adds_99(place)
    place.store.write(lambda tx: press(tx, HUB, "task", task["id"], "publish"))
    place.finish()
    assert place.faults["vendure"].calls["send_stock"] == calls + 1
    assert (place.books("vendure")["stock"]["99"], tasks(place)) == (80, [])


def test_listing_that_is_refused_again_is_back_on_the_list(place: Town) -> None:
    lists(place, "99")
    (task,) = tasks(place)
    place.store.write(lambda tx: press(tx, HUB, "task", task["id"], "publish"))
    place.finish()
    assert ([row["id"] for row in tasks(place)], states(place)) == ([task["id"]], [])


def test_refused_listing_that_is_corrected_here_is_told_again(place: Town) -> None:
    lists(place, "99")
    adds_99(place)
    lists(place, "99", sku="P")
    assert (place.books("vendure")["stock"]["99"], tasks(place)) == (100, [])


@pytest.mark.parametrize("error", [Unavailable("away"), NotAuthorised("no right")])
def test_call_of_which_more_failed_is_as_ever(place: Town, monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    """One row is refused, another met what is no fault of its own: nothing is told, and nobody is asked of the row."""
    client = place.hub.client(place.world.vendure)
    failed = [Outcome.failed(Refused("no")), Outcome.failed(error)]
    place.withheld.add("stock")
    place.world.counts("pen", -1)
    loses_45_inks(place)
    place.withheld.clear()
    with monkeypatch.context() as patch:
        patch.setattr(type(client), "send_stock", lambda self, batch, step="": failed)
        place.turn()
    (state,) = states(place)
    assert (state, tasks(place)) == ("waiting" if isinstance(error, Unavailable) else "parked", [])


def test_call_a_shop_refuses_as_a_whole_names_its_listings(place: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    client = place.hub.client(place.world.vendure)

    def refuses(self: Any, batch: Any, step: str = "") -> Any:
        raise Refused("closed for stock-taking")

    place.withheld.add("stock")
    place.world.counts("pen", -1)
    loses_45_inks(place)
    place.withheld.clear()
    with monkeypatch.context() as patch:
        patch.setattr(type(client), "send_stock", refuses)
        place.turn()
    (row,) = [row for row in place.store.write(lambda tx: parked(tx, HUB)) if row["kind"] == "intent"]
    assert "closed for stock-taking. The shop does not say which" in row["reason"]
    assert "so all of them wait: 1, 2." in row["reason"]
