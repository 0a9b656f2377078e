"""The Qimen wire as an ERP speaks it: signed XML to the warehouse, and signed XML heard from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from lxml import etree

from connectors.spi import Connection, Manifest, Outcome, Outgoing, Reply, Request
from connectors.wire.http import Http, lost
from connectors.wire.signing import same, top_sign
from connectors.wire.xml import child_text, read_xml, read_xml_answer, write_xml
from core.errors import NotAuthorised, Refused, Unfit, YipanError
from core.model import Document

PREFIX = "taobao.qimen."
CLOCK = "%Y-%m-%d %H:%M:%S"
XML = "application/xml; charset=utf-8"
ROOTS = ("response", "error_response")
SIGN_METHODS = ("md5", "hmac", "hmac-sha256")
PAGE_SIZE = 100
PAGES_MAX = 1000


@dataclass(frozen=True)
class Write:
    """One write: its method, and how the order it speaks of is looked up afterwards.

    ref: where the answer names their number ("" nowhere); code: where the row's body holds the order's code;
    query, asks, shows: the method that looks it up, the name it asks by, the block its answer shows the order in.
    """

    method: str
    ref: str
    code: str
    query: str
    asks: str
    shows: str


_DELIVERY = ("deliveryorder.query", "orderCode", "deliveryOrder")
_STOCKOUT = ("stockout.query", "orderCode", "deliveryOrder")
_RECEIPT = ("entryorder.query", "entryOrderCode", "entryOrder")
WRITES = {
    "send_delivery_order": Write(
        "deliveryorder.create", "deliveryOrderId", "deliveryOrder/deliveryOrderCode", *_DELIVERY
    ),
    "send_stockout": Write("stockout.create", "deliveryOrderId", "deliveryOrder/deliveryOrderCode", *_STOCKOUT),
    "send_asn": Write("entryorder.create", "entryOrderId", "entryOrder/entryOrderCode", *_RECEIPT),
    "send_cancellation": Write("order.cancel", "", "orderCode", *_DELIVERY),
}
CANCELLATIONS = {
    "DBCK": Write("order.cancel", "", "orderCode", *_STOCKOUT),
    "DBRK": Write("order.cancel", "", "orderCode", *_RECEIPT),
}
"""orderType → how the order of a cancellation is looked up, where that is no delivery order."""


class Qimen:
    """One account at one WMS, direct or through Qimen's gateway."""

    def __init__(self, connection: Connection, manifest: Manifest, http: Http, now: Callable[[], datetime]) -> None:
        self.connection = connection
        self.manifest = manifest
        self.http = http
        self.now = now
        self.zone = ZoneInfo(manifest.zone)

    def send_delivery_order(self, batch: Sequence[Outgoing], step: str = "") -> list[Outcome]:
        """deliveryorder.create: one order a call."""
        return [self._send("send_delivery_order", row) for row in batch]

    def send_asn(self, batch: Sequence[Outgoing], step: str = "") -> list[Outcome]:
        """entryorder.create: one ASN a call."""
        return [self._send("send_asn", row) for row in batch]

    def send_stockout(self, batch: Sequence[Outgoing], step: str = "") -> list[Outcome]:
        """stockout.create: one transfer a call."""
        return [self._send("send_stockout", row) for row in batch]

    def send_cancellation(self, batch: Sequence[Outgoing], step: str = "") -> list[Outcome]:
        """order.cancel: success means stopped, failure that it could not be stopped any more."""
        return [self._send("send_cancellation", row) for row in batch]

    def probe(self, ability: str, row: Outgoing, step: str = "") -> Outcome:
        """Looks the order up by our code. A cancellation has arrived when its order is CANCELED."""
        write = CANCELLATIONS.get(child_text(row.body, "orderType"), WRITES[ability])
        code = child_text(row.body, write.code)
        answer = self._ask("probe", write.query, _query(write.asks, code, row.body), reads=True)
        error = self._failure(answer)
        if error:
            return Outcome.absent() if self._says("absent_words", error) else Outcome.failed(error)
        found = answer.find(write.shows)
        if found is None or child_text(found, f"{write.shows}Code") != code:
            return Outcome.absent()
        if ability == "send_cancellation":
            return Outcome.done() if child_text(found, "status") == "CANCELED" else Outcome.absent()
        return Outcome.done(child_text(found, f"{write.shows}Id"))

    def fetch_stock(self, refs: Sequence[str]) -> list[Document]:
        """stock.query per keeper code and SKU: a document each, of all its pages, that names what was asked for."""
        owners = self._words("owner_codes") or [""]
        return [self._stock(owner, sku) for owner in owners for sku in refs]

    def read_callback(self, request: Request) -> list[Document]:
        """What the warehouse says, cut into documents. The signature covers the raw body, so it is checked first."""
        if len(request.body) > self.manifest.body_limit_bytes:
            raise Unfit(f"the body is larger than {self.manifest.body_limit_bytes} bytes")
        method = self._authentic(request).get("method", "").removeprefix(PREFIX)
        if method not in CALLBACKS:
            raise Refused(f"method {method!r} is not heard here")
        kind, cut = CALLBACKS[method]
        pieces = cut(read_xml(request.body), request.body)
        return [_document(kind, method, piece, request.received_at) for piece in pieces]

    def acknowledge(self, request: Request, error: YipanError | None) -> Reply:
        """Always HTTP 200; the flag decides (erp-wms-tms §1.5)."""
        if error is None:
            words = {"flag": "success", "code": "0", "message": "ok"}
        elif isinstance(error, NotAuthorised):
            sign = {"sub_code": "sign-check-failure", "sub_message": "Illegal request"}
            words = {"flag": "failure", "code": "sign-check-failure", "message": "Illegal request", **sign}
        else:
            words = {"flag": "failure", "code": type(error).__name__, "message": _printable(error.message)}
        return Reply(200, write_xml(_element("response", words)), XML)

    def _send(self, ability: str, row: Outgoing) -> Outcome:
        write = WRITES[ability]
        answer = self._ask(ability, write.method, row.body, reads=False)
        error = self._failure(answer)
        if error is None:
            return Outcome.done(child_text(answer, write.ref) if write.ref else "")
        if ability != "send_cancellation" and self._says("duplicate_words", error):
            return Outcome.done()
        return Outcome.failed(error)

    def _stock(self, owner: str, sku: str) -> Document:
        """The first page with the rows of all; what it announced is kept beside how many rows came."""
        began = self.now()
        first, *others = self._stock_pages(owner, sku)
        rows = [row for page in others for row in page.findall("items/item")]
        for row in rows:
            first.find("items").append(row)
        total = _total(first)
        received = len(first.findall("items/item"))
        first.attrib.update({"ownerCode": owner, "itemCode": sku, "received": str(received)})
        first.attrib.update({"announced": total} if total else {})
        return Document(kind="stock", ref=sku, body=write_xml(first), received_at=began)

    def _stock_pages(self, owner: str, sku: str) -> Iterator[Any]:
        seen = 0
        for page in range(1, PAGES_MAX + 1):
            asked = {"ownerCode": owner, "itemCode": sku, "page": str(page), "pageSize": str(PAGE_SIZE)}
            answer = self._ask("fetch_stock", "stock.query", _element("request", asked), reads=True)
            error = self._failure(answer)
            if error:
                raise error
            yield answer
            rows = len(answer.findall("items/item"))
            seen += rows
            if _is_last(answer, rows, seen):
                return

    def _ask(self, ability: str, method: str, request: Any, *, reads: bool) -> Any:
        body = write_xml(request)
        params = self._signed(method, body)
        response = self.http.call(ability, "POST", params=params, data=body, headers={"Content-Type": XML}, reads=reads)
        answer = read_xml_answer(response, reads=reads)
        if answer.tag not in ROOTS:
            raise lost(f"not an answer of Qimen's: {etree.tostring(answer, encoding='unicode')[:200]}", reads=reads)
        return answer

    def _signed(self, method: str, body: bytes) -> dict[str, str]:
        params = {
            "method": method if self._setting("method_names") == "bare" else PREFIX + method,
            "timestamp": self.now().astimezone(self.zone).strftime(CLOCK),
            "format": "xml",
            "app_key": self._setting("app_key"),
            "v": self._setting("version"),
            "sign_method": self._setting("sign_method"),
            self._setting("customer_key"): self._setting("customer_id"),
            "target_app_key": self._setting("target_app_key"),
        }
        params = {name: value for name, value in params.items() if value}
        return {**params, "sign": top_sign(self.connection.secrets["secret"], params, body)}

    def _failure(self, answer: Any) -> YipanError | None:
        """None for a success; the flag decides (erp-wms-tms §1.5)."""
        if child_text(answer, "flag").lower() == "success":
            return None
        code = child_text(answer, "sub_code") or child_text(answer, "code") or "failure"
        words = (child_text(answer, name) for name in ("message", "sub_message", "msg"))
        return self.manifest.decide(code, " ".join(filter(None, words)))

    def _authentic(self, request: Request) -> dict[str, str]:
        params = dict(request.query)
        if len(params) != len(request.query) or params.get("sign_method", "md5") not in SIGN_METHODS:
            raise NotAuthorised("the query names a parameter twice or an unknown sign_method")
        if not same(params.get("sign", ""), top_sign(self.connection.secrets["secret"], params, request.body)):
            raise NotAuthorised("the signature is missing or wrong")
        account = (params.get("app_key"), params.get("customerId") or params.get("customerid"))
        if account != (self._setting("app_key"), self._setting("customer_id")):
            raise NotAuthorised("app_key or customerId is another's")
        self._check_time(params.get("timestamp", ""), self.now().astimezone(self.zone))
        return params

    def _check_time(self, timestamp: str, now: datetime) -> None:
        """Timestamps of this form sort as text."""
        window = timedelta(seconds=int(self._setting("window_s")))
        if window and not (now - window).strftime(CLOCK) <= timestamp <= (now + window).strftime(CLOCK):
            raise NotAuthorised("the timestamp lies outside the time window")

    def _setting(self, name: str) -> Any:
        return self.connection.settings.get(name, self.manifest.settings[name].default)

    def _words(self, setting: str) -> list[str]:
        return [word.strip() for word in str(self._setting(setting)).replace("，", ",").split(",") if word.strip()]

    def _says(self, setting: str, error: YipanError) -> bool:
        return isinstance(error, Refused) and any(word in error.message for word in self._words(setting))


