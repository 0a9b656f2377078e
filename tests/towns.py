"""A whole town in one process: real twins on loopback, one hub, and a clock moved by hand, so that nothing waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from sqlalchemy import select

from connectors.spi import Request
from core.flow import publish_stock
from core.model import Party
from core.store import inbox, outbox
from core.store import tables as t
from core.store.scope import HUB
from core.store.store import Store, Transaction, one
from hub import inward, outward, polling
from hub.onboard.connections import NewConnection, add_connection
from hub.onboard.goods import NewItem, NewItems, NewListing, NewListings, add_items, add_listings
from hub.onboard.inbound import InboundLine, NewInbound, announce_inbound
from hub.onboard.merchants import NewMerchant, add_merchant
from hub.onboard.warehouses import Keeper, NewWarehouse, add_warehouse, set_keepers
from hub.wiring import Hub, Options
from sandbox.contract.stage import Aimed
from sandbox.courier.sf_roads import pushed
from sandbox.twin import Server
from tests.worlds import Clock, World, share, store

LOOPBACK = ("127.0.0.0/8",)
LANES = ("stock", "orders", "fulfilment", "tracking", "slow")
QUIET_S = 5.0
JUMPS_MAX = 60
STEP = timedelta(seconds=2.5)
POLLED_S = 11
"""Until every shop has been read twice and every figure in doubt has been read back."""
BEHIND = timedelta(seconds=10)
"""Shops' clocks go this much late, so that what happens there now lies behind the windows' end at once."""
CONNECTORS = {
    "wms": ("wms/qimen", None),
    "courier": ("courier/sf", None),
    "tmall": ("sales/tmall", "alpha"),
    "vendure": ("sales/vendure", "alpha"),
    "beta_shop": ("sales/tmall", "beta"),
    "fenxiao": ("sales/fenxiao", "alpha"),
    "erp": ("erp/tryton", "alpha"),
}
LISTINGS = {
    "tmall": {"11": "pen", "12": "ink"},
    "vendure": {"1": "pen", "2": "ink"},
    "beta_shop": {"21": "pen"},
    "fenxiao": {"31": "pen", "32": "ink"},
}
SENDER = Party(name="李四", phone="13800000000", country="CN", province="上海", city="上海市", address="仓储路 1 号")


class Steps:
    """The warehouse's own work, done when a test says so."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.jobs: list[Callable[[], None]] = []

    def later(self, delay_s: float, job: Callable[[], None]) -> None:
        """Put it on the pile."""
        self.jobs.append(job)

    @property
    def idle(self) -> bool:
        """Whether the pile is empty."""
        return not self.jobs

    def run(self) -> int:
        """Do what is on the pile now."""
        with self.lock:
            jobs, self.jobs = self.jobs, []
            for job in jobs:
                job()
        return len(jobs)


@dataclass
class Mailbox:
    """What a twin pushes, until it is carried over."""

    idle: bool = True
    letters: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)

    def say(self, name: str, url: str, body: bytes, headers: dict[str, str], delay_s: float = 0.0) -> None:
        """Take one letter."""
        self.letters.append((url, body, headers))


class Died(BaseException):
    """The process ended here."""


class DiesBefore:
    """A pool in a process that is killed between the lease and the first byte."""

    def map(self, work: Callable[[Any], None], jobs: Iterable[Any]) -> list[None]:
        """Nothing of it happens."""
        return []


class DiesAfter:
    """A pool in a process that is killed after the call, before its outcome is written down."""

    def map(self, work: Callable[[Any], None], jobs: Iterable[Any]) -> list[None]:
        """The calls are made; the transactions that would note them are rolled back."""
        noting = outward._after_call
        outward._after_call = _die
        try:
            for job in jobs:
                with suppress(Died):
                    work(job)
        finally:
            outward._after_call = noting
        return []


def _die(*_: Any) -> None:
    raise Died


