"""Contracts through the doors: made once, refused in words, seen by both sides, settled line by line."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import pytest

SKU = "SKU-alpha-1"


@pytest.fixture
def five(web_pool: Any) -> Any:
    """Five of alpha's goods lie in HZ; beta's shop lists them too."""
    web_pool.stock_up("alpha", SKU, 5)
    listing = {"ref": "L-9", "item": SKU, "owner": "alpha"}
    web_pool.did("POST", "/listings", {"connection": "tmall-beta", "listings": [listing]})
    return web_pool


def lets(stage: Any, ref: str = "C1", by: str = "alpha", **more: Any) -> Any:
    item = {"sku": SKU, "price_minor": 300, **({} if "percent" in more else {"units": 3})}
    item |= {name: more.pop(name) for name in ("units", "percent", "sku") if name in more}
    if "priced_in" in more:
        item["currency"] = more.pop("priced_in")
    new = {"ref": ref, "beneficiary": "beta", "currency": "CNY", "items": [item], **more}
    return stage.call("POST", "/contracts", new, by=by)


def reserves(stage: Any, units: int, ref: str = "R1") -> Any:
    lines = [{"sku": SKU, "owner": "alpha", "quantity": units}]
    return stage.call("POST", "/reservations", {"ref": ref, "connection": "tmall-beta", "lines": lines}, by="beta")


def test_made_once_it_lets_beta_sell_three_of_alphas_and_ended_none(five: Any) -> None:
    assert reserves(five, 1).status_code == 409
    first, again = lets(five), lets(five)
    assert (first.status_code, again.status_code, again.json()) == (201, 200, first.json())
    assert reserves(five, 4, "R2").status_code == 409
    assert reserves(five, 2, "R3").status_code == 201
    (item,) = five.did("GET", "/contracts/C1", by="alpha")["items"]
    assert (item["units"], item["used"], item["left"]) == (3, 2, 1)
    assert five.did("POST", "/contracts/C1/end", by="alpha")["state"] == "ended"
    assert five.did("POST", "/contracts/C1/end", by="alpha")["state"] == "ended"
    assert reserves(five, 1, "R4").status_code == 409
    assert five.did("POST", "/reservations/R3/release", by="beta")["state"] == "released"
    (item,) = five.did("GET", "/contracts/C1", by="alpha")["items"]
    assert (item["used"], item["left"]) == (0, 3)


@pytest.mark.parametrize(
    ("more", "status", "said"),
    [
        ({"beneficiary": "nobody"}, 404, "no merchant 'nobody'"),
        ({"beneficiary": "alpha"}, 422, "without a contract"),
        ({"sku": "nothing"}, 404, "no item 'nothing'"),
        ({"percent": 101}, 422, ""),
        ({"currency": "yuan"}, 422, ""),
        ({"priced_in": "USD"}, 422, "say one currency"),
        ({"until": "2020-01-01T00:00:00Z"}, 422, "turn the days round"),
        ({"owner": "beta"}, 404, ""),
        ({"known_as": "x\ny"}, 422, ""),
    ],
)
def test_what_is_no_contract_is_said_in_words(five: Any, more: dict[str, Any], status: int, said: str) -> None:
    answer = lets(five, **more)
    assert (answer.status_code, said in answer.json()["detail"]) == (status, True)
    assert five.did("GET", "/contracts")["rows"] == []


def test_terms_of_title_are_kept_and_goods_are_sold_where_one_code_knows_both(five: Any) -> None:
    made = lets(five, title_passes="at_reserve", returns_to="beneficiary").json()
    assert (made["title_passes"], made["returns_to"]) == ("at_reserve", "beneficiary")
    assert reserves(five, 1).status_code == 409
    five.did("PUT", "/warehouses/HZ/keepers", [{"owner": "beta", "code": five_code(five)}])
    assert reserves(five, 3, "R2").status_code == 201
    refused = lets(five, "C2", title_passes="never", returns_to="beneficiary")
    assert (refused.status_code, "returns_to is owner" in refused.json()["detail"]) == (422, True)


def test_goods_that_would_come_back_to_their_owner_are_refused(five: Any) -> None:
    lets(five)
    five.did("PUT", "/warehouses/HZ/keepers", [{"owner": "beta", "code": five_code(five)}])
    lines = [{"sku": SKU, "quantity": 1}]
    five.did("POST", "/title-transfers", {"ref": "T1", "to": "beta", "warehouse": "HZ", "lines": lines}, by="alpha")
    back = lets(five, "C2", by="beta", beneficiary="alpha")
    assert (back.status_code, "come back to their owner by C1" in back.json()["detail"]) == (409, True)


def five_code(stage: Any) -> str:
    """How HZ knows alpha's goods."""
    warehouses = stage.did("GET", "/warehouses")["rows"]
    return str(next(k["code"] for w in warehouses if w["code"] == "HZ" for k in w["keepers"] if k["owner"] == "alpha"))


def test_both_sides_see_it_and_nobody_else(five: Any) -> None:
    lets(five)
    for who in ("alpha", "beta"):
        assert [r["ref"] for r in five.did("GET", "/contracts", by=who)["rows"]] == ["C1"]
        assert five.did("GET", "/settlements", by=who)["rows"] == []
    five.did("POST", "/merchants", {"code": "gamma", "name": "Gamma"})
    five.give_key("gamma", "merchant", "gamma")
    assert five.did("GET", "/contracts", by="gamma")["rows"] == []
    assert five.call("POST", "/contracts/C1/end", by="beta").status_code == 404


def test_settlements_are_files_too(five: Any) -> None:
    lets(five)
    saved = five.call("GET", "/settlements?format=csv", by="alpha")
    (head,) = csv.reader(io.StringIO(saved.content.decode("utf-8-sig")))
    assert head[:4] == ["day", "contract", "owner", "beneficiary"]
    assert five.call("GET", "/settlements?first=nonsense", by="alpha").status_code == 422


def test_a_person_makes_and_ends_one_by_the_console(five: Any, page: Any) -> None:
    token = re.search(r'name="csrf" value="([^"]+)"', page("/contracts").text)
    assert token
    said = {"ref": "C1", "owner": "alpha", "beneficiary": "beta", "sku": SKU, "amount": "60", "unit": "percent"}
    said |= {"title_passes": "at_reserve", "returns_to": "beneficiary", "known_as": "小五的店"}
    sent = five.door.post("/contracts", data={**said, "price": "250", "csrf": token[1]}, follow_redirects=False)
    assert (sent.status_code, sent.headers["location"]) == (303, "/contracts")
    assert all(words in page("/contracts").text for words in ("60 %", "小五的店"))
    assert "60 %" in page("/contracts", by="bob").text
    assert ["/contracts/end" in page("/contracts", by=who).text for who in ("op", "bob")] == [True, False]
    (made,) = five.did("GET", "/contracts")["rows"]
    assert (made["title_passes"], made["returns_to"]) == ("at_reserve", "beneficiary")
    token = re.search(r'name="csrf" value="([^"]+)"', page("/contracts").text)
    assert token
    five.door.post("/contracts/end", data={"ref": "C1", "owner": "alpha", "csrf": token[1]})
    assert five.did("GET", "/contracts")["rows"][0]["state"] == "ended"
    assert page("/settlements.csv").status_code == 200
