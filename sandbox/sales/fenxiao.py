"""Taobao's distribution platform (供销平台) as a supplier sees it: distributors buy and pay, the supplier consigns.

Built from sales-platforms §1 and TOPMETA fenxiao/taobao_fenxiao_orders_get alone; dealers' orders stand in
fenxiao_dealers. What they do not say and this twin had to choose is marked [D].
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sandbox.sales import fenxiao_dealers as dealers
from sandbox.sales import top_gate
from sandbox.sales.top_gate import Form, Gate, Wrong, invalid, needed, number, said, time
from sandbox.twin import Answer, Call, Faults

SPAN_MAX = timedelta(days=7)
SUPPLIER = 2
UNPAID, PAID, FORBIDDEN = "WAIT_BUYER_PAY", "WAIT_SELLER_SEND_GOODS", "PAID_FORBID_CONSIGN"
SENT, FINISHED, CLOSED = "WAIT_BUYER_CONFIRM_GOODS", "TRADE_FINISHED", "TRADE_CLOSED"
REFUNDING, REFUNDED = "TRADE_REFUNDING", "TRADE_REFUNDED"
ORDERS, CONSIGN = "taobao.fenxiao.orders.get", "taobao.logistics.offline.send"
DEALERS, DEALER = "taobao.fenxiao.dealer.requisitionorder.get", "taobao.fenxiao.dealer.requisitionorder.query"
ABILITIES = {ORDERS: "fetch_orders", DEALERS: "fetch_orders", DEALER: "fetch_one", CONSIGN: "send_shipment"}
TRADE_TYPES = {"1": {"AGENT", "INSTEAD_SALE"}, "2": {"DEALER"}, "5": {"CONSIGNMENT"}, "6": {"PLATFORM_CONSIGNMENT"}}
"""Which number asks for INSTEAD_SALE is not said [D]."""
RECEIVER = {"name": "张三", "state": "浙江省", "city": "杭州市", "district": "西湖区", "zip": "310000"}
SETTINGS: dict[str, Any] = {
    **top_gate.SETTINGS,
    "trade_types": "1",
    "dealer_orders": True,
    "page_size": 20,
    "first_days": 0,
}
SECRETS = top_gate.SECRETS
PRODUCTS: list[dict[str, Any]] = [
    {
        "item_id": "310000000001",
        "title": "纯棉短袖T恤",
        "item_outer_id": "TS",
        "skus": [
            {"sku_id": "3100000000011", "sku_outer_id": "TS-RED-M", "price": "30.00", "auction_price": "59.00"},
            {"sku_id": "3100000000012", "sku_outer_id": "TS-BLUE-L", "price": "30.00", "auction_price": "59.00"},
        ],
    },
    {
        "item_id": "310000000002",
        "title": "保温杯",
        "item_outer_id": "CUP-500",
        "price": "65.50",
        "auction_price": "129.90",
    },
]


@dataclass
class Line:
    """One sub order (子采购单). refund: its own status once the distributor gave it up; shopper: that downstream."""

    fenxiao_id: int
    listing: str
    quantity: int
    refund: str = ""
    shopper: str = ""


@dataclass
class Purchase:
    """One purchase order (采购单). odd: raw fields laid over what the platform would show, for tests of bad input."""

    fenxiao_id: int
    lines: list[Line]
    created: datetime
    modified: datetime
    tc_order_id: int = 0
    trade_type: str = "AGENT"
    distributor: str = "分销商甲"
    memo: str = ""
    receiver: dict[str, str] = field(default_factory=dict)
    paid_at: datetime | None = None
    sent_at: datetime | None = None
    state: str = ""
    waybill: str = ""
    company: str = ""
    odd: dict[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """closed, finished or forbidden as the demo said, else how far it is."""
        return self.state or (SENT if self.sent_at else PAID if self.paid_at else UNPAID)

    def consign(self, waybill: str, company: str, now: datetime) -> None:
        """All of it leaves with this waybill."""
        self.waybill, self.company = waybill, company
        self.sent_at = self.modified = max(self.modified, now)


class Platform:
    """The twin. One lock around all of its state."""

    write_abilities = ("send_shipment",)

    def __init__(self, faults: Faults, now: Callable[[], datetime]) -> None:
        self.faults, self._gate, self._lock = faults, Gate(ABILITIES, now), threading.RLock()
        self.listings: dict[str, dict[str, Any]] = {}
        self.purchases: dict[int, Purchase] = {}
        self.dealers = dealers.Shelf(lambda: self.listings)
        self.shipments: list[dict[str, Any]] = []
        self.page_reads = 0
        self.moving_pages = False
        self.to_lose: list[str] = []
        self.last_id = 1_800_000_000_000_000_000
        self.set_products(PRODUCTS)

    def ability(self, call: Call) -> str:
        """Our name for what is asked: with a number it is one purchase order."""
        form = call.form
        one = form.get("method") == ORDERS and "purchase_order_id" in form
        return "fetch_one" if one else ABILITIES.get(form.get("method", ""), "unknown")

    def throttled(self, call: Call) -> Answer:
        """Flow control's words."""
        return self._gate.throttled()

    def answer(self, call: Call) -> Answer:
        """One of the four calls, once the gate let it through."""
        calls = {ORDERS: self._show_orders, DEALERS: self._show_dealers, DEALER: self.dealers.by_number}
        with self._lock:
            return self._gate.answer(call, calls.get(call.form.get("method", ""), self._consign))

    def control(self, action: str, body: Any) -> Any:
        """What the demo and the tests ask."""
        with self._lock:
            return getattr(self, f"on_{action}")(body or {})

    # What distributors, shoppers and the demo do

    def on_setup(self, body: dict[str, Any]) -> dict[str, Any]:
        self._gate.setup(body)
        self.moving_pages = body.get("moving_pages", self.moving_pages)
        if "products" in body:
            self.set_products(body["products"])
        return {"listings": sorted(self.listings)}

    def set_products(self, products: list[dict[str, Any]]) -> None:
        """Offer these products to distributors instead of what was there."""
        self.listings = {}
        for product in products:
            for sku in product.get("skus") or [{**product, "sku_id": ""}]:
                kept = {key: product.get(key, "") for key in ("item_id", "title", "item_outer_id")}
                self.listings[str(sku["sku_id"]) or str(product["item_id"])] = {**kept, **sku}

    def on_buy(self, body: dict[str, Any]) -> dict[str, str]:
        """A distributor makes a purchase order. tc_order_id: the shopper's trade; 0 where there is none."""
        now, ident = self._gate.now - timedelta(seconds=body.get("ago_s", 0)), self._number(body.get("fenxiao_id", 0))
        wanted = enumerate(body["lines"], 1)
        lines = [Line(ident + n, str(line["listing"]), int(line["quantity"])) for n, line in wanted]
        told = {name: body[name] for name in ("tc_order_id", "trade_type", "distributor", "memo") if name in body}
        receiver = RECEIVER | (body.get("receiver") or {})
        paid_at = now if body.get("pay", True) else None
        self.purchases[ident] = Purchase(ident, lines, now, now, receiver=receiver, paid_at=paid_at, **told)
        return {"ref": str(ident)}

    def on_apply(self, body: dict[str, Any]) -> dict[str, str]:
        """A dealer buys for itself. status: how far it is; paid unless said otherwise."""
        now = self._gate.now - timedelta(seconds=body.get("ago_s", 0))
        ident = self._number(body.get("dealer_order_id", 0))
        wanted = enumerate(body["lines"], 1)
        lines = [dealers.Detail(ident + n, str(line["listing"]), int(line["quantity"])) for n, line in wanted]
        told = {name: body[name] for name in ("status", "dealer", "freight", "logistics_type") if name in body}
        one = dealers.DealerOrder(ident, lines, now, now, RECEIVER | (body.get("receiver") or {}), **told)
        one.paid_at = now if one.status == dealers.PAID else None
        self.dealers.orders[ident] = one
        return {"ref": str(ident)}

    def on_move(self, body: dict[str, Any]) -> dict[str, str]:
        """A dealer's order goes on to the state `to`, where that follows; `delete` takes one of its lines away."""
        one = self.dealers.orders[int(body["ref"])]
        if "delete" in body:
            one.lines[int(body["delete"])].deleted = True
        one.become(body.get("to", one.status), self._gate.now)
        return {"status": one.status}

    def _number(self, wanted: Any) -> int:
        """The number of a new order. Both kinds are consigned by it, so that none is given twice [D]."""
        ident = int(wanted) or self.last_id + 100
        self.last_id = max(self.last_id, ident)
        return ident

    def on_pay(self, body: dict[str, Any]) -> dict[str, str]:
        purchase = self.purchases[int(body["ref"])]
        if purchase.status == UNPAID:
            purchase.paid_at = self._touch(purchase)
        return {"status": purchase.status}

    def on_close(self, body: dict[str, Any]) -> dict[str, str]:
        """What has not been sent is closed, paid or not."""
        return self._become(body, CLOSED, {UNPAID, PAID, FORBIDDEN})

    def on_forbid(self, body: dict[str, Any]) -> dict[str, str]:
        """The platform forbids to send what is paid."""
        return self._become(body, FORBIDDEN, {PAID})

    def on_finish(self, body: dict[str, Any]) -> dict[str, str]:
        """The shopper has it."""
        return self._become(body, FINISHED, {SENT})

    def _become(self, body: dict[str, Any], state: str, before: set[str]) -> dict[str, str]:
        purchase = self.purchases[int(body["ref"])]
        if purchase.status in before:
            purchase.state = state
            self._touch(purchase)
        return {"status": purchase.status}

    def on_refund(self, body: dict[str, Any]) -> dict[str, str]:
        """One line (`line`, its place) is asked back or given up: `distributor` and `shopper` say how far each is."""
        purchase = self.purchases[int(body["ref"])]
        line = purchase.lines[int(body["line"])]
        line.refund, line.shopper = body.get("distributor", line.refund), body.get("shopper", line.shopper)
        self._touch(purchase)
        return {"status": purchase.status}

    def on_spoil(self, body: dict[str, Any]) -> dict[str, str]:
        """Lay raw fields over an order, as a new enum value or a missing number would."""
        ident = int(body["ref"])
        one = self.purchases.get(ident) or self.dealers.orders[ident]
        one.odd |= body["fields"]
        self._touch(one)
        return {"ref": str(ident)}

    def on_lose(self, body: dict[str, Any]) -> dict[str, Any]:
        """Answer the next write of this ability as done without doing it."""
        self.to_lose.append(body["what"])
        return {"losing": self.to_lose}

    def on_books(self, body: dict[str, Any]) -> dict[str, Any]:
        """Everything an auditor needs."""
        sent = [shipment["tid"] for shipment in self.shipments]
        everything = {**self.purchases, **self.dealers.orders}
        return {
            "orders": {str(ident): self._account(ident, one) for ident, one in everything.items()},
            "fulfilments_doubled": len(sent) - len(set(sent)),
        }

    def _account(self, ident: int, order: Purchase | dealers.DealerOrder) -> dict[str, Any]:
        sent = [one for one in self.shipments if one["tid"] == ident]
        return {
            "status": order.status,
            "lines": [{"listing": line.listing, "quantity": line.quantity} for line in order.lines],
            "shipments": [{key: one[key] for key in ("waybill", "company")} for one in sent],
            "paid": order.paid_at is not None,
            "closed": order.status == CLOSED,
        }

    def _touch(self, order: Purchase | dealers.DealerOrder) -> datetime:
        order.modified = max(order.modified, self._gate.now)
        return order.modified

    # The four calls

    def _show_orders(self, form: Form) -> dict[str, Any]:
        """Newest first [D]: in which order they come is not said."""
        if number(form, "user_role_type", 1, 2, SUPPLIER) != SUPPLIER:
            return {"total_results": 0}  # this account distributes nothing
        page, size = number(form, "page_no", 1, 10**6, 1), number(form, "page_size", 1, 50, 20)  # default [D]
        found = sorted(self._found(form), key=lambda one: (one.modified, one.fenxiao_id), reverse=True)
        rows = [self._show(one) for one in found[(page - 1) * size : page * size]]
        if page > 1 and found:
            self._move(found[0])
        return {"total_results": len(found)} | ({"purchase_orders": {"purchase_order": _few(rows)}} if rows else {})

    def _show_dealers(self, form: Form) -> dict[str, Any]:
        found, page, size = self.dealers.by_time(form)
        rows = found[(page - 1) * size : page * size]
        answer = {"total_results": len(found)} | self.dealers.shown(rows)
        if page > 1 and found:
            self._move(found[0])
        return answer

    def _found(self, form: Form) -> list[Purchase]:
        """Those asked for by number, else those of a time; only the kinds of trade asked for, either way [D]."""
        kinds = _trade_types(form)
        mine = [one for one in self.purchases.values() if one.trade_type in kinds]
        if "purchase_order_id" in form:
            return [one for one in mine if one.fenxiao_id == number(form, "purchase_order_id", 1, 2**63)]
        if "tc_order_id" in form:
            return [one for one in mine if one.tc_order_id == number(form, "tc_order_id", 1, 2**63)]
        since, until, by = time(form, "start_created"), time(form, "end_created"), _time_type(form)
        if until - since > SPAN_MAX or until < since:
            raise invalid("end_created", "时间跨度不能超过7天")
        mine = [one for one in mine if since <= getattr(one, by) <= until]
        return [one for one in mine if form.get("status", one.status) == one.status]

    def _move(self, order: Purchase | dealers.DealerOrder) -> None:
        """Something of the window changes between two page reads and leaves it."""
        self.page_reads += 1
        if self.moving_pages or (self.faults.level == "harsh" and self.page_reads % 3 == 1):
            self._touch(order)
            self.faults.note("moving_pages/fetch_orders")

    def _consign(self, form: Form) -> dict[str, Any]:
        """Only whole orders, of either kind: whether sub_tid takes the numbers of their lines is not said [D]."""
        ident = number(form, "tid", 1, 2**63)
        company, waybill = needed(form, "company_code"), needed(form, "out_sid")
        order = self.purchases.get(ident) or self.dealers.orders.get(ident)
        if order is None:
            raise Wrong(15, "Remote service error", "isv.trade-not-exist", "交易订单不存在")  # [D]
        if form.get("is_split", "0") != "0" or "sub_tid" in form:
            raise invalid("sub_tid", "采购单不支持拆单发货")
        if order.status not in (PAID, dealers.PAID):
            words = "订单状态不对，该物流订单已经发货或者已关闭，不能重复发货"
            raise Wrong(15, "Remote service error", "isv.logistics-offline-service-error:B04", words)
        if self._may_happen("send_shipment"):
            order.consign(waybill, company, self._gate.now)
            self.shipments.append({"tid": ident, "waybill": waybill, "company": company})
        return {"shipping": {"is_success": True}}

    def _may_happen(self, ability: str) -> bool:
        if ability in self.to_lose:
            self.to_lose.remove(ability)
            return False
        return True

    # How a purchase order looks

    def _show(self, one: Purchase) -> dict[str, Any]:
        total = sum((self._price(line) * line.quantity for line in one.lines), Decimal())
        shown = {
            "fenxiao_id": one.fenxiao_id,
            "tc_order_id": one.tc_order_id or None,
            "trade_type": one.trade_type,
            "status": one.status,
            "created": said(one.created),
            "modified": said(one.modified),
            "pay_time": one.paid_at and said(one.paid_at),
            "consign_time": one.sent_at and said(one.sent_at),
            "supplier_username": "供应商",
            "distributor_username": one.distributor,
            "memo": one.memo or None,
            "total_fee": f"{total:.2f}",
            "post_fee": "0.00",
            "distributor_payment": f"{total:.2f}",
            "pay_type": "ALIPAY_SURETY",
            "logistics_company_name": one.company or None,
            "logistics_id": one.waybill or None,
            "receiver": _receiver(one),
            "sub_purchase_orders": {"sub_purchase_order": _few([self._line(one, line) for line in one.lines])},
        }
        return {name: value for name, value in shown.items() if value is not None} | one.odd

    def _price(self, line: Line) -> Decimal:
        return Decimal(self.listings[line.listing].get("price", "0.00"))

    def _line(self, one: Purchase, line: Line) -> dict[str, Any]:
        """Yuan, but for the shopper's discounts and adjustments, which are fen (§1.7)."""
        listing, fee = self.listings[line.listing], f"{self._price(line) * line.quantity:.2f}"
        retail = Decimal(listing.get("auction_price", "0.00"))
        shown = {
            "fenxiao_id": line.fenxiao_id,
            "item_id": int(listing["item_id"]),
            "item_outer_id": listing["item_outer_id"],
            "title": listing["title"],
            "num": line.quantity,
            "price": f"{self._price(line):.2f}",
            "total_fee": fee,
            "distributor_payment": fee,
            "buyer_payment": f"{retail * line.quantity - 1:.2f}",
            "refund_fee": "0.00",
            "auction_price": f"{retail:.2f}",
            "tc_discount_fee": 100,
            "tc_adjust_fee": 0,
            "discount_fee": "100",
            "created": said(one.created),
            "status": line.refund or one.status,
        }
        if listing["sku_id"]:
            shown |= {"sku_id": int(listing["sku_id"]), "sku_outer_id": listing.get("sku_outer_id", "")}
        return shown | (self._downstream(one, line) if one.tc_order_id else {})

    def _downstream(self, one: Purchase, line: Line) -> dict[str, Any]:
        """The shopper's own line; the shopper has paid before the distributor buys [D]."""
        status = {UNPAID: PAID, FORBIDDEN: PAID}.get(one.status, one.status)
        place = line.fenxiao_id - one.fenxiao_id
        return {"tc_order_id": one.tc_order_id + place, "order_200_status": line.shopper or status}


