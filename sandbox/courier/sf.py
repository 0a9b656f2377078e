"""The twin of SF's 丰桥 gateway: orders get waybills, parcels handed over move, routes are asked for and pushed.

From couriers-and-service §1. A repeated orderId is refused with 8016; nothing is remembered of a refused call.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import Any

from connectors.wire.signing import same, sf_digest
from sandbox.courier.sf_roads import JOURNEYS, Parcel, Roads, heard, pushed
from sandbox.twin import Answer, Call, Faults, Pusher

ABILITIES = {
    "EXP_RECE_CREATE_ORDER": "send_booking",
    "EXP_RECE_SEARCH_ORDER_RESP": "probe",
    "EXP_RECE_SEARCH_ROUTES": "fetch_tracking",
}
FIELDS = ("partnerID", "requestID", "serviceCode", "timestamp", "msgData", "msgDigest")
SETTINGS: dict[str, Any] = {
    "partnerID": "YIPAN",
    "monthlyCard": "7551234567",
    "payMethod": 1,
    "expressTypeId": 1,
    "checkPhoneNo": "0000",
}
SECRETS: dict[str, str] = {"checkword": "twincheckword0123456789abcdefghi"}
REFS = {"fetch_tracking": ["SF1000000000001"]}
DELIVERABLE, BY_HAND, NOT_SERVED = 2, 1, 3
PIECES_MAX, NUMBERS_MAX = 307, 10


class Said(Exception):
    """The gateway or the business says no."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code, self.words = code, words


@dataclass
class Booked:
    """One order. mothers: its waybills, more than one only in a lie; children: of the other pieces."""

    orderid: str
    filter: int
    here: str
    there: str
    pieces: int
    mothers: list[str] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    times_created: int = 1

    def booked(self) -> dict[str, Any]:
        """As the books show it."""
        return {"waybill": (self.mothers or [""])[0], "times_created": self.times_created}


