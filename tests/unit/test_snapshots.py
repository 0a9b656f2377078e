"""What warehouses show beside the books: intervals, residuals that must repeat, what a person decides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from core.errors import Refused
from core.flow import explain, settle_residual
from core.flow.hear import Spoken
from core.flow.journeys import decide
from core.flow.transfer_stock import Transfer
from core.model import Confirm, ConfirmedLine, Document, Snapshot, SnapshotRow
from core.store import inbox
from core.store import tables as t
from core.store.causes import resolve
from core.store.scope import HUB
from core.store.store import Transaction
from hub import parked
from hub.onboard.warehouses import Arrangement, arrange_warehouse
from hub.parked import Fix
from tests.worlds import Clock, World, minutes, order, store, world

QUARTER = 15 * 60


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        yield world(it, clock)


def row(units: int, sku: str = "pen", **more: Any) -> SnapshotRow:
    return SnapshotRow(**{"sku": sku, "warehouse": "EAST", "keeper": "ALPHA", "quantity": units, **more})


def shows(hub: World, *rows: SnapshotRow, at: int | None = None, **more: Any) -> str:
    """A snapshot is heard; what became of it."""
    return hub.hears(Snapshot(rows=rows, **more), at=at or hub.wms)[0]


def pens(hub: World, *units: int, wait_s: float = QUARTER) -> None:
    """Snapshots that show so many pens, one after the other."""
    for n in units:
        assert shows(hub, row(n)) == "done"
        passes(hub, wait_s)


def passes(hub: World, seconds: float) -> None:
    assert hub.clock is not None
    hub.clock.wait(seconds)


def states(hub: World) -> list[tuple[int, str]]:
    """(residual, state) of every comparison that is kept."""
    c = t.comparisons.c
    return [(r["residual"], r["state"]) for r in hub.rows(select(t.comparisons).order_by(c.id))]


def arranged(hub: World, **how: Any) -> None:
    hub.store.write(lambda tx: arrange_warehouse(tx, HUB, "east", Arrangement(**how)))


def press(hub: World, button: str, **fix: Any) -> None:
    """The one parked thing has this button pressed."""
    with hub.store.read() as tx:
        (one,) = parked.parked(tx, HUB)
    assert button in one["buttons"]
    hub.store.write(lambda tx: parked.press(tx, HUB, one["kind"], one["id"], button, Fix(**fix)))


def again(hub: World, *told: Snapshot) -> list[str]:
    """What waits in the inbox is read once more, as these."""
    i = t.inbox.c
    rows = hub.rows(select(i.id).where(i.state == "waiting").order_by(i.id))
    batch = [Spoken("stock", r["id"], hub.wms, 0, noun) for r, noun in zip(rows, told, strict=True)]
    hub.store.write(lambda tx: decide(tx, batch))
    return [hub.row(t.inbox, id=r["id"])["state"] for r in rows]


def second_owner(hub: World) -> int:
    """beta keeps a pen of its own in the east, under alpha's keeper code; the item's id."""

    def work(tx: Transaction) -> int:
        item = {"id": tx.ids.new(), "owner_id": hub.beta, "sku": "pen", "name": "pen"}
        tx.add(t.items, [{**item, "created_at": tx.now}])
        tx.add(t.keepers, [{"owner_id": hub.beta, "warehouse_id": hub.east, "code": "ALPHA"}])
        return int(item["id"])

    return hub.store.write(work)


# the interval


@pytest.mark.parametrize(("theirs", "residual"), [(4, -1), (5, 0), (10, 0), (17, 0), (18, 1)])
def test_what_is_sent_and_not_confirmed_may_be_there_or_gone(hub: World, theirs: int, residual: int) -> None:
    """On hand 10: 5 may have left, 7 may have come."""
    hub.counts("pen", 10)
    hub.takes(order("A", ("pen", 5)))
    hub.releases("A")
    hub.announces((hub.pen, 7))
    shows(hub, row(theirs))
    assert [r for r, _ in states(hub)] == [residual]


@pytest.mark.parametrize(("theirs", "residual"), [(5, -1), (6, 0), (10, 0), (11, 1)])
def test_what_a_transfer_takes_may_be_there_or_gone(hub: World, theirs: int, residual: int) -> None:
    """On hand 10, of which 4 shall go to the west."""
    hub.counts("pen", 10)
    asked = Transfer(hub.alpha, "M1", hub.east, hub.west, ((hub.pen, 4),))
    hub.store.write(lambda tx: decide(tx, [asked]))
    shows(hub, row(theirs))
    assert [r for r, _ in states(hub)] == [residual]


def test_goods_no_warehouse_was_told_of_cannot_have_left(hub: World) -> None:
    hub.counts("pen", 10)
    hub.takes(order("A", ("pen", 5)))
    assert hub.fulfilments("A")[0]["state"] == "labelling"
    shows(hub, row(5))
    assert states(hub) == [(-5, "waits")]


@pytest.mark.parametrize(("theirs", "residual"), [(7, 0), (8, 0), (10, 0), (11, 1), (4, -1)])
def test_what_was_booked_after_the_reading_may_have_happened_before_it(hub: World, theirs: int, residual: int) -> None:
    """Read at 8:00 with 10 on hand, 5 of them sent; 3 were confirmed at 8:01, the snapshot is heard at 8:02."""
    hub.counts("pen", 10)
    hub.takes(order("A", ("pen", 5)))
    fulfilment = hub.releases("A")
    passes(hub, 60)
    hub.confirms(fulfilment, ("pen", 3), final=False)
    passes(hub, 60)
    shows(hub, row(theirs), as_of=minutes(0))
    assert [r for r, _ in states(hub)] == [residual]


def test_what_was_sent_after_the_reading_was_there_when_it_was_read(hub: World) -> None:
    hub.counts("pen", 10)
    passes(hub, 60)
    hub.takes(order("A", ("pen", 5)))
    hub.releases("A")
    shows(hub, row(5, read_at=minutes(0)))
    assert states(hub) == [(-5, "waits")]


def test_each_line_is_held_against_the_books_of_its_own_time(hub: World) -> None:
    hub.counts("pen", 10)
    hub.counts("ink", 4)
    passes(hub, 120)
    hub.counts("pen", 2)
    shows(hub, row(10, read_at=minutes(1)), row(4, "ink", read_at=minutes(2)), as_of=minutes(9))
    assert states(hub) == [(0, "agrees"), (0, "agrees")]


def test_rows_of_one_subject_are_added_as_lots_are_told(hub: World) -> None:
    hub.counts("pen", 10)
    shows(hub, row(6), row(3, locked=1))
    assert states(hub) == [(0, "agrees")]


@pytest.mark.parametrize(
    ("excludes", "units", "locked"), [("locked", 7, 3), ("nothing", 10, 3), ("allocated", 6, 0), ("allocated", 5, 1)]
)
def test_units_a_figure_leaves_out_are_added(hub: World, excludes: str, units: int, locked: int) -> None:
    """10 on hand, 4 of them sent."""
    hub.store.write(lambda tx: tx.set(t.connections, hub.wms, settings={"quantity_excludes": excludes}))
    hub.counts("pen", 10)
    hub.takes(order("A", ("pen", 4)))
    hub.releases("A")
    shows(hub, row(units, locked=locked))
    assert hub.row(t.comparisons)["theirs"] == 10


# residuals


def test_a_residual_is_booked_once_two_snapshots_a_quarter_of_an_hour_apart_show_it(hub: World) -> None:
    hub.counts("pen", 20)
    pens(hub, 18)
    assert (hub.cell(hub.pen), states(hub)) == ({"free": 20}, [(-2, "waits")])
    pens(hub, 18)
    assert (hub.cell(hub.pen), states(hub)) == ({"free": 18}, [(-2, "waits"), (-2, "booked")])
    first, second = (r["id"] for r in hub.rows(select(t.comparisons).order_by(t.comparisons.c.id)))
    assert hub.row(t.journals, kind="snapshot")["key"] == f"snapshot:{first}:{second}"
    pens(hub, 18, 18, 18)
    assert (hub.cell(hub.pen), hub.audit()) == ({"free": 18}, [])
    assert len(hub.entries("snapshot")) == 2


def test_two_snapshots_too_near_each_other_book_nothing_yet(hub: World) -> None:
    hub.counts("pen", 20)
    pens(hub, 18, 18, 18, wait_s=420)
    assert hub.cell(hub.pen) == {"free": 20}
    pens(hub, 18)
    assert hub.cell(hub.pen) == {"free": 18}


def test_a_residual_that_changes_or_goes_away_begins_anew(hub: World) -> None:
    hub.counts("pen", 20)
    pens(hub, 18, 17, 20, 17)
    assert hub.cell(hub.pen) == {"free": 20}
    pens(hub, 17)
    assert hub.cell(hub.pen) == {"free": 17}


def test_a_gain_fills_what_is_missing_first(hub: World) -> None:
    """3 more were counted away than the books had: 3 missing. The shelf has 20 after all."""
    hub.counts("pen", 17)
    hub.takes(order("A", ("pen", 17)))
    hub.counts("pen", -3)
    assert hub.cell(hub.pen) == {"reserved": 17, "suspense": -3}
    arranged(hub, residual_max_percent=100)
    pens(hub, 19, 19)
    assert hub.cell(hub.pen) == {"reserved": 17, "free": 2}
    assert hub.entries("snapshot") == [("world", -5), ("suspense", 3), ("free", 2)]


def test_a_loss_takes_free_units_then_suspense(hub: World) -> None:
    hub.counts("pen", 20)
    hub.takes(order("A", ("pen", 19)))
    pens(hub, 18, 18)
    assert hub.cell(hub.pen) == {"reserved": 19, "suspense": -1}
    assert hub.worklist() == ["stock.missing"]


def test_defective_goods_are_booked_as_held(hub: World) -> None:
    hub.counts("pen", 20, condition="CC")
    for _ in range(2):
        shows(hub, row(19, condition="CC"))
        passes(hub, QUARTER)
    assert hub.cell(hub.pen, condition="CC") == {"held": 19}


def test_what_a_snapshot_frees_backs_who_waits(hub: World) -> None:
    hub.decides("wait")
    hub.counts("pen", 20)
    hub.takes(order("A", ("pen", 21)))
    pens(hub, 21, 21)
    assert hub.claims("A") == [(21, 21)]


@pytest.mark.parametrize(
    "waits",
    ["confirm", "count", "call"],
)
def test_nothing_is_booked_while_something_of_the_cell_is_parked_or_in_doubt(hub: World, waits: str) -> None:
    """The 2 that are missing are what was not understood yet: booked twice, they would be missing twice."""
    hub.counts("pen", 20)
    hub.takes(order("A", ("pen", 5)))
    fulfilment = hub.releases("A")
    hub.confirms(fulfilment, ("pen", 1), final=False)
    settled = {"confirm": parked_confirm, "count": parked_count, "call": doubtful_call}[waits](hub, fulfilment)
    pens(hub, 12, 12, 12)
    assert hub.entries("snapshot") == []
    settled()
    pens(hub, 12)
    assert hub.entries("snapshot") == [("world", 3), ("free", -3)]


def parked_confirm(hub: World, fulfilment: str) -> Any:
    told = Confirm(fulfilment=fulfilment, event_id="E9", final=False, lines=(ConfirmedLine(sku="cup", quantity=2),))
    assert hub.hears(told, at=hub.wms) == ["parked"]
    return lambda: dismissed(hub)


def parked_count(hub: World, fulfilment: str) -> Any:
    assert hub.counts("cup", -2) == ["parked"]
    return lambda: dismissed(hub)


def doubtful_call(hub: World, fulfilment: str) -> Any:
    call = hub.row(t.outbox, ability="send_delivery_order")
    hub.store.write(lambda tx: tx.set(t.outbox, call["id"], state="in_doubt"))
    return lambda: hub.store.write(lambda tx: tx.set(t.outbox, call["id"], state="done"))


def dismissed(hub: World) -> None:
    hub.store.write(
        lambda tx: tx.conn.execute(t.inbox.update().where(t.inbox.c.state == "parked").values(state="done"))
    )


def test_what_is_parked_of_another_connection_holds_nothing_up(hub: World) -> None:
    hub.counts("pen", 20)
    told = Confirm(fulfilment="nobody's", event_id="E9", final=False, lines=(ConfirmedLine(sku="pen", quantity=2),))
    pens(hub, 18)
    assert hub.hears(told, at=hub.courier) == ["parked"]
    pens(hub, 18)
    assert hub.cell(hub.pen) == {"free": 18}


def test_a_snapshot_that_comes_late_changes_nothing(hub: World) -> None:
    hub.counts("pen", 20)
    pens(hub, 18)
    passes(hub, 3600)
    shows(hub, row(18), as_of=minutes(-30))
    shows(hub, row(20), as_of=minutes(-1))
    assert states(hub) == [(-2, "waits")]
    assert hub.tally("snapshots_late") == 2


# a person decides


@pytest.mark.parametrize(
    ("theirs", "limits"), [(9, {}), (24, {"residual_max_units": 3}), (16, {"residual_max_percent": 10})]
)
def test_a_residual_above_a_limit_is_left_to_a_person(hub: World, theirs: int, limits: dict[str, int]) -> None:
    """20 on hand; 10 units and a fifth are the limits where none is set."""
    arranged(hub, **limits)
    hub.counts("pen", 20)
    pens(hub, theirs, theirs, theirs)
    assert (hub.cell(hub.pen), hub.worklist()) == ({"free": 20}, ["stock.residual"])
    press(hub, "accept")
    assert (hub.cell(hub.pen), hub.worklist()) == ({"free": theirs}, [])
    pens(hub, theirs, theirs)
    assert (hub.cell(hub.pen), hub.audit()) == ({"free": theirs}, [])


def test_a_dismissed_residual_is_not_asked_about_again_until_it_changes(hub: World) -> None:
    hub.counts("pen", 20)
    pens(hub, 5, 5)
    press(hub, "dismiss")
    pens(hub, 5, 5)
    assert (hub.worklist(), hub.cell(hub.pen)) == ([], {"free": 20})
    pens(hub, 6, 6)
    assert hub.worklist() == ["stock.residual"]


def test_a_task_goes_away_once_the_figures_agree(hub: World) -> None:
    hub.counts("pen", 20)
    pens(hub, 5, 5)
    assert hub.worklist() == ["stock.residual"]
    pens(hub, 20)
    assert hub.worklist() == []


def test_what_was_booked_meanwhile_is_not_accepted_twice(hub: World) -> None:
    hub.counts("pen", 20)
    pens(hub, 5, 5)
    hub.counts("pen", -15)
    with pytest.raises(Refused, match="come to agree"):
        press(hub, "accept")
    assert hub.cell(hub.pen) == {"free": 5}


def test_nobody_accepts_what_is_not_asked_any_more(hub: World) -> None:
    hub.counts("pen", 20)
    pens(hub, 5)
    first = hub.row(t.comparisons)["first_id"]
    with pytest.raises(Refused, match="asked about this residual"):
        hub.store.write(lambda tx: settle_residual.accept(tx, first))


def test_a_residual_under_a_shared_keeper_code_is_left_to_a_person_who_says_whose(hub: World) -> None:
    """alpha has 20 pens and beta none on the books; 22 lie there under the one code."""
    item = second_owner(hub)
    hub.store.write(
        lambda tx: tx.add(t.cells, [pen_cell(tx, hub, hub.alpha, hub.pen), pen_cell(tx, hub, hub.beta, item)])
    )
    fill(hub, 20)
    pens(hub, 22, 22)
    assert hub.worklist() == ["stock.residual"]
    with pytest.raises(Refused, match="say whose"):
        press(hub, "accept")
    press(hub, "accept", owner="beta")
    assert (hub.cell(hub.pen), hub.cell(item)) == ({"free": 20}, {"free": 2})
    pens(hub, 22)
    assert (hub.worklist(), hub.audit()) == ([], [])


def pen_cell(tx: Transaction, hub: World, owner: int, item: int) -> dict[str, Any]:
    return {"id": tx.ids.new(), "owner_id": owner, "item_id": item, "warehouse_id": hub.east, "condition": "ZP"}


def fill(hub: World, units: int) -> None:
    """alpha's pens, received: a count under a shared code could not say whose they are."""
    assert hub.receives(hub.announces((hub.pen, units)), ("pen", units)) == ["done"]