@dataclass(frozen=True)
class Piece:
    """One document cut from a callback: their number for it, the message id ("" if none) and its bytes."""

    ref: str
    message_id: str
    body: bytes


def _document(kind: str, method: str, piece: Piece, received_at: datetime) -> Document:
    if not 1 <= len(piece.ref) <= 200:
        raise Unfit("the code of the order it speaks of is missing or longer than 200 characters")
    event_id = f"{method}:{piece.message_id}" if piece.message_id else None
    return Document(kind=kind, ref=piece.ref, body=piece.body, event_id=event_id, received_at=received_at)


def _cut_order(block: str) -> Callable[[Any, bytes], list[Piece]]:
    """One document of one order; if it announces more lines than it carries, `more="true"` on its root says so."""

    def cut(root: Any, body: bytes) -> list[Piece]:
        announced = child_text(root, f"{block}/totalOrderLines")
        if announced.isdecimal() and int(announced) > len(root.findall("orderLines/orderLine")):
            root.set("more", "true")
            body = write_xml(root)
        return [Piece(child_text(root, f"{block}/{block}Code"), child_text(root, f"{block}/outBizCode"), body)]

    return cut


def _cut_progress(root: Any, body: bytes) -> list[Piece]:
    return [Piece(child_text(root, "order/orderCode"), "", body)]


