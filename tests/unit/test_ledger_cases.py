"""The cases of the ledger's law, each with its numbers; `tests/services` runs them again on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from core.flow import audit_ledger, cancel_order, keep_promises, move_stock, note_told, publish_stock, tell_shipment
from core.flow.publish_stock import Said
from core.model import Adjustment, AdjustmentRow, Confirm, ConfirmedLine, Snapshot, SnapshotRow
from core.rules.levels import Shelf, form
from core.store import outbox
from core.store import tables as t
from core.store.ledger import Ledger
from core.store.store import Transaction
from tests.worlds import Clock, World, closed, order, store, unpaid, world


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        yield world(it, clock)


def missing(hub: World) -> list[str]:
    """What the audit says, which may only be that units are in suspense."""
    found = hub.audit()
    assert all("in suspense" in sentence for sentence in found), found
    return found


# announced and received


def test_100_announced_are_inbound_and_not_on_hand(hub: World) -> None:
    hub.announces((hub.pen, 100))
    assert hub.cell(hub.pen) == {"inbound": 100}
    assert hub.entries("announce") == [("world", -100), ("inbound", 100)]
    assert hub.intents("send_asn") == ["waiting"]


def test_97_good_and_2_defective_of_100_close_the_asn_and_nothing_stays_inbound(hub: World) -> None:
    asn = hub.announces((hub.pen, 100))
    assert hub.receives(asn, ("pen", 97), ("pen", 2, "CC")) == ["done"]
    assert hub.cell(hub.pen) == {"free": 97}
    assert hub.cell(hub.pen, condition="CC") == {"held": 2}
    assert hub.entries("close") == [("inbound", -1), ("world", 1)]
    assert hub.row(t.asns, ref=asn)["state"] == "closed"
    assert hub.audit() == []


def test_an_intermediate_receipt_leaves_the_rest_inbound(hub: World) -> None:
    asn = hub.announces((hub.pen, 100))
    hub.receives(asn, ("pen", 40), final=False)
    assert hub.cell(hub.pen) == {"free": 40, "inbound": 60}
    hub.receives(asn, ("pen", 60))
    assert hub.cell(hub.pen) == {"free": 100}


def test_over_receipt_105_of_100_takes_5_from_the_world(hub: World) -> None:
    hub.receives(hub.announces((hub.pen, 100)), ("pen", 105))
    assert hub.cell(hub.pen) == {"free": 105}
    assert sorted(hub.entries("receive")) == [("free", 105), ("inbound", -100), ("world", -5)]


def test_a_late_receipt_after_the_close_comes_from_the_world_and_not_from_another_asn(hub: World) -> None:
    first, second = hub.announces((hub.pen, 10)), hub.announces((hub.pen, 20))
    hub.receives(first, ("pen", 9))
    hub.receives(first, ("pen", 1))
    assert hub.cell(hub.pen) == {"free": 10, "inbound": 20}
    hub.receives(second, ("pen", 20))
    assert hub.cell(hub.pen) == {"free": 30}


def test_two_lines_of_one_item_are_summed_when_announced_and_when_received(hub: World) -> None:
    asn = hub.announces((hub.pen, 4), (hub.pen, 6))
    hub.receives(asn, ("pen", 3), ("pen", 7))
    assert hub.cell(hub.pen) == {"free": 10}
    assert hub.audit() == []


def test_a_receipt_fills_negative_suspense_first(hub: World) -> None:
    hub.counts("pen", -3)
    assert hub.cell(hub.pen) == {"suspense": -3}
    assert hub.worklist() == ["stock.missing"]
    hub.receives(hub.announces((hub.pen, 8)), ("pen", 5), ("pen", 3))
    assert hub.cell(hub.pen) == {"free": 5}
    assert hub.worklist() == []


def test_the_same_receipt_twice_is_booked_once(hub: World) -> None:
    asn = hub.announces((hub.pen, 10))
    assert [hub.receives(asn, ("pen", 4), event_id="E1", final=False) for _ in range(2)] == [["done"], ["done"]]
    assert hub.cell(hub.pen) == {"free": 4, "inbound": 6}


def test_without_message_ids_a_repeat_is_absorbed_and_a_different_receipt_is_parked(hub: World) -> None:
    asn = hub.announces((hub.pen, 10))
    assert hub.receives(asn, ("pen", 4), event_id="") == ["done"]
    assert hub.receives(asn, ("pen", 4), event_id="") == ["done"]
    assert hub.receives(asn, ("pen", 5), event_id="") == ["parked"]
    assert hub.cell(hub.pen) == {"free": 4}


def test_a_receipt_of_an_unknown_item_is_parked_without_effect(hub: World) -> None:
    asn = hub.announces((hub.pen, 10))
    assert hub.receives(asn, ("pen", 4), ("no-such-thing", 1)) == ["parked"]
    assert hub.cell(hub.pen) == {"inbound": 10}


# promised


def test_an_order_of_5_with_3_available_is_part_backed_and_3_are_reserved(hub: World) -> None:
    hub.counts("pen", 3)
    assert hub.takes(order("A", ("pen", 5))) == ["done"]
    assert hub.claims("A") == [(5, 3)]
    assert hub.cell(hub.pen) == {"reserved": 3}
    assert hub.order("A")["state"] == "short"
    assert hub.fulfilments("A") == []


def test_who_asks_the_shop_about_a_short_order_has_a_person_to_do_it_where_no_call_is_known(hub: World) -> None:
    hub.counts("pen", 3)
    hub.takes(order("A", ("pen", 5)))
    assert hub.worklist() == ["order.short/send_cancellation"]
    assert hub.intents("send_cancellation") == []


def test_who_asks_the_shop_about_a_short_order_calls_it_where_a_call_is_known(hub: World) -> None:
    hub.counts("pen", 3)
    hub.takes(order("A", ("pen", 5)), at=hub.vendure)
    assert hub.intents("send_cancellation") == ["waiting"]
    assert hub.worklist() == []


def test_who_waits_is_topped_up_by_a_receipt_oldest_order_first(hub: World) -> None:
    hub.decides("wait")
    hub.counts("pen", 3)
    hub.takes(order("A", ("pen", 5)), order("B", ("pen", 2)))
    assert hub.worklist() == []
    hub.receives(hub.announces((hub.pen, 3)), ("pen", 3))
    assert hub.claims("A") == [(5, 5)]
    assert hub.claims("B") == [(2, 1)]
    assert [hub.order(ref)["state"] for ref in "AB"] == ["released", "short"]
    assert hub.audit() == []


def test_who_asks_is_not_topped_up_by_itself_but_by_a_person(hub: World) -> None:
    hub.takes(order("A", ("pen", 5)))
    hub.counts("pen", 5)
    assert hub.claims("A") == [(5, 0)]

    def try_again(tx: Transaction) -> None:
        ledger = Ledger(tx)
        keep_promises.top_up_order(tx, ledger, hub.order("A")["id"])
        ledger.flush()

    hub.store.write(try_again)
    assert hub.claims("A") == [(5, 5)]
    assert hub.order("A")["state"] == "released"
    assert hub.worklist() == []


def test_an_order_of_5_with_3_available_books_no_entry_where_parts_are_not_allowed(hub: World) -> None:
    hub.decides("wait", part_backing=False)
    hub.counts("pen", 3)
    hub.takes(order("A", ("pen", 5)))
    assert (hub.claims("A"), hub.entries("reserve")) == ([(5, 0)], [])
    assert hub.cell(hub.pen) == {"free": 3}
    assert hub.order("A")["state"] == "short"
    assert hub.audit() == []


def test_re_sourcing_before_release_is_one_journal_w1_gives_3_back_and_w2_reserves_5(hub: World) -> None:
    hub.decides("resource")
    hub.counts("pen", 3)
    hub.takes(order("A", ("pen", 5)))
    hub.counts("pen", 5, "west")
    assert sorted(hub.entries("resource")) == [("free", -5), ("free", 3), ("reserved", -3), ("reserved", 5)]
    assert (hub.cell(hub.pen), hub.cell(hub.pen, hub.west)) == ({"free": 3}, {"reserved": 5})
    assert hub.audit() == []


def test_who_ships_in_part_releases_3_of_5_and_leaves_2_waiting(hub: World) -> None:
    hub.decides("part_ship")
    hub.counts("pen", 3)
    hub.takes(order("A", ("pen", 5)))
    assert (hub.claims("A"), len(hub.fulfilments("A"))) == ([(3, 3), (2, 0)], 1)
    assert hub.cell(hub.pen) == {"reserved": 3}


def test_while_suspense_is_negative_less_is_promised(hub: World) -> None:
    hub.counts("pen", 10)
    hub.takes(order("A", ("pen", 8)))
    hub.counts("pen", -5)
    assert hub.cell(hub.pen) == {"reserved": 8, "suspense": -3}
    cell = hub.row(t.cells, item_id=hub.pen, warehouse_id=hub.east)
    hub.store.write(lambda tx: tx.set(t.cells, cell["id"], free=4))
    hub.takes(order("B", ("pen", 2)))
    assert hub.claims("B") == [(2, 1)]


def test_16_orders_for_the_last_unit_back_exactly_one(hub: World) -> None:
    hub.counts("pen", 1)
    hub.takes(*(order(f"R{n}", ("pen", 1)) for n in range(16)))
    assert sum(hub.claims(f"R{n}") == [(1, 1)] for n in range(16)) == 1
    assert hub.cell(hub.pen) == {"reserved": 1}


# shipped and called off


def released_5(hub: World) -> str:
    """An order of 5, all backed, in its warehouse; the fulfilment's ref."""
    hub.counts("pen", 5)
    hub.takes(order("A", ("pen", 5)))
    return hub.releases("A")