# who is believed


def test_another_source_is_compared_and_never_applied(hub: World) -> None:
    hub.counts("pen", 20)
    for _ in range(3):
        assert shows(hub, SnapshotRow(sku="pen", quantity=18), at=hub.erp) == "done"
        passes(hub, QUARTER)
    assert (hub.cell(hub.pen), states(hub)) == ({"free": 20}, [(-2, "reported")])


def test_a_warehouse_has_the_one_authority_it_was_given(hub: World) -> None:
    hub.counts("pen", 20)
    arranged(hub, authority="erp")
    pens(hub, 18, 18)
    assert hub.cell(hub.pen) == {"free": 20}
    for _ in range(2):
        shows(hub, SnapshotRow(sku="pen", quantity=19), at=hub.erp)
        passes(hub, QUARTER)
    assert hub.cell(hub.pen) == {"free": 19}


def test_an_unknown_keeper_code_is_an_error_and_nothing_is_written(hub: World) -> None:
    hub.counts("pen", 20)
    assert shows(hub, row(18), row(3, keeper="GAMMA")) == "parked"
    assert states(hub) == []
    assert "keeper code 'GAMMA'" in hub.row(t.inbox, kind="stock")["reason"]


def test_a_snapshot_of_goods_its_owner_does_not_have_is_an_error(hub: World) -> None:
    assert shows(hub, row(3, "cup")) == "parked"
    assert "no item 'cup' of an owner with keeper code 'ALPHA'" in hub.row(t.inbox, kind="stock")["reason"]


