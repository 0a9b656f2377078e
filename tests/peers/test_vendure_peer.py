"""Our client and mappings against a real Vendure, and against its twin, so that the twin cannot drift."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.registry import connector
from connectors.spi import Connection, Outcome, Outgoing
from connectors.wire.http import Http, Outbound
from core.errors import InDoubt, NotAuthorised, Refused
from core.model import Cancellation, Level, Order, Shipment, ShippedLine, SnapshotRow
from mappings.language import load
from tests.peers.twin_places import TwinShop
from tests.peers.vendure_peer import VendurePeer

CONNECTOR = connector("sales/vendure")
MAPPINGS = {noun: load(CONNECTOR.mappings / f"{noun}.yaml") for noun in ("order", "stock", "shipment", "cancellation")}
Shop = TwinShop | VendurePeer


@pytest.fixture(params=["twin", "real"])
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    if request.param == "real":
        yield stocked(request.getfixturevalue("vendure_server"))
        return
    twin = TwinShop()
    yield stocked(twin)
    twin.server.stop()


def stocked(shop: Shop) -> Shop:
    """The same shop with a hundred saleable units of each variant, whatever was sold before."""
    for listing in shop.variants.values():
        shop.stock(listing, shop.level(listing)[1] + 100)
    return shop


def client_of(shop: Shop, secrets: dict[str, str] | None = None, **settings: Any) -> Any:
    connection = Connection("c-1", "sales/vendure", {**shop.settings, **settings}, secrets or shop.secrets)
    http = Http(shop.settings["base_url"], outbound=Outbound(["127.0.0.0/8"]))
    return CONNECTOR.client(connection, http, lambda: datetime.now(UTC))


def one(sku: str, quantity: int, shop: Shop) -> dict[str, Any]:
    return {"listing": shop.variants[sku], "quantity": quantity}


def read(shop: Shop, ref: str) -> Order:
    order: Order = MAPPINGS["order"].read(client_of(shop).fetch_one("order", ref).body)
    return order


def listed(shop: Shop, **settings: Any) -> list[str]:
    """The refs of every order the list shows, page by page."""
    client, cursor, refs = client_of(shop, **settings), {}, []
    while True:
        page = client.fetch_orders(cursor)
        refs += [document.ref for document in page.documents]
        cursor = page.cursor
        if not page.more:
            return refs


def seen(shop: Shop, sku: str) -> SnapshotRow:
    """What the shop shows of one variant, through our own read mapping."""
    (document,) = client_of(shop).fetch_stock([shop.variants[sku]])
    (row,) = MAPPINGS["stock"].read(document.body).rows
    found: SnapshotRow = row
    return found


def level(listing: str, quantity: int, location: str = "") -> Outgoing:
    value = Level(listing=listing, location=location, form="set", quantity=quantity, key=f"k-{listing}")
    return Outgoing(value.key, listing, MAPPINGS["stock"].write(value))


def shipment(order: Order, waybill: str, *units: int) -> Outgoing:
    lines = tuple(ShippedLine(ref=line.ref, quantity=n) for line, n in zip(order.lines, units, strict=False) if n)
    now = datetime.now(UTC)
    value = Shipment(ref=waybill, order_ref=order.ref, carrier="SF", waybill=waybill, shipped_at=now, lines=lines)
    return Outgoing(value.ref, order.ref, MAPPINGS["shipment"].write(value))


def cancellation(ref: str) -> Outgoing:
    return Outgoing(ref, ref, MAPPINGS["cancellation"].write(Cancellation(ref=ref, reason="缺货")))


def added(client: Any, row: Outgoing) -> Outgoing:
    """The row after its first step."""
    (outcome,) = client.send_shipment([row], "add")
    assert outcome.state == "done"
    return replace(row, reached={"add": outcome.ref})


def test_paid_order_is_listed_and_read_whole(shop: Shop) -> None:
    ref = shop.buy([one("CUP-S", 2, shop), one("TOWEL", 1, shop)])
    assert ref in listed(shop)
    order = read(shop, ref)
    assert (order.status, order.claims_stock, order.may_ship, order.closed) == ("paid", True, True, False)
    assert [(line.sku, line.quantity, line.cancelled, line.net_minor) for line in order.lines] == [
        ("CUP-S", 2, 0, 2260),
        ("TOWEL", 1, 0, 2249),
    ]
    assert [shop.variants["CUP-S"], shop.variants["TOWEL"]] == [line.listing for line in order.lines]
    assert [line.tax_minor for line in order.lines] == [260, 259]
    assert (order.freight_minor, order.paid_minor) == (800, 5309)
    assert order.paid_at and order.paid_at <= order.placed_at
    assert order.party
    assert (
        order.party.name,
        order.party.phone,
        order.party.country,
        order.party.province,
        order.party.city,
        order.party.address,
        order.party.postcode,
    ) == ("张三", "13800000000", "CN", "浙江省", "杭州市", "文一西路1号 2幢301室", "310000")


def test_open_carts_are_not_listed(shop: Shop) -> None:
    cart = shop.buy([one("TOWEL", 1, shop)], pay=False)
    assert cart not in listed(shop)


def test_cart_called_off_was_never_an_order(shop: Shop) -> None:
    cart = shop.buy([one("TOWEL", 1, shop)], pay=False)
    shop.close(cart)
    assert shop.state(cart) == "Cancelled"
    assert cart not in listed(shop)


def test_pages_show_every_order_once(shop: Shop) -> None:
    refs = {shop.buy([one("TOWEL", 1, shop)]) for _ in range(5)}
    shown = listed(shop, page_size=2)
    assert refs <= set(shown)
    assert len(set(shown)) == len(shown)


def test_authorised_order_claims_stock_and_waits_for_the_settlement(shop: Shop) -> None:
    before = shop.level(shop.variants["TOWEL"])
    ref = shop.buy([one("TOWEL", 2, shop)], pay="authorize")
    order = read(shop, ref)
    assert (order.status, order.claims_stock, order.may_ship, order.paid_minor) == ("unpaid", True, False, 0)
    assert (before[0], before[1] + 2) == shop.level(shop.variants["TOWEL"])
    shop.pay(ref)
    settled = read(shop, ref)
    assert (settled.status, settled.may_ship) == ("paid", True)
    assert settled.version > order.version


def test_authorised_order_called_off_gives_its_stock_back(shop: Shop) -> None:
    before = shop.level(shop.variants["TOWEL"])
    ref = shop.buy([one("TOWEL", 2, shop)], pay="authorize")
    shop.close(ref)
    order = read(shop, ref)
    assert (order.status, order.closed, order.claims_stock) == ("closed", True, False)
    assert before == shop.level(shop.variants["TOWEL"])
    assert ref in listed(shop)


def test_units_called_off_are_cancelled_units_of_their_line(shop: Shop) -> None:
    ref = shop.buy([one("CUP-S", 1, shop), one("TOWEL", 3, shop)])
    order = read(shop, ref)
    shop.cancel_line(ref, order.lines[1].ref, 2)
    later = read(shop, ref)
    assert [(line.quantity, line.cancelled) for line in later.lines] == [(1, 0), (3, 2)]
    assert (later.status, later.closed) == ("paid", False)
    assert later.version > order.version


def test_units_added_by_the_merchant_are_ordered_too(shop: Shop) -> None:
    before = shop.level(shop.variants["TOWEL"])
    ref = shop.buy([one("TOWEL", 1, shop)])
    order = read(shop, ref)
    shop.grow_line(ref, order.lines[0].ref, 3)
    later = read(shop, ref)
    assert [(line.quantity, line.cancelled) for line in later.lines] == [(3, 0)]
    assert (later.status, later.may_ship) == ("paid", True)
    assert later.paid_minor == later.lines[0].net_minor + later.freight_minor
    assert later.version > order.version
    assert shop.level(shop.variants["TOWEL"]) == (before[0], before[1] + 3)
    assert ref in listed(shop)


def test_line_tells_what_of_it_is_in_fulfilments(shop: Shop) -> None:
    order = read(shop, shop.buy([one("CUP-S", 3, shop), one("TOWEL", 1, shop)]))
    assert [line.fulfilled for line in order.lines] == [0, 0]
    client_of(shop).send_shipment([shipment(order, "SF1000000000701", 2, 0)], "add")
    assert [line.fulfilled for line in read(shop, order.ref).lines] == [2, 0]


def test_version_rises_with_every_step_of_a_shipment(shop: Shop) -> None:
    ref = shop.buy([one("TOWEL", 2, shop)])
    client, versions, states = client_of(shop), [], []
    for waybill in ("SF1000000000101", "SF1000000000102"):
        row = added(client, shipment(read(shop, ref), waybill, 1))
        versions.append(read(shop, ref).version)
        client.send_shipment([row], "ship")
        versions.append(read(shop, ref).version)
        states.append(read(shop, ref).status)
    assert sorted(set(versions)) == versions
    assert states == ["part_shipped", "shipped"]


def test_level_is_the_on_hand_figure_and_saleable_is_what_is_left_of_it(shop: Shop) -> None:
    listing = shop.variants["CUP-L"]
    shop.stock(listing, 10, threshold=2)
    _, allocated = shop.level(listing)
    shop.buy([one("CUP-L", 1, shop)])
    (outcome,) = client_of(shop).send_stock([level(listing, 9)])
    assert Outcome.done(listing) == outcome
    row = seen(shop, "CUP-L")
    assert (9, allocated + 1, 9 - (allocated + 1) - 2) == (row.on_hand, row.locked, row.quantity)
    assert (listing, "CUP-L", shop.settings["location"]) == (row.listing, row.sku, row.location)


def test_order_we_have_not_heard_of_is_not_sold_twice(shop: Shop) -> None:
    """Pool 10, two units taken, one sold unseen: the level says 8 + 2, and the shop itself holds back all three."""
    listing = shop.variants["CUP-S"]
    others = shop.level(listing)[1]
    shop.stock(listing, others + 10)
    shop.buy([one("CUP-S", 2, shop)])
    shop.buy([one("CUP-S", 1, shop)])
    client_of(shop).send_stock([level(listing, others + 8 + 2)])
    assert seen(shop, "CUP-S").quantity == 7


def test_level_written_twice_is_the_same_level(shop: Shop) -> None:
    listing = shop.variants["CUP-S"]
    for _ in range(2):
        client_of(shop).send_stock([level(listing, 7, shop.settings["location"])])
    assert seen(shop, "CUP-S").on_hand == 7


def test_unknown_variant_does_not_stop_its_neighbours(shop: Shop) -> None:
    rows = [level(shop.variants["CUP-S"], 6), level("99999", 5), level(shop.variants["TOWEL"], 90)]
    first, unknown, last = client_of(shop).send_stock(rows)
    assert (first.state, last.state) == ("done", "done")
    assert isinstance(unknown.error, Refused)
    assert (seen(shop, "CUP-S").on_hand, seen(shop, "TOWEL").on_hand) == (6, 90)


def test_unknown_variant_alone_is_refused(shop: Shop) -> None:
    (row,) = client_of(shop).send_stock([level("99999", 5)])
    assert isinstance(row.error, Refused)
    assert "ENTITY_NOT_FOUND" in str(row.error)


def test_unknown_location_is_refused_and_changes_nothing(shop: Shop) -> None:
    before = shop.level(shop.variants["TOWEL"])
    with pytest.raises(Refused):
        client_of(shop).send_stock([level(shop.variants["TOWEL"], 5, "777")])
    assert before == shop.level(shop.variants["TOWEL"])


def test_unknown_variants_are_left_out_of_a_reading(shop: Shop) -> None:
    (document,) = client_of(shop).fetch_stock([shop.variants["CUP-S"], "99999"])
    assert [row.sku for row in MAPPINGS["stock"].read(document.body).rows] == ["CUP-S"]


def test_fulfilment_takes_from_on_hand_before_it_is_shipped(shop: Shop) -> None:
    listing = shop.variants["TOWEL"]
    ref = shop.buy([one("TOWEL", 3, shop)])
    on_hand, allocated = shop.level(listing)
    client, row = client_of(shop), shipment(read(shop, ref), "SF1000000000201", 3)
    assert Outcome.absent() == client.probe("send_shipment", row, "add")
    row = added(client, row)
    assert (on_hand - 3, allocated - 3) == shop.level(listing)
    assert Outcome.done(row.reached["add"]) == client.probe("send_shipment", row, "add")
    assert Outcome.absent() == client.probe("send_shipment", row, "ship")
    assert [Outcome.done(row.reached["add"])] == client.send_shipment([row], "ship")
    assert Outcome.done(row.reached["add"]) == client.probe("send_shipment", row, "ship")
    assert shop.shipments(ref) == [{"waybill": "SF1000000000201", "company": "SF", "state": "Shipped"}]
    assert (shop.state(ref), read(shop, ref).status) == ("Shipped", "shipped")


def test_shipping_twice_is_in_doubt_and_the_probe_says_done(shop: Shop) -> None:
    ref = shop.buy([one("TOWEL", 1, shop)])
    client = client_of(shop)
    row = added(client, shipment(read(shop, ref), "SF1000000000301", 1))
    client.send_shipment([row], "ship")
    with pytest.raises(InDoubt, match="FULFILLMENT_STATE_TRANSITION_ERROR"):
        client.send_shipment([row], "ship")
    assert client.probe("send_shipment", row, "ship").state == "done"


def test_fulfilling_without_a_probe_would_double_what_remains(shop: Shop) -> None:
    ref = shop.buy([one("TOWEL", 2, shop)])
    client, row = client_of(shop), shipment(read(shop, ref), "SF1000000000401", 1)
    added(client, row)
    added(client, row)
    assert len(shop.shipments(ref)) == 2
    with pytest.raises(Refused, match="ITEMS_ALREADY_FULFILLED_ERROR"):
        client.send_shipment([row], "add")


def test_shop_without_goods_on_hand_refuses_to_fulfil(shop: Shop) -> None:
    ref = shop.buy([one("TOWEL", 2, shop)])
    shop.stock(shop.variants["TOWEL"], 1)
    with pytest.raises(Refused, match="INSUFFICIENT_STOCK_ON_HAND_ERROR"):
        client_of(shop).send_shipment([shipment(read(shop, ref), "SF1000000000501", 2)], "add")


def test_unknown_line_is_refused(shop: Shop) -> None:
    ref = shop.buy([one("CUP-S", 1, shop)])
    order = read(shop, ref)
    strange = order.model_copy(update={"lines": (order.lines[0].model_copy(update={"ref": "99999"}),)})
    with pytest.raises(Refused, match="ENTITY_NOT_FOUND"):
        client_of(shop).send_shipment([shipment(strange, "SF1000000000601", 1)], "add")


def test_short_order_is_called_off_with_its_freight(shop: Shop) -> None:
    before = shop.level(shop.variants["TOWEL"])
    ref = shop.buy([one("TOWEL", 2, shop)])
    client, row = client_of(shop), cancellation(ref)
    assert Outcome.absent() == client.probe("send_cancellation", row)
    (outcome,) = client.send_cancellation([row])
    assert outcome.state == "done"
    assert outcome == client.probe("send_cancellation", row)
    assert [outcome] == client.send_cancellation([row])
    order = read(shop, ref)
    assert (order.status, order.closed, order.freight_minor, order.lines[0].cancelled) == ("closed", True, 0, 2)
    assert before == shop.level(shop.variants["TOWEL"])


def test_order_with_goods_under_way_is_not_called_off(shop: Shop) -> None:
    ref = shop.buy([one("TOWEL", 2, shop)])
    client = client_of(shop)
    added(client, shipment(read(shop, ref), "SF1000000000701", 1))
    (outcome,) = client.send_cancellation([cancellation(ref)])
    assert isinstance(outcome.error, Refused)
    assert shop.state(ref) == "PaymentSettled"


def test_unknown_order_is_refused(shop: Shop) -> None:
    with pytest.raises(Refused, match="ENTITY_NOT_FOUND"):
        client_of(shop).fetch_one("order", "NO-SUCH-ORDER")


def test_wrong_key_is_not_authorised(shop: Shop) -> None:
    with pytest.raises(NotAuthorised, match="FORBIDDEN"):
        client_of(shop, secrets={"api_key": "wrong:key"}).fetch_orders({})


def test_wrong_password_is_not_authorised(shop: Shop) -> None:
    with pytest.raises(NotAuthorised, match="INVALID_CREDENTIALS_ERROR"):
        client_of(shop, secrets={"password": "wrong"}).fetch_orders({})
