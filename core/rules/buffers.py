"""What buffer would have kept a listing from selling what was gone, told by replaying what was recorded of it. Pure.

Times are seconds since the window began, quantities base units. `docs/operating.md` says what a replay cannot know.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import cached_property
from itertools import accumulate, pairwise
from random import Random
from typing import Literal, NamedTuple

from core.rules.channels import Policy, shown

DRAWS, SAMPLES = 8, 200
"""Sets of lags that are drawn, and resamplings of the days."""
FEWEST = 20
"""Sales below which nothing is advised."""
SURE = 3
"""Oversold units the share must allow in the window to be told from none: none in n says no more than 3/n (95 %)."""
DAY_S = 86_400
Reason = Literal["few_sales", "no_lags", "quota", "no_buffer_does", "other_causes", "raise", "lower", "keep"]
Act = Literal["placed", "heard", "back"]


class Sale(NamedTuple):
    """Units the shop sold, and when we heard of them. back: of these, so many were called off, at back_at."""

    placed: float
    heard: float
    units: int
    back: int = 0
    back_at: float = 0.0


class Step(NamedTuple):
    """Units the pool could promise from then on. own: it was booked for a sale of this listing."""

    at: float
    there: int
    own: bool = False


class Lag(NamedTuple):
    """Calls that took between low and high seconds from what moved until the shop was told."""

    low_s: float
    high_s: float
    calls: int


class Story(NamedTuple):
    """One listing in one window. there: units the pool could promise as it began; steps by time; lags: at least one."""

    there: int
    steps: Sequence[Step]
    sales: Sequence[Sale]
    lags: Sequence[Lag]
    ends: float

    @property
    def sold(self) -> int:
        """Units sold in all."""
        return sum(sale.units for sale in self.sales)


class Outcome(NamedTuple):
    """What a buffer would have done. days: per set of lags and day, units oversold; refused: units not sold, of all."""

    days: Sequence[Sequence[int]]
    refused: int

    @property
    def oversold(self) -> int:
        """Over all sets of lags together."""
        return sum(map(sum, self.days))


class Advice(NamedTuple):
    """buffer: None where none can be said. low, high: where nine of ten resamplings put it.

    replayed: units oversold when replayed with the buffer that stands; would_be, refused: with the advised one;
    sure: whether so many sales can show so small a share at all.
    """

    reason: Reason
    buffer: int | None = None
    low: int | None = None
    high: int | None = None
    replayed: float | None = None
    would_be: float | None = None
    refused: float | None = None
    sure: bool = False


class Replay:
    """A story told again with other buffers. Its sales are as they were, as far as the shop would have shown them."""

    def __init__(self, story: Story, policy: Policy = Policy(), seed: int = 0) -> None:  # noqa: B008
        self._story, self._policy = story, policy._replace(buffer=None)
        self._moves = [
            (after.at, after.there - before.there)
            for before, after in pairwise([Step(0.0, story.there), *story.steps])
            if not after.own and after.there != before.there
        ]
        self._sums = [0, *accumulate(units for _, units in self._moves)]
        times = [at for at, _ in self._moves]
        self._booked = [self._sums[bisect_right(times, sale.heard)] for sale in story.sales]
        self._told = [self._told_by(Random(f"{seed}:{draw}")) for draw in range(DRAWS)]
        self._known: dict[int, Outcome] = {}

    @cached_property
    def most(self) -> int:
        """A buffer with which nothing is shown, but for a policy's floor."""
        return max(0, self._story.there + max(self._sums) + sum(sale.back for sale in self._story.sales))

    @cached_property
    def sold(self) -> list[int]:
        """Units sold per day of the window."""
        found = [0] * self.days
        for sale in self._story.sales:
            found[self._day(sale)] += sale.units
        return found

    @property
    def days(self) -> int:
        """Days of the window, the last one perhaps not whole."""
        return max(1, -int(-self._story.ends // DAY_S))

    def with_buffer(self, units: int) -> Outcome:
        """What would have been; never more oversold with a higher one, where the policy shows all there is."""
        if units not in self._known:
            told = [self._tell(known, units) for known in self._told]
            self._known[units] = Outcome([days for days, _ in told], sum(refused for _, refused in told))
        return self._known[units]

    def smallest(self, holds: Callable[[Outcome], bool]) -> int | None:
        """The smallest buffer whose outcome holds; None where none does."""
        low, high = 0, 0
        while not holds(self.with_buffer(high)):
            if high >= self.most:
                return None
            low, high = high + 1, min(self.most, high * 2 or 1)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if holds(self.with_buffer(middle)) else (middle + 1, high)
        return low

    @cached_property
    def _acts(self) -> list[tuple[Act, int]]:
        """What happens to which sale, in time order; at one moment shops sell before we hear."""
        acts: list[tuple[float, int, int, Act]] = []
        for n, sale in enumerate(self._story.sales):
            acts += [(sale.placed, 0, n, "placed"), (sale.heard, 1, n, "heard")]
            if sale.back:
                acts.append((max(sale.heard, sale.back_at), 2, n, "back"))
        return [(act, n) for _, _, n, act in sorted(acts)]

    def _told_by(self, chance: Random) -> list[int]:
        """Per sale, what had moved elsewhere by as much as the shop knew; a later figure stands for all before it."""
        lags, weights = self._story.lags, list(accumulate(lag.calls for lag in self._story.lags))
        drawn = chance.choices(lags, cum_weights=weights, k=len(self._moves)) if self._moves else []
        told = [at + chance.uniform(lag.low_s, lag.high_s) for (at, _), lag in zip(self._moves, drawn, strict=True)]
        told = list(accumulate(reversed(told), min))[::-1]
        return [self._sums[bisect_left(told, sale.placed)] for sale in self._story.sales]

    def _tell(self, known: Sequence[int], buffer: int) -> tuple[list[int], int]:
        """(units oversold per day, units refused)."""
        sales, there = self._story.sales, self._story.there
        days, taken, gone, heard = [0] * self.days, [0] * len(sales), 0, 0
        for act, n in self._acts:
            sale = sales[n]
            if act == "placed":
                taken[n] = min(sale.units, shown(max(0, there + known[n] - gone), self._policy, buffer))
                gone += taken[n]
            elif act == "heard":
                days[self._day(sale)] += max(0, taken[n] - max(0, there + self._booked[n] - heard))
                heard += taken[n]
            else:
                some = min(sale.back, taken[n])
                gone, heard = gone - some, heard - some
        return days, sum(sale.units for sale in sales) - sum(taken)

    def _day(self, sale: Sale) -> int:
        return min(int(sale.placed // DAY_S), self.days - 1)


def advise(story: Story, policy: Policy, current: int, share: Decimal, oversold: int = 0, seed: int = 0) -> Advice:
    """The smallest buffer with which at most this share of the units sold would have been oversold.

    current: the buffer that stands; oversold: units of the story that really were, of which stale figures explain half
    or the reason is `other_causes`.
    """
    if len(story.sales) < FEWEST:
        return Advice("few_sales")
    if not story.lags:
        return Advice("no_lags")
    replay = Replay(story, policy, seed)
    sure = story.sold * share >= SURE
    replayed = replay.with_buffer(current).oversold / DRAWS
    found = replay.smallest(lambda outcome: outcome.oversold <= share * story.sold * DRAWS)
    if found is None:
        return Advice("no_buffer_does", replayed=replayed, sure=sure)
    low, high = _interval(replay, share, found, seed)
    then = replay.with_buffer(found)
    reason: Reason = "raise" if found > current else "lower" if found < current else "keep"
    if replay.with_buffer(0).oversold * 2 < oversold * DRAWS:
        reason = "other_causes"
    return Advice(reason, found, low, high, replayed, then.oversold / DRAWS, then.refused / DRAWS, sure)


def _interval(replay: Replay, share: Decimal, found: int, seed: int) -> tuple[int, int]:
    """Where nine of ten resamplings of days and lags put the buffer; it holds what was found."""
    chance, buffers = Random(f"{seed}:days"), []
    for _ in range(SAMPLES):
        picked = [(chance.randrange(DRAWS), chance.randrange(replay.days)) for _ in range(replay.days)]
        allowed = share * sum(replay.sold[day] for _, day in picked)

        def holds(outcome: Outcome, picked: Sequence[tuple[int, int]] = picked, allowed: Decimal = allowed) -> bool:
            return sum(outcome.days[draw][day] for draw, day in picked) <= allowed

        one = replay.smallest(holds)
        buffers.append(replay.most if one is None else one)
    buffers.sort()
    return min(found, buffers[SAMPLES // 20]), max(found, buffers[-SAMPLES // 20 - 1])


def withheld(story: Story, policy: Policy, current: int) -> float:
    """Units the buffer kept from being shown, on average over the window."""
    bare, total = policy._replace(buffer=None), 0.0
    points = [Step(0.0, story.there), *story.steps, Step(story.ends, 0)]
    for now, then in pairwise(points):
        units = shown(now.there, bare) - shown(now.there, bare, current)
        total += units * max(0.0, then.at - now.at)
    return total / story.ends if story.ends else 0.0
