"""No route shows or changes another merchant's things; the routes are taken from the app itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from core.store import tables as t
from core.store.store import Transaction, one

THEIRS: dict[str, Any] = {
    "POST /merchants": {"code": "gamma", "name": "x"},
    "PATCH /merchants/{code}": {"short_policy": "wait"},
    "POST /warehouses": {"code": "W9", "name": "x"},
    "PATCH /warehouses/{code}": {"name": "taken over"},
    "PUT /warehouses/{code}/keepers": [{"owner": "alpha", "code": "X"}],
    "POST /connections": {"code": "c9", "connector": "courier/sf", "merchant": "alpha", "settings": {}},
    "PATCH /connections/{code}": {"settings": {"app_key": "stolen"}},
    "POST /connections/{code}/token": None,
    "POST /connections/{code}/links": [{"ref": "x", "warehouse": "HZ"}],
    "POST /connections/{code}/{action}": None,
    "POST /items": {"owner": "alpha", "items": [{"sku": "x", "name": "x"}]},
    "PUT /items/{sku}/parts": {"owner": "alpha", "parts": {"ink": 2}},
    "PUT /items/{sku}/substitutes": {"owner": "alpha", "substitutes": []},
    "POST /listings": {"connection": "tmall-alpha", "listings": [{"ref": "x", "item": "SKU-alpha-1"}]},
    "POST /inbound": {"owner": "alpha", "warehouse": "HZ", "lines": [{"sku": "SKU-alpha-1", "quantity": 1}]},
    "POST /reservations": {
        "ref": "R-alpha",
        "connection": "tmall-alpha",
        "lines": [{"sku": "SKU-alpha-1", "owner": "alpha", "quantity": 1}],
    },
    "POST /assemblies": {"ref": "x", "owner": "alpha", "warehouse": "HZ", "sku": "SKU-alpha-1", "units": 1},
    "POST /holds": {"ref": "x", "owner": "alpha", "sku": "SKU-alpha-1", "warehouse": "HZ", "units": 1},
    "POST /holds/{ref}/release": {},
    "POST /locks": {
        "ref": "x",
        "owner": "alpha",
        "connection": "tmall-alpha",
        "lines": [{"sku": "SKU-alpha-1", "warehouse": "HZ", "quantity": 1}],
        "until": "2190-01-01T00:00:00Z",
    },
    "POST /locks/{ref}/release": None,
    "POST /reservations/{ref}/confirm": None,
    "POST /reservations/{ref}/release": None,
    "POST /reservations/{ref}/order": {"connection": "tmall-alpha", "order": "x"},
    "POST /transfers": {
        "ref": "T9",
        "owner": "alpha",
        "from": "HZ",
        "to": "SH",
        "lines": [{"sku": "SKU-alpha-1", "quantity": 1}],
    },
    "POST /policies": {"connection": "tmall-alpha", "share": 50},
    "POST /policies/{ident}/activate": None,
    "POST /policies/{ident}/withdraw": None,
    "POST /contracts": {
        "ref": "C9",
        "owner": "alpha",
        "beneficiary": "beta",
        "currency": "CNY",
        "items": [{"sku": "SKU-alpha-1", "units": 1}],
    },
    "POST /contracts/{ref}/end": None,
    "POST /title-transfers": {
        "ref": "T8",
        "owner": "alpha",
        "to": "beta",
        "warehouse": "HZ",
        "lines": [{"sku": "SKU-alpha-1", "quantity": 1}],
    },
    "POST /transfers/{ref}/departures": {"ref": "1", "lines": [{"sku": "SKU-alpha-1", "quantity": 1}]},
    "POST /transfers/{ref}/arrivals": {"ref": "1", "lines": [{"sku": "SKU-alpha-1", "quantity": 1}]},
    "POST /transfers/{ref}/close": {"reason": "x"},
    "POST /transfers/{ref}/cancel": None,
    "POST /counts": {
        "ref": "C9",
        "owner": "alpha",
        "warehouse": "HZ",
        "counted_at": "2026-01-05T08:00:00Z",
        "lines": [{"sku": "SKU-alpha-1", "quantity": 1}],
    },
    "POST /counts/{ident}/approve": None,
    "POST /counts/{ident}/reject": None,
    "POST /regrades": {
        "ref": "G9",
        "owner": "alpha",
        "warehouse": "HZ",
        "sku": "SKU-alpha-1",
        "quantity": 1,
        "from": "ZP",
        "to": "CC",
        "reason": "x",
    },
    "POST /orders/{ident}/resource": {},
    "POST /orders/{ident}/top-up": None,
    "POST /orders/{ident}/counterpart": {"ref": "ORDER-beta-1"},
    "POST /parked/{kind}/{ident}/{button}": {},
    "POST /keys": {"name": "k", "role": "operator"},
    "POST /users": {"name": "u", "password": "long enough 1", "role": "operator"},
}
"""A body that names what is alpha's, for every route that takes one."""
BETAS = "SKU-beta-1"


def routes(stage: Any) -> Iterator[tuple[str, str]]:
    """(method, path below /api/v1) of every route of the API."""
    for path, methods in stage.door.get("/api/v1/openapi.json").json()["paths"].items():
        for method in methods:
            yield method.upper(), path.removeprefix("/api/v1")


