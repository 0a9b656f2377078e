"""The wire of a Taobao or Tmall shop: trades in, levels and consignments out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from connectors.spi import Connection, Manifest, Outcome, Outgoing, Page
from connectors.wire.http import Http
from connectors.wire.top import Top, Window, Windows, compact, inside, many, total
from core.errors import Refused
from core.model import Document

RECEIVER_FIELDS = (
    "receiver_name,receiver_state,receiver_city,receiver_district,receiver_town,receiver_address,receiver_zip,"
    "receiver_mobile,receiver_phone,oaid"
)
TRADE_FIELDS = (
    "tid,status,type,created,pay_time,modified,consign_time,end_time,payment,total_fee,post_fee,discount_fee,adjust_fee,"
    f"buyer_nick,buyer_open_uid,has_buyer_message,step_trade_status,{RECEIVER_FIELDS},orders"
)
"""Nothing comes unasked; oaid comes only beside the receiver's name, address, phones and `created` (§1.8)."""
ITEM_FIELDS = "num_iid,num,modified,sku"


class Tmall:
    """One Taobao or Tmall shop."""

    def __init__(self, connection: Connection, manifest: Manifest, http: Http, now: Callable[[], datetime]) -> None:
        self._top, self._settings = Top(connection, manifest, http, now), connection.settings
        claim = manifest.can["fetch_orders"]
        self._windows = Windows(self._top, claim, self._settings, self._count, self._read_page)

    def fetch_orders(self, cursor: Mapping[str, Any]) -> Page:
        """Trades modified in a window, from its last page to its first."""
        trades, after, more = self._windows.read_on(cursor)
        documents = [_order(trade) for trade in trades if not _has_more(trade)]
        return Page(documents, [str(trade["tid"]) for trade in trades if _has_more(trade)], after, more)

    def fetch_one(self, kind: str, ref: str) -> Document:
        """One trade by its tid, as the increment would show it."""
        return _order(self._read_trade("fetch_one", ref))

    def fetch_stock(self, refs: Sequence[str]) -> Sequence[Document]:
        """What the shop shows for these products (num_iid): one document each, its SKUs inside."""
        return [self._read_item(ref) for ref in refs]

    def send_stock(self, batch: Sequence[Outgoing], step: str = "") -> Sequence[Outcome]:
        """Levels of one product. Differences and levels cannot share a call, so each kind has its own."""
        for _, rows in groupby(sorted(batch, key=_update_type), key=_update_type):
            self._update_quantities([row.body for row in rows])
        return [Outcome.done() for _ in batch]

    def send_shipment(self, batch: Sequence[Outgoing], step: str = "") -> Sequence[Outcome]:
        """Consigns with the seller's own courier; a second consignment of the same lines is refused there."""
        return [self._top.consign(row, **_whole_or_lines(row.body)) for row in batch]

    def probe(self, ability: str, row: Outgoing, step: str = "") -> Outcome:
        """Whether the trade's lines carry our waybill: all still waiting means it never arrived."""
        trade = self._read_trade(f"probe_{ability}", row.ref)
        wanted = set(row.body.get("sub_tid", ()))
        lines = [line for line in many(trade.get("orders"), "order") if not wanted or str(line.get("oid")) in wanted]
        if any(line.get("invoice_no") == row.body["out_sid"] for line in lines):
            return Outcome.done(row.body["out_sid"])
        states = sorted({str(line.get("status")) for line in lines} - {"TRADE_CLOSED", "TRADE_CLOSED_BY_TAOBAO"})
        if states == ["WAIT_SELLER_SEND_GOODS"]:
            return Outcome.absent()
        return Outcome.failed(Refused(f"trade {row.ref} is {', '.join(states) or 'closed'}, without our waybill"))

    def _count(self, window: Window) -> int:
        return total(self._increment(window, fields="tid", page_no="1", page_size="1", use_has_next="false"))

    def _read_page(self, window: Window) -> list[Any]:
        page = {"page_no": str(window["page"]), "page_size": str(self._windows.page_size), "use_has_next": "true"}
        return many(self._increment(window, fields=TRADE_FIELDS, **page).get("trades"), "trade")

    def _increment(self, window: Window, **business: str) -> dict[str, Any]:
        business |= {"start_modified": window["since"], "end_modified": window["until"]}
        business["type"] = str(self._settings.get("types", ""))
        return self._top.call("fetch_orders", "taobao.trades.sold.increment.get", reads=True, **business)

    def _read_trade(self, ability: str, tid: str) -> dict[str, Any]:
        method = "taobao.trade.fullinfo.get"
        fields = f"{TRADE_FIELDS},buyer_message"
        answer = self._top.call(ability, method, reads=True, fields=fields, tid=tid, include_oaid="true")
        return inside(answer, "trade", reads=True)

    def _read_item(self, num_iid: str) -> Document:
        method = "taobao.item.seller.get"
        answer = self._top.call("fetch_stock", method, reads=True, fields=ITEM_FIELDS, num_iid=num_iid)
        item = inside(answer, "item", reads=True)
        return Document(kind="stock", ref=num_iid, body=compact({"item": item}).encode())

    def _update_quantities(self, rows: list[Any]) -> None:
        """One call for rows of one product. A row whose SKU is the product itself is a product without SKUs."""
        item_id, options = rows[0]["item_id"], rows[0]["options"]
        business = {"item_id": item_id, "options": compact(options)}
        told = {row["sku_id"]: row["quantity"] for row in rows}
        if item_id in told:
            business["item_quantity"] = str(told.pop(item_id))
        if told:
            business["sku_quantities"] = compact([{"sku_id": ref, "quantity": told[ref]} for ref in told])
        self._top.call("send_stock", "tmall.item.quantity.update", reads=False, **business)


def _update_type(row: Outgoing) -> int:
    return int(row.body["options"]["type"])


def _whole_or_lines(body: Mapping[str, Any]) -> dict[str, str]:
    return {**body, "sub_tid": ",".join(body.get("sub_tid", ()))}


def _order(trade: Any) -> Document:
    """A trade as a document; one that cannot be read is kept too, and parked by its mapping."""
    known = trade if isinstance(trade, dict) else {}
    ref, version = str(known.get("tid") or "?"), str(known.get("modified") or "")
    return Document(kind="order", ref=ref, body=compact({"trade": trade}).encode(), version=version or None)


def _has_more(trade: Any) -> bool:
    """Whether the shopper wrote something, which only the trade read alone shows."""
    return isinstance(trade, dict) and "tid" in trade and str(trade.get("has_buyer_message")).lower() == "true"