@dataclass
class Town:
    """Twins by connection code, the hub between them, and its books (`world`)."""

    hub: Hub
    world: World
    clock: Clock
    twins: dict[str, Any]
    faults: dict[str, Aimed]
    urls: dict[str, str]
    steps: Steps
    mail: Mailbox
    pool: Any
    withheld: set[str] = field(default_factory=set)

    @property
    def store(self) -> Store:
        """The hub's store."""
        return self.hub.store

    # what the town does

    def live(self, seconds: float = 15) -> None:
        """So many seconds pass; every few of them, everything that is due is done."""
        end = self.clock.now + timedelta(seconds=seconds)
        while self.clock.now < end:
            while self.turn():
                continue
            self.clock.now = min(end, self.clock.now + STEP)

    def finish(self) -> None:
        """Time jumps from one due call to the next, until there is none but those that wait behind a parked one."""
        for _ in range(JUMPS_MAX):
            while self.turn():
                continue
            due = self._next_due()
            if due is None:
                return
            self.clock.now = due
        raise AssertionError("calls are still due")

    def _next_due(self) -> datetime | None:
        o = t.outbox.c
        rows = self.world.rows(select(o.due_at, o.lease_until).where(o.state.in_(("waiting", "sending", "in_doubt"))))
        due = [row["lease_until"] or row["due_at"] for row in rows]
        return min((at for at in due if at > self.clock.now), default=None)

    def turn(self) -> int:
        """Everybody does what is due now, once; how much there was to do."""
        with self.store.read() as tx:
            expired, marked = outbox.any_expired(tx), publish_stock.any_marks(tx)
        if expired:
            self.store.write(lambda tx: outbox.expire(tx))
        done = inward.settle(self.hub) + (self.store.write(publish_stock.take_marks) if marked else 0)
        done += sum(outward.drain(self.hub, lane, self.pool) for lane in LANES if lane not in self.withheld)
        done += polling.poll_due(self.hub, self.pool)
        polling.settle_doubts(self.hub, QUIET_S)
        return done + self.steps.run() + self.post()

    def post(self) -> int:
        """Carry the warehouse's letters to the hub."""
        letters, self.mail.letters = self.mail.letters, []
        for url, body, headers in letters:
            self.hears("wms", body, headers, parse_qsl(urlsplit(url).query, keep_blank_values=True))
        return len(letters)

    def hears(self, code: str, body: bytes, headers: Mapping[str, str], query: Any = ()) -> tuple[int, ...]:
        """The hub keeps one push; ids of the new documents."""
        lower = {name.lower(): value for name, value in headers.items()}
        connection_id = getattr(self.world, code)
        request = Request("POST", list(query), lower, body, datetime.now(UTC))
        documents = self.hub.client(connection_id).read_callback(request)
        return self.store.write(lambda tx: inbox.keep(tx, connection_id, 0, documents)).new

    def delivers(self, *waybills: str) -> None:
        """The courier carries these parcels to the door, and tells all of it in one push."""
        parcels = [self.twins["courier"].roads.parcels[waybill] for waybill in waybills]
        for parcel in parcels:
            self.twins["courier"].roads.move_all(parcel)
        body, headers = pushed([row for parcel in parcels for row in parcel.routes], "json")
        self.hears("courier", body, headers)

    # what shoppers and people do

    def buys(self, shop: str, *lines: tuple[str, int], **more: Any) -> str:
        """A shopper orders (listing, units) each and pays, unless told otherwise; the shop's number of it."""
        wanted = [{"listing": listing, "quantity": units} for listing, units in lines]
        told: dict[str, Any] = {"lines": wanted, **more}
        if shop != "vendure":
            told.setdefault("receiver", {"oaid": None})
        return str(self.twins[shop].control("buy", told)["ref"])

    def stocks(self, warehouse: str = "east", **units: int) -> None:
        """Goods are announced, received and published."""
        lines = tuple(InboundLine(sku=sku, quantity=n) for sku, n in units.items())
        new = NewInbound(owner="alpha", warehouse=warehouse, lines=lines)
        self.store.write(lambda tx: announce_inbound(tx, HUB, new))
        self.finish()
        self.live(POLLED_S)

    # what became of it

    def books(self, code: str) -> Any:
        """The twin's own account."""
        return self.twins[code].control("books", None)

    def state(self, ref: str) -> str:
        """How an order stands in our books."""
        return str(self.world.order(ref)["state"])

    def parked(self) -> list[Mapping[str, Any]]:
        """Parked documents, oldest first."""
        return self.world.rows(select(t.inbox).where(t.inbox.c.state == "parked").order_by(t.inbox.c.id))

    def intent(self, ability: str) -> Mapping[str, Any]:
        """The newest intent of an ability."""
        o = t.outbox.c
        return self.world.rows(select(t.outbox).where(o.ability == ability).order_by(o.id.desc()).limit(1))[0]


@contextmanager
def town(folder: Path, *codes: str, policy: str = "ask", url: str = "") -> Iterator[Town]:
    """A town with these shops (and `erp`), a warehouse and a courier; alpha owns what all of them sell."""
    clock = Clock(datetime.now(UTC))
    faults = {code: Aimed() for code in ("wms", "courier", *codes)}
    twins = {code: _twin(code, faults[code]) for code in faults}
    steps, mail = Steps(), Mailbox()
    _calm(twins, steps, mail)
    servers = {code: Server(twins[code], faults[code]) for code in twins}
    urls = {code: server.url for code, server in servers.items()}
    for one_ in faults.values():
        one_.hang_s = 0.0  # a connection cut at once says as little as one that is cut late
    try:
        with store(folder, url, clock) as it, ThreadPoolExecutor(4) as pool:
            hub = Hub(it, Options(allow=LOOPBACK, timeout_s=10.0))
            ids = it.write(lambda tx: _onboard(tx, codes, urls, policy))
            yield Town(hub, World(it, clock, **ids), clock, twins, faults, urls, steps, mail, pool)
    finally:
        with ThreadPoolExecutor(len(servers)) as pool:
            list(pool.map(Server.stop, servers.values()))


