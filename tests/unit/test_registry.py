"""How connectors are found: by their folders, here and under an entry point; a mistake says where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors import registry
from connectors.registry import connector, connectors
from core.errors import Misconfigured


def test_every_folder_with_a_manifest_is_a_connector() -> None:
    found = {f"{path.parent.parent.name}/{path.parent.name}" for path in registry.HERE.glob("*/*/connector.yaml")}
    assert set(connectors()) == found
    assert {"sales/fenxiao", "sales/tmall", "sales/vendure", "wms/qimen", "courier/sf", "erp/tryton"} <= found


def test_three_rooms_of_one_connector_share_its_path() -> None:
    found = connector("sales/tmall")
    assert (found.name, found.module, found.twin) == ("sales/tmall", "connectors.sales.tmall", "sandbox.sales.tmall")
    assert found.mappings.parts[-3:] == ("mappings", "sales", "tmall")
    assert (found.mappings / "order.yaml").exists()


def test_unknown_connector_is_answered_with_those_there_are() -> None:
    with pytest.raises(Misconfigured, match="no connector 'sales/tmal'; there are: .*sales/tmall"):
        connector("sales/tmal")


def manifest(folder: Path, kind: str, name: str, text: str) -> None:
    """A connector's folder with this manifest."""
    (folder / kind / name).mkdir(parents=True)
    (folder / kind / name / "connector.yaml").write_text(text)


SOUND = "id: toy\nkind: sales\ntitle: {en: Toy}\nclient: client:Toy\ndocs: https://example.com\ncan: {}\nsettings: {}\n"


def test_manifest_in_the_wrong_folder_says_what_the_folder_says(tmp_path: Path) -> None:
    manifest(tmp_path, "erp", "toys", SOUND)
    with pytest.raises(Misconfigured, match="erp/toys/connector.yaml: kind and id must be erp and toys"):
        registry._read(tmp_path / "erp" / "toys", "connectors", tmp_path)


def test_mistake_in_a_manifest_is_named_with_file_line_and_key(tmp_path: Path) -> None:
    manifest(tmp_path, "sales", "toy", SOUND + "bugdet: {per_s: 1}\n")
    with pytest.raises(Misconfigured, match=r"connector.yaml:8.*bugdet"):
        registry._read(tmp_path / "sales" / "toy", "connectors", tmp_path)


def test_name_found_twice_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = connector("sales/tmall")
    monkeypatch.setattr(registry, "_theirs", lambda: [ours])
    with pytest.raises(Misconfigured, match="sales/tmall is there twice"):
        connectors.__wrapped__()


def test_folder_of_no_known_kind_is_no_connector(tmp_path: Path) -> None:
    manifest(tmp_path, "wire", "toy", SOUND)
    assert registry._folders(tmp_path) == []
