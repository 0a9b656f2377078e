"""Which lots shall leave: those that expire first. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Lot(NamedTuple):
    """Units of one lot that may be picked; below zero where more left than was known. expires_on: YYYY-MM-DD."""

    code: str
    expires_on: str | None
    units: int


def pick(lots: Sequence[Lot], wanted: int) -> list[tuple[str, int]]:
    """(lot, units) that shall leave, soonest to expire first, lots without a day last; fewer where there are fewer.

    What left of lots that were not known to be there is taken to be missing from those that expire first.
    """
    missing = -sum(lot.units for lot in lots if lot.units < 0)
    picked: list[tuple[str, int]] = []
    for lot in sorted(lots, key=_soonest):
        lost = min(missing, max(0, lot.units))
        missing -= lost
        units = min(wanted, max(0, lot.units) - lost)
        if units:
            picked.append((lot.code, units))
            wanted -= units
    return picked


def _soonest(lot: Lot) -> tuple[bool, str, str]:
    return lot.expires_on is None, lot.expires_on or "", lot.code
