"""Orders and callers who want units of one lot alone get those or wait for them, and nobody else is sent them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from core.errors import OutOfStock, Refused, Withheld
from core.flow import follow_reservation, hold_expiring, keep_promises, reserve_stock
from core.flow.explain import explain_order, explain_stock
from core.flow.journeys import decide
from core.flow.lock_stock import Line, Lock
from core.flow.reserve_stock import Confirm, Release, Reservation, Reserve, Subject
from core.model import Order, Receipt, ReceivedLine
from core.model.order import OrderLine
from core.rules.channels import Bound, Policy
from core.rules.decide import Source, Want
from core.store import tables as t
from core.store.scope import HUB
from tests.unit.test_contracts import shares_code
from tests.unit.test_kits import kit
from tests.unit.test_lots import counts, freezes, instructed, keep_lots, of, on_hand, receives, said, ships
from tests.worlds import Clock, World, minutes, order, store, unpaid, world
from web.reads import lots as shown


def fives(hub: World) -> World:
    """In the east lie 5 pens of L1, which expires first, and 5 of L2; who is short waits."""
    hub.decides("wait")
    keep_lots(hub)
    receives(hub, {"L1": 5}, "2026-03-01")
    receives(hub, {"L2": 5}, "2026-09-01")
    return hub


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        yield fives(world(it, clock))


def arrives(hub: World, units: dict[str, int], warehouse: str = "west") -> None:
    """Goods are received elsewhere than in the east."""
    asn = hub.announces((hub.pen, sum(units.values())), warehouse=getattr(hub, warehouse))
    line = ReceivedLine(sku="pen", **of(units))
    hub.hears(Receipt(asn=asn, warehouse=warehouse.upper(), event_id=asn, final=True, lines=(line,)), at=hub.wms)


def pins(told: Order, lot: str, line: str = "1") -> Order:
    """The same order, one line of which is for units of this lot."""
    lines = tuple(one.model_copy(update={"lot": lot}) if one.ref == line else one for one in told.lines)
    return told.model_copy(update={"lines": lines})


def pinned(hub: World, only_loose: bool = False) -> dict[tuple[str, str], int]:
    """(warehouse, lot) → units that open claims hold of it by name. only_loose: of those no warehouse was told of."""
    p, c, ce, w = t.pins.c, t.claims.c, t.cells.c, t.warehouses.c
    query = select(w.code, p.lot, func.sum(c.backed).label("n")).join(t.claims, c.id == p.claim_id)
    query = query.join(t.cells, ce.id == p.cell_id).join(t.warehouses, w.id == ce.warehouse_id)
    query = query.where(c.open.is_(True), *([c.fulfilment_id.is_(None)] if only_loose else []))
    return {(r["code"], r["lot"]): int(r["n"]) for r in hub.rows(query.group_by(w.code, p.lot)) if r["n"]}


def reserve(hub: World, ref: str, *lines: tuple[int, str], **more: Any) -> Reserve:
    """alpha asks for (pens, lot) each, of the east."""
    wants = tuple(Want(n, hub.alpha, hub.pen, units, lot=lot) for n, (units, lot) in enumerate(lines))
    return Reserve(Subject(hub.alpha, "api", ref), wants, more.pop("warehouses", (hub.east,)), **more)


def decided(hub: World, *commands: Any) -> list[Any]:
    return hub.store.write(lambda tx: decide(tx, commands))


# orders


def test_a_pinned_line_is_backed_by_its_lot_and_the_warehouse_is_told_that_alone(hub: World) -> None:
    hub.takes(pins(order("A", ("pen", 3)), "L2"))
    assert (hub.claims("A"), hub.line("A")["lot"]) == ([(3, 3)], "L2")
    hub.releases("A")
    assert instructed(hub, "A") == {"L2": 3}
    (line,) = said(hub, "A").lines
    assert (line.lot, line.expires_on) == ("L2", "2026-09-01")
    assert ships(hub, "A", {"L2": 3}) == ["done"]
    assert (on_hand(hub), hub.worklist(), hub.audit()) == ({"L1": 5, "L2": 2}, [], [])


def test_what_is_short_of_a_lot_waits_for_that_lot_and_nothing_else(hub: World) -> None:
    hub.takes(pins(order("A", ("pen", 6)), "L2"))
    assert hub.claims("A") == [(6, 5)]
    assert hub.cell(hub.pen) == {"free": 5, "reserved": 5}
    receives(hub, {"L1": 4})
    hub.counts("pen", 2)
    assert (hub.claims("A"), hub.order("A")["state"]) == ([(6, 5)], "short")
    receives(hub, {"L2": 1})
    assert (hub.claims("A"), hub.order("A")["state"]) == ([(6, 6)], "released")
    assert instructed(hub, "A") == {"L2": 6}
    assert hub.rows(select(t.oversold)) == []
    assert hub.audit() == []


def test_an_order_whose_merchant_wants_all_or_nothing_waits_for_all_of_its_lot(hub: World) -> None:
    hub.decides("wait", part_backing=False)
    hub.takes(pins(order("A", ("pen", 6)), "L2"))
    assert hub.claims("A") == [(6, 0)]
    receives(hub, {"L1": 4})
    assert hub.claims("A") == [(6, 0)]
    receives(hub, {"L2": 1})
    assert hub.claims("A") == [(6, 6)]


def test_pinned_orders_of_one_batch_never_share_a_unit(hub: World) -> None:
    hub.takes(pins(order("A", ("pen", 4)), "L1"), pins(order("B", ("pen", 3)), "L1"), order("C", ("pen", 5)))
    assert [hub.claims(ref) for ref in "ABC"] == [[(4, 4)], [(3, 1)], [(5, 5)]]
    assert (instructed(hub, "A"), instructed(hub, "C")) == ({"L1": 4}, {"L2": 5})
    assert hub.audit() == []


def test_who_is_not_particular_is_sent_what_nobody_pinned(hub: World) -> None:
    hub.takes(pins(unpaid("A", ("pen", 3)), "L1"))
    hub.takes(order("B", ("pen", 4)))
    assert instructed(hub, "B") == {"L1": 2, "L2": 2}
    hub.takes(pins(order("A", ("pen", 3), version="2"), "L1"))
    assert instructed(hub, "A") == {"L1": 3}
    assert hub.audit() == []


def test_of_one_order_the_pinned_line_chooses_first_whatever_its_place(hub: World) -> None:
    hub.takes(pins(order("A", ("pen", 5), ("pen", 5)), "L1", line="2"))
    p = t.picks.c
    told = {r["n"]: (r["lot"], r["units"]) for r in hub.rows(select(p.n, p.lot, p.units))}
    lines = {r["n"]: r["line_id"] for r in hub.rows(select(t.fulfilment_lines))}
    by_line = {lines[n]: what for n, what in told.items()}
    assert by_line == {hub.line("A", "1")["id"]: ("L2", 5), hub.line("A", "2")["id"]: ("L1", 5)}


def test_units_a_warehouse_was_told_to_send_back_no_pin(hub: World) -> None:
    hub.takes(order("B", ("pen", 4)))
    hub.takes(pins(order("A", ("pen", 3)), "L1"))
    assert hub.claims("A") == [(3, 1)]
    hub.takes(order("B", ("pen", 4), version="9", status="closed", may_ship=False, closed=True))
    assert hub.claims("A") == [(3, 3)]
    assert hub.audit() == []


def test_a_pin_is_backed_where_its_lot_lies_and_a_short_one_moves_there(hub: World) -> None:
    hub.decides("resource")
    arrives(hub, {"L3": 2})
    hub.takes(pins(order("A", ("pen", 2)), "L3"), pins(order("B", ("pen", 4)), "L4"))
    assert pinned(hub) == {("west", "L3"): 2}
    assert hub.claims("B") == [(4, 0)]
    arrives(hub, {"L1": 9, "L4": 4})
    assert (hub.claims("B"), pinned(hub)) == ([(4, 4)], {("west", "L3"): 2, ("west", "L4"): 4})
    assert instructed(hub, "B") == {"L4": 4}
    assert hub.cell(hub.pen) == {"free": 10}
    assert hub.audit() == []


def test_what_is_missing_of_a_lot_is_backed_where_else_it_lies(hub: World) -> None:
    hub.decides("resource")
    hub.takes(pins(unpaid("A", ("pen", 6)), "L1"))
    arrives(hub, {"L1": 1})
    assert (hub.claims("A"), pinned(hub)) == ([(5, 5), (1, 1)], {("east", "L1"): 5, ("west", "L1"): 1})


def test_who_waits_for_a_lot_gets_what_others_leave_of_it_though_no_more_is_free(hub: World) -> None:
    """Four of L1 were to leave for others; L2 left instead: four are free of each, as before."""
    hub.takes(order("B", ("pen", 4)))
    hub.takes(pins(unpaid("A", ("pen", 3)), "L1"))
    assert hub.claims("A") == [(3, 1)]
    hub.releases("B")
    ships(hub, "B", {"L2": 4})
    assert hub.claims("A") == [(3, 3)]
    hub.takes(pins(unpaid("C", ("pen", 3)), "L2"))
    assert hub.claims("C") == [(3, 1)]
    counts(hub, {"L1": -2, "L2": 2}, "C1")
    assert hub.claims("C") == [(3, 3)]
    assert hub.audit() == []


def test_a_line_that_wants_more_wants_it_of_its_first_lot(hub: World) -> None:
    hub.takes(pins(unpaid("A", ("pen", 2)), "L2"))
    hub.takes(pins(unpaid("A", ("pen", 4), version="2"), "L1"))
    assert (pinned(hub), hub.worklist()) == ({("east", "L2"): 4}, ["order.lot_changed"])
    hub.takes(unpaid("A", ("pen", 6), version="3"))
    assert (pinned(hub), hub.claims("A")) == ({("east", "L2"): 5}, [(2, 2), (2, 2), (2, 1)])
    assert hub.line("A")["lot"] == "L2"
    assert hub.audit() == []


def test_a_person_who_settled_a_changed_lot_is_not_asked_again_by_the_next_version(hub: World) -> None:
    hub.takes(pins(unpaid("A", ("pen", 2)), "L2"))
    for version in ("2", "3"):
        hub.takes(pins(unpaid("A", ("pen", 2), version=version), "L1"))
        hub.store.write(lambda tx: tx.conn.execute(t.worklist.update().values(done_at=tx.now)))
    assert hub.worklist() == []


def test_a_lot_that_changed_is_a_persons_although_the_order_leaves(hub: World) -> None:
    hub.takes(unpaid("A", ("pen", 2)))
    hub.takes(pins(unpaid("A", ("pen", 2), version="2"), "L2"))
    hub.takes(order("A", ("pen", 2), version="3"))
    assert (hub.order("A")["state"], instructed(hub, "A")) == ("released", {"L1": 2})
    assert hub.worklist() == ["order.lot_changed"]
    assert "order A, line 1 wants lot L2 of pen, which wanted any first" in hub.row(t.worklist)["reason"]


def test_an_order_whose_lot_is_gone_moves_to_where_it_lies(hub: World) -> None:
    """Four were promised, two lie there: where all six it wants are, it goes, and waits for the two no more."""
    hub.decides("resource")
    hub.takes(pins(unpaid("A", ("pen", 6)), "L1"))
    counts(hub, {"L1": -3}, "C1")
    assert (hub.claims("A"), hub.worklist()) == ([(6, 5)], ["lot.pinned_gone"])
    arrives(hub, {"L1": 6})
    assert (hub.claims("A"), pinned(hub)) == ([(6, 6)], {("west", "L1"): 6})
    assert hub.audit() == []


def test_pins_end_with_their_claims(hub: World) -> None:
    hub.takes(pins(unpaid("A", ("pen", 5)), "L1"))
    hub.takes(pins(order("B", ("pen", 5)), "L1"))
    assert hub.claims("B") == [(5, 0)]
    told = unpaid("A", ("pen", 5)).model_copy(update={"version": "9", "status": "closed", "closed": True})
    hub.takes(told)
    assert (hub.claims("B"), instructed(hub, "B")) == ([(5, 5)], {"L1": 5})
    assert hub.audit() == []


def test_of_a_short_order_that_leaves_in_part_the_rest_waits_for_the_lot(hub: World) -> None:
    hub.decides("part_ship")
    hub.takes(pins(order("A", ("pen", 7)), "L2"))
    assert (instructed(hub, "A"), hub.claims("A")) == ({"L2": 5}, [(5, 5), (2, 0)])
    receives(hub, {"L1": 3})
    assert hub.claims("A") == [(5, 5), (2, 0)]
    receives(hub, {"L2": 3})
    assert (instructed(hub, "A"), hub.claims("A")) == ({"L2": 2}, [(5, 5), (2, 2)])
    assert hub.audit() == []


def test_promises_taken_back_leave_the_pin_waiting(hub: World) -> None:
    hub.decides("wait", unback="newest")
    hub.takes(pins(unpaid("A", ("pen", 5)), "L2"))
    hub.takes(unpaid("B", ("pen", 5)))
    counts(hub, {"L2": -2}, "C1")
    assert [hub.claims("A"), hub.claims("B")] == [[(5, 5)], [(5, 3)]]
    assert hub.worklist() == ["lot.pinned_gone"]
    assert hub.audit() == []


def test_an_order_that_follows_a_cancelled_counterpart_pins_its_lot(hub: World) -> None:
    first = unpaid("A", ("pen", 2)).model_copy(update={"counterpart_ref": "X"})
    hub.takes(first)
    hub.takes(pins(unpaid("X", ("pen", 2)), "L2"), at=hub.vendure)
    row = hub.row(t.order_lines, order_id=hub.order("X")["id"])
    assert row["lot"] == "L2"
    hub.takes(first.model_copy(update={"version": "9", "status": "closed", "closed": True}))
    assert hub.claims("X") == [(2, 2)]
    assert pinned(hub) == {("east", "L2"): 2}
    assert hub.audit() == []


# what left, and what is not there


def test_another_lot_that_leaves_for_a_pinned_line_is_booked_and_a_person_asked_once(hub: World) -> None:
    hub.takes(pins(order("A", ("pen", 3)), "L1"))
    hub.releases("A")
    assert ships(hub, "A", {"L2": 2, "L1": 1}) == ["done"]
    assert (on_hand(hub), hub.worklist()) == ({"L1": 4, "L2": 3}, ["lot.not_pinned"])
    assert "2 units left" in hub.row(t.worklist, kind="lot.not_pinned")["reason"]
    assert hub.audit() == []


def test_lots_of_two_lines_are_looked_at_together(hub: World) -> None:
    """A warehouse tells what left by SKU: which line a lot was for is not said."""
    hub.takes(pins(order("A", ("pen", 4), ("pen", 3)), "L2"))
    hub.releases("A")
    assert ships(hub, "A", {"L1": 3, "L2": 4}) == ["done"]
    assert (on_hand(hub), hub.worklist()) == ({"L1": 2, "L2": 1}, [])


def test_a_confirmation_without_lots_asks_nobody(hub: World) -> None:
    hub.takes(pins(order("A", ("pen", 3)), "L2"))
    hub.confirms(hub.releases("A"), ("pen", 3))
    assert (on_hand(hub), hub.worklist()) == ({"L1": 5, "L2": 5, "?": -3}, [])
    assert hub.audit() == []


def test_where_less_of_the_lot_lies_there_the_warehouse_is_told_what_there_is(hub: World) -> None:
    hub.takes(pins(unpaid("A", ("pen", 4)), "L1"))
    counts(hub, {"L1": -3}, "C1")
    assert (hub.claims("A"), hub.worklist()) == ([(4, 4)], ["lot.pinned_gone"])
    assert hub.row(t.worklist)["subject"] == f"order:{hub.order('A')['id']}"
    hub.takes(pins(order("A", ("pen", 4), version="2"), "L1"))
    assert instructed(hub, "A") == {"L1": 2}
    assert hub.worklist() == ["lot.pinned_gone"]
    asked = hub.rows(select(t.worklist.c.subject).where(t.worklist.c.done_at.is_(None)))
    assert [r["subject"] for r in asked] == [f"fulfilment:{hub.fulfilments('A')[0]['id']}"]
    hub.releases("A")
    assert said(hub, "A").note == "pen: 2 × L1"
    assert hub.audit() == []


def test_an_order_of_two_claims_on_a_lot_is_asked_about_though_one_is_served(hub: World) -> None:
    hub.takes(pins(unpaid("A", ("pen", 2)), "L1"))
    hub.takes(pins(unpaid("A", ("pen", 4), version="2"), "L1"))
    counts(hub, {"L1": -3}, "C1")
    assert (hub.claims("A"), hub.worklist(), hub.audit()) == ([(2, 2), (2, 2)], ["lot.pinned_gone"], [])


def test_what_is_found_again_asks_nobody_any_more(hub: World) -> None:
    hub.takes(pins(unpaid("A", ("pen", 4)), "L1"))
    counts(hub, {"L1": -3}, "C1")
    counts(hub, {"L1": 2}, "C2")
    assert (hub.worklist(), hub.audit()) == ([], [])


def test_a_pinned_lot_that_is_sent_to_others_is_asked_about_too(hub: World) -> None:
    hub.takes(pins(unpaid("A", ("pen", 4)), "L1"))
    hub.takes(order("B", ("pen", 3)))
    hub.releases("B")
    ships(hub, "B", {"L1": 3})
    assert (on_hand(hub), hub.worklist()) == ({"L1": 2, "L2": 5}, ["lot.pinned_gone"])
    assert hub.audit() == []


def test_the_audit_names_the_claims_that_pin_what_nobody_missed(hub: World) -> None:
    hub.takes(pins(unpaid("A", ("pen", 4)), "L1"))
    claim = hub.row(t.claims, order_id=hub.order("A")["id"])
    hub.store.write(lambda tx: tx.conn.execute(t.pins.update().values(lot="L9")))
    assert hub.audit() == [
        f"cell {claim['cell_id']}: 4 units of lot L9 are pinned by claims {claim['id']}, 0 lie there"
    ]


# what cannot be pinned


@pytest.mark.parametrize(("sku", "lot"), [("pen", "?"), ("ink", "L1")])
def test_a_lot_nobody_knows_or_of_an_item_without_any_leaves_the_order_short_and_asks_once(
    hub: World, sku: str, lot: str
) -> None:
    hub.counts(sku, 5)
    hub.takes(pins(order("A", (sku, 3)), lot))
    assert (hub.claims("A"), hub.worklist()) == ([(3, 0)], ["order.lot_unknown"])
    hub.takes(pins(order("A", (sku, 3), version="2"), lot))
    hub.counts(sku, 5)
    assert (hub.claims("A"), hub.worklist()) == ([(3, 0)], ["order.lot_unknown"])
    assert hub.audit() == []


def test_a_pin_on_a_kit_is_passed_over_and_a_person_asked(hub: World) -> None:
    kit(hub)
    hub.counts("ink", 2)
    hub.takes(pins(order("A", ("set", 2)), "L2"))
    assert sorted(hub.claims("A")) == [(2, 2), (4, 4)]
    assert hub.rows(select(t.pins)) == []
    assert hub.worklist() == ["order.lot_unknown"]
    assert hub.audit() == []


# callers


def test_a_caller_gets_units_of_its_lot_or_is_told_how_many_there_are(hub: World) -> None:
    kept, refused, loose = decided(
        hub, reserve(hub, "R1", (3, "L1")), reserve(hub, "R2", (3, "L1")), reserve(hub, "R3", (5, ""))
    )
    assert isinstance(kept, Reservation)
    assert [k.lot for k in kept.kept] == ["L1"]
    assert isinstance(refused, OutOfStock)
    assert refused.missing == ((hub.pen, 3, 2),)
    assert isinstance(loose, Reservation)
    assert pinned(hub) == {("east", "L1"): 3}
    assert hub.cell(hub.pen) == {"free": 2, "reserved": 8}
    assert hub.audit() == []


def test_lots_of_one_wish_are_kept_each(hub: World) -> None:
    asked = reserve(hub, "R1", (2, "L1"), (4, "L2"), (1, ""))
    (kept,) = decided(hub, asked)
    assert [(k.lot, k.units) for k in kept.kept] == [("L1", 2), ("L2", 4), ("", 1)]
    assert decided(hub, asked) == [kept._replace(repeated=True)]
    (other,) = decided(hub, reserve(hub, "R1", (3, "L1"), (3, "L2"), (1, "")))
    assert isinstance(other, Refused)


def test_a_wish_for_a_lot_is_split_over_the_warehouses_where_it_lies(hub: World) -> None:
    arrives(hub, {"L1": 2, "L3": 9})
    (kept,) = decided(hub, reserve(hub, "R1", (7, "L1"), warehouses=(hub.east, hub.west)))
    assert pinned(hub) == {("east", "L1"): 5, ("west", "L1"): 2}
    (refused,) = decided(hub, reserve(hub, "R2", (1, "L1"), warehouses=(hub.east, hub.west)))
    assert isinstance(refused, OutOfStock)
    assert hub.audit() == []


def test_what_is_given_back_or_runs_out_is_pinned_no_more(hub: World) -> None:
    assert hub.clock is not None
    decided(hub, reserve(hub, "R1", (3, "L1")), reserve(hub, "R2", (2, "L1"), until=hub.clock.now + timedelta(hours=1)))
    (none,) = decided(hub, reserve(hub, "R3", (1, "L1")))
    assert isinstance(none, OutOfStock)
    decided(hub, Confirm(Subject(hub.alpha, "api", "R1")), Release(Subject(hub.alpha, "api", "R1")))
    hub.clock.wait(3601)
    hub.store.write(reserve_stock.expire)
    assert isinstance(decided(hub, reserve(hub, "R4", (5, "L1")))[0], Reservation)
    assert hub.audit() == []


def test_a_policy_binds_all_units_of_an_item_whatever_their_lots(hub: World) -> None:
    """Ten, of which seven may be promised: four of one lot and four of any are one too many."""
    bound = {"bounds": {hub.pen: Bound(Policy(buffer=3))}}
    (refused,) = decided(hub, reserve(hub, "R1", (4, "L1"), (4, ""), **bound))
    assert isinstance(refused, Withheld)
    assert refused.missing == ((hub.pen, 8, 7),)
    (kept,) = decided(hub, reserve(hub, "R2", (5, "L1"), (2, ""), **bound))
    assert isinstance(kept, Reservation)


def test_an_order_takes_over_a_pinned_reservation_with_its_pin(hub: World) -> None:
    decided(hub, reserve(hub, "R1", (4, "L1")))
    subject = Subject(hub.alpha, "api", "R1")
    hub.store.write(lambda tx: follow_reservation.promise(tx, subject, hub.tmall, "A"))
    hub.takes(unpaid("A", ("pen", 4)))
    assert (hub.claims("A"), pinned(hub)) == ([(4, 4)], {("east", "L1"): 4})
    hub.takes(order("B", ("pen", 4)))
    assert instructed(hub, "B") == {"L1": 1, "L2": 3}
    hub.takes(order("A", ("pen", 4), version="2"))
    assert instructed(hub, "A") == {"L1": 4}
    assert hub.audit() == []


def test_who_takes_over_what_is_gone_is_asked_about(hub: World) -> None:
    decided(hub, reserve(hub, "R1", (4, "L1")))
    counts(hub, {"L1": -3}, "C1")
    assert "R1 was promised 4 units of lot L1, of which 2 lie there" in hub.row(t.worklist)["reason"]
    hub.store.write(lambda tx: follow_reservation.promise(tx, Subject(hub.alpha, "api", "R1"), hub.tmall, "A"))
    hub.takes(unpaid("A", ("pen", 4)))
    assert "A was promised" in hub.row(t.worklist, subject=f"order:{hub.order('A')['id']}")["reason"]
    assert hub.audit() == []


def test_units_of_a_line_that_are_pinned_and_those_that_are_not_move_each_by_themselves(hub: World) -> None:
    hub.decides("resource")
    decided(hub, reserve(hub, "R1", (2, "L1")))
    hub.store.write(lambda tx: follow_reservation.promise(tx, Subject(hub.alpha, "api", "R1"), hub.tmall, "A"))
    hub.takes(unpaid("A", ("pen", 12)))
    assert sorted(hub.claims("A")) == [(2, 2), (10, 8)]
    arrives(hub, {"L3": 2})
    assert (sorted(hub.claims("A")), pinned(hub)) == ([(2, 2), (2, 2), (8, 8)], {("east", "L1"): 2})
    assert hub.audit() == []


def test_an_order_for_another_lot_is_decided_anew_from_what_its_reservation_gives_back(hub: World) -> None:
    decided(hub, reserve(hub, "R1", (4, "L1")), reserve(hub, "R2", (6, "")))
    for ref in ("R1", "R2"):
        subject = Subject(hub.alpha, "api", ref)
        hub.store.write(lambda tx, subject=subject: follow_reservation.promise(tx, subject, hub.tmall, "A"))
    hub.takes(pins(unpaid("A", ("pen", 4)), "L2"))
    assert (hub.claims("A"), pinned(hub)) == ([(4, 4)], {("east", "L2"): 4})
    assert hub.cell(hub.pen) == {"free": 6, "reserved": 4}
    assert hub.audit() == []


def test_a_short_order_that_is_here_takes_over_what_was_pinned_for_it(hub: World) -> None:
    decided(hub, reserve(hub, "R1", (4, "L1")))
    hub.takes(pins(unpaid("A", ("pen", 4)), "L1"))
    assert hub.claims("A") == [(4, 1)]
    hub.store.write(lambda tx: follow_reservation.promise(tx, Subject(hub.alpha, "api", "R1"), hub.tmall, "A"))
    assert sorted(hub.claims("A")) == [(1, 1), (3, 3)]
    assert pinned(hub) == {("east", "L1"): 4}
    assert hub.audit() == []


def test_who_wants_one_lot_is_served_first_of_what_was_reserved(hub: World) -> None:
    decided(hub, reserve(hub, "R1", (5, "L1"), (4, "")))
    hub.store.write(lambda tx: follow_reservation.promise(tx, Subject(hub.alpha, "api", "R1"), hub.tmall, "A"))
    hub.takes(pins(unpaid("A", ("pen", 5), ("pen", 5)), "L1", line="2"))
    assert (sorted(hub.claims("A")), pinned(hub)) == ([(1, 1), (4, 4), (5, 5)], {("east", "L1"): 5})
    assert hub.cell(hub.pen) == {"reserved": 10}
    assert hub.audit() == []


# holds, locks, other owners


def test_a_hold_of_a_lot_leaves_what_is_pinned(hub: World) -> None:
    hub.takes(pins(unpaid("A", ("pen", 3)), "L1"))
    refused = freezes(hub, 3, lot="L1")
    assert isinstance(refused, OutOfStock)
    assert refused.missing == ((hub.pen, 3, 2),)
    assert freezes(hub, 2, lot="L1")["remaining"] == 2
    hub.takes(pins(order("B", ("pen", 1)), "L1"))
    assert hub.claims("B") == [(1, 0)]
    assert hub.audit() == []


def test_the_clock_holds_of_a_lot_that_expires_only_what_nobody_pinned(hub: World) -> None:
    hub.takes(pins(unpaid("A", ("pen", 3)), "L1"))
    hub.store.write(lambda tx: tx.set(t.items, hub.pen, near_expiry_days=90))
    hub.store.write(hold_expiring.hold)
    assert hub.cell(hub.pen) == {"free": 5, "reserved": 3, "held": 2}
    assert hub.audit() == []


def test_a_pin_draws_on_no_lock(hub: World) -> None:
    asked = Lock(hub.alpha, "618", "campaign", hub.tmall, (Line(hub.pen, hub.east, 8),), "anna", ends_at=minutes(240))
    decided(hub, asked)
    hub.takes(pins(order("A", ("pen", 4)), "L1"), order("B", ("pen", 3)))
    assert [hub.claims("A"), hub.claims("B")] == [[(4, 2)], [(3, 3)]]
    hub.store.write(lambda tx: keep_promises.top_up_order(tx, keep_promises.Ledger(tx), hub.order("A")["id"]))
    assert hub.claims("A") == [(4, 2)]
    receives(hub, {"L2": 1})
    assert hub.claims("A") == [(4, 2)]
    assert hub.audit() == []


def test_a_lot_of_another_owner_is_pinned_in_its_owners_cell(hub: World) -> None:
    hub.takes(pins(unpaid("B1", ("pen", 4)), "L1"), at=hub.beta_shop)
    hub.takes(pins(order("A", ("pen", 3)), "L1"))
    assert [hub.claims("B1"), hub.claims("A")] == [[(4, 4)], [(3, 1)]]
    source = Source(hub.alpha, hub.row(t.contracts)["id"])
    wants = (Want(0, hub.beta, hub.pen, 1, others=(source,), lot="L1"),)
    (refused,) = decided(hub, Reserve(Subject(hub.beta, "api", "R1"), wants, (hub.east,)))
    assert isinstance(refused, OutOfStock)
    assert refused.missing == ((hub.pen, 1, 0),)
    assert hub.audit() == []


def test_title_passes_with_the_lot_that_is_pinned_and_back(hub: World) -> None:
    hub.store.write(lambda tx: tx.conn.execute(t.contracts.update().values(title_passes="at_reserve")))
    shares_code(hub)
    hub.takes(order("B0", ("pen", 2)), at=hub.beta_shop)
    hub.takes(pins(unpaid("B1", ("pen", 4)), "L2"), at=hub.beta_shop)
    assert by_owner(hub) == {("alpha", "L1"): 3, ("beta", "L1"): 2, ("alpha", "L2"): 1, ("beta", "L2"): 4}
    hub.takes(pins(order("A", ("pen", 3)), "L2"))
    assert hub.claims("A") == [(3, 1)]
    told = unpaid("B1", ("pen", 4)).model_copy(update={"version": "9", "status": "closed", "closed": True})
    hub.takes(told, at=hub.beta_shop)
    assert by_owner(hub) == {("alpha", "L1"): 3, ("beta", "L1"): 2, ("alpha", "L2"): 5}
    assert (hub.claims("A"), hub.audit()) == ([(3, 3)], [])


def test_what_is_given_back_of_one_order_is_of_the_line_that_gives_it_back(hub: World) -> None:
    """One line is for any lot and got L1, one for L1, one for L2: each gives back its own."""
    hub.store.write(lambda tx: tx.conn.execute(t.contracts.update().values(title_passes="at_reserve")))
    shares_code(hub)

    def version(n: int, *lines: tuple[int, int]) -> Order:
        told = unpaid("B1", *(("pen", *units) for units in lines), version=str(n))  # type: ignore[arg-type]
        return pins(pins(told, "L1", "2"), "L2", "3")

    hub.takes(version(1, (2, 0), (2, 0), (2, 0)), at=hub.beta_shop)
    assert by_owner(hub) == {("alpha", "L1"): 1, ("beta", "L1"): 4, ("alpha", "L2"): 3, ("beta", "L2"): 2}
    hub.takes(version(2, (2, 2), (2, 0), (2, 0)), at=hub.beta_shop)
    assert by_owner(hub) == {("alpha", "L1"): 3, ("beta", "L1"): 2, ("alpha", "L2"): 3, ("beta", "L2"): 2}
    hub.takes(version(3, (2, 2), (2, 2), (2, 0)), at=hub.beta_shop)
    assert by_owner(hub) == {("alpha", "L1"): 5, ("alpha", "L2"): 3, ("beta", "L2"): 2}
    assert hub.audit() == []


def test_of_one_batch_title_of_pinned_units_passes_first(hub: World) -> None:
    hub.store.write(lambda tx: tx.conn.execute(t.contracts.update().values(title_passes="at_reserve")))
    shares_code(hub)
    hub.takes(order("B1", ("pen", 5)), pins(order("B2", ("pen", 3)), "L1"), at=hub.beta_shop)
    assert by_owner(hub) == {("beta", "L1"): 5, ("alpha", "L2"): 2, ("beta", "L2"): 3}
    assert (instructed(hub, "B1"), instructed(hub, "B2")) == ({"L1": 2, "L2": 3}, {"L1": 3})
    assert hub.audit() == []


def test_a_pinned_reservation_whose_title_passes_to_its_order_passes_with_its_lot(hub: World) -> None:
    hub.store.write(lambda tx: tx.conn.execute(t.contracts.update().values(title_passes="at_reserve")))
    shares_code(hub)
    source = Source(hub.alpha, hub.row(t.contracts)["id"], frozenset({hub.east}))
    cart = Subject(hub.beta, "cart", "R1")
    wants = (Want(0, hub.beta, hub.pen, 3, others=(source,), lot="L2"),)
    assert isinstance(decided(hub, Reserve(cart, wants, (hub.east,)))[0], Reservation)
    hub.store.write(lambda tx: follow_reservation.promise(tx, cart, hub.beta_shop, "B1"))
    hub.takes(unpaid("B1", ("pen", 3)), at=hub.beta_shop)
    assert by_owner(hub) == {("alpha", "L1"): 5, ("alpha", "L2"): 2, ("beta", "L2"): 3}
    assert (pinned(hub), hub.audit()) == ({("east", "L2"): 3}, [])


def by_owner(hub: World) -> dict[tuple[str, str], int]:
    li, ce, m = t.lot_on_hand.c, t.cells.c, t.merchants.c
    query = select(m.code, li.lot, li.units).join(t.cells, ce.id == li.cell_id).join(t.merchants, m.id == ce.owner_id)
    return {(r["code"], r["lot"]): r["units"] for r in hub.rows(query.where(ce.condition == "ZP")) if r["units"]}


# shown


def test_what_is_pinned_is_shown_with_the_order_and_with_the_stock(hub: World) -> None:
    hub.takes(pins(unpaid("A", ("pen", 3)), "L2"))
    with hub.store.read() as tx:
        told = explain_order(tx, HUB, hub.order("A")["id"])["happened"]
        (claim,) = explain_stock(tx, HUB, hub.pen)["claims"]
        rows = {row["lot"]: row["pinned"] for row in shown.of_item(tx, HUB, hub.pen)}
    assert [one["words"] for one in told if one["what"] == "claim"] == ["pen lot L2 east: wants 3, backed 3, shipped 0"]
    assert (claim["lot"], rows) == ("L2", {"L1": 0, "L2": 3})


def test_a_line_says_its_lot_or_none() -> None:
    assert OrderLine(ref="1", listing="pen", quantity=1).lot == ""
