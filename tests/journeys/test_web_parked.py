"""Every button of parked work, pressed in the console as a person does, and what flows on afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

import mappings
from connectors.courier.sf.client import Sf
from connectors.spi import Outcome
from core.errors import Refused
from core.flow import audit_ledger
from core.model import Document
from core.store import inbox
from core.store import tables as t
from core.store.scope import HUB
from core.store.store import many, one
from hub import inward, outward
from hub.onboard.keys import NewUser, add_user
from hub.wiring import Hub

PASSWORD = "correct horse 9"
SKU = "SKU-alpha-1"
TRADE = Path(mappings.__path__[0]) / "sales" / "tmall" / "fixtures" / "built" / "order.1.json"


class Desk:
    """A person at the console, and the hub working behind it."""

    def __init__(self, stage: Any) -> None:
        self.stage, self.door, self.hub = stage, stage.door, Hub(stage.store)
        token = self.token(self.door.get("/login").text)
        self.door.post("/login", data={"name": "op", "password": PASSWORD, "csrf": token})

    @staticmethod
    def token(page: str) -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', page)
        assert found
        return found[1]

    def press(self, button: str, **said: str) -> str:
        """Press the first such button on the page; the page that follows."""
        page = self.door.get("/parked").text
        action = re.search(rf'action="(/parked/\w+/\d+/{button})"', page)
        assert action, f"no button {button}"
        answer = self.door.post(action[1], data={"csrf": self.token(page), **said})
        assert answer.status_code == 200, answer.text
        text: str = answer.text
        return text

    def row(self, table: Any, **equal: Any) -> Any:
        with self.stage.store.read() as tx:
            return one(tx, table, **equal)


@pytest.fixture
def desk(web_pool: Any) -> Iterator[Desk]:
    web_pool.store.write(lambda tx: add_user(tx, HUB, NewUser(name="op", password=PASSWORD, role="operator")))
    web_pool.door.cookies.clear()
    yield Desk(web_pool)


def hear_trade(desk: Desk) -> None:
    """The shop's trade is kept and looked at; nothing it names is linked yet."""
    shop = desk.row(t.connections, code="tmall-alpha")
    document = Document(kind="order", ref="3812000000000000100", body=TRADE.read_bytes())
    desk.stage.store.write(lambda tx: inbox.keep(tx, shop["id"], shop["merchant_id"], [document]))
    inward.settle(desk.hub)


def test_link_lets_the_order_flow_on(desk: Desk) -> None:
    hear_trade(desk)
    page = desk.door.get("/parked").text
    assert "no listing is linked to &#39;5000000000011&#39;" in page
    for _ in range(6):
        if desk.row(t.inbox, ref="3812000000000000100")["state"] != "parked":
            break
        desk.press("link", sku=SKU)
        inward.settle(desk.hub)
    order = desk.row(t.orders, ref="3812000000000000100")
    assert order and order["state"] == "short"
    assert desk.row(t.inbox, ref="3812000000000000100")["state"] == "done"
    assert desk.row(t.listings, ref="5000000000011")["item_id"] == desk.row(t.items, sku=SKU)["id"]


def test_link_sends_all_documents_through_that_missed_the_same(desk: Desk) -> None:
    hear_trade(desk)
    shop = desk.row(t.connections, code="tmall-alpha")
    other = TRADE.read_bytes().replace(b"3812000000000000100", b"3812000000000000900")
    document = Document(kind="order", ref="3812000000000000900", body=other)
    desk.stage.store.write(lambda tx: inbox.keep(tx, shop["id"], shop["merchant_id"], [document]))
    inward.settle(desk.hub)
    desk.press("link", sku=SKU)
    with desk.stage.store.read() as tx:
        assert [row["state"] for row in many(tx, t.inbox, "kind", ["order"])] == ["waiting", "waiting"]


