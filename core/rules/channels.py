"""How much of what a listing could show its channel's policy lets it show, and of what a caller may be promised. Pure.

Base units throughout.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Policy(NamedTuple):
    """What one listing may show of what there is.

    share: per cent of it; floor: at least so many, as far as they are there; cap: at most so many; reserve: units kept
    from being shown; buffer: in place of the listing's own; exclusive: units other listings of the item leave alone, of
    a kit those of its parts too.
    """

    share: int = 100
    floor: int = 0
    cap: int | None = None
    reserve: int = 0
    buffer: int | None = None
    exclusive: int = 0
    priority: int = 0


Place = tuple[int, int]
"""(owner, warehouse) of units; of whole kits owner 0, since their parts may be of several."""


class There(NamedTuple):
    """Units that a listing's orders, or a caller, could take: in all, and where they lie.

    Contracts may allow fewer in all than lie in these places.
    """

    units: int
    places: Mapping[Place, int]


class Claimed(NamedTuple):
    """Units of an item that one listing has for itself; the higher the priority the sooner it gets them.

    merchant_id: whose listing it is; owner_id: whose goods; reaches: where its orders can take units from.
    """

    listing_id: int
    units: int
    priority: int
    merchant_id: int = 0
    owner_id: int = 0
    reaches: frozenset[Place] = frozenset()

    def binds(self, merchant_id: int) -> bool:
        """Whether that merchant leaves them alone: who sells another's goods keeps none from their owner."""
        return self.merchant_id in (merchant_id, self.owner_id)


class Bound(NamedTuple):
    """What keeps units of an item from callers: the terms that hold for them, and what listings have for themselves."""

    policy: Policy
    exclusives: tuple[Claimed, ...] = ()

    def units(self, there: There) -> int:
        """Units a caller may be promised of those its pool could promise: what a shop would show."""
        return shown(beside(there, self.exclusives), self.policy)


def beside(there: There, exclusives: Iterable[Claimed], listing_id: int = 0) -> int:
    """Units of those there are that others' exclusive units leave to a listing, or to a caller (0).

    exclusives: those that bind it, its own among them. What a listing cannot reach is kept from nobody for it.
    """
    return there.units - sum(n for ident, n in granted(there, exclusives).items() if ident != listing_id)


def granted(there: There, exclusives: Iterable[Claimed]) -> dict[int, int]:
    """Listing → units of those there are that it has for itself, by priority; taken where that leaves others most."""
    deal, left = _Deal(there.places), there.units
    found = {}
    for one in sorted(exclusives, key=lambda e: (-e.priority, e.listing_id)):
        found[one.listing_id] = deal.give(one, min(left, one.units))
        left -= found[one.listing_id]
    return found


class _Deal:
    """Units of some places, dealt to listings; those dealt before move to other places where that makes room."""

    def __init__(self, places: Mapping[Place, int]) -> None:
        self._left = dict(places)
        self._held: dict[Claimed, Counter[Place]] = {}

    def give(self, one: Claimed, units: int) -> int:
        """So many to that listing, or as many as it can have; returns how many."""
        got, more = 0, units
        while more and got < units:
            more = self._more(one, units - got, set())
            got += more
        return got

    def _more(self, one: Claimed, units: int, seen: set[Place]) -> int:
        """What is left for it, and what others make room for; seen: places that were asked for already."""
        mine, held, got = one.reaches & self._left.keys(), self._held.setdefault(one, Counter()), 0
        for place in mine:
            n = min(units - got, self._left[place])
            self._left[place] -= n
            held[place] += n
            got += n
        for place in mine - seen if got < units else ():
            seen.add(place)
            for other, theirs in list(self._held.items()):
                n = min(units - got, theirs[place])
                moved = self._more(other, n, seen) if n and other is not one else 0
                theirs[place] -= moved
                held[place] += moved
                got += moved
        return got


def shown(there: int, policy: Policy, buffer: int = 0, kept: int = 0) -> int:
    """Units a listing may show of those others leave it, never more than these and what locks keep for it.

    buffer: where the policy says none.
    """
    room = max(0, there - policy.reserve)
    less = buffer if policy.buffer is None else policy.buffer
    part = max(0, room * policy.share // 100 + kept - less)
    units = max(part, min(policy.floor, room + kept))
    return units if policy.cap is None else min(units, policy.cap)


def shown_each(there: npt.NDArray[np.int64], policy: Policy, buffers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """As `shown` for many listings under one policy, of whose items no listing has units for itself."""
    room = np.maximum(0, there - policy.reserve)
    less = buffers if policy.buffer is None else policy.buffer
    units = np.maximum(np.maximum(0, room * policy.share // 100 - less), np.minimum(policy.floor, room))
    return units if policy.cap is None else np.minimum(units, policy.cap)
