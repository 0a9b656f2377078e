"""Speaks TOP, the gateway of Taobao and Tmall: signed forms out, doubly nested JSON back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from itertools import groupby
from typing import Any

from connectors.spi import Connection, Manifest, Outcome, Outgoing, Page
from connectors.wire.http import Http, lost, read_json
from connectors.wire.signing import top_sign
from core.errors import Refused, Unavailable, YipanError
from core.model import Document

BEIJING = timezone(timedelta(hours=8))
CLOCK = "%Y-%m-%d %H:%M:%S"
FORM = {"Content-Type": "application/x-www-form-urlencoded;charset=utf-8"}
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
        self._settings, self._secrets = connection.settings, connection.secrets
        self._manifest, self._http, self._now = manifest, http, now
        self._fetch = manifest.can["fetch_orders"]

    def fetch_orders(self, cursor: Mapping[str, Any]) -> Page:
        """Trades modified in a window, from its last page to its first: what drops out then shifts nothing past us."""
        window = dict(cursor) if "page" in cursor else self._open_window(cursor)
        page = window["page"]
        trades = self._read_page(window) if page else []
        documents = [_order(trade) for trade in trades if not _has_more(trade)]
        refs = [str(trade["tid"]) for trade in trades if _has_more(trade)]
        if page > 1:
            return Page(documents, refs, {**window, "page": page - 1}, more=True)
        return Page(documents, refs, {"since": window["until"]}, more=window["until"] < _text(self._horizon()))

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
        return [self._consign(row) for row in batch]

    def probe(self, ability: str, row: Outgoing, step: str = "") -> Outcome:
        """Whether the trade's lines carry our waybill: all still waiting means it never arrived."""
        trade = self._read_trade(f"probe_{ability}", row.ref)
        wanted = set(row.body.get("sub_tid", ()))
        lines = [line for line in _many(trade.get("orders"), "order") if not wanted or str(line.get("oid")) in wanted]
        if any(line.get("invoice_no") == row.body["out_sid"] for line in lines):
            return Outcome.done(row.body["out_sid"])
        states = sorted({str(line.get("status")) for line in lines} - {"TRADE_CLOSED", "TRADE_CLOSED_BY_TAOBAO"})
        if states == ["WAIT_SELLER_SEND_GOODS"]:
            return Outcome.absent()
        return Outcome.failed(Refused(f"trade {row.ref} is {', '.join(states) or 'closed'}, without our waybill"))

    def _horizon(self) -> datetime:
        return self._now().astimezone(BEIJING) - timedelta(seconds=self._fetch.behind_s)

    def _open_window(self, cursor: Mapping[str, Any]) -> dict[str, Any]:
        """The next window and the number of its last page, for which the count has to be asked first."""
        horizon, length = self._horizon(), timedelta(seconds=self._fetch.window_s)
        overlap = timedelta(seconds=self._fetch.overlap_s)
        first = horizon - max(length - overlap, timedelta(days=int(self._settings.get("first_days", 1))))
        since = cursor.get("since") or _text(first)
        start = _moment(since) - overlap
        window = {"since": _text(start), "until": max(since, _text(min(start + length, horizon)))}
        pages = -(-self._count(window) // self._page_size)
        return {**window, "page": pages}

    @property
    def _page_size(self) -> int:
        return int(self._settings.get("page_size", 50))

    def _count(self, window: Mapping[str, Any]) -> int:
        answer = self._increment(window, fields="tid", page_no="1", page_size="1", use_has_next="false")
        total = answer.get("total_results")
        if not isinstance(total, int):
            raise lost("the answer has no total_results", reads=True)
        return total

    def _read_page(self, window: Mapping[str, Any]) -> list[Any]:
        page = {"page_no": str(window["page"]), "page_size": str(self._page_size), "use_has_next": "true"}
        return _many(self._increment(window, fields=TRADE_FIELDS, **page).get("trades"), "trade")

    def _increment(self, window: Mapping[str, Any], **business: str) -> dict[str, Any]:
        business |= {"start_modified": window["since"], "end_modified": window["until"]}
        business["type"] = str(self._settings.get("types", ""))
        return self._call("fetch_orders", "taobao.trades.sold.increment.get", reads=True, **business)

    def _read_trade(self, ability: str, tid: str) -> dict[str, Any]:
        method = "taobao.trade.fullinfo.get"
        fields = f"{TRADE_FIELDS},buyer_message"
        answer = self._call(ability, method, reads=True, fields=fields, tid=tid, include_oaid="true")
        return _inside(answer, "trade", reads=True)

    def _read_item(self, num_iid: str) -> Document:
        answer = self._call("fetch_stock", "taobao.item.seller.get", reads=True, fields=ITEM_FIELDS, num_iid=num_iid)
        item = _inside(answer, "item", reads=True)
        return Document(kind="stock", ref=num_iid, body=_bytes({"item": item}))

    def _update_quantities(self, rows: list[Any]) -> None:
        """One call for rows of one product. A row whose SKU is the product itself is a product without SKUs."""
        item_id, options = rows[0]["item_id"], rows[0]["options"]
        business = {"item_id": item_id, "options": _json(options)}
        told = {row["sku_id"]: row["quantity"] for row in rows}
        if item_id in told:
            business["item_quantity"] = str(told.pop(item_id))
        if told:
            business["sku_quantities"] = _json([{"sku_id": ref, "quantity": told[ref]} for ref in told])
        self._call("send_stock", "tmall.item.quantity.update", reads=False, **business)

    def _consign(self, row: Outgoing) -> Outcome:
        business = {**row.body, "sub_tid": ",".join(row.body.get("sub_tid", ()))}
        answer = self._call("send_shipment", "taobao.logistics.offline.send", reads=False, **business)
        if str(_inside(answer, "shipping", reads=False).get("is_success")).lower() != "true":
            return Outcome.failed(Refused(f"trade {row.ref} was not consigned: the answer says is_success false"))
        return Outcome.done(row.body["out_sid"])

    def _call(self, ability: str, method: str, *, reads: bool, **business: str) -> dict[str, Any]:
        form = self._signed(method, business)
        answer = read_json(self._http.call(ability, "POST", reads=reads, data=form, headers=FORM), reads=reads)
        if isinstance(answer, dict) and "error_response" in answer:
            raise self._error(_inside(answer, "error_response", reads=reads), reads)
        return _inside(answer, method.removeprefix("taobao.").replace(".", "_") + "_response", reads=reads)

    def _signed(self, method: str, business: Mapping[str, str]) -> dict[str, str]:
        """System and business parameters with their signature; empty ones are neither signed nor sent."""
        form = {
            "method": method,
            "app_key": str(self._settings["app_key"]),
            "session": self._secrets["session"],
            "timestamp": _text(self._now()),
            "v": "2.0",
            "format": "json",
            "sign_method": str(self._settings.get("sign_method", "hmac-sha256")),
            **{name: value for name, value in business.items() if value},
        }
        return {**form, "sign": top_sign(self._secrets["app_secret"], form)}

    def _error(self, error: Mapping[str, Any], reads: bool) -> YipanError:
        code = f"{error.get('code', '')}/{error.get('sub_code') or ''}"
        decided = self._manifest.decide(code, str(error.get("sub_msg") or error.get("msg") or ""))
        return lost(decided.message, reads=reads) if isinstance(decided, Unavailable) else decided


def _update_type(row: Outgoing) -> int:
    return int(row.body["options"]["type"])


def _order(trade: Any) -> Document:
    """A trade as a document; one that cannot be read is kept too, and parked by its mapping."""
    known = trade if isinstance(trade, dict) else {}
    ref, version = str(known.get("tid") or "?"), str(known.get("modified") or "")
    return Document(kind="order", ref=ref, body=_bytes({"trade": trade}), version=version or None)


def _has_more(trade: Any) -> bool:
    """Whether the shopper wrote something, which only the trade read alone shows."""
    return isinstance(trade, dict) and "tid" in trade and str(trade.get("has_buyer_message")).lower() == "true"


def _inside(answer: Any, name: str, *, reads: bool) -> dict[str, Any]:
    """The object of that name; an answer without it is one that cannot be read."""
    found = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(found, dict):
        raise lost(f"the answer has no {name}", reads=reads)
    return found


def _many(outer: Any, name: str) -> list[Any]:
    """The rows of a doubly nested list; a single row may come as itself (1.1)."""
    rows = outer.get(name, []) if isinstance(outer, dict) else []
    return rows if isinstance(rows, list) else [rows]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def _bytes(value: Any) -> bytes:
    return _json(value).encode()


def _text(moment: datetime) -> str:
    return moment.astimezone(BEIJING).strftime(CLOCK)


def _moment(text: str) -> datetime:
    return datetime.strptime(text, CLOCK).replace(tzinfo=BEIJING)
