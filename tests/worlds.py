"""A small world to tell test stories in: two merchants, two warehouses, shops, a courier, an ERP, and what they say."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import Select, select

from connectors.registry import connector
from core.flow import audit_ledger, move_stock, release_order
from core.flow.hear import Spoken
from core.flow.journeys import decide
from core.model import (
    Adjustment,
    AdjustmentRow,
    Catalogue,
    Confirm,
    ConfirmedLine,
    Document,
    Model,
    Order,
    OrderLine,
    PackedParcel,
    Party,
    Progress,
    Receipt,
    ReceivedLine,
    Return,
    ReturnedLine,
    Snapshot,
    TrackedRow,
    Tracking,
)
from core.store import inbox, outbox, schema
from core.store import tables as t
from core.store.store import Store, Transaction, many, one
from core.store.vault import Vault

MONDAY = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
WAS = {"sending": "waiting", "in_doubt": "in_doubt"}
MASTER_KEY = urlsafe_b64encode(b"the key of a hub that has nothin").decode()
ACCOUNTS = ("free", "reserved", "held", "transit", "inbound", "suspense")
MEMORY = Path("/dev/shm")
KINDS: Mapping[type[Model], str] = {
    Order: "order",
    Confirm: "confirm",
    Progress: "progress",
    Receipt: "receipt",
    Return: "return",
    Adjustment: "count",
    Tracking: "tracking",
    Snapshot: "stock",
    Catalogue: "item",
}


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self, now: datetime = MONDAY) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


@cache
def _template() -> Path:
    """An empty, migrated SQLite database, made once."""
    folder = Path(tempfile.mkdtemp(prefix="yipan-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    schema.prepare(f"sqlite:///{folder}/hub.db")
    return folder / "hub.db"


@contextmanager
def in_memory() -> Iterator[Path]:
    """A folder for one of many stories, in memory where there is a disk of that: it is gone when the story ends."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield Path(folder)


@contextmanager
def store(folder: Path, url: str = "", clock: Callable[[], datetime] | None = None) -> Iterator[Store]:
    """An open store: a copy of the template in this folder, or the prepared database at `url`."""
    if url:
        schema.prepare(url)
    else:
        shutil.copy(_template(), folder / "hub.db")
        url = f"sqlite:///{folder}/hub.db"
    with opened(url, clock) as it:
        yield it


@contextmanager
def opened(url: str, clock: Callable[[], datetime] | None = None) -> Iterator[Store]:
    """One more store over a database that is there."""
    it = Store(url, Vault([MASTER_KEY]), clock=clock)
    try:
        yield it
    finally:
        it.close()


def abilities(name: str) -> dict[str, Any]:
    """What the bus knows of a connector's abilities, from its manifest."""
    can = connector(name).manifest.can
    return {ability: it.model_dump(mode="json", exclude={"mark", "fact"}) for ability, it in can.items()}


