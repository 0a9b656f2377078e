"""A Tmall shop as TOP shows it: shoppers buy, pay and close, the seller reads, restocks and consigns.

Built from sales-platforms §1 alone. What the sheet does not say and this twin had to choose is marked [D].
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sandbox.sales import top_gate
from sandbox.sales.top_gate import Gate, Wrong, invalid, needed, number, said, time, whole
from sandbox.twin import Answer, Call, Faults

WINDOW_MAX = timedelta(days=1)
SKUS_MAX = 20
DEFAULT_TYPES = "guarantee_trade,auto_delivery,ec,cod,step"
OAID_NEEDS = {"receiver_name", "receiver_address", "created", "receiver_mobile", "receiver_phone"}
CLOSED, UNPAID, PAID = "TRADE_CLOSED_BY_TAOBAO", "WAIT_BUYER_PAY", "WAIT_SELLER_SEND_GOODS"
PART, SENT = "SELLER_CONSIGNED_PART", "WAIT_BUYER_CONFIRM_GOODS"
ABILITIES = {
    "taobao.trades.sold.increment.get": "fetch_orders",
    "taobao.trade.fullinfo.get": "fetch_one",
    "taobao.item.seller.get": "fetch_stock",
    "tmall.item.quantity.update": "send_stock",
    "taobao.logistics.offline.send": "send_shipment",
}
RECEIVER = {"name": "张三", "state": "浙江省", "city": "杭州市", "district": "西湖区", "zip": "310000"}
SETTINGS: dict[str, Any] = {
    **top_gate.SETTINGS,
    "types": DEFAULT_TYPES,
    "page_size": 20,
    "first_days": 0,
}
SECRETS = top_gate.SECRETS
PRODUCTS: list[dict[str, Any]] = [
    {
        "num_iid": "600000000001",
        "title": "纯棉短袖T恤",
        "skus": [
            {"sku_id": "5000000000011", "outer_id": "TS-RED-M", "price": "59.00", "quantity": 100},
            {"sku_id": "5000000000012", "outer_id": "TS-BLUE-L", "price": "59.00", "quantity": 100},
        ],
    },
    {"num_iid": "600000000002", "title": "保温杯", "outer_id": "CUP-500", "price": "129.90", "quantity": 100},
]


@dataclass
class Line:
    """One order line (子订单)."""

    oid: int
    listing: str
    quantity: int
    waybill: str = ""
    company: str = ""


@dataclass
class Trade:
    """One trade. odd: raw fields laid over what TOP would show, for tests of bad input."""

    tid: int
    lines: list[Line]
    created: datetime
    modified: datetime
    type: str = "guarantee_trade"
    buyer: str = "买家甲"
    message: str = ""
    receiver: dict[str, str] = field(default_factory=dict)
    paid_at: datetime | None = None
    sent_at: datetime | None = None
    closed: bool = False
    odd: dict[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> str:
        if self.closed:
            return CLOSED
        if self.paid_at is None:
            return UNPAID
        sent = sum(bool(line.waybill) for line in self.lines)
        return PAID if not sent else SENT if sent == len(self.lines) else PART


class Shop:
    """The twin. One lock around all of its state."""

    write_abilities = ("send_stock", "send_shipment")

    def __init__(self, faults: Faults, now: Callable[[], datetime]) -> None:
        self.faults, self._gate, self._lock = faults, Gate(ABILITIES, now), threading.RLock()
        self.products: dict[str, dict[str, Any]] = {}
        self.listings: dict[str, dict[str, Any]] = {}
        self.trades: dict[int, Trade] = {}
        self.shipments: list[dict[str, Any]] = []
        self.biz_keys: set[tuple[str, str]] = set()
        self.oversold = self.absorbed = self.stock_writes = self.page_reads = 0
        self.moving_pages = False
        self.to_lose: list[str] = []
        self.last_tid = 4_000_000_000_000_000_000
        self.set_products(PRODUCTS)

    def ability(self, call: Call) -> str:
        """Our name for the TOP method asked."""
        return ABILITIES.get(call.form.get("method", ""), "unknown")

    def throttled(self, call: Call) -> Answer:
        """Flow control's words."""
        return self._gate.throttled()

    def answer(self, call: Call) -> Answer:
        """One of the five calls, once the gate let it through."""
        with self._lock:
            return self._gate.answer(call, lambda form: getattr(self, f"_{ABILITIES[form['method']]}")(form))

    def control(self, action: str, body: Any) -> Any:
        """What the demo and the tests ask."""
        with self._lock:
            return getattr(self, f"on_{action}")(body or {})

    # What shoppers and the demo do

    def on_setup(self, body: dict[str, Any]) -> dict[str, Any]:
        self._gate.setup(body)
        self.moving_pages = body.get("moving_pages", self.moving_pages)
        if "products" in body:
            self.set_products(body["products"])
        return {"listings": sorted(self.listings)}

    def set_products(self, products: list[dict[str, Any]]) -> None:
        """Put these products on sale instead of what was there. A product without SKUs carries its own quantity."""
        self.products = {str(product["num_iid"]): product for product in products}
        self.listings = {}
        for num_iid, product in self.products.items():
            for sku in product.get("skus") or [{**product, "sku_id": ""}]:
                ref = str(sku["sku_id"]) or num_iid
                self.listings[ref] = {**sku, "num_iid": num_iid, "title": product["title"]}

    def on_buy(self, body: dict[str, Any]) -> dict[str, str]:
        """A shopper orders; the shop takes its stock at once and sells below zero too, since it hears of stock late."""
        now = self._gate.now - timedelta(seconds=body.get("ago_s", 0))
        tid = int(body.get("tid", 0)) or self.last_tid + 100
        self.last_tid = max(self.last_tid, tid)
        wanted = body["lines"]
        oids = [tid] if len(wanted) == 1 else [tid + n for n in range(1, len(wanted) + 1)]
        lines = [Line(oid, str(line["listing"]), int(line["quantity"])) for oid, line in zip(oids, wanted, strict=True)]
        receiver = RECEIVER | (body.get("receiver") or {})
        told = {name: body[name] for name in ("type", "buyer", "message") if name in body}
        paid_at = now if body.get("pay", True) else None
        trade = Trade(tid, lines, now, now, receiver=receiver, paid_at=paid_at, **told)
        for line in lines:
            self._sell(self.listings[line.listing], line.quantity)
        self.trades[tid] = trade
        return {"ref": str(tid)}

    def _sell(self, listing: dict[str, Any], quantity: int) -> None:
        self.oversold += max(0, quantity - listing["quantity"])
        listing["quantity"] = max(0, listing["quantity"] - quantity)

    def on_pay(self, body: dict[str, Any]) -> dict[str, str]:
        trade = self.trades[int(body["ref"])]
        if trade.status == UNPAID:
            trade.paid_at = self._touch(trade)
        return {"status": trade.status}

    def on_close(self, body: dict[str, Any]) -> dict[str, str]:
        """An unpaid trade is closed; its stock goes back on sale."""
        trade = self.trades[int(body["ref"])]
        if trade.status == UNPAID:
            trade.closed = True
            self._touch(trade)
            for line in trade.lines:
                self.listings[line.listing]["quantity"] += line.quantity
        return {"status": trade.status}

    def on_spoil(self, body: dict[str, Any]) -> dict[str, str]:
        """Lay raw fields over a trade, as a new enum value or a missing number would."""
        trade = self.trades[int(body["ref"])]
        trade.odd |= body["fields"]
        self._touch(trade)
        return {"ref": str(trade.tid)}

    def on_lie(self, body: dict[str, Any]) -> dict[str, str]:
        """Show one listing (`what`, else the first) wrongly by some units."""
        ref = body["what"] if body.get("what") in self.listings else min(self.listings)
        self.listings[ref]["quantity"] += int(body.get("by", 1))
        return {"listing": ref}

    def on_lose(self, body: dict[str, Any]) -> dict[str, Any]:
        """Answer the next write of this ability as done without doing it."""
        self.to_lose.append(body["what"])
        return {"losing": self.to_lose}

    def on_books(self, body: dict[str, Any]) -> dict[str, Any]:
        """Everything an auditor needs."""
        return {
            "orders": {str(trade.tid): self._account(trade) for trade in self.trades.values()},
            "stock": {ref: listing["quantity"] for ref, listing in self.listings.items()},
            "oversold": self.oversold,
            "fulfilments_doubled": self._doubled(),
            "writes_absorbed": self.absorbed,
        }

    def _account(self, trade: Trade) -> dict[str, Any]:
        lines = [
            {"listing": line.listing, "quantity": line.quantity, "shipped": line.quantity if line.waybill else 0}
            for line in trade.lines
        ]
        shipments = [
            {key: shipment[key] for key in ("waybill", "company", "lines")}
            for shipment in self.shipments
            if shipment["tid"] == trade.tid
        ]
        paid = trade.paid_at is not None
        return {"status": trade.status, "lines": lines, "shipments": shipments, "paid": paid, "closed": trade.closed}

    def _doubled(self) -> int:
        oids = [oid for shipment in self.shipments for oid in shipment["lines"]]
        return len(oids) - len(set(oids))

    def _touch(self, trade: Trade) -> datetime:
        trade.modified = max(trade.modified, self._gate.now)
        return trade.modified

    # The five calls

    def _fetch_orders(self, form: dict[str, str]) -> dict[str, Any]:
        """Newest first, only part of what a trade is (TOPMETA tbtrade/taobao_trades_sold_increment_get)."""
        fields, since, until = _fields(form), time(form, "start_modified"), time(form, "end_modified")
        if until - since > WINDOW_MAX or until < since:
            raise invalid("end_modified", "时间跨度不能超过一天")
        page, size = number(form, "page_no", 1, 10**6, 1), number(form, "page_size", 1, 100, 40)
        types = (form.get("type") or DEFAULT_TYPES).split(",")
        found = sorted(
            (t for t in self.trades.values() if since <= t.modified <= until and t.type in types),
            key=lambda t: (t.modified, t.tid),
            reverse=True,
        )
        fields -= {"buyer_message"}
        shown = found[(page - 1) * size : page * size]
        result: dict[str, Any] = {"trades": {"trade": [self._show(trade, fields) for trade in shown]}} if shown else {}
        if form.get("use_has_next") == "true":
            result["has_next"] = page * size < len(found)
        else:
            result["total_results"] = len(found)
        if page > 1 and found:
            self._move(found[0])
        return result

    def _move(self, trade: Trade) -> None:
        """Something of the window changes between two page reads and leaves it."""
        self.page_reads += 1
        if self.moving_pages or (self.faults.level == "harsh" and self.page_reads % 3 == 1):
            self._touch(trade)
            self.faults.note("moving_pages/fetch_orders")

    def _fetch_one(self, form: dict[str, str]) -> dict[str, Any]:
        fields, tid = _fields(form), number(form, "tid", 1, 2**63)
        return {"trade": self._show(self._trade(tid), fields)}

    def _trade(self, tid: int) -> Trade:
        if tid not in self.trades:
            raise Wrong(15, "Remote service error", "isv.trade-not-exist", "交易订单不存在")  # [D]
        return self.trades[tid]

    def _fetch_stock(self, form: dict[str, str]) -> dict[str, Any]:
        fields, num_iid = _fields(form), needed(form, "num_iid")
        product = self._product(num_iid)
        skus = [sku for sku in self.listings.values() if sku["num_iid"] == num_iid and sku["sku_id"]]
        num = sum(sku["quantity"] for sku in skus) if skus else self.listings[num_iid]["quantity"]
        item = {"num_iid": int(num_iid), "title": product["title"], "num": num, "modified": said(self._gate.now)}
        item = {name: value for name, value in item.items() if name in fields}
        if "sku" in fields and skus:
            item["skus"] = {"sku": [_sku(sku) for sku in skus]}
        return {"item": item}

    def _product(self, num_iid: str) -> dict[str, Any]:
        if num_iid not in self.products:
            raise Wrong(15, "Remote service error", "isv.item-not-exist", "商品不存在")  # [D]
        return self.products[num_iid]

    def _send_stock(self, form: dict[str, str]) -> dict[str, Any]:
        item_id = needed(form, "item_id")
        self._product(item_id)
        options = _json(form, "options", {})
        kind, key = int(options.get("type", 1)), str(options.get("outer_biz_key", ""))
        if kind not in (1, 2) or set(key) - set("0123456789abcdefABCDEF"):
            raise invalid("options", "type 只能为 1 或 2, outer_biz_key 只能包含十六进制字符")
        changes = list(self._changes(item_id, form, kind))
        if self._may_happen("send_stock") and not (kind == 2 and self._heard(item_id, key)):
            for listing, quantity in changes:
                listing["quantity"] = max(0, quantity + (listing["quantity"] if kind == 2 else 0))
            self.stock_writes += 1
        return {"quantity_update_result": item_id}

    def _changes(self, item_id: str, form: dict[str, str], kind: int) -> Iterator[tuple[dict[str, Any], int]]:
        rows = _json(form, "sku_quantities", [])
        rows = rows if isinstance(rows, list) else [rows]
        if len(rows) > SKUS_MAX:
            raise invalid("sku_quantities", f"一次最多更新 {SKUS_MAX} 个SKU")
        named = [(str(row.get("sku_id")), row.get("quantity")) for row in rows]
        if "item_quantity" in form:
            named.append((item_id, form["item_quantity"]))
        for ref, quantity in named or [("", None)]:
            listing = self.listings.get(ref)
            if listing is None or listing["num_iid"] != item_id:
                raise invalid("sku_quantities", f"商品下没有该SKU: {ref}")
            if not whole(quantity) or (kind == 1 and int(quantity) < 0):
                raise invalid("quantity", "库存数不正确")
            yield listing, int(quantity)

    def _heard(self, item_id: str, key: str) -> bool:
        """Whether this difference came before: outer_biz_key makes it harmless."""
        if not key:
            return False
        heard = (item_id, key) in self.biz_keys
        self.biz_keys.add((item_id, key))
        self.absorbed += heard
        return heard

    def _send_shipment(self, form: dict[str, str]) -> dict[str, Any]:
        trade = self._trade(number(form, "tid", 1, 2**63))
        company, waybill = needed(form, "company_code"), needed(form, "out_sid")
        split = form.get("is_split", "0") == "1"
        wanted = {int(oid) for oid in needed(form, "sub_tid").split(",")} if split else {x.oid for x in trade.lines}
        lines = [line for line in trade.lines if line.oid in wanted]
        if len(lines) != len(wanted) or trade.status not in (PAID, PART) or any(line.waybill for line in lines):
            words = "订单状态不对，该物流订单已经发货或者已关闭，不能重复发货"
            raise Wrong(15, "Remote service error", "isv.logistics-offline-service-error:B04", words)
        if self._may_happen("send_shipment"):
            for line in lines:
                line.waybill, line.company = waybill, company
            trade.sent_at = self._touch(trade)
            oids = [str(line.oid) for line in lines]
            self.shipments.append({"tid": trade.tid, "waybill": waybill, "company": company, "lines": oids})
        return {"shipping": {"is_success": True}}

    def _may_happen(self, ability: str) -> bool:
        if ability in self.to_lose:
            self.to_lose.remove(ability)
            return False
        return True

    # How a trade looks

    def _show(self, trade: Trade, fields: set[str]) -> dict[str, Any]:
        """The fields asked for; oaid only beside those it needs (§1.8). A single line may come as itself (§1.1)."""
        lines: list[Any] = [self._line(trade, line) for line in trade.lines]
        whole = {
            **self._head(trade),
            **_receiver(trade),
            "orders": {"order": lines[0] if len(lines) == 1 and trade.tid // 100 % 3 == 0 else lines},
        }
        hidden = set() if fields >= OAID_NEEDS else {"oaid"}
        shown = {name: value for name, value in whole.items() if name in fields - hidden and value is not None}
        return shown | trade.odd

    def _head(self, trade: Trade) -> dict[str, Any]:
        total = sum((self._price(line) * line.quantity for line in trade.lines), Decimal())
        return {
            "tid": trade.tid,
            "status": trade.status,
            "type": trade.type,
            "created": said(trade.created),
            "modified": said(trade.modified),
            "pay_time": trade.paid_at and said(trade.paid_at),
            "consign_time": trade.sent_at and said(trade.sent_at),
            "payment": f"{total:.2f}",
            "total_fee": f"{total:.2f}",
            "post_fee": "0.00",
            "discount_fee": "0.00",
            "adjust_fee": "0.00",
            "buyer_nick": trade.buyer,
            "has_buyer_message": bool(trade.message),
            "buyer_message": trade.message or None,
        }

    def _price(self, line: Line) -> Decimal:
        return Decimal(self.listings[line.listing].get("price", "0.00"))

    def _line(self, trade: Trade, line: Line) -> dict[str, Any]:
        listing, fee = self.listings[line.listing], f"{self._price(line) * line.quantity:.2f}"
        shown = {
            "oid": line.oid,
            "num_iid": int(listing["num_iid"]),
            "title": listing["title"],
            "num": line.quantity,
            "price": f"{self._price(line):.2f}",
            "total_fee": fee,
            "payment": fee,
            "divide_order_fee": fee,
            "discount_fee": "0.00",
            "adjust_fee": "0.00",
            "status": SENT if line.waybill else PAID if trade.status == PART else trade.status,
            "refund_status": "NO_REFUND",
        }
        if listing["sku_id"]:
            shown |= {"sku_id": listing["sku_id"], "outer_sku_id": listing.get("outer_id", "")}
        else:
            shown["outer_iid"] = listing.get("outer_id", "")
        return shown | ({"invoice_no": line.waybill, "logistics_company": line.company} if line.waybill else {})


def _receiver(trade: Trade) -> dict[str, Any]:
    """Masked, with the oaid that stands for it; a receiver of the test's own may bring its own fields."""
    shown = {f"receiver_{name}": value for name, value in trade.receiver.items() if name not in ("mobile", "oaid")}
    name = trade.receiver.get("name", "")
    shown["receiver_name"] = name[:1] + "*" * len(name[1:])
    shown["receiver_address"] = "***"
    shown["receiver_mobile"] = "*******0000"
    return {**shown, "receiver_phone": None, "oaid": trade.receiver.get("oaid", f"1OAID{trade.tid}")}


def _sku(sku: dict[str, Any]) -> dict[str, Any]:
    shown = {"sku_id": int(sku["sku_id"]), "quantity": sku["quantity"], "outer_id": sku.get("outer_id", "")}
    return shown | {"price": f"{Decimal(sku.get('price', '0.00')):.2f}"}


def _fields(form: dict[str, str]) -> set[str]:
    return set(needed(form, "fields").split(","))


def _json(form: dict[str, str], name: str, default: Any) -> Any:
    try:
        return json.loads(form[name]) if name in form else default
    except ValueError:
        raise invalid(name, "不是合法的JSON") from None


def make(faults: Faults, *, now: Callable[[], datetime] = lambda: datetime.now(UTC), **options: Any) -> Shop:
    """A shop with two products. now: its clock."""
    return Shop(faults, now)


def prepare(twin: Shop, ability: str) -> None:
    """Something to do for every ability: trades of two pages a minute ago, and those the shipment fixtures consign."""
    both = [{"listing": "5000000000011", "quantity": 2}, {"listing": "600000000002", "quantity": 1}]
    for n in range(25):
        twin.control("buy", {"lines": both[: 1 + n % 2], "pay": n % 5 != 4, "ago_s": 120 - n})
    for tid in ("3812000000000000100", "3812000000000000200", "3812000000000000300"):
        if int(tid) not in twin.trades:
            twin.control("buy", {"tid": tid, "lines": both, "ago_s": 60})


def effects(twin: Shop, ability: str) -> int:
    """How many times this ability has really changed the shop."""
    return {"send_stock": twin.stock_writes, "send_shipment": len(twin.shipments)}.get(ability, 0)
