"""Channel policies through the doors: proposed, looked at, activated, withdrawn; each merchant's own."""

from __future__ import annotations

import re
from typing import Any

import pytest

SKU = "SKU-alpha-1"


@pytest.fixture
def ten(web_pool: Any) -> Any:
    """Ten of alpha's goods lie in HZ."""
    web_pool.stock_up("alpha", SKU, 10)
    return web_pool


def proposes(stage: Any, by: str = "alpha", **terms: Any) -> Any:
    return stage.call("POST", "/policies", {"connection": "tmall-alpha", **terms}, by=by)


def test_a_policy_is_looked_at_before_it_stands(ten: Any) -> None:
    made = proposes(ten, listing="L-alpha-1", share=50)
    assert (made.status_code, made.json()["state"], made.json()["version"]) == (201, "draft", 1)
    ident = made.json()["id"]
    found = ten.did("GET", f"/policies/{ident}/preview", by="alpha")
    (row,) = found["listings"]
    assert (row["listing"], row["now"], row["then"]) == ("L-alpha-1", 10, 5)
    assert found["published_overlap"] == {"now": 1.0, "then": 0.5}
    assert ten.did("POST", f"/policies/{ident}/activate", by="alpha")["state"] == "active"
    assert ten.did("GET", f"/policies/{ident}/preview", by="alpha")["listings"] == []
    assert ten.did("POST", f"/policies/{ident}/withdraw", by="alpha")["state"] == "withdrawn"
    assert ten.call("POST", f"/policies/{ident}/activate", by="alpha").status_code == 409
    assert [r["id"] for r in ten.did("GET", "/policies", by="alpha")["rows"]] == [ident]
    assert ten.did("GET", "/policies", by="beta")["rows"] == []


@pytest.mark.parametrize(
    ("terms", "status", "said"),
    [
        ({}, 422, "say at least one"),
        ({"share": 101}, 422, ""),
        ({"share": 50, "connection": "tmall-beta"}, 404, "tmall-beta"),
        ({"share": 50, "listing": "nothing"}, 404, "no listing 'nothing'"),
        ({"share": 50, "connection": None, "listing": "L-alpha-1"}, 422, "which shop"),
        ({"exclusive": 5}, 422, "name it"),
        ({"cap": 1, "floor": 2}, 422, "cannot both be"),
        ({"share": 5, "until": "2020-01-01T00:00:00Z"}, 422, "over already"),
    ],
)
def test_what_is_no_policy_is_said_in_words(ten: Any, terms: dict[str, Any], status: int, said: str) -> None:
    answer = proposes(ten, **terms)
    assert (answer.status_code, said in answer.json()["detail"]) == (status, True)
    assert ten.did("GET", "/policies")["rows"] == []


def test_a_person_proposes_looks_and_activates_by_the_console(ten: Any, page: Any) -> None:
    def token(path: str) -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', page(path).text)
        assert found
        return found[1]

    said = {"csrf": token("/policies"), "connection": "tmall-alpha", "listing": "L-alpha-1", "cap": "4"}
    sent = ten.door.post("/policies", data=said, follow_redirects=False)
    assert sent.status_code == 303
    looked = page(sent.headers["location"]).text
    assert "L-alpha-1" in looked
    ten.door.post(f"{sent.headers['location']}/activate", data={"csrf": token(sent.headers["location"])})
    assert ten.did("GET", "/policies")["rows"][0]["state"] == "active"
    assert "L-alpha-1" not in page("/policies", by="bob").text


def test_exclusive_units_that_the_shop_cannot_reach_are_shown_with_the_policy(ten: Any, page: Any) -> None:
    """Ten lie in HZ, and the shop sells from SH alone now."""
    sender = {"name": "张三", "phone": "13800000000", "city": "上海市", "address": "一号路1号"}
    how = {"wms": "wms1", "wms_ref": "WH-SH", "courier": "sf1", "carrier": "SF", "sender": sender}
    ten.did("POST", "/warehouses", {"code": "SH", "name": "上海仓", **how})
    ten.did("PATCH", "/connections/tmall-alpha", {"pool": ["SH"]})
    ident = proposes(ten, listing="L-alpha-1", exclusive=4).json()["id"]
    assert ten.did("GET", f"/policies/{ident}/preview", by="alpha")["unreached"] == {SKU: 4}
    assert f"Exclusive units its shop cannot reach: {SKU} 4" in page(f"/policies/{ident}").text
    assert ten.did("POST", f"/policies/{ident}/activate", by="alpha")["state"] == "active"
    asked = {"ref": "R1", "warehouses": ["HZ"], "lines": [{"sku": SKU, "quantity": 10}]}
    assert ten.call("POST", "/reservations", asked, by="alpha").status_code == 201
