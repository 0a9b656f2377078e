"""kill -9 and races on PostgreSQL: the stories of `tests/simulation/test_crash.py`, and 16 racers for the last unit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from core.flow import note_told, publish_stock
from core.flow.hear import Spoken
from core.flow.stop_levels import Change, Stop, Unit, let_pass
from core.flow.take_order import take_orders
from core.store import outbox
from core.store import tables as t
from core.store.store import Transaction, one
from tests.services.conftest import copied
from tests.simulation import test_crash as crash
from tests.simulation import test_crash_matrix as matrix
from tests.worlds import Clock, World, order, store, world


@pytest.fixture
def hub(tmp_path: Path, postgres_url: str) -> Iterator[World]:
    with store(tmp_path, postgres_url) as it:
        yield world(it)


def test_killed_inside_a_postgres_transaction_it_leaves_nothing_of_it(hub: World) -> None:
    crash.killed_inside_a_transaction(hub)


def test_killed_at_any_moment_on_postgres_every_order_is_decided_exactly_once(hub: World) -> None:
    crash.killed_at_any_moment(hub, 3)


def test_two_processes_on_postgres_decide_every_order_once(hub: World) -> None:
    crash.sell(hub)
    crash.race(hub, 2, 4)
    crash.finish(hub)


def test_killed_at_any_commit_on_postgres_the_story_ends_well(tmp_path: Path, postgres_url: str) -> None:
    with store(tmp_path, postgres_url, Clock()) as it:
        ids = matrix.prepared(world(it))
    with matrix.teller(tmp_path, ids, lambda: copied(postgres_url)) as told:
        matrix.survives_every_point(told)


def at_once(*works: object) -> None:
    """Run these in threads that start together; the first error is raised."""
    errors: list[BaseException] = []
    gate = threading.Barrier(len(works))

    def run(work: object) -> None:
        gate.wait()
        try:
            work()  # type: ignore[operator]
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if errors:
        raise errors[0]


def test_16_racers_for_the_last_unit_back_exactly_one(hub: World) -> None:
    hub.counts("pen", 1)
    nouns = [order(f"R{n}", ("pen", 1)) for n in range(16)]
    ids = hub.keeps("order", *nouns, at=hub.tmall)
    batch = [Spoken("order", i, hub.tmall, hub.alpha, noun) for i, noun in zip(ids, nouns, strict=True)]
    at_once(*(lambda one=one: hub.store.write(lambda tx: take_orders(tx, [one])) for one in batch))
    assert sum(hub.claims(f"R{n}") == [(1, 1)] for n in range(16)) == 1
    assert hub.cell(hub.pen) == {"reserved": 1}
    assert hub.audit() == []


def test_16_racers_for_one_intent_lease_it_to_one(hub: World) -> None:
    hub.counts("pen", 1)
    hub.takes(order("A", ("pen", 1)))
    got: list[object] = []
    at_once(
        *(lambda: got.extend(hub.store.write(lambda tx: outbox.claim(tx, "fulfilment", 10, 60))) for _ in range(16))
    )
    assert [row["ability"] for row in got] == ["send_booking"]  # type: ignore[index]


def test_two_parcels_of_one_order_delivered_at_the_same_moment_deliver_the_order(hub: World) -> None:
    hub.counts("pen", 5)
    hub.counts("pen", 4, "west")
    hub.takes(order("A", ("pen", 9)))
    hub.releases("A")
    waybills = []
    for fulfilment in hub.fulfilments("A"):
        line = hub.row(t.fulfilment_lines, fulfilment_id=fulfilment["id"])
        hub.confirms(fulfilment["ref"], ("pen", line["quantity"]))
        waybills.append(fulfilment["waybill"])
    at_once(*(lambda w=w: hub.tracks((w, "delivered", 60)) for w in waybills))
    assert hub.order("A")["state"] == "delivered"


def test_one_parcels_facts_in_many_transactions_at_once_end_delivered(hub: World) -> None:
    hub.counts("pen", 1)
    hub.takes(order("A", ("pen", 1)))
    hub.confirms(hub.releases("A"), ("pen", 1))
    waybill = hub.fulfilments("A")[0]["waybill"]
    facts = [("picked_up", 1), ("in_transit", 2), ("out_for_delivery", 3), ("delivered", 4)] * 2
    at_once(*(lambda name=name, at=at: hub.tracks((waybill, name, at)) for name, at in facts))
    assert hub.row(t.parcels, waybill=waybill)["milestone"] == "delivered"
    assert hub.rows(select(func.count().label("n")).select_from(t.tracking_facts))[0]["n"] == 4
    assert (hub.events("parcel.delivered"), hub.order("A")["state"]) == (1, "delivered")


def test_a_level_told_while_its_doubt_is_judged_stands(hub: World, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = hub.row(t.listings, connection_id=hub.tmall, ref="pen")["id"]
    said = publish_stock.Said((), {str(listing): 160}, {str(listing): 0}, {}, True)
    doubt = {"listing_id": listing, "told": 0, "seen_base": 0, "doubt": True}
    racer = threading.Thread(target=lambda: hub.store.write(lambda tx: note_told.told(tx, said)))

    def doubted(tx: Transaction) -> None:
        tx.add(t.shelves, [{**doubt, "shown": 0, "shown_at": tx.now, "told_at": tx.now}])
        cursor = {"connection_id": hub.tmall, "ability": "fetch_orders", "value": {}, "due_at": tx.now}
        tx.add(t.cursors, [{**cursor, "read_until": tx.now + timedelta(seconds=1)}])

    def told_meanwhile(tx: Transaction, row: object, margin_s: float) -> bool:
        racer.start()
        racer.join(1)
        return False

    monkeypatch.setattr(note_told, "_moved_since", told_meanwhile)
    hub.store.write(doubted)
    assert hub.store.write(lambda tx: note_told.judge(tx, 5)) == 1
    racer.join(30)
    with hub.store.read() as tx:
        shelf = one(tx, t.shelves, listing_id=listing)
    assert shelf is not None
    assert (shelf["told"], shelf["doubt"]) == (160, True)


def sweep(hub: World, ref: str, wanted: int) -> Change:
    """A listing of tmall that shows ten, and shall show something else."""
    listing = hub.row(t.listings, connection_id=hub.tmall, ref=ref)["id"]
    return Change(listing, Unit(hub.tmall, ref), wanted, 10)


def held(hub: World) -> int:
    return len(hub.rows(select(t.held_levels)))


def test_what_rose_in_a_transaction_that_began_later_is_no_sweep_of_ours(hub: World) -> None:
    pen, ink, stop = sweep(hub, "pen", 20), sweep(hub, "ink", 20), Stop(10, 2, 60)

    def judges_later(tx: Transaction) -> list[Change]:
        assert tx.now, "its time stands before the other's begins"
        at_once(lambda: hub.store.write(lambda other: let_pass(other, [pen.listing_id], [pen], stop)))
        return let_pass(tx, [ink.listing_id], [ink], stop)

    assert hub.store.write(judges_later) == [ink]
    assert held(hub) == 0


def test_one_sweep_judged_by_two_at_once_is_not_counted_twice(hub: World) -> None:
    pen, stop, passed = sweep(hub, "pen", 0), Stop(10, 2, 60), []

    def judges(tx: Transaction) -> None:
        passed.extend(let_pass(tx, [pen.listing_id], [pen], stop))

    racer = threading.Thread(target=lambda: hub.store.write(judges))

    def judges_first(tx: Transaction) -> None:
        judges(tx)
        racer.start()
        racer.join(1)
        assert racer.is_alive()

    hub.store.write(judges_first)
    racer.join(30)
    assert (passed, held(hub)) == ([pen, pen], 0)


def test_of_two_that_wait_for_each_other_both_are_done(hub: World) -> None:
    met = threading.Barrier(2)
    tries: list[str] = []

    def moves(first: int, second: int, name: str) -> None:
        def work(tx: Transaction) -> None:
            tries.append(name)
            tx.set(t.warehouses, first, name=name)
            if len(tries) <= 2:
                met.wait(10)
            tx.set(t.warehouses, second, name=name)

        hub.store.write(work)

    at_once(lambda: moves(hub.east, hub.west, "a"), lambda: moves(hub.west, hub.east, "b"))
    assert 3 <= len(tries) <= 5
    assert hub.row(t.warehouses, id=hub.east)["name"] == hub.row(t.warehouses, id=hub.west)["name"]
