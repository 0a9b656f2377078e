"""The wire of a supplier at Taobao's distribution platform (供销平台): purchase orders in, consignments out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from connectors.spi import Connection, Manifest, Outcome, Outgoing, Page
from connectors.wire.http import Http, lost
from connectors.wire.top import Top, Window, Windows, compact, many, total
from core.errors import Refused
from core.model import Document

SUPPLIER = "2"


class Fenxiao:
    """One supplier's account."""

    def __init__(self, connection: Connection, manifest: Manifest, http: Http, now: Callable[[], datetime]) -> None:
        self._top, self._settings = Top(connection, manifest, http, now), connection.settings
        claim = manifest.can["fetch_orders"]
        self._windows = Windows(self._top, claim, self._settings, self._count, self._read_page)

    def fetch_orders(self, cursor: Mapping[str, Any]) -> Page:
        """Purchase orders updated in a window, from its last page to its first."""
        orders, after, more = self._windows.read_on(cursor)
        return Page([_order(order) for order in orders], (), after, more)

    def fetch_one(self, kind: str, ref: str) -> Document:
        """One purchase order by its number (fenxiao_id)."""
        return _order(self._read_one("fetch_one", ref))

    def send_shipment(self, batch: Sequence[Outgoing], step: str = "") -> Sequence[Outcome]:
        """Consigns whole purchase orders with the supplier's own courier; a second consignment is refused there."""
        return [self._top.consign(row, **row.body) for row in batch]

    def probe(self, ability: str, row: Outgoing, step: str = "") -> Outcome:
        """Whether the purchase order carries our waybill: still waiting to be sent means it never arrived."""
        order = self._read_one(f"probe_{ability}", row.ref)
        if order.get("logistics_id") == row.body["out_sid"]:
            return Outcome.done(row.body["out_sid"])
        if order.get("status") == "WAIT_SELLER_SEND_GOODS":
            return Outcome.absent()
        return Outcome.failed(Refused(f"purchase order {row.ref} is {order.get('status')}, without our waybill"))

    def _count(self, window: Window) -> int:
        return total(self._updated(window, page_no="1", page_size="1"))

    def _read_page(self, window: Window) -> list[Any]:
        return _rows(self._updated(window, page_no=str(window["page"]), page_size=str(self._windows.page_size)))

    def _updated(self, window: Window, **business: str) -> dict[str, Any]:
        business |= {"start_created": window["since"], "end_created": window["until"], "time_type": "update_time_type"}
        return self._ask("fetch_orders", **business)

    def _read_one(self, ability: str, ref: str) -> dict[str, Any]:
        answer = self._ask(ability, purchase_order_id=ref)
        for order in _rows(answer):
            if isinstance(order, dict) and str(order.get("fenxiao_id")) == ref:
                return order
        if total(answer) == 0:
            raise Refused(f"the platform shows no purchase order {ref}")
        raise lost(f"the answer has no purchase order {ref}", reads=True)

    def _ask(self, ability: str, **business: str) -> dict[str, Any]:
        business |= {"user_role_type": SUPPLIER, "trade_types": str(self._settings.get("trade_types", ""))}
        return self._top.call(ability, "taobao.fenxiao.orders.get", reads=True, **business)


def _rows(answer: Mapping[str, Any]) -> list[Any]:
    return many(answer.get("purchase_orders"), "purchase_order")


def _order(order: Any) -> Document:
    """A purchase order as a document; one that cannot be read is kept too, and parked by its mapping."""
    known = order if isinstance(order, dict) else {}
    ref, version = str(known.get("fenxiao_id") or "?"), str(known.get("modified") or "")
    return Document(kind="order", ref=ref, body=compact({"purchase_order": order}).encode(), version=version or None)
