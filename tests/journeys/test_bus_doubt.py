"""Calls whose outcome nobody knows: looked for by business key, and said again once only if they never arrived."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sandbox.twin import Answer
from tests.towns import DiesAfter, DiesBefore, Town, town


@dataclass(frozen=True)
class Write:
    """One call of one ability that must not be repeated blindly. nth: which of the ability's calls; of: how many there are.

    probe: what the twin calls the question whether it has arrived.
    """

    at: str
    ability: str
    probe: str
    nth: int = 1
    of: int = 1

    def __str__(self) -> str:
        return f"{self.at}-{self.ability}-{self.nth}"


WRITES = [
    Write("wms", "send_asn", "probe"),
    Write("courier", "send_booking", "probe"),
    Write("wms", "send_delivery_order", "probe"),
    Write("tmall", "send_shipment", "fetch_one"),
    Write("vendure", "send_shipment", "probe", 1, of=2),
    Write("vendure", "send_shipment", "probe", 2, of=2),
    Write("erp", "send_sale", "probe", 1, of=3),
    Write("erp", "send_sale", "probe", 2, of=3),
    Write("erp", "send_sale", "probe", 3, of=3),
]
CANCELLATIONS = [Write("wms", "send_cancellation", "probe"), Write("vendure", "send_cancellation", "probe")]
LONG_S = 150


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Town]:
    """Both shops, an ERP, and nothing in doubt."""
    with town(tmp_path, "tmall", "vendure", "erp") as it:
        yield it


def play(place: Town, write: Write) -> str:
    """Everything that leads to this write and beyond; the order's ref."""
    place.stocks(pen=10)
    place.live(LONG_S)
    shop, listing = ("vendure", "1") if write.at == "vendure" else ("tmall", "11")
    ref = place.buys(shop, (listing, 2))
    place.live(LONG_S)
    return ref


def made_once(place: Town, ref: str) -> None:
    """Whatever happened on the way, there is one of everything, and it is the right one."""
    [fulfilment] = place.world.fulfilments(ref)
    shop = "tmall" if ref.isdigit() else "vendure"
    assert place.state(ref) == "shipped"
    assert [s["waybill"] for s in place.books(shop)["orders"][ref]["shipments"]] == [fulfilment["waybill"]]
    assert (place.books(shop)["fulfilments_doubled"], place.books("erp")["sales_doubled"]) == (0, 0)
    assert [o["times_created"] for o in place.books("courier")["orders"].values()] == [1]
    assert [d["times_created"] for d in place.books("wms")["deliveries"].values()] == [1]
    assert [r["times_created"] for r in place.books("wms")["receipts"].values()] == [1]
    assert place.books("wms")["stock"] == {"EAST|ALPHA|pen|ZP": 8}
    assert place.world.audit() == []


@pytest.mark.parametrize("write", WRITES, ids=str)
def test_write_that_never_arrived_is_looked_for_twice_and_said_once_more(place: Town, write: Write) -> None:
    place.faults[write.at].aim(write.ability, "timeout_before", write.nth)
    made_once(place, play(place, write))
    assert (place.faults[write.at].calls[write.probe], place.faults[write.at].calls[write.ability]) == (2, write.of + 1)
    assert place.intent(write.ability)["state"] == "done"


@pytest.mark.parametrize("write", WRITES, ids=str)
def test_write_whose_answer_was_lost_is_found_and_not_said_again(place: Town, write: Write) -> None:
    place.faults[write.at].aim(write.ability, "timeout_after", write.nth)
    made_once(place, play(place, write))
    assert (place.faults[write.at].calls[write.probe], place.faults[write.at].calls[write.ability]) == (1, write.of)
    assert place.intent(write.ability)["state"] == "done"


@pytest.mark.parametrize("write", WRITES, ids=str)
def test_write_whose_answer_was_cut_short_is_found_and_not_said_again(place: Town, write: Write) -> None:
    place.faults[write.at].aim(write.ability, "truncated", write.nth)
    made_once(place, play(place, write))
    assert (place.faults[write.at].calls[write.probe], place.faults[write.at].calls[write.ability]) == (1, write.of)


def call_off(place: Town, write: Write) -> str:
    """An order that a warehouse (or a shop) shall be asked to forget."""
    if write.at == "vendure":
        place.stocks(pen=1)
        ref = place.buys("vendure", ("1", 2))
    else:
        place.stocks(pen=2)
        place.twins["wms"].hold()
        ref = place.buys("vendure", ("1", 2))
        place.live(15)
        place.twins["vendure"].control("cancel_line", {"ref": ref, "line": "1", "quantity": 2})
    place.live(LONG_S)
    return ref


