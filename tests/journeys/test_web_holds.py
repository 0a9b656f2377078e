"""Lots and holds over REST: shown, held once, refused in words, given back, and nobody else's business."""

from __future__ import annotations

from typing import Any

import pytest

SKU = "SKU-alpha-1"


@pytest.fixture
def five(web_pool: Any) -> Any:
    """Five of alpha's goods lie in HZ, and the item keeps lots."""
    web_pool.stock_up("alpha", SKU, 5)
    item = {"sku": SKU, "name": "tea", "keeps_lots": True}
    web_pool.did("POST", "/items", {"owner": "alpha", "items": [item]})
    return web_pool


def holds(stage: Any, units: int, by: str = "alpha", **more: Any) -> Any:
    return stage.call("POST", "/holds", {"ref": "H1", "sku": SKU, "warehouse": "HZ", "units": units, **more}, by=by)


def accounts(stage: Any) -> tuple[int, int]:
    """(free, held) of alpha's goods."""
    (row,) = stage.did("GET", "/stock")["rows"]
    return row["free"], row["held"]


def test_an_item_that_keeps_lots_shows_them(five: Any) -> None:
    (lot,) = five.did("GET", f"/items/{SKU}/lots", by="alpha")["lots"]
    assert (lot["lot"], lot["on_hand"], lot["held"], lot["instructed"], lot["expires_on"]) == ("?", 5, 0, 0, None)


def test_a_hold_is_kept_once_shown_and_given_back_in_part(five: Any) -> None:
    first, again = holds(five, 3), holds(five, 3)
    assert (first.status_code, again.json()) == (201, first.json())
    assert (first.json()["warehouse"], first.json()["reason"], accounts(five)) == ("HZ", "frozen", (2, 3))
    (row,) = five.did("GET", f"/holds?sku={SKU}", by="alpha")["rows"]
    assert (row["ref"], row["remaining"]) == ("H1", 3)
    assert five.did("POST", "/holds/H1/release", {"keep": 1}, by="alpha")["remaining"] == 1
    assert accounts(five) == (4, 1)
    assert five.did("POST", "/holds/H1/release", {}, by="alpha")["ended_at"] is not None
    assert accounts(five) == (5, 0)


def test_more_than_is_free_or_of_an_unknown_lot_is_refused_in_words(five: Any) -> None:
    refused = holds(five, 6)
    assert (refused.status_code, refused.json()["title"]) == (409, "Not enough stock")
    assert "H1: 6 units where 5 are free" in refused.json()["detail"]
    assert holds(five, 1, lot="L9").status_code == 409
    assert accounts(five) == (5, 0)


def test_another_merchants_goods_and_holds_are_not_there(five: Any) -> None:
    assert holds(five, 1).status_code == 201
    assert holds(five, 1, by="beta").status_code == 404
    assert five.call("POST", "/holds/H1/release", {}, by="beta").status_code == 404
    assert five.call("GET", f"/items/{SKU}/lots?owner=alpha", by="beta").status_code == 404
    assert five.did("GET", "/holds", by="beta")["rows"] == []


def test_the_items_page_shows_its_lots_and_what_is_held_to_its_owner_alone(five: Any, page: Any) -> None:
    holds(five, 3, reason="recall")
    path = f"/stock/explain?sku={SKU}&lang=en"
    for piece in ("<h2>Lots</h2>", "<h2>Held units</h2>", "recall", "H1"):
        assert piece in page(path).text, piece
    assert five.did("GET", f"/stock/explain?sku={SKU}", by="alpha")["holds"][0]["remaining"] == 3
    assert page(path, by="bob").status_code == 404
    five.did("POST", "/holds/H1/release", {}, by="alpha")
    assert "<h2>Held units</h2>" not in page(path).text
