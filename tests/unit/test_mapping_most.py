"""`most`: the largest of whole numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import Unfit
from mappings.language import load

FILE = """\
noun: stock
format: json
read:
  rows[]:
    each: rows
    sku: sku
    quantity: a | int | most(b, c?)
    locked: a | int | most(b) | less(b)
"""


def read(folder: Path, **row: object) -> tuple[int, int]:
    path = folder / "stock.yaml"
    path.write_text(FILE, encoding="utf-8")
    (found,) = load(path).read(json.dumps({"rows": [{"sku": "A", **row}]}).encode()).rows
    return found.quantity, found.locked


def test_most_is_the_largest_whatever_its_place(tmp_path: Path) -> None:
    assert read(tmp_path, a=3, b=1, c=2) == (3, 2)
    assert read(tmp_path, a=1, b="3", c=2) == (3, 0)
    assert read(tmp_path, a="-5", b=-4) == (-4, 0)
    assert read(tmp_path, a=1, b=2, c=None) == (2, 0)


def test_most_needs_what_is_not_marked_as_absent(tmp_path: Path) -> None:
    with pytest.raises(Unfit, match="'b' is missing"):
        read(tmp_path, a=1)


def test_most_counts_whole_numbers_only(tmp_path: Path) -> None:
    with pytest.raises(Unfit, match="quantity"):
        read(tmp_path, a=1, b="1.5")