def test_an_unknown_warehouse_is_an_error(hub: World) -> None:
    assert shows(hub, row(3, warehouse="NORTH")) == "parked"
    assert "no warehouse is linked to 'NORTH'" in hub.row(t.inbox, kind="stock")["reason"]


def test_a_source_of_several_warehouses_that_names_none_is_compared_with_them_all(hub: World) -> None:
    hub.counts("pen", 20)
    hub.counts("pen", 5, "west")
    for _ in range(3):
        shows(hub, row(24, warehouse=""))
        passes(hub, QUARTER)
    assert (hub.cell(hub.pen), states(hub)) == ({"free": 20}, [(-1, "reported")])


# refused whole


def test_an_empty_snapshot_is_put_aside_where_the_books_have_goods(hub: World) -> None:
    hub.counts("pen", 20)
    assert shows(hub) == "parked"
    assert hub.row(t.inbox, kind="stock")["reason"].startswith("this snapshot is empty, the books have 20 units")
    press(hub, "accept")
    assert again(hub, Snapshot(rows=())) == ["done"]


def test_an_empty_answer_about_goods_that_are_not_there_is_no_news(hub: World) -> None:
    hub.counts("ink", 20)
    assert shows(hub, sku="pen", keeper="ALPHA") == "done"
    assert shows(hub, sku="ink", keeper="BETA") == "done"