def _module(code: str) -> Any:
    return import_module("sandbox." + CONNECTORS[code][0].replace("/", "."))


def _twin(code: str, faults: Aimed) -> Any:
    clock = {"now": lambda: datetime.now(UTC) - BEHIND} if code in LISTINGS else {}
    twin = _module(code).make(faults, **clock)
    if code == "wms":
        told = {"callback_url": "http://hub.invalid/callbacks/1", "warehouses": ["EAST", "WEST"]}
        twin.control("setup", {**told, "skus": ["pen", "ink"], "split_rate": 0.0})
    elif code == "erp":
        products = [{"id": n, "code": sku, "name": sku} for n, sku in enumerate(("pen", "ink"), 101)]
        twin.control("setup", {"products": products, "quantities": {"pen": 10, "ink": 10}})
    elif code == "vendure":
        rows = [
            {"id": ref, "sku": sku, "name": sku, "price": 1000, "on_hand": 0} for ref, sku in LISTINGS[code].items()
        ]
        twin.control("setup", {"variants": rows})
    elif code == "fenxiao":
        skus = [{"sku_id": ref, "sku_outer_id": sku, "price": "8.00"} for ref, sku in LISTINGS[code].items()]
        twin.control("setup", {"products": [{"item_id": "9", "title": "文具", "skus": skus}]})
    elif code in LISTINGS:
        skus = [
            {"sku_id": ref, "outer_id": sku, "price": "10.00", "quantity": 0} for ref, sku in LISTINGS[code].items()
        ]
        twin.control("setup", {"products": [{"num_iid": "9", "title": "文具", "skus": skus}]})
    return twin


def _calm(twins: dict[str, Any], steps: Steps, mail: Mailbox) -> None:
    """The warehouse works and speaks only when it is told to; the courier pushes nothing by itself."""
    wms = twins["wms"]
    wms._work, wms._lock, wms._pusher = steps, steps.lock, mail


def _onboard(tx: Transaction, codes: tuple[str, ...], urls: Mapping[str, str], policy: str) -> dict[str, int]:
    for merchant in ("alpha", "beta"):
        add_merchant(tx, HUB, NewMerchant(code=merchant, name=merchant, short_policy=policy))  # type: ignore[arg-type]
    for code in ("wms", "courier"):
        _connect(tx, code, urls[code])
    for warehouse in ("east", "west"):
        how = {"wms": "wms", "wms_ref": warehouse.upper(), "courier": "courier", "carrier": "SF", "sender": SENDER}
        add_warehouse(tx, HUB, NewWarehouse(code=warehouse, name=warehouse, **how))  # type: ignore[arg-type]
        set_keepers(tx, HUB, warehouse, [Keeper(owner="alpha", code="ALPHA")])
    goods = tuple(NewItem(sku=sku, name=sku) for sku in ("pen", "ink"))
    add_items(tx, HUB, NewItems(owner="alpha", items=goods))
    for code in codes:
        _connect(tx, code, urls[code])
    for shop in [code for code in codes if code in LISTINGS]:
        where = {"location": "1"} if shop == "vendure" else {"product": "9"}
        rows = tuple(NewListing(ref=r, item=sku, owner="alpha", **where) for r, sku in LISTINGS[shop].items())  # type: ignore[arg-type]
        add_listings(tx, HUB, NewListings(connection=shop, listings=rows))
    ids = _ids(tx)
    share(tx, ids["alpha"], ids["beta"], {ids[sku]: {"percent": 100} for sku in ("pen", "ink")})
    return ids


def _connect(tx: Transaction, code: str, url: str) -> None:
    name, merchant = CONNECTORS[code]
    module = _module(code)
    settings = {**module.SETTINGS, **module.SECRETS, "base_url": url}
    if code == "wms":
        settings["owner_codes"] = "ALPHA"
    pool = ("east", "west") if code == "tmall" else ("east",) if code in LISTINGS else ()
    new = NewConnection(code=code, connector=name, merchant=merchant, settings=settings, pool=pool)
    add_connection(tx, HUB, new)


def _ids(tx: Transaction) -> dict[str, int]:
    """Ids by World's names; 0 for what this town hasn't."""
    ids = dict.fromkeys(set(World.__annotations__) - {"store", "clock"}, 0)
    for table, column in ((t.merchants, "code"), (t.connections, "code"), (t.warehouses, "code"), (t.items, "sku")):
        ids |= {row[column]: row["id"] for row in tx.rows(select(table))}
    return ids


def connection(town: Town, code: str) -> Mapping[str, Any]:
    """A connection's row."""
    with town.store.read() as tx:
        row = one(tx, t.connections, code=code)
    assert row is not None
    return row
