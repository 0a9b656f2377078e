"""Two workers on one listing: whatever lands when, and whoever lost its lease, the shop ends at the right figure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from core.flow import note_told, publish_stock
from core.flow.publish_stock import Said
from core.store import outbox, shelves
from core.store import tables as t
from hub import outward
from tests.worlds import Clock, World, closed, order, store, unpaid, world

LEASE_S, QUIET_S, MARGIN_S = 30.0, 15.0, 5.0
Call = tuple[Any, Said]


class Race:
    """tmall's figure of pens, and the workers that write it."""

    def __init__(self, hub: World) -> None:
        self.hub = hub
        self.shows = 0
        self.listing = int(hub.row(t.listings, connection_id=hub.tmall, ref="pen")["id"])

    def marks(self) -> None:
        """What moved becomes writes."""
        self.hub.store.write(publish_stock.take_marks)

    def takes_up(self) -> Call | None:
        """A worker leases the write to tmall and phrases it; None where there is none."""

        def work(tx: Any) -> Call | None:
            rows = outbox.claim(tx, "stock", 50, LEASE_S)
            said = outward._said(tx, rows)
            found = None
            for row in rows:
                if row["connection_id"] == self.hub.tmall and said[row["id"]].levels:
                    found = (row, said[row["id"]])
                else:
                    outbox.moot(tx, row, "not this race")
            return found

        return self.hub.store.write(work)

    def lands(self, call: Call) -> None:
        """It reaches the shop."""
        for level in call[1].levels:
            if level.listing == "pen":
                self.shows = max(0, self.shows + level.change) if level.form == "delta" else level.quantity

    def answered(self, call: Call) -> bool:
        """Its worker hears so and writes it down, where the lease is still its own."""
        row, said = call

        def work(tx: Any) -> bool:
            over = outbox.done_all(tx, [row])
            if over:
                note_told.told(tx, said)
            return bool(over)

        return self.hub.store.write(work)

    def says(self) -> None:
        """All that waits is said and answered."""
        self.marks()
        while call := self.takes_up():
            self.lands(call)
            assert self.answered(call)

    def waits(self, seconds: float) -> None:
        assert self.hub.clock is not None
        self.hub.clock.wait(seconds)

    def lease_runs_out(self) -> None:
        self.waits(LEASE_S + 1)
        self.hub.store.write(outbox.expire)

    def reads_back(self) -> None:
        """What is in doubt is read at a quiet time, and judged."""
        self.waits(60)
        hub, at = self.hub, self.hub.store.write(lambda tx: tx.now)
        hub.store.write(lambda tx: note_told.note_shown(tx, hub.tmall, {"pen": self.shows}, at))
        self.waits(60)
        cursor = {"connection_id": hub.tmall, "ability": "fetch_orders", "value": {}, "due_at": at}

        def heard(tx: Any) -> None:
            tx.conn.execute(t.cursors.delete().where(t.cursors.c.connection_id == hub.tmall))
            tx.add(t.cursors, [{**cursor, "read_until": tx.now + timedelta(seconds=1)}])
            note_told.judge(tx, MARGIN_S)

        hub.store.write(heard)

    def may_show(self) -> int:
        return int(self.hub.cell(self.hub.pen)["free"])


@pytest.fixture
def race(tmp_path: Path) -> Iterator[Race]:
    """Ten pens, and tmall shows them."""
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        found = Race(world(it, clock))
        found.hub.counts("pen", 10)
        found.says()
        found.hub.store.write(lambda tx: tx.conn.execute(update(t.shelves).values(doubt=False)))
        assert found.shows == 10
        yield found


def offers(race: Race, forms: list[str]) -> None:
    """How tmall may be told levels."""
    can = race.hub.row(t.connections, id=race.hub.tmall)["can"]
    can = {**can, "send_stock": {**can["send_stock"], "forms": forms}}
    race.hub.store.write(lambda tx: tx.set(t.connections, race.hub.tmall, can=can))


def absolute(race: Race) -> None:
    """tmall takes levels only, over what was read."""
    offers(race, ["read_set"])


def test_an_older_call_that_lands_last_is_written_over(race: Race) -> None:
    """15 is on its way when its worker is taken for dead; another says 4; then the 15 arrives all the same."""
    absolute(race)
    race.hub.counts("pen", 5)
    race.marks()
    older = race.takes_up()
    assert older
    race.lease_runs_out()
    race.hub.counts("pen", -11)
    race.marks()
    newer = race.takes_up()
    assert newer
    race.lands(newer)
    assert race.answered(newer)
    race.lands(older)
    assert (race.answered(older), race.shows, race.may_show()) == (False, 15, 4)
    race.reads_back()
    race.says()
    assert race.shows == race.may_show() == 4


