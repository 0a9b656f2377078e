"""Short orders, substitutes, returns and reservations that become orders, over REST and in the console."""

from __future__ import annotations

import re
from typing import Any

import pytest

from core.flow import return_goods
from core.flow.hear import Spoken
from core.model import Document, Return, ReturnedLine
from core.store import inbox
from core.store import tables as t
from core.store.scope import HUB
from core.store.store import one
from hub.onboard.keys import NewUser, add_user

SKU = "SKU-alpha-1"


def takes_back(stage: Any, ref: str, units: int, order: str = "") -> None:
    """The warehouse takes alpha's goods back."""
    line = ReturnedLine(sku=SKU, quantity=units, keeper="OWN-A", order=order)
    noun = Return(ref=ref, warehouse="WH-HZ", event_id=ref, final=True, lines=(line,))

    def work(tx: Any) -> None:
        wms = one(tx, t.connections, code="wms1")
        assert wms
        (ident,) = inbox.keep(tx, wms["id"], 0, [Document(kind="return", ref=ref, body=b"x")]).new
        return_goods.take_back(tx, [Spoken("return", ident, wms["id"], 0, noun)])

    stage.store.write(work)


@pytest.fixture
def short(web_pool: Any) -> str:
    """The id of alpha's order of 5 where 3 lie."""
    web_pool.stock_up("alpha", SKU, 3)
    return str(web_pool.sell("alpha", "A", 5))


def test_a_merchant_backs_its_short_order_once_goods_are_there(web_pool: Any, short: str) -> None:
    assert web_pool.did("GET", f"/orders/{short}", by="alpha")["state"] == "short"
    web_pool.stock_up("alpha", SKU, 2)
    found = web_pool.did("POST", f"/orders/{short}/top-up", by="alpha")
    assert found == {"id": short, "ref": "A", "state": "released", "wanted": 5, "backed": 5}
    assert web_pool.call("POST", f"/orders/{short}/resource", {}, by="alpha").status_code == 409


def test_an_order_that_came_twice_is_paired_and_the_pair_claims_once(web_pool: Any, short: str) -> None:
    twin, other = (str(web_pool.sell("alpha", ref, units)) for ref, units in (("B", 5), ("C", 2)))
    found = web_pool.did("POST", f"/orders/{twin}/counterpart", {"ref": "A"}, by="alpha")
    assert (found["wanted"], found["backed"]) == (0, 0)
    (seen,) = web_pool.did("GET", f"/orders/{twin}", by="alpha")["counterparts"]
    assert seen == {"id": short, "ref": "A", "shop": "tmall-alpha", "state": "short", "claims": True}
    (seen,) = web_pool.did("GET", f"/orders/{short}", by="alpha")["counterparts"]
    assert (seen["ref"], seen["claims"]) == ("B", False)
    refused = web_pool.call("POST", f"/orders/{other}/counterpart", {"ref": "A"}, by="alpha")
    assert (refused.status_code, "of other goods" in refused.json()["detail"]) == (409, True)
    assert web_pool.call("POST", f"/orders/{other}/counterpart", {}, by="alpha").status_code == 422


def test_an_order_moves_to_a_second_warehouse_of_its_pool(web_pool: Any, short: str) -> None:
    web_pool.did("POST", "/warehouses", {"code": "SH", "name": "上海仓", "wms": "wms1", "wms_ref": "WH-SH"})
    web_pool.did("PATCH", "/connections/tmall-alpha", {"pool": ["HZ", "SH"]})
    answer = web_pool.call("POST", f"/orders/{short}/resource", {"warehouses": ["SH"]}, by="alpha")
    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
    assert "back 0 of its units, where it is now 3 are" in answer.json()["detail"]
    assert web_pool.call("POST", f"/orders/{short}/resource", {"warehouses": ["X"]}, by="alpha").status_code == 404
    assert web_pool.call("POST", f"/orders/{short}/resource", {"to": "SH"}, by="alpha").status_code == 422
    assert web_pool.did("POST", f"/orders/{short}/resource", by="alpha")["backed"] == 3


def test_the_operator_says_what_a_merchant_wants_done_about_short_orders(web_pool: Any, short: str) -> None:
    found = web_pool.did("PATCH", "/merchants/alpha", {"short_policy": "part_ship"})
    assert (found["short_policy"], found["part_backing"], found["unback"]) == ("part_ship", True, "person")
    assert len(web_pool.did("GET", f"/orders/{short}")["fulfilments"]) == 1
    assert web_pool.call("PATCH", "/merchants/alpha", {"part_backing": False}).status_code == 422
    assert web_pool.call("PATCH", "/merchants/alpha", {"short_policy": "guess"}).status_code == 422
    assert web_pool.call("PATCH", "/merchants/alpha", {"unback": "newest"}, by="alpha").status_code == 403
    assert web_pool.call("PATCH", "/merchants/nobody", {"unback": "newest"}).status_code == 404
    new = {"code": "gamma", "name": "x", "short_policy": "part_ship", "part_backing": False}
    assert web_pool.call("POST", "/merchants", new).status_code == 422


