"""The demo as a user runs it: child processes, audited over HTTP, and told off when a twin lies or loses something."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

KEYS = [
    "orders",
    "ledger_overcommitted_units",
    "shop_oversold_units",
    "ledger_drift_units",
    "channel_drift_units",
    "waybills_doubled",
    "fulfilments_doubled",
    "settlement_units",
    "transfers",
    "contracts_overdrawn",
    "duplicates_absorbed",
    "faults",
    "calls",
    "fdatasync_per_s",
    "commits_per_order",
    "wall_s",
    "audit",
]
ORDERS = ["placed", "taken", "short", "cancelled", "shipped", "delivered", "parked"]
ZERO = ["ledger_overcommitted_units", "ledger_drift_units", "channel_drift_units", "waybills_doubled"]
ZERO += ["fulfilments_doubled", "contracts_overdrawn"]
PLAYED = "import json, sys; from pathlib import Path; from sandbox.demo.run import Plan, run; "
PLAYED += "plan = json.loads(sys.argv[1]); sys.exit(run(Plan(leave=True, home=Path(plan.pop('home')), **plan), True))"


def played(home: Path, **plan: Any) -> tuple[int, dict[str, Any]]:
    """(exit code, result) of one run with this plan."""
    command = [sys.executable, "-c", PLAYED, json.dumps({"home": str(home), **plan})]
    return _result(subprocess.run(command, capture_output=True, text=True, timeout=240, check=False))


def demonstrated(home: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """(exit code, result) of one run as typed at a prompt."""
    command = [sys.executable, "-m", "workers", "demo", "--exit", "--json", "--home", str(home), *options]
    return _result(subprocess.run(command, capture_output=True, text=True, timeout=240, check=False))


def figures(result: dict[str, Any]) -> dict[str, int]:
    """The figures that must be 0."""
    return {name: result[name] for name in ZERO}


def _result(done: subprocess.CompletedProcess[str]) -> tuple[int, dict[str, Any]]:
    lines = done.stdout.splitlines()
    assert len(lines) == 1, done.stderr[-3000:]
    return done.returncode, json.loads(lines[0])


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any]]:
    """Twenty orders with mild faults, once for all tests that only look."""
    return demonstrated(tmp_path_factory.mktemp("demo"), "--orders", "20", "--faults", "mild")


def test_demo_is_clean_and_says_so_with_its_exit_code(told: tuple[int, dict[str, Any]]) -> None:
    code, result = told
    assert (code, result["audit"], figures(result)) == (0, "clean", dict.fromkeys(ZERO, 0))


def test_demo_prints_one_object_with_the_agreed_keys(told: tuple[int, dict[str, Any]]) -> None:
    _, result = told
    assert (list(result), list(result["orders"])) == (KEYS, ORDERS)


def test_goods_of_one_stock_were_sold_by_several_and_changed_their_owner(told: tuple[int, dict[str, Any]]) -> None:
    _, result = told
    assert result["transfers"] == 1
    assert result["settlement_units"] > 0


def test_every_order_of_the_demo_is_accounted_for(told: tuple[int, dict[str, Any]]) -> None:
    orders = told[1]["orders"]
    assert orders["placed"] == 20 == orders["taken"] + orders["parked"]
    assert orders["taken"] == orders["shipped"] + orders["short"] + orders["cancelled"]
    assert orders["delivered"] == orders["shipped"] > 0


def test_same_seed_comes_to_the_same_totals_without_hints_and_one_lie_and_one_lost_write_are_reported_exactly(
    told: tuple[int, dict[str, Any]], tmp_path: Path
) -> None:
    untrue = {"lie": ["tmall-birch", 1], "lose": ["tmall-aurora", "send_shipment"]}
    code, result = played(tmp_path, orders=20, faults="none", hints=False, **untrue)
    assert result["orders"] == told[1]["orders"]
    assert (code, figures(result)) == (1, dict.fromkeys(ZERO, 0) | {"channel_drift_units": 1})
    drift, where, lost = result["audit"]
    assert drift == "channel_drift_units is 1, not 0"
    assert where.startswith("tmall-birch shows ")
    assert lost.startswith("tmall-aurora has not been told that ")
