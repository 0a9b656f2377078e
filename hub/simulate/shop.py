"""A modelled shop: what it shows, sells and tells, and what our writes do to its figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from core.errors import Mismatch
from core.model import Level, Order, OrderLine
from hub.simulate.scenario import Ways


@dataclass
class Bought:
    """One order at the shop, by its latest version."""

    ref: str
    listing: str
    units: int
    placed_at: datetime
    paid_at: datetime | None = None
    closed: bool = False
    version: int = 1
    changed_at: datetime | None = None


@dataclass
class Shop:
    """Figures by listing: on hand where its levels mean that, else what is saleable."""

    number: int
    ways: Ways
    figures: Counter[str] = field(default_factory=Counter)
    allocated: Counter[str] = field(default_factory=Counter)
    orders: dict[str, Bought] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)

    @property
    def applies_at_once(self) -> bool:
        """Whether it takes what is sold off its figure before it is paid."""
        return self.ways.decrements_at == "create" or self.ways.level_means == "on_hand"

    def shows(self, listing: str) -> int:
        """Units a shopper may buy there now."""
        return max(0, self.figures[listing] - self.allocated[listing])

    def buy(self, listing: str, units: int, now: datetime) -> Bought | None:
        """An order that is not paid yet; None where it shows too few."""
        if self.shows(listing) < units and not self.ways.races:
            return None
        ref = f"{self.number}-{len(self.orders) + 1}"
        bought = self.orders[ref] = Bought(ref, listing, units, now, changed_at=now)
        if self.applies_at_once:
            self._take(bought)
        return bought

    def pay(self, bought: Bought, now: datetime) -> None:
        """It is paid."""
        bought.paid_at, bought.changed_at, bought.version = now, now, bought.version + 1
        if self.ways.decrements_at == "pay" and self.ways.level_means == "saleable":
            self._take(bought)

    def close(self, bought: Bought, now: datetime) -> None:
        """It is called off before it was paid; what it took is on sale again."""
        bought.closed, bought.changed_at, bought.version = True, now, bought.version + 1
        if self.ways.level_means == "on_hand":
            self.allocated[bought.listing] -= bought.units
        elif self.ways.decrements_at == "create":
            self.figures[bought.listing] += bought.units

    def _take(self, bought: Bought) -> None:
        if self.ways.level_means == "on_hand":
            self.allocated[bought.listing] += bought.units
        else:
            self.figures[bought.listing] = max(0, self.figures[bought.listing] - bought.units)

    def write(self, levels: Sequence[Level]) -> None:
        """Our levels reach it; a repeated key is known. Raises Mismatch where another figure is expected."""
        if any(one.form == "compare" and self.figures[one.listing] != one.expected for one in levels):
            raise Mismatch("it shows something else")
        for one in levels:
            if one.form != "delta":
                self.figures[one.listing] = one.quantity
            elif f"{one.listing}/{one.key}" not in self.keys:
                self.keys.add(f"{one.listing}/{one.key}")
                self.figures[one.listing] = max(0, self.figures[one.listing] + one.change)

    def told(self, since: datetime | None, until: datetime) -> list[Order]:
        """Orders that changed after one moment and until another, as its feed tells them."""
        changed = [b for b in self.orders.values() if b.changed_at and b.changed_at <= until]
        return [self._order(b) for b in changed if since is None or (b.changed_at and b.changed_at > since)]

    def _order(self, bought: Bought) -> Order:
        paid = bought.paid_at is not None
        holds = not bought.closed and (paid or self.ways.decrements_at != "pay")
        return Order(
            ref=bought.ref,
            version=f"{bought.version:06}",
            status="closed" if bought.closed else "paid" if paid else "unpaid",
            claims_stock=holds,
            may_ship=paid,
            closed=bought.closed,
            placed_at=bought.placed_at,
            paid_at=bought.paid_at,
            currency="CNY",
            lines=(OrderLine(ref="1", listing=bought.listing, quantity=bought.units),),
        )