@dataclass
class World:
    """Ids of what there is, verbs for what they say, and eyes for what became of it.

    alpha owns `pen` and `ink` and sells them at `tmall` (from east, then west) and at `vendure` (from east alone);
    beta sells alpha's pen at `beta_shop` (from east), all of it, by a contract. Both warehouses belong to one Qimen WMS
    and one SF account.
    """

    store: Store
    clock: Clock | None
    alpha: int
    beta: int
    tmall: int
    vendure: int
    beta_shop: int
    wms: int
    courier: int
    erp: int
    east: int
    west: int
    pen: int
    ink: int
    fenxiao: int = 0
    """alpha's account at a distribution platform, in a town that has one."""

    def __post_init__(self) -> None:
        self._numbers = count(1)

    # what they say

    def hears(self, *nouns: Model, at: int) -> list[str]:
        """One connection says these, all of one kind, in one batch; what became of each: done, parked or waiting."""
        kind = KINDS[type(nouns[0])]
        ids = self.keeps(kind, *nouns, at=at)
        holder = self._holder(at)
        batch = [Spoken(kind, ident, at, holder, noun) for ident, noun in zip(ids, nouns, strict=True)]
        self.store.write(lambda tx: decide(tx, batch))
        with self.store.read() as tx:
            rows = {r["id"]: r["state"] for r in many(tx, t.inbox, "id", ids)}
        return [rows[i] for i in ids]

    def keeps(self, kind: str, *nouns: Model, at: int) -> list[int]:
        """Inbox rows for what was said, each distinct from all others and named by what it is about."""
        documents = [
            Document(kind=kind, ref=about(noun), event_id=uuid4().hex, body=noun.model_dump_json().encode())
            for noun in nouns
        ]
        kept = self.store.write(lambda tx: inbox.keep(tx, at, 0, documents))
        return sorted(kept.new)

    def takes(self, *orders: Order, at: int | None = None) -> list[str]:
        """A shop tells orders."""
        return self.hears(*orders, at=at or self.tmall)

    def counts(self, sku: str, difference: int, warehouse: str = "east", **more: Any) -> list[str]:
        """The warehouse reports a stock-take difference."""
        event = more.pop("event_id", f"count-{next(self._numbers)}")
        row = AdjustmentRow(sku=sku, keeper="ALPHA", warehouse=warehouse.upper(), quantity=difference, event_id=event)
        return self.hears(Adjustment(ref=event, rows=(row.model_copy(update=more),)), at=self.wms)

    def receives(self, asn: str, *lines: tuple[str, int] | tuple[str, int, str], **more: Any) -> list[str]:
        """The warehouse confirms goods received: (sku, units[, condition]) each."""
        received = tuple(ReceivedLine(sku=sku, quantity=n, condition=(*c, "ZP")[0]) for sku, n, *c in lines)  # type: ignore[arg-type]
        told: dict[str, Any] = {"event_id": f"receipt-{next(self._numbers)}", "final": True, **more}
        return self.hears(Receipt(asn=asn, warehouse="EAST", lines=received, **told), at=self.wms)

    def confirms(self, fulfilment: str, *lines: tuple[str, int], **more: Any) -> list[str]:
        """The warehouse confirms goods that left: (sku, units) each."""
        left = tuple(ConfirmedLine(sku=sku, quantity=n) for sku, n in lines)
        told: dict[str, Any] = {"event_id": f"confirm-{next(self._numbers)}", "final": True, **more}
        if "waybill" in told:
            told["parcels"] = (PackedParcel(carrier="SF", waybill=told.pop("waybill")),)
        return self.hears(Confirm(fulfilment=fulfilment, lines=left, **told), at=self.wms)

    def takes_back(self, ref: str, *lines: tuple[str, int] | tuple[str, int, str], **more: Any) -> list[str]:
        """The warehouse takes goods back: (sku, units[, condition]) each. order, keeper: of all the lines."""
        named = {"keeper": "ALPHA", **{name: more.pop(name) for name in ("order", "keeper") if name in more}}
        back = tuple(ReturnedLine(sku=sku, quantity=n, condition=(*c, "ZP")[0], **named) for sku, n, *c in lines)  # type: ignore[arg-type]
        told: dict[str, Any] = {"event_id": f"return-{next(self._numbers)}", "final": True, "warehouse": "EAST", **more}
        return self.hears(Return(ref=ref, lines=back, **told), at=self.wms)

    def answers(self, fulfilment: str, stage: str) -> list[str]:
        """The warehouse reports a step of a fulfilment, or its verdict on a cancellation."""
        return self.hears(Progress(fulfilment=fulfilment, code=stage, stage=stage), at=self.wms)  # type: ignore[arg-type]

    def tracks(self, *facts: tuple[str, str, int], at: int | None = None) -> list[str]:
        """The courier reports (waybill, milestone, minutes after Monday 8:00) each, in one message."""
        rows = tuple(
            TrackedRow(waybill=w, key=f"{w}/{m}/{at_m}", code=m, milestone=m, happened_at=minutes(at_m))  # type: ignore[arg-type]
            for w, m, at_m in facts
        )
        return self.hears(Tracking(rows=rows), at=at or self.courier)

    def announces(self, *lines: tuple[int, int], warehouse: int = 0, ref: str = "") -> str:
        """alpha announces goods to a warehouse: (item, units) each; returns the ASN's ref."""
        asn = self.store.write(lambda tx: move_stock.announce(tx, self.alpha, warehouse or self.east, lines, ref))
        return str(self.row(t.asns, id=asn.id)["ref"])

    def decides(self, policy: str, **more: Any) -> None:
        """The merchants decide what to do about short orders; `part_backing` and `unback` can be said."""
        values = {"short_policy": policy, **more}
        self.store.write(lambda tx: [tx.set(t.merchants, i, **values) for i in (self.alpha, self.beta)])

    # what the bus does

    def sends(self, ability: str, outcome: str = "done") -> list[Mapping[str, Any]]:
        """Claim every due intent of an ability and settle it: done, or left `sending`."""
        o = t.outbox.c
        waiting = select(o.lane).where(o.ability == ability, o.state.in_(("waiting", "in_doubt")))
        lanes = sorted({r["lane"] for r in self.rows(waiting)})
        if not lanes:
            return []

        def work(tx: Transaction) -> list[Mapping[str, Any]]:
            rows = [r for lane in lanes for r in outbox.claim(tx, lane, 50, 60)]
            for row in rows:
                if row["ability"] != ability:
                    outbox.note(tx, row, state=WAS[row["state"]], token=None, lease_until=None, attempts=0)
                elif outcome == "done":
                    outbox.done(tx, row)
            return [r for r in rows if r["ability"] == ability]

        return self.store.write(work)

    def labels(self, order: str) -> list[str]:
        """The courier gives every fulfilment of the order that asks for one a waybill."""
        rows = [f for f in self.fulfilments(order) if f["state"] == "labelling"]
        for row in rows:
            self.store.write(lambda tx, row=row: release_order.labelled(tx, row["id"], f"SF{row['id']}"))
        return [f"SF{row['id']}" for row in rows]

    def releases(self, order: str) -> str:
        """The order's newest fulfilment gets its waybill and reaches its warehouse; returns the fulfilment's ref."""
        self.sends("send_booking")
        self.labels(order)
        self.sends("send_delivery_order")
        return str(self.fulfilments(order)[-1]["ref"])

    # what became of it

    def rows(self, query: Select[Any]) -> list[Mapping[str, Any]]:
        """Any rows."""
        with self.store.read() as tx:
            return tx.rows(query)

    def row(self, table: Any, **equal: Any) -> Mapping[str, Any]:
        """The one row whose columns equal these."""
        with self.store.read() as tx:
            found = one(tx, table, **equal)
        assert found is not None, f"no row of {table.name} with {equal}"
        return found

    def cell(self, item: int, warehouse: int = 0, condition: str = "ZP") -> dict[str, int]:
        """The cell's accounts that are not 0; of several owners' cells alpha's."""
        query = select(t.cells).where(t.cells.c.item_id == item, t.cells.c.warehouse_id == (warehouse or self.east))
        mine = query.where(t.cells.c.condition == condition).order_by(t.cells.c.owner_id != self.alpha)
        rows = self.rows(mine)
        return {a: rows[0][a] for a in ACCOUNTS if rows[0][a]} if rows else {}

    def entries(self, kind: str) -> list[tuple[str, int]]:
        """(account, quantity) of every journal of this kind, in order."""
        e, j = t.entries.c, t.journals.c
        query = select(e.account, e.quantity).join(t.journals, j.id == e.journal_id).where(j.kind == kind)
        return [(r["account"], r["quantity"]) for r in self.rows(query.order_by(j.id, e.n))]

    def order(self, ref: str) -> Mapping[str, Any]:
        """The order's row."""
        return self.row(t.orders, ref=ref)

    def line(self, ref: str, line: str = "1") -> Mapping[str, Any]:
        """One line of an order."""
        return self.row(t.order_lines, order_id=self.order(ref)["id"], ref=line)

    def claims(self, ref: str, also_closed: bool = False) -> list[tuple[int, int]]:
        """(asked and not shipped, backed) of the order's open claims."""
        rows = self.rows(select(t.claims).where(t.claims.c.order_id == self.order(ref)["id"]).order_by(t.claims.c.id))
        return [(r["asked"] - r["shipped"], r["backed"]) for r in rows if r["open"] or also_closed]

    def fulfilments(self, ref: str) -> list[Mapping[str, Any]]:
        """The order's fulfilments, oldest first."""
        f = t.fulfilments.c
        return self.rows(select(t.fulfilments).where(f.order_id == self.order(ref)["id"]).order_by(f.id))

    def intents(self, ability: str) -> list[str]:
        """The states of all intents of an ability, oldest first."""
        o = t.outbox.c
        return [r["state"] for r in self.rows(select(o.state).where(o.ability == ability).order_by(o.id))]

    def events(self, type_: str) -> int:
        """How often this happened."""
        return len(self.rows(select(t.events.c.id).where(t.events.c.type == type_)))

    def worklist(self) -> list[str]:
        """Kinds of what waits for a person."""
        w = t.worklist.c
        return [r["kind"] for r in self.rows(select(w.kind).where(w.done_at.is_(None)).order_by(w.id))]

    def audit(self) -> list[str]:
        """Every breach of the ledger's rules."""
        with self.store.read() as tx:
            return audit_ledger.audit(tx)

    def tally(self, name: str) -> int:
        """A counter."""
        with self.store.read() as tx:
            row = one(tx, t.tallies, name=name)
        return int(row["n"]) if row else 0

    def _holder(self, connection_id: int) -> int:
        return int(self.row(t.connections, id=connection_id)["merchant_id"] or 0)


