"""The outbox: leases and tokens, what follows what, what blocks whom, and what nobody knows for sure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from core.errors import InDoubt, Refused, Throttled
from core.store import outbox
from core.store import tables as t
from core.store.outbox import Intent
from tests.worlds import Clock, World, store, world

Row = Mapping[str, Any]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        yield world(it, clock)


def want(hub: World, subject: str, key: str = "", ability: str = "send_delivery_order", at: int = 0) -> int:
    intent = Intent(at or hub.wms, ability, "fulfilment", key or subject, subject, {"n": 1})
    return hub.store.write(lambda tx: outbox.add(tx, [intent]))[0]


def claim(hub: World, limit: int = 10, lease_s: float = 60, **more: Any) -> list[Row]:
    return hub.store.write(lambda tx: outbox.claim(tx, "fulfilment", limit, lease_s, **more))


def subjects(rows: list[Row]) -> list[str]:
    return [row["subject"] for row in rows]


def state(hub: World, ident: int) -> str:
    return str(hub.row(t.outbox, id=ident)["state"])


def wait(hub: World, seconds: float) -> None:
    assert hub.clock is not None
    hub.clock.wait(seconds)


def test_an_intent_is_leased_to_one_and_done_once(hub: World) -> None:
    ident = want(hub, "a")
    (row,) = claim(hub)
    assert claim(hub) == []
    assert state(hub, ident) == "sending"
    assert hub.store.write(lambda tx: outbox.done(tx, row, "theirs")) is True
    assert (state(hub, ident), hub.row(t.outbox, id=ident)["their_ref"]) == ("done", "theirs")
    assert hub.store.write(lambda tx: outbox.done(tx, row)) is False


def test_the_same_intent_is_remembered_once_whatever_became_of_it(hub: World) -> None:
    want(hub, "a")
    (row,) = claim(hub)
    hub.store.write(lambda tx: outbox.done(tx, row))
    again = Intent(hub.wms, "send_delivery_order", "fulfilment", "a", "a", {})
    assert hub.store.write(lambda tx: outbox.add(tx, [again])) == []
    assert claim(hub) == []


def test_an_expired_lease_of_what_may_be_repeated_waits_again(hub: World) -> None:
    ident = want(hub, "a", ability="send_stock", at=hub.tmall)
    (row,) = claim(hub)
    assert hub.store.write(outbox.expire) == 0
    wait(hub, 61)
    assert hub.store.write(outbox.expire) == 1
    assert state(hub, ident) == "waiting"
    assert hub.store.write(lambda tx: outbox.done(tx, row)) is False
    (second,) = claim(hub)
    assert second["token"] != row["token"]
    assert hub.store.write(lambda tx: outbox.done(tx, second)) is True


def test_an_expired_lease_of_what_may_not_be_repeated_is_in_doubt_until_it_was_probed(hub: World) -> None:
    ident = want(hub, "a")
    (row,) = claim(hub)
    wait(hub, 61)
    hub.store.write(outbox.expire)
    assert state(hub, ident) == "in_doubt"
    assert claim(hub) == []
    wait(hub, 31)
    (probe,) = claim(hub)
    assert probe["state"] == "in_doubt"
    assert hub.store.write(lambda tx: outbox.done(tx, row)) is False
    assert hub.store.write(lambda tx: outbox.done(tx, probe)) is True


def test_a_probe_whose_lease_ran_out_is_taken_up_by_another(hub: World) -> None:
    want(hub, "a")
    (row,) = claim(hub)
    hub.store.write(lambda tx: outbox.doubt(tx, row, 5, InDoubt("no answer")))
    wait(hub, 6)
    (first,) = claim(hub)
    assert claim(hub) == []
    wait(hub, 61)
    (second,) = claim(hub)
    assert first["token"] != second["token"]


def test_what_waits_for_its_time_is_not_claimed_before(hub: World) -> None:
    ident = want(hub, "a")
    (row,) = claim(hub)
    hub.store.write(lambda tx: outbox.again(tx, row, 30, Throttled("slow down")))
    assert claim(hub) == []
    wait(hub, 31)
    assert subjects(claim(hub)) == ["a"]
    assert hub.row(t.outbox, id=ident)["attempts"] == 2


def test_intents_of_one_key_go_one_after_the_other_and_other_keys_dont_wait(hub: World) -> None:
    want(hub, "a1", key="a")
    want(hub, "a2", key="a")
    want(hub, "b1", key="b")
    rows = claim(hub)
    assert subjects(rows) == ["a1", "b1"]
    assert claim(hub) == []
    hub.store.write(lambda tx: outbox.done(tx, rows[0]))
    assert subjects(claim(hub)) == ["a2"]


@pytest.mark.parametrize("halt", ["parked", "in_doubt", "later"])
def test_what_does_not_get_on_blocks_its_own_key_alone(hub: World, halt: str) -> None:
    want(hub, "a1", key="a")
    want(hub, "a2", key="a")
    want(hub, "a1", key="a", at=hub.courier)
    rows = claim(hub, limit=1)
    finish = {
        "parked": lambda tx: outbox.park(tx, rows[0], Refused("no")),
        "in_doubt": lambda tx: outbox.doubt(tx, rows[0], 60, InDoubt("?")),
        "later": lambda tx: outbox.again(tx, rows[0], 60, Throttled("later")),
    }
    hub.store.write(finish[halt])
    assert [row["connection_id"] for row in claim(hub)] == [hub.courier]


def test_a_person_sends_what_was_parked_again(hub: World) -> None:
    ident = want(hub, "a")
    (row,) = claim(hub)
    hub.store.write(lambda tx: outbox.park(tx, row, Refused("they said no")))
    parked = hub.row(t.outbox, id=ident)
    assert (parked["problem"], parked["reason"], parked["fix"]) == ("Refused", "they said no", "retry")
    assert hub.store.write(lambda tx: outbox.unpark(tx, ident)) is True
    assert hub.store.write(lambda tx: outbox.unpark(tx, ident)) is False
    assert subjects(claim(hub)) == ["a"]


def test_what_is_no_longer_wanted_lets_its_key_go_on(hub: World) -> None:
    want(hub, "a1", key="a")
    want(hub, "a2", key="a")
    (row,) = claim(hub)
    hub.store.write(lambda tx: outbox.moot(tx, row, "the order was called off"))
    assert subjects(claim(hub)) == ["a2"]


def test_only_what_certainly_never_arrived_can_be_withdrawn(hub: World) -> None:
    def withdraw(subject: str) -> bool:
        return hub.store.write(lambda tx: outbox.withdraw(tx, hub.wms, "send_delivery_order", subject, "off"))

    for subject in ("never sent", "sending", "in doubt", "throttled", "refused", "refused after a resend", "done"):
        want(hub, subject)
    rows = {row["subject"]: row for row in claim(hub) if row["subject"] != "never sent"}
    ident = hub.row(t.outbox, subject="never sent")["id"]
    hub.store.write(lambda tx: tx.set(t.outbox, ident, state="waiting", token=None, lease_until=None, attempts=0))
    hub.store.write(lambda tx: outbox.doubt(tx, rows["in doubt"], 0, InDoubt("?")))
    hub.store.write(lambda tx: outbox.again(tx, rows["throttled"], 0, Throttled("later")))
    hub.store.write(lambda tx: outbox.park(tx, rows["refused"], Refused("no")))
    hub.store.write(lambda tx: outbox.note(tx, rows["refused after a resend"], resends=1))
    hub.store.write(lambda tx: outbox.park(tx, rows["refused after a resend"], Refused("it is there already")))
    hub.store.write(lambda tx: outbox.done(tx, rows["done"]))
    subjects = [*rows, "never sent", "never heard of"]
    assert {s for s in subjects if withdraw(s)} == {"never sent", "throttled", "refused"}


def test_connections_that_are_busy_are_left_alone(hub: World) -> None:
    want(hub, "a")
    want(hub, "b", at=hub.courier)
    assert subjects(claim(hub, busy=[hub.wms])) == ["b"]


@pytest.mark.parametrize(("first", "second"), [("send_stock", "send_shipment"), ("send_shipment", "send_stock")])
def test_a_level_and_a_shipment_never_cross_at_an_on_hand_shop(hub: World, first: str, second: str) -> None:
    want(hub, "one", ability=first, at=hub.vendure)
    want(hub, "two", ability=second, at=hub.vendure)
    (row,) = claim(hub)
    assert row["subject"] == "one"
    assert claim(hub) == []
    hub.store.write(lambda tx: outbox.doubt(tx, row, 0, InDoubt("?")))
    (probe,) = claim(hub)
    assert probe["subject"] == "one"
    hub.store.write(lambda tx: outbox.done(tx, probe))
    assert subjects(claim(hub)) == ["two"]


def test_a_shipment_half_done_holds_the_levels_of_its_shop_up(hub: World) -> None:
    want(hub, "shipment", ability="send_shipment", at=hub.vendure)
    (row,) = claim(hub)
    want(hub, "level", ability="send_stock", at=hub.vendure)
    hub.store.write(lambda tx: outbox.again(tx, row, 30, Throttled("later"), reached={"add": "1"}))
    assert claim(hub) == []
    wait(hub, 31)
    assert subjects(claim(hub)) == ["shipment"]


def test_at_a_shop_that_counts_what_is_saleable_they_go_side_by_side(hub: World) -> None:
    want(hub, "level", ability="send_stock", at=hub.tmall)
    want(hub, "shipment", ability="send_shipment", at=hub.tmall)
    assert subjects(claim(hub)) == ["level", "shipment"]


def test_two_claims_of_one_lane_share_the_work(hub: World) -> None:
    for n in range(6):
        want(hub, str(n))
    taken = [subjects(claim(hub, limit=4)) for _ in range(2)]
    assert taken == [["0", "1", "2", "3"], ["4", "5"]]
    assert {r["attempts"] for r in hub.rows(select(t.outbox.c.attempts))} == {1}
