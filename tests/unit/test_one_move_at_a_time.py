"""A shop that keeps its figure by reading, reckoning and writing is moved by one call at a time (peers "Vendure")."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import InDoubt
from core.store import outbox
from core.store.outbox import Intent
from tests.worlds import Clock, World, store, world


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    with store(tmp_path, clock=Clock()) as it:
        yield world(it)


def want(hub: World, ability: str, subject: str, at: int) -> None:
    hub.store.write(lambda tx: outbox.add(tx, [Intent(at, ability, "stock", subject, subject, {})]))


def claim(hub: World, limit: int = 10) -> list[dict[str, object]]:
    return [dict(row) for row in hub.store.write(lambda tx: outbox.claim(tx, "stock", limit, 60))]


def subjects(rows: list[dict[str, object]]) -> list[object]:
    return [row["subject"] for row in rows]


@pytest.mark.parametrize("ability", ["send_shipment", "send_cancellation"])
def test_two_orders_of_an_on_hand_shop_are_shipped_or_called_off_one_after_the_other(hub: World, ability: str) -> None:
    for order, what in (("A", "send_shipment"), ("B", ability)):
        want(hub, what, order, hub.vendure)
    (first,) = claim(hub)
    assert (first["subject"], claim(hub)) == ("A", [])
    hub.store.write(lambda tx: outbox.done(tx, first))
    assert subjects(claim(hub)) == ["B"]


def test_at_a_shop_that_is_told_what_is_saleable_they_go_together(hub: World) -> None:
    for order in ("A", "B"):
        want(hub, "send_shipment", order, hub.tmall)
    assert subjects(claim(hub)) == ["A", "B"]


def test_what_stands_behind_a_crowd_of_one_shop_moves_up(hub: World) -> None:
    for n in range(5):
        want(hub, "send_shipment", f"V{n}", hub.vendure)
    want(hub, "send_stock", "level", hub.tmall)
    want(hub, "send_shipment", "T", hub.beta_shop)
    assert subjects(claim(hub, limit=3)) == ["V0", "level", "T"]


def test_an_order_in_doubt_holds_up_no_other_order(hub: World) -> None:
    for order in ("A", "B"):
        want(hub, "send_shipment", order, hub.vendure)
    (first,) = claim(hub)
    hub.store.write(lambda tx: outbox.doubt(tx, first, 30, InDoubt("cut off")))
    assert subjects(claim(hub)) == ["B"]
