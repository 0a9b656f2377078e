"""Goods that come back: booked in full whoever bought them, known to their order, once however often they are told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from core.flow import explain
from core.model import Adjustment, AdjustmentRow, Confirm, ConfirmedLine, Return, ReturnedLine
from core.store import tables as t
from core.store.causes import resolve
from core.store.ledger import CellKey, Entry, Ledger
from core.store.scope import HUB, Scope
from core.store.store import Transaction
from tests.worlds import Clock, World, closed, order, store, world


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        yield world(it, clock)


def shipped(hub: World, ref: str = "A", *lines: tuple[str, int], at: int | None = None) -> str:
    """An order of 5 pens (or of these lines) that has left; its fulfilment's ref."""
    lines = lines or (("pen", 5),)
    for sku, units in lines:
        hub.counts(sku, units)
    hub.takes(order(ref, *lines), at=at)
    fulfilment = hub.releases(ref)
    left = tuple(ConfirmedLine(line=str(n), sku=sku, quantity=units) for n, (sku, units) in enumerate(lines, 1))
    hub.hears(Confirm(fulfilment=fulfilment, event_id=f"confirm-{ref}", final=True, lines=left), at=hub.wms)
    assert hub.order(ref)["state"] == "shipped"
    return fulfilment


def returned(hub: World, ref: str = "A") -> list[int]:
    o = t.order_lines.c
    query = select(o.returned).where(o.order_id == hub.order(ref)["id"]).order_by(o.id)
    return [r["returned"] for r in hub.rows(query)]


def changes(hub: World, *rows: tuple[str, int, str], event: str = "S1") -> list[str]:
    """The warehouse tells (sku, units, condition) changes in one message."""
    told = tuple(
        AdjustmentRow(sku=sku, keeper="ALPHA", warehouse="EAST", condition=c, quantity=n, event_id=event)  # type: ignore[arg-type]
        for sku, n, c in rows
    )
    return hub.hears(Adjustment(ref=event, rows=told), at=hub.wms)


# booked


def test_a_return_graded_defective_is_held_and_regraded_it_is_free(hub: World) -> None:
    shipped(hub)
    assert hub.takes_back("RT1", ("pen", 1, "CC"), order="A") == ["done"]
    assert hub.entries("return") == [("world", -1), ("held", 1)]
    assert hub.cell(hub.pen, condition="CC") == {"held": 1}
    assert changes(hub, ("pen", -1, "CC"), ("pen", 1, "ZP")) == ["done"]
    assert hub.entries("regrade") == [("held", -1), ("free", 1)]
    assert hub.cell(hub.pen, condition="CC") == {}
    assert hub.cell(hub.pen) == {"free": 1}
    assert hub.audit() == []


def test_a_good_return_fills_negative_suspense_first(hub: World) -> None:
    shipped(hub)
    hub.counts("pen", -2)
    hub.takes_back("RT1", ("pen", 3), order="A")
    assert hub.entries("return") == [("world", -3), ("suspense", 2), ("free", 1)]
    assert hub.cell(hub.pen) == {"free": 1}
    assert hub.worklist() == []


def test_rows_of_one_return_fill_what_is_missing_once(hub: World) -> None:
    shipped(hub)
    hub.counts("pen", -3)
    hub.takes_back("RT1", ("pen", 2), ("pen", 3), order="A")
    assert hub.entries("return") == [("world", -2), ("suspense", 2), ("world", -3), ("suspense", 1), ("free", 2)]
    assert hub.cell(hub.pen) == {"free": 2}
    assert hub.audit() == []


def test_money_given_back_moves_no_goods_and_goods_that_come_back_move_no_money(hub: World) -> None:
    shipped(hub)
    hub.takes(closed("A", ("pen", 5)))
    assert (hub.cell(hub.pen), returned(hub)) == ({}, [0])
    assert hub.order("A")["state"] == "shipped"
    hub.takes_back("RT1", ("pen", 5), order="A")
    assert (hub.cell(hub.pen), returned(hub)) == ({"free": 5}, [5])
    assert hub.line("A")["net_minor"] == 100
    assert hub.audit() == []


