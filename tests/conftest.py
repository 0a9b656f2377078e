"""How hard property tests search: a repeatable default, and `HYPOTHESIS_PROFILE=long` for `make test-long`."""

from __future__ import annotations

import os
from typing import Any

import pytest
import sqlalchemy
from hypothesis import settings

from core.store import database

STEPS = 50
"""Of one story of the pool's machine."""
MACHINE_TIMES = {"default": 2, "long": 1}
"""Stories of the pool's machine for each example of a property."""
STORY_TIMES = {"default": 1, "long": 10}
"""How many times as many of the stories that name their own number."""
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "default")

settings.register_profile("default", deadline=None, derandomize=True, max_examples=100, stateful_step_count=STEPS)
settings.register_profile("long", deadline=None, print_blob=True, max_examples=2000, stateful_step_count=STEPS)
settings.load_profile(PROFILE)


DIALECTS: dict[str, Any] = {}
COMPILED: dict[Any, Any] = {}


def create_engine(url: Any, **more: Any) -> sqlalchemy.Engine:
    """As SQLAlchemy's, but SQLite's all share what they have compiled: every test opens a store of its own."""
    engine = sqlalchemy.create_engine(url, **more)
    if engine.name == "sqlite":
        engine.dialect = DIALECTS.setdefault(engine.name, engine.dialect)
        engine.update_execution_options(compiled_cache=COMPILED)
    return engine


database.create_engine = create_engine


def machine_examples() -> int:
    """How many stories the pool's machine tells."""
    return settings.default.max_examples * MACHINE_TIMES[PROFILE]


def stories(usual: int) -> int:
    """How many stories a property tells that costs more than most."""
    return usual * STORY_TIMES[PROFILE]


def pytest_report_header(config: pytest.Config) -> str:
    examples = settings.default.max_examples
    machine = f"{machine_examples()} × {STEPS} steps of the pool's machine"
    return f"yipan: {examples} examples of a property, {machine}, stories × {STORY_TIMES[PROFILE]}"
