"""What a figure says of the books: inside what may be, or how far outside, and what follows (LEDGER §7). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

State = Literal["agrees", "reported", "waits", "asked", "dismissed", "booked"]
"""What became of a comparison. reported: its source is no authority here."""
OPEN: tuple[State, ...] = ("waits", "asked", "dismissed")
"""States in which a residual stands until the source shows another."""
FEW_LINES = 5
"""Of fewer lines no share is taken: one line that is off would be all of them."""


@dataclass(frozen=True)
class Expected:
    """Units that lie there by the books at one moment, and how far goods on their way may have changed that."""

    on_hand: int
    lowest: int
    highest: int

    def residual(self, theirs: int) -> int:
        """How far a figure lies outside; 0 inside."""
        return theirs - self.highest if theirs > self.highest else min(0, theirs - self.lowest)


@dataclass(frozen=True)
class Limits:
    """A warehouse's limits. after_s: how far two snapshots lie apart; percent: of the units on hand, of the lines."""

    after_s: int
    max_units: int
    max_percent: int
    snapshot_max_percent: int

    def exceeded(self, residual: int, on_hand: int) -> bool:
        """Whether a person decides about so large a residual."""
        return abs(residual) > self.max_units or abs(residual) * 100 > self.max_percent * abs(on_hand)


@dataclass(frozen=True)
class Before:
    """The comparison of the same goods before this one. first_as_of: since when its residual was the same."""

    residual: int
    state: str
    first_as_of: datetime

    def goes_on(self, residual: int) -> bool:
        """Whether the residual it left is the one that is shown now."""
        return residual == self.residual and self.state in OPEN


def decide(
    residual: int, on_hand: int, as_of: datetime, before: Before | None, limits: Limits, *, sole: bool, quiet: bool
) -> State:
    """What becomes of a residual an authority shows.

    sole: one owner's goods are meant; quiet: nothing of them is parked or in doubt.
    """
    if not residual:
        return "agrees"
    if before is None or not before.goes_on(residual):
        return "waits"
    if before.state == "dismissed":
        return "dismissed"
    if not quiet or as_of - before.first_as_of < timedelta(seconds=limits.after_s):
        return "asked" if before.state == "asked" else "waits"
    return "asked" if not sole or limits.exceeded(residual, on_hand) else "booked"


def sweeping(changed: Sequence[bool], limits: Limits) -> bool:
    """Whether too large a share of a reading's lines is off as it was not before."""
    return len(changed) >= FEW_LINES and sum(changed) * 100 > limits.snapshot_max_percent * len(changed)