def test_an_accepted_empty_answer_shows_that_nothing_is_left_of_what_was_asked_for(hub: World) -> None:
    hub.counts("pen", 8)
    assert shows(hub, sku="pen", keeper="ALPHA") == "parked"
    press(hub, "accept")
    assert again(hub, Snapshot(rows=(), sku="pen", keeper="ALPHA")) == ["done"]
    assert states(hub) == [(-8, "waits")]


def test_a_condition_an_answer_about_one_sku_leaves_out_is_not_there(hub: World) -> None:
    hub.counts("pen", 20)
    hub.counts("pen", 3, condition="CC")
    shows(hub, row(20), sku="pen", keeper="ALPHA")
    assert states(hub) == [(0, "agrees"), (-3, "waits")]


def test_a_snapshot_that_lost_rows_while_it_was_read_is_put_aside(hub: World) -> None:
    hub.counts("pen", 20)
    assert shows(hub, row(18), announced=103, received=102) == "parked"
    assert states(hub) == []
    assert "announced 103 rows and brought 102" in hub.row(t.inbox, kind="stock")["reason"]


def many(hub: World, n: int) -> list[str]:
    """So many more items, 10 units of each."""
    skus = [f"cup-{i}" for i in range(n)]
    rows = [{"owner_id": hub.alpha, "sku": sku, "name": sku} for sku in skus]
    hub.store.write(lambda tx: tx.add(t.items, [{**r, "id": tx.ids.new(), "created_at": tx.now} for r in rows]))
    for sku in skus:
        hub.counts(sku, 10)
    return skus