@pytest.mark.parametrize("write", CANCELLATIONS, ids=str)
@pytest.mark.parametrize(("fault", "probes", "calls"), [("timeout_before", 2, 2), ("timeout_after", 1, 1)])
def test_cancellation_in_doubt_is_settled_by_looking(
    place: Town, write: Write, fault: str, probes: int, calls: int
) -> None:
    place.faults[write.at].aim(write.ability, fault)
    ref = call_off(place, write)
    assert (place.faults[write.at].calls[write.probe], place.faults[write.at].calls[write.ability]) == (probes, calls)
    assert place.state(ref) == "cancelled"
    assert set(place.world.cell(place.world.pen)) == {"free"}
    assert place.world.audit() == []


def test_nobody_looks_before_the_other_side_had_time_to_settle(place: Town) -> None:
    place.stocks(pen=10)
    place.faults["wms"].aim("send_delivery_order", "timeout_after")
    place.buys("tmall", ("11", 2))
    place.live(6)
    row = place.intent("send_delivery_order")
    assert (row["state"], row["problem"]) == ("in_doubt", "InDoubt")
    settles_at = row["due_at"]
    while place.clock.now < settles_at:
        place.live(1)
        assert place.faults["wms"].calls["probe"] == (1 if place.clock.now > settles_at else 0)
    place.live(2)
    assert place.faults["wms"].calls["probe"] == 1


def claim_and_die(place: Town, ability: str, pool: Any) -> None:
    """The order is bought, and the process that takes up this intent is killed over it."""
    lane = "fulfilment"
    place.stocks(pen=10)
    place.withheld = {lane}
    place.buys("tmall", ("11", 2))
    place.live(8)
    living, place.pool = place.pool, pool
    while not _sending(place, ability):
        place.pool = pool if place.world.intents(ability) else living
        place.withheld = set()
        place.turn()
    place.pool = living


def _sending(place: Town, ability: str) -> bool:
    return "sending" in place.world.intents(ability)


@pytest.mark.parametrize("ability", ["send_booking", "send_delivery_order"])
def test_process_killed_before_the_first_byte_leaves_a_doubt_that_ends_in_one_send(place: Town, ability: str) -> None:
    claim_and_die(place, ability, DiesBefore())
    place.live(LONG_S)
    made_once(place, next(iter(place.books("tmall")["orders"])))
    at = "courier" if ability == "send_booking" else "wms"
    assert (place.faults[at].calls["probe"], place.faults[at].calls[ability]) == (2, 1)


@pytest.mark.parametrize("ability", ["send_booking", "send_delivery_order"])
def test_process_killed_before_it_wrote_the_outcome_down_leaves_a_doubt_that_is_settled_by_looking(
    place: Town, ability: str
) -> None:
    claim_and_die(place, ability, DiesAfter(place.hub))
    place.live(LONG_S)
    made_once(place, next(iter(place.books("tmall")["orders"])))
    at = "courier" if ability == "send_booking" else "wms"
    assert (place.faults[at].calls["probe"], place.faults[at].calls[ability]) == (1, 1)


@pytest.mark.parametrize("fault", ["timeout_before", "timeout_after", "truncated", "5xx", "429"])
@pytest.mark.parametrize("shop", ["tmall", "vendure"])
def test_shop_shows_the_right_figure_whatever_became_of_one_write_of_it(place: Town, shop: str, fault: str) -> None:
    place.stocks(pen=10)
    place.live(30)
    place.faults[shop].aim("send_stock", fault)
    place.world.counts("pen", 7)
    place.store.write(lambda tx: None)
    place.live(60)
    listing = "11" if shop == "tmall" else "1"
    assert place.faults[shop].bitten[f"{fault}/send_stock"] == 1
    assert place.books(shop)["stock"][listing] == 17


def test_resends_end_with_a_person_when_the_call_never_arrives(place: Town) -> None:
    place.stocks(pen=10)
    place.faults["courier"].set(plan=["timeout_before"], hang_s=0.0)
    place.faults["courier"]._choose = lambda ability, writes: "timeout_before" if writes else ""  # type: ignore[method-assign]
    ref = place.buys("tmall", ("11", 2))
    place.live(200)
    row = place.intent("send_booking")
    assert (row["state"], row["fix"]) == ("parked", "probe")
    assert place.faults["courier"].calls["send_booking"] == 9
    del place.faults["courier"]._choose
    from core.store import outbox

    assert place.store.write(lambda tx: outbox.unpark(tx, row["id"]))
    place.live(60)
    made_once(place, ref)


def test_answer_in_the_systems_own_words_that_it_was_too_fast_is_no_doubt(place: Town) -> None:
    place.stocks(pen=10)
    place.twins["wms"].throttled = lambda call: Answer("slow down", 429, headers={"Retry-After": "40"})
    place.faults["wms"].aim("send_delivery_order", "429")
    ref = place.buys("tmall", ("11", 2))
    place.live(8)
    row = place.intent("send_delivery_order")
    assert (row["state"], row["problem"]) == ("waiting", "Throttled")
    assert 31 <= (row["due_at"] - place.clock.now).total_seconds() <= 40
    place.live(60)
    made_once(place, ref)
    assert (place.faults["wms"].calls["send_delivery_order"], place.faults["wms"].calls["probe"]) == (2, 0)
