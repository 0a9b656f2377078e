"""Lots that are told are kept beside the journal; good units that are held are promised to nobody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from core.errors import OutOfStock, Refused, Unmatched
from core.flow import tell_fulfilment
from core.flow.hold_goods import Freeze, Thaw
from core.flow.journeys import decide
from core.model import (
    Adjustment,
    AdjustmentRow,
    Confirm,
    ConfirmedLine,
    DeliveryOrder,
    Receipt,
    ReceivedLine,
    Return,
    ReturnedLine,
)
from core.model.stock import Lot
from core.rules.fefo import Lot as Found
from core.rules.fefo import pick
from core.store import lots
from core.store import tables as t
from core.store.ledger import CellKey
from tests.worlds import Clock, World, closed, order, store, world


def keep_lots(hub: World) -> None:
    """The pen keeps lots from now on."""

    def work(tx: Any) -> None:
        tx.set(t.items, hub.pen, keeps_lots=True)
        lots.begin(tx, [hub.pen])

    hub.store.write(work)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        yield world(it, clock)


def of(units: dict[str, int], expires: str | None = None) -> dict[str, Any]:
    """The lots of a row, and their sum."""
    told = tuple(Lot(code=code, quantity=n, expires_on=expires) for code, n in units.items())  # type: ignore[arg-type]
    return {"quantity": sum(units.values()), "lots": told}


def on_hand(hub: World, condition: str = "ZP") -> dict[str, int]:
    """Lot → units of the pen in the east."""
    li, ce = t.lot_on_hand.c, t.cells.c
    query = select(li.lot, li.units).join(t.cells, ce.id == li.cell_id)
    query = query.where(ce.item_id == hub.pen, ce.warehouse_id == hub.east, ce.condition == condition)
    return {r["lot"]: r["units"] for r in hub.rows(query) if r["units"]}


def receives(hub: World, units: dict[str, int], expires: str | None = None, condition: str = "ZP") -> list[str]:
    asn = hub.announces((hub.pen, sum(units.values())))
    line = ReceivedLine(sku="pen", condition=condition, **of(units, expires))  # type: ignore[arg-type]
    return hub.hears(Receipt(asn=asn, warehouse="EAST", event_id=asn, final=True, lines=(line,)), at=hub.wms)


def ships(hub: World, ref: str, units: dict[str, int], event: str = "", final: bool = True) -> list[str]:
    told = {"event_id": event or f"confirm-{ref}", "final": final}
    line = ConfirmedLine(sku="pen", **of(units))
    return hub.hears(Confirm(fulfilment=str(hub.fulfilments(ref)[-1]["ref"]), lines=(line,), **told), at=hub.wms)


def counts(hub: World, units: dict[str, int], event: str) -> list[str]:
    row = AdjustmentRow(sku="pen", keeper="ALPHA", warehouse="EAST", event_id=event, **of(units))
    return hub.hears(Adjustment(ref=event, rows=(row,)), at=hub.wms)


def asks(hub: World, command: Freeze | Thaw) -> Any:
    return hub.store.write(lambda tx: decide(tx, [command]))[0]


def freezes(hub: World, units: int, ref: str = "H1", lot: str | None = None) -> Any:
    return asks(hub, Freeze(CellKey(hub.alpha, hub.pen, hub.east), units, ref, "frozen", "anna", lot))


# lots


def test_a_receipt_by_lot_is_kept_by_lot_with_its_days(hub: World) -> None:
    keep_lots(hub)
    assert receives(hub, {"L1": 7, "L2": 3}, "2026-08-07") == ["done"]
    assert on_hand(hub) == {"L1": 7, "L2": 3}
    assert hub.row(t.lots, code="L2")["expires_on"] == "2026-08-07"
    assert hub.audit() == []


def test_units_without_a_lot_are_the_remainder(hub: World) -> None:
    keep_lots(hub)
    receives(hub, {"L1": 7})
    hub.counts("pen", 3)
    assert on_hand(hub) == {"L1": 7, "?": 3}
    hub.counts("pen", -4)
    assert on_hand(hub) == {"L1": 7, "?": -1}
    assert hub.audit() == []


def test_a_shipment_of_several_lots_takes_each_and_orders_take_none(hub: World) -> None:
    keep_lots(hub)
    receives(hub, {"L1": 7, "L2": 3})
    hub.takes(order("A", ("pen", 5)))
    assert on_hand(hub) == {"L1": 7, "L2": 3}
    hub.releases("A")
    assert ships(hub, "A", {"L1": 4, "L2": 1}) == ["done"]
    assert on_hand(hub) == {"L1": 3, "L2": 2}
    assert hub.audit() == []


def test_a_confirmation_told_twice_takes_its_lots_once(hub: World) -> None:
    keep_lots(hub)
    receives(hub, {"L1": 7})
    hub.takes(order("A", ("pen", 5)))
    hub.releases("A")
    ships(hub, "A", {"L1": 2}, event="E1", final=False)
    ships(hub, "A", {"L1": 2}, event="E1", final=False)
    assert on_hand(hub) == {"L1": 5}


def test_more_of_a_lot_than_is_known_is_a_fact_and_stands_below_zero(hub: World) -> None:
    keep_lots(hub)
    receives(hub, {"L1": 1})
    hub.counts("pen", 4)
    hub.takes(order("A", ("pen", 3)))
    hub.releases("A")
    ships(hub, "A", {"L1": 3})
    assert on_hand(hub) == {"L1": -2, "?": 4}
    assert hub.audit() == []


def test_returned_goods_stand_under_their_lot_and_change_condition_with_it(hub: World) -> None:
    keep_lots(hub)
    back = ReturnedLine(sku="pen", keeper="ALPHA", condition="CC", **of({"L1": 2}))
    told = Return(ref="RT1", warehouse="EAST", event_id="E1", final=True, lines=(back,))
    assert hub.hears(told, at=hub.wms) == ["done"]
    assert on_hand(hub, "CC") == {"L1": 2}
    named = {"sku": "pen", "keeper": "ALPHA", "warehouse": "EAST", "event_id": "G1"}
    rows = (
        AdjustmentRow(**named, condition="CC", **of({"L1": -2})),
        AdjustmentRow(**named, condition="ZP", **of({"L1": 2})),
    )
    assert hub.hears(Adjustment(ref="G1", rows=rows), at=hub.wms) == ["done"]
    assert (on_hand(hub, "CC"), on_hand(hub)) == ({}, {"L1": 2})
    assert hub.audit() == []


def test_an_item_that_begins_to_keep_lots_has_its_goods_under_the_remainder(hub: World) -> None:
    hub.counts("pen", 6)
    receives(hub, {"L1": 2})
    assert on_hand(hub) == {}
    keep_lots(hub)
    keep_lots(hub)
    assert on_hand(hub) == {"?": 8}
    assert hub.audit() == []


def test_days_that_are_told_anew_replace_those_before(hub: World) -> None:
    keep_lots(hub)
    receives(hub, {"L1": 1}, "2026-08-07")
    receives(hub, {"L1": 1}, "2026-09-07")
    receives(hub, {"L1": 1})
    assert hub.row(t.lots, code="L1")["expires_on"] == "2026-09-07"


told = st.lists(
    st.dictionaries(st.sampled_from(["L1", "L2", ""]), st.integers(-5, 9), min_size=1), min_size=1, max_size=6
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told)
def test_whatever_is_counted_by_lot_the_lots_add_up_to_what_is_on_hand(hub: World, rows: list[dict[str, int]]) -> None:
    keep_lots(hub)
    before, n = dict(on_hand(hub)), len(hub.rows(select(t.journals.c.id)))
    for place, units in enumerate(rows):
        assert counts(hub, units, f"C{n}-{place}") == ["done"]
    expected = before
    for units in rows:
        for lot, some in units.items():
            expected[lot or "?"] = expected.get(lot or "?", 0) + some
    assert on_hand(hub) == {lot: some for lot, some in expected.items() if some}
    assert [breach for breach in hub.audit() if "lot" in breach] == []


def test_the_audit_finds_lots_that_do_not_add_up(hub: World) -> None:
    keep_lots(hub)
    receives(hub, {"L1": 7})
    li = t.lot_on_hand
    hub.store.write(lambda tx: tx.conn.execute(li.update().values(units=6)))
    ident, by = hub.row(t.cells, item_id=hub.pen)["id"], hub.row(t.journals, kind="receive")["cause"]
    assert hub.audit() == [
        f"cell {ident}: its lots add up to 6, on hand are 7, last by receive of {by}",
        f"cell {ident}: lot L1 is 6, its journal says 7, last by receive of {by}",
    ]


# holds


def test_held_units_are_promised_to_nobody_and_those_given_back_are(hub: World) -> None:
    hub.decides("wait")
    hub.counts("pen", 10)
    assert freezes(hub, 7)["remaining"] == 7
    assert hub.cell(hub.pen) == {"free": 3, "held": 7}
    hub.takes(order("A", ("pen", 5)))
    assert hub.claims("A") == [(5, 3)]
    assert asks(hub, Thaw(hub.alpha, "H1", "anna", keep=4))["remaining"] == 4
    assert hub.order("A")["state"] == "released"
    assert hub.cell(hub.pen) == {"free": 1, "reserved": 5, "held": 4}
    assert hub.audit() == []


def test_a_hold_of_more_than_is_free_is_refused_without_a_trace(hub: World) -> None:
    hub.counts("pen", 4)
    hub.takes(order("A", ("pen", 2)))
    answer = freezes(hub, 3)
    assert isinstance(answer, OutOfStock)
    assert answer.missing == ((hub.pen, 3, 2),)
    assert hub.rows(select(t.holds)) == []
    assert hub.cell(hub.pen) == {"free": 2, "reserved": 2}


def test_a_hold_asked_twice_holds_once_and_another_under_its_ref_is_refused(hub: World) -> None:
    hub.counts("pen", 10)
    assert freezes(hub, 3)["id"] == freezes(hub, 3)["id"]
    assert isinstance(freezes(hub, 4), Refused)
    assert hub.cell(hub.pen) == {"free": 7, "held": 3}


def test_a_release_said_twice_gives_back_once_and_of_no_hold_is_unmatched(hub: World) -> None:
    hub.counts("pen", 10)
    freezes(hub, 3)
    for _ in range(2):
        assert asks(hub, Thaw(hub.alpha, "H1", "anna"))["ended_at"] is not None
    assert hub.cell(hub.pen) == {"free": 10}
    assert isinstance(asks(hub, Thaw(hub.alpha, "H2", "anna")), Unmatched)
    assert isinstance(asks(hub, Thaw(hub.beta, "H1", "anna")), Unmatched)


def test_units_given_back_fill_what_is_missing_first(hub: World) -> None:
    hub.counts("pen", 10)
    freezes(hub, 6)
    hub.counts("pen", -6)
    assert hub.cell(hub.pen) == {"held": 6, "suspense": -2}
    asks(hub, Thaw(hub.alpha, "H1", "anna"))
    assert hub.cell(hub.pen) == {"free": 4}
    assert hub.audit() == []


def test_a_hold_of_a_lot_wants_units_of_that_lot(hub: World) -> None:
    keep_lots(hub)
    receives(hub, {"L1": 7, "L2": 3})
    assert isinstance(freezes(hub, 4, lot="L2"), OutOfStock)
    assert freezes(hub, 2, lot="L2")["lot"] == "L2"
    assert isinstance(freezes(hub, 2, "H2", lot="L2"), OutOfStock)
    assert on_hand(hub) == {"L1": 7, "L2": 3}
    assert hub.audit() == []


def test_the_audit_finds_held_units_no_hold_explains(hub: World) -> None:
    hub.counts("pen", 10)
    freezes(hub, 3)
    hold = hub.row(t.holds, ref="H1")
    hub.store.write(lambda tx: tx.set(t.holds, hold["id"], remaining=2))
    assert hub.audit() == [f"cell {hold['cell_id']}: 3 units are held, its holds say 2, last by hold of hold:H1"]


# which lots shall leave


def instructed(hub: World, ref: str) -> dict[str, int]:
    """Lot → units still to leave for the order's newest fulfilment."""
    p = t.picks.c
    rows = hub.rows(select(p.lot, p.remaining).where(p.fulfilment_id == hub.fulfilments(ref)[-1]["id"]))
    return {r["lot"]: r["remaining"] for r in rows}


