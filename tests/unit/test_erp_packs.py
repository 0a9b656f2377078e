"""An ERP that counts cartons: its figures and its sales in packs of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from core.errors import Refused
from core.model import Snapshot, SnapshotRow
from core.store import tables as t
from core.store.scope import HUB
from hub import outward
from hub.onboard.goods import NewLink, add_links
from tests.worlds import Clock, World, order, store, world


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        yield world(it, clock)


def counts_cartons(hub: World) -> None:
    """The ERP's item 7 is a carton of 12 pens."""
    carton = NewLink(ref="7", owner="alpha", sku="pen", pack=12)
    hub.store.write(lambda tx: add_links(tx, HUB, "erp", [carton]))


def test_an_erps_cartons_are_compared_in_base_units(hub: World) -> None:
    counts_cartons(hub)
    hub.counts("pen", 30)
    assert hub.hears(Snapshot(rows=(SnapshotRow(sku="pen", quantity=2),)), at=hub.erp) == ["done"]
    compared = hub.rows(select(t.comparisons))[0]
    assert (compared["theirs"], compared["highest"], compared["residual"]) == (24, 30, -6)


def test_a_sale_is_told_in_cartons(hub: World) -> None:
    counts_cartons(hub)
    hub.takes(order("A", ("pen", 24), ("ink", 5)))
    with hub.store.read() as tx:
        sale = outward._sale(tx, hub.order("A")["id"], hub.erp)
    assert sale is not None
    assert [(line.quantity, line.unit_minor) for line in sale.lines] == [(2, 50), (5, 20)]


def test_a_sale_of_no_whole_carton_is_left_to_a_person(hub: World) -> None:
    counts_cartons(hub)
    hub.takes(order("A", ("pen", 13)))
    with hub.store.read() as tx, pytest.raises(Refused, match="13 units of pen are no whole packs of 12"):
        outward._sale(tx, hub.order("A")["id"], hub.erp)
