"""Settings: defaults, then the file, then the environment; every mistake named with file, line and key."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from config.settings import load
from core.errors import Misconfigured, YipanError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and nothing of this machine's in the environment."""
    monkeypatch.delenv("YIPAN_CONFIG", raising=False)
    monkeypatch.setenv("YIPAN_HOME", str(tmp_path))
    return tmp_path


def test_nothing_said_means_one_folder_loopback_and_no_private_networks(home: Path) -> None:
    settings = load()
    assert settings.database_url == f"sqlite:///{home}/data/yipan.sqlite"
    assert (settings.web.host, settings.outbound.allow, settings.bus.broker) == ("127.0.0.1", (), "filesystem")


def test_master_key_lies_outside_the_data_folder(home: Path) -> None:
    settings = load()
    assert settings.data not in settings.key_file.parents


def test_environment_goes_before_the_file_and_the_file_before_the_defaults(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "hub.yaml").write_text("web: {port: 9001, session_hours: 3}\nbus:\n  threads: 2\n")
    monkeypatch.setenv("YIPAN_WEB__PORT", "9002")
    settings = load()
    assert (settings.web.port, settings.web.session_hours, settings.bus.threads) == (9002, 3, 2)


def test_file_can_be_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "elsewhere.yaml").write_text("bus: {threads: 3}\n")
    monkeypatch.setenv("YIPAN_CONFIG", str(home / "elsewhere.yaml"))
    assert load().bus.threads == 3


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("web:\n  port: often\n", 2, "web.port"),
        ("web:\n  prot: 80\n", 2, "web.prot"),
        ("bus:\n  hints: on\n  threads: 0\n", 3, "bus.threads"),
        ("databse: sqlite://\n", 1, "databse"),
    ],
)
def test_mistake_in_the_file_is_named_with_line_and_key(home: Path, text: str, line: int, key: str) -> None:
    (home / "hub.yaml").write_text(text)
    with pytest.raises(Misconfigured) as caught:
        load()
    assert f"hub.yaml:{line}" in caught.value.message
    assert key in caught.value.message


def test_all_mistakes_are_named_at_once(home: Path) -> None:
    (home / "hub.yaml").write_text("web:\n  port: often\nbus:\n  threads: none\n")
    with pytest.raises(Misconfigured) as caught:
        load()
    assert "web.port" in caught.value.message
    assert "bus.threads" in caught.value.message


def test_file_that_is_not_yaml_is_named_with_the_line(home: Path) -> None:
    (home / "hub.yaml").write_text("web:\n  port: [80\n")
    with pytest.raises(Misconfigured) as caught:
        load()
    assert "hub.yaml" in caught.value.message


@pytest.mark.parametrize(("name", "value"), [("YIPAN_WEB__PORT", "often"), ("YIPAN_BUS__PATIENCE", "0")])
def test_mistake_in_the_environment_is_one_of_ours_and_names_the_variable(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(YipanError, match=name):
        load()


def test_allowed_network_that_is_none_is_a_mistake_at_start(home: Path) -> None:
    (home / "hub.yaml").write_text("outbound:\n  allow: [10.0.0.0/8, everything]\n")
    with pytest.raises(Misconfigured, match="outbound.allow"):
        load()


def test_environment_that_is_no_json_where_a_list_is_wanted_is_one_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YIPAN_OUTBOUND__ALLOW", "10.0.0.0/8")
    with pytest.raises(Misconfigured, match="outbound"):
        load()


def test_command_line_says_a_mistake_in_one_sentence_and_no_traceback(home: Path) -> None:
    (home / "hub.yaml").write_text("web:\n  port: often\n")
    done = subprocess.run([sys.executable, "-m", "workers", "parked"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("yipan: ")
    assert "hub.yaml:2" in done.stderr
    assert "Traceback" not in done.stderr
