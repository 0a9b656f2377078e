"""A real Vendure on loopback with a database of its own (GPL: it runs beside the tests, nothing of ours links it).

The first run installs it into `.peers/` by npm and makes a template database (about a minute); after that a run copies
the template, serves it, and drops it. Its methods are the twin's controls, done by a real shopper and administrator.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

VERSION = "3.7.3"
PACKAGES = (f"@vendure/core@{VERSION}", "pg@8.23.1")
HERE = Path(__file__).parent / "vendure"
PEERS = Path(__file__).parent.parent.parent / ".peers"
FOLDER = PEERS / f"vendure-{VERSION}"
POSTGRES = "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"
ADMINISTRATOR, PASSWORD = "superadmin", "vendure-peer-admin"
ANSWERS_WITHIN_S = 120
"""Only against a hang: fifty who pay at once wait for each other, on a slow machine for half a minute."""
STARTED_WITHIN_S = 90
BUILT_WITHIN_S = 600
ADDRESS = {
    "fullName": "张三",
    "streetLine1": "文一西路1号",
    "streetLine2": "2幢301室",
    "city": "杭州市",
    "province": "浙江省",
    "postalCode": "310000",
    "countryCode": "CN",
    "phoneNumber": "13800000000",
}


@dataclass
class Session:
    """One caller of one of its two APIs; errors are RuntimeErrors, business errors among them."""

    url: str
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})

    def ask(self, query: str, **variables: Any) -> Any:
        """The value of the only root field; its session token is kept."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(self.url, body, self.headers)
        with urllib.request.urlopen(request, timeout=ANSWERS_WITHIN_S) as response:
            answer = json.load(response)
            token = response.headers.get("vendure-auth-token")
        self.headers |= {"Authorization": f"Bearer {token}"} if token else {}
        if answer.get("errors"):
            raise RuntimeError(answer["errors"])
        (value,) = answer["data"].values()
        if isinstance(value, dict) and "errorCode" in value:
            raise RuntimeError(value)
        return value