def _few(rows: list[Any]) -> Any:
    """A list; a single row may come as itself (§1.1)."""
    return rows[0] if len(rows) == 1 and rows[0]["fenxiao_id"] // 100 % 3 == 0 else rows


def _receiver(one: Purchase) -> dict[str, Any]:
    """Masked, with the oaid that stands for it; a receiver of the test's own may bring its own fields."""
    name = one.receiver.get("name", "")
    masked = {"name": name[:1] + "*" * len(name[1:]), "address": "***", "mobile_phone": "*******0000"}
    return {**one.receiver, **masked, "oaid": one.receiver.get("oaid", f"1OAID{one.fenxiao_id}")}


def _trade_types(form: Form) -> set[str]:
    """What the platform calls the kinds of trade asked for by number."""
    asked = (form.get("trade_types") or "1").split(",")
    if not set(asked) <= set(TRADE_TYPES):
        raise invalid("trade_types", "经营模式不正确")
    return set().union(*(TRADE_TYPES[one] for one in asked))


def _time_type(form: Form) -> str:
    """The time a window is about."""
    times = {"trade_time_type": "created", "update_time_type": "modified"}
    asked = form.get("time_type", "trade_time_type")
    if asked not in times:
        raise invalid("time_type", "时间类型不正确")
    return times[asked]


