"""What Qimen's twin writes and reads: its messages and answers in XML, and what it insists on in a request."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Any
from xml.sax.saxutils import escape

from lxml import etree

from sandbox.twin import Answer

CHINA = timezone(timedelta(hours=8))
XML = "application/xml; charset=utf-8"
PARTY = ("name", "mobile", "province", "city", "detailAddress")
HEAD = {
    "deliveryOrder": (
        *("deliveryOrderCode", "orderType", "warehouseCode", "createTime", "placeOrderTime", "operateTime", "shopNick"),
        *("logisticsCode", *(f"{who}/{name}" for who in ("senderInfo", "receiverInfo") for name in PARTY)),
    ),
    "stockout": ("deliveryOrderCode", "orderType", "warehouseCode", "createTime"),
    "entryOrder": ("entryOrderCode", "ownerCode", "warehouseCode"),
}
LINE = {
    "deliveryOrder": ("ownerCode", "itemCode", "planQty", "actualPrice"),
    "stockout": ("ownerCode", "itemCode", "planQty"),
    "entryOrder": ("ownerCode", "itemCode", "planQty"),
}
CLOCK = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
TIMES = ("createTime", "placeOrderTime", "operateTime", "payTime", "orderCreateTime", "expectStartTime")

Cell = tuple[str, str, str, str]
"""warehouse, keeper, SKU, condition."""


class No(Exception):
    """The WMS understood and refuses; the text says why."""


@dataclass
class Line:
    """One line of a delivery or of announced goods, and what has become of it."""

    no: str
    sku: str
    keeper: str
    planned: int
    moved: int = 0


@dataclass
class Job:
    """A delivery or a receipt in the warehouse."""

    code: str
    number: str
    warehouse: str
    keeper: str
    lines: list[Line]
    carrier: str = ""
    waybill: str = ""
    status: str = "ACCEPT"
    times_created: int = 1
    said: int = 0
    confirmations: int = 0

    def cell(self, line: Line) -> Cell:
        """Where this line's good units lie."""
        return (self.warehouse, line.keeper, line.sku, "ZP")


def confirm_of(job: Job, units: list[int], final: bool, order_type: str = "JYCK") -> bytes:
    """deliveryorder.confirm, or stockout.confirm: increments, one package if anything left with a courier."""
    job.said += 1
    moved = [(line, n) for line, n in zip(job.lines, units, strict=True) if n or final]
    package = {
        "logisticsCode": job.carrier,
        "expressCode": job.waybill,
        "weight": f"{sum(units) * 0.25:.3f}",
        "items": {"item": [{"itemCode": line.sku, "quantity": n} for line, n in moved if n]},
    }
    return request_of(
        deliveryOrder={
            "deliveryOrderCode": job.code,
            "deliveryOrderId": job.number,
            "warehouseCode": job.warehouse,
            "orderType": order_type,
            "status": job.status,
            "outBizCode": f"{job.code}-{job.said}",
            "confirmType": 0 if final else 1,
            "orderConfirmTime": china_now(),
        },
        packages={"package": [package] if sum(units) and job.carrier else []},
        orderLines={"orderLine": [_confirmed(line, n) for line, n in moved]},
    )


def _confirmed(line: Line, units: int) -> dict[str, Any]:
    named = {"orderLineNo": line.no, "ownerCode": line.keeper, "itemCode": line.sku, "inventoryType": "ZP"}
    return {**named, "planQty": line.planned, "actualQty": units}


def receipt_of(job: Job) -> bytes:
    """entryorder.confirm: what came in, each line in one lot."""
    job.said += 1
    rows = [
        {**_confirmed(line, line.moved), "batchs": {"batch": {"batchCode": f"L{job.number}", "actualQty": line.moved}}}
        for line in job.lines
    ]
    return request_of(
        entryOrder={
            "entryOrderCode": job.code,
            "ownerCode": job.keeper,
            "warehouseCode": job.warehouse,
            "entryOrderId": job.number,
            "outBizCode": f"{job.code}-{job.said}",
            "confirmType": 0,
            "status": job.status,
            "operateTime": china_now(),
            "shopNick": "-",
            "shopCode": "-",
            "totalOrderLines": len(rows),
        },
        orderLines={"orderLine": rows},
    )


