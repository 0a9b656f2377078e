"""Explained over REST and in the console: stock of any moment, why a cell is what it is, how an order came about."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from sqlalchemy import update

from core.store import tables as t
from core.store.ledger import KEPT


@pytest.fixture
def sold(web_pool: Any) -> str:
    """5 of alpha's goods came in, 2 were sold; the order's id."""
    web_pool.stock_up("alpha", "SKU-alpha-1", 5)
    return str(web_pool.sell("alpha", "TB-7", 2))


def stock(web_pool: Any, at: str, by: str = "operator") -> Any:
    return web_pool.door.get("/api/v1/stock", params={"at": at}, headers=bearer(web_pool, by))


def bearer(web_pool: Any, by: str) -> dict[str, str]:
    return {"authorization": f"Bearer {web_pool.keys[by]}"}


def test_stock_of_a_moment_has_the_rows_of_stock_now(web_pool: Any, sold: str) -> None:
    now = web_pool.did("GET", "/stock")
    then = stock(web_pool, now["as_of"]).json()
    assert now["rows"] and then == now
    assert {name: then["rows"][0][name] for name in ("free", "reserved", "on_hand")} == {
        "free": 3,
        "reserved": 2,
        "on_hand": 5,
    }
    assert stock(web_pool, "2020-01-01T00:00:00+08:00").json()["rows"] == []


def test_stock_of_a_moment_is_the_journals_and_of_now_the_cells(web_pool: Any, sold: str) -> None:
    web_pool.store.write(lambda tx: tx.conn.execute(update(t.cells).values(dict.fromkeys(KEPT, 0))))
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert [r["free"] for r in stock(web_pool, later).json()["rows"]] == [3]
    assert [r["free"] for r in web_pool.did("GET", "/stock")["rows"]] == [0]


def test_stock_of_a_moment_is_searched_and_paged_like_stock_now(web_pool: Any) -> None:
    for owner in ("alpha", "beta"):
        web_pool.stock_up(owner, f"SKU-{owner}-1", 1)
    at = {"at": web_pool.did("GET", "/stock")["as_of"]}
    asks = ({"limit": 1}, {"search": "SKU-b"}, {"warehouse": "NOWHERE"})
    answers = [
        web_pool.door.get("/api/v1/stock", params=at | ask, headers=bearer(web_pool, "operator")).json() for ask in asks
    ]
    assert [[r["owner"] for r in a["rows"]] for a in answers] == [["alpha"], ["beta"], []]
    more = at | {"limit": 1, "after": answers[0]["next"]}
    rest = web_pool.door.get("/api/v1/stock", params=more, headers=bearer(web_pool, "operator")).json()
    assert ([r["owner"] for r in rest["rows"]], rest["next"]) == (["beta"], None)


@pytest.mark.parametrize("at", ["2026-01-05T08:00:00", "now", "2026-13-01T00:00:00Z"])
def test_a_naive_or_malformed_time_is_a_problem(web_pool: Any, at: str) -> None:
    answer = stock(web_pool, at)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert "write it like 2026-01-05T08:00:00Z" in answer.json()["detail"]


def test_stock_is_explained_by_claims_and_journals(web_pool: Any, sold: str) -> None:
    found = web_pool.did("GET", "/stock/explain?sku=SKU-alpha-1&owner=alpha&warehouse=HZ")
    assert [(c["warehouse"], c["free"], c["reserved"]) for c in found["cells"]] == [("HZ", 3, 2)]
    assert found["open"] == {"claims": 1, "asked": 2, "backed": 2}
    assert [(c["kind"], c["ref"], c["connection"], c["order_id"]) for c in found["claims"]] == [
        ("order", "TB-7", "tmall-alpha", sold)
    ]
    assert [(j["kind"], j["cause"]["ref"]) for j in found["journals"]] == [("reserve", "TB-7"), ("opening", "")]
    assert [e["quantity"] for e in found["journals"][0]["entries"]] == [-2, 2]


def test_an_order_is_explained_in_time_order(web_pool: Any, sold: str) -> None:
    found = web_pool.did("GET", f"/orders/{sold}/explain")
    assert (found["ref"], found["shop"]) == ("TB-7", "tmall-alpha")
    whats = [h["what"] for h in found["happened"]]
    assert {"document", "order", "claim", "journal", "event", "fulfilment", "intent"} == set(whats)
    assert whats.index("document") < whats.index("order") < whats.index("journal") < whats.index("fulfilment")
    assert "reserve: SKU-alpha-1 HZ free -2, SKU-alpha-1 HZ reserved +2" in [h["words"] for h in found["happened"]]


def test_a_merchant_is_told_of_its_own_alone(web_pool: Any, sold: str) -> None:
    for path in ("/stock/explain?sku=SKU-alpha-1", "/stock/explain?sku=SKU-nobody", f"/orders/{sold}/explain"):
        assert web_pool.call("GET", path, by="beta").status_code == 404, path
    for path in ("/stock/explain?sku=SKU-alpha-1", f"/orders/{sold}/explain"):
        assert "TB-7" in web_pool.call("GET", path, by="alpha").text, path
    now = web_pool.did("GET", "/stock")["as_of"]
    assert [stock(web_pool, now, by).json()["rows"] != [] for by in ("alpha", "beta")] == [True, False]


@pytest.mark.parametrize(("language", "said"), [("en", ("Caused by", "reserved")), ("zh", ("起因", "预占"))])
def test_each_row_of_the_stock_page_leads_to_its_explanation(
    page: Any, sold: str, language: str, said: tuple[str, ...]
) -> None:
    link = re.search(r'href="(/stock/explain\?[^"]+)"', page("/stock").text)
    assert link
    answer = page(f"{unescape(link[1])}&lang={language}")
    assert answer.status_code == 200
    for piece in (*said, f'<a href="/orders/{sold}">', "TB-7", "tmall-alpha", "<strong>-2</strong>", "opening"):
        assert piece in answer.text, piece


def test_the_explanation_page_shows_nobody_elses_goods(page: Any, sold: str) -> None:
    answer = page("/stock/explain?sku=SKU-alpha-1&owner=alpha&warehouse=HZ", by="bob")
    assert answer.status_code == 404
    assert "TB-7" not in answer.text and "tmall-alpha" not in answer.text


def test_an_item_that_never_lay_anywhere_says_what_to_do(page: Any) -> None:
    answer = page("/stock/explain?sku=SKU-beta-1")
    assert (answer.status_code, "Announce goods" in answer.text) == (200, True)
