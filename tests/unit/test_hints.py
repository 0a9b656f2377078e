"""Hints: never in anyone's way, coalesced, and harmless whatever they say."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.store import tables as t
from core.store.store import Store, Transaction
from tests.worlds import store
from workers.hints import LANES, Hints, celery_app, publisher

NOWHERE = "amqp://guest:guest@127.0.0.1:1//"
AT_ONCE_S = 0.05


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Store]:
    """A store with nothing in it."""
    with store(tmp_path) as it:
        yield it


class Heard:
    """What was published, and a gate that holds it up."""

    def __init__(self) -> None:
        self.lanes: list[str] = []
        self.gate = threading.Event()
        self.begun = threading.Event()
        self.told = threading.Condition()

    def publish(self, lane: str) -> None:
        """Note one lane, once the gate is open."""
        self.begun.set()
        self.gate.wait(10)
        with self.told:
            self.lanes.append(lane)
            self.told.notify_all()

    def until(self, n: int) -> list[str]:
        """The lanes, once there are so many."""
        with self.told:
            assert self.told.wait_for(lambda: len(self.lanes) >= n, 10)
        return self.lanes


@pytest.fixture
def heard() -> Heard:
    """An ear with its gate shut."""
    return Heard()


def leaves_work(tx: Transaction) -> None:
    """A change that leaves work on the stock lane."""
    tx.add(t.marks, [{"id": tx.ids.new(), "item_id": None, "listing_id": None}])
    tx.lanes.add("stock")


def test_write_returns_at_once_though_no_broker_answers(hub: Store, tmp_path: Path) -> None:
    hints = Hints(publisher(celery_app(NOWHERE, tmp_path, "t."), "t."))
    hub.woken = hints.wake
    hub.write(lambda tx: None)
    started = time.perf_counter()
    hub.woken({"stock"})
    assert time.perf_counter() - started < AT_ONCE_S
    hub.write(leaves_work)
    hints.stop()
    with hub.read() as tx:
        assert len(tx.rows(t.marks.select())) == 1


def test_waker_is_not_held_up_by_a_broker_that_hangs(heard: Heard) -> None:
    hints = Hints(heard.publish)
    hints.wake({"orders"})
    assert heard.begun.wait(10)
    started = time.perf_counter()
    for _ in range(1000):
        hints.wake({"stock"})
    assert time.perf_counter() - started < AT_ONCE_S
    heard.gate.set()
    hints.stop()


def test_lane_hinted_a_thousand_times_while_one_is_on_its_way_is_sent_once_more(heard: Heard) -> None:
    hints = Hints(heard.publish)
    hints.wake({"stock"})
    assert heard.begun.wait(10)
    for _ in range(1000):
        hints.wake({"stock"})
    hints.wake({"orders"})
    heard.gate.set()
    assert heard.until(3) == ["stock", "orders", "stock"]
    hints.stop()


def test_hint_that_cannot_be_sent_is_dropped_and_the_next_one_goes_out(heard: Heard) -> None:
    heard.gate.set()
    refused = ["orders"]

    def publish(lane: str) -> None:
        if lane in refused:
            refused.clear()
            raise ConnectionRefusedError
        heard.publish(lane)

    hints = Hints(publish)
    hints.wake({"orders"})
    hints.wake({"stock"})
    assert heard.until(1) == ["stock"]
    hints.stop()


def test_nothing_is_hinted_by_a_write_that_leaves_no_work_or_fails(hub: Store) -> None:
    woken: list[set[str]] = []
    hub.woken = woken.append
    hub.write(lambda tx: None)

    def fails(tx: Transaction) -> None:
        leaves_work(tx)
        raise ValueError("not this time")

    with pytest.raises(ValueError, match="not this time"):
        hub.write(fails)
    hub.write(leaves_work)
    assert woken == [{"stock"}]


def test_celery_takes_json_only_and_keeps_no_results(tmp_path: Path) -> None:
    app = celery_app("filesystem", tmp_path, "t.")
    assert (app.conf.accept_content, app.conf.task_serializer, app.conf.task_ignore_result) == (["json"], "json", True)


def test_embedded_hint_lies_in_the_folder_of_its_hub(tmp_path: Path) -> None:
    publisher(celery_app("filesystem", tmp_path / "hints", "t."), "t.")("stock")
    [message] = (tmp_path / "hints" / "in").iterdir()
    assert message.name.endswith("t.stock.msg")


def test_every_kind_of_work_has_a_lane() -> None:
    assert set(LANES) == {"stock", "orders", "fulfilment", "tracking", "slow"}
