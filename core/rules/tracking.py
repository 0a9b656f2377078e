"""The milestone of a parcel, derived from its facts in any order of arrival (facts, couriers §29)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

RANK = {
    "unknown": 0,
    "created": 10,
    "picked_up": 20,
    "in_transit": 30,
    "customs": 35,
    "arrived_destination": 40,
    "out_for_delivery": 50,
    "delivery_failed": 52,
    "ready_for_pickup": 55,
    "returning": 60,
    "delivered": 90,
    "returned": 91,
    "cancelled": 92,
    "lost_or_damaged": 93,
    "exception": -1,
}
TERMINAL = {"delivered", "returned", "cancelled", "lost_or_damaged"}
REOPENS = {"returning", "returned"}


class Fact(NamedTuple):
    """One tracking fact: when it happened and what it means."""

    happened_at: datetime
    milestone: str


def milestone(facts: Sequence[Fact]) -> Fact | None:
    """What is shown: the highest rank of the newest time; once one was terminal, only a return or an end changes it.

    An exception never hides a later good event; the same milestone twice is legal.
    """
    shown: Fact | None = None
    over = False
    for fact in sorted(facts, key=lambda f: (f.happened_at, RANK[f.milestone])):
        if shown is None or not over or fact.milestone in REOPENS or _confirms(shown, fact):
            shown = fact
        over = over or fact.milestone in TERMINAL
    return shown


def _confirms(shown: Fact, fact: Fact) -> bool:
    return fact.milestone in TERMINAL and RANK[fact.milestone] > RANK[shown.milestone]