def test_a_finish_without_its_token_changes_nothing(race: Race) -> None:
    race.hub.counts("pen", 5)
    race.marks()
    slow = race.takes_up()
    assert slow
    race.lands(slow)
    race.lease_runs_out()
    before = race.hub.row(t.shelves, listing_id=race.listing)
    assert race.answered(slow) is False
    assert race.hub.row(t.shelves, listing_id=race.listing) == before
    again = race.takes_up()
    assert again
    assert [level.key for level in again[1].levels] == [level.key for level in slow[1].levels]
    assert race.answered(again)
    assert race.shows == race.may_show() == 15


def test_a_mark_set_while_levels_are_computed_leads_to_a_call_of_its_own(race: Race) -> None:
    """The level is computed, two are sold elsewhere before it lands: the shop is told again."""
    race.hub.counts("pen", 5)
    race.marks()
    call = race.takes_up()
    race.hub.takes(order("V1", ("pen", 2)), at=race.hub.vendure)
    race.marks()
    assert race.takes_up() is None, "one write of a unit is in flight at a time"
    assert call
    race.lands(call)
    assert race.answered(call)
    assert race.shows == 15
    race.says()
    assert race.shows == race.may_show() == 13


def test_two_workers_never_hold_one_unit(race: Race) -> None:
    race.hub.counts("pen", 5)
    race.marks()
    assert race.takes_up()
    race.hub.counts("pen", 1)
    race.marks()
    assert race.takes_up() is None
    o = t.outbox.c
    mine = select(o.state).where(o.connection_id == race.hub.tmall, o.state.in_(("waiting", "sending")))
    assert sorted(row["state"] for row in race.hub.rows(mine)) == ["sending", "waiting"]


@pytest.mark.parametrize("forms", [["delta", "read_set"], ["read_set"]])
@pytest.mark.parametrize("heard", ["closed", "both"])
def test_what_a_shop_put_back_over_a_figure_that_had_stopped_at_0_is_read_and_written_over(
    race: Race, forms: list[str], heard: str
) -> None:
    """Three are bought and not heard of, all ten are lost, and the shop stops at 0; then the three are put back."""
    offers(race, forms)
    race.hub.counts("pen", -10)
    race.shows -= 3
    race.says()
    assert race.shows == 0
    race.shows += 3
    if heard == "both":
        race.hub.takes(unpaid("T1", ("pen", 3)))
    race.hub.takes(closed("T1", ("pen", 3), version="2"))
    race.says()
    assert race.shows == 0


def test_what_a_shop_put_back_over_more_than_that_is_believed(race: Race) -> None:
    race.hub.takes(unpaid("T1", ("pen", 3)))
    race.hub.takes(closed("T1", ("pen", 3), version="2"))
    race.hub.takes(closed("T2", ("pen", 3)))
    assert race.hub.row(t.shelves, listing_id=race.listing)["doubt"] is False


@pytest.mark.parametrize("forms", [["delta", "read_set"], ["read_set"]])
@pytest.mark.parametrize("doubted", [False, True])
def test_a_doubt_raised_while_a_write_is_on_its_way_outlives_its_answer(
    race: Race, forms: list[str], doubted: bool
) -> None:
    """The shop stopped at 0 owing three it had sold; 4 are on their way when it puts the three back, over the 4."""
    offers(race, forms)
    race.shows -= 3
    race.hub.counts("pen", -10)
    race.says()
    if doubted:
        race.hub.store.write(lambda tx: shelves.doubt(tx, [race.listing]))
    race.hub.counts("pen", 4)
    race.marks()
    call = race.takes_up()
    assert call
    race.lands(call)
    race.shows += 3
    race.hub.takes(closed("T1", ("pen", 3), version="2"))
    assert race.answered(call)
    shelf = race.hub.row(t.shelves, listing_id=race.listing)
    assert (race.shows, shelf["doubt"], shelf["unknown"]) == (7, True, True)
    race.says()
    assert race.shows == race.may_show() == 4


def test_a_doubt_that_a_write_knew_of_ends_with_its_answer(race: Race) -> None:
    race.hub.store.write(lambda tx: shelves.doubt(tx, [race.listing]))
    race.hub.counts("pen", 4)
    race.says()
    shelf = race.hub.row(t.shelves, listing_id=race.listing)
    assert (race.shows, shelf["doubt"], shelf["unknown"]) == (14, True, False)
    race.reads_back()
    assert race.hub.row(t.shelves, listing_id=race.listing)["doubt"] is False


def test_what_a_blind_shop_sold_unheard_is_within_its_lag_buffer(race: Race) -> None:
    """One is bought and not heard of when five come in: told 14 blindly, it shows no more than there is."""
    offers(race, ["set"])
    race.shows -= 1
    race.hub.counts("pen", 5)
    race.says()
    assert race.shows == 14
    race.hub.takes(order("T1", ("pen", 1)))
    assert race.may_show() == 14
    race.says()
    assert race.shows == 13
