"""What a process remembers of cells is built on unread, and never believed against what they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from core.flow.funnel import Funnel
from core.flow.journeys import decide
from core.flow.reserve_stock import Answer, Command, Release, Subject
from core.store import ledger as ledgers
from core.store.recall import AT_MOST, WARY_S, Recall
from core.store.rows import glance
from tests.services import test_store_postgres
from tests.unit.test_reserve_stock import reserve, states
from tests.worlds import World, opened

STEPS = st.lists(
    st.tuples(
        st.integers(0, 1), st.sampled_from(["reserve", "reserve", "release", "count", "again"]), st.integers(1, 4)
    ),
    max_size=25,
)


hub = test_store_postgres.hub
"""The fixture."""


def recalling(hub: World) -> Recall:
    return Recall(partial(glance, hub.store.db))


def said(hub: World, recall: Recall, *commands: Command) -> list[Answer]:
    """Decided once, on what is remembered."""
    return hub.store.write(partial(decide, commands=commands), True, recall)


@pytest.fixture
def processes(hub: World) -> Iterator[list[Funnel]]:
    """Two, of which neither sees what the other remembers."""
    with ExitStack() as stack:
        other = stack.enter_context(opened(hub.store.db.url, hub.clock))
        made = [Funnel(hub.store), Funnel(other)]
        for funnel in made:
            stack.callback(funnel.close)
        yield made


def never(*asked: Any) -> Any:
    raise AssertionError("this is known")


def test_what_is_remembered_is_not_read_again(hub: World, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.counts("pen", 5)
    recall = recalling(hub)
    said(hub, recall, reserve(hub, "A", (hub.pen, 2)))
    monkeypatch.setattr(ledgers, "look", never)
    recall.glance = never
    assert states(said(hub, recall, reserve(hub, "B", (hub.pen, 2)))) == ["reserved"]
    assert states(said(hub, recall, reserve(hub, "C", (hub.pen, 2)))) == ["OutOfStock"]
    assert hub.cell(hub.pen) == {"free": 1, "reserved": 4}
    assert hub.audit() == []


def test_a_ref_that_was_booked_is_not_told_that_nothing_is_left(hub: World) -> None:
    hub.counts("pen", 5)
    recall = recalling(hub)
    said(hub, recall, reserve(hub, "A", (hub.pen, 4)))
    with pytest.raises(DBAPIError, match="zero"):
        said(hub, recall, reserve(hub, "A", (hub.pen, 4)))


@pytest.mark.parametrize("units", [1, 4], ids=["what would have been backed", "what would have been refused"])
def test_where_a_cell_is_no_longer_so_nothing_is_written(hub: World, units: int) -> None:
    hub.counts("pen", 5)
    recall = recalling(hub)
    said(hub, recall, reserve(hub, "A", (hub.pen, 2)))
    hub.counts("pen", 1)
    with pytest.raises(DBAPIError, match="zero"):
        said(hub, recall, reserve(hub, "B", (hub.pen, units)))
    assert hub.cell(hub.pen) == {"free": 4, "reserved": 2}
    assert hub.audit() == []


def test_a_cell_that_was_not_there_and_is_now_is_noticed(hub: World) -> None:
    hub.counts("pen", 1, "east")
    recall, both = recalling(hub), (hub.east, hub.west)
    assert states(said(hub, recall, reserve(hub, "A", (hub.pen, 2), warehouses=both))) == ["OutOfStock"]
    hub.counts("pen", 1, "west")
    with pytest.raises(DBAPIError, match="zero"):
        said(hub, recall, reserve(hub, "A", (hub.pen, 2), warehouses=both))
    recall.forget()
    assert states(said(hub, recall, reserve(hub, "A", (hub.pen, 2), warehouses=both))) == ["reserved"]


def test_what_another_process_did_is_seen_at_once(hub: World, processes: list[Funnel]) -> None:
    here, there = processes
    hub.counts("pen", 5)
    assert states(here.decide([reserve(hub, "A", (hub.pen, 1))])) == ["reserved"]
    assert states(there.decide([reserve(hub, "B", (hub.pen, 4))])) == ["reserved"]
    assert states(here.decide([reserve(hub, "C", (hub.pen, 1))])) == ["OutOfStock"]
    there.decide([Release(Subject(hub.alpha, "api", "B"))])
    assert states(here.decide([reserve(hub, "D", (hub.pen, 4))])) == ["reserved"]
    assert hub.cell(hub.pen) == {"reserved": 5}


def test_a_ref_asked_again_is_answered_as_it_stands_and_spoils_nothing_of_its_list(
    hub: World,
    processes: list[Funnel],
) -> None:
    hub.counts("pen", 9)
    for funnel in (*processes, *processes):
        answers = funnel.decide([reserve(hub, "A", (hub.pen, 2)), reserve(hub, f"{id(funnel)}", (hub.pen, 1))])
        assert states(answers) == ["reserved", "reserved"]
    assert hub.cell(hub.pen) == {"free": 5, "reserved": 4}
    assert hub.audit() == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_two_processes_in_turn_answer_as_one_clerk_would(
    hub: World,
    processes: list[Funnel],
    steps: list[tuple[int, str, int]],
) -> None:
    free, mine = hub.cell(hub.pen).get("free", 0), list[tuple[str, int]]()
    for n, (who, what, units) in enumerate(steps):
        ref = f"{id(steps)}.{hub.store.ids.new()}.{n}"
        if what == "count":
            hub.counts("pen", units)
            free += units
        elif what == "reserve":
            (state,) = states(processes[who].decide([reserve(hub, ref, (hub.pen, units))]))
            assert state == ("reserved" if units <= free else "OutOfStock")
            if state == "reserved":
                free -= units
                mine.append((ref, units))
        elif mine and what == "again":
            again, kept = mine[units % len(mine)]
            assert states(processes[who].decide([reserve(hub, again, (hub.pen, kept))])) == ["reserved"]
        elif mine:
            ref, kept = mine.pop(units % len(mine))
            assert states(processes[who].decide([Release(Subject(hub.alpha, "api", ref))])) == ["released"]
            free += kept
    assert hub.cell(hub.pen).get("free", 0) == free
    assert hub.audit() == []


def test_after_a_surprise_it_is_wary_for_a_while() -> None:
    now = [100.0]
    recall = Recall(never, lambda: now[0])
    recall.keep({"a": (1,), "b": None})
    recall.follow({"a": (2,), "c": (3,)})
    assert recall.some_of(["a", "b", "c"]) == {"a": (2,), "b": None}
    assert not recall.is_wary
    recall.forget()
    assert recall.is_wary
    assert recall.some_of(["a", "b"]) == {}
    now[0] += WARY_S
    assert not recall.is_wary


def test_it_does_not_grow_without_end() -> None:
    recall = Recall(never)
    recall.keep(dict.fromkeys(range(AT_MOST + 1)))
    recall.keep({"a": (1,)})
    assert recall.some_of([0, "a"]) == {"a": (1,)}