def released(hub: World, ref: str, units: int) -> dict[str, int]:
    hub.takes(order(ref, ("pen", units)))
    hub.releases(ref)
    return instructed(hub, ref)


def two_lots(hub: World) -> None:
    """3 of L1, which expires first, 7 of L2, and 2 of nobody knows which."""
    keep_lots(hub)
    receives(hub, {"L2": 7}, "2026-09-01")
    receives(hub, {"L1": 3}, "2026-03-01")
    hub.counts("pen", 2)


def said(hub: World, ref: str) -> DeliveryOrder:
    """What the warehouse is told of the order's fulfilment."""
    with hub.store.read() as tx:
        found = tell_fulfilment.delivery_order(tx, hub.fulfilments(ref)[-1]["id"])
    assert found is not None
    return found


def test_what_expires_first_shall_leave_first_and_no_two_orders_get_the_same_units(hub: World) -> None:
    two_lots(hub)
    assert released(hub, "A", 2) == {"L1": 2}
    assert released(hub, "B", 4) == {"L1": 1, "L2": 3}
    assert released(hub, "C", 6) == {"L2": 4}
    assert on_hand(hub) == {"L1": 3, "L2": 7, "?": 2}


def test_the_delivery_order_names_the_lot_of_a_line_and_several_in_the_note(hub: World) -> None:
    two_lots(hub)
    released(hub, "A", 2)
    released(hub, "B", 4)
    (line,) = said(hub, "A").lines
    assert (line.lot, line.expires_on, said(hub, "A").note) == ("L1", "2026-03-01", "")
    (line,) = said(hub, "B").lines
    assert (line.lot, said(hub, "B").note) == ("", "pen: 1 × L1, 3 × L2")


