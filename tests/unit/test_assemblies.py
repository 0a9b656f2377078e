"""Stocked kits: made of their parts and taken apart where they lie, whole or not at all, and sold as themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from core.errors import OutOfStock, Refused, Unfit
from core.flow.assemble_kits import Assemble
from core.flow.journeys import decide
from core.store import tables as t
from core.store.scope import HUB
from hub.onboard.kits import Recipe, set_parts
from tests.unit.test_kits import kit
from tests.worlds import Clock, World, order, store, world


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    """A set is 2 pens and 1 ink; 10 pens and 3 inks lie in the east."""
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        yield world(it, clock)


@pytest.fixture
def sets(hub: World) -> int:
    """The item of the set, which tmall sells."""
    ident = kit(hub)
    hub.store.write(lambda tx: set_parts(tx, HUB, "set", recipe()))
    hub.counts("pen", 10)
    hub.counts("ink", 3)
    return ident


def recipe(stocked: bool = True, **parts: int) -> Recipe:
    return Recipe(owner="alpha", parts=parts or {"pen": 2, "ink": 1}, stocked=stocked)


def makes(hub: World, item: int, units: int, ref: str = "A1") -> Any:
    return hub.store.write(lambda tx: decide(tx, [Assemble(hub.alpha, hub.east, item, units, ref)]))[0]


def there(hub: World, item: int) -> tuple[int, int, int]:
    """Free pens, inks and sets."""
    return tuple(hub.cell(i).get("free", 0) for i in (hub.pen, hub.ink, item))  # type: ignore[return-value]


def test_parts_become_kits_and_kits_their_parts(hub: World, sets: int) -> None:
    assert makes(hub, sets, 3)["units"] == 3
    assert there(hub, sets) == (4, 0, 3)
    makes(hub, sets, -2, "A2")
    assert there(hub, sets) == (8, 2, 1)
    assert hub.audit() == []


@pytest.mark.parametrize(("units", "missing"), [(4, ("ink", 4, 3)), (-1, ("set", 1, 0))])
def test_what_is_not_there_is_not_used_up(hub: World, sets: int, units: int, missing: tuple[str, int, int]) -> None:
    answer = makes(hub, sets, units)
    assert isinstance(answer, OutOfStock)
    ids = {"ink": hub.ink, "set": sets}
    assert answer.missing == ((ids[missing[0]], *missing[1:]),)
    assert there(hub, sets) == (10, 3, 0)
    assert hub.rows(select(t.assemblies)) == []


def test_asked_again_it_stands_and_another_under_its_ref_is_refused(hub: World, sets: int) -> None:
    assert makes(hub, sets, 1)["id"] == makes(hub, sets, 1)["id"]
    assert isinstance(makes(hub, sets, 2), Refused)
    assert there(hub, sets) == (8, 2, 1)


def test_kits_that_are_made_back_who_waits_for_them(hub: World, sets: int) -> None:
    hub.decides("wait")
    hub.takes(order("A", ("set", 2)))
    assert hub.claims("A") == [(2, 0)]
    makes(hub, sets, 2)
    assert hub.claims("A") == [(2, 2)]


def test_kits_fill_what_is_missing_of_them_first(hub: World, sets: int) -> None:
    hub.counts("set", -1)
    makes(hub, sets, 2)
    assert hub.cell(sets) == {"free": 1}


def test_what_is_no_stocked_kit_is_not_made(hub: World, sets: int) -> None:
    assert isinstance(makes(hub, hub.pen, 1), Unfit)
    hub.store.write(lambda tx: set_parts(tx, HUB, "set", recipe(stocked=False)))
    assert isinstance(makes(hub, sets, 1), Unfit)


def test_a_kit_is_not_made_of_kits(hub: World, sets: int) -> None:
    with pytest.raises(Unfit, match="is a kit itself"):
        hub.store.write(lambda tx: set_parts(tx, HUB, "pen", recipe(set=1)))
    with pytest.raises(Unfit, match="is part of a kit"):
        hub.store.write(lambda tx: set_parts(tx, HUB, "pen", recipe(stocked=False, ink=1)))