def test_3_confirmed_then_cancel_verdict_yes_gives_2_back_and_the_final_confirm_of_0_finds_nothing(hub: World) -> None:
    fulfilment = released_5(hub)
    hub.confirms(fulfilment, ("pen", 3), final=False)
    assert hub.cell(hub.pen) == {"reserved": 2}
    hub.takes(closed("A", ("pen", 5)))
    assert hub.cell(hub.pen) == {"reserved": 2}
    hub.answers(fulfilment, "cancelled")
    assert hub.cell(hub.pen) == {"free": 2}
    assert hub.confirms(fulfilment, ("pen", 0)) == ["done"]
    assert hub.cell(hub.pen) == {"free": 2}
    assert hub.line("A")["short"] == 0
    assert hub.fulfilments("A")[0]["state"] == "shipped"
    assert hub.order("A")["state"] == "shipped"
    assert hub.audit() == []


def test_3_confirmed_then_final_confirm_of_0_leaves_the_line_2_short_and_a_later_yes_finds_nothing(hub: World) -> None:
    fulfilment = released_5(hub)
    hub.confirms(fulfilment, ("pen", 3), final=False)
    hub.confirms(fulfilment, ("pen", 0))
    assert hub.cell(hub.pen) == {"free": 2}
    assert hub.line("A")["short"] == 2
    hub.store.write(lambda tx: cancel_order.verdict(tx, Ledger(tx), hub.fulfilments("A")[0]["id"], True))
    assert hub.cell(hub.pen) == {"free": 2}
    assert hub.fulfilments("A")[0]["state"] == "shipped"
    assert hub.order("A")["state"] == "shipped"
    assert hub.events("fulfilment.part_short") == 1
    assert hub.audit() == []


