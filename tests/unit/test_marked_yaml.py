"""YAML that knows its places refuses what its composer could not survive."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import Misconfigured
from core.model.marked import NESTING_MAX, read_yaml


def test_deep_nesting_is_refused_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "deep.yaml"
    path.write_text("a: " + "[" * 20_000 + "]" * 20_000)
    with pytest.raises(Misconfigured, match=rf"deep.yaml:1: .*deeper than {NESTING_MAX}"):
        read_yaml(path)
