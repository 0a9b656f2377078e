"""The store's stories once more, on PostgreSQL, and what only several writers at once can show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.store import schema
from core.store.database import alone
from core.store.tables import metadata
from tests.unit import test_schema
from tests.unit.test_advise_buffer import *  # noqa: F403
from tests.unit.test_assemblies import *  # noqa: F403
from tests.unit.test_contracts import *  # noqa: F403
from tests.unit.test_contracts import bare
from tests.unit.test_counts import *  # noqa: F403
from tests.unit.test_erp_packs import *  # noqa: F403
from tests.unit.test_explain import *  # noqa: F403
from tests.unit.test_follow_reservation import *  # noqa: F403
from tests.unit.test_inbox import *  # noqa: F403
from tests.unit.test_inspection import *  # noqa: F403
from tests.unit.test_kits import *  # noqa: F403
from tests.unit.test_ledger_cases import *  # noqa: F403
from tests.unit.test_locks import *  # noqa: F403
from tests.unit.test_lots import *  # noqa: F403
from tests.unit.test_near_expiry import *  # noqa: F403
from tests.unit.test_order_versions import *  # noqa: F403
from tests.unit.test_outbox import *  # noqa: F403
from tests.unit.test_oversold import *  # noqa: F403
from tests.unit.test_pinned_lots import *  # noqa: F403
from tests.unit.test_pinned_lots import fives
from tests.unit.test_policies import *  # noqa: F403
from tests.unit.test_publishing import *  # noqa: F403
from tests.unit.test_publishing import filled
from tests.unit.test_reconcile import *  # noqa: F403
from tests.unit.test_reserve_stock import *  # noqa: F403
from tests.unit.test_returns import *  # noqa: F403
from tests.unit.test_serials import *  # noqa: F403
from tests.unit.test_short_orders import *  # noqa: F403
from tests.unit.test_snapshots import *  # noqa: F403
from tests.unit.test_substitutes import *  # noqa: F403
from tests.unit.test_title_transfers import *  # noqa: F403
from tests.unit.test_tracking import (
    test_facts_out_of_order_and_doubled_show_the_newest_and_deliver_once,  # noqa: F401
    test_one_message_of_two_merchants_parcels_reaches_each_merchants_own_order,  # noqa: F401
)
from tests.unit.test_transfers import *  # noqa: F403
from tests.worlds import Clock, World, store, world


def empty(url: str) -> None:
    """The tables, without a row."""
    schema.prepare(url)
    with alone(url) as conn:
        for table in reversed(metadata.sorted_tables):
            conn.execute(table.delete())


@pytest.fixture
def hub(tmp_path: Path, shared_postgres_url: str, request: pytest.FixtureRequest) -> Iterator[World]:
    clock = Clock()
    empty(shared_postgres_url)
    with store(tmp_path, shared_postgres_url, clock) as it:
        built = world(it, clock)
        if request.function.__module__.endswith(("test_order_versions", "test_tracking")):
            built.counts("pen", 20)
        if request.function.__module__.endswith("test_short_orders"):
            built.decides("wait")
        if request.function.__module__.endswith((".test_transfers", ".test_policies")):
            built.counts("pen", 10)
        if request.function.__module__.endswith("test_publishing"):
            filled(built)
        if request.function.__module__.endswith("test_pinned_lots"):
            fives(built)
        if request.function.__module__.endswith("test_contracts"):
            bare(built)
        yield built


def test_a_prepared_postgres_is_what_the_code_works_with(postgres_url: str) -> None:
    assert test_schema.differences(postgres_url) == []


def test_processes_that_start_at_once_on_postgres_take_turns(postgres_url: str) -> None:
    assert sorted(test_schema.prepare_at_once(postgres_url, 4)) == ["False", "False", "False", "True"]
    assert test_schema.differences(postgres_url) == []
