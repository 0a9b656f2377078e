"""The shipped contract over every connector that is found: one test for each row and ability."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from connectors.registry import connectors
from sandbox.contract.case import Case, Trial
from sandbox.contract.check import plan, run
from sandbox.contract.row import Row

PLAN = [(name, row, ability) for name, one in connectors().items() for row, ability in plan(one)]
LACKS = {
    ("sales/fenxiao", "required_abilities_are_claimed"): "can: send_stock is not claimed; fetch_stock is not claimed"
}
"""What a connector of ours does not claim for grade A; its manifest says why."""
NAMES = ["-".join(part for part in (name, row.name, ability) if part) for name, row, ability in PLAN]


@pytest.fixture(scope="module")
def trials() -> Iterator[dict[str, Trial]]:
    open_ = {name: Trial(one) for name, one in connectors().items()}
    yield open_
    for trial in open_.values():
        trial.close()


@pytest.mark.parametrize(("name", "row", "ability"), PLAN, ids=NAMES)
def test_connector_keeps_the_contract(name: str, row: Row, ability: str, trials: dict[str, Trial]) -> None:
    assert run(row, Case(trials[name], ability)).why == LACKS.get((name, row.name), "")


def test_every_kind_that_ships_is_tried() -> None:
    assert {"sales", "wms", "courier", "erp"} <= {one.manifest.kind for one in connectors().values()}
