"""Qimen's twin: a WMS with several warehouses that receives, picks, ships, counts, and says so to its ERP."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlencode

from lxml import etree

from connectors.wire.signing import same, top_sign
from sandbox.twin import Answer, Call, Faults, Pusher
from sandbox.wms.qimen_papers import (
    CLOCK,
    HEAD,
    LINE,
    XML,
    Cell,
    Job,
    Line,
    No,
    answer_of,
    change_of,
    check_amounts,
    check_filled,
    china_now,
    confirm_of,
    count_of,
    parse,
    progress_of,
    receipt_of,
    return_of,
    whole,
)

SETTINGS: dict[str, Any] = {"app_key": "23456789", "customer_id": "stub-cust-code", "owner_codes": "YIPAN01,YIPAN02"}
SECRETS = {"secret": "a-secret-of-the-wms-twin"}
REFS = {"fetch_stock": ["TEA-100", "CUP-01"]}
ABILITIES = {
    "deliveryorder.create": "send_delivery_order",
    "stockout.create": "send_stockout",
    "entryorder.create": "send_asn",
    "order.cancel": "send_cancellation",
    "stock.query": "fetch_stock",
    "deliveryorder.query": "probe",
    "stockout.query": "probe",
    "entryorder.query": "probe",
}
SAYS = {
    "deliveryorder.confirm": "confirm",
    "stockout.confirm": "confirm",
    "orderprocess.report": "progress",
    "entryorder.confirm": "receipt",
    "returnorder.confirm": "return",
    "inventory.report": "count",
    "stockchange.report": "stock_change",
}
STEPS = ("PICK", "PACKAGE", "SHIP")
OPEN = ("ACCEPT", "PICK", "PACKAGE", "PARTDELIVERED")
PAGE_MAX = 100


@dataclass
class Setup:
    """How this WMS is run; every field can be changed through `setup`."""

    app_key: str = SETTINGS["app_key"]
    secret: str = SECRETS["secret"]
    customer_id: str = SETTINGS["customer_id"]
    callback_url: str = ""
    warehouses: list[str] = field(default_factory=lambda: ["WH01", "WH02"])
    skus: list[str] = field(default_factory=list)
    pick_s: float = 0.03
    receive_s: float = 0.03
    split_rate: float = 0.3
    short_receipts: int = 0
    seed: int = 7
    method_prefix: str = ""
    customer_key: str = "customerId"
    sign_method: str = "md5"


class Clockwork:
    """Runs jobs when they are due, one at a time, under the lock that guards the whole warehouse."""

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self._jobs: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        threading.Thread(target=self._run, daemon=True).start()

    def later(self, delay_s: float, job: Callable[[], None]) -> None:
        """Do this after a while."""
        with self.lock:
            self._count += 1
            self._jobs.append((time.monotonic() + delay_s, self._count, job))
            self.lock.notify()

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do."""
        return not self._jobs

    def _run(self) -> None:
        while True:
            with self.lock:
                self._next()()

    def _next(self) -> Callable[[], None]:
        while True:
            first = min(self._jobs, default=None)
            wait_s = first[0] - time.monotonic() if first else None
            if first and wait_s is not None and wait_s <= 0:
                self._jobs.remove(first)
                return first[2]
            self.lock.wait(wait_s)


