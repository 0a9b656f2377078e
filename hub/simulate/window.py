"""How many units shops sold while their figures did not reflect as many others: the most that can be oversold."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable


class Window:
    """Which sales each shop's figure of a listing reflects. units: the window so far."""

    def __init__(self) -> None:
        self.units = 0
        self._units: dict[str, tuple[str, int]] = {}
        self._heard: set[str] = set()
        self._reflected: defaultdict[tuple[int, str], set[str]] = defaultdict(set)
        self._ghosts: Counter[tuple[int, str]] = Counter()

    def sold(self, shop: int, listing: str, sale: str, units: int, applied: bool) -> None:
        """A shop sold units; applied: its own figure shows that already."""
        here, mine = (shop, listing), self._reflected[shop, listing]
        dark = sum(n for ref, (of, n) in self._units.items() if of == listing and ref not in mine)
        self.units += min(units, dark + self._ghosts[here])
        self._units[sale] = (listing, units)
        if applied:
            mine.add(sale)

    def lost(self, listing: str, loss: str, units: int) -> None:
        """Units of it are gone; the hub knows at once. Of what was sold and not heard of, so much may have had them."""
        unheard = sum(n for ref, (of, n) in self._units.items() if of == listing and ref not in self._heard)
        self.units += min(units, unheard)
        self._units[loss] = (listing, units)
        self._heard.add(loss)

    def applied(self, shop: int, listing: str, sale: str) -> None:
        """The shop's own figure shows it now."""
        self._reflected[shop, listing].add(sale)

    def closed(self, shop: int, listing: str, sale: str, restocks: bool) -> None:
        """It was called off. A figure that never reflected it shows as many too many where it is put back."""
        if restocks and sale not in self._reflected[shop, listing]:
            self._ghosts[shop, listing] += self._units[sale][1]
        self._units.pop(sale)

    def heard(self, sales: Iterable[str]) -> None:
        """The hub knows of them, and keeps units for them."""
        self._heard.update(sales)

    def known(self) -> set[str]:
        """What the hub knows of now."""
        return set(self._heard)

    def seen_at(self, shop: int, listings: Iterable[str]) -> set[str]:
        """Sales that these figures of a shop reflect now, for whoever reads them."""
        return set().union(*(self._reflected[shop, listing] for listing in listings))

    def landed(self, shop: int, listing: str, known: set[str], absolute: bool) -> None:
        """A write computed with that knowledge is there. absolute: it laid itself over what the shop had applied."""
        here = (shop, listing)
        self._reflected[here] = set(known) if absolute else self._reflected[here] | known
        if absolute:
            self._ghosts[here] = 0
