"""Dealers' orders (经销采购单) of the distribution platform's twin: applied for, agreed on, paid, consigned, stored.

Built from TOPMETA fenxiao/taobao_fenxiao_dealer_requisitionorder_get and _query alone. What they do not say and this
twin had to choose is marked [D].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sandbox.sales.top_gate import Form, invalid, needed, number, said, time, whole

SPAN_MAX = timedelta(days=30)
SUPPLIER, IDS_MAX, PAGE_MAX = 1, 50, 50
ASKED, REFUSED, CHANGED, ASKED_AGAIN = (
    "WAIT_FOR_SUPPLIER_AUDIT1",
    "SUPPLIER_REFUSE",
    "WAIT_FOR_APPLIER_AUDIT",
    "WAIT_FOR_SUPPLIER_AUDIT2",
)
AGREED, PAID, SENT = "BOTH_AGREE_WAIT_PAY", "WAIT_FOR_SUPPLIER_DELIVER", "WAIT_FOR_APPLIER_STORAGE"
FINISHED, CLOSED = "TRADE_FINISHED", "TRADE_CLOSED"
NUMBERS = {1: ASKED, 2: REFUSED, 3: CHANGED, 4: ASKED_AGAIN, 5: AGREED, 7: PAID, 8: SENT, 9: FINISHED, 10: CLOSED}
"""What order_status asks for; 0 is all of them, and there is no 6."""
THEN = {
    ASKED: {REFUSED, CHANGED, AGREED, CLOSED},
    REFUSED: {ASKED_AGAIN, CLOSED},
    CHANGED: {ASKED_AGAIN, AGREED, CLOSED},
    ASKED_AGAIN: {REFUSED, CHANGED, AGREED, CLOSED},
    AGREED: {PAID, CLOSED},
    PAID: {CLOSED},
    SENT: {FINISHED},
}
"""Which state follows which but for a consignment, read off their texts [D]."""


@dataclass
class Detail:
    """One line (明细) of a dealer's order."""

    ident: int
    listing: str
    quantity: int
    deleted: bool = False


@dataclass
class DealerOrder:
    """One dealer's order. odd: raw fields laid over what the platform would show, for tests of bad input."""

    ident: int
    lines: list[Detail]
    applied: datetime
    modified: datetime
    receiver: dict[str, str]
    status: str = PAID
    dealer: str = "经销商甲"
    freight: str = "0.00"
    logistics_type: str = "LOGISTICS"
    paid_at: datetime | None = None
    delivered: int = 0
    waybill: str = ""
    company: str = ""
    odd: dict[str, Any] = field(default_factory=dict)

    @property
    def closed(self) -> bool:
        """Whether it came to nothing."""
        return self.status == CLOSED

    def become(self, status: str, now: datetime) -> None:
        """Go on to this state, where it follows."""
        if status in THEN.get(self.status, ()):
            self.status, self.modified = status, max(self.modified, now)
            self.paid_at = now if status == PAID else self.paid_at

    def consign(self, waybill: str, company: str, now: datetime) -> None:
        """All of it leaves; it shows how much, and nowhere by which waybill."""
        self.status, self.modified = SENT, max(self.modified, now)
        self.waybill, self.company, self.delivered = waybill, company, self.units

    @property
    def units(self) -> int:
        """Units of the lines that are still in it."""
        return sum(line.quantity for line in self.lines if not line.deleted)


class Shelf:
    """The dealers' orders of one supplier. listings: what it offers, as the platform keeps it."""

    def __init__(self, listings: Callable[[], Mapping[str, Mapping[str, Any]]]) -> None:
        self._listings = listings
        self.orders: dict[int, DealerOrder] = {}

    def by_time(self, form: Form) -> tuple[list[DealerOrder], int, int]:
        """What was modified in the span asked for, newest first [D], with the page wanted and its size."""
        as_supplier = number(form, "identity", 1, 2) == SUPPLIER
        since, until = time(form, "start_date"), time(form, "end_date")
        if until - since > SPAN_MAX or until < since:
            raise invalid("end_date", "时间跨度不能超过30天")
        wanted = number(form, "order_status", 0, 10, 0)
        if wanted and wanted not in NUMBERS:
            raise invalid("order_status", "状态不正确")
        mine = [one for one in self.orders.values() if as_supplier and since <= one.modified <= until]
        found = [one for one in mine if not wanted or one.status == NUMBERS[wanted]]
        page, size = _or_else(form, "page_no", 10**6, 1), _or_else(form, "page_size", PAGE_MAX, PAGE_MAX)
        return sorted(found, key=lambda one: (one.modified, one.ident), reverse=True), page, size

    def by_number(self, form: Form) -> dict[str, Any]:
        """Those of these numbers; of an unknown one nothing is said [D]."""
        asked = needed(form, "dealer_order_ids").split(",")
        if len(asked) > IDS_MAX or not all(whole(one) for one in asked):
            raise invalid("dealer_order_ids", "最多支持50个经销采购单编号的查询")
        return self.shown([self.orders[int(one)] for one in asked if int(one) in self.orders])

    def shown(self, orders: list[DealerOrder]) -> dict[str, Any]:
        """The orders as an answer carries them; a single one may come as itself (sales-platforms §1.1)."""
        rows = [self._show(one) for one in orders]
        few = rows[0] if len(rows) == 1 and orders[0].ident // 100 % 3 == 0 else rows
        return {"dealer_orders": {"dealer_order": few}} if rows else {}

    def _show(self, one: DealerOrder) -> dict[str, Any]:
        """total_price with the freight in it [D]: public clients disagree."""
        lines = [self._line(one, line) for line in one.lines]
        total = sum((Decimal(line["price_count"]) for line in lines if not line["is_deleted"]), Decimal(one.freight))
        shown = {
            "dealer_order_id": one.ident,
            "supplier_nick": "供应商",
            "applier_nick": one.dealer,
            "order_status": one.status,
            "applied_time": said(one.applied),
            "modified_time": said(one.modified),
            "pay_time": one.paid_at and said(one.paid_at),
            "pay_type": "ALIPAY_SURETY",
            "logistics_type": one.logistics_type,
            "logistics_fee": one.freight,
            "total_price": f"{total:.2f}",
            "quantity_count": one.units,
            "delivered_quantity_count": one.delivered,
            "receiver": one.receiver,
            "dealer_order_details": {
                "dealer_order_detail": lines[0] if len(lines) == 1 and one.ident // 100 % 3 == 0 else lines
            },
        }
        return {name: value for name, value in shown.items() if value is not None} | one.odd

    def _line(self, one: DealerOrder, line: Detail) -> dict[str, Any]:
        listing = self._listings()[line.listing]
        price = Decimal(listing.get("price", "0.00"))
        shown = {
            "dealer_order_id": one.ident,
            "dealer_detail_id": line.ident,
            "product_id": int(listing["item_id"]),
            "product_title": listing["title"],
            "sku_number": listing.get("sku_outer_id") or listing["item_outer_id"],
            "original_price": f"{price:.2f}",
            "final_price": f"{price:.2f}",
            "quantity": line.quantity,
            "price_count": f"{price * line.quantity:.2f}",
            "is_deleted": line.deleted,
        }
        return shown | ({"sku_id": int(listing["sku_id"])} if listing["sku_id"] else {})


def _or_else(form: Form, name: str, most: int, default: int) -> int:
    """A number out of bounds counts as the default, as the documents say."""
    text = form.get(name) or ""
    return int(text) if whole(text) and 1 <= int(text) <= most else default
