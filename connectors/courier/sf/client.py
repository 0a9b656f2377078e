"""Speaks 丰桥: signed calls answered in two layers, and the route push in its two modes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

from connectors.spi import Connection, Manifest, Outcome, Outgoing, Reply, Request
from connectors.wire.http import Http, lost, read_json
from connectors.wire.json import read_inner_json, read_pushed_json, write_json
from connectors.wire.signing import sf_digest
from connectors.wire.xml import read_xml
from core.errors import InDoubt, Refused, Unavailable, Unfit, YipanError
from core.model import Document

CREATE, SEARCH, ROUTES = "EXP_RECE_CREATE_ORDER", "EXP_RECE_SEARCH_ORDER_RESP", "EXP_RECE_SEARCH_ROUTES"
NO_SUCH_ORDER = ("8018", "6150", "8024")
TERMS = ("monthlyCard", "payMethod", "expressTypeId")
"""Settings that go into each booking under their own names."""
JSON, XML = "application/json;charset=UTF-8", "text/xml;charset=UTF-8"
KEPT = {
    JSON: '{"return_code":"0000","return_msg":"成功"}',
    XML: '<Response service="RoutePushService"><Head>OK</Head></Response>',
}
NOT_KEPT = {
    JSON: '{"return_code":"1000","return_msg":"失败"}',
    XML: '<Response service="RoutePushService"><Head>ERR</Head><ERROR code="4001">失败</ERROR></Response>',
}
"""Answers of the route push: on any but the first SF sends the whole batch again (couriers 1.5)."""


class Sf:
    """One account at SF. The mapping gives a booking's `contactInfoList` by role; it leaves as the list SF wants."""

    def __init__(self, connection: Connection, manifest: Manifest, http: Http, now: Callable[[], datetime]) -> None:
        self._settings, self._checkword = connection.settings, connection.secrets["checkword"]
        self._manifest, self._http, self._now = manifest, http, now

    def send_booking(self, batch: Sequence[Outgoing], step: str = "") -> Sequence[Outcome]:
        """Book one waybill; done with the mother's number."""
        (row,) = batch
        people = list(row.body["contactInfoList"].values())
        message = {**row.body, "contactInfoList": people, **self._given(TERMS)}
        return [_booked(self._ask("send_booking", CREATE, message, reads=False))]

    def probe(self, ability: str, row: Outgoing, step: str = "") -> Outcome:
        """Whether the order is there, by its number."""
        message = {"language": "zh-CN", "orderId": row.body["orderId"]}
        result = self._call("probe", SEARCH, message, reads=True)
        if str(result.get("errorCode")) in NO_SUCH_ORDER:
            return Outcome.absent()
        return _booked(self._data(result, reads=True))

    def fetch_tracking(self, refs: Sequence[str]) -> Sequence[Document]:
        """The routes of at most ten waybills: one document each, laid out as a push, and none for one that is still."""
        message = {"language": "zh-CN", "trackingType": "1", "trackingNumber": list(refs), "methodType": "1"}
        answer = self._ask("fetch_tracking", ROUTES, message | self._given(("checkPhoneNo",)), reads=True)
        return [_queried(parcel) for parcel in answer.get("routeResps") or () if parcel.get("routes")]

    def read_callback(self, request: Request) -> Sequence[Document]:
        """One push is one document, in the JSON mode's structure whichever mode it came in. It carries no signature."""
        body = _form_as_json(request.body) if _mode(request) == XML else request.body
        routes = _routes(read_pushed_json(body))
        return [Document(kind="tracking", ref=_ref(routes[0], body), body=body)] if routes else []

    def acknowledge(self, request: Request, error: YipanError | None) -> Reply:
        """The answer of the mode the push came in."""
        mode = _mode(request)
        return Reply(200, (KEPT if error is None else NOT_KEPT)[mode].encode(), mode)

    def _ask(self, ability: str, service: str, message: Mapping[str, Any], *, reads: bool) -> dict[str, Any]:
        return self._data(self._call(ability, service, message, reads=reads), reads=reads)

    def _call(self, ability: str, service: str, message: Mapping[str, Any], *, reads: bool) -> dict[str, Any]:
        """The outer layer: A1000 says that the gateway passed it on; the business answer is JSON inside a text."""
        response = self._http.call(ability, "POST", data=self._signed(service, write_json(message)), reads=reads)
        answer = _object(read_json(response, reads=reads), reads=reads)
        if answer.get("apiResultCode") != "A1000":
            raise self._error(answer.get("apiResultCode"), answer.get("apiErrorMsg"), reads=reads)
        return _object(read_inner_json(answer.get("apiResultData"), reads=reads), reads=reads)

    def _data(self, result: dict[str, Any], *, reads: bool) -> dict[str, Any]:
        """The inner layer: it happened only with success and S0000."""
        if result.get("success") is not True or result.get("errorCode") != "S0000":
            raise self._error(result.get("errorCode"), result.get("errorMsg"), reads=reads)
        return _object(result.get("msgData"), reads=reads)

    def _error(self, code: Any, words: Any, *, reads: bool) -> YipanError:
        """What the manifest decides; that they could not answer means for a write that it is in doubt."""
        error = self._manifest.decide(str(code), str(words))
        return lost(error.message, reads=reads) if isinstance(error, Unavailable | InDoubt) else error

    def _signed(self, service: str, message: str) -> dict[str, str]:
        timestamp = str(int(self._now().timestamp() * 1000))
        return {
            "partnerID": self._settings["partnerID"],
            "requestID": str(uuid4()),
            "serviceCode": service,
            "timestamp": timestamp,
            "msgDigest": sf_digest(message, timestamp, self._checkword),
            "msgData": message,
        }

    def _given(self, names: Sequence[str]) -> dict[str, Any]:
        return {name: self._settings[name] for name in names if self._settings.get(name) not in (None, "")}


