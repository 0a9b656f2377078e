"""Racers at the doors of the hub, over PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cryptography.fernet import Fernet

from core.store.schema import prepare
from core.store.store import Store
from core.store.vault import Vault
from tests.journeys.conftest import quick_passwords, web_pool, web_stage  # noqa: F401
from tests.journeys.test_web_onboarding import (
    test_of_64_who_announce_something_else_at_once_one_wins_and_none_gets_a_500,  # noqa: F401
    test_of_64_who_announce_the_same_at_once_one_does,  # noqa: F401
    test_the_ref_of_one_owner_is_nobody_elses_business,  # noqa: F401
)
from tests.journeys.test_web_reservations import (
    test_of_64_crossing_baskets_as_many_win_as_there_are_units,  # noqa: F401
    test_of_64_racers_for_kits_of_a_shared_part_as_many_win_as_there_are_whole_ones,  # noqa: F401
    test_of_64_racers_for_the_last_unit_one_wins,  # noqa: F401
)


@pytest.fixture
def store(postgres_url: str) -> Iterator[Store]:
    prepare(postgres_url)
    it = Store(postgres_url, Vault([Fernet.generate_key().decode()]), role="web")
    yield it
    it.close()