class QimenTwin:
    """The warehouse and its books."""

    write_abilities = ("send_delivery_order", "send_stockout", "send_asn", "send_cancellation")

    def __init__(self, faults: Faults, **options: Any) -> None:
        self.setup = Setup(**options)
        self.stock: Counter[Cell] = Counter()
        self.deliveries: dict[str, Job] = {}
        self.stockouts: dict[str, Job] = {}
        self.receipts: dict[str, Job] = {}
        self.shorted = 0
        self._numbers = 0
        self._held: list[Callable[[], None]] | None = None
        self._to_lose: Counter[str] = Counter()
        self._work = Clockwork()
        self._lock = self._work.lock
        self._pusher = Pusher(faults, _heard)
        self._answers: dict[str, Callable[[Any], dict[str, Any]]] = {
            "deliveryorder.create": self._create_delivery,
            "stockout.create": self._create_stockout,
            "entryorder.create": self._create_receipt,
            "order.cancel": self._cancel,
            "stock.query": self._query_stock,
            "deliveryorder.query": self._query_delivery,
            "stockout.query": self._query_stockout,
            "entryorder.query": self._query_receipt,
        }
        self._controls: dict[str, Callable[[dict[str, Any]], Any]] = {
            "setup": self._set_up,
            "books": lambda body: self.books(),
            "adjust": self._adjust,
            "change": self._change,
            "return": self._take_back,
            "hold": lambda body: self.hold(),
            "go": lambda body: self.go(),
            "lie": self._lie,
            "lose": self._lose,
        }

    def ability(self, call: Call) -> str:
        """Our name for what is asked."""
        return ABILITIES.get(_bare(call.query.get("method", "")), "other")

    def throttled(self, call: Call) -> Answer:
        """No rate limit is published for Qimen; a busy front end says 429."""
        return Answer("too many requests", 429, "text/plain")

    def answer(self, call: Call) -> Answer:
        """Do what is asked, if it is well signed and complete."""
        if not self._is_signed(call):
            sign = {"sub_code": "sign-check-failure", "sub_message": "Illegal request"}
            return answer_of({"flag": "failure", "code": "25", "message": "签名校验失败", **sign})
        try:
            with self._lock:
                found = self._answers.get(_bare(call.query["method"]))
                if found is None:
                    raise No("不支持的方法")
                return answer_of({"flag": "success", "code": "0", "message": "ok", **found(parse(call.body))})
        except No as no:
            return answer_of({"flag": "failure", "code": "S1001", "message": str(no)})

    def control(self, action: str, body: Any) -> Any:
        """What demo and tests ask of the twin."""
        with self._lock:
            return self._controls[action](body or {})

    def hold(self) -> dict[str, Any]:
        """Nothing is picked or received until `go`."""
        with self._lock:
            self._held = [] if self._held is None else self._held
            return {}

    def go(self) -> dict[str, Any]:
        """Pick and receive again."""
        with self._lock:
            waiting, self._held = self._held or [], None
            for job in waiting:
                self._work.later(0, job)
            return {}

    def books(self) -> dict[str, Any]:
        """Everything an auditor needs."""
        waybills = Counter(job.waybill for job in self.deliveries.values() if job.waybill)
        return {
            "stock": {"|".join(cell): units for cell, units in sorted(self.stock.items())},
            "deliveries": {code: _shown(job, "shipped") for code, job in self.deliveries.items()},
            "stockouts": {code: _shown(job, "shipped") for code, job in self.stockouts.items()},
            "receipts": {code: _shown(job, "received") for code, job in self.receipts.items()},
            "idle": self._work.idle and not self._held and self._pusher.idle,
            "waybills_doubled": sum(times > 1 for times in waybills.values()),
            "shorted": self.shorted,
        }

    def signed_push(self, method: str, body: bytes) -> dict[str, str]:
        """The query parameters of one callback."""
        params = {
            "method": self.setup.method_prefix + method,
            "timestamp": china_now(),
            "format": "xml",
            "app_key": self.setup.app_key,
            "v": "2.0",
            "sign_method": self.setup.sign_method,
            self.setup.customer_key: self.setup.customer_id,
        }
        return {**params, "sign": top_sign(self.setup.secret, params, body)}

    def _is_signed(self, call: Call) -> bool:
        params, setup = call.query, self.setup
        customer = params.get("customerId") or params.get("customerid")
        known = params.get("app_key") == setup.app_key and customer == setup.customer_id
        whole = params.get("format") == "xml" and bool(CLOCK.fullmatch(params.get("timestamp", "")))
        return known and whole and same(params.get("sign", ""), top_sign(setup.secret, params, call.body))

    def _set_up(self, body: dict[str, Any]) -> dict[str, Any]:
        for key, units in body.pop("stock", {}).items():
            self.stock[_cell(key.split("|"))] = units
        for name, value in body.items():
            if name not in Setup.__dataclass_fields__:
                raise ValueError(f"setup has no field {name!r}")
            setattr(self.setup, name, value)
        return {}

    def _create_delivery(self, root: Any) -> dict[str, Any]:
        check_amounts(root.find("deliveryOrder"))
        job = self._new_job(root, "deliveryOrder", self.deliveries, "CK")
        job.carrier = root.findtext("deliveryOrder/logisticsCode")
        job.waybill = root.findtext("deliveryOrder/expressCode") or ""
        if not self._lost("send_delivery_order"):
            self.deliveries[job.code] = job
            self._report(job)
            self._advance_later(job, STEPS)
        return {"createTime": china_now(), "deliveryOrderId": job.number}

    def _create_stockout(self, root: Any) -> dict[str, Any]:
        job = self._new_job(root, "deliveryOrder", self.stockouts, "DB", "stockout")
        if not self._lost("send_stockout"):
            self.stockouts[job.code] = job
            self._work.later(self.setup.pick_s, partial(self._unless_held, partial(self._send_away, job)))
        return {"createTime": china_now(), "deliveryOrderId": job.number}

    def _create_receipt(self, root: Any) -> dict[str, Any]:
        job = self._new_job(root, "entryOrder", self.receipts, "RK")
        if not self._lost("send_asn"):
            self.receipts[job.code] = job
            self._work.later(self.setup.receive_s, partial(self._unless_held, partial(self._receive, job)))
        return {"entryOrderId": job.number}

    def _new_job(self, root: Any, block: str, known: dict[str, Job], letters: str, form: str = "") -> Job:
        head, rows = root.find(block), root.findall("orderLines/orderLine")
        check_filled(head, HEAD[form or block])
        if not rows:
            raise No("单据明细不能为空")
        for row in rows:
            check_filled(row, LINE[form or block])
        code, warehouse = head.findtext(f"{block}Code"), head.findtext("warehouseCode")
        if warehouse not in self.setup.warehouses:
            raise No(f"仓库编码{warehouse}不存在")
        if code in known:
            known[code].times_created += 1
            raise No(f"单据{code}已存在")
        lines = [self._line(n, row) for n, row in enumerate(rows, 1)]
        keeper = head.findtext("ownerCode") or lines[0].keeper
        return Job(code, self._number(letters), warehouse, keeper, lines)

    def _line(self, n: int, row: Any) -> Line:
        sku = row.findtext("itemCode")
        if self.setup.skus and sku not in self.setup.skus:
            raise No(f"商品{sku}不存在")
        planned = whole(row.findtext("planQty"))
        return Line(row.findtext("orderLineNo") or str(n), sku, row.findtext("ownerCode"), planned)

    def _cancel(self, root: Any) -> dict[str, Any]:
        check_filled(root, ("warehouseCode", "orderCode"))
        code = root.findtext("orderCode")
        job = self._known(code, root.findtext("orderType"))
        if job is None or job.warehouse != root.findtext("warehouseCode"):
            raise No(f"单据{code}不存在")
        if job.status not in ("ACCEPT", "PICK", "CANCELED"):
            raise No("单据已打包出库,无法取消")
        if not self._lost("send_cancellation"):
            job.status = "CANCELED"
        return {}

    def _known(self, code: str, order_type: str | None) -> Job | None:
        """A transfer leaves one warehouse and comes to another under one code: its type says which is meant."""
        books = {"DBCK": [self.stockouts], "DBRK": [self.receipts]}.get(
            order_type or "", [self.deliveries, self.receipts]
        )
        return next((jobs[code] for jobs in books if code in jobs), None)

    def _query_stock(self, root: Any) -> dict[str, Any]:
        check_filled(root, ("itemCode", "page", "pageSize"))
        page, size = whole(root.findtext("page")), whole(root.findtext("pageSize"))
        if page < 1 or not 1 <= size <= PAGE_MAX:
            raise No(f"page从1开始,pageSize不超过{PAGE_MAX}")
        asked = [root.findtext(name) or "" for name in ("warehouseCode", "ownerCode", "itemCode", "inventoryType")]
        rows: Counter[Cell] = Counter()
        for cell, units in self.stock.items():
            if all(want in ("", have) for want, have in zip(asked, cell, strict=True)):
                rows[(cell[0], "", cell[2], cell[3])] += units
        locked = self._locked(asked[1])
        items = [_stock_row(cell, units, min(units, locked[cell])) for cell, units in sorted(rows.items())]
        return {"totalLines": len(items), "items": {"item": items[(page - 1) * size : page * size]}}

    def _locked(self, keeper: str) -> Counter[Cell]:
        """Units that open deliveries wait for."""
        locked: Counter[Cell] = Counter()
        for job in (*self.deliveries.values(), *self.stockouts.values()):
            for line in job.lines if job.status in OPEN else ():
                if keeper in ("", line.keeper):
                    locked[(job.warehouse, "", line.sku, "ZP")] += line.planned - line.moved
        return locked

    def _query_delivery(self, root: Any) -> dict[str, Any]:
        check_filled(root, ("orderCode", "page", "pageSize"))
        return self._found(self.deliveries, root.findtext("orderCode"), "deliveryOrder")

    def _query_stockout(self, root: Any) -> dict[str, Any]:
        check_filled(root, ("orderCode", "page", "pageSize"))
        return self._found(self.stockouts, root.findtext("orderCode"), "deliveryOrder")

    def _query_receipt(self, root: Any) -> dict[str, Any]:
        check_filled(root, ("entryOrderCode", "page", "pageSize"))
        return self._found(self.receipts, root.findtext("entryOrderCode"), "entryOrder")

    def _found(self, known: dict[str, Job], code: str, block: str) -> dict[str, Any]:
        if code not in known:
            raise No(f"单据{code}不存在")
        job = known[code]
        status = "ACCEPT" if job.status in STEPS else job.status
        head = {f"{block}Code": code, f"{block}Id": job.number, "warehouseCode": job.warehouse, "status": status}
        return {"totalLines": len(job.lines), block: head}

    def _advance_later(self, job: Job, steps: tuple[str, ...]) -> None:
        advance = partial(self._advance, job, steps)
        self._work.later(self.setup.pick_s / len(STEPS), partial(self._unless_held, advance))

    def _unless_held(self, job: Callable[[], None]) -> None:
        if self._held is None:
            job()
        else:
            self._held.append(job)

    def _advance(self, job: Job, steps: tuple[str, ...]) -> None:
        if job.status == "CANCELED":
            return
        if steps[0] == "SHIP":
            self._ship(job)
            return
        job.status = steps[0]
        self._report(job)
        self._advance_later(job, steps[1:])

    def _ship(self, job: Job) -> None:
        """What there is leaves; sometimes half of it first. The last confirmation says 0 for what is lacking."""
        units = self._at_hand(job)
        dice = random.Random(f"{self.setup.seed}:{job.code}")
        final = job.status == "PARTDELIVERED" or sum(units) < 2 or dice.random() >= self.setup.split_rate
        if not final:
            units = _first_of(units, sum(units) // 2)
        for line, moved in zip(job.lines, units, strict=True):
            self.stock[job.cell(line)] -= moved
            line.moved += moved
        job.status = _ended(job) if final else "PARTDELIVERED"
        job.waybill = job.waybill or f"{job.carrier}{job.number}"
        job.confirmations += 1
        self._say("deliveryorder.confirm", confirm_of(job, units, final))
        if final:
            self.shorted += sum(line.planned - line.moved for line in job.lines)
        else:
            self._advance_later(job, ("SHIP",))

    def _at_hand(self, job: Job) -> list[int]:
        """Units of each line that can leave now."""
        left = Counter({job.cell(line): self.stock[job.cell(line)] for line in job.lines})
        units = []
        for line in job.lines:
            units.append(max(0, min(line.planned - line.moved, left[job.cell(line)])))
            left[job.cell(line)] -= units[-1]
        return units

    def _send_away(self, job: Job) -> None:
        """What there is leaves for another warehouse, in one go."""
        if job.status == "CANCELED":
            return
        units = self._at_hand(job)
        for line, moved in zip(job.lines, units, strict=True):
            self.stock[job.cell(line)] -= moved
            line.moved += moved
        job.status = _ended(job)
        self._say("stockout.confirm", confirm_of(job, units, True, "DBCK"))

    def _receive(self, job: Job) -> None:
        if job.status == "CANCELED":
            return
        for n, line in enumerate(job.lines):
            line.moved = max(0, line.planned - (0 if n else self.setup.short_receipts))
            self.stock[job.cell(line)] += line.moved
        job.status = "FULFILLED"
        self._say("entryorder.confirm", receipt_of(job))

    def _adjust(self, body: dict[str, Any]) -> dict[str, Any]:
        """A count found another number: the difference is told."""
        cell, units = _cell_of(body), self._book(body)
        check = self._number("PD")
        self._say("inventory.report", count_of(check, cell, units))
        return {"quantity": units, "check": check}

    def _change(self, body: dict[str, Any]) -> dict[str, Any]:
        """Stock changed for a reason of the warehouse; one that names a known order only tells it once more."""
        order = body.get("order_code") or self._number("YD")
        known = any(order in told for told in (self.deliveries, self.stockouts, self.receipts))
        units = body["quantity"] if known else self._book(body)
        self._say("stockchange.report", change_of(order, self._number("M"), _cell_of(body), units))
        return {"quantity": units, "order_code": order}

    def _take_back(self, body: dict[str, Any]) -> dict[str, Any]:
        """A parcel came back: its goods were graded and put away."""
        cell, units = _cell_of(body), int(body["quantity"])
        self.stock[cell] += units
        code = body.get("code") or self._number("TH")
        named = (body.get("order", ""), body.get("waybill", ""))
        self._say("returnorder.confirm", return_of(code, self._number("RT"), cell, units, *named))
        return {"quantity": units, "code": code}

    def _book(self, body: dict[str, Any]) -> int:
        cell = _cell_of(body)
        units = max(int(body["quantity"]), -self.stock[cell])
        self.stock[cell] += units
        return units

    def _lie(self, body: dict[str, Any]) -> dict[str, Any]:
        """From now on one cell holds another number than anybody was told."""
        cell = _cell_of(body) if "sku" in body else min(self.stock)
        self.stock[cell] += int(body.get("by", 1))
        return {"cell": "|".join(cell)}

    def _lose(self, body: dict[str, Any]) -> dict[str, Any]:
        self._to_lose[body.get("ability", "send_delivery_order")] += 1
        return {}

    def _lost(self, ability: str) -> bool:
        lost = self._to_lose[ability] > 0
        self._to_lose[ability] -= lost
        return lost

    def _number(self, letters: str) -> str:
        self._numbers += 1
        return f"{letters}{self._numbers:06}"

    def _report(self, job: Job) -> None:
        self._say("orderprocess.report", progress_of(job))

    def _say(self, method: str, body: bytes) -> None:
        if self.setup.callback_url:
            url = f"{self.setup.callback_url}?{urlencode(self.signed_push(method, body))}"
            self._pusher.say(SAYS[method], url, body, {"Content-Type": XML})


def make(faults: Faults, **options: Any) -> QimenTwin:
    """A WMS as a test or the demo needs it; options are the fields of Setup."""
    return QimenTwin(faults, **options)


def prepare(twin: QimenTwin, ability: str) -> None:
    """Stock on hand, the picking held, and deliveries that can be cancelled."""
    twin.hold()
    for keeper in ("YIPAN01", "YIPAN02"):
        for sku in REFS["fetch_stock"]:
            twin.stock[("WH01", keeper, sku, "ZP")] += 20
    if ability == "send_cancellation":
        for code in ("FF20261101-9", "FF20261111-77"):
            twin.deliveries[code] = Job(code, "CK000900", "WH01", "YIPAN01", [Line("1", "TEA-100", "YIPAN01", 2)], "SF")


def effects(twin: QimenTwin, ability: str) -> int:
    """How often the ability has taken effect."""
    match ability:
        case "send_delivery_order":
            return len(twin.deliveries)
        case "send_stockout":
            return len(twin.stockouts)
        case "send_asn":
            return len(twin.receipts)
        case _:
            return sum(job.status == "CANCELED" for job in twin.deliveries.values())


def callbacks(twin: QimenTwin) -> list[dict[str, Any]]:
    """One signed sample of everything this WMS says."""
    lines = [Line("1", "TEA-100", "YIPAN01", 2, 2), Line("2", "CUP-01", "YIPAN01", 1, 1)]
    sent = Job("FF20261101-1", "CK000001", "WH01", "YIPAN01", lines, "SF", "SF1390000000001", "DELIVERED")
    away = Job("T20261101", "DB000001", "WH01", "YIPAN01", lines, status="DELIVERED")
    come = Job("ASN20261101-1", "RK000001", "WH01", "YIPAN01", lines, status="FULFILLED")
    cell = ("WH01", "YIPAN01", "TEA-100", "ZP")
    samples = [
        ("deliveryorder.confirm", confirm_of(sent, [2, 1], True)),
        ("stockout.confirm", confirm_of(away, [2, 1], True, "DBCK")),
        ("orderprocess.report", progress_of(Job("FF20261101-1", "CK000001", "WH01", "YIPAN01", lines, status="PICK"))),
        ("entryorder.confirm", receipt_of(come)),
        ("inventory.report", count_of("PD000001", cell, -1)),
        ("inventory.report", count_of("PD000002", cell, 2, page=(2, 3))),
        ("returnorder.confirm", return_of("TH000001", "RT000001", cell, 1, "T20261101-1")),
        ("stockchange.report", change_of("YD000001", "M000001", cell, 3)),
    ]
    return [_sample(twin, method, body) for method, body in samples]


def _sample(twin: QimenTwin, method: str, body: bytes) -> dict[str, Any]:
    query = list(twin.signed_push(method, body).items())
    return {"query": query, "headers": {"content-type": XML}, "body": body, "kind": SAYS[method]}


def _stock_row(cell: Cell, units: int, locked: int) -> dict[str, Any]:
    warehouse, _, sku, condition = cell
    named = {"warehouseCode": warehouse, "itemCode": sku, "inventoryType": condition}
    return {**named, "quantity": units - locked, "lockQuantity": locked}


def _shown(job: Job, moved: str) -> dict[str, Any]:
    lines = [{"line": line.no, "sku": line.sku, "planned": line.planned, moved: line.moved} for line in job.lines]
    head = {"status": job.status, "warehouse": job.warehouse, "waybill": job.waybill}
    return {**head, "lines": lines, "times_created": job.times_created, "confirmations": job.confirmations}


def _first_of(units: list[int], some: int) -> list[int]:
    """The first `some` of these units."""
    first = []
    for count in units:
        first.append(min(count, some))
        some -= first[-1]
    return first


def _ended(job: Job) -> str:
    return "DELIVERED" if any(line.moved for line in job.lines) else "CLOSED"


def _cell_of(body: dict[str, Any]) -> Cell:
    return (body["warehouse"], body["keeper"], body["sku"], body.get("condition", "ZP"))


def _cell(parts: list[str]) -> Cell:
    warehouse, keeper, sku, condition = parts
    return (warehouse, keeper, sku, condition)


def _bare(method: str) -> str:
    return method.removeprefix("taobao.qimen.")


def _heard(status: int, body: bytes) -> bool:
    """Whether the ERP's words say it has it."""
    try:
        return status == 200 and etree.fromstring(body).findtext("flag") == "success"
    except etree.XMLSyntaxError:
        return False
