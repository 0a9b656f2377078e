"""The connector of suppliers at Taobao's distribution platform against its twin, over real loopback HTTP.

What distributors buy for shoppers comes first; dealers' orders, which have an interface of their own, at the end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from connectors.registry import connector
from connectors.spi import Connection, Outcome, Outgoing
from connectors.wire.http import Http, Outbound
from core.errors import InDoubt, Misconfigured, NotAuthorised, Refused, Throttled, Unavailable, Unfit, YipanError
from core.model import OUTWARD, Document, Order
from mappings.language import load
from sandbox.contract.grade import grade
from sandbox.contract.rows import ROWS
from sandbox.sales import fenxiao
from sandbox.twin import Answer
from tests.stage import JUNE, Parrot, Stage
from tests.worlds import Clock

FENXIAO = connector("sales/fenxiao")
MAPPING = {noun: load(FENXIAO.mappings / f"{noun}.yaml") for noun in ("order", "shipment")}
RED, BLUE, CUP = "3100000000011", "3100000000012", "310000000002"
TRADE = 4_000_000_000_000_000_100
LOOPBACK = Outbound(allow=["127.0.0.0/8"])


class Account:
    """A twin behind HTTP and a client of it."""

    def __init__(self, stage: Stage) -> None:
        self.clock, self.faults = Clock(JUNE), stage.faults
        self.twin = fenxiao.make(self.faults, now=self.clock)
        self.url = stage.enter(self.twin)

    def client(
        self, *, timeout_s: float = 5, attempts: int = 1, secrets: dict[str, str] | None = None, **more: Any
    ) -> Any:
        http = Http(self.url, outbound=LOOPBACK, timeout_s=timeout_s, attempts=attempts)
        settings = {**fenxiao.SETTINGS, "base_url": self.url, **more}
        return FENXIAO.client(Connection("c1", FENXIAO.name, settings, secrets or fenxiao.SECRETS), http, self.clock)

    def buy(self, *lines: tuple[str, int], **more: Any) -> str:
        wanted = [{"listing": ref, "quantity": quantity} for ref, quantity in lines]
        return str(self.twin.control("buy", {"lines": wanted, **more})["ref"])

    def apply(self, *lines: tuple[str, int], **more: Any) -> str:
        wanted = [{"listing": ref, "quantity": quantity} for ref, quantity in lines]
        return str(self.twin.control("apply", {"lines": wanted, **more})["ref"])

    def read_all(self, client: Any, cursor: Any = None) -> tuple[list[Document], Any]:
        documents: list[Document] = []
        more, cursor = True, cursor or {}
        while more:
            page = client.fetch_orders(cursor)
            documents, more, cursor = [*documents, *page.documents], page.more, page.cursor
        return documents, cursor

    def order(self, ref: str, **settings: Any) -> Order:
        order = MAPPING["order"].read(self.client(**settings).fetch_one("order", ref).body)
        assert isinstance(order, Order)
        return order

    def shipments(self, ref: str) -> Any:
        return self.twin.control("books", {})["orders"][ref]["shipments"]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    stage = Stage(hang_s=0.5)
    yield stage
    stage.server.stop()


@pytest.fixture
def account(stage: Stage) -> Account:
    return Account(stage)


@pytest.fixture
def answering(stage: Stage) -> Callable[[str | bytes], Any]:
    """A client of a platform that answers everything with the same words."""

    def client(words: str | bytes) -> Any:
        http = Http(stage.enter(Parrot(words)), outbound=LOOPBACK, attempts=1)
        settings = {**fenxiao.SETTINGS, "dealer_orders": False}
        return FENXIAO.client(Connection("c1", FENXIAO.name, settings, fenxiao.SECRETS), http, Clock(JUNE))

    return client


def shipment(ref: str, waybill: str = "SF1", carrier: str = "SF", split: bool = False) -> Outgoing:
    value = OUTWARD["shipment"].model_validate(
        {"ref": "F1", "order_ref": ref, "carrier": carrier, "waybill": waybill}
        | {"shipped_at": "2026-06-18T04:00:00Z", "split": split, "lines": [{"ref": f"{ref}1", "quantity": 1}]}
    )
    return Outgoing("F1", ref, MAPPING["shipment"].write(value))


def error(code: int, sub_code: str = "") -> str:
    return json.dumps({"error_response": {"code": code, "msg": "坏了", "sub_code": sub_code, "sub_msg": "请重试"}})


# What a purchase order means


def test_a_purchase_order_names_the_shoppers_trade_who_resells_and_on_whose_account(account: Account) -> None:
    ref = account.buy((RED, 2), (CUP, 1), tc_order_id=TRADE, distributor="小王的店")
    order = account.order(ref)
    assert (str(TRADE), "小王的店", "agency") == (order.counterpart_ref, order.distributor, order.resale)
    assert (order.status, order.claims_stock, order.may_ship, order.holds) == ("paid", True, True, ())
    lines = [(line.ref, line.listing, line.sku, line.quantity) for line in order.lines]
    assert lines == [(f"{ref[:-1]}1", RED, "TS-RED-M", 2), (f"{ref[:-1]}2", CUP, "CUP-500", 1)]
    assert order.party and ("token", f"1OAID{ref}") == (order.party.kind, order.party.token)


@pytest.mark.parametrize(
    ("trade_type", "number", "resale"),
    [
        ("AGENT", "1", "agency"),
        ("INSTEAD_SALE", "1", "agency"),
        ("DEALER", "2", "dealer"),
        ("CONSIGNMENT", "5", "agency"),
        ("PLATFORM_CONSIGNMENT", "6", "agency"),
    ],
)
def test_each_kind_of_trade_is_asked_for_by_its_number(
    account: Account, trade_type: str, number: str, resale: str
) -> None:
    ref = account.buy((RED, 1), trade_type=trade_type)
    assert resale == account.order(ref, trade_types=f"1,{number}").resale


@pytest.mark.parametrize("fields", [{"trade_type": "BARTER"}, {"trade_type": ""}, {"status": "WAIT_MOON_PHASE"}])
def test_a_kind_of_trade_or_a_status_that_is_not_known_is_parked(account: Account, fields: dict[str, str]) -> None:
    ref = account.buy((RED, 1))
    account.twin.control("spoil", {"ref": ref, "fields": fields})
    with pytest.raises(Unfit, match="unknown value"):
        account.order(ref)


@pytest.mark.parametrize("number", [0, "0", "", None])
def test_no_number_of_a_trade_is_no_counterpart(account: Account, number: Any) -> None:
    ref = account.buy((RED, 1))
    account.twin.control("spoil", {"ref": ref, "fields": {"tc_order_id": number}})
    assert account.order(ref).counterpart_ref == ""


def test_the_distributor_pays_yuan_and_the_shoppers_fen_stay_out_of_it(account: Account) -> None:
    ref = account.buy((RED, 2), tc_order_id=TRADE)
    ask = {"total_fee": "60.00", "distributor_payment": "57.50"}
    fen = {"tc_discount_fee": 1990, "tc_adjust_fee": -500, "discount_fee": "1990"}
    line = {"fenxiao_id": 7, "item_id": 8, "num": 2, "status": "WAIT_SELLER_SEND_GOODS", **ask, **fen}
    fields = {"sub_purchase_orders": {"sub_purchase_order": [line]}, "post_fee": "6.00", "distributor_payment": "63.50"}
    account.twin.control("spoil", {"ref": ref, "fields": fields})
    order = account.order(ref)
    (one,) = order.lines
    assert (one.list_minor, one.seller_discount_minor, one.net_minor) == (6000, 250, 5750)
    assert order.paid_minor == one.net_minor + order.freight_minor == 6350


def test_an_unpaid_purchase_claims_its_stock_but_may_not_ship(account: Account) -> None:
    order = account.order(account.buy((RED, 2), pay=False))
    assert (order.status, order.claims_stock, order.may_ship, order.paid_minor) == ("unpaid", True, False, 0)


def test_what_is_paid_and_must_not_be_sent_is_held(account: Account) -> None:
    ref = account.buy((RED, 2), (CUP, 1))
    account.twin.control("forbid", {"ref": ref})
    order = account.order(ref)
    assert (order.status, order.may_ship, set(order.holds)) == ("paid", False, {"forbid_consign"})


def test_a_closed_purchase_gives_its_stock_back_and_has_no_reasons(account: Account) -> None:
    ref = account.buy((RED, 2), tc_order_id=TRADE)
    account.twin.control("close", {"ref": ref})
    order = account.order(ref)
    assert (order.status, order.closed, order.claims_stock, order.holds) == ("closed", True, False, ())


@pytest.mark.parametrize("shopper", ["TRADE_CLOSED", "TRADE_CLOSED_BY_TAOBAO"])
def test_a_line_the_shopper_gave_back_is_called_off_and_the_rest_may_go(account: Account, shopper: str) -> None:
    ref = account.buy((RED, 2), (CUP, 1), tc_order_id=TRADE)
    account.twin.control("refund", {"ref": ref, "line": 0, "shopper": shopper, "distributor": "TRADE_REFUNDED"})
    order = account.order(ref)
    assert ([line.cancelled for line in order.lines], order.may_ship, order.holds) == ([2, 0], True, ())


@pytest.mark.parametrize(
    "told",
    [
        {"shopper": "TRADE_REFUNDING"},
        {"distributor": "TRADE_REFUNDING"},
        {"distributor": "TRADE_REFUNDED"},
        {"distributor": "TRADE_CLOSED"},
    ],
)
def test_a_line_somebody_wants_back_holds_the_purchase(account: Account, told: dict[str, str]) -> None:
    ref = account.buy((RED, 2), (CUP, 1), tc_order_id=TRADE)
    account.twin.control("refund", {"ref": ref, "line": 1, **told})
    order = account.order(ref)
    assert ([line.cancelled for line in order.lines], order.holds) == ([0, 0], ("refund",))


@pytest.mark.parametrize("body", [b"", b"<order/>", b"[]", b'{"purchase_order":{}}', b'{"purchase_order":' + b"[" * 60])
def test_a_malformed_purchase_order_is_unfit(body: bytes) -> None:
    with pytest.raises(Unfit):
        MAPPING["order"].read(body)


# Reading windows and pages


def test_pages_are_read_from_the_last_to_the_first(account: Account) -> None:
    refs = []
    for _ in range(5):
        refs.append(account.buy((RED, 1)))
        account.clock.wait(1)
    account.clock.wait(10)
    client = account.client(page_size=2)
    page = client.fetch_orders({})
    at = page.cursor["purchases"]["page"]
    assert (2, True, [refs[0]]) == (at, page.more, [one.ref for one in page.documents])
    documents, cursor = account.read_all(client)
    assert ([0, 2, 1, 4, 3], {"since"}) == ([refs.index(one.ref) for one in documents], set(cursor["purchases"]))


def test_a_purchase_order_that_moves_while_pages_are_read_is_not_lost(account: Account) -> None:
    refs = {account.buy((RED, 1)) for _ in range(6)}
    account.twin.control("setup", {"moving_pages": True})
    account.clock.wait(10)
    client = account.client(page_size=2)
    first, cursor = account.read_all(client)
    assert len({one.ref for one in first}) < len(refs), "some have left the window before their page was read"
    account.twin.control("setup", {"moving_pages": False})
    account.clock.wait(10)
    second, _ = account.read_all(client, cursor)
    assert refs == {one.ref for one in [*first, *second]}


def test_a_long_silence_is_read_in_windows_of_a_day(account: Account) -> None:
    client = account.client(dealer_orders=False)
    _, cursor = account.read_all(client)
    early = account.buy((RED, 1))
    account.clock.wait(9 * 86_400)
    late = account.buy((RED, 1))
    account.clock.wait(5)
    documents, _ = account.read_all(client, cursor)
    assert [early, late] == [one.ref for one in documents], "the platform refuses more than seven days at once"


def test_what_changes_later_is_read_again(account: Account) -> None:
    ref, client = account.buy((RED, 1), pay=False), account.client()
    account.clock.wait(10)
    _, cursor = account.read_all(client)
    account.clock.wait(3600)
    account.twin.control("pay", {"ref": ref})
    account.clock.wait(10)
    (document,), _ = account.read_all(client, cursor)
    assert (ref, "2026-06-18 13:00:10") == (document.ref, document.version)


def test_only_the_kinds_of_trade_that_are_set_are_read(account: Account) -> None:
    agent, dealer = account.buy((RED, 1)), account.buy((RED, 1), trade_type="DEALER")
    account.clock.wait(10)
    assert [agent] == [one.ref for one in account.read_all(account.client())[0]]
    both = account.client(trade_types="1,2", dealer_orders=False)
    assert {agent, dealer} == {one.ref for one in account.read_all(both)[0]}


def test_a_purchase_order_read_alone_is_the_same_document(account: Account) -> None:
    for count in range(1, 4):
        account.buy(*[(RED, 1), (BLUE, 2), (CUP, 3)][:count])
    account.clock.wait(10)
    client = account.client()
    documents, _ = account.read_all(client)
    assert documents == [client.fetch_one("order", one.ref) for one in documents]
    assert [len(MAPPING["order"].read(one.body).lines) for one in documents] == [3, 2, 1]  # type: ignore[attr-defined]


def test_an_unknown_purchase_order_is_refused(account: Account) -> None:
    with pytest.raises(Refused, match="no order 42"):
        account.client().fetch_one("order", "42")


def test_another_purchase_order_than_the_one_asked_for_is_a_lost_answer(answering: Any) -> None:
    words = (
        '{"fenxiao_orders_get_response":{"total_results":1,"purchase_orders":{"purchase_order":[{"fenxiao_id":7}]}}}'
    )
    with pytest.raises(Unavailable, match="no purchase order 8"):
        answering(words).fetch_one("order", "8")


def test_an_unreadable_purchase_order_is_kept_and_stops_no_neighbour(answering: Any) -> None:
    rows = {"purchase_order": ["?", {"fenxiao_id": 7}]}
    client = answering(json.dumps({"fenxiao_orders_get_response": {"total_results": 2, "purchase_orders": rows}}))
    kept = [(one.ref, one.body, one.version) for one in client.fetch_orders({}).documents]
    assert kept == [("?", b'{"purchase_order":"?"}', None), ("7", b'{"purchase_order":{"fenxiao_id":7}}', None)]


# Shipments


def test_a_purchase_order_is_consigned_by_its_own_number(account: Account) -> None:
    ref = account.buy((RED, 2), (CUP, 1), tc_order_id=TRADE)
    assert [Outcome.done("SF1")] == account.client().send_shipment([shipment(ref)])
    assert account.shipments(ref) == [{"waybill": "SF1", "company": "SF"}]
    assert (account.order(ref).status, account.order(ref).may_ship) == ("shipped", False)
    account.twin.control("finish", {"ref": ref})
    assert account.order(ref).status == "delivered"


def test_what_leaves_in_several_parcels_is_not_told(account: Account) -> None:
    with pytest.raises(Unfit, match="is_split"):
        shipment(account.buy((RED, 2)), split=True)


def test_a_second_consignment_is_refused(account: Account) -> None:
    ref, client = account.buy((RED, 2)), account.client()
    client.send_shipment([shipment(ref)])
    with pytest.raises(Refused, match="B04"):
        client.send_shipment([shipment(ref, "SF2")])
    assert len(account.shipments(ref)) == 1


def test_what_is_unpaid_forbidden_or_unknown_cannot_be_consigned(account: Account) -> None:
    forbidden = account.buy((RED, 2))
    account.twin.control("forbid", {"ref": forbidden})
    for ref, words in ((account.buy((RED, 2), pay=False), "B04"), (forbidden, "B04"), ("42", "trade-not-exist")):
        with pytest.raises(Refused, match=words):
            account.client().send_shipment([shipment(ref)])


def test_an_answer_without_success_is_refused(answering: Any) -> None:
    words = '{"logistics_offline_send_response":{"shipping":{"is_success":false}}}'
    (outcome,) = answering(words).send_shipment([shipment("42")])
    assert ("failed", Refused) == (outcome.state, type(outcome.error))


def test_a_probe_finds_our_waybill_on_the_purchase_order(account: Account) -> None:
    ref, client = account.buy((RED, 2)), account.client()
    assert Outcome.absent() == client.probe("send_shipment", shipment(ref))
    client.send_shipment([shipment(ref)])
    assert Outcome.done("SF1") == client.probe("send_shipment", shipment(ref))


def test_a_shipment_that_was_lost_is_absent_and_sent_again(account: Account) -> None:
    ref, client = account.buy((RED, 2)), account.client()
    account.twin.control("lose", {"what": "send_shipment"})
    client.send_shipment([shipment(ref)])
    assert Outcome.absent() == client.probe("send_shipment", shipment(ref))
    client.send_shipment([shipment(ref)])
    assert len(account.shipments(ref)) == 1


def test_a_probe_of_what_someone_else_sent_or_closed_needs_a_person(account: Account) -> None:
    sent, closed = account.buy((RED, 2)), account.buy((RED, 2))
    account.client().send_shipment([shipment(sent, "OTHER-9")])
    account.twin.control("close", {"ref": closed})
    for ref in (sent, closed):
        outcome = account.client().probe("send_shipment", shipment(ref))
        assert ("failed", Refused) == (outcome.state, type(outcome.error))


@pytest.mark.parametrize(
    ("fault", "wanted"),
    [("429", Throttled), *[(fault, InDoubt) for fault in ("5xx", "timeout_before", "timeout_after", "truncated")]],
)
def test_a_fault_on_a_shipment_never_ships_twice(account: Account, fault: str, wanted: type[YipanError]) -> None:
    ref, client = account.buy((RED, 2)), account.client(timeout_s=0.3)
    account.faults.set(plan=[fault], hang_s=0.5)
    with pytest.raises(wanted):
        client.send_shipment([shipment(ref)])
    if client.probe("send_shipment", shipment(ref)) == Outcome.absent():
        client.send_shipment([shipment(ref)])
    assert 1 == len(account.shipments(ref)) == fenxiao.effects(account.twin, "send_shipment")


# Dealers' orders


def test_a_dealers_order_says_who_buys_for_its_own_account_and_names_no_trade(account: Account) -> None:
    ref = account.apply((RED, 100), (CUP, 10), dealer="海南经销商", freight="20.00")
    order = account.order(ref)
    assert (ref, "海南经销商", "dealer", "") == (order.ref, order.distributor, order.resale, order.counterpart_ref)
    assert (order.status, order.claims_stock, order.may_ship, order.holds) == ("paid", True, True, ())
    lines = [(line.ref, line.listing, line.sku, line.quantity, line.net_minor) for line in order.lines]
    assert lines == [(f"{ref[:-1]}1", RED, "TS-RED-M", 100, 300000), (f"{ref[:-1]}2", CUP, "CUP-500", 10, 65500)]
    assert (order.freight_minor, order.paid_minor) == (2000, 0), "whether the total has the freight in it is not known"


@pytest.mark.parametrize(
    ("status", "meant", "claims", "ships"),
    [
        ("WAIT_FOR_SUPPLIER_AUDIT1", "unpaid", False, False),
        ("SUPPLIER_REFUSE", "unpaid", False, False),
        ("WAIT_FOR_APPLIER_AUDIT", "unpaid", False, False),
        ("WAIT_FOR_SUPPLIER_AUDIT2", "unpaid", False, False),
        ("BOTH_AGREE_WAIT_PAY", "unpaid", True, False),
        ("WAIT_FOR_SUPPLIER_DELIVER", "paid", True, True),
        ("WAIT_FOR_APPLIER_STORAGE", "shipped", True, False),
        ("TRADE_FINISHED", "delivered", True, False),
        ("TRADE_CLOSED", "closed", False, False),
    ],
)
def test_a_dealers_order_claims_once_both_agree_and_ships_once_it_is_paid(
    account: Account, status: str, meant: str, claims: bool, ships: bool
) -> None:
    order = account.order(account.apply((RED, 2), status=status))
    assert (meant, claims, ships) == (order.status, order.claims_stock, order.may_ship)
    assert order.closed is (meant == "closed")


def test_an_application_is_argued_about_agreed_on_paid_and_stored(account: Account) -> None:
    ref, client, cursor, seen = account.apply((RED, 2), status="WAIT_FOR_SUPPLIER_AUDIT1"), account.client(), {}, []
    for step in ("SUPPLIER_REFUSE", "WAIT_FOR_SUPPLIER_AUDIT2", "WAIT_FOR_APPLIER_AUDIT", "BOTH_AGREE_WAIT_PAY"):
        account.twin.control("move", {"ref": ref, "to": step})
        account.clock.wait(100)
        documents, cursor = account.read_all(client, cursor)
        seen += [MAPPING["order"].read(one.body).claims_stock for one in documents]  # type: ignore[attr-defined]
    assert seen == [False, False, False, True]
    account.twin.control("move", {"ref": ref, "to": "WAIT_FOR_SUPPLIER_DELIVER"})
    client.send_shipment([shipment(ref)])
    account.twin.control("move", {"ref": ref, "to": "TRADE_FINISHED"})
    account.clock.wait(100)
    (document,), _ = account.read_all(client, cursor)
    assert MAPPING["order"].read(document.body).status == "delivered"  # type: ignore[attr-defined]


def test_a_line_taken_out_of_a_dealers_order_is_no_longer_told(account: Account) -> None:
    ref = account.apply((RED, 2), (CUP, 1), status="WAIT_FOR_SUPPLIER_AUDIT1")
    account.twin.control("move", {"ref": ref, "delete": 0})
    assert [line.listing for line in account.order(ref).lines] == [CUP]


@pytest.mark.parametrize(("travels", "holds"), [("SELF_PICKUP", ("self_pickup",)), ("LOGISTICS", ()), (None, ())])
def test_what_the_dealer_fetches_itself_is_held(account: Account, travels: str | None, holds: tuple[str, ...]) -> None:
    ref = account.apply((RED, 2))
    account.twin.control("spoil", {"ref": ref, "fields": {"logistics_type": travels}})
    assert account.order(ref).holds == holds


@pytest.mark.parametrize("fields", [{"order_status": "WAIT_CONFIRM_PAID"}, {"logistics_type": "PIGEON"}])
def test_a_state_or_a_way_of_a_dealers_order_that_is_not_known_is_parked(
    account: Account, fields: dict[str, str]
) -> None:
    ref = account.apply((RED, 1))
    account.twin.control("spoil", {"ref": ref, "fields": fields})
    with pytest.raises(Unfit, match="unknown value"):
        account.order(ref)


@pytest.mark.parametrize("missing", ["order_status", "applier_nick", "dealer_order_details", "modified_time"])
def test_a_dealers_order_without_what_it_must_say_is_parked(account: Account, missing: str) -> None:
    ref = account.apply((RED, 1))
    account.twin.control("spoil", {"ref": ref, "fields": {missing: None}})
    with pytest.raises(Unfit, match=missing):
        account.order(ref)


def test_dealers_orders_are_read_only_where_the_setting_says_so(account: Account) -> None:
    bought, applied = account.buy((RED, 1)), account.apply((RED, 1))
    account.clock.wait(10)
    assert [bought] == [one.ref for one in account.read_all(account.client(dealer_orders=False))[0]]
    assert [bought, applied] == [one.ref for one in account.read_all(account.client())[0]]


@pytest.mark.parametrize("kinds", ["2", "1,2", "1, 2,5"])
def test_a_dealers_order_may_not_come_twice(account: Account, kinds: str) -> None:
    with pytest.raises(Misconfigured, match="would come twice"):
        account.client(trade_types=kinds).fetch_orders({})


def test_dealers_orders_have_pages_and_a_place_of_their_own(account: Account) -> None:
    bought = [account.buy((RED, 1)) for _ in range(3)]
    applied = [account.apply((RED, 1)) for _ in range(5)]
    account.clock.wait(100)
    client = account.client(page_size=2)
    documents, cursor = account.read_all(client)
    refs = [one.ref for one in documents]
    assert (bought, applied) == (sorted(refs[:3]), sorted(refs[3:]))
    account.clock.wait(3600)
    account.twin.control("move", {"ref": applied[2], "to": "TRADE_CLOSED"})
    account.clock.wait(10)
    (closed,), _ = account.read_all(client, cursor)
    assert (applied[2], "2026-06-18 13:01:40") == (closed.ref, closed.version)


def test_what_is_bought_while_pages_of_dealers_are_read_comes_before_there_is_no_more(account: Account) -> None:
    for _ in range(3):
        account.apply((RED, 1))
    account.clock.wait(100)
    client = account.client(page_size=2)
    first = client.fetch_orders({})
    bought = account.buy((RED, 1))
    account.clock.wait(10)
    assert first.more
    assert bought in [one.ref for one in account.read_all(client, first.cursor)[0]]


def test_a_long_silence_of_dealers_is_read_in_windows_of_a_day(account: Account) -> None:
    client = account.client()
    _, cursor = account.read_all(client)
    early = account.apply((RED, 1))
    account.clock.wait(40 * 86_400)
    late = account.apply((RED, 1))
    account.clock.wait(5)
    documents, _ = account.read_all(client, cursor)
    assert [early, late] == [one.ref for one in documents], "the platform refuses more than thirty days at once"


def test_dealers_orders_that_are_no_longer_wanted_leave_the_others_alone(account: Account) -> None:
    account.apply((RED, 1))
    account.clock.wait(10)
    cursor = {"dealers": {"since": "2026-06-18 12:00:00"}}
    bought = account.buy((RED, 1))
    account.clock.wait(10)
    documents, after = account.read_all(account.client(dealer_orders=False), cursor)
    assert ([bought], cursor["dealers"]) == ([one.ref for one in documents], after["dealers"])


def test_a_dealers_order_that_moves_while_pages_are_read_is_not_lost(account: Account) -> None:
    refs = {account.apply((RED, 1)) for _ in range(6)}
    account.twin.control("setup", {"moving_pages": True})
    account.clock.wait(10)
    client = account.client(page_size=2)
    first, cursor = account.read_all(client)
    assert len({one.ref for one in first}) < len(refs), "some have left the window before their page was read"
    account.twin.control("setup", {"moving_pages": False})
    account.clock.wait(10)
    second, _ = account.read_all(client, cursor)
    assert refs == {one.ref for one in [*first, *second]}


def test_a_dealers_order_read_alone_is_the_same_document(account: Account) -> None:
    for count in range(1, 4):
        account.apply(*[(RED, 1), (BLUE, 2), (CUP, 3)][:count])
    account.clock.wait(10)
    client = account.client()
    documents, _ = account.read_all(client)
    assert documents == [client.fetch_one("order", one.ref) for one in documents]
    assert [len(MAPPING["order"].read(one.body).lines) for one in documents] == [3, 2, 1]  # type: ignore[attr-defined]


def test_another_dealers_order_than_the_one_asked_for_is_a_lost_answer(account: Account) -> None:
    none = Answer('{"fenxiao_orders_get_response":{"total_results":0}}')
    rows = {"dealer_order": {"dealer_order_id": 7}}
    other = Answer(json.dumps({"fenxiao_dealer_requisitionorder_query_response": {"dealer_orders": rows}}))
    client = account.client()
    account.twin.answer = lambda call: none if call.form["method"] == fenxiao.ORDERS else other
    with pytest.raises(Unavailable, match="no dealer's order 8"):
        client.fetch_one("order", "8")


def test_an_unreadable_dealers_order_is_kept_and_stops_no_neighbour(account: Account) -> None:
    none = {"fenxiao_orders_get_response": {"total_results": 0}}
    rows = {"total_results": 2, "dealer_orders": {"dealer_order": ["?", {"dealer_order_id": 7}]}}
    words = json.dumps({**none, "fenxiao_dealer_requisitionorder_get_response": rows})
    account.twin.answer = lambda call: Answer(words)
    kept = [(one.ref, one.body, one.version) for one in account.client().fetch_orders({}).documents]
    assert kept == [("?", b'{"dealer_order":"?"}', None), ("7", b'{"dealer_order":{"dealer_order_id":7}}', None)]


def test_a_dealers_order_is_consigned_once_by_its_own_number(account: Account) -> None:
    ref, client = account.apply((RED, 2), (CUP, 1)), account.client()
    assert [Outcome.done("SF1")] == client.send_shipment([shipment(ref)])
    with pytest.raises(Refused, match="B04"):
        client.send_shipment([shipment(ref, "SF2")])
    assert account.shipments(ref) == [{"waybill": "SF1", "company": "SF"}]
    assert (account.order(ref).status, account.order(ref).may_ship) == ("shipped", False)


def test_a_dealers_order_nobody_has_sent_is_absent_and_sent_again(account: Account) -> None:
    ref, client = account.apply((RED, 2)), account.client()
    account.twin.control("lose", {"what": "send_shipment"})
    client.send_shipment([shipment(ref)])
    assert Outcome.absent() == client.probe("send_shipment", shipment(ref))
    client.send_shipment([shipment(ref)])
    assert len(account.shipments(ref)) == 1


@pytest.mark.parametrize(
    "told",
    [
        {"order_status": "WAIT_FOR_APPLIER_STORAGE", "delivered_quantity_count": 2},
        {"order_status": "WAIT_FOR_SUPPLIER_DELIVER", "delivered_quantity_count": 1},
        {"order_status": "TRADE_CLOSED", "delivered_quantity_count": 0},
        {"order_status": None},
    ],
)
def test_a_dealers_order_that_shows_no_waybill_is_left_to_a_person(account: Account, told: dict[str, Any]) -> None:
    ref = account.apply((RED, 2))
    account.twin.control("spoil", {"ref": ref, "fields": told})
    outcome = account.client().probe("send_shipment", shipment(ref))
    assert ("failed", Refused) == (outcome.state, type(outcome.error))


@pytest.mark.parametrize("fault", ["5xx", "timeout_before", "timeout_after", "truncated"])
def test_a_fault_on_a_dealers_shipment_never_ships_twice(account: Account, fault: str) -> None:
    ref, client = account.apply((RED, 2)), account.client(timeout_s=0.3)
    account.faults.set(plan=[fault], hang_s=0.5)
    with pytest.raises(InDoubt):
        client.send_shipment([shipment(ref)])
    if client.probe("send_shipment", shipment(ref)) == Outcome.absent():
        client.send_shipment([shipment(ref)])
    assert 1 == len(account.shipments(ref)) == fenxiao.effects(account.twin, "send_shipment")


# Errors and secrets


@pytest.mark.parametrize(
    ("code", "sub_code", "reads", "writes"),
    [
        (7, "accesscontrol.limited-by-app-api-access-count", Throttled, Throttled),
        (15, "isp.call-limited", Throttled, Throttled),
        (15, "isp.remote-service-timeout", Unavailable, InDoubt),
        (27, "session-expired", NotAuthorised, NotAuthorised),
        (15, "isv.trade-not-exist", Refused, Refused),
        (999, "never-heard-of", Refused, Refused),
    ],
)
def test_their_error_decides(
    answering: Any, code: int, sub_code: str, reads: type[YipanError], writes: type[YipanError]
) -> None:
    client = answering(error(code, sub_code))
    for call, wanted in (
        (lambda: client.fetch_orders({}), reads),
        (lambda: client.fetch_one("order", "1"), reads),
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
        lambda: client.probe("send_shipment", shipment("1")),
    ):
        with pytest.raises(Unavailable):
            call()
    with pytest.raises(InDoubt):
        client.send_shipment([shipment("1")])


@pytest.mark.parametrize("secrets", [{"app_secret": "wrong"}, {"session": "gone-token"}, {"session": ""}])
def test_wrong_credentials_are_not_authorised_and_never_shown(account: Account, secrets: dict[str, str]) -> None:
    ref, client = account.buy((RED, 2)), account.client(secrets={**fenxiao.SECRETS, **secrets})
    with pytest.raises(NotAuthorised) as raised:
        client.send_shipment([shipment(ref)])
    assert [secret for secret in (*secrets.values(), "helloworld") if secret and secret in str(raised.value)] == []
    assert account.shipments(ref) == []


# Fixtures and grade


def fixtures(folder: str) -> list[Any]:
    index = yaml.safe_load((FENXIAO.mappings / "fixtures" / folder / "index.yaml").read_text())
    return [
        pytest.param(FENXIAO.mappings / "fixtures" / folder, one, id=f"{folder}/{one['document']}") for one in index
    ]


@pytest.mark.parametrize(("folder", "fixture"), [*fixtures("built"), *fixtures("held")])
def test_fixtures_translate_exactly(folder: Path, fixture: dict[str, str]) -> None:
    mapping, body = MAPPING[fixture["noun"]], (folder / fixture["document"]).read_bytes()
    canonical = json.loads((folder / fixture["canonical"]).read_text())
    if fixture["direction"] == "read":
        assert canonical == mapping.read(body).model_dump(mode="json", exclude_defaults=True)
    else:
        value = OUTWARD[fixture["noun"]].model_validate(canonical)
        assert json.loads(body) == json.loads(mapping.render(mapping.write(value)))


def test_without_levels_it_is_no_better_than_a_b() -> None:
    (row,) = [row for row in ROWS if row.name == "required_abilities_are_claimed"]
    found = grade(FENXIAO.manifest, [(row.name, "", row.required)])
    assert (found.grade, found.caps[0]) == ("B", "B: required_abilities_are_claimed fails")
