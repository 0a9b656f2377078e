"""Title transfers through the doors: asked for once, refused in words, seen by both sides, settled by a statement."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import pytest
from openpyxl import load_workbook

SKU = "SKU-alpha-1"


@pytest.fixture
def five(web_pool: Any) -> Any:
    """Five of alpha's goods lie in HZ, which knows beta's goods by the same code."""
    web_pool.stock_up("alpha", SKU, 5)
    keepers = web_pool.did("GET", "/warehouses")["rows"]
    code = next(k["code"] for w in keepers if w["code"] == "HZ" for k in w["keepers"] if k["owner"] == "alpha")
    web_pool.did("PUT", "/warehouses/HZ/keepers", [{"owner": "beta", "code": code}])
    return web_pool


def passes(stage: Any, units: int, ref: str = "TT1", by: str = "alpha", **more: Any) -> Any:
    lines = [{"sku": more.pop("sku", SKU), "quantity": units}]
    asked = {"ref": ref, "to": "beta", "warehouse": "HZ", "lines": lines, **more}
    return stage.call("POST", "/title-transfers", asked, by=by)


def test_two_of_five_are_betas_from_now_on_and_asked_again_they_stay_two(five: Any) -> None:
    first, again = passes(five, 2), passes(five, 2)
    assert (first.status_code, again.status_code, again.json()) == (201, 200, first.json())
    assert (first.json()["state"], first.json()["lines"][0]["passed"]) == ("closed", 2)
    assert [(r["owner"], r["free"]) for r in five.did("GET", "/stock")["rows"]] == [("alpha", 3), ("beta", 2)]
    assert [(r["owner"], r["free"]) for r in five.did("GET", "/stock", by="beta")["rows"]] == [("beta", 2)]


def test_beta_gives_back_what_it_owns_by_its_sku(five: Any) -> None:
    passes(five, 2)
    assert passes(five, 2, "B1", by="beta", to="alpha").status_code == 201
    assert [(r["owner"], r["free"]) for r in five.did("GET", "/stock", by="alpha")["rows"]] == [("alpha", 5)]


def test_beta_reserves_holds_and_locks_what_it_owns_by_its_sku(five: Any) -> None:
    passes(five, 4)
    line = {"sku": SKU, "quantity": 1}
    wanted = {"ref": "r1", "lines": [line], "warehouses": ["HZ"]}
    assert five.call("POST", "/reservations", wanted, by="beta").status_code == 201
    hold = {"ref": "h1", "warehouse": "HZ", "sku": SKU, "units": 1}
    assert five.call("POST", "/holds", hold, by="beta").status_code == 201
    kept = {"ref": "l1", "kind": "exclusive", "connection": "tmall-beta", "lines": [{**line, "warehouse": "HZ"}]}
    assert five.call("POST", "/locks", kept, by="beta").status_code == 201
    (row,) = five.did("GET", "/stock", by="beta")["rows"]
    assert (row["owner"], row["free"], row["reserved"], row["held"]) == ("beta", 1, 2, 1)


def test_what_beta_never_had_it_cannot_reserve(five: Any) -> None:
    wanted = {"ref": "r1", "lines": [{"sku": SKU, "quantity": 1}], "warehouses": ["HZ"]}
    assert five.call("POST", "/reservations", wanted, by="beta").status_code == 404


@pytest.mark.parametrize(
    ("more", "status", "said"),
    [
        ({"units": 6}, 409, f"6 of {SKU} where there are 5"),
        ({"to": "nobody"}, 404, "no merchant 'nobody'"),
        ({"to": "alpha"}, 409, "that owner's already"),
        ({"sku": "nothing"}, 404, "no item 'nothing'"),
        ({"warehouse": "W9"}, 404, "no warehouse 'W9'"),
        ({"units": 0}, 422, ""),
        ({"units": 1.5}, 422, ""),
        ({"owner": "beta"}, 404, ""),
    ],
)
def test_what_cannot_be_is_said_in_words(five: Any, more: dict[str, Any], status: int, said: str) -> None:
    answer = passes(five, more.pop("units", 1), **more)
    assert (answer.status_code, said in answer.json()["detail"]) == (status, True)
    assert [(r["owner"], r["free"]) for r in five.did("GET", "/stock")["rows"]] == [("alpha", 5)]


def test_both_sides_see_it_and_each_knows_the_cause(five: Any) -> None:
    passes(five, 2)
    for who in ("alpha", "beta"):
        (row,) = five.did("GET", "/title-transfers", by=who)["rows"]
        assert (row["ref"], row["from"], row["to"]) == ("TT1", "alpha", "beta")
        journal = five.did("GET", f"/stock/explain?sku={SKU}&owner=alpha", by=who)["journals"][0]
        assert (journal["kind"], journal["cause"]["ref"]) == ("title", "TT1")


def test_the_statement_adds_up_the_day_as_rows_and_as_files(five: Any) -> None:
    passes(five, 2)
    passes(five, 1, "TT2")
    (row,) = five.did("GET", "/title-transfers/statement", by="beta")["rows"]
    assert (row["from"], row["to"], row["warehouse"], row["sku"], row["units"], row["transfers"]) == (
        *("alpha", "beta", "HZ", SKU),
        *(3, 2),
    )
    path = "/title-transfers/statement?format="
    text = five.call("GET", f"{path}csv", by="alpha").content.decode("utf-8-sig")
    (saved,) = csv.DictReader(io.StringIO(text))
    assert (saved["sku"], saved["units"]) == (SKU, "3")
    book = load_workbook(io.BytesIO(five.call("GET", f"{path}xlsx", by="alpha").content))
    head, line = book.active.iter_rows(values_only=True)  # type: ignore[union-attr]
    assert dict(zip(head, line, strict=True))["units"] == 3
    assert five.call("GET", "/title-transfers/statement?first=2026-13-01", by="alpha").status_code == 422


def test_a_person_gives_goods_by_the_console(five: Any, page: Any) -> None:
    token = re.search(r'name="csrf" value="([^"]+)"', page("/title-transfers").text)
    assert token
    said = {"ref": "C1", "owner": "alpha", "to": "beta", "warehouse": "HZ", "sku": SKU, "quantity": "2"}
    sent = five.door.post("/title-transfers", data={**said, "csrf": token[1]}, follow_redirects=False)
    assert (sent.status_code, sent.headers["location"]) == (303, "/title-transfers")
    assert "C1" in page("/title-transfers").text
    assert SKU in page("/title-transfers/statement.csv", by="bob").text
    refused = five.door.post("/title-transfers", data={**said, "ref": "C2", "quantity": "x", "csrf": token[1]})
    assert refused.status_code in (403, 422)
