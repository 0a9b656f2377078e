"""Why a shop sold units that the pool cannot back. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Literal, NamedTuple

Cause = Literal[
    "never_told",
    "manual_edit",
    "shop_race",
    "publish_lag",
    "pool_lost_goods",
    "policy_overlap",
    "no_contract",
    "not_together",
    "unknown",
]
NOT_TOGETHER: Cause = "not_together"
"""The pool had these units, but not where sourcing lets one order have them: short, and not oversold."""


class Evidence(NamedTuple):
    """What was known when the sale was heard. Base units, but for `told` and `shown`, which are listing units.

    told: what our last confirmed write stood for, None where none was when it was sold; beyond: units sold beyond that;
    early: those of them that the shop still showed, since it was told less only after it sold them; shown: what it
    showed when it was last read after that write, None where it was not; lagging: a lower level waited to be said;
    lost: units the pool lost since, other than by sales; elsewhere: units other listings of the item showed meanwhile;
    may_sell: whether the merchant has goods of its own of it there, or a contract; apart: units of these that the pool
    has all the same, but not where the order may have them.
    """

    told: int | None
    beyond: int
    shown: int | None
    lagging: bool
    lost: int
    elsewhere: int
    may_sell: bool = True
    early: int = 0
    apart: int = 0


def causes(units: int, evidence: Evidence) -> list[tuple[Cause, int]]:
    """(cause, units) of so many units, every one of them once; what the pool has, but not together, comes first."""
    if not evidence.may_sell:
        return [("no_contract", units)]
    apart = min(units, evidence.apart)
    return [*_some({NOT_TOGETHER: apart}), *_not_there(units - apart, evidence)]


def _not_there(units: int, evidence: Evidence) -> list[tuple[Cause, int]]:
    """The same of what the pool does not have; what is beyond what the shop was told comes first."""
    if evidence.told is None:
        return _some({"never_told": units})
    beyond = min(units, evidence.beyond)
    rest = units - beyond
    early = min(beyond, evidence.early)
    found: Counter[Cause] = Counter({"publish_lag": early, _beyond(evidence): beyond - early})
    if evidence.lagging:
        found["publish_lag"] += rest
        return _some(found)
    lost = min(rest, evidence.lost)
    others = min(rest - lost, evidence.elsewhere)
    found.update({"pool_lost_goods": lost, "policy_overlap": others, "unknown": rest - lost - others})
    return _some(found)


def _beyond(evidence: Evidence) -> Cause:
    """Why a shop sold beyond what it was told, where its figure was lowered in time."""
    edited = evidence.shown is not None and evidence.shown > (evidence.told or 0)
    return "manual_edit" if edited else "shop_race"


def _some(found: Mapping[Cause, int]) -> list[tuple[Cause, int]]:
    return [(cause, units) for cause, units in found.items() if units]