def _cut_count(root: Any, body: bytes) -> list[Piece]:
    """Each page is a document of its own. Pages may share their message id: `message` on the root tells them apart."""
    check, message, page = (child_text(root, name) for name in ("checkOrderCode", "outBizCode", "currentPage"))
    if message and child_text(root, "totalPage") not in ("", "1"):
        message = f"{message}/{page}"
        root.set("message", message)
        body = write_xml(root)
    return [Piece(f"{check}/{page or 1}" if check else "", message, body)]


def _cut_stock_change(root: Any, body: bytes) -> list[Piece]:
    """Rows carry their own message ids: rows that share one are one document."""
    rows = root.findall("items/item")
    codes = list(dict.fromkeys(child_text(row, "outBizCode") for row in rows))
    if len(codes) < 2:
        return [Piece(child_text(root, "items/item/orderCode"), "".join(codes), body)]
    return [_only(root, code) for code in codes]


def _only(root: Any, code: str) -> Piece:
    root = deepcopy(root)
    for row in root.findall("items/item"):
        if child_text(row, "outBizCode") != code:
            row.getparent().remove(row)
    return Piece(child_text(root, "items/item/orderCode"), code, write_xml(root))


CALLBACKS: Mapping[str, tuple[str, Callable[[Any, bytes], list[Piece]]]] = {
    "deliveryorder.confirm": ("confirm", _cut_order("deliveryOrder")),
    "stockout.confirm": ("confirm", _cut_order("deliveryOrder")),
    "orderprocess.report": ("progress", _cut_progress),
    "entryorder.confirm": ("receipt", _cut_order("entryOrder")),
    "returnorder.confirm": ("return", _cut_order("returnOrder")),
    "inventory.report": ("count", _cut_count),
    "stockchange.report": ("stock_change", _cut_stock_change),
}
"""Method → the kind of its documents, and how they are cut."""


def _query(asks: str, code: str, body: Any) -> Any:
    owner, warehouse = child_text(body, ".//ownerCode"), child_text(body, ".//warehouseCode")
    asked = {"ownerCode": owner, "warehouseCode": warehouse, asks: code, "page": "1", "pageSize": "1"}
    return _element("request", asked)


def _element(tag: str, fields: Mapping[str, str]) -> Any:
    """A block of plain fields; empty ones are left out."""
    element = etree.Element(tag)
    for name, text in fields.items():
        if text:
            etree.SubElement(element, name).text = text
    return element


def _is_last(answer: Any, rows: int, seen: int) -> bool:
    """Metadata says totalCount, real WMSs totalLines (erp-wms-tms §1.8); without either a short page is the last."""
    total = _total(answer)
    return not rows or (seen >= int(total) if total else rows < PAGE_SIZE)


def _total(answer: Any) -> str:
    """How many rows there are in all, "" where they don't say."""
    total = child_text(answer, "totalCount") or child_text(answer, "totalLines")
    return total if total.isdecimal() else ""


def _printable(text: str) -> str:
    return "".join(char for char in text if char.isprintable())[:500]