def test_a_final_confirm_of_0_while_it_is_being_called_off_is_a_cancellation_and_not_short(hub: World) -> None:
    fulfilment = released_5(hub)
    hub.takes(closed("A", ("pen", 5)))
    hub.confirms(fulfilment, ("pen", 0))
    assert hub.cell(hub.pen) == {"free": 5}
    assert hub.line("A")["short"] == 0
    assert (hub.fulfilments("A")[0]["state"], hub.order("A")["state"]) == ("cancelled", "cancelled")


def test_nothing_was_there_to_ship_makes_the_order_short(hub: World) -> None:
    fulfilment = released_5(hub)
    hub.confirms(fulfilment)
    assert hub.cell(hub.pen) == {"free": 5}
    assert (hub.fulfilments("A")[0]["state"], hub.order("A")["state"]) == ("short", "short")
    assert hub.intents("send_shipment") == []


def test_a_late_confirm_after_the_cancel_is_booked_from_free_then_from_suspense(hub: World) -> None:
    fulfilment = released_5(hub)
    hub.takes(closed("A", ("pen", 5)))
    hub.answers(fulfilment, "cancelled")
    hub.takes(order("B", ("pen", 3)))
    assert hub.cell(hub.pen) == {"free": 2, "reserved": 3}
    hub.confirms(fulfilment, ("pen", 5))
    assert hub.cell(hub.pen) == {"reserved": 3, "suspense": -3}
    assert sorted(hub.worklist()) == ["fulfilment.left_though_cancelled", "stock.missing"]
    assert len(missing(hub)) == 1


def test_over_ship_7_of_5_takes_backed_then_free_then_suspense(hub: World) -> None:
    fulfilment = released_5(hub)
    hub.counts("pen", 1)
    hub.confirms(fulfilment, ("pen", 7))
    assert hub.cell(hub.pen) == {"suspense": -1}
    assert hub.entries("ship") == [("reserved", -5), ("free", -1), ("suspense", -1), ("world", 7)]
    assert len(missing(hub)) == 1
    said = hub.store.write(lambda tx: tell_shipment.shipment(tx, hub.fulfilments("A")[0]["id"]))
    assert said is not None
    assert [line.quantity for line in said.lines] == [5]


def test_two_lines_of_one_item_over_shipped_in_one_confirm_share_what_is_free(hub: World) -> None:
    hub.counts("pen", 4)
    hub.takes(order("A", ("pen", 1), ("pen", 1)))
    fulfilment = hub.releases("A")
    rows = tuple(ConfirmedLine(line=n, sku="pen", quantity=q) for n, q in (("1", 2), ("1", 1), ("2", 2)))
    assert hub.hears(Confirm(fulfilment=fulfilment, final=True, lines=rows), at=hub.wms) == ["done"]
    assert hub.cell(hub.pen) == {"suspense": -1}
    assert [hub.line("A", n)["shipped"] for n in "12"] == [3, 2]


def test_a_correction_after_the_final_confirm_is_booked(hub: World) -> None:
    fulfilment = released_5(hub)
    hub.confirms(fulfilment, ("pen", 4))
    assert hub.cell(hub.pen) == {"free": 1}
    hub.confirms(fulfilment, ("pen", 1))
    assert hub.cell(hub.pen) == {}
    assert hub.line("A")["shipped"] == 5
    assert hub.audit() == []


def test_a_correction_turns_a_short_fulfilment_into_a_shipped_one_that_the_shop_hears_of(hub: World) -> None:
    fulfilment = released_5(hub)
    hub.confirms(fulfilment, ("pen", 0))
    hub.confirms(fulfilment, ("pen", 5))
    assert hub.order("A")["state"] == "shipped"
    assert hub.intents("send_shipment") == ["waiting"]


def test_cancel_verdict_no_changes_nothing_and_the_goods_leave(hub: World) -> None:
    fulfilment = released_5(hub)
    hub.takes(closed("A", ("pen", 5)))
    hub.answers(fulfilment, "cancel_refused")
    assert hub.cell(hub.pen) == {"reserved": 5}
    assert hub.fulfilments("A")[0]["state"] == "cannot_stop"
    hub.confirms(fulfilment, ("pen", 5))
    assert hub.cell(hub.pen) == {}
    assert hub.order("A")["state"] == "shipped"
    assert hub.audit() == []


def test_a_yes_after_a_no_still_counts(hub: World) -> None:
    fulfilment = released_5(hub)
    hub.takes(closed("A", ("pen", 5)))
    hub.answers(fulfilment, "cancel_refused")
    hub.answers(fulfilment, "cancelled")
    assert hub.cell(hub.pen) == {"free": 5}
    assert hub.order("A")["state"] == "cancelled"


def test_the_same_confirm_twice_is_booked_once_and_increments_add_up(hub: World) -> None:
    fulfilment = released_5(hub)
    for event in ("E1", "E1", "E2", "E1", "E2"):
        hub.confirms(fulfilment, ("pen", 2), final=False, event_id=event)
    assert hub.cell(hub.pen) == {"reserved": 1}
    assert hub.fulfilments("A")[0]["state"] == "part_shipped"


def test_without_message_ids_a_second_different_final_confirm_is_parked(hub: World) -> None:
    fulfilment = released_5(hub)
    assert hub.confirms(fulfilment, ("pen", 4), event_id="") == ["done"]
    assert hub.confirms(fulfilment, ("pen", 4), event_id="") == ["done"]
    assert hub.confirms(fulfilment, ("pen", 5), event_id="") == ["parked"]
    assert hub.cell(hub.pen) == {"free": 1}


