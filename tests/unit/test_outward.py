"""Outward: how long a row waits, what moves with it, and whose outcome counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from core.errors import Throttled, Unavailable
from core.flow import publish_stock
from core.model import Shipment
from core.store import outbox
from core.store import tables as t
from core.store.outbox import Intent
from hub import outward
from tests.towns import LISTINGS, Town, town


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Town]:
    """A town with one shop."""
    with town(tmp_path, "tmall") as it:
        yield it


def waits(place: Town, attempts: int, error: Unavailable | Throttled) -> float:
    """Seconds after so many attempts."""
    return outward._wait_s(place.hub, {"attempts": attempts}, error)


def test_row_waits_longer_after_each_attempt_but_not_for_ever(place: Town) -> None:
    away = Unavailable("away")
    assert [waits(place, n, away) for n in (1, 2, 3, 6, 20)] == [5.0, 10.0, 20.0, 160.0, 160.0]


def test_row_waits_as_long_as_it_was_asked_to(place: Town) -> None:
    assert waits(place, 4, Throttled("slow down", retry_after_s=40)) == 40


def add(place: Town, ability: str, key: str, payload: dict[str, int], at: str = "wms") -> int:
    """One intent; its id."""
    lane = "stock" if ability == "send_stock" else "fulfilment"
    intent = Intent(getattr(place.world, at), ability, lane, key, f"{ability}-{key}", payload)
    [ident] = place.store.write(lambda tx: outbox.add(tx, [intent]))
    return int(ident)


def test_what_is_no_longer_there_is_not_said(place: Town) -> None:
    ident = add(place, "send_delivery_order", "fulfilment:1", {"fulfilment": 1, "order": 1})
    assert outward.drain(place.hub, "fulfilment", place.pool) == 1
    assert place.world.row(t.outbox, id=ident)["state"] == "moot"
    assert place.faults["wms"].calls["send_delivery_order"] == 0


def test_bug_in_a_connector_parks_its_row_and_spares_the_others(place: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    place.stocks(pen=10)
    client = place.hub.client(place.world.courier)
    books = type(client).send_booking
    stumbled: list[str] = []

    def stumbles(self, batch, step=""):  # type: ignore[no-untyped-def]
        if not stumbled:
            stumbled.append(batch[0].key)
            raise KeyError("a bug")
        return books(self, batch, step)

    monkeypatch.setattr(type(client), "send_booking", stumbles)
    first, second = place.buys("tmall", ("11", 1)), place.buys("tmall", ("11", 1))
    place.live(8)
    rows = place.world.rows(t.outbox.select().where(t.outbox.c.ability == "send_booking"))
    assert sorted(row["state"] for row in rows) == ["done", "parked"]
    [parked] = [row for row in rows if row["state"] == "parked"]
    assert (parked["problem"], parked["token"], parked["lease_until"]) == ("Broken", None, None)
    assert sorted([place.state(first), place.state(second)]) == ["released", "shipped"]


def test_one_row_of_a_key_travels_at_a_time_in_the_order_they_were_wished(place: Town) -> None:
    ids = [add(place, "send_cancellation", "fulfilment:1", {"fulfilment": n, "order": n}) for n in (1,)]
    ids.append(add(place, "send_delivery_order", "fulfilment:1", {"fulfilment": 2, "order": 2}))
    claimed = place.store.write(lambda tx: outbox.claim(tx, "fulfilment", 10, 30))
    assert [row["id"] for row in claimed] == ids[:1]
    assert place.store.write(lambda tx: outbox.claim(tx, "fulfilment", 10, 30)) == []


def test_call_put_back_is_as_if_it_had_never_been_taken_up(place: Town) -> None:
    ident = add(place, "send_cancellation", "fulfilment:1", {"fulfilment": 1, "order": 1})
    before = place.world.row(t.outbox, id=ident)
    [row] = place.store.write(lambda tx: outbox.claim(tx, "fulfilment", 10, 30))
    place.store.write(lambda tx: outbox.note(tx, row, reached={"said": 1}))
    place.store.write(lambda tx: outbox.put_back(tx, row, 0.5))
    after = place.world.row(t.outbox, id=ident)
    assert {**after, "due_at": None} == {**before, "due_at": None}


def test_shipment_nobody_can_phrase_waits_for_a_person_and_holds_nothing_up(
    place: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A warehouse names no waybill: the shop's ability wants one."""
    stuck = add(place, "send_shipment", "order:1", {"fulfilment": 1, "order": 1}, at="tmall")
    moot = add(place, "send_delivery_order", "fulfilment:1", {"fulfilment": 1, "order": 1})
    monkeypatch.setattr(outward, "_shipment", lambda tx, row: Shipment(order_ref="A", carrier="SF", waybill=""))
    outward.drain(place.hub, "fulfilment", place.pool)
    states = {ident: place.world.row(t.outbox, id=ident) for ident in (stuck, moot)}
    assert (states[stuck]["state"], states[stuck]["problem"], states[moot]["state"]) == ("parked", "Unfit", "moot")


@pytest.fixture
def wide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    """A shop with 45 SKUs of one product, all of them the same pen; a call may hold 20. A hundred pens are shown."""
    monkeypatch.setitem(LISTINGS, "tmall", {str(100 + n): "pen" for n in range(45)})
    with town(tmp_path, "tmall") as it:
        it.stocks(pen=100)
        it.live(60)
        assert shown(it) == {100: 45}
        yield it


def shown(place: Town) -> Counter[int]:
    """Figure → SKUs that show it."""
    return Counter(place.books("tmall")["stock"].values())


@pytest.mark.parametrize("fault", ["", "429", "timeout_after"])
def test_one_level_write_is_one_call_under_one_key(wide: Town, fault: str) -> None:
    """Seven more: 20 SKUs are told so by one call, 20 by the next, which may fail first, and 5 by the last."""
    o, before = t.outbox.c, wide.faults["tmall"].calls["send_stock"]
    if fault:
        wide.faults["tmall"].aim("send_stock", fault, 2)
    wide.world.counts("pen", 7)
    wide.finish()
    wide.live(60)
    said = wide.world.rows(select(o.reached).where(o.ability == "send_stock").order_by(o.id.desc()).limit(3))
    assert shown(wide) == {107: 45}
    assert sorted(len(row["reached"]["said"]["levels"]) for row in said) == [5, 20, 20]
    assert wide.faults["tmall"].calls["send_stock"] - before == (4 if fault else 3)


def test_what_moves_meanwhile_joins_the_first_that_waits_and_nothing_waits_twice(wide: Town) -> None:
    """The call of 20 SKUs is on its way, 20 and 5 wait behind it; seven more come, and the first 20 wait again."""
    o = t.outbox.c
    wide.world.counts("pen", 7)
    wide.store.write(publish_stock.take_marks)
    wide.store.write(lambda tx: outward._take(wide.hub, tx, "stock"))
    wide.world.counts("pen", 7)
    wide.store.write(publish_stock.take_marks)
    mine = select(o.state, o.payload).where(o.ability == "send_stock", o.state.in_(outbox.OPEN)).order_by(o.id)
    waits = [(row["state"], len(row["payload"]["listings"])) for row in wide.world.rows(mine)]
    assert waits == [("sending", 20), ("waiting", 40), ("waiting", 5)]
    wide.live(60)
    assert shown(wide) == {114: 45}
