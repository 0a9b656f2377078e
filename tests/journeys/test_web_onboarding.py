"""Merchants, warehouses, connections and goods put in through REST, as the demo does it."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import select

from core.flow import move_stock
from core.flow.hear import Spoken
from core.model import Document, Receipt, ReceivedLine
from core.store import inbox
from core.store import tables as t
from core.store.store import many, one
from tests.journeys.test_web_reservations import RACERS, race


def test_the_pool_is_put_in_through_rest_alone(web_pool: Any) -> None:
    with web_pool.store.read() as tx:
        listings = tx.rows(select(t.listings.c.ref).order_by(t.listings.c.ref))
        marks = tx.rows(select(t.marks.c.listing_id))
        cursors = sorted(row["ability"] for row in tx.rows(select(t.cursors)))
    assert [row["ref"] for row in listings] == ["L-alpha-1", "L-beta-1"]
    assert len(marks) == 2
    assert cursors == ["fetch_orders", "fetch_orders", "fetch_stock"]


def test_the_warehouse_is_linked_to_its_code_at_the_wms(web_pool: Any) -> None:
    with web_pool.store.read() as tx:
        warehouse, wms = one(tx, t.warehouses, code="HZ"), one(tx, t.connections, code="wms1")
        assert warehouse and wms
        link = one(tx, t.links, connection_id=wms["id"], kind="warehouse", ref="WH-HZ")
    assert link and link["ours"] == str(warehouse["id"])


def test_secrets_are_sealed_and_never_shown(web_pool: Any) -> None:
    with web_pool.store.read() as tx:
        row = one(tx, t.connections, code="sf1")
        assert row
        opened = json.loads(tx.vault.open_secret(row["secrets"]))
    assert opened == {"checkword": "sf-checkword"}
    assert "checkword" not in row["settings"]
    shown = web_pool.call("GET", "/connections/sf1").text + web_pool.call("GET", "/connections").text
    assert "sf-checkword" not in shown and "qimen-secret" not in shown


def test_abilities_are_copied_from_the_manifest(web_pool: Any) -> None:
    with web_pool.store.read() as tx:
        row = one(tx, t.connections, code="sf1")
    assert row and row["can"]["send_booking"]["probe"] is True
    assert row["can"]["send_booking"]["lane"] == "fulfilment"


def test_every_mistake_in_the_settings_is_named_at_once(web_stage: Any) -> None:
    wrong = {"partnerID": "", "payMethod": "many", "colour": "red", "base_url": "file:///etc/passwd"}
    new = {"code": "sf9", "connector": "courier/sf", "settings": wrong}
    answer = web_stage.call("POST", "/connections", new)
    assert answer.status_code == 422
    detail = answer.json()["detail"]
    assert [name in detail for name in ("partnerID", "payMethod", "colour", "base_url", "checkword")] == [True] * 5
    assert web_stage.did("GET", "/connections")["rows"] == []


def test_an_unknown_connector_is_named_with_those_there_are(web_stage: Any) -> None:
    answer = web_stage.call("POST", "/connections", {"code": "x", "connector": "sales/nowhere"})
    assert (answer.status_code, "sales/tmall" in answer.json()["detail"]) == (422, True)


def test_a_code_taken_twice_is_a_conflict(web_pool: Any) -> None:
    answer = web_pool.call("POST", "/merchants", {"code": "alpha", "name": "again"})
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["fix"]


def test_goods_announced_stand_as_inbound_and_the_warehouse_is_told(web_pool: Any) -> None:
    lines = [{"sku": "SKU-alpha-1", "quantity": 100}]
    asn = web_pool.did("POST", "/inbound", {"owner": "alpha", "warehouse": "HZ", "ref": "PO-1", "lines": lines})
    cell = web_pool.did("GET", "/stock?search=SKU-alpha")["rows"][0]
    assert (cell["inbound"], cell["on_hand"], cell["available"]) == (100, 0, 0)
    with web_pool.store.read() as tx:
        intents = many(tx, t.outbox, "ability", ["send_asn"])
    assert [i["subject"] for i in intents] == [f"asn:{asn['id']}"]


def announces(web_pool: Any, owner: str, units: int, **more: Any) -> Any:
    """An owner announces its goods as PO-1."""
    lines = [{"sku": f"SKU-{owner}-1", "quantity": units}]
    told = {"owner": owner, "warehouse": "HZ", "ref": "PO-1", "lines": lines, **more}
    return web_pool.call("POST", "/inbound", told, by=owner)


def announced(web_pool: Any, owner: str) -> int:
    """Units of the owner's item that stand as inbound."""
    return sum(cell["inbound"] for cell in web_pool.did("GET", f"/stock?search=SKU-{owner}")["rows"])


def test_goods_announced_twice_under_one_ref_stand_and_other_goods_are_refused(web_pool: Any) -> None:
    first, again = announces(web_pool, "alpha", 100), announces(web_pool, "alpha", 100)
    assert (first.status_code, again.status_code) == (201, 200)
    assert (again.json()["id"], again.json()["repeated"]) == (first.json()["id"], True)
    for other in ({"units": 90}, {"units": 100, "inspect": True}):
        answer = announces(web_pool, "alpha", **other)
        assert (answer.status_code, "choose another ref" in answer.json()["detail"]) == (409, True)
    assert announced(web_pool, "alpha") == 100