def test_a_repeat_without_message_id_is_known_even_when_increments_came_before_it(hub: World) -> None:
    fulfilment = released_5(hub)
    hub.confirms(fulfilment, ("pen", 2), final=False, event_id="E1")
    assert hub.confirms(fulfilment, ("pen", 3), event_id="") == ["done"]
    assert hub.confirms(fulfilment, ("pen", 3), event_id="") == ["done"]
    assert hub.cell(hub.pen) == {}


def test_a_confirm_of_goods_that_are_not_on_the_fulfilment_is_parked(hub: World) -> None:
    fulfilment = released_5(hub)
    assert hub.confirms(fulfilment, ("ink", 5)) == ["parked"]
    assert hub.confirms("Y404", ("pen", 5)) == ["parked"]
    assert hub.cell(hub.pen) == {"reserved": 5}


def test_only_the_fulfilments_own_warehouse_is_heard(hub: World) -> None:
    fulfilment = released_5(hub)
    strange = Confirm(fulfilment=fulfilment, final=True, lines=(ConfirmedLine(sku="pen", quantity=5),))
    assert hub.hears(strange, at=hub.courier) == ["parked"]
    assert hub.cell(hub.pen) == {"reserved": 5}


def test_5_of_a_declared_substitute_free_what_was_ordered_and_leave_from_free_then_suspense(hub: World) -> None:
    hub.store.write(
        lambda tx: tx.add(t.substitutes, [{"item_id": hub.pen, "instead_id": hub.ink, "created_at": tx.now}])
    )
    fulfilment = released_5(hub)
    hub.counts("ink", 4)
    hub.confirms(fulfilment, ("ink", 5))
    assert hub.entries("ship") == [("reserved", -5), ("free", 5), ("free", -4), ("suspense", -1), ("world", 5)]
    assert (hub.line("A")["item_id"], hub.line("A")["shipped"]) == (hub.pen, 5)
    kept = hub.row(t.sent_instead, fulfilment_id=hub.fulfilments("A")[0]["id"])
    assert (kept["item_id"], kept["quantity"]) == (hub.ink, 5)
    assert len(missing(hub)) == 1


# came back


def test_a_return_graded_defective_is_held_then_regraded_and_money_back_is_not_goods_back(hub: World) -> None:
    hub.confirms(released_5(hub), ("pen", 5))
    hub.takes(closed("A", ("pen", 5)))
    assert hub.cell(hub.pen) == {}
    assert hub.takes_back("RT1", ("pen", 1, "CC"), order="A") == ["done"]
    assert hub.entries("return") == [("world", -1), ("held", 1)]
    named = {"sku": "pen", "keeper": "ALPHA", "warehouse": "EAST", "event_id": "G1"}
    rows = tuple(AdjustmentRow(**named, condition=c, quantity=n) for c, n in (("CC", -1), ("ZP", 1)))  # type: ignore[arg-type]
    assert hub.hears(Adjustment(ref="G1", rows=rows), at=hub.wms) == ["done"]
    assert hub.entries("regrade") == [("held", -1), ("free", 1)]
    assert (hub.cell(hub.pen), hub.line("A")["returned"]) == ({"free": 1}, 1)
    assert hub.audit() == []


# counted


def test_count_minus_5_with_free_2_and_reserved_8_takes_2_free_and_3_suspense_then_unback_gives_up_3(
    hub: World,
) -> None:
    hub.counts("pen", 10)
    hub.takes(order("A", ("pen", 8), holds=("remark",)))
    hub.counts("pen", -5)
    assert hub.cell(hub.pen) == {"reserved": 8, "suspense": -3}
    assert hub.entries("adjust")[-3:] == [("world", 5), ("free", -2), ("suspense", -3)]
    assert hub.worklist() == ["stock.missing"]
    assert len(missing(hub)) == 1
    cell = hub.row(t.cells, item_id=hub.pen)["id"]
    assert hub.store.write(lambda tx: move_stock.unback(tx, cell)) == 3
    assert hub.cell(hub.pen) == {"reserved": 5}
    assert hub.claims("A") == [(8, 5)]
    assert hub.order("A")["state"] == "short"
    assert hub.entries("unback") == [("reserved", -3), ("suspense", 3)]
    assert "stock.missing" not in hub.worklist()
    assert hub.audit() == []


def test_count_minus_5_is_unbacked_at_once_newest_first_where_the_owner_leaves_it_to_us(hub: World) -> None:
    hub.decides("wait", unback="newest")
    hub.counts("pen", 10)
    hub.takes(order("A", ("pen", 8), holds=("remark",)))
    hub.counts("pen", -5)
    assert hub.entries("unback") == [("reserved", -3), ("suspense", 3)]
    assert (hub.cell(hub.pen), hub.claims("A"), hub.worklist()) == ({"reserved": 5}, [(8, 5)], [])
    assert hub.audit() == []


def test_unback_leaves_alone_what_a_warehouse_was_told_of(hub: World) -> None:
    released_5(hub)
    hub.counts("pen", -2)
    cell = hub.row(t.cells, item_id=hub.pen)["id"]
    assert hub.store.write(lambda tx: move_stock.unback(tx, cell)) == 0
    assert hub.cell(hub.pen) == {"reserved": 5, "suspense": -2}


def test_a_count_of_plus_4_fills_suspense_then_free(hub: World) -> None:
    hub.counts("pen", -3)
    hub.counts("pen", 4)
    assert hub.cell(hub.pen) == {"free": 1}


def test_a_count_of_defective_goods_moves_held(hub: World) -> None:
    hub.counts("pen", 4, condition="CC")
    hub.counts("pen", -1, condition="CC")
    assert hub.cell(hub.pen, condition="CC") == {"held": 3}


def test_the_same_count_twice_is_booked_once(hub: World) -> None:
    assert [hub.counts("pen", 4, event_id="C1") for _ in range(2)] == [["done"], ["done"]]
    assert hub.cell(hub.pen) == {"free": 4}


