"""The Tmall connector against its twin, over real loopback HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from connectors.registry import HERE, connector
from connectors.spi import Connection, Outcome, Outgoing
from connectors.wire.http import Http, Outbound
from connectors.wire.signing import VECTORS
from core.errors import InDoubt, NotAuthorised, Refused, Throttled, Unavailable, Unfit, YipanError
from core.model import OUTWARD, Document, Order, Snapshot
from mappings.language import load
from sandbox.sales import tmall
from tests.stage import JUNE, Parrot, Stage
from tests.worlds import Clock

TMALL = connector("sales/tmall")
MAPPING = {noun: load(TMALL.mappings / f"{noun}.yaml") for noun in ("order", "stock", "shipment")}
PUBLISHED = json.loads((HERE.parent / "sandbox/contract/vectors/tmall.json").read_text())
RED, BLUE, CUP = "5000000000011", "5000000000012", "600000000002"
SHIRT = "600000000001"


class Shop:
    """A twin behind HTTP and a client of it."""

    def __init__(self, stage: Stage) -> None:
        self.clock, self.faults = Clock(JUNE), stage.faults
        self.twin = tmall.make(self.faults, now=self.clock)
        self.url = stage.enter(self.twin)

    def client(
        self, *, timeout_s: float = 5, attempts: int = 1, secrets: dict[str, str] | None = None, **more: Any
    ) -> Any:
        http = Http(self.url, outbound=Outbound(allow=["127.0.0.0/8"]), timeout_s=timeout_s, attempts=attempts)
        settings = {**tmall.SETTINGS, "base_url": self.url, **more}
        return TMALL.client(Connection("c1", "sales/tmall", settings, secrets or tmall.SECRETS), http, self.clock)

    def buy(self, *lines: tuple[str, int], **more: Any) -> str:
        wanted = [{"listing": ref, "quantity": quantity} for ref, quantity in lines]
        return str(self.twin.control("buy", {"lines": wanted, **more})["ref"])

    def read_all(self, client: Any, cursor: Any = None) -> tuple[list[Document], Any]:
        documents: list[Document] = []
        more, cursor = True, cursor or {}
        while more:
            page = client.fetch_orders(cursor)
            documents, more, cursor = [*documents, *page.documents], page.more, page.cursor
        return documents, cursor

    def order(self, ref: str) -> Any:
        return self.books["orders"][ref]

    @property
    def books(self) -> Any:
        return self.twin.control("books", {})


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    stage = Stage(hang_s=0.5)
    yield stage
    stage.server.stop()


@pytest.fixture
def shop(stage: Stage) -> Shop:
    return Shop(stage)


@pytest.fixture
def answering(stage: Stage) -> Callable[[str | bytes], Any]:
    """A client of a shop that answers everything with the same words."""

    def client(words: str | bytes) -> Any:
        http = Http(stage.enter(Parrot(words)), outbound=Outbound(allow=["127.0.0.0/8"]), attempts=1)
        return TMALL.client(Connection("c1", "sales/tmall", tmall.SETTINGS, tmall.SECRETS), http, Clock(JUNE))

    return client


def level(listing: str, form: str = "delta", product: str = SHIRT, key: str = "ab12", **more: Any) -> Outgoing:
    value = OUTWARD["stock"].model_validate(
        {"listing": listing, "product": product, "form": form, "key": key, "quantity": 0, **more}
    )
    return Outgoing(f"{key}/{listing}", listing, MAPPING["stock"].write(value))


def shipment(tid: str, waybill: str = "SF1", lines: tuple[str, ...] = (), carrier: str = "SF") -> Outgoing:
    rows = [{"ref": line, "quantity": 1} for line in lines or (tid,)]
    value = OUTWARD["shipment"].model_validate(
        {"ref": "F1", "order_ref": tid, "carrier": carrier, "waybill": waybill}
        | {"shipped_at": "2026-06-18T04:00:00Z", "split": bool(lines), "lines": rows}
    )
    return Outgoing("F1", tid, MAPPING["shipment"].write(value))


def oids(tid: str, count: int) -> tuple[str, ...]:
    return tuple(str(int(tid) + n) for n in range(1, count + 1))


def error(code: int, sub_code: str = "") -> str:
    return json.dumps({"error_response": {"code": code, "msg": "坏了", "sub_code": sub_code, "sub_msg": "请重试"}})


# Reading orders


def test_a_paid_trade_becomes_an_order_that_claims_stock_and_may_ship(shop: Shop) -> None:
    tid = shop.buy((RED, 2), (CUP, 1))
    shop.clock.wait(10)
    (document,), _ = shop.read_all(shop.client())
    order = MAPPING["order"].read(document.body)
    assert isinstance(order, Order)
    assert ("order", tid, "2026-06-18 12:00:00") == (document.kind, document.ref, document.version)
    assert (order.status, order.claims_stock, order.may_ship, order.holds) == ("paid", True, True, ())
    lines = [(line.listing, line.sku, line.quantity, line.net_minor) for line in order.lines]
    assert lines == [(RED, "TS-RED-M", 2, 11800), (CUP, "CUP-500", 1, 12990)]
    assert order.party and ("token", f"1OAID{tid}") == (order.party.kind, order.party.token)


def test_an_unpaid_trade_claims_its_stock_but_may_not_ship(shop: Shop) -> None:
    shop.buy((RED, 2), pay=False)
    shop.clock.wait(10)
    (document,), _ = shop.read_all(shop.client())
    order = MAPPING["order"].read(document.body)
    assert isinstance(order, Order)
    assert (order.status, order.claims_stock, order.may_ship, order.paid_minor) == ("unpaid", True, False, 0)


def test_a_trade_closed_before_payment_is_called_off_and_restocked(shop: Shop) -> None:
    tid = shop.buy((RED, 2), pay=False)
    assert shop.books["stock"][RED] == 98
    shop.twin.control("close", {"ref": tid})
    order = MAPPING["order"].read(shop.client().fetch_one("order", tid).body)
    assert isinstance(order, Order)
    assert (order.closed, order.claims_stock, [line.cancelled for line in order.lines]) == (True, False, [2])
    assert shop.books["stock"][RED] == 100


def test_pages_are_read_from_the_last_to_the_first(shop: Shop) -> None:
    tids = []
    for _ in range(5):
        tids.append(shop.buy((RED, 1)))
        shop.clock.wait(1)
    shop.clock.wait(10)
    client = shop.client(page_size=2)
    page = client.fetch_orders({})
    assert (2, True, [tids[0]]) == (page.cursor["page"], page.more, [one.ref for one in page.documents])
    documents, cursor = shop.read_all(client)
    assert [tids.index(one.ref) for one in documents] == [0, 2, 1, 4, 3]
    assert {"since"} == set(cursor)


def test_a_trade_that_moves_while_pages_are_read_is_not_lost(shop: Shop) -> None:
    tids = {shop.buy((RED, 1)) for _ in range(6)}
    shop.twin.control("setup", {"moving_pages": True})
    shop.clock.wait(10)
    client = shop.client(page_size=2)
    first, cursor = shop.read_all(client)
    assert len({one.ref for one in first}) < len(tids), "some have left the window before their page was read"
    shop.twin.control("setup", {"moving_pages": False})
    shop.clock.wait(10)
    second, _ = shop.read_all(client, cursor)
    assert tids == {one.ref for one in [*first, *second]}
    assert shop.faults.bitten["moving_pages/fetch_orders"] > 0


def test_windows_overlap_and_stay_behind_now(shop: Shop) -> None:
    client = shop.client()
    _, cursor = shop.read_all(client)
    assert cursor == {"since": "2026-06-18 11:59:58"}
    tid = shop.buy((RED, 1), ago_s=30)
    shop.clock.wait(5)
    documents, _ = shop.read_all(client, cursor)
    assert [tid] == [one.ref for one in documents], "shown late, but within the overlap"


def test_a_long_silence_is_read_in_windows_of_half_an_hour(shop: Shop) -> None:
    client = shop.client()
    _, cursor = shop.read_all(client)
    early = shop.buy((RED, 1))
    shop.clock.wait(7200)
    late = shop.buy((RED, 1))
    shop.clock.wait(5)
    before = shop.faults.calls["fetch_orders"]
    documents, _ = shop.read_all(client, cursor)
    assert [early, late] == [one.ref for one in documents]
    assert shop.faults.calls["fetch_orders"] - before == 5 + 2, "five windows counted, two of them read"


def test_a_clock_that_steps_back_never_moves_the_cursor_back(shop: Shop) -> None:
    client = shop.client()
    _, cursor = shop.read_all(client)
    shop.clock.wait(-300)
    page = client.fetch_orders(cursor)
    assert (cursor, False) == (page.cursor, page.more)


def test_the_first_reading_goes_back_as_far_as_set(shop: Shop) -> None:
    tid = shop.buy((RED, 1), ago_s=80_000)
    assert ([], [tid]) == (
        [one.ref for one in shop.read_all(shop.client())[0]],
        [one.ref for one in shop.read_all(shop.client(first_days=1))[0]],
    )


def test_distribution_trades_come_only_where_their_type_is_set(shop: Shop) -> None:
    tid = shop.buy((RED, 1), type="fenxiao")
    shop.clock.wait(10)
    assert shop.read_all(shop.client())[0] == []
    assert [tid] == [one.ref for one in shop.read_all(shop.client(types="guarantee_trade,fenxiao"))[0]]


def test_a_trade_read_alone_is_the_same_document(shop: Shop) -> None:
    for count in range(1, 4):
        shop.buy(*[(RED, 1), (BLUE, 2), (CUP, 3)][:count])
    shop.clock.wait(10)
    client = shop.client()
    documents, _ = shop.read_all(client)
    assert documents == [client.fetch_one("order", one.ref) for one in documents]
    assert [len(MAPPING["order"].read(one.body).lines) for one in documents] == [3, 2, 1]  # type: ignore[attr-defined]


def test_a_trade_whose_shopper_wrote_something_is_read_alone(shop: Shop) -> None:
    silent, talking = shop.buy((RED, 1)), shop.buy((RED, 1), message="周末送货")
    shop.clock.wait(10)
    client = shop.client()
    page = client.fetch_orders({})
    assert ([one.ref for one in page.documents], page.refs) == ([silent], [talking])
    assert MAPPING["order"].read(client.fetch_one("order", talking).body).note == "周末送货"  # type: ignore[attr-defined]


def test_an_unreadable_trade_is_kept_and_stops_no_neighbour(answering: Any) -> None:
    client = answering('{"trades_sold_increment_get_response":{"total_results":2,"trades":{"trade":["?",{"tid":7}]}}}')
    documents = client.fetch_orders({}).documents
    kept = [(one.ref, one.body, one.version) for one in documents]
    assert kept == [("?", b'{"trade":"?"}', None), ("7", b'{"trade":{"tid":7}}', None)]
    for one in documents:
        with pytest.raises(Unfit):
            MAPPING["order"].read(one.body)


def test_an_unknown_status_is_a_fault_that_names_it(shop: Shop) -> None:
    tid = shop.buy((RED, 1))
    shop.twin.control("spoil", {"ref": tid, "fields": {"status": "WAIT_MOON_PHASE"}})
    with pytest.raises(Unfit, match=r"tmall/order\.yaml:\d+:\d+: status <- .*unknown value.*WAIT_MOON_PHASE"):
        MAPPING["order"].read(shop.client().fetch_one("order", tid).body)


@pytest.mark.parametrize("body", [b"", b"<trade/>", b'{"trade":', b"[]", b'{"trade":{}}', b'{"trade":' + b"[" * 60])
def test_a_malformed_trade_is_unfit(body: bytes) -> None:
    with pytest.raises(Unfit):
        MAPPING["order"].read(body)


def test_an_oversized_trade_is_unfit() -> None:
    with pytest.raises(Unfit, match="more than the"):
        MAPPING["order"].read(b'{"trade":{"tid":"' + b"1" * 4_200_000 + b'"}}')


# Stock


def test_differences_of_one_product_go_in_one_call(shop: Shop) -> None:
    rows = [level(RED, change=-3), level(BLUE, change=5)]
    assert [Outcome.done()] * 2 == shop.client().send_stock(rows)
    assert (shop.books["stock"][RED], shop.books["stock"][BLUE], shop.faults.calls["send_stock"]) == (97, 105, 1)


def test_a_difference_sent_twice_counts_once(shop: Shop) -> None:
    client, rows = shop.client(), [level(RED, change=-3), level(BLUE, change=5)]
    client.send_stock(rows)
    client.send_stock(rows)
    assert (shop.books["stock"][RED], shop.books["stock"][BLUE], shop.books["writes_absorbed"]) == (97, 105, 1)
    client.send_stock([level(RED, change=-3, key="ab13")])
    assert shop.books["stock"][RED] == 94


def test_a_level_is_set_as_it_is(shop: Shop) -> None:
    shop.client().send_stock([level(RED, "set", quantity=12)])
    assert (shop.books["stock"][RED], shop.books["stock"][BLUE]) == (12, 100)


def test_levels_and_differences_do_not_share_a_call(shop: Shop) -> None:
    outcomes = shop.client().send_stock([level(RED, "set", quantity=12), level(BLUE, change=-1)])
    assert ([Outcome.done()] * 2, 2) == (outcomes, shop.faults.calls["send_stock"])
    assert (shop.books["stock"][RED], shop.books["stock"][BLUE]) == (12, 99)


@pytest.mark.parametrize("product", [CUP, ""])
def test_a_product_without_skus_is_told_as_a_whole(shop: Shop, product: str) -> None:
    client = shop.client()
    client.send_stock([level(CUP, product=product, change=-40)])
    assert shop.books["stock"][CUP] == 60
    client.send_stock([level(CUP, "set", product=product, quantity=0)])
    assert shop.books["stock"][CUP] == 0


def test_a_difference_below_zero_is_clamped(shop: Shop) -> None:
    shop.client().send_stock([level(RED, change=-400)])
    assert shop.books["stock"][RED] == 0


def test_what_the_shop_shows_is_read_per_sku_or_for_the_product(shop: Shop) -> None:
    shop.buy((RED, 7), (CUP, 1))
    documents = shop.client().fetch_stock([SHIRT, CUP])
    snapshots = [MAPPING["stock"].read(one.body) for one in documents]
    assert all(isinstance(one, Snapshot) for one in snapshots)
    shown = {row.listing: row.quantity for one in snapshots for row in one.rows}  # type: ignore[attr-defined]
    assert ([SHIRT, CUP], shop.books["stock"]) == ([one.ref for one in documents], shown)


def test_a_shopper_is_served_below_zero_and_the_shop_counts_it(shop: Shop) -> None:
    shop.client().send_stock([level(RED, "set", quantity=1)])
    shop.buy((RED, 3))
    assert (shop.books["stock"][RED], shop.books["oversold"]) == (0, 2)


def test_an_unknown_sku_is_refused(shop: Shop) -> None:
    with pytest.raises(Refused, match="没有该SKU"):
        shop.client().send_stock([level("999", change=1)])


def test_a_key_that_is_not_hexadecimal_is_refused(shop: Shop) -> None:
    with pytest.raises(Refused, match="outer_biz_key"):
        shop.client().send_stock([level(RED, change=1, key="level-1")])


def test_the_twin_can_lie_and_lose(shop: Shop) -> None:
    shop.twin.control("lie", {"what": RED, "by": 1})
    shop.twin.control("lose", {"what": "send_stock"})
    client = shop.client()
    client.send_stock([level(RED, change=5, key="aa")])
    assert (shop.books["stock"][RED], tmall.effects(shop.twin, "send_stock")) == (101, 0)
    client.send_stock([level(RED, change=5, key="bb")])
    assert (shop.books["stock"][RED], tmall.effects(shop.twin, "send_stock")) == (106, 1)


# Shipments


def test_a_whole_order_is_consigned(shop: Shop) -> None:
    tid = shop.buy((RED, 2), (CUP, 1))
    assert [Outcome.done("SF1")] == shop.client().send_shipment([shipment(tid)])
    order = shop.order(tid)
    assert (order["status"], [line["shipped"] for line in order["lines"]]) == ("WAIT_BUYER_CONFIRM_GOODS", [2, 1])
    assert [{"waybill": "SF1", "company": "SF", "lines": list(oids(tid, 2))}] == order["shipments"]


def test_a_part_of_an_order_is_consigned_by_its_lines(shop: Shop) -> None:
    tid = shop.buy((RED, 2), (CUP, 1))
    first, second = oids(tid, 2)
    client = shop.client()
    client.send_shipment([shipment(tid, "SF1", (second,))])
    order = shop.order(tid)
    assert (order["status"], [line["shipped"] for line in order["lines"]]) == ("SELLER_CONSIGNED_PART", [0, 1])
    client.send_shipment([shipment(tid, "YT2", (first,), carrier="YTO")])
    assert (shop.order(tid)["status"], shop.books["fulfilments_doubled"]) == ("WAIT_BUYER_CONFIRM_GOODS", 0)
    document = client.fetch_one("order", tid)
    assert MAPPING["order"].read(document.body).status == "shipped"  # type: ignore[attr-defined]


def test_a_second_consignment_is_refused(shop: Shop) -> None:
    tid, client = shop.buy((RED, 2)), shop.client()
    client.send_shipment([shipment(tid)])
    with pytest.raises(Refused, match="B04"):
        client.send_shipment([shipment(tid, "SF2")])
    assert len(shop.order(tid)["shipments"]) == 1


def test_an_unpaid_or_unknown_trade_cannot_be_consigned(shop: Shop) -> None:
    for tid, words in ((shop.buy((RED, 2), pay=False), "B04"), ("42", "trade-not-exist")):
        with pytest.raises(Refused, match=words):
            shop.client().send_shipment([shipment(tid)])


def test_an_answer_without_success_is_refused(answering: Any) -> None:
    words = '{"logistics_offline_send_response":{"shipping":{"is_success":false}}}'
    (outcome,) = answering(words).send_shipment([shipment("42")])
    assert ("failed", Refused) == (outcome.state, type(outcome.error))


def test_a_probe_finds_our_waybill(shop: Shop) -> None:
    tid, client = shop.buy((RED, 2)), shop.client()
    assert Outcome.absent() == client.probe("send_shipment", shipment(tid))
    client.send_shipment([shipment(tid)])
    assert Outcome.done("SF1") == client.probe("send_shipment", shipment(tid))


def test_a_probe_of_some_lines_looks_at_those_alone(shop: Shop) -> None:
    tid, client = shop.buy((RED, 2), (CUP, 1)), shop.client()
    first, second = oids(tid, 2)
    client.send_shipment([shipment(tid, "SF1", (first,))])
    assert Outcome.absent() == client.probe("send_shipment", shipment(tid, "SF2", (second,)))
    assert Outcome.done("SF1") == client.probe("send_shipment", shipment(tid, "SF1", (first,)))


def test_a_probe_of_a_trade_sent_by_someone_else_needs_a_person(shop: Shop) -> None:
    tid, client = shop.buy((RED, 2)), shop.client()
    client.send_shipment([shipment(tid, "OTHER-9")])
    outcome = client.probe("send_shipment", shipment(tid, "SF1"))
    assert ("failed", Refused) == (outcome.state, type(outcome.error))


def test_a_probe_of_a_closed_trade_needs_a_person(shop: Shop) -> None:
    tid = shop.buy((RED, 2), pay=False)
    shop.twin.control("close", {"ref": tid})
    assert shop.client().probe("send_shipment", shipment(tid)).state == "failed"


# Errors


@pytest.mark.parametrize(
    ("code", "sub_code", "reads", "writes"),
    [
        (7, "accesscontrol.limited-by-app-api-access-count", Throttled, Throttled),
        (7, "", Throttled, Throttled),
        (8, "", Throttled, Throttled),
        (15, "accesscontrol.limited-by-dynamic-access-count", Throttled, Throttled),
        (15, "isp.call-limited", Throttled, Throttled),
        (10, "", Unavailable, InDoubt),
        (15, "isp.remote-service-timeout", Unavailable, InDoubt),
        (25, "", NotAuthorised, NotAuthorised),
        (27, "session-expired", NotAuthorised, NotAuthorised),
        (11, "isv.permission-api-package-limit", NotAuthorised, NotAuthorised),
        (15, "isv.item-not-exist", Refused, Refused),
        (41, "isv.invalid-parameter", Refused, Refused),
        (999, "never-heard-of", Refused, Refused),
    ],
)
def test_their_error_decides(
    answering: Any, code: int, sub_code: str, reads: type[YipanError], writes: type[YipanError]
) -> None:
    client = answering(error(code, sub_code))
    for call, wanted in (
        (lambda: client.fetch_orders({}), reads),
        (lambda: client.fetch_stock([SHIRT]), reads),
        (lambda: client.send_stock([level(RED, change=1)]), writes),
        (lambda: client.send_shipment([shipment("42")]), writes),
    ):
        with pytest.raises(wanted, match="请重试") as raised:
            call()
        assert wanted is type(raised.value)


@pytest.mark.parametrize("words", ["", "<html>", "[]", "{}", '"x"', '{"error_response":7}', b"\xff\xfe"])
def test_an_unreadable_answer_leaves_a_write_in_doubt_and_a_read_for_later(answering: Any, words: str | bytes) -> None:
    client = answering(words)
    for call in (
        lambda: client.fetch_orders({}),
        lambda: client.fetch_one("order", "1"),
        lambda: client.fetch_stock([SHIRT]),
        lambda: client.probe("send_shipment", shipment("1")),
    ):
        with pytest.raises(Unavailable):
            call()
    for call in (lambda: client.send_stock([level(RED, change=1)]), lambda: client.send_shipment([shipment("1")])):
        with pytest.raises(InDoubt):
            call()


@pytest.mark.parametrize(
    ("fault", "wanted"),
    [("429", Throttled), *[(fault, InDoubt) for fault in ("5xx", "timeout_before", "timeout_after", "truncated")]],
)
def test_a_fault_on_a_write_never_ships_twice(shop: Shop, fault: str, wanted: type[YipanError]) -> None:
    tid, client = shop.buy((RED, 2)), shop.client(timeout_s=0.3)
    shop.faults.set(plan=[fault], hang_s=0.5)
    with pytest.raises(wanted):
        client.send_shipment([shipment(tid)])
    if client.probe("send_shipment", shipment(tid)) == Outcome.absent():
        client.send_shipment([shipment(tid)])
    assert 1 == len(shop.order(tid)["shipments"]) == tmall.effects(shop.twin, "send_shipment")


@pytest.mark.parametrize("fault", ["429", "5xx", "timeout_before", "timeout_after", "truncated"])
def test_a_fault_on_a_difference_never_counts_twice(shop: Shop, fault: str) -> None:
    client = shop.client(timeout_s=0.3)
    shop.faults.set(plan=[fault], hang_s=0.5)
    with pytest.raises((Throttled, InDoubt)):
        client.send_stock([level(RED, change=-3)])
    client.send_stock([level(RED, change=-3)])
    assert (shop.books["stock"][RED], tmall.effects(shop.twin, "send_stock")) == (97, 1)


@pytest.mark.parametrize("fault", ["5xx", "timeout_before", "truncated"])
def test_a_fault_on_a_read_is_read_again(shop: Shop, fault: str) -> None:
    tid = shop.buy((RED, 2))
    shop.faults.set(plan=[fault], hang_s=0.5)
    assert tid == shop.client(timeout_s=0.3, attempts=2).fetch_one("order", tid).ref


# Signing and secrets


@pytest.mark.parametrize("vector", PUBLISHED, ids=lambda one: one["id"])
def test_published_signatures_reproduce(vector: dict[str, Any]) -> None:
    assert vector["expected"] == VECTORS[vector["system"]](vector["inputs"])


def test_every_vector_of_the_manifest_is_there() -> None:
    assert list(TMALL.manifest.vectors) == [one["id"] for one in PUBLISHED]


@pytest.mark.parametrize("method", ["md5", "hmac", "hmac-sha256"])
def test_each_way_of_signing_is_accepted(shop: Shop, method: str) -> None:
    assert shop.client(sign_method=method).fetch_stock([SHIRT])[0].ref == SHIRT


@pytest.mark.parametrize("secrets", [{"app_secret": "wrong"}, {"session": "gone-token"}, {"session": ""}])
def test_wrong_credentials_are_not_authorised_and_never_shown(shop: Shop, secrets: dict[str, str]) -> None:
    client = shop.client(secrets={**tmall.SECRETS, **secrets})
    with pytest.raises(NotAuthorised) as raised:
        client.send_stock([level(RED, change=1)])
    assert [secret for secret in (*secrets.values(), "helloworld") if secret and secret in str(raised.value)] == []
    assert shop.books["stock"][RED] == 100


def test_a_clock_ten_minutes_off_is_refused(shop: Shop) -> None:
    client = shop.client()
    client._top._now = lambda: shop.clock() + timedelta(minutes=11)
    with pytest.raises(Refused, match="Invalid Timestamp"):
        client.fetch_stock([SHIRT])


# Mappings


def fixtures(folder: str) -> list[Any]:
    index = yaml.safe_load((TMALL.mappings / "fixtures" / folder / "index.yaml").read_text())
    return [pytest.param(TMALL.mappings / "fixtures" / folder, one, id=f"{folder}/{one['document']}") for one in index]


@pytest.mark.parametrize(("folder", "fixture"), [*fixtures("built"), *fixtures("held")])
def test_fixtures_translate_exactly(folder: Path, fixture: dict[str, str]) -> None:
    mapping, body = MAPPING[fixture["noun"]], (folder / fixture["document"]).read_bytes()
    canonical = json.loads((folder / fixture["canonical"]).read_text())
    if fixture["direction"] == "read":
        assert canonical == mapping.read(body).model_dump(mode="json", exclude_defaults=True)
    else:
        value = OUTWARD[fixture["noun"]].model_validate(canonical)
        assert json.loads(body) == json.loads(mapping.render(mapping.write(value)))
