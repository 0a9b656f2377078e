"""The whole journey through a real Vendure and a real Tryton, and through their twins, so that the twins cannot part.

The hub is `yipan up` as a user starts it, onboarded through REST; a warehouse's and a courier's twin do the work. A
gate between the hub and the shop holds the hub's calls at the moment that a test is about.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from sandbox.courier import sf
from sandbox.demo.accounts import read_levels
from sandbox.demo.onboard import SENDER
from sandbox.demo.run import SETTINGS
from sandbox.demo.town import Town, town
from sandbox.wms import qimen
from tests.peers.gate import Gate
from tests.peers.tryton_peer import TrytonPeer, tryton
from tests.peers.twin_places import TwinErp, TwinShop
from tests.peers.vendure_peer import VendurePeer, vendure

TWINS = {"qimen": "sandbox.wms.qimen", "sf": "sandbox.courier.sf"}
PATIENT = {**SETTINGS, "YIPAN_BUS__TIMEOUT_S": "60", "YIPAN_BUS__LEASE_S": "120"}
"""The demo's hub, but for calls that may be held at the gate."""
WITHIN_S = 90.0
KEEPER, WAREHOUSE = "YIPAN01", "WH01"
THRESHOLDS = {"CUP-S": 0, "CUP-L": 2, "TOWEL": 0}
"""Units of each variant that the shop never sells."""
OPENING = 20


Shop = VendurePeer | TwinShop
Erp = TrytonPeer | TwinErp


@dataclass
class Stand:
    """A hub between a shop and an ERP, real ones or twins, and what people see of each."""

    town: Town
    shop: Shop
    erp: Erp
    gate: Gate

    def buys(self, sku: str, units: int) -> str:
        """A shopper pays for it through the shop API; the shop's number of the order."""
        return self.shop.buy([{"listing": self.shop.variants[sku], "quantity": units}])

    def rushed(self, sku: str, buyers: int) -> list[str]:
        """So many shoppers want one unit at the same moment; the orders of those who were let pay."""
        with ThreadPoolExecutor(buyers) as shoppers:
            bought = [shoppers.submit(self.buys, sku, 1) for _ in range(buyers)]
        refused = [one.exception() for one in bought if one.exception()]
        assert all("INSUFFICIENT_STOCK" in str(error) for error in refused), refused
        return [one.result() for one in bought if not one.exception()]

    def order(self, ref: str) -> dict[str, Any]:
        """What the hub's REST API tells of an order; empty while it has not been taken."""
        found = self.town.rows("/orders", search=ref)
        order: dict[str, Any] = self.town.api("GET", f"/orders/{found[0]['id']}") if found else {}
        return order

    def is_released(self, ref: str) -> bool:
        """Whether the order was taken and its warehouse has it."""
        return [f["state"] for f in self.order(ref).get("fulfilments", ())] in (["released"], ["accepted"])

    def cell(self, sku: str) -> dict[str, Any]:
        """Where the units of one item stand."""
        (row,) = self.town.rows("/stock", search=sku)
        cell: dict[str, Any] = row
        return cell

    def shows(self, sku: str) -> int:
        """What the shop itself would still sell."""
        on_hand, allocated = self.shop.level(self.shop.variants[sku])
        return on_hand - allocated - THRESHOLDS[sku]

    def may_show(self, sku: str) -> int:
        """What the pool says the shop may show, by what is published."""
        listing = self.shop.variants[sku]
        return next(int(row["target"]) for row in read_levels(self.town) if row["listing"] == listing)

    def drift(self, sku: str) -> int:
        """Units the shop shows beyond what it should, as the hub's reconciliation names them."""
        command = [sys.executable, "-P", "-m", "workers", "reconcile", "--read", "--json"]
        done = subprocess.run(command, env=self.town.environment, capture_output=True, text=True, timeout=120)
        rows = json.loads(done.stdout)["shops"]
        return next(int(row["drift"]) for row in rows if row["listing"] == self.shop.variants[sku])

    def counts(self, sku: str, difference: int) -> None:
        """The warehouse finds more or less than its books say, and tells the hub."""
        cell = {"warehouse": WAREHOUSE, "keeper": KEEPER, "sku": sku}
        self.town.ask("qimen", "adjust", {**cell, "quantity": difference})

    @contextmanager
    def warehouse_held(self) -> Iterator[None]:
        """Nothing is picked meanwhile."""
        self.town.ask("qimen", "hold")
        try:
            yield
        finally:
            self.town.ask("qimen", "go")

    def sale(self, reference: str) -> dict[str, Any]:
        """The ERP's sale under our reference; empty while there is none."""
        sale: dict[str, Any] = self.erp.books()["sales"].get(reference, {})
        return sale

    def until(self, check: Callable[[], Any], what: str) -> None:
        """Wait until it is so; a failure tells what is parked."""
        deadline = time.monotonic() + WITHIN_S
        while not check():
            if time.monotonic() > deadline:
                pytest.fail(f"{what}: not within {WITHIN_S:.0f} s; parked: {self.town.rows('/parked')}")
            time.sleep(0.1)

    def is_quiet(self) -> bool:
        """Whether the hub has nothing left to say or to understand."""
        figures = self.town.api("GET", "/figures")
        still = [figures["outbox"].get(state, 0) for state in ("waiting", "sending", "in_doubt")]
        return not any([*still, figures["marks"], figures["doubts"], figures["inbox"].get("waiting", 0)])