def about(noun: Model) -> str:
    """The number a sender gives its document: of the fulfilment or ASN it speaks of, else its own."""
    return str(next((v for n in ("fulfilment", "asn", "ref") if (v := getattr(noun, n, ""))), "?"))


def minutes(n: float) -> datetime:
    """That many minutes after Monday 8:00."""
    return MONDAY + timedelta(minutes=n)


def order(ref: str, *lines: tuple[str, int] | tuple[str, int, int], version: str = "1", **more: Any) -> Order:
    """A paid order of (listing, units[, cancelled units]) lines, numbered from 1; `status` and gates can be said."""
    told: dict[str, Any] = {
        "status": "paid",
        "claims_stock": True,
        "may_ship": True,
        "placed_at": MONDAY,
        "paid_at": MONDAY,
        "currency": "CNY",
        "party": Party(name="张三", phone="13800000000", province="浙江省", city="杭州市", address="文一西路 1 号"),
    }
    sold = tuple(
        OrderLine(ref=str(n), listing=listing, title=listing, quantity=units, cancelled=sum(cancelled), net_minor=100)
        for n, (listing, units, *cancelled) in enumerate(lines, 1)
    )
    return Order(ref=ref, version=version, lines=sold, **{**told, **more})


def unpaid(ref: str, *lines: tuple[str, int], version: str = "1") -> Order:
    """An order that was placed and not paid yet."""
    return order(ref, *lines, version=version, status="unpaid", may_ship=False, paid_at=None)


