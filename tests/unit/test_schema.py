"""The tables come to be by migration, are what the code expects, and several processes may ask for them at once."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from core.store import schema
from core.store.database import alone
from core.store.tables import metadata

PREPARE = "import sys; from core.store.schema import prepare; prepare(sys.argv[1]); print('alembic' in sys.modules)"


def differences(url: str) -> list[Any]:
    """What a prepared database lacks of the tables the code works with, or has too much of."""
    schema.prepare(url)
    with alone(url) as conn:
        return list(compare_metadata(MigrationContext.configure(conn, opts={"compare_type": True}), metadata))


def prepare_at_once(url: str, processes: int) -> list[str]:
    """Several processes prepare one database; whether each had to load alembic for it."""
    command = [sys.executable, "-W", "error", "-c", PREPARE, url]
    root = Path(__file__).parents[2]
    running = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    answers = [child.communicate(timeout=60)[0].strip() for child in running]
    assert [child.returncode for child in running] == [0] * processes
    return answers


def test_a_prepared_database_is_what_the_code_works_with(tmp_path: Path) -> None:
    assert differences(f"sqlite:///{tmp_path}/hub.db") == []


def test_processes_that_start_at_once_take_turns_and_one_of_them_migrates(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hub.db"
    assert sorted(prepare_at_once(url, 4)) == ["False", "False", "False", "True"]
    assert differences(url) == []


def test_a_prepared_database_is_ready_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hub.db"
    schema.prepare(url)
    took_s = []
    for _ in range(5):
        before = time.perf_counter()
        schema.prepare(url)
        took_s.append(time.perf_counter() - before)
    assert min(took_s) < 0.05


def test_a_migration_that_fails_leaves_an_empty_database(tmp_path: Path, monkeypatch: Any) -> None:
    url = f"sqlite:///{tmp_path}/hub.db"
    whole = command.upgrade

    def broken(*args: Any) -> None:
        whole(*args)
        raise ZeroDivisionError

    monkeypatch.setattr(command, "upgrade", broken)
    with pytest.raises(ZeroDivisionError):
        schema.prepare(url)
    with alone(url) as conn:
        assert schema.standing(conn) is None
    monkeypatch.undo()
    assert differences(url) == []