@pytest.fixture(scope="module", params=["twins", "real"])
def stand(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """An onboarded hub whose shop shows what lies in the warehouse: twenty of each variant."""
    with ExitStack() as opened:
        shop, erp = real(tmp_path_factory, opened) if request.param == "real" else twins(opened)
        erp.seed([{"code": sku, "name": sku, "unit_price": "11.30", "quantity": OPENING} for sku in THRESHOLDS])
        gate = Gate(shop.settings["base_url"])
        opened.callback(gate.stop)
        made = Stand(opened.enter_context(town(tmp_path_factory.mktemp("hub"), PATIENT, TWINS)), shop, erp, gate)
        onboard(made)
        for sku in THRESHOLDS:
            made.until(lambda sku=sku: made.shows(sku) == OPENING, f"the opening stock of {sku} shows")
        yield made


def real(folders: pytest.TempPathFactory, opened: ExitStack) -> tuple[Shop, Erp]:
    """Servers of third parties."""
    shop = opened.enter_context(vendure(folders.mktemp("vendure")))
    return shop, opened.enter_context(tryton(folders.mktemp("tryton")))


def twins(opened: ExitStack) -> tuple[Shop, Erp]:
    """Our own picture of them."""
    shop, erp = TwinShop(), TwinErp()
    opened.callback(shop.server.stop)
    opened.callback(erp.server.stop)
    return shop, erp


@pytest.fixture(autouse=True)
def gate_opened_again(stand: Stand) -> Iterator[None]:
    """A test that fails leaves no closed gate to the next one."""
    yield
    stand.gate.open_all()


def onboard(stand: Stand) -> None:
    """As a user does it, through REST; and the other side of each contract."""
    say, home = stand.town.api, stand.town.home
    stand.town.session.headers["Authorization"] = f"Bearer {json.loads((home / 'first.json').read_text())['api_key']}"
    for sku, threshold in THRESHOLDS.items():
        stand.shop.stock(stand.shop.variants[sku], 0, threshold)
    say("POST", "/merchants", {"code": "aurora", "name": "Aurora"})
    for name, module in (("qimen", qimen), ("sf", sf)):
        secrets = {**module.SECRETS, **({"owner_codes": KEEPER} if name == "qimen" else {})}
        callback = connect(stand, name, f"{'wms' if name == 'qimen' else 'courier'}/{name}", module.SETTINGS, secrets)
        more = {"warehouses": [WAREHOUSE], "skus": list(THRESHOLDS)} if name == "qimen" else {}
        stand.town.ask(name, "setup", {"callback_url": callback, **more})
    arranged = {"wms": "qimen", "wms_ref": WAREHOUSE, "courier": "sf", "carrier": "SF", "sender": SENDER}
    say("POST", "/warehouses", {"code": "east", "name": "East", **arranged})
    say("PUT", "/warehouses/east/keepers", [{"owner": "aurora", "code": KEEPER}])
    connect(stand, "vendure", "sales/vendure", {**stand.shop.settings, "base_url": stand.gate.url}, stand.shop.secrets)
    connect(stand, "tryton", "erp/tryton", stand.erp.settings, stand.erp.secrets)
    say("POST", "/items", {"owner": "aurora", "items": [{"sku": sku, "name": sku} for sku in THRESHOLDS]})
    listings = [
        {"ref": stand.shop.variants[sku], "item": sku, "location": stand.shop.settings["location"], "threshold": n}
        for sku, n in THRESHOLDS.items()
    ]
    say("POST", "/listings", {"connection": "vendure", "listings": listings})
    lines = [{"sku": sku, "quantity": OPENING} for sku in THRESHOLDS]
    say("POST", "/inbound", {"owner": "aurora", "warehouse": "east", "ref": "OPENING", "lines": lines})


def connect(stand: Stand, code: str, connector: str, settings: dict[str, Any], secrets: dict[str, str]) -> str:
    """Plug a system in; the address it may push to, if it pushes."""
    place = {"base_url": stand.town.twins[code]} if code in stand.town.twins else {}
    new = {"code": code, "connector": connector, "settings": {**settings, **secrets, **place}}
    new |= {} if code in TWINS else {"merchant": "aurora"}
    new |= {"pool": ["east"]} if connector.startswith("sales/") else {}
    callback = stand.town.api("POST", "/connections", new)["callback"]
    return f"{stand.town.url}{callback['path']}" if callback else ""


def test_order_reaches_warehouse_and_erp_and_its_parcel_comes_back_to_the_shop(stand: Stand) -> None:
    with stand.warehouse_held():
        ref = stand.buys("CUP-S", 3)
        stand.until(lambda: stand.is_released(ref), "the order is with the warehouse")
        cell, ours = stand.cell("CUP-S"), f"Y{stand.order(ref)['id']}"
        assert (cell["free"], cell["reserved"], cell["available"]) == (17, 3, 17)
        stand.until(lambda: stand.sale(ours).get("state") == "processing", "the sale is confirmed in the ERP")
        goods = [(line["code"], line["quantity"]) for line in stand.sale(ours)["lines"] if line["code"] != "FREIGHT"]
        assert (goods, stand.sale(ours)["times_created"]) == ([("CUP-S", 3)], 1)
        assert stand.shop.state(ref) == "PaymentSettled"
    stand.until(lambda: stand.shop.state(ref) == "Shipped", "the shop shows it shipped")
    (parcel,) = stand.order(ref)["parcels"]
    assert stand.shop.shipments(ref) == [{"waybill": parcel["waybill"], "company": "SF", "state": "Shipped"}]
    assert list(stand.town.ask("sf", "books")["waybills"]) == [parcel["waybill"]]
    stand.until(stand.is_quiet, "nothing is due")
    assert (stand.shop.level(stand.shop.variants["CUP-S"]), stand.shows("CUP-S")) == ((17, 0), stand.may_show("CUP-S"))
    assert (stand.cell("CUP-S")["free"], stand.cell("CUP-S")["reserved"]) == (17, 0)
    assert stand.town.rows("/parked") == []


@pytest.mark.parametrize(("sku", "heard"), [("CUP-L", "after"), ("TOWEL", "before")])
def test_order_placed_between_read_and_write_leaves_the_shop_what_the_pool_may_promise(
    stand: Stand, sku: str, heard: str
) -> None:
    with stand.warehouse_held():
        first = stand.buys(sku, 2)
        stand.until(lambda: stand.is_released(first), "the first order is with the warehouse")
        stand.until(stand.is_quiet, "nothing is due")
        stand.gate.close("SetStock")
        stand.counts(sku, 5)
        held = stand.gate.await_call("SetStock", WITHIN_S)["input"]
        assert [level["stockLevels"][0]["stockOnHand"] for level in held] == [OPENING + 5 + THRESHOLDS[sku]]
        if heard == "after":
            stand.gate.close("Orders")
        second = stand.buys(sku, 3)
        if heard == "before":
            stand.until(lambda: stand.is_released(second), "the second order is with the warehouse")
        stand.gate.open("SetStock")
        on_hand = OPENING + 5 + THRESHOLDS[sku]
        stand.until(lambda: stand.shop.level(stand.shop.variants[sku]) == (on_hand, 5), "the write is in the shop")
        assert bool(stand.order(second)) == (heard == "before")
        stand.gate.open("Orders")
        stand.until(lambda: stand.is_released(second), "the second order is with the warehouse")
        stand.until(stand.is_quiet, "nothing is due")
        assert (stand.shows(sku), stand.may_show(sku), stand.cell(sku)["available"]) == (20, 20, 20)
        assert stand.cell(sku)["reserved"] == 5
    for ref in (first, second):
        stand.until(lambda ref=ref: stand.shop.state(ref) == "Shipped", "the shop shows it shipped")
    stand.until(stand.is_quiet, "nothing is due")
    assert (stand.shows(sku), stand.may_show(sku)) == (20, 20)
    assert stand.town.rows("/parked") == []


def test_order_fulfilled_by_hand_in_the_shop_is_not_counted_as_allocated_there(stand: Stand) -> None:
    promised = stand.may_show("CUP-S")
    with stand.warehouse_held():
        ref = stand.buys("CUP-S", 2)
        stand.until(lambda: stand.is_released(ref), "the order is with the warehouse")
        stand.shop.fulfil(ref, "HAND-1")
        stand.until(lambda: stand.order(ref)["lines"][0]["fulfilled"] == 2, "the hub has heard of the fulfilment")
        stand.counts("CUP-S", 5)
        stand.until(lambda: stand.shows("CUP-S") == promised - 2 + 5, "the shop shows what was found")
        stand.until(stand.is_quiet, "nothing is due")
        assert stand.shop.level(stand.shop.variants["CUP-S"]) == (stand.may_show("CUP-S"), 0)
    stand.until(lambda: stand.town.rows("/parked"), "our own fulfilment is refused there, and a person is asked")
    (parked,) = stand.town.rows("/parked")
    assert parked["reason"].startswith("ITEMS_ALREADY_FULFILLED_ERROR")
    stand.town.api("POST", f"/parked/intent/{parked['id']}/dismiss")
    assert stand.shop.shipments(ref) == [{"waybill": "HAND-1", "company": "by hand", "state": "Pending"}]


BUYERS = 50


def test_of_50_parallel_buyers_of_10_units_10_are_backed_and_nothing_more_is_ever_published(stand: Stand) -> None:
    """A Vendure looks at its stock when a cart is filled and not when it is paid: it oversells by itself.

    Orders paid at the same moment overwrite what each other allocated, too: what it shows in the end is its own drift.
    """
    listing = stand.shop.variants["TOWEL"]
    stand.counts("TOWEL", 10 - stand.cell("TOWEL")["free"])
    stand.until(lambda: (stand.shows("TOWEL"), stand.cell("TOWEL")["free"]) == (10, 10), "the shop shows ten")
    stand.until(stand.is_quiet, "nothing is due")
    said = len(stand.gate.said("SetStock"))
    with stand.warehouse_held():
        sold = stand.rushed("TOWEL", BUYERS)
        assert len(sold) > 10
        stand.until(lambda: all(stand.order(ref) for ref in sold), "every order is in the books")
        backed = [ref for ref in sold if stand.order(ref)["state"] not in ("short", "cancelled")]
        cell = stand.cell("TOWEL")
        assert (len(backed), cell["free"], cell["reserved"], cell["suspense"]) == (10, 0, 10, 0)
        stand.until(stand.is_quiet, "those that are short are called off at the shop")
    for ref in backed:
        stand.until(lambda ref=ref: stand.shop.state(ref) == "Shipped", "the shop shows it shipped")
    stand.until(stand.is_quiet, "nothing is due")
    assert Counter(stand.shop.state(ref) for ref in sold) == {"Shipped": 10, "Cancelled": len(sold) - 10}
    assert stand.town.api("GET", "/figures")["shop_oversold_units"] == len(sold) - 10
    beyond = Counter(row["cause"] for row in stand.town.rows("/oversold") if row["order"] in sold)
    assert beyond.total() == len(sold) - 10
    assert beyond["shop_race"] > beyond.total() - beyond["shop_race"], "but for what was heard once units came back"
    levels = [one for call in stand.gate.said("SetStock")[said:] for one in call["input"] if one["id"] == listing]
    on_hand = [level["stockLevels"][0]["stockOnHand"] for level in levels]
    assert all(units <= 10 + len(sold) for units in on_hand)
    assert (stand.shop.level(listing)[0], stand.may_show("TOWEL")) == (0, 0)
    assert stand.drift("TOWEL") == stand.shows("TOWEL")