@pytest.fixture
def alphas(web_pool: Any) -> dict[str, str]:
    """What is alpha's, by the name a path calls it."""
    web_pool.stock_up("alpha", "SKU-alpha-1", 5)
    asked = {"ref": "R-alpha", "warehouses": ["HZ"], "lines": [{"sku": "SKU-alpha-1", "quantity": 1}]}
    web_pool.did("POST", "/reservations", asked, by="alpha")
    web_pool.did("POST", "/warehouses", {"code": "SH", "name": "上海仓"})
    web_pool.did("PUT", "/warehouses/SH/keepers", [{"owner": "alpha", "code": "OWN-A"}])
    moves = {"ref": "R-alpha", "from": "HZ", "to": "SH", "lines": [{"sku": "SKU-alpha-1", "quantity": 1}]}
    web_pool.did("POST", "/transfers", moves, by="alpha")
    kept = {"ref": "R-alpha", "connection": "tmall-alpha", "until": "2190-01-01T00:00:00Z"}
    lines = [{"sku": "SKU-alpha-1", "warehouse": "HZ", "quantity": 1}]
    web_pool.did("POST", "/locks", {**kept, "lines": lines}, by="alpha")
    line = {"sku": "SKU-alpha-1", "quantity": 100}
    found = {"ref": "C-alpha", "warehouse": "HZ", "counted_at": "2026-01-05T08:00:00Z", "lines": [line]}
    count = web_pool.did("POST", "/counts", found, by="alpha")
    order = web_pool.sell("alpha", "ORDER-alpha-1")
    web_pool.sell("alpha", "ORDER-alpha-short", 50)
    web_pool.store.write(alphas_serial)
    with web_pool.store.read() as tx:
        document, key = one(tx, t.inbox, ref="ORDER-alpha-1"), one(tx, t.api_keys, name="alpha")
    assert document and key
    web_pool.store.write(lambda tx: tx.set(t.inbox, document["id"], state="parked", reason="x", fix="replay"))
    return {"order": order, "document": str(document["id"]), "key": str(key["id"]), "count": count["id"]}


def alphas_serial(tx: Transaction) -> None:
    """SN-alpha is one of alpha's units."""
    item = one(tx, t.items, sku="SKU-alpha-1")
    assert item
    fact = {"id": tx.ids.new(), "item_id": item["id"], "serial": "SN-alpha", "what": "came", "inbox_id": 0}
    tx.add(t.serial_facts, [{**fact, "recorded_at": tx.now}])


def filled(path: str, alphas: dict[str, str]) -> str:
    """The path, naming alpha's things."""
    idents = {"orders": alphas["order"], "parked": alphas["document"], "counts": alphas["count"]}
    ident = idents.get(path.split("/")[1], alphas["key"])
    codes = {"warehouses": "HZ", "merchants": "alpha"}
    names = {"code": codes.get(path.split("/")[1], "tmall-alpha"), "ident": ident, "kind": "document"}
    names |= {"button": "replay", "action": "pause", "hint": "abcd"}
    return path.format(**names, ref="R-alpha", sku="SKU-alpha-1", serial="SN-alpha", day="2026-01-05")


def test_no_route_lets_a_merchant_at_anothers_things(web_pool: Any, alphas: dict[str, str]) -> None:
    leaks, tried = [], 0
    for method, path in routes(web_pool):
        body = THEIRS[f"{method} {path}"] if method in ("POST", "PUT", "PATCH") else None
        answer = web_pool.call(method, filled(path, alphas), body, by="beta")
        tried += 1
        open_list = method == "GET" and "{" not in path
        if answer.status_code >= 500 or (not open_list and answer.status_code not in (403, 404)):
            leaks.append((method, path, answer.status_code, answer.text[:200]))
        if open_list and "alpha" in answer.text.replace("alphabet", ""):
            leaks.append((method, path, answer.status_code, answer.text[:200]))
    assert leaks == []
    assert tried > 25
    with web_pool.store.read() as tx:
        acts = tx.rows(select(t.audit_log.c.action).where(t.audit_log.c.actor == "key beta"))
        assert acts == []


def test_the_same_routes_open_to_whose_things_they_are(web_pool: Any, alphas: dict[str, str]) -> None:
    for path in ("/orders", "/stock", "/items", "/listings", "/connections", "/parked", "/merchants", "/warehouses"):
        assert "alpha" in web_pool.call("GET", path, by="alpha").text, path
    assert web_pool.did("GET", f"/orders/{alphas['order']}", by="alpha")["ref"] == "ORDER-alpha-1"


def test_no_route_opens_without_a_key(web_pool: Any, alphas: dict[str, str]) -> None:
    answers = {web_pool.door.request(m, "/api/v1" + filled(p, alphas)).status_code for m, p in routes(web_pool)}
    assert answers == {401}


@pytest.mark.parametrize(
    ("role", "path", "status"),
    [
        ("support", "/orders", 200),
        ("support", "/keys", 403),
        ("support", "/audit", 403),
        ("operator", "/audit", 200),
        ("warehouse", "/stock", 200),
        ("warehouse", "/orders", 403),
        ("warehouse", "/figures", 403),
    ],
)
def test_a_role_ends_where_the_table_says(web_pool: Any, role: str, path: str, status: int) -> None:
    web_pool.give_key(role, role)
    assert web_pool.call("GET", path, by=role).status_code == status


def test_support_may_look_and_never_touch(web_pool: Any, alphas: dict[str, str]) -> None:
    web_pool.give_key("support", "support")
    answer = web_pool.call("POST", f"/parked/document/{alphas['document']}/replay", by="support")
    assert answer.status_code == 403


def test_a_merchants_key_without_a_merchant_cannot_be_made(web_pool: Any) -> None:
    assert web_pool.call("POST", "/keys", {"name": "k", "role": "merchant"}).status_code == 409