@dataclass
class VendurePeer:
    """A running Vendure. settings and secrets are those of a connection to it; variants: SKU → variant id."""

    url: str
    database: str
    settings: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    variants: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.admin = Session(f"{self.url}/admin-api")

    def open(self) -> VendurePeer:
        """Logs in, sells in CNY (a new Vendure begins with USD), makes an API key, learns what is on sale."""
        words = "mutation($u: String!, $p: String!) { login(username: $u, password: $p) { __typename } }"
        self.admin.ask(words, u=ADMINISTRATOR, p=PASSWORD)
        self.admin.ask(SET_CURRENCY, i={"id": "1", "defaultCurrencyCode": "CNY"})
        wanted = {"roleIds": ["1"], "translations": [{"languageCode": "zh_Hans", "name": "yipan"}]}
        made = self.admin.ask("mutation($i: CreateApiKeyInput!) { createApiKey(input: $i) { apiKey } }", i=wanted)
        found = self.admin.ask("{ productVariants { items { id sku stockLevels { stockLocationId } } } }")["items"]
        self.variants = {variant["sku"]: variant["id"] for variant in found}
        location = found[0]["stockLevels"][0]["stockLocationId"]
        self.settings = {"base_url": self.url, "location": location, "username": ADMINISTRATOR}
        self.secrets = {"api_key": made["apiKey"]}
        return self

    def buy(self, lines: list[dict[str, Any]], pay: bool | str = True) -> str:
        """A shopper's whole way through the shop API. pay: true, false (stops before payment) or "authorize"."""
        shopper = Session(f"{self.url}/shop-api")
        for line in lines:
            code = shopper.ask(ADD_ITEM, v=line["listing"], q=line["quantity"])["code"]
        shopper.ask(SET_CUSTOMER, i={"firstName": "三", "lastName": "张", "emailAddress": f"{code}@example.com"})
        shopper.ask(SET_ADDRESS, i=ADDRESS)
        shopper.ask(SET_SHIPPING, i=[shopper.ask("{ eligibleShippingMethods { id } }")[0]["id"]])
        shopper.ask(ARRANGE)
        if pay:
            method = "pay-later" if pay == "authorize" else "pay-now"
            shopper.ask(ADD_PAYMENT, i={"method": method, "metadata": {}})
        return str(code)

    def pay(self, ref: str) -> None:
        """The merchant settles what was authorised."""
        self.admin.ask(SETTLE, i=self._order(ref)["payments"][0]["id"])

    def close(self, ref: str) -> None:
        """The merchant calls the order off."""
        self.admin.ask(CANCEL, i={"orderId": self._order(ref)["id"]})

    def cancel_line(self, ref: str, line: str, quantity: int) -> None:
        """The merchant calls some units of one line off."""
        lines = [{"orderLineId": line, "quantity": quantity}]
        self.admin.ask(CANCEL, i={"orderId": self._order(ref)["id"], "lines": lines})

    def grow_line(self, ref: str, line: str, quantity: int) -> None:
        """The merchant modifies a placed order: this line shall have so many units, paid by hand."""
        order = self._order(ref)["id"]
        self.admin.ask(MOVE, i=order, s="Modifying")
        lines = [{"orderLineId": line, "quantity": quantity}]
        self.admin.ask(MODIFY, i={"orderId": order, "dryRun": False, "adjustOrderLines": lines})
        self.admin.ask(MOVE, i=order, s="ArrangingAdditionalPayment")
        self.admin.ask(PAY_BY_HAND, i={"orderId": order, "method": "cash", "transactionId": "1", "metadata": {}})
        self.admin.ask(MOVE, i=order, s="PaymentSettled")

    def fulfil(self, ref: str, waybill: str) -> None:
        """A person makes a fulfilment of the whole order."""
        lines = [{"orderLineId": line["id"], "quantity": line["quantity"]} for line in self._order(ref)["lines"]]
        arguments = [{"name": "method", "value": "by hand"}, {"name": "trackingCode", "value": waybill}]
        handler = {"code": "manual-fulfillment", "arguments": arguments}
        self.admin.ask(FULFIL, i={"lines": lines, "handler": handler})

    def stock(self, listing: str, on_hand: int, threshold: int | None = None) -> None:
        """A person sets on hand and threshold (None: the global one) by hand."""
        levels = [{"stockLocationId": self.settings["location"], "stockOnHand": on_hand}]
        rule = {"useGlobalOutOfStockThreshold": threshold is None, "outOfStockThreshold": threshold or 0}
        self.admin.ask(SET_STOCK, i=[{"id": listing, "stockLevels": levels, **rule}])

    def level(self, listing: str) -> tuple[int, int]:
        """(on hand, allocated) as the shop holds them now."""
        level = self.admin.ask(STOCK, i=listing)["stockLevels"][0]
        return level["stockOnHand"], level["stockAllocated"]

    def shipments(self, ref: str) -> list[dict[str, Any]]:
        """The order's fulfilments as the twin's books show them, with their state."""
        shown = self._order(ref)["fulfillments"] or []
        return [{"waybill": f["trackingCode"], "company": f["method"], "state": f["state"]} for f in shown]

    def state(self, ref: str) -> str:
        """The order's state."""
        return str(self._order(ref)["state"])

    def _order(self, ref: str) -> dict[str, Any]:
        (order,) = self.admin.ask(ORDER, o={"filter": {"code": {"eq": ref}}})["items"]
        found: dict[str, Any] = order
        return found


ERROR = "... on ErrorResult { errorCode message }"
ADD_ITEM = (
    "mutation($v: ID!, $q: Int!) { addItemToOrder(productVariantId: $v, quantity: $q) "
    f"{{ __typename ... on Order {{ code }} {ERROR} }} }}"
)
SET_CUSTOMER = f"mutation($i: CreateCustomerInput!) {{ setCustomerForOrder(input: $i) {{ __typename {ERROR} }} }}"
SET_ADDRESS = f"mutation($i: CreateAddressInput!) {{ setOrderShippingAddress(input: $i) {{ __typename {ERROR} }} }}"
SET_SHIPPING = f"mutation($i: [ID!]!) {{ setOrderShippingMethod(shippingMethodId: $i) {{ __typename {ERROR} }} }}"
ARRANGE = f'mutation {{ transitionOrderToState(state: "ArrangingPayment") {{ __typename {ERROR} }} }}'
ADD_PAYMENT = f"mutation($i: PaymentInput!) {{ addPaymentToOrder(input: $i) {{ __typename {ERROR} }} }}"
SETTLE = f"mutation($i: ID!) {{ settlePayment(id: $i) {{ __typename {ERROR} }} }}"
CANCEL = f"mutation($i: CancelOrderInput!) {{ cancelOrder(input: $i) {{ __typename {ERROR} }} }}"
MOVE = f"mutation($i: ID!, $s: String!) {{ transitionOrderToState(id: $i, state: $s) {{ __typename {ERROR} }} }}"
MODIFY = f"mutation($i: ModifyOrderInput!) {{ modifyOrder(input: $i) {{ __typename {ERROR} }} }}"
PAY_BY_HAND = f"mutation($i: ManualPaymentInput!) {{ addManualPaymentToOrder(input: $i) {{ __typename {ERROR} }} }}"
FULFIL = f"mutation($i: FulfillOrderInput!) {{ addFulfillmentToOrder(input: $i) {{ __typename {ERROR} }} }}"
SET_CURRENCY = f"mutation($i: UpdateChannelInput!) {{ updateChannel(input: $i) {{ __typename {ERROR} }} }}"
SET_STOCK = "mutation($i: [UpdateProductVariantInput!]!) { updateProductVariants(input: $i) { id } }"
STOCK = "query($i: ID!) { productVariant(id: $i) { stockLevels { stockOnHand stockAllocated } } }"
ORDER = (
    "query($o: OrderListOptions) { orders(options: $o) "
    "{ items { id state lines { id quantity } payments { id } fulfillments { id state method trackingCode } } } }"
)