def make(faults: Faults, *, now: Callable[[], datetime] = lambda: datetime.now(UTC), **options: Any) -> Platform:
    """A platform on which the supplier offers two products. now: its clock."""
    return Platform(faults, now)


def prepare(twin: Platform, ability: str) -> None:
    """Something to do for every ability: two pages of each kind of order, and those the fixtures consign."""
    both = [{"listing": "3100000000011", "quantity": 2}, {"listing": "310000000002", "quantity": 1}]
    for n in range(25):
        told = {"tc_order_id": 4_000_000_000_000_000_100 + 100 * n} if n % 3 else {}
        ago = {"ago_s": 120 - n}
        twin.control("buy", {"lines": both[: 1 + n % 2], "pay": n % 5 != 4, **ago, **told})
        twin.control(
            "apply", {"lines": both[: 1 + n % 2], "status": dealers.AGREED if n % 5 == 4 else dealers.PAID} | ago
        )
    for ident in ("1890000000000000100", "1890000000000000200"):
        twin.control("buy", {"fenxiao_id": ident, "lines": both, "ago_s": 60})
    twin.control("apply", {"dealer_order_id": "5272478441900", "lines": both, "ago_s": 60})


def effects(twin: Platform, ability: str) -> int:
    """How many times this ability has really changed the platform."""
    return len(twin.shipments) if ability == "send_shipment" else 0


def refs(twin: Platform, ability: str) -> list[tuple[str, str]]:
    """A dealer's order and a purchase order, to be read alone."""
    return [("order", str(ident)) for ident in (*[*twin.dealers.orders][:1], *[*twin.purchases][:1])]