def test_a_return_backs_the_order_that_waits_as_a_receipt_does(hub: World) -> None:
    hub.decides("wait")
    shipped(hub)
    hub.takes(order("B", ("pen", 2)))
    hub.takes_back("RT1", ("pen", 3), order="A")
    assert hub.order("B")["state"] == "released"
    assert hub.cell(hub.pen) == {"free": 1, "reserved": 2}


def test_defective_goods_back_nobody(hub: World) -> None:
    hub.decides("wait")
    shipped(hub)
    hub.takes(order("B", ("pen", 2)))
    hub.takes_back("RT1", ("pen", 3, "CC"), order="A")
    assert hub.claims("B") == [(2, 0)]


def test_units_that_are_regraded_but_were_never_there_are_missing_where_they_leave(hub: World) -> None:
    changes(hub, ("pen", -3, "ZP"), ("pen", 3, "CC"))
    assert hub.cell(hub.pen) == {"suspense": -3}
    assert hub.cell(hub.pen, condition="CC") == {"held": 3}
    assert hub.worklist() == ["stock.missing"]
    assert changes(hub, ("pen", -3, "ZP"), ("pen", 3, "CC")) == ["done"]
    assert hub.cell(hub.pen, condition="CC") == {"held": 3}


@pytest.mark.parametrize(
    "rows",
    [
        (("pen", -1, "CC"), ("pen", 2, "ZP")),
        (("pen", -1, "CC"), ("ink", 1, "ZP")),
        (("pen", -1, "CC"), ("pen", 1, "CC")),
    ],
)
def test_changes_that_do_not_cancel_each_other_out_are_booked_one_by_one(
    hub: World, rows: tuple[tuple[str, int, str], ...]
) -> None:
    hub.counts("pen", 4, condition="CC")
    assert changes(hub, *rows) == ["done"]
    assert hub.entries("regrade") == []
    assert hub.audit() == []


# whose they are


@pytest.mark.parametrize("named", ["order", "fulfilment", "number", "waybill"])
def test_the_order_is_known_by_its_number_our_fulfilment_the_returns_number_or_the_waybill(
    hub: World, named: str
) -> None:
    fulfilment = shipped(hub)
    shipped(hub, "B")
    waybill = str(hub.fulfilments("A")[0]["waybill"])
    ref = fulfilment if named == "number" else "RT1"
    more = {"order": {"order": "A"}, "fulfilment": {"order": fulfilment}, "waybill": {"waybill": waybill}}
    assert hub.takes_back(ref, ("pen", 2), **more.get(named, {})) == ["done"]
    assert (returned(hub), returned(hub, "B")) == ([2], [0])
    assert hub.worklist() == []
    assert hub.events("order.goods_returned") == 1
    assert hub.audit() == []


def test_goods_of_no_known_order_are_booked_to_the_owner_the_keeper_code_names_and_noted(hub: World) -> None:
    assert hub.takes_back("RT1", ("pen", 2), order="nobody's") == ["done"]
    assert hub.cell(hub.pen) == {"free": 2}
    assert hub.worklist() == ["return.no_order"]
    line = hub.row(t.return_lines, item_id=hub.pen)
    assert (line["owner_id"], line["order_id"], line["line_id"], line["quantity"]) == (hub.alpha, None, None, 2)
    assert hub.events("goods.returned") == 1
    assert hub.audit() == []


def test_a_number_two_shops_use_names_no_order(hub: World) -> None:
    shipped(hub)
    hub.counts("pen", 1)
    hub.takes(order("A", ("pen", 1)), at=hub.vendure)
    both = hub.rows(select(t.orders.c.id).where(t.orders.c.ref == "A").order_by(t.orders.c.id))
    assert len(both) == 2
    hub.takes_back("RT1", ("pen", 1), order="A")
    assert hub.worklist() == ["return.no_order"]


