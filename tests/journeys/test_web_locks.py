"""Units kept for one shop over REST and in the console: asked for, drawn, given back; who may, and who may not."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from core.flow import audit_ledger
from core.store import tables as t

SKU = "SKU-alpha-1"
UNTIL = "2190-06-18T16:00:00Z"


@pytest.fixture
def ten(web_pool: Any) -> Any:
    """Ten of alpha's goods lie in HZ; alpha has a second shop, which sells them too."""
    web_pool.stock_up("alpha", SKU, 10)
    shop = {"app_key": "k", "app_secret": "s", "session": "tmall-session"}
    new = {"code": "other", "connector": "sales/tmall", "merchant": "alpha", "settings": shop, "pool": ["HZ"]}
    web_pool.did("POST", "/connections", new)
    return web_pool


def asks(stage: Any, units: Any = 6, by: str = "alpha", **more: Any) -> Any:
    """The response to alpha's wish to keep goods for its Tmall shop."""
    lines = [{"sku": SKU, "warehouse": "HZ", "quantity": units}]
    form = {"ref": "618/1", "connection": "tmall-alpha", "until": UNTIL, "lines": lines, **more}
    return stage.call("POST", "/locks", form, by=by)


def accounts(stage: Any) -> tuple[int, int]:
    """(free, reserved) of alpha's goods."""
    (row,) = stage.did("GET", "/stock")["rows"]
    return row["free"], row["reserved"]


def line(stage: Any) -> tuple[int, int, int]:
    """(asked, drawn, remaining) of the lock's one line."""
    (only,) = stage.did("GET", "/locks/618%2F1", by="alpha")["lines"]
    assert (only["sku"], only["warehouse"]) == (SKU, "HZ")
    return only["quantity"], only["drawn"], only["remaining"]


def test_a_campaigns_units_are_kept_drawn_and_given_back(ten: Any) -> None:
    first = asks(ten, listings=["L-alpha-1"])
    assert (first.status_code, first.json()["state"], first.json()["listings"]) == (201, "open", ["L-alpha-1"])
    assert (first.json()["until"], first.json()["who"]) == ("2190-06-18T16:00:00+00:00", "key alpha")
    assert accounts(ten) == (4, 6)
    ten.sell("alpha", "ORDER-1", 2)
    assert (line(ten), accounts(ten)) == ((6, 2, 4), (4, 6))
    ended = ten.did("POST", "/locks/618%2F1/release", by="alpha")
    assert (ended["state"], ended["ended_by"], line(ten)) == ("ended", "key alpha", (6, 2, 0))
    assert ten.did("POST", "/locks/618%2F1/release", by="alpha") == ended
    assert (accounts(ten), ten.did("GET", "/locks", by="alpha")["rows"]) == ((8, 2), [ended])
    with ten.store.read() as tx:
        assert audit_ledger.audit(tx) == []


def test_asked_again_it_stands_and_other_content_is_a_conflict(ten: Any) -> None:
    first = asks(ten)
    again = asks(ten)
    assert (again.status_code, again.json()) == (200, first.json())
    answer = asks(ten, 5)
    assert (answer.status_code, "another ref" in answer.json()["detail"]) == (409, True)
    assert accounts(ten) == (4, 6)


def test_a_lock_of_tomorrow_is_planned(ten: Any) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert asks(ten, **{"from": tomorrow.isoformat()}).json()["state"] == "planned"
    ten.sell("alpha", "ORDER-1", 5)
    assert line(ten) == (6, 0, 6)
    ten.store.write(lambda tx: tx.conn.execute(update(t.locks).values(starts_at=datetime(2026, 1, 1, tzinfo=UTC))))
    ten.sell("alpha", "ORDER-2", 5)
    assert (ten.did("GET", "/locks/618%2F1", by="alpha")["state"], line(ten)) == ("open", (6, 5, 1))