def test_held_lots_are_not_to_leave(hub: World) -> None:
    two_lots(hub)
    freezes(hub, 3, lot="L1")
    assert released(hub, "A", 4) == {"L2": 4}


def test_a_lot_that_leaves_too_soon_is_booked_as_it_left_and_a_person_hears_of_it(hub: World) -> None:
    two_lots(hub)
    released(hub, "A", 2)
    assert ships(hub, "A", {"L2": 2}) == ["done"]
    assert on_hand(hub) == {"L1": 3, "L2": 5, "?": 2}
    assert hub.worklist() == ["lot.too_soon"]
    assert released(hub, "B", 3) == {"L1": 3}
    assert hub.audit() == []


def test_lots_that_leave_as_instructed_or_sooner_to_expire_ask_nobody(hub: World) -> None:
    two_lots(hub)
    released(hub, "A", 2)
    ships(hub, "A", {"L1": 2})
    released(hub, "B", 3)
    assert instructed(hub, "B") == {"L1": 1, "L2": 2}
    ships(hub, "B", {"L1": 1, "L2": 1}, final=False)
    assert instructed(hub, "B") == {"L1": 0, "L2": 1}
    receives(hub, {"L0": 1}, "2026-02-01")
    ships(hub, "B", {"L0": 1}, event="E2")
    assert hub.worklist() == []
    assert hub.audit() == []


