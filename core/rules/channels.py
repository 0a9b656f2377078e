"""How much of what a listing could show its channel's policy lets it show, and of what a caller may be promised. Pure.

Base units throughout.
"""

from __future__ import annotations

from collections.abc import Iterable
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


class Claimed(NamedTuple):
    """Units of an item that one listing has for itself; the higher the priority the sooner it gets them.

    merchant_id: whose listing it is; owner_id: whose goods.
    """

    listing_id: int
    units: int
    priority: int
    merchant_id: int = 0
    owner_id: int = 0

    def binds(self, merchant_id: int) -> bool:
        """Whether that merchant leaves them alone: who sells another's goods keeps none from their owner."""
        return self.merchant_id in (merchant_id, self.owner_id)


class Bound(NamedTuple):
    """What keeps units of an item from callers: the terms that hold for them, and what listings have for themselves."""

    policy: Policy
    exclusives: tuple[Claimed, ...] = ()

    def units(self, there: int) -> int:
        """Units a caller may be promised of those its pool could promise: what a shop would show."""
        return shown(beside(there, self.exclusives), self.policy)


def beside(there: int, exclusives: Iterable[Claimed], listing_id: int = 0) -> int:
    """Units of those there are that others' exclusive units leave to a listing, or to a caller (0).

    exclusives: those that bind it, its own among them.
    """
    left, others = there, 0
    for one in sorted(exclusives, key=lambda e: (-e.priority, e.listing_id)):
        granted = min(left, one.units)
        left -= granted
        others += granted if one.listing_id != listing_id else 0
    return there - others


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
