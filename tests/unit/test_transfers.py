"""Goods between warehouses: asked for, told no, left, arrived, settled; in any order and any number of times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import OutOfStock, Refused, Unfit
from core.flow import carry_transfer, keep_promises, transfer_stock
from core.flow.carry_transfer import Told
from core.flow.journeys import decide
from core.flow.transfer_stock import Accepted, Answer, Fate, Transfer
from core.model import Confirm, ConfirmedLine
from core.store import tables as t
from core.store.ledger import Ledger
from core.store.store import Transaction, one
from tests.worlds import Clock, World, in_memory, order, store, world


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    """Ten pens lie in east."""
    with ten_pens(tmp_path) as it:
        yield it


@contextmanager
def ten_pens(folder: Path) -> Iterator[World]:
    clock = Clock()
    with store(folder, clock=clock) as it:
        built = world(it, clock)
        built.counts("pen", 10)
        yield built


def asks(hub: World, ref: str, *lines: tuple[int, int], **places: int) -> Answer:
    """alpha wants these moved, from east to west unless it says otherwise."""
    where = {"from_id": hub.east, "to_id": hub.west, **places}
    answer: Answer = hub.store.write(lambda tx: decide(tx, [Transfer(hub.alpha, ref, lines=lines, **where)]))[0]
    return answer


def moving(hub: World, units: int = 10, ref: str = "M1") -> str:
    """An accepted transfer of pens; our number of it."""
    assert isinstance(asks(hub, ref, (hub.pen, units)), Accepted)
    return str(transfer(hub, ref)["number"])


def transfer(hub: World, ref: str = "M1") -> Any:
    return hub.row(t.transfers, ref=ref)


def line(hub: World, ref: str = "M1") -> tuple[int, int, int, int]:
    """(departed, arrived, lost, came back) of its one line."""
    row = hub.row(t.transfer_lines, transfer_id=transfer(hub, ref)["id"])
    return row["departed"], row["arrived"], row["lost"], row["came_back"]


def acts(hub: World, act: Callable[[Transaction, Ledger, Any], None], ref: str = "M1") -> None:
    """A person does something about a transfer."""

    def work(tx: Transaction) -> None:
        ledger = Ledger(tx)
        act(tx, ledger, one(tx, t.transfers, ref=ref))
        keep_promises.after_moves(tx, ledger)

    hub.store.write(work)


def closes(hub: World, lost: int = 0, came_back: int = 0) -> None:
    fates = {hub.pen: Fate(lost, came_back)}
    acts(hub, lambda tx, ledger, row: transfer_stock.close(tx, ledger, row, fates, "looked for it", "user anna"))


def calls_off(hub: World) -> None:
    acts(hub, transfer_stock.call_off)


def test_rdc_move_10_9_arrive_1_stays_in_transit_until_settled(hub: World) -> None:
    number = moving(hub)
    assert hub.cell(hub.pen) == {"reserved": 10}
    assert hub.confirms(number, ("pen", 10)) == ["done"]
    assert (hub.cell(hub.pen), hub.cell(hub.pen, hub.west)) == ({}, {"transit": 10})
    assert hub.entries("transfer_out") == [("reserved", -10), ("transit", 10)]
    assert hub.receives(number, ("pen", 9)) == ["done"]
    assert hub.entries("transfer_in") == [("transit", -9), ("free", 9)]
    assert hub.cell(hub.pen, hub.west) == {"free": 9, "transit": 1}
    assert transfer(hub)["state"] == "under_way"
    assert "transfer.missing" in hub.worklist()
    assert hub.audit() == []


def test_the_missing_unit_is_lost(hub: World) -> None:
    number = moving(hub)
    hub.confirms(number, ("pen", 10))
    hub.receives(number, ("pen", 9))
    closes(hub, lost=1)
    assert hub.entries("transfer_end") == [("transit", -1), ("world", 1)]
    assert (hub.cell(hub.pen), hub.cell(hub.pen, hub.west)) == ({}, {"free": 9})
    assert (transfer(hub)["state"], line(hub)) == ("closed", (10, 9, 1, 0))
    assert hub.worklist() == []
    assert hub.audit() == []


def test_the_missing_unit_came_back_where_it_left(hub: World) -> None:
    number = moving(hub)
    hub.confirms(number, ("pen", 10))
    hub.receives(number, ("pen", 9))
    closes(hub, came_back=1)
    assert hub.entries("transfer_end") == [("transit", -1), ("free", 1)]
    assert (hub.cell(hub.pen), hub.cell(hub.pen, hub.west)) == ({"free": 1}, {"free": 9})
    assert line(hub) == (10, 9, 0, 1)
    assert hub.audit() == []


def test_what_is_settled_is_exactly_what_is_on_the_way(hub: World) -> None:
    number = moving(hub)
    with pytest.raises(Refused, match="call it off"):
        closes(hub)
    hub.confirms(number, ("pen", 10))
    hub.receives(number, ("pen", 9))
    for lost, came_back in ((0, 0), (2, 0), (1, 1), (2, -1)):
        with pytest.raises(Refused, match="1 of pen are on the way"):
            closes(hub, lost, came_back)
    closes(hub, lost=1)
    closes(hub, lost=1)
    assert line(hub) == (10, 9, 1, 0)


def test_more_than_there_is_is_refused_by_figure_and_nothing_is_written(hub: World) -> None:
    hub.takes(order("A", ("pen", 4)))
    answer = asks(hub, "M1", (hub.pen, 7))
    assert isinstance(answer, OutOfStock)
    assert answer.missing == ((hub.pen, 7, 6),)
    assert hub.cell(hub.pen) == {"free": 6, "reserved": 4}
    assert hub.rows(t.transfers.select()) == []
    assert isinstance(asks(hub, "M1", (hub.pen, 6)), Accepted)


@pytest.mark.parametrize(
    ("lines", "places", "error"),
    [
        ([("pen", 0)], {}, Unfit),
        ([("pen", 5), ("pen", -1)], {}, Unfit),
        ([], {}, Unfit),
        ([("pen", 1)], {"to_id": "east"}, Refused),
        ([("pen", 1), ("ink", 1)], {}, OutOfStock),
    ],
)
def test_what_makes_no_transfer_is_refused_whole(
    hub: World, lines: list[tuple[str, int]], places: dict[str, str], error: type[Exception]
) -> None:
    named = {side: getattr(hub, code) for side, code in places.items()}
    answer = asks(hub, "M1", *((getattr(hub, sku), n) for sku, n in lines), **named)
    assert type(answer) is error
    assert hub.cell(hub.pen) == {"free": 10}


def test_a_warehouse_without_a_keeper_code_for_the_owner_is_refused(hub: World) -> None:
    k = t.keepers.c
    hub.store.write(lambda tx: tx.conn.execute(t.keepers.delete().where(k.warehouse_id == hub.west)))
    assert isinstance(asks(hub, "M1", (hub.pen, 1)), Refused)
    assert hub.cell(hub.pen) == {"free": 10}


def test_asked_again_it_stands_and_with_other_content_it_is_refused(hub: World) -> None:
    first = asks(hub, "M1", (hub.pen, 2), (hub.pen, 1))
    again = asks(hub, "M1", (hub.pen, 3))
    assert isinstance(first, Accepted)
    assert again == first._replace(repeated=True)
    for other in (asks(hub, "M1", (hub.pen, 4)), asks(hub, "M1", (hub.pen, 3), from_id=hub.west, to_id=hub.east)):
        assert isinstance(other, Refused)
    assert hub.cell(hub.pen) == {"free": 7, "reserved": 3}


def test_both_warehouses_are_told(hub: World) -> None:
    number = moving(hub)
    assert [i["payload"]["transfer"] for i in hub.sends("send_stockout")] == [transfer(hub)["id"]]
    with hub.store.read() as tx:
        leaves = transfer_stock.stockout(tx, transfer(hub)["id"])
    assert leaves is not None
    assert (leaves.ref, leaves.warehouse, leaves.goal) == (number, str(hub.east), "west")
    assert [i["payload"]["transfer"] for i in hub.sends("send_asn")] == [transfer(hub)["id"]]
    with hub.store.read() as tx:
        said = transfer_stock.notice(tx, transfer(hub)["id"])
    assert said is not None
    assert (said.ref, said.reason, said.warehouse, said.keeper) == (number, "transfer", str(hub.west), "ALPHA")
    assert [(li.sku, li.quantity) for li in said.lines] == [("pen", 10)]


def test_what_has_moved_already_is_not_told_again(hub: World) -> None:
    number = moving(hub)
    hub.confirms(number, ("pen", 4), final=False)
    hub.receives(number, ("pen", 4), final=False)
    with hub.store.read() as tx:
        ident = transfer(hub)["id"]
        assert (transfer_stock.stockout(tx, ident), transfer_stock.notice(tx, ident)) == (None, None)


def test_steps_inside_a_warehouse_move_nothing_and_where_it_stops_a_person_is_asked(hub: World) -> None:
    number = moving(hub)
    assert hub.answers(number, "working") == ["done"]
    assert "transfer.stopped" not in hub.worklist()
    assert hub.answers(number, "cancelled") == ["done"]
    assert "transfer.stopped" in hub.worklist()
    assert hub.answers("T404", "working") == ["parked"]
    assert hub.cell(hub.pen) == {"reserved": 10}


def test_increments_in_parts_and_defective_units_are_held(hub: World) -> None:
    number = moving(hub)
    hub.confirms(number, ("pen", 4), final=False)
    hub.receives(number, ("pen", 3), ("pen", 1, "CC"), final=False)
    assert hub.cell(hub.pen) == {"reserved": 6}
    assert hub.cell(hub.pen, hub.west) == {"free": 3}
    assert hub.cell(hub.pen, hub.west, "CC") == {"held": 1}
    assert transfer(hub)["state"] == "under_way"
    hub.confirms(number, ("pen", 6))
    hub.receives(number, ("pen", 6))
    assert (transfer(hub)["state"], line(hub)) == ("closed", (10, 10, 0, 0))
    assert hub.audit() == []


def test_what_will_not_leave_is_free_again(hub: World) -> None:
    number = moving(hub)
    hub.confirms(number, ("pen", 7))
    assert (hub.cell(hub.pen), hub.cell(hub.pen, hub.west)) == ({"free": 3}, {"transit": 7})
    hub.receives(number, ("pen", 7))
    assert transfer(hub)["state"] == "closed"
    assert hub.audit() == []


def test_more_left_than_was_asked_takes_free_then_suspense(hub: World) -> None:
    number = moving(hub, 6)
    hub.takes(order("A", ("pen", 3)))
    hub.confirms(number, ("pen", 9))
    assert hub.entries("transfer_out") == [("reserved", -6), ("free", -1), ("suspense", -2), ("transit", 9)]
    assert hub.cell(hub.pen) == {"reserved": 3, "suspense": -2}


def test_more_arrived_than_was_on_the_way_comes_from_the_world(hub: World) -> None:
    number = moving(hub)
    hub.confirms(number, ("pen", 10))
    hub.receives(number, ("pen", 12))
    assert hub.entries("transfer_in") == [("transit", -10), ("world", -2), ("free", 12)]
    assert hub.cell(hub.pen, hub.west) == {"free": 12}
    assert "transfer.surplus" in hub.worklist()
    assert hub.audit() == []


def test_an_arrival_heard_before_its_departure_comes_to_the_same(hub: World) -> None:
    number = moving(hub)
    hub.receives(number, ("pen", 9))
    assert hub.cell(hub.pen, hub.west) == {"free": 9}
    hub.confirms(number, ("pen", 10))
    assert hub.entries("transfer_out") == [("reserved", -10), ("transit", 1), ("world", 9)]
    assert (hub.cell(hub.pen), hub.cell(hub.pen, hub.west)) == ({}, {"free": 9, "transit": 1})
    assert hub.audit() == []


def test_more_arrived_early_than_leaves_in_all_and_a_person_is_asked(hub: World) -> None:
    number = moving(hub)
    hub.receives(number, ("pen", 12))
    assert "transfer.surplus" not in hub.worklist()
    hub.confirms(number, ("pen", 10))
    assert hub.cell(hub.pen, hub.west) == {"free": 12}
    assert "transfer.surplus" in hub.worklist()
    assert transfer(hub)["state"] == "closed"
    assert hub.audit() == []


def test_arriving_units_fill_what_is_missing_first(hub: World) -> None:
    hub.counts("pen", -2, "west")
    number = moving(hub)
    hub.confirms(number, ("pen", 10))
    hub.receives(number, ("pen", 10))
    assert hub.cell(hub.pen, hub.west) == {"free": 8}
    assert hub.audit() == []


def test_arrived_units_back_who_waits(hub: World) -> None:
    hub.decides("resource")
    number = moving(hub)
    hub.takes(order("A", ("pen", 4)))
    assert hub.claims("A") == [(4, 0)]
    hub.confirms(number, ("pen", 10))
    hub.receives(number, ("pen", 10))
    assert hub.claims("A") == [(4, 4)]
    assert hub.cell(hub.pen, hub.west) == {"free": 6, "reserved": 4}


def test_called_off_before_anything_left_it_is_free_again(hub: World) -> None:
    number = moving(hub)
    calls_off(hub)
    calls_off(hub)
    assert hub.cell(hub.pen) == {"free": 10}
    assert transfer(hub)["state"] == "cancelled"
    with hub.store.read() as tx:
        assert transfer_stock.notice(tx, transfer(hub)["id"]) is None
    assert asks(hub, "M1", (hub.pen, 10)) == Accepted(int(number[1:]), repeated=True)
    assert hub.audit() == []


def stops(hub: World) -> list[tuple[str, str, str]]:
    """(what, at which warehouse, their number) of the cancellations that are said."""
    said = []
    for row in hub.sends("send_cancellation"):
        with hub.store.read() as tx:
            value = transfer_stock.cancellation(tx, row["payload"]["transfer"], row["payload"]["warehouse"])
        said += [(value.of, value.warehouse, value.ref)] if value else []
    return said


def test_both_warehouses_that_were_told_are_told_that_it_was_called_off(hub: World) -> None:
    number = moving(hub)
    hub.sends("send_stockout")
    hub.sends("send_asn")
    calls_off(hub)
    first = stops(hub)
    assert sorted(first + stops(hub)) == [("asn", str(hub.west), number), ("stockout", str(hub.east), number)]


def test_a_warehouse_that_is_on_no_connection_is_told_by_a_person(hub: World) -> None:
    hub.store.write(lambda tx: tx.set(t.warehouses, hub.west, wms_id=None))
    moving(hub)
    assert hub.worklist() == ["transfer.announced/to"]
    calls_off(hub)
    assert hub.worklist() == ["transfer.cancelled/to"]


def test_what_has_moved_is_not_called_off(hub: World) -> None:
    hub.confirms(moving(hub), ("pen", 1), final=False)
    with pytest.raises(Refused, match="goods have moved"):
        calls_off(hub)
    assert hub.cell(hub.pen) == {"reserved": 9}


def test_goods_that_leave_though_it_was_called_off_are_booked_and_a_person_is_asked(hub: World) -> None:
    number = moving(hub)
    calls_off(hub)
    hub.takes(order("A", ("pen", 4)))
    hub.confirms(number, ("pen", 10))
    assert hub.entries("transfer_out") == [("free", -6), ("suspense", -4), ("transit", 10)]
    assert hub.cell(hub.pen) == {"reserved": 4, "suspense": -4}
    assert "transfer.left_late" in hub.worklist()
    assert transfer(hub)["state"] == "under_way"
    hub.receives(number, ("pen", 10))
    assert hub.cell(hub.pen, hub.west) == {"free": 10}
    assert transfer(hub)["state"] == "closed"


def test_the_same_message_twice_is_absorbed_and_another_under_its_number_is_parked(hub: World) -> None:
    number = moving(hub)
    for _ in range(2):
        assert hub.confirms(number, ("pen", 6), event_id="E1", final=False) == ["done"]
        assert hub.receives(number, ("pen", 5), event_id="E2", final=False) == ["done"]
    assert hub.confirms(number, ("pen", 7), event_id="E1", final=False) == ["parked"]
    assert hub.receives(number, ("pen", 5, "CC"), event_id="E2", final=False) == ["parked"]
    assert line(hub) == (6, 5, 0, 0)
    assert hub.tally("duplicates_absorbed") == 2
    assert hub.audit() == []


def test_a_sku_the_transfer_does_not_have_is_parked_and_nothing_of_it_is_booked(hub: World) -> None:
    number = moving(hub)
    assert hub.confirms(number, ("pen", 5), ("ink", 5)) == ["parked"]
    assert hub.receives(number, ("ink", 5)) == ["parked"]
    assert hub.cell(hub.pen) == {"reserved": 10}
    assert hub.confirms("T404", ("pen", 1)) == ["parked"]


def test_defective_goods_that_left_instead_leave_the_good_ones_free(hub: World) -> None:
    number = moving(hub, 4)
    hub.counts("pen", 3, condition="CC")

    def leave(tx: Transaction, ledger: Ledger, row: Any) -> None:
        key = carry_transfer.out_key(row, "person:1")
        carry_transfer.depart(tx, ledger, row, Told(key, "test", {(hub.pen, "CC"): 4}))

    acts(hub, leave)
    acts(hub, leave)
    assert hub.cell(hub.pen) == {"free": 10}
    assert hub.cell(hub.pen, condition="CC") == {"suspense": -1}
    assert hub.cell(hub.pen, hub.west) == {"transit": 4}
    assert line(hub) == (4, 0, 0, 0)
    assert number
    assert [b for b in hub.audit() if "in suspense" not in b] == []


@pytest.mark.parametrize(
    ("rows", "left"),
    [
        ([("CC", 2), ("JS", 2)], {"free": 2}),
        ([("JS", 3), ("ZP", 3)], {"suspense": -1}),
        ([("ZP", 3), ("JS", 3)], {"suspense": -1}),
    ],
)
def test_what_left_in_several_conditions_counts_what_the_rows_before_freed(
    hub: World, rows: list[tuple[Any, int]], left: dict[str, int]
) -> None:
    number = moving(hub, 4)
    hub.counts("pen", -8)
    assert hub.cell(hub.pen) == {"reserved": 4, "suspense": -2}
    gone = tuple(ConfirmedLine(sku="pen", condition=condition, quantity=n) for condition, n in rows)
    assert hub.hears(Confirm(fulfilment=number, event_id="m1", final=True, lines=gone), at=hub.wms) == ["done"]
    assert hub.cell(hub.pen) == left
    assert [b for b in hub.audit() if "in suspense" not in b] == []


def test_a_stock_change_that_names_a_transfer_only_confirms_it(hub: World) -> None:
    number = moving(hub)
    hub.confirms(number, ("pen", 10))
    assert hub.counts("pen", -10, order_ref=number) == ["done"]
    assert hub.counts("pen", 10, "west", order_ref=number) == ["done"]
    assert (hub.cell(hub.pen), hub.cell(hub.pen, hub.west)) == ({}, {"transit": 10})


def test_promises_to_move_are_kept_when_goods_are_missing(hub: World) -> None:
    """The warehouse was told of them; only loose orders give up theirs."""
    hub.decides("wait", unback="newest")
    moving(hub, 4)
    hub.counts("pen", -8)
    assert hub.cell(hub.pen) == {"reserved": 4, "suspense": -2}
    assert hub.worklist().count("stock.missing") == 1


def test_the_audit_names_a_line_that_says_other_units_and_a_cell_in_transit(hub: World) -> None:
    number = moving(hub)
    hub.confirms(number, ("pen", 10))
    hub.store.write(lambda tx: tx.conn.execute(t.transfer_lines.update().values(departed=9)))
    breaches = hub.audit()
    assert any("10 units in transit, its transfers have 9 on the way" in b for b in breaches)
    assert any("departed is 9, its journals say 10" in b for b in breaches)
    assert any("9 left, its claim says 10" in b for b in breaches)


told_out = st.lists(st.integers(0, 6), min_size=1, max_size=3)


@given(out=told_out, back=told_out, data=st.data())
def test_whatever_order_they_are_heard_in_the_books_end_the_same(
    out: list[int], back: list[int], data: st.DataObject
) -> None:
    said = [("out", n, units) for n, units in enumerate(out)] + [("in", n, units) for n, units in enumerate(back)]
    ends = []
    for messages in (said, data.draw(st.permutations(said))):
        with in_memory() as folder, ten_pens(folder) as hub:
            number = moving(hub)
            for way, n, units in messages:
                tell = hub.confirms if way == "out" else hub.receives
                assert tell(number, ("pen", units), event_id=f"{way}{n}", final=False) == ["done"]
            ends.append((hub.cell(hub.pen), hub.cell(hub.pen, hub.west), line(hub)))
            assert [b for b in hub.audit() if "in suspense" not in b] == []
    assert ends[0] == ends[1]