class Sf:
    """One SF account behind the gateway."""

    write_abilities = ("send_booking",)

    def __init__(self, faults: Faults) -> None:
        self._lock = threading.RLock()
        self.pusher = Pusher(faults, heard)
        self.roads = Roads(faults, self._lock, self.pusher)
        self.orders: dict[str, Booked] = {}
        self._partner, self._checkword = SETTINGS["partnerID"], SECRETS["checkword"]
        self._monthly_cards = {SETTINGS["monthlyCard"]}
        self._filters: dict[str, int] = {}
        self._number = 0
        self._to_lose = 0

    def ability(self, call: Call) -> str:
        """Our name for the service that is called."""
        return ABILITIES.get(call.form.get("serviceCode", ""), "unknown")

    def throttled(self, call: Call) -> Answer:
        """Too fast is a gateway code, not a status."""
        return _gateway("A1005", "接口访问频率超限")

    def answer(self, call: Call) -> Answer:
        """Check the envelope, then do it."""
        try:
            form = self._checked(call)
        except Said as said:
            return _gateway(said.code, said.words)
        try:
            with self._lock:
                data = getattr(self, f"_{self.ability(call)}")(_message(form["msgData"]))
        except Said as said:
            return _business(False, said.code, said.words, None)
        return _business(True, "S0000", "", data)

    def control(self, action: str, body: Any) -> Any:
        """`setup`, `hand_over`, `settle`, `books`, `lie`, `lose`."""
        with self._lock:
            return getattr(self, f"_on_{action}")(body or {})

    def _checked(self, call: Call) -> dict[str, str]:
        form = call.form
        missing = [name for name in FIELDS if not form.get(name)]
        if call.method != "POST" or missing or len(form["requestID"]) > 40 or not form["timestamp"].isdigit():
            raise Said("A1001", f"必传参数不可为空或不合法: {', '.join(missing)}")
        if form["partnerID"] != self._partner or form["serviceCode"] not in ABILITIES:
            raise Said("A1004", "无对应服务权限")
        if not same(form["msgDigest"], sf_digest(form["msgData"], form["timestamp"], self._checkword)):
            raise Said("A1006", "数字签名无效")
        if not isinstance(_parsed(form["msgData"]), dict):
            raise Said("A1001", "msgData 不是 JSON")
        return form

    def _send_booking(self, message: dict[str, Any]) -> dict[str, Any]:
        here, there = _people(message)
        self._check_terms(message)
        orderid = message["orderId"]
        if orderid in self.orders:
            raise Said("8016", "重复下单")
        order = Booked(orderid, self._filter(there), here["city"], there["city"], message.get("parcelQty", 1))
        kept = not self._lost()
        if order.filter == DELIVERABLE:
            self._number_pieces(order, kept)
        if kept:
            self.orders[orderid] = order
        return _told(order)

    def _probe(self, message: dict[str, Any]) -> dict[str, Any]:
        order = self.orders.get(message.get("orderId", ""))
        if order is None:
            raise Said("8018", "未获取到订单信息")
        return _told(order)

    def _fetch_tracking(self, message: dict[str, Any]) -> dict[str, Any]:
        numbers = message.get("trackingNumber") or []
        if not numbers:
            raise Said("8013", "未传入查询单号")
        if len(numbers) > NUMBERS_MAX:
            raise Said("8003", "查询单号不能大于10个")
        return {"routeResps": [{"mailNo": number, "routes": self._routes(number)} for number in numbers]}

    def _routes(self, number: str) -> list[dict[str, str]]:
        """What the query shows of each route: no id, no numbers of its own (§1.3)."""
        parcel = self.roads.parcels.get(number)
        names = ("acceptTime", "acceptAddress", "remark", "opCode")
        return [{name: route[name] for name in names} for route in parcel.routes] if parcel else []

    def _check_terms(self, message: dict[str, Any]) -> None:
        if message.get("payMethod", 1) not in (1, 2, 3):
            raise Said("8256", "付款方式不正确")
        if message.get("monthlyCard") and message["monthlyCard"] not in self._monthly_cards:
            raise Said("8114", "传入了不可发货的月结卡号")
        if message.get("expressTypeId", 1) not in (1, 2, 6):
            raise Said("8057", "不支持的快件产品")

    def _filter(self, there: dict[str, Any]) -> int:
        return self._filters.get(there.get("city", ""), DELIVERABLE)

    def _number_pieces(self, order: Booked, kept: bool = True) -> None:
        order.mothers.append(self._new_waybill())
        order.children = [self._new_waybill() for _ in range(order.pieces - 1)]
        for waybill in [*order.mothers, *order.children] if kept else ():
            journey = JOURNEYS[len(self.roads.parcels) % len(JOURNEYS)]
            self.roads.parcels[waybill] = Parcel(waybill, order.orderid, order.here, order.there, journey)

    def _new_waybill(self) -> str:
        self._number += 1
        return f"SF{1_000_000_000_000 + self._number}"

    def _lost(self) -> bool:
        lost, self._to_lose = self._to_lose > 0, max(0, self._to_lose - 1)
        return lost

    def _on_setup(self, body: dict[str, Any]) -> dict[str, Any]:
        """filters: city → filterResult. duplicates: share of rows said again (none: by the level of faults)."""
        self._partner = body.get("partner_id", self._partner)
        self._checkword = body.get("checkword", self._checkword)
        self._monthly_cards |= set(body.get("monthly_cards", ()))
        self._filters.update(body.get("filters", {}))
        for name in ("callback_url", "mode", "move_s", "duplicates"):
            if name in body:
                setattr(self.roads, name, body[name])
        return {}

    def _on_hand_over(self, body: dict[str, Any]) -> dict[str, Any]:
        taken = {waybill: self.roads.take(waybill) for waybill in body["waybills"]}
        return {"taken": [w for w in taken if taken[w]], "unknown": [w for w in taken if not taken[w]]}

    def _on_settle(self, body: dict[str, Any]) -> dict[str, Any]:
        """Someone has looked at an order that waited to be filtered by hand: it can be delivered."""
        order = self.orders[body["order"]]
        order.filter = DELIVERABLE
        self._number_pieces(order)
        return {"waybill": order.mothers[0]}

    def _on_books(self, body: dict[str, Any]) -> dict[str, Any]:
        orders, parcels = self.orders.values(), self.roads.parcels.values()
        return {
            "orders": {o.orderid: o.booked() for o in orders},
            "waybills": {p.waybill: {"orderid": p.orderid, "state": p.state, "routes": len(p.routes)} for p in parcels},
            "rows_pushed": self.roads.rows_pushed,
            "rows_duplicate": self.roads.rows_duplicate,
            "pushes": self.roads.pushes,
            "idle": self.roads.idle,
            "waybills_doubled": sum(len(o.mothers) > 1 for o in orders),
        }

    def _on_lie(self, body: dict[str, Any]) -> dict[str, Any]:
        """what: `waybills` gives the first orders a waybill too many, `state` takes back that their parcel arrived."""
        for order in list(self.orders.values())[: body.get("by", 1)]:
            if body["what"] == "waybills":
                self._number_pieces(order)
                order.times_created += 1
            else:
                self.roads.parcels[order.mothers[0]].state = "moving"
        return {}

    def _on_lose(self, body: dict[str, Any]) -> dict[str, Any]:
        """The next bookings are answered like any other and kept nowhere."""
        self._to_lose += body.get("times", 1)
        return {}


