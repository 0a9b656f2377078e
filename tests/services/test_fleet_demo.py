"""The demo on PostgreSQL and RabbitMQ, and with processes killed at random, on both databases."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sandbox.demo.run import Plan, run

ZERO = ("ledger_overcommitted_units", "ledger_drift_units", "channel_drift_units", "waybills_doubled")
ZERO += ("fulfilments_doubled",)
KILLS = 20
LIMIT_S = 900
"""Only against a hang: the demo itself ends when nothing moves any more, however slow the machine is."""


@pytest.fixture
def fleet(postgres_url: str, amqp_url: str, queue_prefix: str) -> dict[str, str]:
    """The settings of a hub on real servers."""
    return {"YIPAN_DATABASE": postgres_url, "YIPAN_BUS__BROKER": amqp_url, "YIPAN_BUS__QUEUE_PREFIX": queue_prefix}


def demo(home: Path, environment: dict[str, str], *options: str) -> dict[str, Any]:
    """One run whose audit must be clean; its result. Whatever it started ends with it, also when it hangs."""
    command = [sys.executable, "-m", "workers", "demo", "--exit", "--json", "--home", str(home), *options]
    with subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        try:
            out, progress = running.communicate(timeout=LIMIT_S)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
    assert out, progress[-3000:]
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    assert (running.returncode, result["audit"]) == (0, "clean"), (result["audit"], progress[-2000:])
    return result


def zeros(result: dict[str, Any]) -> dict[str, int]:
    """The figures that must be 0."""
    return {name: result[name] for name in ZERO}


def accounted(orders: dict[str, int], placed: int) -> bool:
    """Whether every order came to one end."""
    ended = orders["shipped"] + orders["short"] + orders["cancelled"]
    return (orders["placed"], orders["taken"], orders["delivered"]) == (placed, ended, orders["shipped"])


def test_demo_on_postgres_and_rabbitmq_is_clean(tmp_path: Path, fleet: dict[str, str]) -> None:
    result = demo(tmp_path, fleet, "--orders", "60", "--faults", "mild")
    assert zeros(result) == dict.fromkeys(ZERO, 0)
    assert accounted(result["orders"], 60)


def chaos(home: Path, environment: dict[str, str], orders: int) -> None:
    """A harsh demo in which web, worker, clock and supervisor are killed with -9; its seed is printed."""
    seed = int(os.environ.get("YIPAN_TEST_SEED") or secrets.randbelow(10_000))
    print(f"chaos: seed {seed} (YIPAN_TEST_SEED={seed} repeats it)")
    options = ["--faults", "harsh", "--kills", str(KILLS), "--seed", str(seed), "--orders", str(orders)]
    result = demo(home, environment, *options)
    assert zeros(result) == dict.fromkeys(ZERO, 0)
    assert accounted(result["orders"], orders)


def test_twenty_kills_during_a_harsh_demo_leave_no_trace_on_sqlite(tmp_path: Path) -> None:
    chaos(tmp_path, {}, 150)


def test_twenty_kills_during_a_harsh_demo_leave_no_trace_on_postgres(tmp_path: Path, fleet: dict[str, str]) -> None:
    chaos(tmp_path, fleet, 150)


def test_warehouse_that_holds_one_unit_more_than_it_said_is_reported_exactly(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = run(Plan(orders=6, faults="none", leave=True, home=tmp_path, lie=("qimen", 1)), as_json=True)
    result = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert (code, zeros(result)) == (1, dict.fromkeys(ZERO, 0) | {"ledger_drift_units": 1})
    assert result["audit"] == ["ledger_drift_units is 1, not 0"]
