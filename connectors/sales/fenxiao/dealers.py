"""Dealers' orders (经销采购单): what dealers buy for their own account, from the application to the delivery."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.spi import Ability, Outcome, Outgoing
from connectors.wire.http import lost
from connectors.wire.top import Top, Window, Windows, compact, many, total
from core.errors import Refused
from core.model import Document

SUPPLIER = "1"
METHOD = "taobao.fenxiao.dealer.requisitionorder"


class Dealers:
    """taobao.fenxiao.dealer.requisitionorder.get by time, .query by number."""

    def __init__(self, top: Top, claim: Ability, settings: Mapping[str, Any]) -> None:
        self._top = top
        self.windows = Windows(top, claim, settings, self._count, self._read_page)

    def find(self, ability: str, ref: str) -> dict[str, Any] | None:
        """The dealer's order of that number (dealer_order_id); None where the answer, which has no count, is empty."""
        orders = _rows(self._top.call(ability, f"{METHOD}.query", reads=True, dealer_order_ids=ref))
        for order in orders:
            if isinstance(order, dict) and str(order.get("dealer_order_id")) == ref:
                return order
        if not orders:
            return None
        raise lost(f"the answer has no dealer's order {ref}", reads=True)

    def document(self, order: Any) -> Document:
        """A dealer's order as a document; one that cannot be read is kept too, and parked by its mapping."""
        known = order if isinstance(order, dict) else {}
        ref, version = str(known.get("dealer_order_id") or "?"), str(known.get("modified_time") or "")
        body = compact({"dealer_order": order}).encode()
        return Document(kind="order", ref=ref, body=body, version=version or None)

    def arrived(self, order: Mapping[str, Any], row: Outgoing) -> Outcome:
        """It shows no waybill: sent by whom nobody can tell, not sent is certain while nothing of it is delivered."""
        status, delivered = order.get("order_status"), str(order.get("delivered_quantity_count") or 0)
        if status == "WAIT_FOR_SUPPLIER_DELIVER" and delivered == "0":
            return Outcome.absent()
        words = (
            f"dealer's order {row.ref} is {status}, {delivered} units sent; it does not show whether with our waybill"
        )
        return Outcome.failed(Refused(words))

    def _count(self, window: Window) -> int:
        return total(self._modified(window, page_no="1", page_size="1"))

    def _read_page(self, window: Window) -> list[Any]:
        return _rows(self._modified(window, page_no=str(window["page"]), page_size=str(self.windows.page_size)))

    def _modified(self, window: Window, **business: str) -> dict[str, Any]:
        business |= {"start_date": window["since"], "end_date": window["until"], "identity": SUPPLIER}
        return self._top.call("fetch_orders", f"{METHOD}.get", reads=True, **business)


def _rows(answer: Mapping[str, Any]) -> list[Any]:
    return many(answer.get("dealer_orders"), "dealer_order")