def make(faults: Faults, **options: Any) -> Sf:
    """A twin; options are those of `setup`."""
    twin = Sf(faults)
    twin.control("setup", options)
    return twin


def prepare(twin: Sf, ability: str) -> None:
    """Routes of one parcel are there to be asked for; bookings need nothing."""
    if ability == "fetch_tracking":
        order = Booked("PREPARED", DELIVERABLE, "深圳市", "杭州市", 1)
        twin.orders[order.orderid] = order
        twin._number_pieces(order)
        twin.roads.move_all(twin.roads.parcels[order.mothers[0]])


def effects(twin: Sf, ability: str) -> int:
    """Waybills given out for bookings, one per order and piece of work really done."""
    return sum(order.times_created for order in twin.orders.values()) if ability == "send_booking" else 0


def callbacks(twin: Sf) -> list[dict[str, Any]]:
    """A push in each mode, of two parcels."""
    parcels = [Parcel(f"SF100000000{n}001", f"F-{n}", "深圳市", "上海市", JOURNEYS[0]) for n in (7, 8)]
    rows = [parcel.move(number) for number, parcel in enumerate(parcels, 1)]
    samples = []
    for mode in ("json", "form"):
        body, headers = pushed(rows, mode)
        headers = {name.lower(): value for name, value in headers.items()}
        samples.append({"query": [], "headers": headers, "body": body, "kind": "tracking"})
    return samples


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _message(text: str) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(text)
    if not message.get("language"):
        raise Said("A1001", "language 必填")
    return message


def _people(message: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sender and receiver of a booking that has all it needs (§1.4)."""
    orderid, goods = message.get("orderId") or "", message.get("cargoDetails") or [{}]
    people = {person.get("contactType"): person for person in message.get("contactInfoList") or ()}
    whole = 0 < len(orderid) <= 64 and 1 <= message.get("parcelQty", 1) <= PIECES_MAX
    if not whole or not all(one.get("name") for one in goods) or not all(_reachable(people.get(n)) for n in (1, 2)):
        raise Said("A1001", "orderId、cargoDetails、contactInfoList 或 parcelQty 不合法")
    return people[1], people[2]


def _reachable(person: dict[str, Any] | None) -> bool:
    who = person or {}
    named, phoned = who.get("contact") or who.get("company"), who.get("mobile") or who.get("tel")
    return bool(named and phoned and who.get("city") and who.get("address"))


def _told(order: Booked) -> dict[str, Any]:
    numbers = [{"waybillType": 1, "waybillNo": n} for n in order.mothers]
    numbers += [{"waybillType": 2, "waybillNo": n} for n in order.children]
    return {"orderId": order.orderid, "filterResult": order.filter, "waybillNoInfoList": numbers}


def _gateway(code: str, words: str, data: str = "") -> Answer:
    envelope = {"apiErrorMsg": words, "apiResponseID": "000175BD", "apiResultCode": code, "apiResultData": data}
    return Answer(json.dumps(envelope, ensure_ascii=False))


def _business(success: bool, code: str, words: str, data: Any) -> Answer:
    result = {"success": success, "errorCode": code, "errorMsg": words, "msgData": data}
    return _gateway("A1000", "", json.dumps(result, ensure_ascii=False))