def test_more_lots_than_were_to_leave_are_booked_and_ask_nobody_where_the_first_left_too(hub: World) -> None:
    two_lots(hub)
    released(hub, "A", 2)
    assert ships(hub, "A", {"L2": 2, "L1": 2}) == ["done"]
    assert (on_hand(hub), hub.worklist()) == ({"L1": 1, "L2": 5, "?": 2}, [])
    assert instructed(hub, "A") == {"L1": 0}


def test_the_audit_finds_lots_that_are_to_leave_for_what_is_over(hub: World) -> None:
    two_lots(hub)
    released(hub, "A", 2)
    ships(hub, "A", {"L1": 2})
    hub.store.write(lambda tx: tx.conn.execute(t.picks.update().values(remaining=1)))
    ident, by = hub.fulfilments("A")[0]["id"], hub.row(t.journals, kind="ship")["cause"]
    assert hub.audit() == [f"fulfilment {ident} is over, but lots are still to leave for it, last by ship of {by}"]


def test_lots_of_an_order_that_was_called_off_are_given_to_others(hub: World) -> None:
    two_lots(hub)
    hub.takes(order("A", ("pen", 3)))
    assert instructed(hub, "A") == {"L1": 3}
    hub.takes(closed("A", ("pen", 3)))
    assert released(hub, "B", 3) == {"L1": 3}


stock = st.lists(
    st.builds(Found, st.sampled_from("ABCDE"), st.sampled_from([None, "2026-01-01", "2026-02-01"]), st.integers(-9, 9)),
    max_size=5,
    unique_by=lambda lot: lot.code,
)


@given(stock, st.integers(0, 30))
def test_no_lot_is_picked_before_one_that_expires_sooner_is_used_up(there: list[Found], wanted: int) -> None:
    picked = pick(there, wanted)
    by_code = {lot.code: lot for lot in there}
    total = sum(lot.units for lot in there)
    assert sum(n for _, n in picked) == min(wanted, max(0, total))
    assert all(0 < n <= by_code[code].units for code, n in picked)
    days = [by_code[code].expires_on or "9999" for code, _ in picked]
    assert days == sorted(days)
    assert all(n == by_code[code].units for code, n in picked[1:-1])
