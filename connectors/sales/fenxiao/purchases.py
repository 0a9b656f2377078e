"""Purchase orders (采购单): what distributors buy for shoppers, and consignment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.spi import Ability, Outcome, Outgoing
from connectors.wire.http import lost
from connectors.wire.top import Top, Window, Windows, compact, many, total
from core.errors import Refused
from core.model import Document

SUPPLIER = "2"


class Purchases:
    """taobao.fenxiao.orders.get, by time and by number."""

    def __init__(self, top: Top, claim: Ability, settings: Mapping[str, Any]) -> None:
        self._top, self._settings = top, settings
        self.windows = Windows(top, claim, settings, self._count, self._read_page)

    def find(self, ability: str, ref: str) -> dict[str, Any] | None:
        """The purchase order of that number (fenxiao_id); None where the platform says there is none."""
        answer = self._ask(ability, purchase_order_id=ref)
        for order in _rows(answer):
            if isinstance(order, dict) and str(order.get("fenxiao_id")) == ref:
                return order
        if total(answer) == 0:
            return None
        raise lost(f"the answer has no purchase order {ref}", reads=True)

    def document(self, order: Any) -> Document:
        """A purchase order as a document; one that cannot be read is kept too, and parked by its mapping."""
        known = order if isinstance(order, dict) else {}
        ref, version = str(known.get("fenxiao_id") or "?"), str(known.get("modified") or "")
        body = compact({"purchase_order": order}).encode()
        return Document(kind="order", ref=ref, body=body, version=version or None)

    def arrived(self, order: Mapping[str, Any], row: Outgoing) -> Outcome:
        """Whether it carries our waybill."""
        if order.get("logistics_id") == row.body["out_sid"]:
            return Outcome.done(row.body["out_sid"])
        if order.get("status") == "WAIT_SELLER_SEND_GOODS":
            return Outcome.absent()
        return Outcome.failed(Refused(f"purchase order {row.ref} is {order.get('status')}, without our waybill"))

    def _count(self, window: Window) -> int:
        return total(self._updated(window, page_no="1", page_size="1"))

    def _read_page(self, window: Window) -> list[Any]:
        return _rows(self._updated(window, page_no=str(window["page"]), page_size=str(self.windows.page_size)))

    def _updated(self, window: Window, **business: str) -> dict[str, Any]:
        business |= {"start_created": window["since"], "end_created": window["until"], "time_type": "update_time_type"}
        return self._ask("fetch_orders", **business)

    def _ask(self, ability: str, **business: str) -> dict[str, Any]:
        business |= {"user_role_type": SUPPLIER, "trade_types": str(self._settings.get("trade_types", ""))}
        return self._top.call(ability, "taobao.fenxiao.orders.get", reads=True, **business)


def _rows(answer: Mapping[str, Any]) -> list[Any]:
    return many(answer.get("purchase_orders"), "purchase_order")
