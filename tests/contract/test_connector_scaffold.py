"""`yipan connectors new`: what it makes works from the first minute, and the contract says what is left to do."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from connectors import registry
from connectors.spi import KINDS
from core.errors import Misconfigured
from sandbox.contract.check import check
from sandbox.contract.scaffold import create

NUMBERS = count()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty package that ships connectors of its own."""
    monkeypatch.syspath_prepend(str(tmp_path))
    root = tmp_path / f"my_connectors_{next(NUMBERS)}"
    monkeypatch.setattr(registry, "entry_points", lambda group: [SimpleNamespace(value=root.name)])
    registry.connectors.cache_clear()
    yield root
    registry.connectors.cache_clear()


@pytest.mark.parametrize("kind", KINDS)
def test_skeleton_works_and_the_failing_rows_are_the_list_of_what_to_do(package: Path, kind: str) -> None:
    create(kind, "my_system", package)
    report = check(f"{kind}/my_system")
    assert {"required_abilities_are_claimed", "every_kind_has_a_held_fixture"} == {r.row for r in report.failed}
    assert report.grade == "C"


def test_skeleton_brings_a_test_that_passes(package: Path) -> None:
    made = create("wms", "my_system", package)
    assert package / "tests/unit/test_my_system_connector.py" in made
    module = import_module(f"{package.name}.tests.unit.test_my_system_connector")
    module.test_my_system_reads_what_its_twin_holds()


def test_nothing_that_is_there_is_overwritten(package: Path) -> None:
    made = create("erp", "my_system", package)
    made[2].write_text("mine", encoding="utf-8")
    with pytest.raises(Misconfigured, match="erp/my_system is there already: connectors/erp/my_system/connector.yaml"):
        create("erp", "my_system", package)
    assert made[2].read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(("kind", "id"), [("shop", "mine"), ("erp", "My-System"), ("erp", "../up"), ("erp", "")])
def test_unknown_kind_or_strange_id_is_refused_with_a_sentence(package: Path, kind: str, id: str) -> None:
    with pytest.raises(Misconfigured, match="is no kind of connector|is no id"):
        create(kind, id, package)
    assert not package.exists()
