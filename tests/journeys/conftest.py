"""One hub in a temporary folder, with its doors open to a test client."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from cryptography.fernet import Fernet
from starlette.testclient import TestClient

from connectors.registry import connector
from connectors.spi import Connection
from core.flow.hear import Spoken
from core.flow.take_order import take_orders
from core.model import Document, Order, OrderLine, Party
from core.store import inbox
from core.store import tables as t
from core.store.ledger import CellKey, Entry, Ledger
from core.store.schema import prepare
from core.store.scope import HUB
from core.store.store import Store, one
from core.store.vault import Vault
from hub.onboard import keys
from hub.onboard.keys import NewKey, NewUser, add_key, add_user
from web.app import create_app

PASSWORD = "correct horse 9"


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> Iterator[None]:
    """Hash as little as argon2 allows: what is tested is not how long guessing takes."""
    with pytest.MonkeyPatch.context() as patch:
        quick = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        patch.setattr(keys, "HASHER", quick)
        patch.setattr(keys, "NOBODY", quick.hash("nobody"))
        yield


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store on an empty SQLite database."""
    url = f"sqlite:///{tmp_path / 'yipan.sqlite'}"
    prepare(url)
    store = Store(url, Vault([Fernet.generate_key().decode()]), role="web")
    yield store
    store.close()


@dataclass
class WebStage:
    """The doors of one hub, and whoever calls at them. The clients are real; they are never asked to call out."""

    store: Store
    door: TestClient
    keys: dict[str, str] = field(default_factory=dict)

    def call(self, method: str, path: str, body: Any = None, *, by: str = "operator") -> Any:
        """One API call; the whole response."""
        headers = {"authorization": f"Bearer {self.keys[by]}"}
        return self.door.request(method, f"/api/v1{path}", json=body, headers=headers)

    def did(self, method: str, path: str, body: Any = None, *, by: str = "operator") -> Any:
        """One API call that must succeed; its JSON."""
        response = self.call(method, path, body, by=by)
        assert response.status_code < 300, response.text
        return response.json() if response.content else None

    def stock_up(self, owner: str, sku: str, units: int) -> None:
        """Good units of an owner's item lie in the warehouse HZ."""
        stock_up(self.store, owner, sku, units)

    def sell(self, merchant: str, ref: str, quantity: int = 1) -> str:
        """The merchant's shop sold its one listing; returns the order's id."""
        return sell(self.store, merchant, ref, quantity)

    def give_key(self, name: str, role: str, merchant: str | None = None) -> str:
        """A key for someone."""
        new = NewKey(name=name, role=role, merchant=merchant)
        self.keys[name] = self.store.write(lambda tx: add_key(tx, HUB, new))[1]
        return self.keys[name]


def client_of(store: Store, connection_id: int) -> Any:
    """The real client of a connection, with no wire to call out on."""
    with store.read() as tx:
        row = one(tx, t.connections, id=connection_id)
        assert row is not None
        secrets = json.loads(tx.vault.open_secret(row["secrets"]))
    it = Connection(str(connection_id), row["connector"], row["settings"], secrets)
    return connector(row["connector"]).client(it, None, lambda: datetime.now(UTC))


@pytest.fixture
def web_stage(store: Store) -> Iterator[WebStage]:
    """Doors open, an operator with a key at hand."""
    app = create_app(store, client_for=lambda ident: client_of(store, ident))
    with TestClient(app, raise_server_exceptions=False) as door:
        stage = WebStage(store, door)
        stage.give_key("operator", "operator")
        yield stage