def test_link_to_an_item_there_is_not_says_so_and_changes_nothing(desk: Desk) -> None:
    hear_trade(desk)
    page = desk.door.get("/parked").text
    action = re.search(r'action="(/parked/document/\d+/link)"', page)
    assert action
    answer = desk.door.post(action[1], data={"csrf": desk.token(page), "sku": "NOWHERE"})
    assert answer.status_code == 404
    assert desk.row(t.inbox, ref="3812000000000000100")["state"] == "parked"


def test_replay_sends_a_document_through_again(desk: Desk) -> None:
    hear_trade(desk)
    desk.press("replay")
    assert desk.row(t.inbox, ref="3812000000000000100")["state"] == "waiting"
    inward.settle(desk.hub)
    assert desk.row(t.inbox, ref="3812000000000000100")["state"] == "parked"


def test_dismiss_takes_a_document_off_the_page_and_keeps_it(desk: Desk) -> None:
    hear_trade(desk)
    page = desk.press("dismiss")
    assert "Nothing needs you" in page
    inward.settle(desk.hub)
    assert desk.row(t.inbox, ref="3812000000000000100")["state"] == "dismissed"
    assert desk.row(t.orders, ref="3812000000000000100") is None


@pytest.fixture
def refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> list[Outcome]:
    """An order is released and SF refuses the booking; what SF says next stands in the list."""
    says = [Outcome.failed(Refused("8057: product not allowed"))]
    monkeypatch.setattr(Sf, "send_booking", lambda self, batch, step="": [says[-1]])
    desk.stage.stock_up("alpha", SKU, 5)
    desk.stage.sell("alpha", "TB1")
    work(desk)
    return says


def work(desk: Desk) -> None:
    """Say what is due at the courier."""
    with ThreadPoolExecutor(1) as pool:
        outward.drain(desk.hub, "fulfilment", pool)


def test_retry_lets_the_fulfilment_flow_on(desk: Desk, refused: list[Outcome]) -> None:
    assert "8057: product not allowed" in desk.door.get("/parked").text
    refused.append(Outcome.done("SF1000000009"))
    assert "Nothing needs you" in desk.press("retry")
    work(desk)
    fulfilment = desk.row(t.fulfilments, waybill="SF1000000009")
    assert fulfilment and fulfilment["state"] == "released"
    assert desk.row(t.outbox, ability="send_delivery_order", subject=f"fulfilment:{fulfilment['id']}")


def test_dismiss_ends_an_intent_without_another_call(desk: Desk, refused: list[Outcome]) -> None:
    desk.press("dismiss")
    refused.append(Outcome.done("SF1000000009"))
    work(desk)
    row = desk.row(t.outbox, ability="send_booking")
    assert (row["state"], row["reason"]) == ("moot", "dismissed by op")


def test_linking_what_our_thing_is_called_there_sends_the_intent_again(desk: Desk) -> None:
    lines = [{"sku": SKU, "quantity": 5}]
    desk.stage.did("POST", "/inbound", {"owner": "alpha", "warehouse": "HZ", "lines": lines})
    warehouse, wms = desk.row(t.warehouses, code="HZ"), desk.row(t.connections, code="wms1")
    reason = f"no warehouse is linked to '{warehouse['id']}': link it, then replay"
    parked = {"state": "parked", "problem": "Unmatched", "reason": reason}
    gone = t.links.delete().where(t.links.c.connection_id == wms["id"])
    desk.stage.store.write(lambda tx: tx.conn.execute(update(t.outbox).values(**parked)))
    desk.stage.store.write(lambda tx: tx.conn.execute(gone))
    desk.press("link", ref="HZ-7")
    assert desk.row(t.links, connection_id=wms["id"], ref="HZ-7")["ours"] == str(warehouse["id"])
    assert desk.row(t.outbox, ability="send_asn")["state"] == "waiting"


def test_a_task_that_is_done_leaves_the_page(desk: Desk) -> None:
    desk.stage.sell("alpha", "TB-short", 3)
    assert "no stock for this paid order" in desk.door.get("/parked").text
    assert "Nothing needs you" in desk.press("done")
    assert desk.row(t.worklist, kind="order.short/send_cancellation")["done_at"] is not None


