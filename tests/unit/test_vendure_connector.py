"""The Vendure connector against its twin, over real loopback HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from connectors.registry import connector
from connectors.spi import Connection, Outcome, Outgoing
from connectors.wire.http import Http, Outbound
from core.errors import InDoubt, NotAuthorised, Refused, Throttled, Unavailable, Unfit, YipanError
from core.model import Cancellation, Level, Order, Shipment, ShippedLine
from mappings.language import load
from sandbox.sales import vendure
from sandbox.sales.vendure_graphql import Invalid, Reader, show
from tests.stage import JUNE, Parrot, Stage
from tests.worlds import Clock

VENDURE = connector("sales/vendure")
MAPPING = {noun: load(VENDURE.mappings / f"{noun}.yaml") for noun in ("order", "stock", "shipment", "cancellation")}
CUP, LARGE, TOWEL = "1", "2", "3"
CLASSES = {"Unavailable": Unavailable, "NotAuthorised": NotAuthorised, "Refused": Refused, "InDoubt": InDoubt}


class Shop:
    """A twin behind HTTP and a client of it."""

    def __init__(self, stage: Stage) -> None:
        self.clock, self.stage = Clock(JUNE), stage
        self.faults = stage.faults
        self.twin = vendure.make(stage.faults, now=self.clock)
        self.url = stage.enter(self.twin)
        self.client = self.client_with()

    def client_with(self, secrets: dict[str, str] | None = None, **settings: Any) -> Any:
        chosen = {**vendure.SETTINGS, "base_url": self.url, **settings}
        connection = Connection("c-1", VENDURE.name, chosen, vendure.SECRETS if secrets is None else secrets)
        http = Http(self.url, timeout_s=1.5, outbound=Outbound(["127.0.0.0/8"]))
        return VENDURE.client(connection, http, self.clock)

    def buy(self, *lines: tuple[str, int], **more: Any) -> str:
        wanted = [{"listing": listing, "quantity": quantity} for listing, quantity in lines]
        return str(self.twin.control("buy", {"lines": wanted, **more})["ref"])

    def read(self, ref: str) -> Order:
        order: Order = MAPPING["order"].read(self.client.fetch_one("order", ref).body)
        return order

    def books(self) -> dict[str, Any]:
        books: dict[str, Any] = self.twin.control("books", {})
        return books


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    stage = Stage(hang_s=2.0)
    yield stage
    stage.server.stop()


@pytest.fixture
def shop(stage: Stage) -> Shop:
    return Shop(stage)


def client_of(stage: Stage, actor: Parrot) -> Any:
    shop = Shop(stage)
    stage.enter(actor)
    return shop.client


def read_all(client: Any, cursor: dict[str, Any] | None = None) -> tuple[list[str], dict[str, Any]]:
    """The refs of all pages from the cursor on, and where it then stands."""
    refs: list[str] = []
    place: dict[str, Any] = cursor or {}
    while True:
        page = client.fetch_orders(place)
        refs += [document.ref for document in page.documents]
        place = json.loads(json.dumps(page.cursor))
        if not page.more:
            return refs, place


def level(listing: str, quantity: int, location: str = "") -> Outgoing:
    value = Level(listing=listing, location=location, form="set", quantity=quantity, key="k")
    return Outgoing(value.key, listing, MAPPING["stock"].write(value))


def shipment(order: Order, waybill: str, *units: int) -> Outgoing:
    lines = tuple(ShippedLine(ref=line.ref, quantity=n) for line, n in zip(order.lines, units, strict=False) if n)
    now = datetime(2026, 6, 18, tzinfo=UTC)
    value = Shipment(ref=waybill, order_ref=order.ref, carrier="SF", waybill=waybill, shipped_at=now, lines=lines)
    return Outgoing(value.ref, order.ref, MAPPING["shipment"].write(value))


def cancellation(ref: str) -> Outgoing:
    return Outgoing(ref, ref, MAPPING["cancellation"].write(Cancellation(ref=ref, reason="缺货")))


def ready(shop: Shop, waybill: str = "SF1000000000001") -> Outgoing:
    """A paid order of two cups that waits to be shipped under this waybill."""
    return shipment(shop.read(shop.buy((CUP, 2))), waybill, 2)


def union_error(field: str, code: str) -> dict[str, Any]:
    return {"data": {field: {"__typename": "Some", "errorCode": code, "message": "no"}}}


def graphql_error(code: str) -> dict[str, Any]:
    return {"errors": [{"message": "no", "path": ["x"], "extensions": {"code": code}}], "data": None}


# Orders


def test_orders_come_in_pages_and_the_cursor_moves_on(shop: Shop) -> None:
    bought = [shop.buy((TOWEL, 1)) for _ in range(5)]
    client = shop.client_with(page_size=2)
    refs, cursor = read_all(client)
    assert bought == refs
    assert cursor == {"since": "2026-06-18T02:00:00.000Z"}


def test_what_was_placed_within_the_overlap_is_read_again(shop: Shop) -> None:
    ref = shop.buy((TOWEL, 1))
    _, cursor = read_all(shop.client)
    shop.clock.wait(3600)
    assert [ref] == read_all(shop.client, cursor)[0]


def test_nothing_is_missed_while_the_hub_was_away(shop: Shop) -> None:
    _, cursor = read_all(shop.client)
    ref = shop.buy((TOWEL, 1))
    shop.client.send_shipment([replace(shipment(shop.read(ref), "SF1", 1))], "add")
    shop.client.send_shipment([Outgoing("k", ref, {}, {"add": "1"})], "ship")
    shop.clock.wait(5 * 86400)
    assert [ref] == read_all(shop.client, cursor)[0]


def test_old_order_that_is_settled_late_is_seen(shop: Shop) -> None:
    ref = shop.buy((TOWEL, 1), pay="authorize", ago_s=30 * 86400)
    assert read_all(shop.client)[0] == []
    shop.twin.control("pay", {"ref": ref})
    assert [ref] == read_all(shop.client)[0]


def test_old_order_that_is_called_off_is_seen(shop: Shop) -> None:
    ref = shop.buy((TOWEL, 1), pay="authorize", ago_s=30 * 86400)
    shop.twin.control("close", {"ref": ref})
    assert [ref] == read_all(shop.client)[0]


def test_carts_are_no_orders(shop: Shop) -> None:
    cart = shop.buy((TOWEL, 1), pay=False)
    assert read_all(shop.client)[0] == []
    shop.twin.control("close", {"ref": cart})
    assert read_all(shop.client)[0] == []
    assert {cart: "Cancelled"} == shop.books()["carts"]


def test_cart_that_is_paid_later_is_seen(shop: Shop) -> None:
    cart = shop.buy((TOWEL, 1), pay=False, ago_s=86400)
    shop.twin.control("pay", {"ref": cart})
    assert [cart] == read_all(shop.client)[0]


def test_list_that_moves_while_it_is_read_loses_nothing(shop: Shop) -> None:
    bought = {shop.buy((TOWEL, 1)) for _ in range(7)}
    shop.twin.control("setup", {"moving_pages": True})
    assert bought == set(read_all(shop.client_with(page_size=3))[0])
    assert shop.faults.bitten["moving_pages/fetch_orders"] >= 2


def test_order_that_cannot_be_read_is_kept_and_its_neighbours_come_too(shop: Shop) -> None:
    odd, fine = shop.buy((TOWEL, 1)), shop.buy((TOWEL, 1))
    shop.twin.control("spoil", {"ref": odd, "fields": {"state": "OnHoliday", "history": None, "totalWithTax": "much"}})
    documents = shop.client.fetch_orders({}).documents
    assert {odd, fine} == {document.ref for document in documents}
    with pytest.raises(Unfit) as caught:
        MAPPING["order"].read(next(document.body for document in documents if document.ref == odd))
    assert {"version", "status", "paid_minor"} <= {fault.target for fault in caught.value.faults}
    assert "order.yaml:" in str(caught.value)


def test_order_without_address_has_no_party(shop: Shop) -> None:
    ref = shop.buy((TOWEL, 1))
    shop.twin.control("spoil", {"ref": ref, "fields": {"shippingAddress": None, "customer": None}})
    assert shop.read(ref).party is None


def test_elements_that_are_no_orders_are_kept_as_they_are(stage: Stage) -> None:
    odd = [None, {"id": "7"}, {"code": "A", "history": "long"}, {"code": "B", "history": {"items": [7]}}]
    client = client_of(stage, Parrot({"data": {"orders": {"totalItems": 4, "items": odd}}}))
    documents = client.fetch_orders({}).documents
    assert [(d.ref, d.version) for d in documents] == [("?", None), ("?", None), ("A", None), ("B", None)]
    assert [json.loads(d.body)["order"] for d in documents] == odd


def test_version_is_the_newest_entry_of_the_history(shop: Shop) -> None:
    ref = shop.buy((TOWEL, 1), pay="authorize")
    before = shop.client.fetch_one("order", ref).version
    shop.clock.wait(60)
    shop.twin.control("pay", {"ref": ref})
    document = shop.client.fetch_one("order", ref)
    assert (document.version, document.version > before) == ("2026-06-18T04:01:00.000Z", True)
    assert document.version == MAPPING["order"].read(document.body).version


def test_unknown_order_is_refused(shop: Shop) -> None:
    with pytest.raises(Refused, match="there is no order NOPE"):
        shop.client.fetch_one("order", "NOPE")


# Stock


def test_saleable_leaves_out_what_is_allocated_and_the_threshold(shop: Shop) -> None:
    shop.twin.control("setup", {"threshold": 1})
    shop.buy((CUP, 3), (LARGE, 1))
    (document,) = shop.client.fetch_stock([CUP, LARGE, "404"])
    rows = MAPPING["stock"].read(document.body).rows
    assert [(r.listing, r.quantity, r.locked, r.on_hand) for r in rows] == [(CUP, 6, 3, 10), (LARGE, 7, 1, 10)]
    assert shop.books()["stock"] == {CUP: 6, LARGE: 7, TOWEL: 99}


def test_many_listings_are_read_a_hundred_at_a_time(shop: Shop) -> None:
    documents = shop.client.fetch_stock([str(n) for n in range(1, 251)])
    assert (len(documents), shop.faults.calls["fetch_stock"]) == (3, 3)


def test_level_goes_to_the_usual_location_unless_it_names_one(shop: Shop) -> None:
    assert [Outcome.done(CUP)] == shop.client.send_stock([level(CUP, 8)])
    assert [Outcome.done(CUP)] == shop.client.send_stock([level(CUP, 7, "1")])
    assert shop.books()["on_hand"][CUP] == 7
    with pytest.raises(Refused, match="foreign key"):
        shop.client.send_stock([level(CUP, 6, "77")])


def test_unknown_variant_is_refused_and_its_neighbours_are_written(shop: Shop) -> None:
    first, unknown, last = shop.client.send_stock([level(CUP, 5), level("404", 5), level(TOWEL, 90)])
    assert (first.state, unknown.state, last.state) == ("done", "failed", "done")
    assert isinstance(unknown.error, Refused)
    assert shop.books()["on_hand"] == {CUP: 5, LARGE: 10, TOWEL: 90}


def test_only_unknown_variants_are_all_refused(shop: Shop) -> None:
    outcomes = shop.client.send_stock([level("404", 5), level("405", 5)])
    assert [Refused, Refused] == [type(outcome.error) for outcome in outcomes]


def test_variant_the_answer_leaves_out_is_in_doubt(stage: Stage) -> None:
    client = client_of(stage, Parrot({"data": {"updateProductVariants": [{"id": CUP}]}}))
    one, other = client.send_stock([level(CUP, 1), level(TOWEL, 1)])
    assert (Outcome.done(CUP), InDoubt) == (one, type(other.error))


# Fulfilment


def test_shipment_is_added_and_shipped_once(shop: Shop) -> None:
    row = ready(shop)
    (added,) = shop.client.send_shipment([row], "add")
    assert (shop.books()["on_hand"][CUP], shop.books()["stock"][CUP]) == (8, 8)
    assert [added] == shop.client.send_shipment([replace(row, reached={"add": added.ref})], "ship")
    account = shop.books()["orders"][row.ref]
    assert account["shipments"] == [{"waybill": "SF1000000000001", "company": "SF", "lines": ["1"]}]
    assert (account["status"], account["lines"][0]["shipped"]) == ("Shipped", 2)


def test_line_tells_what_of_it_is_in_fulfilments(shop: Shop) -> None:
    order = shop.read(shop.buy((CUP, 3), (TOWEL, 1)))
    shop.client.send_shipment([shipment(order, "SF1", 2, 0)], "add")
    shop.client.send_shipment([shipment(order, "SF2", 1, 0)], "add")
    assert [line.fulfilled for line in shop.read(order.ref).lines] == [3, 0]
    shop.twin.orders[order.ref].fulfilments[1].state = "Cancelled"
    assert [line.fulfilled for line in shop.read(order.ref).lines] == [2, 0]


def test_the_same_waybill_on_other_lines_is_another_fulfilment(shop: Shop) -> None:
    order = shop.read(shop.buy((CUP, 1), (TOWEL, 1)))
    shop.client.send_shipment([shipment(order, "SF1", 1, 0)], "add")
    assert shop.client.probe("send_shipment", shipment(order, "SF1", 1, 0), "add").state == "done"
    assert shop.client.probe("send_shipment", shipment(order, "SF1", 0, 1), "add").state == "absent"
    assert shop.client.probe("send_shipment", shipment(order, "SF2", 1, 0), "add").state == "absent"


def test_fulfilment_called_off_in_the_shop_is_not_ours_any_more(shop: Shop) -> None:
    row = ready(shop)
    (added,) = shop.client.send_shipment([row], "add")
    shop.twin.orders[row.ref].fulfilments[0].state = "Cancelled"
    assert shop.client.probe("send_shipment", row, "add").state == "absent"
    outcome = shop.client.probe("send_shipment", replace(row, reached={"add": added.ref}), "ship")
    assert isinstance(outcome.error, Refused)


def test_doubled_fulfilment_stands_in_the_books(shop: Shop) -> None:
    order = shop.read(shop.buy((CUP, 2)))
    for _ in range(2):
        shop.client.send_shipment([shipment(order, "SF1", 1)], "add")
    assert shop.books()["fulfilments_doubled"] == 1


def test_shop_delivers_what_it_shipped(shop: Shop) -> None:
    row = ready(shop)
    shop.client.send_shipment([row], "add")
    shop.client.send_shipment([replace(row, reached={"add": "1"})], "ship")
    shop.twin.move_fulfilment({"id": "1", "state": "Delivered"})
    assert (lambda o: (o.status, o.may_ship, o.claims_stock))(shop.read(row.ref)) == ("delivered", False, True)
    assert shop.client.probe("send_shipment", replace(row, reached={"add": "1"}), "ship").state == "done"


# Cancellation


def test_cancellation_is_done_once_and_says_so_again(shop: Shop) -> None:
    ref = shop.buy((CUP, 2))
    outcomes = [shop.client.send_cancellation([cancellation(ref)]) for _ in range(2)]
    assert outcomes[0] == outcomes[1]
    account = shop.books()["orders"][ref]
    assert (account["cancelled"], account["closed"], shop.books()["stock"][CUP]) == (True, False, 10)
    assert shop.twin.called_off == 1


def test_order_with_a_fulfilment_is_left_to_a_person(shop: Shop) -> None:
    row = ready(shop)
    shop.client.send_shipment([row], "add")
    (outcome,) = shop.client.send_cancellation([cancellation(row.ref)])
    assert isinstance(outcome.error, Refused)
    assert "PARTLY_FULFILLED" in str(outcome.error)


def test_unknown_order_cannot_be_called_off(shop: Shop) -> None:
    with pytest.raises(Refused, match="there is no order NOPE"):
        shop.client.send_cancellation([cancellation("NOPE")])


# What the line and the server do


@pytest.mark.parametrize("fault", ["5xx", "timeout_before", "timeout_after", "truncated"])
def test_lost_fulfilment_is_in_doubt_and_the_probe_tells(shop: Shop, fault: str) -> None:
    row = ready(shop)
    shop.faults.set(plan=[fault], hang_s=2.0)
    with pytest.raises(InDoubt):
        shop.client.send_shipment([row], "add")
    happened = fault in ("timeout_after", "truncated")
    assert ("done" if happened else "absent") == shop.client.probe("send_shipment", row, "add").state
    assert int(happened) == len(shop.twin.orders[row.ref].fulfilments)


@pytest.mark.parametrize("fault", ["5xx", "timeout_before", "timeout_after", "truncated"])
def test_lost_cancellation_is_in_doubt_and_the_probe_tells(shop: Shop, fault: str) -> None:
    ref = shop.buy((CUP, 1))
    shop.faults.set(plan=["", fault], hang_s=2.0)
    with pytest.raises(InDoubt):
        shop.client.send_cancellation([cancellation(ref)])
    happened = fault in ("timeout_after", "truncated")
    assert ("done" if happened else "absent") == shop.client.probe("send_cancellation", cancellation(ref)).state


@pytest.mark.parametrize("fault", ["429", "5xx", "timeout_before", "timeout_after", "truncated"])
def test_lost_reading_is_simply_repeated(shop: Shop, fault: str) -> None:
    ref = shop.buy((CUP, 1))
    shop.faults.set(plan=[fault], hang_s=2.0)
    refs: list[str] = []
    for _ in range(2):
        try:
            refs = [document.ref for document in shop.client.fetch_orders({}).documents]
            break
        except Unavailable:
            continue
    assert [ref] == refs


def test_proxy_that_slows_us_down_is_heeded(stage: Stage) -> None:
    client = client_of(stage, Parrot("slow down", 429))
    with pytest.raises(Throttled):
        client.send_stock([level(CUP, 1)])


@pytest.mark.parametrize(("code", "name"), sorted(VENDURE.manifest.errors.items()))
def test_every_code_of_the_table_decides(stage: Stage, code: str, name: str) -> None:
    client = client_of(stage, Parrot(graphql_error(code)))
    with pytest.raises(CLASSES[name], match=code):
        client.send_stock([level(CUP, 1)])
    client = client_of(stage, Parrot(union_error("transitionFulfillmentToState", code)))
    with pytest.raises(CLASSES[name], match=code):
        client.send_shipment([Outgoing("k", "r", {}, {"add": "1"})], "ship")


def test_error_of_another_shape_is_for_a_person(stage: Stage) -> None:
    client = client_of(stage, Parrot({"errors": ["no"], "data": None}))
    with pytest.raises(Refused, match="UNEXPECTED: no"):
        client.send_stock([level(CUP, 1)])


def test_error_without_a_code_is_for_a_person(stage: Stage) -> None:
    client = client_of(stage, Parrot({"errors": [{"message": "deadlock detected"}], "data": None}))
    with pytest.raises(Refused, match="UNEXPECTED: deadlock detected"):
        client.send_stock([level(CUP, 1)])


@pytest.mark.parametrize(
    "words", ["", "<html>", '{"data": ', "<!DOCTYPE x []><x/>", "[]", "{}", '{"data": {}}', '{"data": 7}']
)
def test_answer_that_is_none_is_lost(stage: Stage, words: str) -> None:
    client = client_of(stage, Parrot(words))
    with pytest.raises(Unavailable):
        client.fetch_orders({})
    with pytest.raises(Unavailable):
        client.fetch_stock([CUP])
    with pytest.raises(InDoubt):
        client.send_stock([level(CUP, 1)])


def test_answer_without_an_id_is_in_doubt(stage: Stage) -> None:
    client = client_of(stage, Parrot({"data": {"transitionFulfillmentToState": {"__typename": "Fulfillment"}}}))
    with pytest.raises(InDoubt):
        client.send_shipment([Outgoing("k", "r", {}, {"add": "1"})], "ship")


def test_oversized_page_is_refused_by_the_mapping() -> None:
    lines = b",".join([b'{"id":"1"}'] * 2001)
    with pytest.raises(Unfit, match="more than the 2000 allowed"):
        MAPPING["order"].read(b'{"order":{"lines":[' + lines + b"]}}")


# Who we are


def test_wrong_key_is_not_authorised_and_not_told(shop: Shop) -> None:
    with pytest.raises(NotAuthorised) as caught:
        shop.client_with({"api_key": "not-the-key"}).fetch_orders({})
    assert "not-the-key" not in str(caught.value)


def test_password_opens_a_session_once(shop: Shop) -> None:
    client = shop.client_with({"password": vendure.PASSWORD})
    for _ in range(3):
        client.fetch_orders({})
    assert dict(shop.faults.calls) == {"login": 1, "fetch_orders": 3}


def test_session_that_ended_is_opened_again(shop: Shop) -> None:
    client = shop.client_with({"password": vendure.PASSWORD})
    client.fetch_orders({})
    shop.twin.control("end_sessions", {})
    assert [Outcome.done(CUP)] == client.send_stock([level(CUP, 3)])
    assert (shop.faults.calls["login"], shop.books()["on_hand"][CUP]) == (2, 3)


def test_wrong_password_is_not_authorised(shop: Shop) -> None:
    with pytest.raises(NotAuthorised, match="INVALID_CREDENTIALS_ERROR"):
        shop.client_with({"password": "wrong"}).fetch_orders({})


def test_login_without_a_token_is_no_login(stage: Stage) -> None:
    shop = Shop(stage)
    client = shop.client_with({"password": "any"})
    stage.enter(Parrot({"data": {"login": {"__typename": "CurrentUser"}}}))
    with pytest.raises(Unavailable, match="no session token"):
        client.fetch_orders({})


def test_channel_travels_where_there_are_several(stage: Stage) -> None:
    shop, parrot = Shop(stage), Parrot({"data": {"orders": {"totalItems": 0, "items": []}}})
    stage.enter(parrot)
    shop.client_with(channel="tmall-token").fetch_orders({})
    assert parrot.heard.headers["vendure-token"] == "tmall-token"
    shop.client.fetch_orders({})
    assert "vendure-token" not in parrot.heard.headers


# The twin itself


def ask(shop: Shop, query: str, key: str = vendure.SECRETS["api_key"], **variables: Any) -> requests.Response:
    body = {"query": query, "variables": variables}
    return requests.post(f"{shop.url}/admin-api", json=body, headers={"vendure-api-key": key}, timeout=5)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("query Q { orders { items { cod } } }", 'Cannot query field "cod" on type "Order".'),
        ("query Q { orders { items } }", 'Field of type "Order" must have a selection of subfields.'),
        ("query Q { nonsense { id } }", 'Cannot query field "nonsense" on type "Query".'),
        ("mutation Q { orders { totalItems } }", 'Cannot query field "orders" on type "Mutation".'),
        ("query Q { orders { totalItems { x } } }", "must not have a selection"),
        ("query Q { orders { totalItems }", "found '<EOF>'"),
        ("query Q % { orders }", "Unexpected character"),
    ],
)
def test_twin_refuses_what_the_schema_does_not_have(shop: Shop, query: str, words: str) -> None:
    shop.buy((CUP, 1))
    answer = ask(shop, query)
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (400, "GRAPHQL_VALIDATION_FAILED")
    assert words in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"<x/>"])
def test_twin_refuses_what_is_no_json(shop: Shop, body: bytes) -> None:
    assert requests.post(f"{shop.url}/admin-api", data=body, timeout=5).status_code == 400


def test_twin_answers_403s_with_200_as_the_real_one_does(shop: Shop) -> None:
    answer = ask(shop, "query Q { orders { totalItems } }", key="wrong")
    assert (
        answer.status_code,
        answer.json()["errors"][0]["extensions"]["code"],
        answer.json()["data"],
    ) == (200, "FORBIDDEN", None)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"take": 1001}, "USER_INPUT_ERROR"),
        ({"filter": {"code": {"soundsLike": "A"}}}, "BAD_USER_INPUT"),
        (None, "BAD_USER_INPUT"),
    ],
)
def test_twin_checks_what_it_is_given(shop: Shop, options: Any, code: str) -> None:
    shop.buy((CUP, 1))
    answer = ask(shop, "query Q($o: OrderListOptions!) { orders(options: $o) { totalItems } }", o=options)
    assert code == answer.json()["errors"][0]["extensions"]["code"]


def test_twin_writes_all_levels_or_none(shop: Shop) -> None:
    def row(ref: str, quantity: Any) -> dict[str, Any]:
        return {"id": ref, "stockLevels": [{"stockLocationId": "1", "stockOnHand": quantity}]}

    words = "mutation M($i: [UpdateProductVariantInput!]!) { updateProductVariants(input: $i) { id } }"
    for spoilt in (row("404", 1), row(LARGE, "x"), {**row(LARGE, 1), "colour": "red"}):
        assert ask(shop, words, i=[row(CUP, 1), spoilt]).json()["errors"]
    assert shop.books()["on_hand"][CUP] == 10
    ask(shop, words, i=[row(CUP, -3)])
    assert shop.books()["on_hand"][CUP] == -3


def test_twin_sells_below_zero_and_counts_it(shop: Shop) -> None:
    shop.buy((CUP, 9))
    shop.buy((CUP, 4))
    assert (shop.books()["stock"][CUP], shop.books()["oversold"]) == (-3, 3)


def test_twin_takes_cancelled_goods_back_on_hand(shop: Shop) -> None:
    row = ready(shop)
    shop.client.send_shipment([row], "add")
    shop.twin.control("cancel_line", {"ref": row.ref, "line": "1", "quantity": 2})
    assert (shop.books()["on_hand"], shop.twin.variants[CUP].allocated) == ({CUP: 10, LARGE: 10, TOWEL: 100}, 0)
    assert shop.read(row.ref).status == "closed"


def test_twin_lies_by_one_unit_when_told_to(shop: Shop) -> None:
    shop.twin.control("lie", {"what": TOWEL, "by": 1})
    assert shop.books()["on_hand"][TOWEL] == 101


@pytest.mark.parametrize("ability", ["send_stock", "send_shipment", "send_cancellation"])
def test_twin_loses_the_next_write_when_told_to(shop: Shop, ability: str) -> None:
    row = ready(shop)
    shop.twin.control("lose", {"what": ability})
    rows = {"send_stock": level(CUP, 3), "send_shipment": row, "send_cancellation": cancellation(row.ref)}
    step = "add" if ability == "send_shipment" else ""
    for expected in (0, 1):
        (outcome,) = getattr(shop.client, ability)([rows[ability]], step)
        assert ("done", expected) == (outcome.state, vendure.effects(shop.twin, ability))
        shop.client = shop.client_with()


def test_twin_answers_only_what_is_selected() -> None:
    value = {"__typename": "A", "id": "1", "rows": [{"__typename": "B", "n": 1, "m": None}]}
    text = "query Q { a { id rows { n m ... on B { __typename } ... on C { x } } } }"
    (asked,) = Reader(text, {}).operation().root
    assert show(value, asked.selected) == {"id": "1", "rows": [{"n": 1, "m": None, "__typename": "B"}]}


def test_arguments_are_read_with_their_variables() -> None:
    text = 'mutation M($id: ID!, $b: [Int!]) { go(id: $id, state: "Shipped", on: {a: [1, true, DESC], b: $b}) { id } }'
    operation = Reader(text, {"id": "7", "b": [2]}).operation()
    expected = {"id": "7", "state": "Shipped", "on": {"a": [1, True, "DESC"], "b": [2]}}
    assert (frozenset({"id"}), expected) == (operation.needs, operation.root[0].arguments)


def test_fragment_of_an_error_fits_every_error() -> None:
    (asked,) = Reader("mutation M { go { ... on ErrorResult { message } ... on Order { id } } }", {}).operation().root
    assert show({"__typename": "X", "errorCode": "X", "message": "no"}, asked.selected) == {"message": "no"}
    with pytest.raises(Invalid):
        show({"__typename": "Order", "code": "A"}, asked.selected)


def test_secrets_never_show(shop: Shop) -> None:
    connection = Connection("c-1", VENDURE.name, {}, vendure.SECRETS)
    assert vendure.SECRETS["api_key"] not in repr(connection) + repr(shop.client)
    assert issubclass(NotAuthorised, YipanError)
