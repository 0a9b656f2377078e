"""Qimen's client against its twin: what it sends, what it hears, what it refuses, and what it makes of bad days."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lxml import etree

import sandbox.contract
from connectors.registry import connector
from connectors.spi import Connection, Outgoing, Request
from connectors.wire.http import Http, Outbound
from connectors.wire.signing import VECTORS, top_sign
from core.errors import InDoubt, NotAuthorised, Refused, Throttled, Unavailable, Unfit
from core.model import Asn, Cancellation, Confirm, DeliveryOrder, Document, Stockout
from mappings.language import load
from sandbox.twin import Answer, Call, Faults, Server
from sandbox.wms import qimen
from sandbox.wms.qimen_papers import CHINA
from tests.stage import Stage

CONNECTOR = connector("wms/qimen")
VECTORS_OF_QIMEN = json.loads((Path(sandbox.contract.__file__).parent / "vectors" / "qimen.json").read_text("utf-8"))
FIXTURES = CONNECTOR.mappings / "fixtures" / "built"
LINKS = {("warehouse", "wh-east"): "WH01"}
NOUNS = {"delivery_order": DeliveryOrder, "stockout": Stockout, "asn": Asn, "cancellation": Cancellation}
ASN = "<entryOrder>%s</entryOrder><orderLines><orderLine><itemCode>A</itemCode></orderLine></orderLines>"


def now() -> datetime:
    return datetime.now(UTC)


def client_for(url: str, *, secret: str = "", timeout_s: float = 2.0, **settings: Any) -> Any:
    secrets = {"secret": secret} if secret else dict(qimen.SECRETS)
    connection = Connection("c-1", "wms/qimen", {**qimen.SETTINGS, "base_url": url, **settings}, secrets)
    http = Http(url, timeout_s=timeout_s, outbound=Outbound(["127.0.0.0/8"]), attempts=2)
    return CONNECTOR.client(connection, http, now)


def row(noun: str, **changes: Any) -> Outgoing:
    value = NOUNS[noun].model_validate_json((FIXTURES / f"{noun}.1.canonical.json").read_bytes())
    value = value.model_copy(update=changes)
    return Outgoing(value.ref, value.ref, load(CONNECTOR.mappings / f"{noun}.yaml").write(value, LINKS))


class Erp:
    """The hub's door in small: a receiver whose answers are the client's own words."""

    write_abilities = ()

    def __init__(self, client: Any) -> None:
        self.client = client
        self.documents: list[Document] = []
        self.changed = threading.Condition()
        self.refusals = 0

    def ability(self, call: Call) -> str:
        return "callback"

    def answer(self, call: Call) -> Answer:
        request = Request("POST", list(call.query.items()), call.headers, call.body, now())
        with self.changed:
            error = Unavailable("the store is full") if self.refusals else None
            self.refusals = max(0, self.refusals - 1)
            if error is None:
                self.documents += self.client.read_callback(request)
            self.changed.notify_all()
        reply = self.client.acknowledge(request, error)
        return Answer(reply.body, reply.status, reply.content_type)

    def heard(self, kind: str, many: int = 1) -> list[Any]:
        """The canonical values of this kind, once there are so many."""
        with self.changed:
            found = self.changed.wait_for(lambda: len(self._of(kind)) >= many, timeout=5)
            assert found, f"{many} {kind} did not come: {[d.kind for d in self.documents]}"
            return [load(CONNECTOR.mappings / f"{kind}.yaml").read(d.body) for d in self._of(kind)]

    def _of(self, kind: str) -> list[Document]:
        return [d for d in self.documents if d.kind == kind]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    stage = Stage(hang_s=0.4)
    yield stage
    stage.server.stop()


@pytest.fixture
def faults(stage: Stage) -> Faults:
    return stage.faults


@pytest.fixture
def url(stage: Stage) -> str:
    return stage.server.url


@pytest.fixture
def twin(stage: Stage) -> qimen.QimenTwin:
    twin = qimen.make(stage.faults)
    stage.enter(twin)
    return twin


@pytest.fixture
def client(twin: qimen.QimenTwin, url: str) -> Any:
    return client_for(url)


@pytest.fixture
def house(twin: qimen.QimenTwin, client: Any) -> Iterator[Erp]:
    """The warehouse with an ERP that listens."""
    erp = Erp(client)
    server = Server(erp, Faults())
    twin.control("setup", {"callback_url": server.url, "split_rate": 0.0, "pick_s": 0.003, "receive_s": 0.0})
    yield erp
    server.stop()


# --- signatures ---


@pytest.mark.parametrize("vector", VECTORS_OF_QIMEN, ids=lambda vector: vector["id"])
def test_published_signature_is_reproduced(vector: dict[str, Any]) -> None:
    assert vector["expected"] == VECTORS["Qimen"](vector["inputs"])


@pytest.mark.parametrize("sign_method", ["md5", "hmac", "hmac-sha256"])
def test_every_sign_method_and_spelling_is_believed(twin: qimen.QimenTwin, url: str, sign_method: str) -> None:
    wire = {"customer_key": "customerid", "method_names": "bare", "target_app_key": "99"}
    client = client_for(url, sign_method=sign_method, **wire)
    assert client.send_asn([row("asn")])[0].state == "done"
    twin.control("setup", {"sign_method": sign_method, "customer_key": "customerid", "method_prefix": "taobao.qimen."})
    assert sum(len(client.read_callback(request)) for request in pushes(twin)) == 8


# --- outward ---


def test_delivery_order_arrives_as_it_was_told(twin: qimen.QimenTwin, client: Any) -> None:
    twin.hold()
    outcome = client.send_delivery_order([row("delivery_order")])[0]
    told = twin.books()["deliveries"]["FF20261101-1"]
    assert (outcome.state, outcome.ref) == ("done", "CK000001")
    assert (told["warehouse"], told["waybill"], told["times_created"]) == ("WH01", "SF1390000000001", 1)
    lines = [(line["line"], line["sku"], line["planned"]) for line in told["lines"]]
    assert lines == [("1", "TEA-100", 2), ("2", "CUP-01", 1)]


def test_announced_goods_arrive_as_they_were_told(twin: qimen.QimenTwin, client: Any) -> None:
    twin.hold()
    assert client.send_asn([row("asn")])[0].ref == "RK000001"
    assert [line["planned"] for line in twin.books()["receipts"]["ASN20261101-1"]["lines"]] == [100, 40]


def test_goods_for_another_warehouse_are_told_and_looked_up(twin: qimen.QimenTwin, client: Any) -> None:
    twin.hold()
    assert client.probe("send_stockout", row("stockout")).state == "absent"
    assert client.send_stockout([row("stockout")])[0].ref == "DB000001"
    assert client.probe("send_stockout", row("stockout")).ref == "DB000001"
    assert [line["planned"] for line in twin.books()["stockouts"]["T20261101"]["lines"]] == [10, 4]


def test_either_side_of_a_transfer_is_cancelled_and_looked_up_by_its_type(twin: qimen.QimenTwin, client: Any) -> None:
    twin.hold()
    client.send_stockout([row("stockout")])
    client.send_asn([row("asn", ref="T20261101", reason="transfer")])
    for of, book in (("stockout", "stockouts"), ("asn", "receipts")):
        stop = row("cancellation", ref="T20261101", their_ref="", of=of)
        assert client.probe("send_cancellation", stop).state == "absent"
        assert client.send_cancellation([stop])[0].state == "done"
        assert client.probe("send_cancellation", stop).state == "done"
        assert twin.books()[book]["T20261101"]["status"] == "CANCELED"


def test_goods_that_left_for_another_warehouse_are_confirmed(twin: qimen.QimenTwin, house: Erp) -> None:
    twin.control("setup", {"stock": {"WH01|YIPAN01|TEA-100|ZP": 8, "WH01|YIPAN01|CUP-01|ZP": 4}})
    house.client.send_stockout([row("stockout")])
    (found,) = house.heard("confirm")
    assert (found.fulfilment, found.final, found.parcels) == ("T20261101", True, ())
    assert [(line.sku, line.quantity) for line in found.lines] == [("TEA-100", 8), ("CUP-01", 4)]


def test_cancellation_stops_what_is_not_yet_packed(twin: qimen.QimenTwin, client: Any) -> None:
    qimen.prepare(twin, "send_cancellation")
    assert client.probe("send_cancellation", row("cancellation")).state == "absent"
    assert client.send_cancellation([row("cancellation")])[0].state == "done"
    assert twin.books()["deliveries"]["FF20261101-9"]["status"] == "CANCELED"
    assert client.probe("send_cancellation", row("cancellation")).state == "done"


def test_cancellation_that_comes_too_late_is_refused(twin: qimen.QimenTwin, client: Any) -> None:
    qimen.prepare(twin, "send_cancellation")
    twin.deliveries["FF20261101-9"].status = "PACKAGE"
    outcome = client.send_cancellation([row("cancellation")])[0]
    assert ("failed", Refused) == (outcome.state, type(outcome.error))
    assert "无法取消" in str(outcome.error)
    assert client.probe("send_cancellation", row("cancellation")).state == "absent"


def test_refusal_keeps_the_words_of_the_warehouse(twin: qimen.QimenTwin, client: Any) -> None:
    twin.control("setup", {"skus": ["TEA-100"]})
    outcome = client.send_asn([row("asn")])[0]
    assert str(outcome.error) == "S1001: 商品CUP-01不存在"
    assert twin.books()["receipts"] == {}


def test_code_that_exists_already_is_refused_unless_its_words_are_known(twin: qimen.QimenTwin, url: str) -> None:
    for words, state in (("", "done"), ("", "failed"), ("重复，已存在", "done")):
        assert state == client_for(url, duplicate_words=words).send_asn([row("asn")])[0].state
    assert twin.books()["receipts"]["ASN20261101-1"]["times_created"] == 3


@pytest.mark.parametrize("noun", NOUNS)
def test_wrong_secret_is_told(twin: qimen.QimenTwin, url: str, noun: str) -> None:
    client = client_for(url, secret="wrong")
    outcome = getattr(client, f"send_{noun}")([row(noun)])[0]
    assert NotAuthorised is type(outcome.error)
    assert NotAuthorised is type(client.probe(f"send_{noun}", row(noun)).error)
    with pytest.raises(NotAuthorised):
        client.fetch_stock(["TEA-100"])


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("<error_response><code>sign-check-failure</code><msg>Illegal request</msg></error_response>", NotAuthorised),
        ("<error_response><code>15</code><msg>Remote service error</msg></error_response>", Refused),
        ("<response><flag>failure</flag></response>", Refused),
        ("<response><code>0</code></response>", Refused),
    ],
)
def test_failures_in_any_wrapper_are_understood(answer: str, error: type[Exception]) -> None:
    client, _ = canned(answer)
    assert error is type(client.send_asn([row("asn")])[0].error)


@pytest.mark.parametrize("answer", ["<html>please wait</html>", "<response><flag>suc", "busy", ""])
def test_answer_that_is_not_qimens_leaves_a_write_in_doubt(answer: str) -> None:
    client, _ = canned(answer, answer)
    with pytest.raises(InDoubt):
        client.send_asn([row("asn")])
    with pytest.raises(Unavailable):
        client.probe("send_asn", row("asn"))


@pytest.mark.parametrize("noun", NOUNS)
@pytest.mark.parametrize(
    ("fault", "error", "found"),
    [
        ("429", Throttled, "absent"),
        ("5xx", InDoubt, "absent"),
        ("timeout_before", InDoubt, "absent"),
        ("timeout_after", InDoubt, "done"),
        ("truncated", InDoubt, "done"),
    ],
)
def test_lost_write_is_found_by_its_code(
    twin: qimen.QimenTwin, faults: Faults, url: str, noun: str, fault: str, error: type[Exception], found: str
) -> None:
    ability, client = f"send_{noun}", client_for(url, timeout_s=0.2)
    qimen.prepare(twin, ability)
    faults.set(plan=[fault], hang_s=0.4)
    with pytest.raises(error):
        getattr(client, ability)([row(noun)])
    faults.set()
    assert found == patiently(lambda: client.probe(ability, row(noun)).state, found)
    assert (1 if found == "done" else 0) == qimen.effects(twin, ability)


def patiently(ask: Callable[[], str], wanted: str) -> str:
    """A write whose caller hung up may still be on its way into the books."""
    return next((seen for seen in (ask() for _ in range(20)) if seen == wanted), "never")


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ("<response><flag>failure</flag><message>order not found</message></response>", "absent"),
        ("<response><flag>failure</flag><message>system busy</message></response>", "failed"),
        ("<error_response><code>sign-check-failure</code><msg>not found</msg></error_response>", "failed"),
        ("<response><flag>success</flag></response>", "absent"),
        ("<response><flag>success</flag><entryOrder><status>NEW</status></entryOrder></response>", "absent"),
    ],
)
def test_only_a_clear_no_means_that_the_order_is_not_there(answer: str, state: str) -> None:
    client, _ = canned(answer)
    assert client.probe("send_asn", row("asn")).state == state


# --- stock ---


def test_stock_is_asked_for_every_keeper_and_sku(twin: qimen.QimenTwin, client: Any) -> None:
    shelves = {"WH01|YIPAN01|TEA-100|ZP": 9, "WH02|YIPAN02|TEA-100|CC": 4, "WH02|OTHER|TEA-100|ZP": 7}
    twin.control("setup", {"stock": shelves})
    twin.hold()
    line = {"lines": row_lines("TEA-100", 3)}
    client.send_delivery_order([row("delivery_order", **line)])
    rows = [r for page in client.fetch_stock(["TEA-100", "CUP-01"]) for r in stock_of(page)]
    assert rows == [("WH01", "YIPAN01", "ZP", 6, 3), ("WH02", "YIPAN02", "CC", 4, 0)]


def row_lines(sku: str, quantity: int) -> tuple[Any, ...]:
    value = DeliveryOrder.model_validate_json((FIXTURES / "delivery_order.1.canonical.json").read_bytes())
    return (value.lines[0].model_copy(update={"sku": sku, "quantity": quantity}),)


def stock_of(page: Document) -> list[tuple[Any, ...]]:
    snapshot: Any = load(CONNECTOR.mappings / "stock.yaml").read(page.body)
    return [(r.warehouse, r.keeper, r.condition, r.quantity, r.locked) for r in snapshot.rows]


@pytest.mark.parametrize("total", ["<totalLines>103</totalLines>", "<totalCount>103</totalCount>", ""])
def test_stock_is_read_to_its_last_page_however_the_total_is_called(total: str) -> None:
    client, http = canned(stock_page(100, total), stock_page(3, total), owner_codes="")
    documents = client.fetch_stock(["A"])
    assert [len(stock_of(one)) for one in documents] == [103]
    assert [etree.fromstring(body).findtext("page") for body in http.bodies] == ["1", "2"]


@pytest.mark.parametrize(
    ("totals", "shown"),
    [((103, 103), (103, 103)), ((103, 102), (103, 102)), ((102, 103), (102, 103)), (("", ""), (None, 103))],
)
def test_a_total_that_changes_while_stock_is_read_can_be_seen(totals: tuple[Any, Any], shown: tuple[Any, Any]) -> None:
    rows = shown[1] - 100
    pages = [stock_page(n, f"<totalLines>{total}</totalLines>") for n, total in zip((100, rows), totals, strict=True)]
    client, _ = canned(*pages, owner_codes="OWNER")
    (document,) = client.fetch_stock(["A"])
    snapshot: Any = load(CONNECTOR.mappings / "stock.yaml").read(document.body)
    assert (snapshot.keeper, snapshot.sku, snapshot.announced, snapshot.received) == ("OWNER", "A", *shown)


def stock_page(rows: int, total: str) -> str:
    item = "<item><warehouseCode>W</warehouseCode><itemCode>A</itemCode><quantity>1</quantity></item>"
    return f"<response><flag>success</flag>{total}<items>{item * rows}</items></response>"


def canned(*answers: str, **settings: Any) -> tuple[Any, SimpleNamespace]:
    """A client whose wire gives these answers, one a call, and keeps what was sent."""
    client, left = client_for("http://127.0.0.1:9", **settings), list(answers)

    def call(ability: str, method: str, path: str = "", **more: Any) -> SimpleNamespace:
        client.http.bodies.append(more["data"])
        return SimpleNamespace(content=left.pop(0).encode())

    client.http = SimpleNamespace(call=call, bodies=[])
    return client, client.http


# --- callbacks ---


def pushes(twin: qimen.QimenTwin) -> list[Request]:
    return [Request("POST", p["query"], p["headers"], p["body"], now()) for p in qimen.callbacks(twin)]


def push(said: str, inside: str, **params: str) -> Request:
    """A push signed as the warehouse signs it; params replace its own. inside: a document, or what <request> holds."""
    body = (inside if "<request>" in inside else f"<request>{inside}</request>").encode()
    query = {
        "method": said,
        "timestamp": now().astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S"),
        "format": "xml",
        "app_key": qimen.SETTINGS["app_key"],
        "customerId": qimen.SETTINGS["customer_id"],
        "v": "2.0",
        **params,
    }
    return Request("POST", [*query.items(), ("sign", top_sign(qimen.SECRETS["secret"], query, body))], {}, body, now())


def test_every_push_is_one_document_of_its_kind(twin: qimen.QimenTwin, client: Any) -> None:
    found = [(d.kind, d.ref, d.event_id) for request in pushes(twin) for d in client.read_callback(request)]
    assert found == [
        ("confirm", "FF20261101-1", "deliveryorder.confirm:FF20261101-1-1"),
        ("confirm", "T20261101", "stockout.confirm:T20261101-1"),
        ("progress", "FF20261101-1", None),
        ("receipt", "ASN20261101-1", "entryorder.confirm:ASN20261101-1-1"),
        ("count", "PD000001/1", "inventory.report:PD000001-1"),
        ("count", "PD000002/2", "inventory.report:PD000002-1/2"),
        ("return", "TH000001", "returnorder.confirm:TH000001-1"),
        ("stock_change", "YD000001", "stockchange.report:M000001"),
    ]


def test_what_comes_in_one_piece_is_kept_as_it_was_signed(twin: qimen.QimenTwin, client: Any) -> None:
    whole = [request for request in pushes(twin) if b"<totalPage>3" not in request.body]
    for request in whole:
        assert [request.body] == [d.body for d in client.read_callback(request)]


def test_rows_of_two_pages_of_a_count_are_told_apart(client: Any) -> None:
    cell = ("W", "K", "S", "ZP")
    pages = [qimen.count_of("PD1", cell, n, page=(n, 2)).decode() for n in (1, 2)]
    documents = [client.read_callback(push("inventory.report", page))[0] for page in pages]
    assert [d.event_id for d in documents] == ["inventory.report:PD1-1/1", "inventory.report:PD1-1/2"]
    assert [read(d).rows[0].event_id for d in documents] == ["PD1-1/1", "PD1-1/2"]


@pytest.mark.parametrize("spelling", ["deliveryorder.confirm", "taobao.qimen.deliveryorder.confirm"])
def test_message_id_does_not_depend_on_the_spelling_of_the_method(client: Any, spelling: str) -> None:
    inside = "<deliveryOrder><deliveryOrderCode>F</deliveryOrderCode><outBizCode>m</outBizCode></deliveryOrder>"
    request = push("deliveryorder.confirm", inside, method=spelling)
    assert [d.event_id for d in client.read_callback(request)] == ["deliveryorder.confirm:m"]


@pytest.mark.parametrize(
    "params",
    [
        {"customerId": "another"},
        {"app_key": "another"},
        {"sign_method": "none"},
        {"timestamp": ""},
        {"timestamp": "yesterday"},
        {"timestamp": "2020-01-01 00:00:00"},
        {"timestamp": "2999-01-01 00:00:00"},
    ],
)
def test_push_of_another_or_of_another_time_is_refused(client: Any, params: dict[str, str]) -> None:
    with pytest.raises(NotAuthorised):
        client.read_callback(push("entryorder.confirm", ASN % "<entryOrderCode>A</entryOrderCode>", **params))


def test_time_window_is_a_setting(url: str) -> None:
    old = (now() - timedelta(hours=1)).astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S")
    request = push("entryorder.confirm", ASN % "<entryOrderCode>A</entryOrderCode>", timestamp=old)
    for window_s in (0, 7200):
        assert [d.ref for d in client_for(url, window_s=window_s).read_callback(request)] == ["A"]
    with pytest.raises(NotAuthorised):
        client_for(url, window_s=600).read_callback(request)


def test_push_without_or_with_a_wrong_signature_is_refused(twin: qimen.QimenTwin, client: Any) -> None:
    good = pushes(twin)[0]
    unsigned = replace(good, query=[pair for pair in good.query if pair[0] != "sign"])
    doubled = replace(good, query=[*good.query, ("app_key", qimen.SETTINGS["app_key"])])
    added = replace(good, query=[*good.query, ("target_app_key", "1")])
    spaced = replace(good, body=good.body.replace(b"><", b"> <", 1))
    for bad in (unsigned, doubled, added, spaced):
        with pytest.raises(NotAuthorised):
            client.read_callback(bad)


def test_refused_signature_is_answered_as_the_gateway_does(client: Any) -> None:
    reply = client.acknowledge(push("entryorder.confirm", ""), NotAuthorised("secret details"))
    answer = etree.fromstring(reply.body)
    told = (reply.status, answer.findtext("flag"), answer.findtext("sub_code"))
    assert told == (200, "failure", "sign-check-failure")
    assert b"secret details" not in reply.body


def test_kept_and_refused_pushes_are_answered_with_a_flag(client: Any) -> None:
    request = push("entryorder.confirm", "")
    kept, refused = (client.acknowledge(request, error) for error in (None, Unfit("no <good>\x00")))
    assert [one.text for one in etree.fromstring(kept.body)] == ["success", "0", "ok"]
    assert [one.text for one in etree.fromstring(refused.body)] == ["failure", "Unfit", "no <good>"]


@pytest.mark.parametrize(
    ("method", "inside", "error"),
    [
        ("entryorder.confirm", "<request><entryOrder>", Unfit),
        ("entryorder.confirm", '<!DOCTYPE a [<!ENTITY b "c">]><request>&b;</request>', Unfit),
        ("entryorder.confirm", "<entryOrder></entryOrder>", Unfit),
        ("inventory.report", "<outBizCode>m</outBizCode>", Unfit),
        ("stockchange.report", "<items/>", Unfit),
        ("deliveryorder.confirm", f"<pad>{'x' * 2_000_000}</pad>", Unfit),
        ("itemlack.report", "<items/>", Refused),
    ],
)
def test_signed_nonsense_is_refused(client: Any, method: str, inside: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        client.read_callback(push(method, inside))


def test_confirmation_that_announces_more_lines_is_not_final(client: Any) -> None:
    head = "<deliveryOrderCode>F</deliveryOrderCode><warehouseCode>W</warehouseCode><confirmType>0</confirmType>"
    lines = "<orderLines><orderLine><itemCode>A</itemCode><actualQty>1</actualQty></orderLine></orderLines>"
    for total, final in (("1", True), ("2", False), ("", True), ("some", True)):
        inside = f"<deliveryOrder>{head}<totalOrderLines>{total}</totalOrderLines></deliveryOrder>{lines}"
        document = client.read_callback(push("deliveryorder.confirm", inside))[0]
        assert final == read(document).final


def read(document: Document) -> Any:
    return load(CONNECTOR.mappings / f"{document.kind}.yaml").read(document.body)


def test_stock_changes_with_different_message_ids_are_documents_of_their_own(client: Any) -> None:
    item = "<item><ownerCode>K</ownerCode><warehouseCode>W</warehouseCode><orderCode>O{n}</orderCode>"
    item += "<outBizCode>{m}</outBizCode><itemCode>A{n}</itemCode><quantity>{n}</quantity></item>"
    items = "".join(item.format(n=n, m=m) for n, m in ((1, "x"), (2, "y"), (3, "x")))
    found = client.read_callback(push("stockchange.report", f"<items>{items}</items>"))
    assert [(d.ref, d.event_id) for d in found] == [("O1", "stockchange.report:x"), ("O2", "stockchange.report:y")]
    assert [[(r.sku, r.quantity) for r in read(d).rows] for d in found] == [[("A1", 1), ("A3", 3)], [("A2", 2)]]


def confirm(line: str) -> bytes:
    head = "<deliveryOrderCode>F</deliveryOrderCode><warehouseCode>W</warehouseCode>"
    return f"<request><deliveryOrder>{head}</deliveryOrder><orderLines>{line}</orderLines></request>".encode()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("<batchs><batch><actualQty>1</actualQty></batch></batchs>", "its lots add up to 1, the row itself says 2"),
        ("<batchs><batch><inventoryType>JS</inventoryType><actualQty>2</actualQty></batch></batchs>", "another cond"),
        ("<inventoryType>YY</inventoryType>", "'ZP', 'CC', 'JS' or 'XS'"),
    ],
)
def test_line_that_contradicts_itself_is_unfit(line: str, why: str) -> None:
    body = confirm(f"<orderLine><itemCode>A</itemCode><actualQty>2</actualQty>{line}</orderLine>")
    with pytest.raises(Unfit, match=why):
        load(CONNECTOR.mappings / "confirm.yaml").read(body)


@pytest.mark.parametrize("body", [confirm(""), confirm("<orderLine><itemCode>A</itemCode></orderLine>")])
def test_confirmation_that_says_no_quantity_is_unfit_rather_than_nothing(body: bytes) -> None:
    with pytest.raises(Unfit):
        load(CONNECTOR.mappings / "confirm.yaml").read(body)


def test_unknown_progress_is_parked_with_its_value() -> None:
    process = "<process><processStatus>LOST</processStatus></process>"
    body = f"<request><order><orderCode>F</orderCode></order>{process}</request>".encode()
    with pytest.raises(Unfit, match="LOST"):
        load(CONNECTOR.mappings / "progress.yaml").read(body)


# --- the warehouse at work ---


def deliver(erp: Erp, twin: qimen.QimenTwin, stock: int, **setup: Any) -> list[Confirm]:
    """Put TEA-100 on the shelf, order 2 of it, and hear what leaves."""
    twin.control("setup", {"stock": {"WH01|YIPAN01|TEA-100|ZP": stock}, **setup})
    erp.client.send_delivery_order([row("delivery_order", lines=row_lines("TEA-100", 2))])
    return erp.heard("confirm", many=2 if setup else 1)


def test_delivery_is_picked_packed_and_leaves_under_its_waybill(house: Erp, twin: qimen.QimenTwin) -> None:
    sent = deliver(house, twin, stock=5)[0]
    assert [p.code for p in house.heard("progress", many=3)] == ["ACCEPT", "PICK", "PACKAGE"]
    lines = [(line.line, line.quantity) for line in sent.lines]
    assert (sent.final, sent.parcels[0].waybill, lines) == (True, "SF1390000000001", [("1", 2)])
    assert twin.books()["stock"]["WH01|YIPAN01|TEA-100|ZP"] == 3


def test_delivery_may_leave_in_two_increments(house: Erp, twin: qimen.QimenTwin) -> None:
    first, rest = sorted(deliver(house, twin, stock=5, split_rate=1.0), key=lambda c: c.final)
    assert [(c.final, c.lines[0].quantity) for c in (first, rest)] == [(False, 1), (True, 1)]
    assert first.event_id != rest.event_id


def test_lacking_units_are_confirmed_as_not_sent(house: Erp, twin: qimen.QimenTwin) -> None:
    sent = deliver(house, twin, stock=0)[0]
    books = twin.books()
    assert (sent.final, sent.lines[0].quantity, sent.parcels) == (True, 0, ())
    assert (books["shorted"], books["deliveries"]["FF20261101-1"]["status"]) == (2, "CLOSED")


def test_received_goods_are_on_the_shelf_and_told(house: Erp, twin: qimen.QimenTwin) -> None:
    twin.control("setup", {"short_receipts": 3})
    house.client.send_asn([row("asn")])
    receipt = house.heard("receipt")[0]
    assert (receipt.final, [line.quantity for line in receipt.lines]) == (True, [97, 40])
    assert twin.books()["stock"] == {"WH01|YIPAN01|CUP-01|ZP": 40, "WH01|YIPAN01|TEA-100|ZP": 97}


def test_counts_and_changes_are_told_as_signed_differences(house: Erp, twin: qimen.QimenTwin) -> None:
    cell = {"warehouse": "WH01", "keeper": "YIPAN01", "sku": "TEA-100"}
    twin.control("change", {**cell, "quantity": 5})
    twin.control("adjust", {**cell, "quantity": -9})
    assert tuple(house.heard(kind)[0].rows[0].quantity for kind in ("stock_change", "count")) == (5, -5)
    assert twin.books()["stock"]["WH01|YIPAN01|TEA-100|ZP"] == 0


def test_change_that_names_an_order_of_ours_moves_nothing(house: Erp, twin: qimen.QimenTwin) -> None:
    twin.hold()
    house.client.send_delivery_order([row("delivery_order")])
    cell = {"warehouse": "WH01", "keeper": "K", "sku": "S"}
    twin.control("change", {**cell, "quantity": 4, "order_code": "FF20261101-1"})
    assert house.heard("stock_change")[0].rows[0].order_ref == "FF20261101-1"
    assert twin.books()["stock"] == {}


def test_push_is_repeated_until_it_is_kept(house: Erp, twin: qimen.QimenTwin) -> None:
    house.refusals = 1
    twin.control("adjust", {"warehouse": "WH01", "keeper": "K", "sku": "S", "quantity": 1})
    assert house.heard("count")[0].rows[0].quantity == 1


def test_goods_that_come_back_lie_in_the_warehouse_and_are_told(house: Erp, twin: qimen.QimenTwin) -> None:
    goods = {"warehouse": "WH01", "keeper": "YIPAN01", "sku": "TEA-100", "condition": "CC", "quantity": 2}
    code = twin.control("return", {**goods, "order": "T20261101-1", "waybill": "SF139"})["code"]
    told = house.heard("return")[0]
    (line,) = told.lines
    assert (told.ref, told.waybill, told.final, line.order) == (code, "SF139", True, "T20261101-1")
    assert (line.sku, line.keeper, line.condition, line.quantity) == ("TEA-100", "YIPAN01", "CC", 2)
    assert twin.books()["stock"] == {"WH01|YIPAN01|TEA-100|CC": 2}


def test_held_warehouse_picks_nothing_until_it_may_go(house: Erp, twin: qimen.QimenTwin) -> None:
    twin.hold()
    twin.control("setup", {"stock": {"WH01|YIPAN01|TEA-100|ZP": 2}})
    house.client.send_delivery_order([row("delivery_order", lines=row_lines("TEA-100", 2))])
    assert [p.code for p in house.heard("progress")] == ["ACCEPT"]
    assert house.client.send_cancellation([row("cancellation", ref="FF20261101-1")])[0].state == "done"
    twin.go()
    assert twin.books()["deliveries"]["FF20261101-1"]["status"] == "CANCELED"


def test_twin_lies_and_loses_when_it_is_told_to(twin: qimen.QimenTwin, client: Any) -> None:
    twin.control("setup", {"stock": {"WH01|YIPAN01|TEA-100|ZP": 2}})
    twin.control("lie", {"what": "stock", "by": 1})
    twin.control("lose", {"ability": "send_asn"})
    assert client.send_asn([row("asn")])[0].state == "done"
    books = twin.books()
    assert (books["stock"], books["receipts"]) == ({"WH01|YIPAN01|TEA-100|ZP": 3}, {})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("deliveryOrder/shopNick", ""), "shopNick"),
        (("deliveryOrder/receiverInfo/mobile", ""), "receiverInfo/mobile"),
        (("deliveryOrder/warehouseCode", "WH99"), "WH99"),
        (("deliveryOrder/gotAmount", "1.00"), "金额不平"),
        (("deliveryOrder/createTime", "2026-11-01T10:05:00"), "createTime"),
        (("orderLines/orderLine/planQty", "2.5"), "2.5"),
        (("orderLines/orderLine/ownerCode", ""), "ownerCode"),
    ],
)
def test_twin_refuses_what_a_warehouse_would(client: Any, change: tuple[str, str], words: str) -> None:
    sent = row("delivery_order")
    sent.body.find(change[0]).text = change[1]
    outcome = client.send_delivery_order([sent])[0]
    assert Refused is type(outcome.error)
    assert words in str(outcome.error)
