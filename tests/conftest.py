"""How hard property tests search: a repeatable default, and `HYPOTHESIS_PROFILE=long` for `make test-long`."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

settings.register_profile("default", deadline=None, derandomize=True, max_examples=100, stateful_step_count=30)
settings.register_profile("long", deadline=None, print_blob=True, max_examples=2000, stateful_step_count=100)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_report_header(config: pytest.Config) -> str:
    examples, steps = settings.default.max_examples, settings.default.stateful_step_count
    return f"yipan: hypothesis max_examples={examples}, stateful_step_count={steps}"
