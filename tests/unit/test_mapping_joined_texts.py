"""Steps that bring several texts of a row together, and lookups that know what to say of a stranger."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import Misconfigured, Unfit
from mappings.language import Mapping, load

FILE = """
noun: tracking
format: json
zone: Asia/Shanghai
tables:
  milestone: {{'50': picked_up, 80+6: lost_or_damaged}}
read:
  rows[]:
    each: rows
    waybill: n
    key: {key}
    code: c
    milestone: {milestone}
    happened_at: t | time
"""


def mapping(folder: Path, key: str = "n", milestone: str = "c | lookup(milestone)") -> Mapping:
    path = folder / "tracking.yaml"
    path.write_text(FILE.format(key=key, milestone=milestone), encoding="utf-8")
    return load(path)


def only(compiled: Mapping, **row: object) -> tuple[str, str]:
    body = json.dumps({"rows": [{"n": "SF1", "c": "50", "t": "2026-03-02 09:15:00", **row}]}).encode()
    (read,) = compiled.read(body).rows
    return read.key, read.milestone


def test_lookup_with_a_second_argument_answers_for_values_it_does_not_have(tmp_path: Path) -> None:
    compiled = mapping(tmp_path, milestone="c | lookup(milestone, in_transit)")

    assert only(compiled, c="50") == ("SF1", "picked_up")
    assert only(compiled, c=50) == ("SF1", "picked_up")
    assert only(compiled, c="777") == ("SF1", "in_transit")


def test_lookup_without_one_still_faults(tmp_path: Path) -> None:
    with pytest.raises(Unfit, match="unknown value"):
        only(mapping(tmp_path), c="777")


def test_join_takes_texts_from_other_paths_and_leaves_out_what_is_not_there(tmp_path: Path) -> None:
    compiled = mapping(tmp_path, key="n | join('+', c, r?)", milestone="c | join('+', r?) | lookup(milestone, unknown)")

    assert only(compiled) == ("SF1+50", "picked_up")
    assert only(compiled, r="") == ("SF1+50", "picked_up")
    assert only(compiled, c=80, r=6) == ("SF1+80+6", "lost_or_damaged")


def test_or_join_speaks_only_when_there_is_nothing(tmp_path: Path) -> None:
    compiled = mapping(tmp_path, key="id? | filled | or_join('+', n, c, r?)")

    assert only(compiled, id=7) == ("7", "picked_up")
    assert only(compiled, id="") == ("SF1+50", "picked_up")
    assert only(compiled, r="x") == ("SF1+50+x", "picked_up")


def test_a_path_that_must_be_there_is_a_fault_in_a_join(tmp_path: Path) -> None:
    with pytest.raises(Unfit, match="'r' is missing"):
        only(mapping(tmp_path, key="n | join('+', r)"))


def test_or_join_wants_a_separator_and_a_path(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="or_join takes"):
        mapping(tmp_path, key="id? | or_join('+')")
