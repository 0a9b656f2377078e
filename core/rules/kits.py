"""Kits in their parts: one kit backs, leaves and comes back whole, or not at all. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

Row = Mapping[str, Any]


class Need(NamedTuple):
    """Units of one part that are still wanted, how many one kit holds, and how many there are of them."""

    units: int
    per_kit: int
    there: int


def lacking(needs: Iterable[Need]) -> int:
    """Whole kits that cannot be made of what there is."""
    return max((-(-max(0, need.units - max(0, need.there)) // need.per_kit) for need in needs), default=0)


def without(units: int, per_kit: int, kits: int) -> int:
    """Units of a part that are wanted where so many kits are not made."""
    return max(0, units - kits * per_kit)


def claimed(claims: Sequence[Row]) -> int:
    """Units of their line that these open claims of it still ask for; of a kit's parts, whole kits."""
    units: dict[tuple[int, int], int] = {}
    for claim in claims:
        part = (claim["part_id"] or 0, claim["per_kit"] or 1)
        units[part] = units.get(part, 0) + claim["asked"] - claim["shipped"]
    return lacking(Need(n, per_kit, 0) for (_, per_kit), n in units.items())


def whole(recipe: Mapping[str, int], units: Mapping[int, int]) -> int:
    """Whole kits in these units. recipe: part's id → units in one kit."""
    return min(units.get(int(part), 0) // per_kit for part, per_kit in recipe.items())