@pytest.mark.parametrize(("off", "state"), [(3, "done"), (4, "parked")])
def test_a_snapshot_with_more_than_three_lines_of_ten_off_is_put_aside_whole(hub: World, off: int, state: str) -> None:
    skus = many(hub, 10)
    told = [row(9 if n < off else 10, sku) for n, sku in enumerate(skus)]
    assert shows(hub, *told) == state
    assert len(states(hub)) == (10 if state == "done" else 0)


def test_a_reading_of_several_documents_is_put_aside_and_accepted_together(hub: World) -> None:
    told = [Snapshot(rows=(row(9, sku),), sku=sku, keeper="ALPHA") for sku in many(hub, 6)]
    assert hub.hears(*told, at=hub.wms) == ["parked"] * 6
    with hub.store.read() as tx:
        first = parked.parked(tx, HUB)[0]
    hub.store.write(lambda tx: parked.press(tx, HUB, "document", first["id"], "accept"))
    assert again(hub, *told) == ["done"] * 6
    passes(hub, QUARTER)
    assert hub.hears(*told, at=hub.wms) == ["done"] * 6
    assert len(hub.entries("snapshot")) == 12


def test_a_newer_snapshot_takes_the_place_of_one_that_waits_for_a_person(hub: World) -> None:
    hub.counts("pen", 20)
    assert shows(hub) == "parked"
    assert shows(hub, row(20)) == "done"
    heard = select(t.inbox.c.state).where(t.inbox.c.kind == "stock").order_by(t.inbox.c.id)
    assert [r["state"] for r in hub.rows(heard)] == ["dismissed", "done"]