def five_missing(desk: Desk) -> Any:
    """A count finds five of ten; the task it leaves."""
    lines = [{"sku": SKU, "quantity": 5}]
    told = {"ref": "C1", "warehouse": "HZ", "counted_at": datetime.now(UTC).isoformat(), "lines": lines}
    assert desk.stage.did("POST", "/counts", told, by="alpha")["state"] == "booked"
    (task,) = (row for row in desk.stage.did("GET", "/parked")["rows"] if row["what"] == "stock.missing")
    return task


def test_promises_for_missing_goods_are_taken_back_by_hand(desk: Desk) -> None:
    desk.stage.stock_up("alpha", SKU, 10)
    lines = [{"sku": SKU, "quantity": 8}]
    desk.stage.did("POST", "/reservations", {"ref": "cart", "connection": "tmall-alpha", "lines": lines}, by="alpha")
    task = five_missing(desk)
    assert task["buttons"] == ["unback"]
    goods = {"sku": SKU, "name": "物品 alpha", "owner": "alpha", "warehouse": "HZ", "condition": "ZP"}
    assert (task["goods"], task["reason"][:20]) == (goods, "3 units are missing ")
    assert f'href="/stock/explain?sku={SKU}&amp;owner=alpha&amp;warehouse=HZ"' in desk.door.get("/parked").text
    page = desk.press("unback")
    assert "stock.missing" not in page
    assert "reservation.short" in page
    (cell,) = desk.stage.did("GET", "/stock")["rows"]
    assert (cell["reserved"], cell["suspense"]) == (5, 0)
    (kept,) = desk.stage.did("GET", "/reservations/cart", by="alpha")["kept"]
    assert (kept["units"], kept["backed"]) == (8, 5)
    with desk.stage.store.read() as tx:
        assert audit_ledger.audit(tx) == []


def test_promises_a_warehouse_was_told_of_are_not_taken_back_and_the_task_stays(desk: Desk) -> None:
    desk.stage.stock_up("alpha", SKU, 10)
    desk.stage.sell("alpha", "TB1", 8)
    task = five_missing(desk)
    answer = desk.stage.call("POST", f"/parked/task/{task['id']}/unback")
    assert (answer.status_code, "have the goods counted" in answer.json()["detail"]) == (409, True)
    assert desk.row(t.worklist, kind="stock.missing")["done_at"] is None
    assert desk.stage.call("POST", f"/parked/task/{task['id']}/done").status_code == 409
    assert desk.stage.call("POST", f"/parked/task/{task['id']}/unback", by="beta").status_code == 404


def test_a_button_pressed_twice_says_that_it_is_parked_no_more(desk: Desk) -> None:
    hear_trade(desk)
    ident = desk.row(t.inbox, ref="3812000000000000100")["id"]
    desk.stage.did("POST", f"/parked/document/{ident}/replay")
    answer = desk.stage.call("POST", f"/parked/document/{ident}/replay")
    assert (answer.status_code, answer.json()["title"]) == (409, "Conflict")


def test_the_api_has_the_same_buttons(desk: Desk) -> None:
    hear_trade(desk)
    (row,) = desk.stage.did("GET", "/parked")["rows"]
    assert (row["buttons"], row["missing"]) == (
        ["link", "replay", "dismiss"],
        {"kind": "listing", "ref": "5000000000011"},
    )
    desk.stage.did("POST", f"/parked/document/{row['id']}/link", {"sku": SKU})
    assert desk.row(t.listings, ref="5000000000011")


def test_every_press_stands_in_the_audit_log(desk: Desk) -> None:
    hear_trade(desk)
    desk.press("dismiss")
    with desk.stage.store.read() as tx:
        acts = tx.rows(select(t.audit_log.c.actor).where(t.audit_log.c.action == "parked document dismiss"))
    assert [act["actor"] for act in acts] == ["op"]