def test_the_ref_of_one_owner_is_nobody_elses_business(web_pool: Any) -> None:
    """Both call theirs PO-1; the warehouse gets two numbers, and what it confirms under each is that owner's."""
    alphas, betas = announces(web_pool, "alpha", 100).json(), announces(web_pool, "beta", 30).json()
    assert [row["ref"] for row in (alphas, betas)] == ["PO-1", "PO-1"]
    assert [row["number"] for row in (alphas, betas)] == ["PO-1", f"A{betas['id']}"]
    for n, row in enumerate((betas, alphas)):
        receives(web_pool, row["number"], f"SKU-{'beta' if row is betas else 'alpha'}-1", 7 + n)
    assert (announced(web_pool, "alpha"), announced(web_pool, "beta")) == (92, 23)


def receives(web_pool: Any, number: str, sku: str, units: int) -> None:
    """The warehouse says that so many came in under a number."""
    told = Receipt(
        asn=number, warehouse="WH-HZ", event_id=number, final=False, lines=(ReceivedLine(sku=sku, quantity=units),)
    )

    def work(tx: Any) -> None:
        wms = one(tx, t.connections, code="wms1")
        (ident,) = inbox.keep(tx, wms["id"], 0, [Document(kind="receipt", ref=number, body=b"-")]).new
        move_stock.receive(tx, [Spoken("receipt", ident, wms["id"], 0, told)])

    web_pool.store.write(work)


def test_of_64_who_announce_the_same_at_once_one_does(web_pool: Any) -> None:
    assert race(lambda n: announces(web_pool, "alpha", 100)) == {201: 1, 200: RACERS - 1}
    assert announced(web_pool, "alpha") == 100


def test_of_64_who_announce_something_else_at_once_one_wins_and_none_gets_a_500(web_pool: Any) -> None:
    assert race(lambda n: announces(web_pool, "alpha", 100 + n)) == {201: 1, 409: RACERS - 1}


def test_a_listing_put_in_again_is_marked_only_when_it_changed(web_pool: Any) -> None:
    same = {"ref": "L-alpha-1", "item": "SKU-alpha-1", "product": "P-alpha"}
    new = {"connection": "tmall-alpha", "listings": [same]}
    assert web_pool.did("POST", "/listings", new) == {"added": 0, "changed": 0}
    assert web_pool.did("POST", "/listings", {**new, "listings": [{**same, "buffer": 2}]}) == {"added": 0, "changed": 1}


def test_a_listing_of_an_unknown_item_names_the_item(web_pool: Any) -> None:
    new = {"connection": "tmall-alpha", "listings": [{"ref": "L9", "item": "SKU-none"}]}
    answer = web_pool.call("POST", "/listings", new)
    assert (answer.status_code, "SKU-none" in answer.json()["detail"]) == (404, True)


def test_settings_change_without_naming_the_secrets_again(web_pool: Any) -> None:
    web_pool.did("PATCH", "/connections/sf1", {"settings": {"partnerID": "Q"}})
    with web_pool.store.read() as tx:
        row = one(tx, t.connections, code="sf1")
        assert row
        opened = json.loads(tx.vault.open_secret(row["secrets"]))
    assert (row["settings"]["partnerID"], opened["checkword"]) == ("Q", "sf-checkword")


def test_a_paused_connection_goes_on_when_it_is_resumed(web_pool: Any) -> None:
    assert web_pool.did("POST", "/connections/tmall-alpha/pause") == {"state": "paused"}
    assert web_pool.did("POST", "/connections/tmall-alpha/resume") == {"state": "active"}


def test_lists_go_on_page_by_page_without_gap_or_repeat(web_pool: Any) -> None:
    items = [{"sku": f"S{n:03}", "name": "n"} for n in range(25)]
    web_pool.did("POST", "/items", {"owner": "alpha", "items": items})
    seen: list[str] = []
    after = ""
    while True:
        page = web_pool.did("GET", f"/items?search=S0&limit=10&after={after}")
        seen += [row["sku"] for row in page["rows"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert seen == [item["sku"] for item in items]


def test_without_a_key_nothing_opens(web_stage: Any) -> None:
    answer = web_stage.door.get("/api/v1/orders")
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")


def test_a_revoked_key_opens_nothing(web_stage: Any) -> None:
    given = web_stage.did("POST", "/keys", {"name": "temp", "role": "operator"})
    web_stage.keys["temp"] = given["key"]
    assert web_stage.call("GET", "/merchants", by="temp").status_code == 200
    web_stage.did("DELETE", f"/keys/{given['id']}")
    assert web_stage.call("GET", "/merchants", by="temp").status_code == 401


def test_every_act_stands_in_the_audit_log(web_pool: Any) -> None:
    with web_pool.store.read() as tx:
        rows = tx.rows(select(t.audit_log.c.actor, t.audit_log.c.action, t.audit_log.c.subject))
    assert ("key operator", "merchant added", "alpha") in [(r["actor"], r["action"], r["subject"]) for r in rows]


def test_a_name_with_control_characters_is_refused(web_pool: Any) -> None:
    for sku in ("A\0B", "A\nB"):
        body = {"owner": "alpha", "items": [{"sku": sku, "name": "x"}]}
        assert web_pool.call("POST", "/items", body).status_code == 422