def test_the_number_of_a_return_is_not_taken_for_an_orders(hub: World) -> None:
    shipped(hub)
    hub.takes_back("A", ("pen", 1))
    assert (returned(hub), hub.worklist()) == ([0], ["return.no_order"])


def test_the_order_says_whose_goods_they_are_where_two_owners_share_a_keeper_code(hub: World) -> None:
    shipped(hub)
    pen = {"owner_id": hub.beta, "sku": "pen", "name": "pen"}
    hub.store.write(lambda tx: tx.add(t.items, [{"id": tx.ids.new(), **pen, "created_at": tx.now}]))
    hub.store.write(lambda tx: tx.add(t.keepers, [{"owner_id": hub.beta, "warehouse_id": hub.east, "code": "ALPHA"}]))
    assert hub.takes_back("RT1", ("pen", 1)) == ["parked"]
    assert hub.takes_back("RT2", ("pen", 1), order="A") == ["done"]
    assert (returned(hub), hub.cell(hub.pen)) == ([1], {"free": 1})


def test_a_return_graded_otherwise_under_its_number_is_parked(hub: World) -> None:
    shipped(hub)
    assert hub.takes_back("RT1", ("pen", 1), order="A", event_id="E1", final=False) == ["done"]
    assert hub.takes_back("RT1", ("pen", 1, "CC"), order="A", event_id="E1", final=False) == ["parked"]
    assert hub.takes_back("RT1", ("pen", 1), order="A", event_id="E1", final=True) == ["parked"]
    assert (returned(hub), hub.cell(hub.pen)) == ([1], {"free": 1})


def test_an_order_no_warehouse_there_had_to_send_is_not_meant(hub: World) -> None:
    hub.takes(order("A", ("pen", 1)))
    hub.takes_back("RT1", ("pen", 1), order="A")
    assert returned(hub) == [0]
    assert "return.no_order" in hub.worklist()


def test_a_return_of_an_unknown_sku_or_warehouse_is_parked_without_effect(hub: World) -> None:
    shipped(hub)
    assert hub.takes_back("RT1", ("pen", 1), ("no-such-thing", 1), order="A") == ["parked"]
    assert hub.takes_back("RT2", ("pen", 1), order="A", keeper="GAMMA") == ["parked"]
    assert hub.takes_back("RT3", ("pen", 1), order="A", warehouse="nowhere") == ["parked"]
    assert (hub.cell(hub.pen), returned(hub)) == ({}, [0])
    assert hub.rows(select(t.returns)) == []


def test_lines_of_one_item_fill_up_in_turn_and_a_component_comes_back_by_itself(hub: World) -> None:
    shipped(hub, "A", ("pen", 2), ("ink", 1), ("pen", 3))
    hub.takes_back("RT1", ("pen", 4), order="A")
    assert returned(hub) == [2, 0, 2]
    hub.takes_back("RT2", ("ink", 1, "CC"), order="A")
    assert returned(hub) == [2, 1, 2]
    assert hub.audit() == []


def test_more_than_had_left_is_booked_and_noted(hub: World) -> None:
    shipped(hub)
    hub.takes_back("RT1", ("pen", 7), order="A")
    assert (returned(hub), hub.cell(hub.pen)) == ([7], {"free": 7})
    assert hub.worklist() == ["return.too_many"]
    assert hub.audit() == []


def test_what_the_order_never_had_is_booked_and_noted(hub: World) -> None:
    shipped(hub)
    hub.takes_back("RT1", ("ink", 1), order="A")
    assert (returned(hub), hub.cell(hub.ink)) == ([0], {"free": 1})
    assert hub.worklist() == ["return.not_ordered"]


# told again


