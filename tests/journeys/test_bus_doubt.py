"""Calls whose outcome nobody knows: looked for by business key, and said again once only if they never arrived."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core.store import outbox
from sandbox.twin import CALL_FAULTS, Answer
from tests.towns import DiesAfter, DiesBefore, Town, town


@dataclass(frozen=True)
class Write:
    """One call of one ability that must not be repeated blindly. nth: which of the ability's calls; of: how many.

    probe: what the twin calls the question whether it has arrived; asked: how often it is asked anyway, before the
    calls that need to look first; asks: how often before this very call.
    """

    at: str
    ability: str
    probe: str
    nth: int = 1
    of: int = 1
    asked: int = 0
    asks: int = 0

    def __str__(self) -> str:
        return f"{self.at}-{self.ability}-{self.nth}"


WRITES = [
    Write("wms", "send_asn", "probe"),
    Write("courier", "send_booking", "probe"),
    Write("wms", "send_delivery_order", "probe"),
    Write("tmall", "send_shipment", "fetch_one"),
    Write("vendure", "send_shipment", "probe", 1, of=2),
    Write("vendure", "send_shipment", "probe", 2, of=2),
    Write("erp", "send_sale", "probe", 1, of=3, asked=2),
    Write("erp", "send_sale", "probe", 3, of=3, asked=2, asks=1),
]
CANCELLATIONS = [
    Write("wms", "send_cancellation", "probe"),
    Write("vendure", "send_cancellation", "probe", asked=1, asks=1),
]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Town]:
    """Both shops, an ERP, and nothing in doubt."""
    with town(tmp_path, "tmall", "vendure", "erp") as it:
        yield it


def play(place: Town, write: Write) -> str:
    """Everything that leads to this write and beyond; the order's ref."""
    if write.ability == "send_asn":
        place.twins["wms"].hold()
    place.stocks(pen=10)
    place.twins["wms"].go()
    place.finish()
    shop, listing = ("vendure", "1") if write.at == "vendure" else ("tmall", "11")
    ref = place.buys(shop, (listing, 2))
    place.live(11)
    place.finish()
    return ref


def counted(place: Town, write: Write) -> tuple[int, int]:
    """How often it was looked for, and how often it was said."""
    calls = place.faults[write.at].calls
    return calls[write.probe], calls[write.ability]


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
    assert counted(place, write) == (write.asked + write.asks + 2, write.of + 1)
    assert place.intent(write.ability)["state"] == "done"


@pytest.mark.parametrize("write", WRITES, ids=str)
def test_write_whose_answer_was_lost_is_found_and_not_said_again(place: Town, write: Write) -> None:
    place.faults[write.at].aim(write.ability, "timeout_after", write.nth)
    made_once(place, play(place, write))
    assert counted(place, write) == (write.asked + 1, write.of)
    assert place.intent(write.ability)["state"] == "done"


@pytest.mark.parametrize("write", [WRITES[2], WRITES[4]], ids=str)
def test_write_whose_answer_was_cut_short_is_found_and_not_said_again(place: Town, write: Write) -> None:
    place.faults[write.at].aim(write.ability, "truncated", write.nth)
    made_once(place, play(place, write))
    assert counted(place, write) == (write.asked + 1, write.of)


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
    place.live(11)
    place.finish()
    return ref


@pytest.mark.parametrize("write", CANCELLATIONS, ids=str)
@pytest.mark.parametrize("fault", ["timeout_before", "timeout_after"])
def test_cancellation_in_doubt_is_settled_by_looking(place: Town, write: Write, fault: str) -> None:
    probes, calls = (2 + write.asks, 2) if fault == "timeout_before" else (1, 1)
    place.faults[write.at].aim(write.ability, fault)
    ref = call_off(place, write)
    assert counted(place, write) == (write.asked + probes, calls)
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
    place.clock.now = settles_at - timedelta(seconds=1)
    place.turn()
    assert place.faults["wms"].calls["probe"] == 0
    place.clock.wait(1)
    place.turn()
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
    place.finish()
    place.live(11)
    place.finish()
    made_once(place, next(iter(place.books("tmall")["orders"])))
    at = "courier" if ability == "send_booking" else "wms"
    assert (place.faults[at].calls["probe"], place.faults[at].calls[ability]) == (2, 1)