def test_a_difference_that_names_our_own_order_only_confirms(hub: World) -> None:
    fulfilment = released_5(hub)
    assert hub.counts("pen", -5, order_ref=fulfilment) == ["done"]
    assert hub.cell(hub.pen) == {"reserved": 5}
    assert hub.counts("pen", -1, order_ref="somebody else's") == ["done"]
    assert hub.cell(hub.pen) == {"reserved": 5, "suspense": -1}


def test_a_count_of_an_unknown_item_or_warehouse_is_parked(hub: World) -> None:
    assert hub.counts("no-such-thing", 1) == ["parked"]
    assert hub.counts("pen", 1, warehouse="nowhere") == ["parked"]


# soft claims


def test_an_unpaid_order_holds_a_soft_claim_that_ends_with_closed(hub: World) -> None:
    hub.counts("pen", 5)
    hub.takes(unpaid("A", ("pen", 2)))
    assert hub.cell(hub.pen) == {"free": 3, "reserved": 2}
    assert [r["soft"] for r in hub.rows(select(t.claims.c.soft))] == [True]
    assert (hub.order("A")["state"], hub.fulfilments("A")) == ("unpaid", [])
    hub.takes(closed("A", ("pen", 2), paid_at=None))
    assert hub.cell(hub.pen) == {"free": 5}
    assert hub.order("A")["state"] == "cancelled"


def test_a_soft_claim_becomes_a_firm_one_when_the_order_is_paid(hub: World) -> None:
    hub.counts("pen", 5)
    hub.takes(unpaid("A", ("pen", 2)))
    hub.takes(order("A", ("pen", 2), version="2"))
    assert hub.cell(hub.pen) == {"free": 3, "reserved": 2}
    assert [r["soft"] for r in hub.rows(select(t.claims.c.soft))] == [False]
    assert len(hub.fulfilments("A")) == 1


# published


def said(hub: World, shop: int, then: Callable[[Transaction, Said], None] = note_told.told) -> Said:
    """Take the marks, compute the shop's one due write, if there is any, and have it confirmed (or lost)."""

    def work(tx: Transaction) -> Said:
        publish_stock.take_marks(tx)
        rows = [r for r in outbox.claim(tx, "stock", 50, 60) if r["connection_id"] == shop]
        it = publish_stock.compute(tx, rows[0]) if rows else Said((), {}, {}, {}, reads=False)
        then(tx, it)
        for row in rows:
            outbox.done(tx, row)
        return it

    return hub.store.write(work)


def shelf(hub: World, shop: int, ref: str = "pen") -> tuple[int | None, bool]:
    """(told, doubt) of a listing."""
    listing = hub.row(t.listings, connection_id=shop, ref=ref)
    row = hub.row(t.shelves, listing_id=listing["id"])
    return row["told"], row["doubt"]


def sure(hub: World) -> None:
    """Every doubt is settled."""
    hub.store.write(lambda tx: tx.conn.execute(t.shelves.update().values(doubt=False)))


def only(it: Said, ref: str) -> list[tuple[str, int, int]]:
    """(form, quantity, change) of a listing's levels."""
    return [(level.form, level.quantity, level.change) for level in it.levels if level.listing == ref]


def test_told_10_unseen_3_receipt_5_writes_12_by_read_then_set_and_then_nothing(hub: World) -> None:
    hub.counts("pen", 10)
    it = said(hub, hub.tmall)
    assert only(it, "pen") == [("set", 10, 0)]
    assert shelf(hub, hub.tmall) == (10, True)
    hub.counts("pen", 5)
    it = said(hub, hub.tmall)
    assert it.reads
    written = {level.listing: level.quantity for level in publish_stock.after_read(it, {"pen": 7, "pen-box": 1})}
    assert written == {"pen": 12, "pen-box": 2}
    assert shelf(hub, hub.tmall)[0] == 15
    sure(hub)
    hub.takes(*(order(f"U{n}", ("pen", 1)) for n in range(3)))
    assert hub.cell(hub.pen)["free"] == 12
    assert only(said(hub, hub.tmall), "pen") == []


def test_told_10_unseen_3_receipt_5_sends_delta_5_and_then_nothing(hub: World) -> None:
    hub.counts("pen", 10)
    said(hub, hub.tmall)
    sure(hub)
    hub.counts("pen", 5)
    assert only(said(hub, hub.tmall), "pen") == [("delta", 15, 5)]
    hub.takes(*(order(f"U{n}", ("pen", 1)) for n in range(3)))
    assert only(said(hub, hub.tmall), "pen") == []
    assert shelf(hub, hub.tmall) == (15, False)


def test_an_on_hand_shop_with_pool_10_taken_2_unseen_1_is_told_10_and_then_nothing(hub: World) -> None:
    hub.counts("pen", 10)
    hub.takes(order("A", ("pen", 2)), at=hub.vendure)
    it = said(hub, hub.vendure)
    assert only(it, "pen") == [("set", 10, 0)]
    assert it.told == {str(hub.row(t.listings, connection_id=hub.vendure)["id"]): 8}
    hub.takes(order("B", ("pen", 1)), at=hub.vendure)
    assert only(said(hub, hub.vendure), "pen") == []


def test_an_on_hand_shop_is_told_less_once_it_has_booked_a_shipment(hub: World) -> None:
    hub.counts("pen", 10)
    hub.takes(order("A", ("pen", 2)), at=hub.vendure)
    fulfilment = hub.releases("A")
    hub.confirms(fulfilment, ("pen", 2))
    assert len(hub.sends("send_shipment")) == 1
    hub.store.write(lambda tx: tell_shipment.told_shop(tx, hub.fulfilments("A")[0]["id"]))
    hub.counts("pen", 1)
    assert only(said(hub, hub.vendure), "pen") == [("set", 9, 0)]


