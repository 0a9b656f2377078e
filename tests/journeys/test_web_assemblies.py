"""Stocked kits over REST: made once, refused in words, shown to their owner."""

from __future__ import annotations

from typing import Any

import pytest

PEN, SET = "SKU-alpha-1", "SET-alpha"


@pytest.fixture
def sets(web_pool: Any) -> Any:
    """A set is two of alpha's goods, of which five lie in HZ."""
    web_pool.stock_up("alpha", PEN, 5)
    web_pool.did("POST", "/items", {"owner": "alpha", "items": [{"sku": SET, "name": "set"}]})
    web_pool.did("PUT", f"/items/{SET}/parts", {"owner": "alpha", "parts": {PEN: 2}, "stocked": True})
    return web_pool


def makes(stage: Any, units: int, by: str = "alpha") -> Any:
    return stage.call("POST", "/assemblies", {"ref": "K1", "sku": SET, "warehouse": "HZ", "units": units}, by=by)


def test_kits_are_made_once_and_listed(sets: Any) -> None:
    first, again = makes(sets, 2), makes(sets, 2)
    assert (first.status_code, again.json()) == (201, first.json())
    assert {r["sku"]: r["free"] for r in sets.did("GET", "/stock")["rows"]} == {PEN: 1, SET: 2}
    (row,) = sets.did("GET", "/assemblies", by="alpha")["rows"]
    assert (row["ref"], row["owner"], row["sku"], row["warehouse"], row["units"]) == ("K1", "alpha", SET, "HZ", 2)
    assert sets.did("GET", "/assemblies", by="beta")["rows"] == []
    journal = sets.did("GET", f"/stock/explain?sku={SET}&owner=alpha")["journals"][0]
    assert (journal["kind"], journal["cause"]["kind"], journal["cause"]["ref"]) == ("assemble", "assembly", "K1")


@pytest.mark.parametrize(
    ("units", "status", "said"),
    [(3, 409, "6 of SKU-alpha-1 where 5 are free: ask for less"), (0, 422, "below zero how many to take apart")],
)
def test_what_cannot_be_made_is_said_in_words(sets: Any, units: int, status: int, said: str) -> None:
    answer = makes(sets, units)
    assert (answer.status_code, said in answer.json()["detail"]) == (status, True)
    assert sets.did("GET", "/assemblies")["rows"] == []


def test_nobody_makes_kits_of_anothers_goods(sets: Any) -> None:
    assert makes(sets, 1, by="beta").status_code == 404