@pytest.fixture
def web_pool(web_stage: WebStage) -> WebStage:
    """Two merchants with a shop, an item and a listing each; one warehouse with its WMS and courier."""
    did = web_stage.did
    for code in ("alpha", "beta"):
        did("POST", "/merchants", {"code": code, "name": f"商家 {code}"})
        web_stage.give_key(code, "merchant", code)
    qimen = {"app_key": "k", "customer_id": "c", "secret": "qimen-secret"}
    did("POST", "/connections", {"code": "wms1", "connector": "wms/qimen", "settings": qimen})
    sf = {"partnerID": "P", "checkword": "sf-checkword"}
    did("POST", "/connections", {"code": "sf1", "connector": "courier/sf", "settings": sf})
    sender = {"name": "张三", "phone": "13800000000", "city": "杭州市", "address": "一号路1号"}
    how = {"wms": "wms1", "wms_ref": "WH-HZ", "courier": "sf1", "carrier": "SF", "sender": sender}
    did("POST", "/warehouses", {"code": "HZ", "name": "杭州仓", **how})
    did("PUT", "/warehouses/HZ/keepers", [{"owner": "alpha", "code": "OWN-A"}, {"owner": "beta", "code": "OWN-B"}])
    for code in ("alpha", "beta"):
        shop = {"app_key": "k", "app_secret": "s", "session": "tmall-session"}
        new = {"code": f"tmall-{code}", "connector": "sales/tmall", "merchant": code, "settings": shop, "pool": ["HZ"]}
        did("POST", "/connections", new)
        did("POST", "/items", {"owner": code, "items": [{"sku": f"SKU-{code}-1", "name": f"物品 {code}"}]})
        listing = {"ref": f"L-{code}-1", "item": f"SKU-{code}-1", "product": f"P-{code}"}
        did("POST", "/listings", {"connection": f"tmall-{code}", "listings": [listing]})
    return web_stage


def stock_up(store: Store, owner: str, sku: str, units: int) -> None:
    """Good units of an owner's item lie in the warehouse HZ, as the ledger books them."""

    def work(tx: Any) -> None:
        who, where = one(tx, t.merchants, code=owner), one(tx, t.warehouses, code="HZ")
        item = one(tx, t.items, sku=sku)
        assert who and where and item
        ledger = Ledger(tx)
        cell = ledger.cell(CellKey(who["id"], item["id"], where["id"]))
        entries = [Entry(cell, "world", -units), Entry(cell, "free", units)]
        ledger.book(f"opening:{tx.ids.new()}", "opening", "test", entries)
        ledger.flush()

    store.write(work)


def sell(store: Store, merchant: str, ref: str, quantity: int = 1) -> str:
    """The merchant's shop sold its one listing; the order is taken as the hub takes it. Returns its id."""
    now = datetime.now(UTC)
    line = OrderLine(ref="1", listing=f"L-{merchant}-1", sku=f"SKU-{merchant}-1", quantity=quantity, net_minor=1990)
    party = Party(name="张三", phone="13800000000", city="杭州市", address="一号路1号")
    order = Order(
        ref=ref, version="1", status="paid", claims_stock=True, may_ship=True, placed_at=now, currency="CNY",
        paid_minor=1990, party=party, lines=(line,),
    )  # fmt: skip

    def work(tx: Any) -> str:
        shop = one(tx, t.connections, code=f"tmall-{merchant}")
        assert shop
        document = Document(kind="order", ref=ref, body=ref.encode())
        (ident,) = inbox.keep(tx, shop["id"], shop["merchant_id"], [document]).new
        take_orders(tx, [Spoken("order", ident, shop["id"], shop["merchant_id"], order)])
        row = one(tx, t.orders, ref=ref)
        return str(row["id"]) if row else ""

    return store.write(work)


@pytest.fixture
def page(web_pool: Any) -> Any:
    """Open a page of the console: as the operator `op`, or as bob, who is beta's."""
    for name, role, merchant in (("op", "operator", None), ("bob", "merchant", "beta")):
        new = NewUser(name=name, password=PASSWORD, role=role, merchant=merchant)  # type: ignore[arg-type]
        web_pool.store.write(lambda tx, n=new: add_user(tx, HUB, n))

    def opened(path: str, by: str = "op") -> Any:
        web_pool.door.cookies.clear()
        token = re.search(r'name="csrf" value="([^"]+)"', web_pool.door.get("/login").text)
        assert token
        web_pool.door.post("/login", data={"name": by, "password": PASSWORD, "csrf": token[1]})
        return web_pool.door.get(path)

    return opened
