"""The Tryton connector against a real Tryton and its twin: the same sentences, so that they cannot part."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.registry import connector
from connectors.spi import Connection, Outcome, Outgoing
from connectors.wire.http import Http, Outbound
from core.errors import NotAuthorised, Refused
from core.model import Catalogue, Document, Sale, SaleLine, Snapshot
from mappings.language import load
from tests.peers.twin_places import TwinErp

TRYTON = connector("erp/tryton")
ITEM, SALE, STOCK = (load(TRYTON.mappings / f"{noun}.yaml") for noun in ("item", "sale", "stock"))
PRODUCTS = [
    {"code": "SKU-001", "name": "棉T恤 白 M", "unit_price": "9.50", "quantity": 100},
    {"code": "SKU-002", "name": "棉T恤 黑 L", "unit_price": "19.00", "quantity": 200},
    {"code": "包/03", "name": "帆布包", "unit_price": "39.90", "quantity": 0},
]
REFERENCES = (f"YP-{n:04}" for n in itertools.count(1))


class Shop:
    """A place and what a merchant does there through the connector."""

    def __init__(self, place: Any) -> None:
        self.place = place
        self.ids: dict[str, int] = place.seed(PRODUCTS)
        self.books, self.change, self.expire = place.books, place.change, place.expire
        self.quote, self.cancel = place.quote, place.cancel

    def client(self, password: str | None = None, **settings: Any) -> Any:
        secrets = {"password": password} if password else self.place.secrets
        connection = Connection("c-1", TRYTON.name, {**self.place.settings, **settings}, secrets)
        http = Http(self.place.settings["base_url"], timeout_s=20, outbound=Outbound(["127.0.0.0/8"]))
        return TRYTON.client(connection, http, lambda: datetime.now(UTC))

    def row(self, reference: str, *codes: str, quantity: int = 3, freight: int = 0, currency: str = "CNY") -> Outgoing:
        lines = tuple(
            SaleLine(
                line=str(n), sku=code, item=f"it-{code}", quantity=quantity, unit_minor=950, net_minor=950 * quantity
            )
            for n, code in enumerate(codes)
        )
        placed = datetime(2026, 11, 22, 17, 30, tzinfo=UTC)
        sale = Sale(
            ref=reference,
            shop_ref="订单 31415",
            placed_at=placed,
            currency=currency,
            freight_minor=freight,
            lines=lines,
        )
        links = {("item", f"it-{code}"): str(self.ids.get(code, 999_999)) for code in codes}
        return Outgoing(reference, reference, SALE.write(sale, links))


@pytest.fixture(scope="module", params=["twin", "real"])
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    if request.param == "real":
        yield Shop(request.getfixturevalue("tryton_peer"))
        return
    place = TwinErp()
    yield Shop(place)
    place.server.stop()


@pytest.fixture
def reference() -> str:
    return next(REFERENCES)


def reached(row: Outgoing, sale: str) -> Outgoing:
    return Outgoing(row.key, row.ref, row.body, {"create": sale})


def item(document: Document) -> tuple[str, str, bool]:
    catalogue = ITEM.read(document.body)
    assert isinstance(catalogue, Catalogue)
    (only,) = catalogue.items
    return only.sku, only.name, only.active


def moment(cursor_time: datetime) -> dict[str, Any]:
    parts = ("year", "month", "day", "hour", "minute", "second", "microsecond")
    return {"__class__": "datetime", **{part: getattr(cursor_time, part) for part in parts}}


def test_products_are_read_with_their_number_code_and_name(shop: Shop) -> None:
    page = shop.client().fetch_items({})
    read = {document.ref: item(document)[:2] for document in page.documents}
    assert read == {str(shop.ids[row["code"]]): (row["code"], row["name"]) for row in PRODUCTS}
    assert (page.more, all(document.version for document in page.documents)) == (False, True)


def test_next_pass_reads_only_what_changed(shop: Shop) -> None:
    client, product = shop.client(), shop.ids["包/03"]
    since = {"since": moment(datetime.now(UTC))}
    assert [document.ref for document in client.fetch_items(since).documents] == []
    shop.change(product, name="帆布包 加厚")
    assert [item(document) for document in client.fetch_items(since).documents] == [("包/03", "帆布包 加厚", True)]
    shop.change(product, active=False)
    assert [item(document) for document in client.fetch_items(since).documents] == [("包/03", "帆布包 加厚", False)]
    shop.change(product, active=True, name="帆布包")


def test_pass_goes_on_behind_the_last_product_read(shop: Shop) -> None:
    last = max(shop.ids.values())
    page = shop.client().fetch_items({"after": last - 1, "began": moment(datetime.now(UTC) - timedelta(hours=1))})
    assert [document.ref for document in page.documents] == [str(last)]


def test_one_product_is_read_by_its_number(shop: Shop) -> None:
    document = shop.client().fetch_one("item", str(shop.ids["SKU-002"]))
    assert item(document) == ("SKU-002", "棉T恤 黑 L", True)
    with pytest.raises(Refused, match="no product 999999"):
        shop.client().fetch_one("item", "999999")


def test_stock_is_read_by_code_or_number_and_unknown_ones_are_left_out(shop: Shop) -> None:
    (document,) = shop.client().fetch_stock(["SKU-001", str(shop.ids["SKU-002"]), "unheard-of"])
    snapshot = STOCK.read(document.body)
    assert isinstance(snapshot, Snapshot)
    assert {row.sku: row.quantity for row in snapshot.rows} == {"SKU-001": 100, "SKU-002": 200}


def test_sale_is_created_quoted_and_confirmed(shop: Shop, reference: str) -> None:
    client, row = shop.client(), shop.row(reference, "SKU-001", "SKU-002", freight=800)
    states = []
    for step in ("create", "quote", "confirm"):
        (outcome,) = client.send_sale([row], step)
        row = reached(row, outcome.ref)
        states.append(shop.books()["sales"][reference]["state"])
    made = shop.books()["sales"][reference]
    assert states == ["draft", "quotation", "processing"]
    assert (made["id"], made["times_created"]) == (int(outcome.ref), 1)
    assert [(line["code"], line["quantity"], line["unit_price"]) for line in made["lines"]] == [
        ("SKU-001", 3, "9.50"),
        ("SKU-002", 3, "9.50"),
        ("FREIGHT", 1, "8.00"),
    ]


def test_settings_that_may_be_empty_may_be_empty(shop: Shop, reference: str) -> None:
    client = shop.client(company=None, payment_term=None, freight_product=None)
    row = shop.row(reference, "SKU-002", freight=800)
    for step in ("create", "quote", "confirm"):
        (outcome,) = client.send_sale([row], step)
        row = reached(row, outcome.ref)
    made = shop.books()["sales"][reference]
    assert (made["state"], [line["code"] for line in made["lines"]]) == ("processing", ["SKU-002"])
    assert "FREIGHT" in [item(document)[0] for document in client.fetch_items({}).documents]


def test_probe_knows_which_steps_have_been_taken(shop: Shop, reference: str) -> None:
    client, row = shop.client(), shop.row(reference, "SKU-001")
    assert client.probe("send_sale", row, "create") == Outcome.absent()
    for step in ("create", "quote", "confirm"):
        assert client.probe("send_sale", row, step) == Outcome.absent()
        (outcome,) = client.send_sale([row], step)
        row = reached(row, outcome.ref)
        assert client.probe("send_sale", row, step) == Outcome.done(outcome.ref)


def test_reference_is_not_unique_there_and_the_probe_finds_the_oldest(shop: Shop, reference: str) -> None:
    client, row = shop.client(), shop.row(reference, "SKU-001")
    doubled = shop.books()["sales_doubled"]
    first, second = (client.send_sale([row], "create")[0].ref for _ in range(2))
    assert first != second
    assert shop.books()["sales_doubled"] == doubled + 1
    assert client.probe("send_sale", row, "create") == Outcome.done(first)


def test_sale_with_an_unknown_product_is_refused_and_leaves_nothing_behind(shop: Shop, reference: str) -> None:
    client, row = shop.client(), shop.row(reference, "SKU-001", "never-made")
    with pytest.raises(Refused, match='UserError: The value .* in "Sale Line" does not exist'):
        client.send_sale([row], "create")
    assert reference not in shop.books()["sales"]
    assert client.probe("send_sale", row, "create") == Outcome.absent()


def test_unknown_customer_is_refused_in_their_words(shop: Shop, reference: str) -> None:
    with pytest.raises(Refused, match='UserError: The value "99999" for field "Party" in "Sale" does not exist'):
        shop.client(party=99_999).send_sale([shop.row(reference, "SKU-001")], "create")


def test_sale_in_a_currency_tryton_lacks_is_refused(shop: Shop, reference: str) -> None:
    with pytest.raises(Refused, match="Tryton has no currency SGD"):
        shop.client().send_sale([shop.row(reference, "SKU-001", currency="SGD")], "create")


def test_step_that_a_person_has_taken_there_counts_as_taken(shop: Shop, reference: str) -> None:
    client, row = shop.client(), shop.row(reference, "SKU-001")
    sale = client.send_sale([row], "create")[0].ref
    shop.quote(int(sale))
    assert client.send_sale([reached(row, sale)], "quote") == [Outcome.done(sale)]
    assert client.send_sale([reached(row, sale)], "confirm") == [Outcome.done(sale)]
    assert shop.books()["sales"][reference]["state"] == "processing"


def test_step_on_a_sale_that_somebody_called_off_is_refused(shop: Shop, reference: str) -> None:
    client, row = shop.client(), shop.row(reference, "SKU-001")
    sale = client.send_sale([row], "create")[0].ref
    shop.cancel(int(sale))
    (sent,), probed = (
        client.send_sale([reached(row, sale)], "quote"),
        client.probe("send_sale", reached(row, sale), "quote"),
    )
    words = f"cancelled: sale {sale} is cancelled in Tryton: look at it there"
    assert [(type(o.error), str(o.error)) for o in (sent, probed)] == [(Refused, words)] * 2


def test_step_on_a_sale_that_is_gone_is_refused(shop: Shop, reference: str) -> None:
    client, row = shop.client(), reached(shop.row(reference, "SKU-001"), "999999")
    assert type(client.send_sale([row], "confirm")[0].error) is Refused
    assert type(client.probe("send_sale", row, "confirm").error) is Refused


def test_step_their_state_does_not_allow_is_refused_in_their_words(shop: Shop, reference: str) -> None:
    client, row = shop.client(), shop.row(reference, "SKU-001")
    sale = client.send_sale([row], "create")[0].ref
    with pytest.raises(Refused, match='UserError: You can not call "confirm" on'):
        client.send_sale([reached(row, sale)], "confirm")


def test_session_that_ran_out_is_renewed(shop: Shop, reference: str) -> None:
    client, row = shop.client(), shop.row(reference, "SKU-001")
    client.fetch_items({})
    shop.expire()
    assert client.send_sale([row], "create")[0].state == "done"
    assert shop.books()["sales"][reference]["times_created"] == 1


def test_wrong_password_is_not_authorised(shop: Shop) -> None:
    with pytest.raises(NotAuthorised, match="HTTP 401"):
        shop.client(password="wrong").fetch_items({})


def test_path_of_another_version_is_refused(shop: Shop) -> None:
    with pytest.raises(Refused, match="HTTP 405"):
        shop.client(rpc_path="/").fetch_items({})
