"""The tiny shop, to be installed with some of its texts replaced."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from connectors import registry
from connectors.registry import Connector

SHOP = Path(__file__).parent / "tiny_shop"
NUMBERS = count()
Shop = Callable[..., Connector]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """The tiny shop as an installed package of a third party, with texts replaced: shop((file, old, new), …)."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(*changes: tuple[str, str, str]) -> Connector:
        package = f"tiny_shop_{next(NUMBERS)}"
        shutil.copytree(SHOP, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
        for file, old, new in changes:
            path = tmp_path / package / file
            text = path.read_text(encoding="utf-8")
            assert old in text
            path.write_text(text.replace(old, new), encoding="utf-8")
        monkeypatch.setattr(registry, "entry_points", lambda group: [SimpleNamespace(value=package)])
        registry.connectors.cache_clear()
        return registry.connector("sales/tiny")

    yield make
    registry.connectors.cache_clear()