@pytest.fixture(scope="session")
def vendure_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VendurePeer]:
    """A Vendure with three variants on sale: CUP-S 10, CUP-L 10, TOWEL 100."""
    with vendure(tmp_path_factory.mktemp("vendure")) as peer:
        yield peer


@contextmanager
def vendure(folder: Path) -> Iterator[VendurePeer]:
    """A Vendure of its own, as the seeds leave it. Skipped only where node is missing."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are missing: the real Vendure cannot run")
    template = _template()
    database = f"yipan_test_{secrets.token_hex(6)}"
    _on_server("CREATE DATABASE {} TEMPLATE {}", database, template)
    try:
        with _serving(folder, database) as peer:
            yield peer
    finally:
        _on_server("DROP DATABASE IF EXISTS {} WITH (FORCE)", database)


def _template() -> str:
    """The name of a template database of exactly these packages and seeds; made where it is missing."""
    seeds = (HERE / "server.js").read_bytes() + (HERE / "products.csv").read_bytes()
    digest = hashlib.sha256(" ".join(PACKAGES).encode() + seeds).hexdigest()[:10]
    name, building = f"yipan_peer_vendure_{digest}", f"yipan_peer_vendure_{digest}_building"
    PEERS.mkdir(exist_ok=True)
    with (PEERS / "vendure.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install()
        if not _exists(name):
            _on_server("DROP DATABASE IF EXISTS {} WITH (FORCE)", building)
            _on_server("CREATE DATABASE {}", building)
            _run([*_node(), "seed", str(HERE / "products.csv")], HERE, **_environment(building, _free_port()))
            _on_server("ALTER DATABASE {} RENAME TO {}", building, name)
    return name


def _install() -> None:
    stamp = FOLDER / "installed"
    if stamp.exists():
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "package.json").write_text('{"private": true}\n')
    _run(["npm", "install", "--no-audit", "--no-fund", "--no-update-notifier", *PACKAGES], FOLDER)
    stamp.touch()


def _node() -> list[str]:
    return ["node", str(HERE / "server.js")]


def _environment(database: str, port: int) -> dict[str, str]:
    return {
        "VENDURE_HOME": str(FOLDER),
        "VENDURE_PORT": str(port),
        "VENDURE_PASSWORD": PASSWORD,
        "VENDURE_DATABASE": _libpq(database),
        "VENDURE_DISABLE_TELEMETRY": "true",
    }


@contextmanager
def _serving(folder: Path, database: str) -> Iterator[VendurePeer]:
    """The server is gone when its standard input is closed, so that it never outlives the tests."""
    port, log = _free_port(), folder / "vendure.log"
    environment = {**os.environ, **_environment(database, port)}
    with (
        log.open("wb") as out,
        subprocess.Popen(_node(), stdin=subprocess.PIPE, stdout=out, stderr=out, env=environment) as process,
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            _await_health(url, process, log)
            yield VendurePeer(url, database).open()
        finally:
            process.terminate()


def _await_health(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + STARTED_WITHIN_S
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(f"{url}/health", timeout=5):
            return
        time.sleep(0.1)
    pytest.fail(f"vendure did not start: {log.read_text()[-2000:]}")


def _run(command: list[str], folder: Path, **variables: str) -> None:
    """Runs it; a failure shows its words."""
    environment = {**os.environ, **variables}
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=BUILT_WITHIN_S, env=environment, check=False
    )
    if done.returncode:
        pytest.fail(f"{command[0]} failed: {(done.stderr or done.stdout)[-3000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _libpq(database: str | None = None) -> str:
    url = make_url(os.environ.get("YIPAN_TEST_POSTGRES", POSTGRES)).set(drivername="postgresql")
    return (url.set(database=database) if database else url).render_as_string(hide_password=False)


def _on_server(statement: str, *names: str) -> None:
    with psycopg.connect(_libpq(), autocommit=True, connect_timeout=5) as server:
        server.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _exists(database: str) -> bool:
    with psycopg.connect(_libpq(), connect_timeout=5) as server:
        return server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone() is not None
