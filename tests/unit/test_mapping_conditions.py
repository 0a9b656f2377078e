"""Rules that hold only under a condition, and sums of several signs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import Misconfigured
from mappings.language import load

MAPPING = """
noun: stock
format: json
currency: CNY
read:
  rows[]:
    each: lines
    listing: ref
    quantity: num | int | when(state, open, late) | or(other)
    locked: a? | money | add(b?) | less(c?)
"""


def rows(folder: Path, *lines: dict[str, Any], mapping: str = MAPPING) -> list[tuple[int, int]]:
    path = folder / "stock.yaml"
    path.write_text(mapping)
    snapshot: Any = load(path).read(json.dumps({"lines": lines}).encode())
    return [(row.quantity, row.locked) for row in snapshot.rows]


def test_a_value_stands_only_where_its_condition_holds(tmp_path: Path) -> None:
    line = {"ref": "1", "num": 5, "other": 7}
    states = ("open", "late", "shut", "")
    assert rows(tmp_path, *({**line, "state": state} for state in states)) == [(5, 0), (5, 0), (7, 0), (7, 0)]


def test_an_absent_condition_does_not_hold(tmp_path: Path) -> None:
    mapping = MAPPING.replace("when(state,", "when(state?,")
    assert rows(tmp_path, {"ref": "1", "num": 5, "other": 7}, mapping=mapping) == [(7, 0)]


def test_sums_of_several_signs_follow_each_other(tmp_path: Path) -> None:
    line = {"ref": "1", "num": 1, "other": 1, "state": "open"}
    amounts = {"a": "10.00", "b": "0.50", "c": "-4.00"}
    assert rows(tmp_path, {**line, **amounts}, {**line, "b": "0.50", "c": "0.20"}) == [(1, 1450), (1, 30)]


def test_a_condition_names_what_it_looks_for(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"when takes 2"):
        rows(tmp_path, mapping=MAPPING.replace("when(state, open, late)", "when(state)"))
