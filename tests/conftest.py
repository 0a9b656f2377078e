"""How hard property tests search: a repeatable default, and `HYPOTHESIS_PROFILE=long` for `make test-long`."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

STEPS = 50
"""Of one story of the pool's machine."""
MACHINE_TIMES = {"default": 2, "long": 1}
"""Stories of the pool's machine for each example of a property."""
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "default")

settings.register_profile("default", deadline=None, derandomize=True, max_examples=100, stateful_step_count=STEPS)
settings.register_profile("long", deadline=None, print_blob=True, max_examples=2000, stateful_step_count=STEPS)
settings.load_profile(PROFILE)


def machine_examples() -> int:
    """How many stories the pool's machine tells."""
    return settings.default.max_examples * MACHINE_TIMES[PROFILE]


def pytest_report_header(config: pytest.Config) -> str:
    examples = settings.default.max_examples
    return f"yipan: {examples} examples of a property, {machine_examples()} × {STEPS} steps of the pool's machine"
