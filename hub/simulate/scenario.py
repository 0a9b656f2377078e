"""What is simulated: shops and their ways, goods, what shoppers do, and the figures that come of it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from core.errors import Unfit
from core.rules.levels import LAG_BUFFER
from core.store.policies import TERMS

FORMS = ("compare", "delta", "read_set", "set")
MOMENTS = ("create", "pay", "ship", "never")
MEANS = ("saleable", "on_hand")


@dataclass(frozen=True)
class Ways:
    """How a shop behaves. poll_s: its orders are read every so often; latency_s: how long each call takes one way.

    lost: the share of answers to our writes that never come; races: it sells what it does not show as well;
    lag_buffer: listing units it is told less where it is told blindly.
    """

    form: str = "read_set"
    decrements_at: str = "create"
    level_means: str = "saleable"
    per: str = "account"
    poll_s: float = 60.0
    latency_s: float = 1.0
    lost: float = 0.0
    races: bool = False
    lag_buffer: int = LAG_BUFFER

    def __post_init__(self) -> None:
        """Raises Unfit for a shop that cannot be."""
        checks = (
            (self.form in FORMS, f"a wire form is one of {', '.join(FORMS)}"),
            (self.decrements_at in MOMENTS, f"a shop decrements at one of {', '.join(MOMENTS)}"),
            (self.level_means in MEANS, f"a level means one of {', '.join(MEANS)}"),
            (self.per in ("account", "location"), "a level is per account or per location"),
            (self.poll_s > 0 and self.latency_s >= 0, "a poll takes some time, and no call less than none"),
            (0 <= self.lost < 1, "lost answers are a share from 0 to below 1"),
        )
        if why := next((words for fine, words in checks if not fine), ""):
            raise Unfit(f"{why}: change it")

    def ability(self) -> dict[str, Any]:
        """As a manifest says it."""
        forms = {"set": ["set"], "read_set": ["read_set"]}.get(self.form, [self.form, "read_set"])
        key = "location" if self.per == "location" else "ref"
        figures = {"level_means": self.level_means, "decrements_at": self.decrements_at, "restocks_on": ["close"]}
        says = {"lane": "stock", "forms": forms, "batch_max": 20, "batch_key": key, "per": self.per}
        return {**says, **figures, "lag_buffer": self.lag_buffer}


@dataclass(frozen=True)
class Sale:
    """A shopper wants units of an item at a shop. pays_s: seconds until it is paid, None: never, then it is closed."""

    at_s: float
    shop: int
    item: int
    units: int = 1
    pays_s: float | None = 0.0


@dataclass(frozen=True)
class Arrival:
    """Units of an item come in; less than 0: they are found missing."""

    at_s: float
    item: int
    units: int


@dataclass(frozen=True)
class Scenario:
    """shops by number, stock: units of each item by number; policy: terms of a channel policy for all of them."""

    shops: tuple[Ways, ...]
    stock: tuple[int, ...]
    sales: tuple[Sale, ...]
    arrivals: tuple[Arrival, ...] = ()
    policy: Mapping[str, int] = field(default_factory=dict)
    seed: int = 7

    def __post_init__(self) -> None:
        """Raises Unfit for one that cannot be run."""
        unknown = sorted(set(self.policy) - set(TERMS) | {"exclusive"} & set(self.policy))
        if unknown:
            raise Unfit(f"{', '.join(unknown)}: a policy here says " + ", ".join(t for t in TERMS if t != "exclusive"))
        if not self.shops or not self.stock:
            raise Unfit("say at least one shop and one item")


@dataclass(frozen=True)
class Result:
    """Units. asked: by shoppers; sold: by shops; turned_away: shoppers found too little shown, lost_sales: though the
    pool had it; oversold: sold beyond what the pool could back, oversold_by: by cause, and what it had, but not
    together; short: still not backed in the end;
    window: sold while the shop's figure did not yet reflect as many other sales, the most that can be oversold;
    withheld: free and shown nowhere, on average; calls: to shops; astray: listings that show at last what they should
    not.
    """

    asked: int
    sold: int
    turned_away: int
    lost_sales: int
    oversold: int
    oversold_by: Mapping[str, int]
    short: int
    window: int
    withheld: float
    calls: int
    astray: int

    def as_json(self) -> dict[str, Any]:
        """As it is printed."""
        return {**asdict(self), "oversold_by": dict(sorted(self.oversold_by.items()))}


def drawn(
    ways: Sequence[Ways], *, items: int, stock: int, orders: int, hours: float, seed: int, policy: Mapping[str, int]
) -> Scenario:
    """Shoppers drawn from a seed: few items are wanted by many; one of ten pays late, one of twenty never."""
    chance = random.Random(seed)
    weights = [1 / rank for rank in range(1, items + 1)]

    def sale() -> Sale:
        (item,) = chance.choices(range(items), weights)
        (pays,) = chance.choices((0.0, chance.uniform(60, 900), None), (85, 10, 5))
        at_s, shop = chance.uniform(0, hours * 3600), chance.randrange(len(ways))
        return Sale(at_s, shop, item, chance.choice((1, 1, 1, 2)), pays)

    sales = sorted((sale() for _ in range(orders)), key=lambda one: one.at_s)
    return Scenario(tuple(ways), (stock,) * items, tuple(sales), policy=policy, seed=seed)