def _object(value: Any, *, reads: bool) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise lost("the answer is not what 丰桥 answers", reads=reads)
    return value


def _booked(answer: Mapping[str, Any]) -> Outcome:
    if str(answer.get("filterResult")) == "3":
        return Outcome.failed(Refused(f"SF does not go there: {answer.get('remark') or 'filterResult 3'}"))
    numbers = answer.get("waybillNoInfoList") or ()
    mother = next((number.get("waybillNo") for number in numbers if str(number.get("waybillType")) == "1"), None)
    if not mother:
        return Outcome.failed(InDoubt("SF has the order and no waybill for it yet: someone there looks at the address"))
    return Outcome.done(mother)


def _queried(parcel: Mapping[str, Any]) -> Document:
    routes = [{"mailno": parcel.get("mailNo"), **route} for route in parcel["routes"]]
    body = _pushed(routes)
    return Document(kind="tracking", ref=_ref(routes[0], body), body=body)


def _pushed(routes: list[Any]) -> bytes:
    return write_json({"Body": {"WaybillRoute": routes}}).encode()


def _mode(request: Request) -> str:
    return XML if "form-urlencoded" in request.headers.get("content-type", "").lower() else JSON


def _form_as_json(body: bytes) -> bytes:
    """The XML in the form's `content`: each route's attributes are the fields the JSON mode has."""
    content = parse_qs(body.decode(errors="replace")).get("content")
    if not content:
        raise Unfit("the form has no field `content`")
    return _pushed([dict(route.attrib) for route in read_xml(content[0].encode()).iter("WaybillRoute")])


def _routes(push: Any) -> list[Any]:
    match push:
        case {"Body": {"WaybillRoute": list(routes)}}:
            return routes
        case {"Body": {"WaybillRoute": dict(route)}}:
            return [route]
    raise Unfit("the push has no Body.WaybillRoute")


def _ref(route: Any, body: bytes) -> str:
    """The first waybill names the push; one without a readable number is named by its digest."""
    match route:
        case {"mailno": str(mailno)} if 0 < len(mailno) <= 200:
            return mailno
    return sha256(body).hexdigest()