def closed(ref: str, *lines: tuple[str, int], version: str = "9", **more: Any) -> Order:
    """The same order, called off."""
    return order(ref, *lines, version=version, status="closed", may_ship=False, closed=True, **more)


def world(store: Store, clock: Clock | None = None, policy: str = "ask", courier: bool = True) -> World:
    """Build it. policy: what the merchants do about short orders; courier: whether warehouses ask for waybills."""

    def work(tx: Transaction) -> dict[str, int]:
        id_ = {name: tx.ids.new() for name in World.__annotations__ if name not in ("store", "clock")}
        _merchants(tx, id_, policy)
        _connections(tx, id_)
        _warehouses(tx, id_, courier)
        _goods(tx, id_)
        share(tx, id_["alpha"], id_["beta"], {id_["pen"]: {"percent": 100}})
        return id_

    return World(store, clock, **store.write(work))


def share(
    tx: Transaction, owner: int, to: int, items: Mapping[int, Mapping[str, int]], ref: str = "C1", **more: Any
) -> int:
    """A contract by which `to` may sell these of the owner's items: percent or units, and price_minor, of each."""
    ident = tx.ids.new()
    terms = {"quota": "open", "title_passes": "at_ship", "returns_to": "owner", "known_as": "", "currency": "CNY"}
    times = {"valid_from": MONDAY - timedelta(days=400)}
    head = {"id": ident, "owner_id": owner, "beneficiary_id": to, "ref": ref, "who": "test", "created_at": tx.now}
    tx.add(t.contracts, [{**head, **terms, **times, **more}])
    blank = {"contract_id": ident, "units": None, "percent": None, "price_minor": 0}
    tx.add(
        t.contract_items,
        [{**blank, "item_id": item, **said, "allowance": said.get("units", 0)} for item, said in items.items()],
    )
    return ident