def test_only_what_was_put_aside_as_a_whole_can_be_accepted(hub: World) -> None:
    assert shows(hub, row(3, warehouse="NORTH")) == "parked"
    one = hub.row(t.inbox, kind="stock")
    with pytest.raises(Refused, match="put aside as a whole"):
        hub.store.write(lambda tx: parked.press(tx, HUB, "document", one["id"], "accept"))


# told again, explained, audited


def test_a_document_that_goes_through_again_books_nothing_twice(hub: World) -> None:
    hub.counts("pen", 20)
    pens(hub, 18, 18)
    rows = hub.rows(select(t.inbox.c.id).where(t.inbox.c.kind == "stock").order_by(t.inbox.c.id))
    hub.store.write(lambda tx: inbox.replay(tx, [r["id"] for r in rows]))
    told = Snapshot(rows=(row(18),))
    assert again(hub, told, told) == ["done", "done"]
    assert (hub.cell(hub.pen), hub.audit()) == ({"free": 18}, [])


def test_the_journal_says_which_snapshots_showed_it(hub: World) -> None:
    hub.counts("pen", 20)
    pens(hub, 18, 18)
    with hub.store.read() as tx:
        found = explain.explain_stock(tx, HUB, hub.pen)
        journal = hub.row(t.journals, kind="snapshot")
        cause = resolve(tx, HUB, [journal["cause"]])[journal["cause"]]
    assert found["journals"][0]["cause"] == cause._asdict()
    assert str(cause) == "stock pen -2, shown 2026-01-05 08:00:00 and 2026-01-05 08:15:00 (wms)"


def test_the_audit_finds_residuals_that_are_not_what_was_compared(hub: World) -> None:
    hub.counts("pen", 20)
    pens(hub, 18, 18)
    booked = hub.row(t.comparisons, state="booked")
    hub.store.write(lambda tx: tx.set(t.comparisons, booked["id"], residual=-1))
    assert hub.audit() == [f"comparison {booked['id']}: off by -1, booked as -2"]
    hub.store.write(lambda tx: tx.set(t.comparisons, booked["id"], residual=-2, state="waits"))
    journal = hub.row(t.journals, kind="snapshot")
    assert hub.audit() == [f"journal {journal['id']}: no comparison that is booked stands behind {journal['key']}"]


def test_the_audit_finds_a_booked_comparison_without_its_journal(hub: World) -> None:
    hub.counts("pen", 20)
    pens(hub, 18)
    one = hub.row(t.comparisons)
    hub.store.write(lambda tx: tx.set(t.comparisons, one["id"], state="booked"))
    assert hub.audit() == [f"comparison {one['id']}: booked, but there is no journal of it"]


def test_each_reading_is_kept_also_where_it_shows_the_same(hub: World) -> None:
    from hub.polling import _told_apart

    page = [Document(kind="stock", ref="pen", body=b"<same/>")]
    kept = [hub.store.write(lambda tx, n=n: inbox.keep(tx, hub.wms, 0, _told_apart(page, n))) for n in (1, 1, 2)]
    assert [len(k.new) for k in kept] == [1, 0, 1]