def test_the_same_return_twice_is_booked_once_and_increments_add_up(hub: World) -> None:
    shipped(hub)
    for event in ("E1", "E1", "E2", "E1"):
        assert hub.takes_back("RT1", ("pen", 1), order="A", event_id=event) == ["done"]
    assert (returned(hub), hub.cell(hub.pen)) == ([2], {"free": 2})
    assert len(hub.rows(select(t.returns))) == 1
    assert hub.tally("duplicates_absorbed") == 2


def test_without_message_ids_a_repeat_is_absorbed_and_a_different_return_is_parked(hub: World) -> None:
    shipped(hub)
    assert hub.takes_back("RT1", ("pen", 1), order="A", event_id="") == ["done"]
    assert hub.takes_back("RT1", ("pen", 1), order="A", event_id="") == ["done"]
    assert hub.takes_back("RT1", ("pen", 2), order="A", event_id="") == ["parked"]
    assert (returned(hub), hub.cell(hub.pen)) == ([1], {"free": 1})


def test_a_return_of_nothing_changes_nothing(hub: World) -> None:
    shipped(hub)
    assert hub.takes_back("RT1", ("pen", 0), order="A") == ["done"]
    assert (returned(hub), hub.worklist()) == ([0], [])


# told in words


def test_an_order_tells_what_came_back_of_it(hub: World) -> None:
    shipped(hub)
    hub.takes_back("RT1", ("pen", 2, "CC"), order="A")
    ident = hub.order("A")["id"]
    with hub.store.read() as tx:
        happened = explain.explain_order(tx, HUB, ident)["happened"]
    words = [(h["what"], h["words"]) for h in happened]
    assert ("return", "RT1: 2 pen came back to east as CC") in words
    assert ("journal", "return: pen east world -2, pen east held +2") in words
    assert ("document", "return, from wms, done") in words


def test_the_number_of_a_return_is_shown_to_its_merchant_and_the_hub_alone(hub: World) -> None:
    shipped(hub, "B1", ("pen", 2), at=hub.beta_shop)
    hub.takes_back("RT1", ("pen", 2), order="B1")
    cause = str(hub.row(t.journals, kind="return")["cause"])
    with hub.store.read() as tx:
        seen = [resolve(tx, s, [cause])[cause].ref for s in (HUB, Scope("merchant", hub.beta))]
        assert seen == ["RT1", "RT1"]
        assert resolve(tx, Scope("merchant", hub.alpha), [cause])[cause].ref is None


def test_the_audit_finds_suspense_above_0_for_a_breach_and_no_drift(hub: World) -> None:
    def work(tx: Transaction) -> None:
        ledger = Ledger(tx)
        cell = ledger.cell(CellKey(hub.alpha, hub.pen, hub.east))
        ledger.book("wrong", "test", "test:1", [Entry(cell, "world", -2), Entry(cell, "suspense", 2)])
        ledger.flush()

    hub.store.write(work)
    (found,) = hub.audit()
    assert "its suspense is 2 above 0, last by test of test:1" in found


def test_the_audit_finds_a_line_whose_returns_do_not_add_up(hub: World) -> None:
    shipped(hub)
    hub.takes_back("RT1", ("pen", 2), order="A")
    line, row = hub.line("A"), hub.row(t.return_lines, item_id=hub.pen)
    hub.store.write(lambda tx: tx.set(t.order_lines, line["id"], returned=3))
    said = f"order line {line['id']}: returned is 3, its returns say 2, last by return of inbox:{row['inbox_id']}"
    assert hub.audit() == [said]


def test_two_messages_of_one_return_in_one_batch_share_its_number(hub: World) -> None:
    shipped(hub)
    one = ReturnedLine(sku="pen", quantity=1, keeper="ALPHA", order="A")
    told = [Return(ref="RT1", warehouse="EAST", event_id=f"E{n}", final=n == 2, lines=(one,)) for n in (1, 2)]
    assert hub.hears(*told, at=hub.wms) == ["done", "done"]
    assert returned(hub) == [2]
    assert hub.row(t.returns, ref="RT1")["final"] is True
