"""What the town sells: plenty of some items, very little of a few that many want."""

from __future__ import annotations

from dataclasses import dataclass

PLENTY = 24
SCARCE = 4
SCARCE_UNITS = 6
OWNER, MERCHANTS = "aurora", ("aurora", "birch", "cedar")
PARTNER, DISTRIBUTOR = "birch", "cedar"
"""Who sells the owner's goods by contracts: all of them, and those of the distributor's contracts."""
WAREHOUSES = {"east": "WH01", "south": "WH02"}
KEEPER = "YIPAN01"


@dataclass(frozen=True)
class Good:
    """One item. stock: units by warehouse; n: its number, from 1."""

    n: int
    sku: str
    title: str
    price: int
    stock: dict[str, int]
    scarce: bool

    def listing(self, shop: str) -> str:
        """The shop's number of it."""
        return f"{7000 + self.n}" if shop.startswith("tmall") else str(self.n)

    @property
    def product(self) -> str:
        """Tmall's product it is a SKU of; four SKUs make a product."""
        return f"{9000 + (self.n - 1) // 4}"


def goods(orders: int) -> list[Good]:
    """All goods; enough of the plentiful ones for so many orders. Every sixth lies in one warehouse only."""
    enough = 20 + orders
    found = []
    for n in range(1, PLENTY + SCARCE + 1):
        scarce = n > PLENTY
        units = SCARCE_UNITS if scarce else enough
        stock = (
            {"east": units}
            if scarce or n % 6 == 0
            else {"south": units}
            if n % 6 == 3
            else dict.fromkeys(WAREHOUSES, units)
        )
        title = f"限量 {n:02d}" if scarce else f"商品 {n:02d}"
        found.append(Good(n, f"SKU-{n:03d}", title, 1000 + 100 * n, stock, scarce))
    return found