def _merchants(tx: Transaction, id_: Mapping[str, int], policy: str) -> None:
    rows = [{"id": id_[code], "code": code, "name": code} for code in ("alpha", "beta")]
    tx.add(t.merchants, [{**row, "short_policy": policy, "created_at": tx.now} for row in rows])


def _connections(tx: Transaction, id_: Mapping[str, int]) -> None:
    held = {
        "tmall": ("sales/tmall", "sales", id_["alpha"]),
        "vendure": ("sales/vendure", "sales", id_["alpha"]),
        "beta_shop": ("sales/tmall", "sales", id_["beta"]),
        "erp": ("erp/tryton", "erp", id_["alpha"]),
        "wms": ("wms/qimen", "wms", None),
        "courier": ("courier/sf", "courier", None),
    }
    rows = [
        {"id": id_[code], "code": code, "connector": name, "kind": kind, "merchant_id": holder, "can": abilities(name)}
        for code, (name, kind, holder) in held.items()
    ]
    tx.add(
        t.connections, [{**r, "settings": {}, "secrets": b"", "state": "active", "created_at": tx.now} for r in rows]
    )


def _warehouses(tx: Transaction, id_: Mapping[str, int], courier: bool) -> None:
    by = {"wms_id": id_["wms"], "courier_id": id_["courier"] if courier else None, "carrier": "SF"}
    for code in ("east", "west"):
        row = {"id": id_[code], "code": code, "name": code, "region": "", "sender": {"name": code}}
        tx.add(t.warehouses, [{**row, **by, "created_at": tx.now}])
        tx.add(t.keepers, [{"owner_id": id_["alpha"], "warehouse_id": id_[code], "code": "ALPHA"}])
        link = {"connection_id": id_["wms"], "kind": "warehouse", "ref": code.upper(), "ours": str(id_[code])}
        tx.add(t.links, [link])
    pools = {"tmall": ("east", "west"), "vendure": ("east",), "beta_shop": ("east",)}
    tx.add(
        t.pools,
        [
            {"connection_id": id_[shop], "warehouse_id": id_[code], "rank": rank}
            for shop, codes in pools.items()
            for rank, code in enumerate(codes)
        ],
    )


def _goods(tx: Transaction, id_: Mapping[str, int]) -> None:
    items = [{"id": id_[sku], "owner_id": id_["alpha"], "sku": sku, "name": sku} for sku in ("pen", "ink")]
    tx.add(t.items, [{**row, "created_at": tx.now} for row in items])
    sold = [
        ("tmall", "pen", "pen", 1),
        ("tmall", "ink", "ink", 1),
        ("tmall", "pen-box", "pen", 6),
        ("vendure", "pen", "pen", 1),
        ("beta_shop", "pen", "pen", 1),
    ]
    rows = [
        {"id": tx.ids.new(), "connection_id": id_[shop], "ref": ref, "product": "P1", "sku": ref, "pack": pack}
        for shop, ref, _, pack in sold
    ]
    items_of = [id_[item] for _, _, item, _ in sold]
    tx.add(t.listings, [{**r, "item_id": i, "created_at": tx.now} for r, i in zip(rows, items_of, strict=True)])
