"""The SF connector against its twin over real loopback HTTP: bookings, routes, the push, and every error."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest

from connectors.courier.sf.client import Sf as Client
from connectors.registry import connector
from connectors.spi import Connection, Outcome, Outgoing, Request
from connectors.wire.http import Http, Outbound
from connectors.wire.signing import sf_digest
from core.errors import InDoubt, NotAuthorised, Refused, Throttled, Unavailable, Unfit, YipanError
from core.model import Booking, Party
from mappings.language import load
from sandbox.courier import sf
from sandbox.courier.sf_roads import JOURNEYS, Parcel, pushed
from sandbox.twin import Answer, Call, Faults, Server
from tests.stage import Parrot

SF = connector("courier/sf")
BOOKING, TRACKING = load(SF.mappings / "booking.yaml"), load(SF.mappings / "tracking.yaml")
HELD = SF.mappings / "fixtures" / "held"
VECTORS = Path(sf.__file__).parents[1] / "contract" / "vectors" / "sf.json"
NOW = datetime(2026, 3, 2, 1, 15, tzinfo=UTC)
JSON, FORM = "application/json;charset=UTF-8", "application/x-www-form-urlencoded;charset=UTF-8"


@dataclass
class Stage:
    """A twin on a port and a client that speaks to it."""

    twin: Any
    faults: Faults
    client: Client

    def book(self, ref: str = "F-1", **more: Any) -> Outcome:
        """One booking, whatever it ends with."""
        return settled(lambda: self.client.send_booking([row(ref, **more)])[0])

    def probe(self, ref: str = "F-1") -> Outcome:
        return self.client.probe("send_booking", row(ref))

    def books(self) -> Any:
        return self.twin.control("books", None)


def settled(call: Callable[[], Outcome]) -> Outcome:
    try:
        return call()
    except YipanError as error:
        return Outcome.failed(error)


def row(ref: str = "F-1", city: str = "杭州市", **more: Any) -> Outgoing:
    sender = Party(name="仓库", phone="13800000001", province="广东省", city="深圳市", address="科技路1号")
    receiver = Party(name="张三", phone="13800000000", province="浙江省", city=city, address="文三路100号")
    booking = Booking(ref=ref, created_at=NOW, sender=sender, receiver=receiver, goods="纯棉T恤", **more)
    return Outgoing(ref, ref, BOOKING.write(booking, {}))


def client_of(url: str, settings: dict[str, Any] | None = None, checkword: str = sf.SECRETS["checkword"]) -> Client:
    connection = Connection("c-1", SF.name, sf.SETTINGS | (settings or {}), {"checkword": checkword})
    http = Http(url, timeout_s=1.5, outbound=Outbound(allow=["127.0.0.0/8"]), attempts=1)
    return SF.client(connection, http, lambda: NOW)


@pytest.fixture
def faults() -> Faults:
    return Faults(hang_s=2.0)


@pytest.fixture
def stage(faults: Faults) -> Iterator[Stage]:
    twin = sf.make(faults, move_s=0.001)
    server = Server(twin, faults)
    yield Stage(twin, faults, client_of(server.url))
    server.stop()


@pytest.fixture(scope="module")
def says() -> Iterator[Callable[[str], tuple[Client, Parrot]]]:
    system = Parrot("")
    server = Server(system, Faults())

    def start(words: str) -> tuple[Client, Parrot]:
        system.words = words
        return client_of(server.url), system

    yield start
    server.stop()


def gateway(code: str, data: Any = "") -> str:
    return json.dumps({"apiErrorMsg": "不行", "apiResponseID": "1", "apiResultCode": code, "apiResultData": data})


def business(code: str, success: bool = False, data: Any = None) -> str:
    return gateway("A1000", json.dumps({"success": success, "errorCode": code, "errorMsg": "不行", "msgData": data}))


# --- signing and the envelope


@pytest.mark.parametrize("vector", json.loads(VECTORS.read_text(encoding="utf-8")), ids=lambda vector: vector["id"])
def test_published_digests_come_out(vector: dict[str, Any]) -> None:
    inputs = vector["inputs"]

    assert sf_digest(inputs["msgData"], inputs["timestamp"], inputs["checkword"]) == vector["expected"]


def test_a_call_carries_the_signed_envelope_and_the_settings_of_a_booking(says: Any) -> None:
    client, system = says(gateway("A1005"))
    with pytest.raises(Throttled):
        client.send_booking([row(weight_g=1500)])

    form = system.heard.form
    message = json.loads(form["msgData"])
    assert form["timestamp"] == "1772414100000"
    assert form["msgDigest"] == sf_digest(form["msgData"], form["timestamp"], sf.SECRETS["checkword"])
    assert (form["partnerID"], form["serviceCode"], len(form["requestID"])) == ("YIPAN", "EXP_RECE_CREATE_ORDER", 36)
    assert (message["payMethod"], message["expressTypeId"], message["monthlyCard"]) == (1, 1, "7551234567")
    assert [person["contactType"] for person in message["contactInfoList"]] == [1, 2]
    assert (message["orderId"], message["totalWeight"], message["language"]) == ("F-1", 1.5, "zh-CN")


def test_settings_left_empty_stay_out_of_the_booking(says: Any) -> None:
    client, system = says(gateway("A1005"))
    client._settings = {"partnerID": "YIPAN", "monthlyCard": "", "payMethod": None}
    with pytest.raises(Throttled):
        client.send_booking([row()])

    assert {"monthlyCard", "payMethod", "expressTypeId"} & set(json.loads(system.heard.form["msgData"])) == set()


def test_the_checkword_shows_nowhere() -> None:
    connection = Connection("c-1", SF.name, sf.SETTINGS, sf.SECRETS)

    assert sf.SECRETS["checkword"] not in repr(connection)


# --- bookings


def test_a_booking_gets_the_mothers_waybill(stage: Stage) -> None:
    assert stage.book(pieces=3) == Outcome.done("SF1000000000001")
    assert stage.books()["orders"] == {"F-1": {"waybill": "SF1000000000001", "times_created": 1}}
    assert [parcel["orderid"] for parcel in stage.books()["waybills"].values()] == ["F-1", "F-1", "F-1"]


def test_a_repeated_booking_is_in_doubt_and_its_probe_finds_the_first_waybill(stage: Stage) -> None:
    first = stage.book()

    again = stage.book()

    assert isinstance(again.error, InDoubt)
    assert stage.probe() == first == Outcome.done("SF1000000000001")
    assert sf.effects(stage.twin, "send_booking") == 1


def test_a_probe_before_the_booking_says_absent(stage: Stage) -> None:
    assert stage.probe() == Outcome.absent()


def test_an_address_sf_does_not_serve_is_refused(stage: Stage) -> None:
    stage.twin.control("setup", {"filters": {"三沙市": 3}})

    assert isinstance(stage.book(city="三沙市").error, Refused)


def test_an_address_looked_at_by_hand_stays_in_doubt_until_there_is_a_waybill(stage: Stage) -> None:
    stage.twin.control("setup", {"filters": {"阿里地区": 1}})

    assert isinstance(stage.book(city="阿里地区").error, InDoubt)
    assert isinstance(stage.probe().error, InDoubt)
    stage.twin.control("settle", {"order": "F-1"})
    assert stage.probe() == Outcome.done("SF1000000000001")


def test_a_booking_that_was_answered_and_lost_is_found_to_be_absent(stage: Stage) -> None:
    stage.twin.control("lose", {"ability": "send_booking"})

    assert stage.book() == Outcome.done("SF1000000000001")
    assert stage.probe() == Outcome.absent()
    assert stage.books()["orders"] == {}


@pytest.mark.parametrize(
    ("fault", "expected", "found"),
    [
        ("429", Throttled, "absent"),
        ("5xx", InDoubt, "absent"),
        ("timeout_before", InDoubt, "absent"),
        ("timeout_after", InDoubt, "done"),
        ("truncated", InDoubt, "done"),
    ],
)
def test_after_a_fault_the_probe_knows_whether_the_booking_arrived(
    stage: Stage, fault: str, expected: type[YipanError], found: str
) -> None:
    stage.faults.set(plan=[fault], hang_s=2.0)

    assert type(stage.book().error) is expected
    assert stage.probe().state == found


@pytest.mark.parametrize("fault", ["5xx", "timeout_before", "timeout_after", "truncated"])
def test_a_fault_while_reading_is_only_for_later(stage: Stage, fault: str) -> None:
    stage.faults.set(plan=[fault], hang_s=2.0)

    with pytest.raises(Unavailable):
        stage.client.fetch_tracking(["SF1000000000001"])


# --- errors


@pytest.mark.parametrize(("code", "name"), SF.manifest.errors.items())
def test_every_code_of_the_table_decides(says: Any, code: str, name: str) -> None:
    client, _ = says(gateway(code) if code.startswith("A") else business(code))

    error = settled(lambda: client.send_booking([row()])[0]).error

    assert type(error).__name__ == ("InDoubt" if name == "Unavailable" else name)
    assert code in str(error) and "不行" in str(error)


@pytest.mark.parametrize(("code", "expected"), [("A1009", Unavailable), ("A1099", Unavailable), ("A1007", Unavailable)])
def test_a_gateway_in_trouble_only_delays_a_read(says: Any, code: str, expected: type[YipanError]) -> None:
    client, _ = says(gateway(code))

    with pytest.raises(expected):
        client.fetch_tracking(["SF1000000000001"])


def test_an_unknown_code_is_refused_so_that_a_person_sees_it(says: Any) -> None:
    client, _ = says(business("S9999"))

    assert type(settled(lambda: client.send_booking([row()])[0]).error) is Refused


@pytest.mark.parametrize("code", ["8018", "6150", "8024"])
def test_an_order_sf_does_not_know_is_absent(says: Any, code: str) -> None:
    client, _ = says(business(code))

    assert client.probe("send_booking", row()) == Outcome.absent()


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        gateway("A1000"),
        gateway("A1000", {"success": True}),
        gateway("A1000", '{"success": tr'),
        gateway("A1000", "[" * 100_000),
        business("S0000", success=True, data=None),
    ],
)
def test_a_garbled_answer_leaves_a_booking_in_doubt_and_a_probe_for_later(says: Any, body: str) -> None:
    client, _ = says(body)

    assert type(settled(lambda: client.send_booking([row()])[0]).error) is InDoubt
    with pytest.raises(Unavailable):
        client.probe("send_booking", row())


def test_a1000_alone_is_no_success(says: Any) -> None:
    waybills = {"waybillNoInfoList": [{"waybillType": 1, "waybillNo": "SF1"}]}
    client, _ = says(business("S0000", success=False, data=waybills))

    assert type(settled(lambda: client.send_booking([row()])[0]).error) is Refused


@pytest.mark.parametrize(
    ("settings", "checkword", "expected"),
    [
        ({}, "wrong", NotAuthorised),
        ({"partnerID": "SOMEONE"}, sf.SECRETS["checkword"], NotAuthorised),
        ({"monthlyCard": "0000000000"}, sf.SECRETS["checkword"], NotAuthorised),
        ({"payMethod": 9}, sf.SECRETS["checkword"], Refused),
        ({"expressTypeId": 99}, sf.SECRETS["checkword"], Refused),
    ],
)
def test_the_twin_refuses_what_sf_refuses(
    stage: Stage, settings: dict[str, Any], checkword: str, expected: type[YipanError]
) -> None:
    client = client_of(stage.client._http.base_url, settings, checkword)

    assert type(settled(lambda: client.send_booking([row()])[0]).error) is expected
    assert stage.books()["orders"] == {}


@pytest.mark.parametrize("field", ["orderId", "cargoDetails", "contactInfoList", "language"])
def test_the_twin_wants_the_required_fields(stage: Stage, field: str) -> None:
    whole = row()
    spoilt = Outgoing(whole.key, whole.ref, {**whole.body, field: {} if field == "contactInfoList" else ""})

    assert type(settled(lambda: stage.client.send_booking([spoilt])[0]).error) is Refused


# --- asking for routes


def test_routes_asked_for_read_like_routes_pushed(stage: Stage) -> None:
    sf.prepare(stage.twin, "fetch_tracking")

    (document,) = stage.client.fetch_tracking(["SF1000000000001", "SF1000000000099"])

    rows = TRACKING.read(document.body).rows
    assert (document.kind, document.ref) == ("tracking", "SF1000000000001")
    assert [r.code for r in rows] == list(JOURNEYS[0])
    told = json.loads(document.body)["Body"]["WaybillRoute"][0]
    assert rows[0].key == f"SF1000000000001+50+{told['acceptTime']}+{told['remark']}"


def test_more_than_ten_numbers_are_refused(stage: Stage) -> None:
    with pytest.raises(Refused, match="8003"):
        stage.client.fetch_tracking([f"SF{n}" for n in range(11)])


def test_no_number_is_refused(stage: Stage) -> None:
    with pytest.raises(Refused, match="8013"):
        stage.client.fetch_tracking([])


# --- the push


def push(body: bytes, content_type: str) -> Request:
    return Request("POST", [], {"content-type": content_type}, body, NOW)


def test_both_modes_give_the_same_rows(stage: Stage) -> None:
    as_json, as_form = sf.callbacks(stage.twin)

    documents = [
        stage.client.read_callback(push(sample["body"], sample["headers"]["content-type"]))[0]
        for sample in (as_json, as_form)
    ]

    assert documents[0].body == as_json["body"]
    assert TRACKING.read(documents[0].body) == TRACKING.read(documents[1].body)
    assert [d.ref for d in documents] == ["SF1000000007001", "SF1000000007001"]


def test_a_batch_of_two_merchants_is_one_document(stage: Stage) -> None:
    body = (HELD / "tracking.1.json").read_bytes()

    (document,) = stage.client.read_callback(push(body, JSON))

    assert {r.order_ref for r in TRACKING.read(document.body).rows} == {"F-3001", "G-0007"}


@pytest.mark.parametrize(
    ("content_type", "error", "expected"),
    [
        (JSON, None, '{"return_code":"0000","return_msg":"成功"}'),
        (JSON, Unfit("x"), '{"return_code":"1000","return_msg":"失败"}'),
        (FORM, None, '<Response service="RoutePushService"><Head>OK</Head></Response>'),
        (
            FORM,
            Unfit("x"),
            '<Response service="RoutePushService"><Head>ERR</Head><ERROR code="4001">失败</ERROR></Response>',
        ),
    ],
)
def test_each_mode_is_answered_in_its_own_words(
    stage: Stage, content_type: str, error: YipanError | None, expected: str
) -> None:
    reply = stage.client.acknowledge(push(b"", content_type), error)

    assert (reply.status, reply.body.decode()) == (200, expected)


def form(xml: str) -> bytes:
    return urlencode({"content": xml}).encode()


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", JSON),
        (b'{"Body":{"WaybillRoute":[{"id"', JSON),
        (b"[" * 100_000, JSON),
        (b"\xff\xfe{}", JSON),
        (b"[]", JSON),
        (b'{"Body":{"WaybillRoute":"x"}}', JSON),
        (b"", FORM),
        (b"other=1", FORM),
        (form("<Request><Body>"), FORM),
        (form('<!DOCTYPE r [<!ENTITY a "b">]><Request><Body><WaybillRoute id="&a;"/></Body></Request>'), FORM),
    ],
)
def test_a_push_nobody_can_read_is_unfit(stage: Stage, body: bytes, content_type: str) -> None:
    with pytest.raises(Unfit):
        stage.client.read_callback(push(body, content_type))


def test_an_empty_push_brings_nothing(stage: Stage) -> None:
    assert stage.client.read_callback(push(b'{"Body":{"WaybillRoute":[]}}', JSON)) == []


def test_a_push_without_a_waybill_number_is_still_kept_under_a_name_of_its_own(stage: Stage) -> None:
    (document,) = stage.client.read_callback(push(b'{"Body":{"WaybillRoute":[{"opCode":"50"}]}}', JSON))

    assert len(document.ref) == 64
    with pytest.raises(Unfit, match="mailno"):
        TRACKING.read(document.body)


def routes(*rows: dict[str, Any]) -> bytes:
    return json.dumps({"Body": {"WaybillRoute": list(rows)}}, ensure_ascii=False).encode()


def test_an_unknown_code_is_on_its_way_and_keeps_its_code() -> None:
    (read,) = TRACKING.read(routes({"mailno": "SF1", "opCode": "99999", "acceptTime": "2026-03-02 09:15:00"})).rows

    assert (read.code, read.milestone) == ("99999", "in_transit")
    assert read.happened_at == NOW


def test_known_codes_have_their_milestones() -> None:
    facts = {"43": "picked_up", "123": "in_transit", "130": "ready_for_pickup", "631": "returning", "8000": "delivered"}
    body = routes(*({"mailno": "SF1", "opCode": code, "acceptTime": "2026-03-02 09:15:00"} for code in facts))

    assert {r.code: r.milestone for r in TRACKING.read(body).rows} == facts


def test_a_row_with_a_time_nobody_can_read_names_its_fault() -> None:
    with pytest.raises(Unfit, match=r"rows\[0\]\.happened_at"):
        TRACKING.read(routes({"mailno": "SF1", "opCode": "50", "acceptTime": "yesterday"}))


# --- parcels that move


class Hub:
    """Hears pushes on a port; refuses the first few, as the hub does when it cannot keep them."""

    write_abilities = ()

    def __init__(self, client: Client, refuse: int = 0) -> None:
        self.client, self.refuse, self.rows, self.batches = client, refuse, [], []
        self.changed = threading.Condition()

    def ability(self, call: Call) -> str:
        return "hub"

    def answer(self, call: Call) -> Answer:
        request = Request(call.method, [], call.headers, call.body, NOW)
        with self.changed:
            self.refuse -= 1
            error = Unavailable("full") if self.refuse >= 0 else None
            self.batches.append(call.body)
            for document in self.client.read_callback(request) if error is None else ():
                self.rows += TRACKING.read(document.body).rows
            self.changed.notify_all()
        reply = self.client.acknowledge(request, error)
        return Answer(reply.body, reply.status, reply.content_type)

    def wait_for(self, done: Callable[[], bool]) -> None:
        with self.changed:
            while not done():
                assert self.changed.wait(10), "the twin has gone quiet"


@pytest.fixture
def deliver(stage: Stage) -> Iterator[Callable[..., Hub]]:
    """Books parcels, hands them over and waits until the hub has heard the end of all of them."""
    servers: list[Server] = []

    def run(parcels: int, refuse: int = 0, level: str = "none", **setup: Any) -> Hub:
        hub = Hub(stage.client, refuse)
        servers.append(Server(hub, Faults()))
        stage.twin.control("setup", {"callback_url": servers[-1].url, **setup})
        waybills = [stage.book(f"F-{n}").ref for n in range(parcels)]
        stage.faults.level = level
        handed_over = stage.twin.control("hand_over", {"waybills": [*waybills, "SF0"]})
        assert handed_over == {"taken": waybills, "unknown": ["SF0"]}
        hub.wait_for(lambda: {r.waybill for r in hub.rows if r.code == "80"} == set(waybills))
        hub.wait_for(lambda: len({r.key for r in hub.rows}) == sum(len(JOURNEYS[n % 3]) for n in range(parcels)))
        return hub

    yield run
    for server in servers:
        server.stop()


@pytest.mark.parametrize("mode", ["json", "form"])
def test_calm_parcels_are_told_of_once_in_order(stage: Stage, deliver: Callable[..., Hub], mode: str) -> None:
    hub = deliver(3, mode=mode)

    for n, waybill in enumerate(stage.books()["waybills"]):
        told = [r for r in hub.rows if r.waybill == waybill]
        assert [r.code for r in told] == list(JOURNEYS[n])
        assert all(a.happened_at < b.happened_at for a, b in zip(told, told[1:], strict=False))
    assert {parcel["state"] for parcel in stage.books()["waybills"].values()} == {"delivered"}
    assert stage.books()["rows_duplicate"] == 0


def test_harsh_pushes_are_mostly_repeats_and_out_of_order_and_mix_parcels(
    stage: Stage, faults: Faults, deliver: Callable[..., Hub]
) -> None:
    hub = deliver(12, level="harsh")

    rows = 4 * sum(len(JOURNEYS[n % 3]) for n in range(12))
    hub.wait_for(lambda: len(hub.rows) == rows)
    books = stage.books()
    assert (books["rows_pushed"], books["rows_duplicate"]) == (rows, rows * 3 // 4)
    assert faults.bitten["duplicate/push_routes"] > 0
    assert faults.bitten["reorder/push_routes"] > 0
    assert all(len(json.loads(body)["Body"]["WaybillRoute"]) <= 10 for body in hub.batches)
    assert any(len({r["mailno"] for r in json.loads(body)["Body"]["WaybillRoute"]}) > 1 for body in hub.batches)


def test_a_batch_answered_with_an_error_comes_again_whole(stage: Stage, deliver: Callable[..., Hub]) -> None:
    hub = deliver(1, refuse=2, mode="form")

    assert len(hub.batches) == stage.books()["pushes"] + 2
    assert hub.batches.count(hub.batches[0]) > 1
    assert "WaybillRoute" in parse_qs(hub.batches[0].decode())["content"][0]


def test_phones_stay_out_of_place_and_code() -> None:
    parcel = Parcel("SF1", "F-1", "深圳市", "上海市", JOURNEYS[1])
    body, _ = pushed([parcel.move(n) for n in range(len(JOURNEYS[1]))], "json")

    rows = TRACKING.read(body).rows
    assert any("13800000000" in r.text for r in rows)
    assert not any("13800000000" in r.place + r.code + r.order_ref for r in rows)


# --- what the auditor sees


def test_a_lie_of_one_waybill_shows_in_the_books(stage: Stage) -> None:
    stage.book()
    assert stage.books()["waybills_doubled"] == 0

    stage.twin.control("lie", {"what": "waybills", "by": 1})

    assert stage.books()["waybills_doubled"] == 1
    assert stage.books()["idle"] is True


def test_a_lie_about_a_delivery_shows_in_the_books(stage: Stage) -> None:
    sf.prepare(stage.twin, "fetch_tracking")

    stage.twin.control("lie", {"what": "state", "by": 1})

    assert stage.books()["waybills"]["SF1000000000001"]["state"] == "moving"
