"""Documents that cannot be understood: kept, parked with what to do, and no harm to their neighbours."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import select, update
from typer.testing import CliRunner

from connectors.registry import connector
from core.flow import journeys, take_order
from core.flow.hear import Spoken
from core.model import Order
from core.store import tables as t
from core.store.store import Transaction
from hub import inward
from hub.parked import Fix, press
from hub.wiring import meaning
from mappings.language import load
from sandbox.sales import tmall
from sandbox.wms.qimen_papers import Job, Line, confirm_of
from tests.towns import HUB, Town, town
from tests.worlds import MASTER_KEY
from workers.cli import app

LISTED = (
    select(t.shelves.c.doubt, t.items.c.sku)
    .join(t.listings, t.listings.c.id == t.shelves.c.listing_id)
    .join(t.items, t.items.c.id == t.listings.c.item_id)
)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Town]:
    """A Tmall shop with twenty pens to sell."""
    with town(tmp_path, "tmall") as it:
        it.stocks(pen=20)
        yield it


def test_unknown_status_parks_the_order_and_its_neighbours_ship(place: Town) -> None:
    odd, fine = place.buys("tmall", ("11", 1)), place.buys("tmall", ("11", 2))
    place.twins["tmall"].control("spoil", {"ref": odd, "fields": {"status": "WAIT_FOR_THE_MOON"}})
    place.live(12)
    [parked] = place.parked()
    assert (parked["ref"], parked["problem"], parked["fix"]) == (odd, "Unfit", "replay")
    assert "WAIT_FOR_THE_MOON" in parked["reason"]
    assert "order.yaml:" in parked["reason"]
    assert place.state(fine) == "shipped"


def test_parked_document_flows_on_when_its_mapping_was_mended_and_it_is_replayed(
    place: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = place.buys("tmall", ("11", 1))
    place.twins["tmall"].control("spoil", {"ref": ref, "fields": {"status": "PAID_AND_READY"}})
    place.live(12)
    [parked] = place.parked()
    mended = shutil.copytree(connector("sales/tmall").mappings, tmp_path / "mended")
    text = (mended / "order.yaml").read_text()
    text = text.replace("WAIT_SELLER_SEND_GOODS: paid", "WAIT_SELLER_SEND_GOODS: paid\n    PAID_AND_READY: paid")
    (mended / "order.yaml").write_text(text.replace("is(WAIT_SELLER_SEND_GOODS,", "is(PAID_AND_READY,"))
    order = load(mended / "order.yaml")
    monkeypatch.setattr(inward, "meaning", lambda name, noun: order if noun == "order" else meaning(name, noun))
    (tmp_path / "key").write_text(MASTER_KEY)
    monkeypatch.setenv("YIPAN_HOME", str(tmp_path))
    monkeypatch.setenv("YIPAN_DATABASE", f"sqlite:///{tmp_path / 'hub.db'}")
    monkeypatch.setenv("YIPAN_VAULT__KEY_FILE", str(tmp_path / "key"))
    typed = CliRunner().invoke(app, ["replay", str(parked["id"])])
    assert (typed.exit_code, typed.output) == (0, "1 of 1 documents go through again\n")
    place.live(5)
    assert (place.state(ref), place.parked()) == ("shipped", [])


def test_unknown_listing_parks_with_what_to_link_and_flows_on_once_it_is(place: Town) -> None:
    sku = {"sku_id": "13", "outer_id": "pen", "price": "10.00", "quantity": 5}
    place.twins["tmall"].listings["13"] = {**sku, "num_iid": "9", "title": "新品"}
    refs = [place.buys("tmall", ("13", 1)) for _ in range(2)]
    place.live(12)
    parked = {row["ref"]: (row["problem"], row["fix"]) for row in place.parked()}
    assert parked == dict.fromkeys(refs, ("Unmatched", "link"))
    ident = place.parked()[0]["id"]
    place.store.write(lambda tx: press(tx, HUB, "document", ident, "link", Fix(sku="pen")))
    place.live(5)
    assert ([place.state(ref) for ref in refs], place.parked()) == (["shipped", "shipped"], [])


@pytest.mark.parametrize("fields", [{"orders": None}, {"payment": "a lot"}, {"created": "2026-02-30 08:00:00"}])
def test_malformed_order_parks_alone_and_its_next_version_is_taken(place: Town, fields: dict[str, object]) -> None:
    odd, fine = place.buys("tmall", ("11", 1)), place.buys("tmall", ("11", 2))
    place.twins["tmall"].control("spoil", {"ref": odd, "fields": fields})
    place.live(12)
    assert [row["ref"] for row in place.parked()] == [odd]
    assert place.state(fine) == "shipped"
    trade = place.twins["tmall"].trades[int(odd)]
    trade.odd = {}
    place.twins["tmall"]._touch(trade)
    place.live(12)
    assert place.state(odd) == "shipped"


def test_order_without_a_number_is_kept_and_parked(place: Town) -> None:
    odd = place.buys("tmall", ("11", 1))
    place.twins["tmall"].control("spoil", {"ref": odd, "fields": {"tid": None}})
    place.live(12)
    assert [(row["ref"], row["problem"]) for row in place.parked()] == [("?", "Unfit")]


def test_poison_in_a_batch_of_ten_parks_alone(place: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    refs = [place.buys("tmall", ("11", 1)) for _ in range(10)]
    sizes: list[int] = []

    def takes(tx: Transaction, batch: Sequence[Spoken]) -> None:
        sizes.append(len(batch))
        take_order.take_orders(tx, batch)
        nouns = [spoken.noun for spoken in batch]
        if any(isinstance(noun, Order) and noun.ref == refs[6] for noun in nouns):
            raise ZeroDivisionError("a bug that only this order meets")

    monkeypatch.setitem(journeys.DOCUMENTS, "order", takes)
    place.live(12)
    [parked] = place.parked()
    assert (parked["ref"], parked["problem"], parked["fix"]) == (refs[6], "Broken", "replay")
    assert "ZeroDivisionError" in parked["reason"]
    assert [place.state(ref) for ref in refs if ref != refs[6]] == ["shipped"] * 9
    assert sizes[0] == 10
    monkeypatch.undo()
    place.store.write(lambda tx: press(tx, HUB, "document", parked["id"], "replay"))
    place.live(5)
    assert place.state(refs[6]) == "shipped"
    assert place.world.cell(place.world.pen) == {"free": 10}


def test_callback_of_an_order_nobody_knows_parks_and_its_neighbours_are_booked(place: Town) -> None:
    ref = place.buys("tmall", ("11", 1))
    place.live(8)
    wms = place.twins["wms"]
    wms._say("deliveryorder.confirm", _strange_confirm())
    place.live(3)
    assert [(row["kind"], row["ref"], row["problem"]) for row in place.parked()] == [
        ("confirm", "NOBODYS", "Unmatched")
    ]
    assert place.state(ref) == "shipped"


def _strange_confirm() -> bytes:
    line = Line("1", "pen", "ALPHA", 1, 1)
    return confirm_of(Job("NOBODYS", "CK9", "EAST", "ALPHA", [line], "SF", "SF9", "DELIVERED"), [1], True)


def test_same_delivery_twice_changes_nothing(place: Town) -> None:
    place.twins["wms"].hold()
    ref = place.buys("tmall", ("11", 2))
    place.live(8)
    place.twins["wms"].go()
    while place.steps.run():
        continue
    letters = list(place.mail.letters)
    place.mail.letters += letters[::-1]
    place.live(5)
    assert place.state(ref) == "shipped"
    assert place.world.cell(place.world.pen) == {"free": 18}
    assert place.world.audit() == []


def test_cancelled_before_it_was_ever_seen_takes_no_stock(place: Town) -> None:
    ref = place.buys("tmall", ("11", 2), pay=False)
    place.twins["tmall"].control("close", {"ref": ref})
    place.live(12)
    assert place.state(ref) == "cancelled"
    assert place.world.cell(place.world.pen) == {"free": 20}
    assert place.books("tmall")["stock"]["11"] == 20


def test_document_that_parks_does_not_move_the_cursor_back(place: Town) -> None:
    odd = place.buys("tmall", ("11", 1))
    place.twins["tmall"].control("spoil", {"ref": odd, "fields": {"payment": "a lot"}})
    before = place.world.row(t.cursors, ability="fetch_orders")["value"]
    place.live(12)
    cursor = place.world.row(t.cursors, ability="fetch_orders")
    assert cursor["value"]["since"] >= before["since"]
    assert (cursor["failures"], cursor["reason"]) == (0, None)


def test_shop_that_is_away_is_asked_again_a_little_later_each_time(place: Town) -> None:
    place.faults["tmall"].set(plan=["5xx"] * 6, hang_s=0.0)
    place.live(1)
    cursor = place.world.row(t.cursors, ability="fetch_orders")
    ref = place.buys("tmall", ("11", 1))
    place.live(40)
    after = place.world.row(t.cursors, ability="fetch_orders")
    assert cursor["moves"] < after["moves"]
    assert (after["failures"], place.state(ref)) == (0, "shipped")


def test_credentials_refused_show_on_the_cursor_and_are_tried_again(place: Town) -> None:
    place.twins["tmall"].control("setup", {"session": "renewed"})
    place.live(8)
    cursor = place.world.row(t.cursors, ability="fetch_orders")
    assert cursor["failures"] >= 1
    assert "27/session-expired" in cursor["reason"]
    place.twins["tmall"].control("setup", {"session": tmall.SECRETS["session"]})
    place.clock.wait(300)
    place.live(2)
    assert place.world.row(t.cursors, ability="fetch_orders")["failures"] == 0


def test_a_figure_nobody_can_have_is_a_persons_and_keeps_no_other_in_doubt(tmp_path: Path) -> None:
    """Both levels' answers are lost; then one of the two reads as five milliards."""
    with town(tmp_path, "vendure") as place:
        place.stocks(pen=10, ink=10)
        doubt = {"doubt": True, "shown": None, "shown_at": None}
        place.store.write(lambda tx: tx.conn.execute(update(t.shelves).values(**doubt)))
        variant = place.twins["vendure"].variants["1"]
        right, variant.on_hand = variant.on_hand, 5 * 10**9
        place.live(40)
        shelves = {row["sku"]: row["doubt"] for row in place.world.rows(LISTED)}
        (why,) = [row["reason"] for row in place.world.rows(select(t.worklist).where(t.worklist.c.done_at.is_(None)))]
        assert (shelves, "vendure says that 5000000000 of 1 are there" in why) == ({"pen": True, "ink": False}, True)
        assert place.world.cell(place.world.pen) == {"free": 10}
        variant.on_hand = right
        place.live(40)
        assert [row["doubt"] for row in place.world.rows(LISTED)] == [False, False]
        assert place.world.worklist() == []