@pytest.mark.parametrize("ability", ["send_booking", "send_delivery_order"])
def test_process_killed_before_it_wrote_the_outcome_down_leaves_a_doubt_that_is_settled_by_looking(
    place: Town, ability: str
) -> None:
    claim_and_die(place, ability, DiesAfter())
    place.finish()
    place.live(11)
    place.finish()
    made_once(place, next(iter(place.books("tmall")["orders"])))
    at = "courier" if ability == "send_booking" else "wms"
    assert (place.faults[at].calls["probe"], place.faults[at].calls[ability]) == (1, 1)


@pytest.mark.parametrize(
    ("shop", "fault"),
    [*(("tmall", fault) for fault in CALL_FAULTS), ("vendure", "timeout_after"), ("vendure", "429")],
)
def test_shop_shows_the_right_figure_whatever_became_of_one_write_of_it(place: Town, shop: str, fault: str) -> None:
    place.stocks(pen=10)
    place.faults[shop].aim("send_stock", fault)
    place.world.counts("pen", 7)
    place.finish()
    place.live(20)
    listing = "11" if shop == "tmall" else "1"
    assert place.faults[shop].bitten[f"{fault}/send_stock"] == 1
    assert place.books(shop)["stock"][listing] == 17


def test_resends_end_with_a_person_when_the_call_never_arrives(place: Town) -> None:
    place.stocks(pen=10)
    place.faults["courier"].set(plan=["timeout_before"], hang_s=0.0)
    place.faults["courier"]._choose = lambda ability, writes: "timeout_before" if writes else ""  # type: ignore[method-assign]
    ref = place.buys("tmall", ("11", 2))
    place.live(6)
    place.finish()
    row = place.intent("send_booking")
    assert (row["state"], row["fix"]) == ("parked", "probe")
    assert place.faults["courier"].calls["send_booking"] == 9
    del place.faults["courier"]._choose
    assert place.store.write(lambda tx: outbox.unpark(tx, row["id"]))
    place.finish()
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
    place.finish()
    made_once(place, ref)
    assert (place.faults["wms"].calls["send_delivery_order"], place.faults["wms"].calls["probe"]) == (2, 0)


def test_order_called_off_while_its_delivery_order_is_in_doubt_is_looked_for_before_it_is_called_back(
    place: Town,
) -> None:
    place.stocks(pen=10)
    place.faults["wms"].aim("send_delivery_order", "timeout_before")
    ref = place.buys("vendure", ("1", 2))
    place.live(11)
    assert place.intent("send_delivery_order")["state"] == "in_doubt"
    place.twins["vendure"].control("cancel_line", {"ref": ref, "line": "1", "quantity": 2})
    place.live(11)
    place.finish()
    assert (place.state(ref), place.world.cell(place.world.pen)) == ("cancelled", {"free": 10})
    assert place.books("wms")["stock"] == {"EAST|ALPHA|pen|ZP": 10}
    assert place.world.audit() == []


@pytest.mark.parametrize(
    ("shop", "second"), [("tmall", "429"), ("tmall", "timeout_before"), ("tmall", "timeout_after"), ("vendure", "429")]
)
def test_level_that_may_have_arrived_is_not_added_twice_when_its_repeat_fails_too(
    place: Town, shop: str, second: str
) -> None:
    place.stocks(pen=10)
    place.faults[shop].aim("send_stock", "timeout_after")
    place.world.counts("pen", 7)
    place.turn()
    place.turn()
    assert place.faults[shop].bitten["timeout_after/send_stock"] == 1
    place.faults[shop].aim("send_stock", second)
    place.finish()
    place.live(20)
    assert place.faults[shop].bitten.total() == 2
    assert place.books(shop)["stock"]["11" if shop == "tmall" else "1"] == 17