def test_what_came_back_is_listed_to_whose_order_and_whose_goods_it_is(web_pool: Any) -> None:
    takes_back(web_pool, "RT1", 2)
    (row,) = web_pool.did("GET", "/returns", by="alpha")["rows"]
    assert (row["ref"], row["warehouse"], row["final"]) == ("RT1", "HZ", True)
    assert [(line["sku"], line["condition"], line["quantity"], line["order"]) for line in row["lines"]] == [
        (SKU, "ZP", 2, None)
    ]
    assert web_pool.did("GET", "/returns?ref=RT1")["rows"] == [row]
    assert web_pool.did("GET", "/returns?ref=RT2")["rows"] == []
    assert web_pool.did("GET", "/returns", by="beta")["rows"] == []


def test_a_kits_parts_are_declared_and_shown_and_a_kit_of_kits_is_refused(web_pool: Any) -> None:
    path, said = "/items/BOX/parts", {"sku": "BOX", "parts": {SKU: 2}}
    item = {"owner": "alpha", "items": [{"sku": "BOX", "name": "box"}]}
    assert web_pool.did("POST", "/items", item, by="alpha")["added"] == 1
    assert web_pool.did("PUT", path, {"owner": "alpha", "parts": {SKU: 2}}, by="alpha") == said
    assert web_pool.did("GET", path, by="alpha") == said
    of_kits = {"owner": "alpha", "parts": {"BOX": 1}}
    assert web_pool.call("PUT", f"/items/{SKU}/parts", of_kits, by="alpha").status_code == 422


def test_substitutes_are_declared_and_shown(web_pool: Any) -> None:
    web_pool.did("POST", "/items", {"owner": "alpha", "items": [{"sku": "S/2", "name": "二号"}]})
    path = f"/items/{SKU}/substitutes"
    said = {"sku": SKU, "substitutes": ["S/2"]}
    assert web_pool.did("PUT", path, {"owner": "alpha", "substitutes": ["S/2"]}, by="alpha") == said
    assert web_pool.did("GET", path, by="alpha") == said
    assert web_pool.did("GET", f"{path}?owner=alpha") == said
    assert web_pool.did("GET", "/items/S/2/substitutes", by="alpha")["substitutes"] == []
    assert web_pool.call("GET", path).status_code == 422
    assert web_pool.call("PUT", path, {"owner": "alpha", "substitutes": [SKU]}, by="alpha").status_code == 422
    assert web_pool.call("PUT", path, {"owner": "alpha", "substitutes": ["X"]}, by="alpha").status_code == 404


def test_a_reservation_becomes_an_order(web_pool: Any) -> None:
    web_pool.stock_up("alpha", SKU, 3)
    lines = [{"sku": SKU, "quantity": 3}]
    web_pool.did("POST", "/reservations", {"ref": "R1", "connection": "tmall-alpha", "lines": lines}, by="alpha")
    follows = {"connection": "tmall-alpha", "order": "A"}
    said = web_pool.did("POST", "/reservations/R1/order", follows, by="alpha")
    assert (said["state"], said["order"]) == ("reserved", {"connection": "tmall-alpha", "ref": "A", "id": None})
    ident = web_pool.sell("alpha", "A", 3)
    again = web_pool.did("POST", "/reservations/R1/order?merchant=alpha", follows)
    assert (again["state"], again["order"]["id"]) == ("ordered", ident)
    assert web_pool.did("GET", f"/orders/{ident}", by="alpha")["state"] == "released"
    assert web_pool.call("POST", "/reservations/R1/release", by="alpha").status_code == 409
    assert web_pool.call("POST", "/reservations/R1/order", {**follows, "order": "B"}, by="alpha").status_code == 409
    assert web_pool.call("POST", "/reservations/R9/order", follows, by="alpha").status_code == 404
    for strange in ("wms1", "tmall-beta"):
        answer = web_pool.call("POST", "/reservations/R1/order?merchant=alpha", {**follows, "connection": strange})
        assert answer.status_code == 422


def test_the_console_has_the_buttons_of_a_short_order_and_shows_what_came_back(web_pool: Any, short: str) -> None:
    new = NewUser(name="boss", password="a long password", role="operator")
    web_pool.store.write(lambda tx: add_user(tx, HUB, new))
    door = web_pool.door
    token = re.search(r'name="csrf" value="([^"]*)"', door.get("/login").text)
    assert token
    door.post("/login", data={"name": "boss", "password": "a long password", "csrf": token[1]})
    page = door.get(f"/orders/{short}").text
    csrf = re.search(r'name="csrf" value="([^"]*)"', page)
    assert csrf
    assert f'action="/orders/{short}/top-up"' in page
    assert f'action="/orders/{short}/resource"' in page
    assert f'action="/orders/{short}/counterpart"' in page
    twin = str(web_pool.sell("alpha", "B", 5))
    paired = door.post(f"/orders/{twin}/counterpart", data={"csrf": csrf[1], "ref": "A"}, follow_redirects=False)
    assert (paired.status_code, paired.headers["location"]) == (303, f"/orders/{twin}")
    assert f'<a href="/orders/{short}">A</a>' in door.get(f"/orders/{twin}").text
    page = door.get(f"/orders/{short}").text
    assert (f'<a href="/orders/{twin}">B</a>' in page, "/counterpart" in page) == (True, False)
    takes_back(web_pool, "RT1", 2)
    answer = door.post(f"/orders/{short}/top-up", data={"csrf": csrf[1]}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/orders/{short}")
    page = door.get(f"/orders/{short}").text
    assert "/top-up" not in page
    assert door.post(f"/orders/{short}/burn", data={"csrf": csrf[1]}).status_code == 404
    assert door.post(f"/orders/{short}/resource", data={"csrf": "x"}).status_code == 403