def test_packs_of_6_show_whole_packs_and_buffer_is_held_back(hub: World) -> None:
    hub.counts("pen", 20)
    box = hub.row(t.listings, connection_id=hub.tmall, ref="pen-box")
    hub.store.write(lambda tx: tx.set(t.listings, box["id"], buffer=3))
    assert only(said(hub, hub.tmall), "pen-box") == [("set", 2, 0)]


def test_both_warehouses_of_a_pool_are_offered_and_each_ones_missing_units_are_its_own(hub: World) -> None:
    hub.counts("pen", 10)
    hub.counts("pen", 4, "west")
    hub.counts("pen", -6, "west")
    assert only(said(hub, hub.tmall), "pen") == [("set", 10, 0)]


def test_marks_of_one_unit_become_one_intent_while_none_is_on_its_way(hub: World) -> None:
    for _ in range(3):
        hub.counts("pen", 1)
        hub.store.write(publish_stock.take_marks)
    shops = [r["connection_id"] for r in hub.rows(select(t.outbox).where(t.outbox.c.ability == "send_stock"))]
    assert sorted(shops) == sorted([hub.tmall, hub.vendure, hub.beta_shop])


def test_what_a_shop_has_applied_is_seen_once_and_put_back_where_it_restocks(hub: World) -> None:
    hub.counts("pen", 10)

    def seen() -> list[int]:
        return [r["units"] for r in hub.rows(select(t.seen.c.units).order_by(t.seen.c.id))]

    hub.takes(unpaid("A", ("pen", 3)))
    hub.takes(order("A", ("pen", 3), version="2"))
    assert seen() == [3]
    hub.takes(unpaid("B", ("pen", 2)))
    hub.takes(closed("B", ("pen", 2), paid_at=None))
    assert seen() == [3, 2, -2]
    hub.takes(closed("A", ("pen", 3)))
    assert seen() == [3, 2, -2]


@pytest.mark.parametrize(
    ("shelf", "wanted", "offered", "expected"),
    [
        (Shelf(15, 3), 12, ("delta", "read_set"), "skip"),
        (Shelf(15, 3), 12, ("set",), "skip"),
        (Shelf(15, 3), 13, ("delta", "read_set"), "delta"),
        (Shelf(15, 3), 13, ("compare", "delta", "read_set"), "compare"),
        (Shelf(None, 0), 13, ("delta", "read_set"), "read_set"),
        (Shelf(2, 3), 13, ("delta", "read_set"), "read_set"),
        (Shelf(2, 3), 13, ("compare", "delta", "read_set"), "read_set"),
        (Shelf(15, 3, doubt=True), 12, ("delta", "read_set"), "skip"),
        (Shelf(15, 3, doubt=True), 13, ("delta", "read_set"), "read_set"),
        (Shelf(15, 3, doubt=True, unknown=True), 12, ("delta", "read_set"), "read_set"),
        (Shelf(15, 3, doubt=True, unknown=True), 12, ("delta", "set"), "set"),
        (Shelf(2, 3), 13, ("delta", "set"), "set"),
    ],
)
def test_the_wire_form_follows_what_is_sure(shelf: Shelf, wanted: int, offered: tuple[str, ...], expected: str) -> None:
    assert form(shelf, wanted, offered) == expected


def test_a_shop_that_sold_at_0_and_clamped_is_read_first_and_its_unseen_sales_are_none(hub: World) -> None:
    hub.counts("pen", 2)
    said(hub, hub.tmall)
    sure(hub)
    hub.takes(order("A", ("pen", 5)))
    hub.counts("pen", 6)
    it = said(hub, hub.tmall)
    assert it.reads
    assert it.expected["pen"] == -3
    assert {le.listing: le.quantity for le in publish_stock.after_read(it, {"pen": 0, "pen-box": 0})}["pen"] == 6


# doubt


def read_at(hub: World, shown: int) -> None:
    """The shop's order feed and its shelf are read now, the shelf first."""
    assert hub.clock is not None
    hub.store.write(lambda tx: note_told.note_shown(tx, hub.tmall, {"pen": shown}, tx.now))
    hub.clock.wait(10)
    listing = {"connection_id": hub.tmall, "ability": "fetch_orders", "value": {}}

    def work(tx: Transaction) -> None:
        tx.conn.execute(t.cursors.delete())
        tx.add(t.cursors, [{**listing, "due_at": tx.now, "read_until": tx.now}])

    hub.store.write(work)


def test_doubt_ends_when_the_shelf_was_read_at_a_quiet_time(hub: World) -> None:
    hub.counts("pen", 10)
    said(hub, hub.tmall)
    assert hub.clock is not None
    hub.clock.wait(60)
    with hub.store.read() as tx:
        assert "pen" in [row["ref"] for row in note_told.doubtful(tx, 30)]
    read_at(hub, 9)
    assert hub.store.write(lambda tx: note_told.judge(tx, 5)) == 1
    assert shelf(hub, hub.tmall) == (9, False)
    assert only(said(hub, hub.tmall), "pen") == [("delta", 10, 1)]


def test_a_sale_heard_near_the_read_makes_it_read_again(hub: World) -> None:
    hub.counts("pen", 10)
    said(hub, hub.tmall)
    assert hub.clock is not None
    hub.clock.wait(60)
    hub.takes(order("A", ("pen", 1)))
    hub.clock.wait(2)
    read_at(hub, 9)
    hub.store.write(lambda tx: note_told.judge(tx, 5))
    assert shelf(hub, hub.tmall) == (10, True)
    hub.clock.wait(60)
    read_at(hub, 9)
    hub.store.write(lambda tx: note_told.judge(tx, 5))
    assert shelf(hub, hub.tmall) == (10, False)
    assert only(said(hub, hub.tmall), "pen") == []


