"""An on-hand shop's own fulfilments: what it holds in them is no longer allocated there, whoever made them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.flow import publish_stock, tell_shipment
from core.model import Order, Shipment, ShippedLine
from core.store import outbox
from core.store import tables as t
from core.store.store import Transaction
from tests.worlds import Clock, World, minutes, order, store, world


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    with store(tmp_path, clock=Clock()) as it:
        made = world(it)
        made.counts("pen", 10)
        yield made


def sold(fulfilled: int, version: str = "2", units: int = 3, cancelled: int = 0) -> Order:
    """Order A of some pens, of which the shop says so many are in fulfilments."""
    told = order("A", ("pen", units, cancelled), version=version)
    return told.model_copy(update={"lines": (told.lines[0].model_copy(update={"fulfilled": fulfilled}),)})


def on_hand(hub: World) -> int:
    """The on-hand figure that the shop would be told, were the warehouse to find one pen more."""
    hub.counts("pen", 1)

    def work(tx: Transaction) -> int:
        publish_stock.take_marks(tx)
        (row,) = [r for r in outbox.claim(tx, "stock", 50, 60) if r["connection_id"] == hub.vendure]
        (level,) = [at for at in publish_stock.compute(tx, row).levels if at.listing == "pen"]
        outbox.done(tx, row)
        return level.quantity

    return hub.store.write(work)


def test_units_fulfilled_by_hand_at_the_shop_are_not_counted_as_allocated(hub: World) -> None:
    hub.takes(sold(0, "1"), at=hub.vendure)
    assert on_hand(hub) == 8 + 3
    hub.takes(sold(2), at=hub.vendure)
    assert on_hand(hub) == 9 + 1


def test_order_first_heard_of_when_it_is_partly_fulfilled_counts_what_remains(hub: World) -> None:
    hub.takes(sold(2), at=hub.vendure)
    assert (hub.line("A")["fulfilled"], on_hand(hub)) == (2, 8 + 1)


def test_version_that_says_less_than_was_known_changes_nothing(hub: World) -> None:
    hub.takes(sold(2), at=hub.vendure)
    hub.takes(sold(0, "3"), at=hub.vendure)
    assert hub.line("A")["fulfilled"] == 2


def test_fulfilled_units_of_packs_are_base_units(hub: World) -> None:
    box = hub.row(t.listings, connection_id=hub.vendure, ref="pen")
    hub.store.write(lambda tx: tx.set(t.listings, box["id"], pack=2))
    hub.takes(sold(2), at=hub.vendure)
    assert (hub.line("A")["ordered"], hub.line("A")["fulfilled"]) == (6, 4)


def test_units_that_came_back_after_they_were_fulfilled_are_not_taken_off_the_figure(hub: World) -> None:
    hub.takes(sold(3, "1"), at=hub.vendure)
    hub.takes(sold(3, cancelled=1), at=hub.vendure)
    free = hub.cell(hub.pen)["free"]
    assert on_hand(hub) == free + 1


def ours(hub: World, units: int) -> tuple[int, Shipment]:
    """A shipment of some of the pens, as it is about to be told to the shop."""
    fulfilment = hub.fulfilments("A")[0]
    line = ShippedLine(ref="1", quantity=units)
    said = Shipment(ref="F", order_ref="A", carrier="SF", waybill="SF1", shipped_at=minutes(9), lines=(line,))
    return fulfilment["id"], said


@pytest.mark.parametrize("heard", ["before", "after"])
def test_our_own_fulfilment_counts_once_whenever_the_shop_tells_of_it(hub: World, heard: str) -> None:
    hub.takes(sold(0, "1"), at=hub.vendure)
    ident, said = ours(hub, 2)
    with hub.store.read() as tx:
        known = tell_shipment.fulfilled_with(tx, ident, said)
    if heard == "before":
        hub.takes(sold(2), at=hub.vendure)
    hub.store.write(lambda tx: tell_shipment.told_shop(tx, ident, said, fulfilled=known))
    if heard == "after":
        hub.takes(sold(2), at=hub.vendure)
    assert hub.line("A")["fulfilled"] == 2


def test_our_own_fulfilment_adds_to_what_was_fulfilled_by_hand(hub: World) -> None:
    hub.takes(sold(1), at=hub.vendure)
    ident, said = ours(hub, 2)
    with hub.store.read() as tx:
        known = tell_shipment.fulfilled_with(tx, ident, said)
    hub.store.write(lambda tx: tell_shipment.told_shop(tx, ident, said, fulfilled=known))
    assert hub.line("A")["fulfilled"] == 3