def return_of(code: str, number: str, cell: Cell, units: int, order: str = "", waybill: str = "") -> bytes:
    """returnorder.confirm: goods of one line came back. order: what the shop calls the order they belong to."""
    warehouse, keeper, sku, condition = cell
    line = {"orderLineNo": "1", "sourceOrderCode": order, "ownerCode": keeper, "itemCode": sku}
    return request_of(
        returnOrder={
            "returnOrderCode": code,
            "returnOrderId": number,
            "warehouseCode": warehouse,
            "outBizCode": f"{code}-1",
            "orderType": "THRK",
            "orderConfirmTime": china_now(),
            "logisticsCode": "SF",
            "expressCode": waybill,
            "confirmType": 0,
        },
        orderLines={"orderLine": [{**line, "inventoryType": condition, "planQty": units, "actualQty": units}]},
    )


def progress_of(job: Job) -> bytes:
    """orderprocess.report: where a delivery stands in the house."""
    return request_of(
        order={"orderCode": job.code, "orderId": job.number, "orderType": "JYCK", "warehouseCode": job.warehouse},
        process={"processStatus": job.status, "operatorName": "仓库", "operateTime": china_now()},
    )


def count_of(check: str, cell: Cell, units: int, page: tuple[int, int] = (1, 1)) -> bytes:
    """inventory.report: a signed difference. page: (this, of how many)."""
    warehouse, keeper, sku, condition = cell
    return request_of(
        totalPage=page[1],
        currentPage=page[0],
        pageSize=1,
        warehouseCode=warehouse,
        checkOrderCode=check,
        ownerCode=keeper,
        checkTime=china_now(),
        outBizCode=f"{check}-1",
        adjustType="CHECK",
        items={"item": [{"itemCode": sku, "inventoryType": condition, "quantity": units}]},
    )


def change_of(order: str, message: str, cell: Cell, units: int) -> bytes:
    """stockchange.report: one signed change."""
    warehouse, keeper, sku, condition = cell
    item = {
        "ownerCode": keeper,
        "warehouseCode": warehouse,
        "orderCode": order,
        "orderType": "QTRK",
        "outBizCode": message,
        "itemCode": sku,
        "inventoryType": condition,
        "quantity": units,
        "changeTime": china_now(),
    }
    return request_of(items={"item": [item]})


def request_of(**blocks: Any) -> bytes:
    """A request to the ERP: nested dicts are elements, lists repeat theirs."""
    return _document("request", blocks)


def answer_of(blocks: dict[str, Any]) -> Answer:
    """An answer to the ERP; HTTP 200 whatever it says."""
    return Answer(_document("response", blocks), content_type=XML)


def _document(root: str, blocks: dict[str, Any]) -> bytes:
    return f'<?xml version="1.0" encoding="utf-8"?>{_xml(root, blocks)}'.encode()


def _xml(name: str, value: Any) -> str:
    if isinstance(value, list):
        return "".join(_xml(name, one) for one in value)
    inside = "".join(_xml(k, v) for k, v in value.items()) if isinstance(value, dict) else escape(str(value))
    return f"<{name}>{inside}</{name}>"


def parse(body: bytes) -> Any:
    """The <request> element; raises No."""
    try:
        root = etree.fromstring(body, etree.XMLParser(resolve_entities=False, no_network=True))
    except etree.XMLSyntaxError:
        raise No("报文格式错误") from None
    if root.tag != "request":
        raise No("报文根节点应为request")
    return root


def check_filled(element: Any, names: Iterable[str]) -> None:
    """All these are there, and times are written as Qimen writes them; raises No."""
    missing = [name for name in names if element is None or not (element.findtext(name) or "").strip()]
    if missing:
        raise No(f"必填字段为空: {', '.join(missing)}")
    for name in TIMES:
        text = element.findtext(name)
        if text and not CLOCK.fullmatch(text):
            raise No(f"{name}时间格式错误")


def check_amounts(order: Any) -> None:
    """totalAmount = arAmount + gotAmount = itemAmount - discountAmount + freight; raises No."""
    if order is None or not order.findtext("totalAmount"):
        return
    names = ("totalAmount", "arAmount", "gotAmount", "itemAmount", "discountAmount", "freight")
    try:
        total, due, paid, items, discount, freight = (Decimal(order.findtext(name) or "0") for name in names)
    except InvalidOperation:
        raise No("金额格式错误") from None
    if not total == due + paid == items - discount + freight:
        raise No("金额不平")


def whole(text: str) -> int:
    """A count; raises No."""
    if not text.isascii() or not text.isdigit():
        raise No(f"数量{text}应为整数")
    return int(text)


def china_now() -> str:
    """Now, as Qimen writes times."""
    return datetime.now(UTC).astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S")