def test_an_order_that_waits_to_be_understood_keeps_the_doubt(hub: World) -> None:
    hub.counts("pen", 10)
    said(hub, hub.tmall)
    assert hub.clock is not None
    hub.clock.wait(60)
    hub.keeps("order", order("A", ("pen", 1)), at=hub.tmall)
    read_at(hub, 9)
    hub.store.write(lambda tx: note_told.judge(tx, 5))
    assert shelf(hub, hub.tmall) == (10, True)


def test_a_lost_write_puts_its_listings_in_doubt(hub: World) -> None:
    hub.counts("pen", 10)
    it = said(hub, hub.tmall)
    sure(hub)
    hub.store.write(lambda tx: note_told.lost(tx, it))
    assert shelf(hub, hub.tmall) == (10, True)


def test_what_was_read_before_a_write_was_lost_does_not_settle_its_doubt(hub: World) -> None:
    """Else the level that did arrive is said again, as a difference to what the shop showed before it."""
    hub.counts("pen", 10)
    said(hub, hub.tmall)
    assert hub.clock is not None
    hub.clock.wait(60)
    hub.counts("pen", 160)
    read_at(hub, 10)
    said(hub, hub.tmall, note_told.lost)
    assert hub.store.write(lambda tx: note_told.judge(tx, 5)) == 0
    assert shelf(hub, hub.tmall) == (10, True)


# snapshots


def snapshot(hub: World, *rows: dict[str, object], at: int) -> list[int]:
    """A snapshot is heard; the residuals it shows."""
    told = Snapshot(rows=tuple(SnapshotRow(**row) for row in rows))
    assert hub.hears(told, at=at) == ["done"]
    return [r["residual"] for r in hub.rows(select(t.comparisons.c.residual).order_by(t.comparisons.c.id))]


@pytest.mark.parametrize(("theirs", "residual"), [(4, -1), (5, 0), (8, 0), (10, 0), (17, 0), (18, 1)])
def test_a_snapshot_agrees_inside_the_interval_and_is_drift_outside(hub: World, theirs: int, residual: int) -> None:
    hub.counts("pen", 10)
    hub.takes(order("A", ("pen", 5)))
    hub.releases("A")
    hub.announces((hub.pen, 7))
    before = hub.cell(hub.pen)
    row = {"sku": "pen", "warehouse": "EAST", "keeper": "ALPHA", "quantity": theirs}
    assert snapshot(hub, row, at=hub.wms) == [residual]
    assert hub.cell(hub.pen) == before


def test_a_snapshot_speaks_of_its_keepers_goods_alone(hub: World) -> None:
    hub.counts("pen", 10)

    def work(tx: Transaction) -> None:
        item = {"id": tx.ids.new(), "owner_id": hub.beta, "sku": "pen", "name": "pen"}
        tx.add(t.items, [{**item, "created_at": tx.now}])
        key = {"owner_id": hub.beta, "warehouse_id": hub.east}
        tx.add(t.keepers, [{**key, "code": "BETA"}])
        cell = {"id": tx.ids.new(), **key, "item_id": item["id"], "condition": "ZP"}
        tx.add(t.cells, [cell])

    hub.store.write(work)
    row = {"sku": "pen", "warehouse": "EAST", "quantity": 10}
    assert snapshot(hub, {**row, "keeper": "ALPHA"}, at=hub.wms) == [0]
    assert snapshot(hub, row, at=hub.wms) == [0]
    assert snapshot(hub, {"sku": "pen", "quantity": 11}, at=hub.erp) == [0, 1]


# audit


def test_the_audit_finds_a_balance_that_was_changed_by_hand(hub: World) -> None:
    hub.counts("pen", 10)
    cell, journal = hub.row(t.cells, item_id=hub.pen), hub.row(t.journals, kind="adjust")
    hub.store.write(lambda tx: tx.set(t.cells, cell["id"], free=9, held=1))
    assert hub.audit() == [
        f"cell {cell['id']}: free is 9, its journal says 10, last by adjust of {journal['cause']}",
        f"cell {cell['id']}: held is 1, its journal says 0",
        f"cell {cell['id']}: 1 units are held, its holds say 0",
    ]


def test_the_audit_finds_an_unbalanced_journal(hub: World) -> None:
    hub.counts("pen", 10)
    cell, journal = hub.row(t.cells, item_id=hub.pen), hub.row(t.journals, kind="adjust")
    extra = {"journal_id": journal["id"], "n": 9, "cell_id": cell["id"], "account": "world", "quantity": 1}
    hub.store.write(lambda tx: tx.add(t.entries, [extra]))
    by = f"booked by adjust of {journal['cause']}"
    assert hub.audit() == [f"journal {journal['id']} is off by 1 for item {hub.pen}, {by}"]


def test_the_audit_finds_a_claim_that_is_backed_by_nothing(hub: World) -> None:
    hub.counts("pen", 10)
    hub.takes(order("A", ("pen", 5)))
    claim, cell = hub.row(t.claims, asked=5), hub.row(t.cells, item_id=hub.pen)
    hub.store.write(lambda tx: tx.set(t.claims, claim["id"], backed=4))
    subject = f"order:{hub.order('A')['id']}"
    assert hub.audit() == [
        f"cell {cell['id']}: open claims are backed by 4, reserved is 5, last by reserve of {subject}",
        f"{subject} holds 4 units of cell {cell['id']}, its journals say 5, last by reserve of {subject}",
    ]
    with hub.store.read() as tx:
        assert audit_ledger.overcommitted_units(tx) == 1


def part_shipped(hub: World) -> str:
    """Orders A of 5 and B of 3; 2 of A's have left. Returns what last moved what A holds, in the audit's words."""
    hub.counts("pen", 10)
    hub.takes(order("A", ("pen", 5)), order("B", ("pen", 3)))
    hub.confirms(hub.releases("A"), ("pen", 2), final=False)
    assert hub.audit() == []
    return f"last by ship of {hub.row(t.journals, kind='ship')['cause']}"


