"""The Tryton connector against its twin over loopback HTTP: items, sales in steps, stock, and every error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.registry import connector
from connectors.spi import Connection, Outcome, Outgoing, Page
from connectors.wire.http import Http, Outbound
from core.errors import InDoubt, NotAuthorised, Refused, Throttled, Unavailable, Unfit, Unmatched, YipanError
from core.model import Catalogue, Sale, SaleLine, Snapshot
from mappings.language import load
from sandbox.contract.stage import Aimed
from sandbox.erp import tryton as twins
from sandbox.twin import Answer, Call, Server

TRYTON = connector("erp/tryton")
ITEM, SALE, STOCK = (load(TRYTON.mappings / f"{noun}.yaml") for noun in ("item", "sale", "stock"))
LINKS = {("item", "it-1"): "101", ("item", "it-2"): "102"}


@dataclass
class Instead:
    """A twin whose model calls may be answered with something else."""

    twin: twins.Tryton
    write_abilities: tuple[str, ...] = ("send_sale",)
    answers: dict[str, Answer] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    def ability(self, call: Call) -> str:
        return self.twin.ability(call)

    def answer(self, call: Call) -> Answer:
        self.calls.append(call)
        return self.answers.get(self.twin.ability(call)) or self.twin.answer(call)

    def throttled(self, call: Call) -> Answer:
        return self.twin.throttled(call)

    def control(self, action: str, body: Any) -> Any:
        return self.twin.control(action, body)


@dataclass
class Stage:
    """A twin on a port and a client that speaks to it."""

    twin: Instead
    faults: Aimed
    url: str

    def client(self, **settings: Any) -> Any:
        connection = Connection("c-1", TRYTON.name, {**twins.SETTINGS, **settings}, twins.SECRETS)
        http = Http(self.url, timeout_s=1.0, outbound=Outbound(["127.0.0.0/8"]), attempts=1)
        return TRYTON.client(connection, http, lambda: datetime.now(UTC))

    def entered(self) -> Any:
        """A client that has logged in and knows the currency, so that the next call is the one in question."""
        client = self.client()
        client.currencies["CNY"] = 1
        client.fetch_items({})
        return client

    def books(self) -> Any:
        return self.twin.control("books", None)

    def says(self, ability: str, *error: Any) -> None:
        self.twin.answers[ability] = Answer(json.dumps({"id": 0, "error": error}))


@pytest.fixture
def stage() -> Iterator[Stage]:
    faults = Aimed()
    twin = twins.make(faults)
    twins.prepare(twin, "send_sale")
    instead = Instead(twin)
    server = Server(instead, faults)
    yield Stage(instead, faults, server.url)
    server.stop()


def sale(reference: str = "YP-1", freight: int = 0, **line: Any) -> Sale:
    row = {"line": "1", "sku": "SKU-001", "item": "it-1", "quantity": 2, "unit_minor": 950, "net_minor": 1900, **line}
    placed = datetime(2026, 11, 22, 8, tzinfo=UTC)
    return Sale(
        ref=reference,
        shop_ref="订单 31415",
        placed_at=placed,
        currency="CNY",
        freight_minor=freight,
        lines=(SaleLine.model_validate(row),),
    )


def outgoing(reference: str = "YP-1", reached: str = "", **more: Any) -> Outgoing:
    body = SALE.write(sale(reference, **more), LINKS)
    return Outgoing(reference, reference, body, {"create": reached} if reached else {})


def told(client: Any, step: str = "create", row: Outgoing | None = None) -> YipanError | Outcome:
    """The outcome of one step, or the error it ended with."""
    try:
        return client.send_sale([row or outgoing()], step)[0]  # type: ignore[no-any-return]
    except YipanError as error:
        return error


# Items


def test_pages_are_cut_by_id_and_together_hold_every_product_once(stage: Stage) -> None:
    products = [{"id": 200 + n, "code": f"C-{n}", "name": f"商品 {n}"} for n in range(205)]
    stage.twin.control("setup", {"products": products})
    client, refs, page = stage.client(), [], Page(more=True)
    while page.more:
        page = client.fetch_items(page.cursor)
        refs.append([document.ref for document in page.documents])
    assert [len(part) for part in refs] == [100, 100, 5]
    assert sum(refs, []) == [str(row["id"]) for row in products]


def test_product_changed_behind_the_page_is_read_by_the_next_pass(stage: Stage) -> None:
    client = stage.client()
    begun = client.fetch_items({}).cursor
    stage.twin.control("change", {"id": 101, "name": "棉T恤 米白 M"})
    changed = {document.ref: ITEM.read(document.body) for document in client.fetch_items(begun).documents}
    assert isinstance(changed["101"], Catalogue)
    assert changed["101"].items[0].name == "棉T恤 米白 M"


def test_newer_state_of_a_product_has_the_greater_version(stage: Stage) -> None:
    client = stage.client()
    before = client.fetch_one("item", "101").version
    stage.twin.control("change", {"id": 101, "active": False})
    assert client.fetch_one("item", "101").version > before


def test_pass_begins_before_transactions_that_were_still_open(stage: Stage) -> None:
    since = stage.client().fetch_items({}).cursor["since"]
    began = datetime(*(since[p] for p in ("year", "month", "day", "hour", "minute", "second")), tzinfo=UTC)
    age = datetime.now(UTC) - began
    assert timedelta(seconds=295) < age < timedelta(seconds=310)


def test_freight_product_is_no_item(stage: Stage) -> None:
    assert "9" not in [document.ref for document in stage.client().fetch_items({}).documents]
    assert "9" in [document.ref for document in stage.client(freight_product=None).fetch_items({}).documents]


def test_product_without_a_code_is_unfit_and_names_the_field(stage: Stage) -> None:
    stage.twin.control("change", {"id": 101, "code": None})
    with pytest.raises(Unfit, match="sku"):
        ITEM.read(stage.client().fetch_one("item", "101").body)


def test_row_nobody_understands_is_still_kept(stage: Stage) -> None:
    stage.twin.answers["fetch_items"] = Answer('{"id": 0, "result": ["?", {"id": 101, "code": "SKU-001"}]}')
    page = stage.client().fetch_items({})
    assert [(d.ref, d.body) for d in page.documents] == [("?", b'"?"'), ("101", b'{"id":101,"code":"SKU-001"}')]


# Sales


def test_header_of_a_sale_is_the_connections_and_its_lines_are_the_mappings(stage: Stage) -> None:
    stage.client().send_sale([outgoing(freight=800)], "create")
    (made,) = json.loads(stage.twin.calls[-1].body)["params"][0]
    ids = {"party": 2, "invoice_address": 2, "shipment_address": 2, "warehouse": 5, "payment_term": 10, "currency": 1}
    assert {name: made[name] for name in ids} == ids
    assert (made["reference"], made["description"], "freight" in made) == ("YP-1", "订单 31415", False)
    assert made["lines"] == [
        ["create", [goods(), {**goods(), "product": 9, "quantity": 1, "unit_price": yuan("8.00")}]]
    ]


def goods() -> dict[str, Any]:
    return {"type": "line", "product": 101, "quantity": 2, "unit_price": yuan("9.50"), "unit": 1}


def yuan(text: str) -> dict[str, str]:
    return {"__class__": "Decimal", "decimal": text}


def test_without_a_freight_product_freight_stays_out(stage: Stage) -> None:
    stage.client(freight_product=None).send_sale([outgoing(freight=800)], "create")
    assert [line["code"] for line in stage.books()["sales"]["YP-1"]["lines"]] == ["SKU-001"]


def test_sale_date_is_the_shoppers_day() -> None:
    late = sale().model_copy(update={"placed_at": datetime(2026, 12, 31, 16, 30, tzinfo=UTC)})
    assert SALE.write(late, LINKS)["sale_date"] == {"__class__": "date", "year": 2027, "month": 1, "day": 1}


def test_sale_of_an_unlinked_item_asks_for_the_link() -> None:
    with pytest.raises(Unmatched, match="item"):
        SALE.write(sale(item="it-unknown"), LINKS)


def test_currency_of_other_digits_is_unfit_rather_than_a_hundredfold() -> None:
    with pytest.raises(Unfit, match="currency"):
        SALE.write(sale().model_copy(update={"currency": "JPY"}), LINKS)


def test_every_call_carries_the_users_context_and_the_chosen_company(stage: Stage) -> None:
    stage.client(company=1).fetch_stock(["SKU-001"])
    context = json.loads(stage.twin.calls[-1].body)["params"][-1]
    assert (context["company"], context["language"], context["locations"]) == (1, "en", [5])


@pytest.mark.parametrize("step", ["create", "quote", "confirm"])
@pytest.mark.parametrize(("fault", "arrived"), [("timeout_after", True), ("truncated", True), ("5xx", False)])
def test_step_whose_answer_was_lost_is_in_doubt_and_probed(stage: Stage, step: str, fault: str, arrived: bool) -> None:
    client, row = stage.entered(), outgoing()
    for before in ("create", "quote", "confirm"):
        if before == step:
            break
        row = outgoing(reached=client.send_sale([row], before)[0].ref)
    stage.faults.aim("send_sale", fault)
    assert type(told(client, step, row)) is InDoubt
    assert client.probe("send_sale", row, step) == (Outcome.done("1") if arrived else Outcome.absent())


def test_step_that_never_arrived_is_done_once_after_the_probe(stage: Stage) -> None:
    client = stage.entered()
    stage.faults.aim("send_sale", "timeout_before")
    assert isinstance(told(client), InDoubt)
    assert client.probe("send_sale", outgoing(), "create") == Outcome.absent()
    assert told(client) == Outcome.done("1")
    assert stage.books()["sales"]["YP-1"]["times_created"] == 1


def test_too_many_requests_are_throttled(stage: Stage) -> None:
    client = stage.entered()
    stage.faults.aim("send_sale", "429")
    assert isinstance(told(client), Throttled)


@pytest.mark.parametrize("answer", ["null", "[]", "{}", '{"id": 0, "result": null}', '{"id": 0, "result": []}'])
def test_create_answered_without_a_number_is_in_doubt(stage: Stage, answer: str) -> None:
    client = stage.entered()
    stage.twin.answers["send_sale"] = Answer(answer)
    assert isinstance(told(client), InDoubt)


# Errors inside HTTP 200


@pytest.mark.parametrize(
    ("error", "becomes", "words"),
    [
        (["UserError", ["You may not.", "Ask somebody.", None]], Refused, "UserError: You may not. Ask somebody."),
        (["UserWarning", ["sale_1", "Really?", ""]], Refused, "UserWarning: sale_1 Really?"),
        (["LoginException", ["otp", "Code", "char"]], NotAuthorised, "LoginException: otp Code char"),
        (["ConcurrencyException", "Records were modified"], Unavailable, "ConcurrencyException: Records were modified"),
        (["'nope'", ""], Refused, "'nope': "),
    ],
)
def test_error_kind_decides_what_happens_next(
    stage: Stage, error: list[Any], becomes: type[YipanError], words: str
) -> None:
    client = stage.entered()
    stage.says("send_sale", *error)
    found = told(client)
    assert (type(found), str(found)) == (becomes, words)


def test_traceback_of_a_talkative_server_is_cut(stage: Stage) -> None:
    client = stage.entered()
    stage.says("send_sale", "boom", "line of a traceback\n" * 500)
    assert len(str(told(client))) < 600


# Sessions


def test_session_serves_many_calls(stage: Stage) -> None:
    client = stage.client()
    client.fetch_items({})
    client.fetch_stock(["SKU-001"])
    assert [json.loads(call.body)["method"].rpartition(".")[2] for call in stage.twin.calls] == [
        "login",
        "get_preferences",
        "search_read",
        "search_read",
    ]


def test_session_that_ran_out_is_renewed_once(stage: Stage) -> None:
    client = stage.entered()
    stage.twin.control("expire", None)
    assert told(client) == Outcome.done("1")
    assert stage.books()["sales"]["YP-1"]["times_created"] == 1


def test_login_that_was_half_done_is_done_again(stage: Stage) -> None:
    client = stage.client()
    stage.faults.aim("login", "5xx", at=2)
    with pytest.raises(Unavailable):
        client.fetch_items({})
    client.fetch_items({})
    assert json.loads(stage.twin.calls[-1].body)["params"][-1]["company"] == 1


def test_server_that_never_lets_in_is_not_authorised(stage: Stage) -> None:
    client = stage.entered()
    stage.twin.answers["send_sale"] = Answer("", 401)
    assert isinstance(told(client), NotAuthorised)


def test_right_that_is_missing_is_not_authorised(stage: Stage) -> None:
    client = stage.entered()
    stage.twin.answers["send_sale"] = Answer("", 403)
    assert isinstance(told(client), NotAuthorised)


def test_password_stands_in_no_error_and_no_repr(stage: Stage) -> None:
    stage.twin.control("setup", {"password": "another"})
    client = stage.client()
    with pytest.raises(NotAuthorised) as error:
        client.fetch_items({})
    assert twins.PASSWORD not in f"{error.value!r} {client!r} {error.value}"


@pytest.mark.parametrize(("settings", "status"), [({"rpc_path": "/"}, 405), ({"database": "nowhere"}, 404)])
def test_wrong_path_or_database_is_refused(stage: Stage, settings: dict[str, Any], status: int) -> None:
    with pytest.raises(Refused, match=f"HTTP {status}"):
        stage.client(**settings).fetch_items({})


# Stock


def test_stock_is_asked_in_parts_and_read_by_sku(stage: Stage) -> None:
    documents = stage.client().fetch_stock(["SKU-001", *(f"X-{n}" for n in range(600)), "SKU-003"])
    rows = []
    for document in documents:
        snapshot = STOCK.read(document.body)
        assert isinstance(snapshot, Snapshot)
        rows += [(row.sku, row.quantity) for row in snapshot.rows]
    assert rows == [("SKU-001", 100), ("SKU-003", 300)]
    assert len({document.ref for document in documents}) == 2


def test_code_that_looks_like_a_huge_number_is_no_id(stage: Stage) -> None:
    stage.client().fetch_stock(["6901234567892"])
    named = json.loads(stage.twin.calls[-1].body)["params"][0][0]
    assert named == ["OR", ["code", "in", ["6901234567892"]], ["id", "in", []]]


def test_fraction_of_a_unit_is_unfit() -> None:
    with pytest.raises(Unfit, match="whole number"):
        STOCK.read(b'[{"code": "SKU-001", "id": 101, "quantity": 1.5}]')


@pytest.mark.parametrize("body", [b"", b"[{", b"\xff\xfe", b"<!DOCTYPE html>", b'[{"id": 1}]', b"[" * 60])
def test_stock_document_that_cannot_be_read_is_unfit(body: bytes) -> None:
    with pytest.raises(Unfit):
        STOCK.read(body)


# The twin's own levers


def test_twin_lies_by_one_unit(stage: Stage) -> None:
    stage.twin.control("lie", {"what": "stock", "code": "SKU-002", "by": 1})
    (document,) = stage.client().fetch_stock(["SKU-002"])
    snapshot = STOCK.read(document.body)
    assert isinstance(snapshot, Snapshot)
    assert snapshot.rows[0].quantity == 201


def test_twin_loses_a_sale_and_says_it_was_made(stage: Stage) -> None:
    stage.twin.control("lose", {"what": "send_sale"})
    client = stage.client()
    assert told(client, "create", outgoing("YP-1")) == Outcome.done("1")
    assert told(client, "quote", outgoing("YP-1", reached="1")) == Outcome.done("1")
    assert told(client, "create", outgoing("YP-2")) == Outcome.done("2")
    assert list(stage.books()["sales"]) == ["YP-2"]


def test_doubled_sale_stands_in_the_books(stage: Stage) -> None:
    client = stage.client()
    for _ in range(2):
        told(client)
    books = stage.books()
    assert (books["sales_doubled"], books["sales"]["YP-1"]["times_created"]) == (1, 2)
