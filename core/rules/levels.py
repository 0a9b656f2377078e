"""What a shop shall show, and in which wire form it is said (LEDGER §6). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Form = Literal["skip", "compare", "delta", "read_set", "set"]
BLIND = (
    "it is told blindly: what it sells between our hearing of its orders and our write is sold again, since its figure"
    " can be neither compared, changed by a difference nor read; let its stock be read, use a connector that can do"
    " more, or keep a buffer as large as what it sells meanwhile"
)
LAG_BUFFER = 1
"""Listing units, where an ability says nothing else."""


@dataclass(frozen=True)
class Shelf:
    """One listing at one shop. All in listing units.

    told: the target our last confirmed write stood for; seen: units since then that the shop applied itself and we
    heard of; doubt: an absolute write or a lost answer makes `told` unsure until a read confirms it; unknown: a write
    was lost or somebody changed the figure, so that it is written whatever should stand there; applied: units the shop
    applied in all, ever; doubts: how often it was put in doubt, ever.
    """

    told: int | None
    seen: int
    doubt: bool = False
    unknown: bool = False
    applied: int = 0
    doubts: int = 0

    @property
    def expected(self) -> int | None:
        """What the shop should show now."""
        return None if self.told is None else self.told - self.seen


def target(units: int, pack: int) -> int:
    """Listing units that may be shown: whole packs of so many base units."""
    return max(0, units) // pack


def held(wanted: int, expected: int | None) -> int:
    """What may be shown while a source is stale: no more than stands there."""
    return wanted if expected is None else min(wanted, max(0, expected))


def blind(offered: Sequence[str], level_means: str) -> bool:
    """Whether a write lays itself over sales nobody has heard of: there nothing may be skipped (LEDGER 6, form 4)."""
    return tuple(offered) == ("set",) and level_means == "saleable"


def warning(can: Mapping[str, Any]) -> str:
    """What those who connect a shop with these abilities have to know; "" for nothing."""
    says = can.get("send_stock")
    return BLIND if says and blind(says["forms"], says["level_means"]) else ""


def buffer(own: int, pack: int, can: Mapping[str, Any]) -> int:
    """Base units a listing holds back where no policy says how many: a blind shop's at least its lag buffer.

    own: what the listing says; can: its shop's abilities.
    """
    return max(own, lag_buffer(can) * pack)


def lag_buffer(can: Mapping[str, Any]) -> int:
    """Listing units a blind shop is told less, for what it sells before we hear of it; 0 where it need not be."""
    return int(can["send_stock"].get("lag_buffer", LAG_BUFFER)) if warning(can) else 0


def form(shelf: Shelf, wanted: int, offered: Sequence[str], level_means: str = "on_hand") -> Form:
    """How to say it: nothing when the shop already shows it, else the best form it offers.

    An unknown or negative expectation (the shop sold at 0 and may have clamped) and doubt go to a read first.
    """
    if shelf.expected == wanted and not shelf.unknown and not blind(offered, level_means):
        return "skip"
    sure = shelf.expected is not None and shelf.expected >= 0 and not shelf.doubt
    for name in ("compare", "delta"):
        if sure and name in offered:
            return name
    return "read_set" if "read_set" in offered else "set"


def after_read(shelf: Shelf, wanted: int, shown: int) -> int:
    """What to write over a figure just read, so that sales we have not heard of yet are not sold twice."""
    unseen = 0 if shelf.expected is None else max(0, shelf.expected - shown)
    return max(0, wanted - unseen)


def on_hand(wanted: int, threshold: int, taken_not_fulfilled: int) -> int:
    """The on-hand figure for a shop that subtracts its own allocations: saleable becomes wanted less what is unseen."""
    return wanted + threshold + taken_not_fulfilled