def test_the_audit_finds_units_that_left_for_a_claim_by_hand(hub: World) -> None:
    by = part_shipped(hub)
    claim = hub.row(t.claims, order_id=hub.order("A")["id"])
    hub.store.write(lambda tx: tx.set(t.claims, claim["id"], shipped=4))
    assert hub.audit() == [f"claim {claim['id']}: 4 left, its fulfilments say 2, {by}"]


def test_the_audit_finds_units_that_left_for_an_orders_line_by_hand(hub: World) -> None:
    by = part_shipped(hub)
    line = hub.line("A")["id"]
    hub.store.write(lambda tx: tx.set(t.order_lines, line, shipped=5))
    assert hub.audit() == [f"order line {line}: 5 left, its fulfilments say 2, {by}"]


def test_the_audit_finds_units_that_left_for_a_fulfilment_by_hand(hub: World) -> None:
    by = part_shipped(hub)
    a, f, line = hub.order("A")["id"], t.fulfilment_lines, hub.line("A")["id"]
    claim, fulfilment = hub.row(t.claims, order_id=a)["id"], hub.row(t.fulfilments, order_id=a)["id"]

    def one_more(tx: Transaction) -> None:
        tx.set(t.claims, claim, shipped=3)
        tx.set(t.order_lines, line, shipped=3)
        tx.conn.execute(f.update().where(f.c.claim_id == claim).values(shipped=3))

    hub.store.write(one_more)
    assert hub.audit() == [f"fulfilment {fulfilment}: 3 of item {hub.pen} left, its journals say 2, {by}"]


def test_the_audit_finds_units_that_went_from_one_orders_claim_to_anothers_by_hand(hub: World) -> None:
    by = part_shipped(hub)
    a, b, cell = hub.order("A")["id"], hub.order("B")["id"], hub.row(t.cells, item_id=hub.pen)["id"]
    first, second = (hub.row(t.claims, order_id=ident)["id"] for ident in (a, b))
    hub.store.write(lambda tx: (tx.set(t.claims, first, backed=1), tx.set(t.claims, second, backed=5)))
    assert hub.audit() == [
        f"order:{a} holds 1 units of cell {cell}, its journals say 3, {by}",
        f"order:{b} holds 5 units of cell {cell}, its journals say 3, last by reserve of order:{b}",
    ]


def test_the_database_itself_refuses_an_overdrawn_balance(hub: World) -> None:
    hub.counts("pen", 1)
    cell = hub.row(t.cells, item_id=hub.pen)
    with pytest.raises(IntegrityError):
        hub.store.write(lambda tx: tx.set(t.cells, cell["id"], free=-1))


def test_a_number_that_is_booked_for_something_else_is_parked_whoever_numbers_it(hub: World) -> None:
    """LEDGER §4: 2 of 5 under E1, then 3 and nothing more under E1: both figures stand on the worklist."""
    fulfilment = released_5(hub)
    assert hub.confirms(fulfilment, ("pen", 2), event_id="E1", final=False) == ["done"]
    assert hub.confirms(fulfilment, ("pen", 3), event_id="E1") == ["parked"]
    assert hub.confirms(fulfilment, ("pen", 2), event_id="E1") == ["parked"]
    (more, ends) = hub.rows(select(t.inbox).where(t.inbox.c.state == "parked").order_by(t.inbox.c.id))
    assert "First: -2 pen ZP. Now: -3 pen ZP, and nothing more." in more["reason"]
    assert (ends["problem"], ends["fix"]) == ("Contradicted", "dismiss")
    assert hub.cell(hub.pen) == {"reserved": 3}


def test_receipts_counts_and_regrades_are_held_to_their_numbers_too(hub: World) -> None:
    asn = hub.announces((hub.pen, 10))
    assert hub.receives(asn, ("pen", 4), event_id="R1", final=False) == ["done"]
    assert hub.receives(asn, ("pen", 4, "CC"), event_id="R1", final=False) == ["parked"]
    assert hub.receives(asn, ("pen", 6), event_id="R1", final=False) == ["parked"]
    assert hub.receives(asn, ("pen", 4), event_id="R1", final=False) == ["done"]
    assert [hub.counts("pen", n, event_id="C1") for n in (-1, -3, -1)] == [["done"], ["parked"], ["done"]]
    assert hub.cell(hub.pen) == {"free": 3, "inbound": 6}
    assert [_regrades(hub, n) for n in (1, 2, 1)] == [["done"], ["parked"], ["done"]]
    assert (hub.cell(hub.pen)["free"], hub.cell(hub.pen, condition="CC")) == (2, {"held": 1})
    assert hub.audit() == []


def _regrades(hub: World, units: int) -> list[str]:
    less = AdjustmentRow(sku="pen", keeper="ALPHA", warehouse="EAST", quantity=-units, event_id="G1")
    more = less.model_copy(update={"quantity": units, "condition": "CC"})
    return hub.hears(Adjustment(ref="G1", rows=(less, more)), at=hub.wms)


def test_a_number_said_twice_in_one_batch_is_held_to_what_was_booked_a_moment_ago(hub: World) -> None:
    told = [Adjustment(ref=str(n), rows=(_pens(n, "C1"),)) for n in (4, 4, 5)]
    assert hub.hears(*told, at=hub.wms) == ["done", "done", "parked"]
    assert hub.cell(hub.pen) == {"free": 4}


def _pens(units: int, event_id: str) -> AdjustmentRow:
    return AdjustmentRow(sku="pen", keeper="ALPHA", warehouse="EAST", quantity=units, event_id=event_id)