def test_too_many_are_refused_by_name_and_nothing_is_kept(ten: Any) -> None:
    answer = asks(ten, 11)
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:yipan:OutOfStock")
    assert answer.json()["detail"] == f"618/1: 11 of {SKU} where there are 10"
    assert (ten.call("GET", "/locks/618%2F1", by="alpha").status_code, accounts(ten)) == (404, (10, 0))


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"until": "2026-01-01T00:00:00Z"}, 422),
        ({"from": "2190-06-19T00:00:00Z"}, 422),
        ({"until": "2190-06-18T16:00:00"}, 422),
        ({"until": "9999-12-31T23:59:59-12:00"}, 422),
        ({"from": "0001-01-01T00:00:00+14:00"}, 422),
        ({"until": None}, 422),
        ({"until": "soon"}, 422),
        ({"kind": "cart"}, 422),
        ({"connection": "nowhere"}, 404),
        ({"connection": "tmall-beta"}, 404),
        ({"connection": "sf1"}, 404),
        ({"listings": ["nothing"]}, 404),
        ({"connection": "other", "listings": ["L-alpha-1"]}, 404),
        ({"owner": "beta"}, 404),
        ({"lines": [{"sku": "nothing", "warehouse": "HZ", "quantity": 1}]}, 404),
        ({"lines": [{"sku": "SKU-beta-1", "warehouse": "HZ", "quantity": 1}]}, 404),
        ({"lines": [{"sku": SKU, "warehouse": "NOWHERE", "quantity": 1}]}, 404),
        ({"lines": [{"sku": SKU, "warehouse": "HZ", "quantity": 0}]}, 422),
        ({"lines": [{"sku": SKU, "warehouse": "HZ", "quantity": -1}]}, 422),
        ({"lines": [{"sku": SKU, "warehouse": "HZ", "quantity": 1.5}]}, 422),
        ({"lines": [{"sku": SKU, "warehouse": "HZ", "quantity": 10**30}]}, 422),
        ({"lines": []}, 422),
        ({"ref": ""}, 422),
        ({"ref": "6\x001"}, 422),
        ({"surprise": 1}, 422),
    ],
)
def test_what_does_not_fit_or_is_not_there_is_named(ten: Any, more: dict[str, Any], status: int) -> None:
    answer = asks(ten, **more)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]
    assert (ten.did("GET", "/locks")["rows"], accounts(ten)) == ([], (10, 0))


def test_an_operator_names_the_owner_whose_shop_it_must_be(ten: Any) -> None:
    assert asks(ten, by="operator").status_code == 422
    answer = asks(ten, by="operator", owner="alpha", connection="tmall-beta")
    assert (answer.status_code, "owner" in answer.json()["detail"]) == (409, True)
    assert asks(ten, by="operator", owner="alpha").status_code == 201


def test_another_merchants_locks_are_not_there_and_the_warehouse_sees_none(ten: Any) -> None:
    asks(ten)
    ten.give_key("picker", "warehouse")
    assert ten.did("GET", "/locks", by="beta")["rows"] == []
    assert ten.call("GET", "/locks/618%2F1?owner=alpha", by="beta").status_code == 404
    assert ten.call("POST", "/locks/618%2F1/release?owner=alpha", by="beta").status_code == 404
    assert ten.call("GET", "/locks", by="picker").status_code == 403
    assert accounts(ten) == (4, 6)


def fills(stage: Any, page: Callable[..., Any], path: str, by: str = "op", **form: str) -> Any:
    """Open the page of locks as somebody, fill in its form and send it."""
    token = re.search(r'name="csrf" value="([^"]+)"', page("/locks", by=by).text)
    assert token
    return stage.door.post(path, data={**form, "csrf": token[1]}, follow_redirects=False)


FORM = {"ref": "双11", "owner": "alpha", "connection": "tmall-alpha", "sku": SKU, "warehouse": "HZ", "quantity": "6"}


def test_the_page_locks_lists_and_ends(ten: Any, page: Callable[..., Any]) -> None:
    answer = fills(ten, page, "/locks", **FORM, ends="2190-11-12T00:00", listings="L-alpha-1, ")
    assert (answer.status_code, answer.headers["location"]) == (303, "/locks")
    shown = page("/locks?lang=en").text
    for piece in ("双11", "tmall-alpha", "L-alpha-1", "2190-11-12 00:00:00 UTC", "Give the rest back"):
        assert piece in shown, piece
    assert "双11" not in page("/locks", by="bob").text
    assert fills(ten, page, "/locks/release", by="bob", ref="双11", owner="alpha").status_code == 404
    assert accounts(ten) == (4, 6)
    assert fills(ten, page, "/locks/release", ref="双11", owner="alpha").status_code == 303
    assert accounts(ten) == (10, 0)
    assert "Give the rest back" not in page("/locks?lang=en").text


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"quantity": "many"}, 422),
        ({"quantity": "-1"}, 422),
        ({"quantity": "0"}, 422),
        ({"quantity": "9" * 40}, 422),
        ({"quantity": "11"}, 409),
        ({"ends": "soon"}, 422),
        ({"ends": ""}, 422),
        ({"ref": ""}, 422),
        ({"kind": "cart"}, 422),
        ({"connection": "tmall-beta"}, 409),
        ({"sku": "nothing"}, 404),
    ],
)
def test_a_form_that_does_not_fit_says_why(
    ten: Any, page: Callable[..., Any], more: dict[str, str], status: int
) -> None:
    answer = fills(ten, page, "/locks", **{**FORM, "ends": "2190-11-12T00:00", **more})
    assert answer.status_code == status, answer.text
    assert accounts(ten) == (10, 0)
