"""One stock sold by many: contracts of which one runs out while shoppers buy, and goods that change their owner."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox.demo.goods import DISTRIBUTOR, OWNER, PARTNER, Good
from sandbox.demo.town import Town

SEASONAL = 3
"""Goods the distributor may sell by the contract that runs out alone."""
SEASON_UNITS = 200
PASSED_UNITS = 4
PASSED = slice(SEASONAL, SEASONAL + 2)


def lasting(goods: Sequence[Good]) -> list[Good]:
    """What the distributor may sell without an end."""
    return [good for good in goods[SEASONAL:] if not good.scarce]


def let_sell(
    town: Town, seller: str, ref: str, items: Sequence[dict[str, Any]], goods: Sequence[Good], **more: Any
) -> None:
    """The owner lets a merchant sell these at half their price."""
    prices = {good.sku: good.price // 2 for good in goods}
    priced = [{**item, "price_minor": prices[item["sku"]]} for item in items]
    new = {"ref": ref, "owner": OWNER, "beneficiary": seller, "currency": "CNY", "items": priced, **more}
    town.api("POST", "/contracts", new)


class Broker:
    """Makes the contract that runs out, and has goods change their owner, while shoppers buy."""

    def __init__(self, town: Town, goods: Sequence[Good], span_s: float) -> None:
        self._town, self._goods = town, goods
        ends = datetime.now(UTC) + timedelta(seconds=span_s / 2)
        season = goods[:SEASONAL]
        items = [{"sku": good.sku, "units": SEASON_UNITS} for good in season]
        let_sell(town, DISTRIBUTOR, "SEASON", items, season, until=ends.isoformat())
        self._pool = ThreadPoolExecutor(1)
        self._passed = self._pool.submit(self._pass, span_s / 3)

    def join(self) -> None:
        """What was to pass has passed. Raises what kept it from passing."""
        self._passed.result()
        self._pool.shutdown()

    def _pass(self, wait_s: float) -> None:
        """A few units become the partner's where they lie; its shops sell them before the owner's."""
        time.sleep(wait_s)
        lines = [{"sku": good.sku, "quantity": PASSED_UNITS} for good in self._goods[PASSED]]
        where = next(iter(self._goods[PASSED][0].stock))
        new = {"ref": "PASSED", "owner": OWNER, "to": PARTNER, "warehouse": where, "lines": lines, "unback": True}
        self._town.api("POST", "/title-transfers", new)


def figures(town: Town) -> dict[str, int]:
    """Units owed for, title transfers, and units that were sold beyond what a contract allowed."""
    today = datetime.now(UTC).date()
    owed = town.api("GET", "/settlements", first=str(today - timedelta(days=1)), last=str(today))["rows"]
    items = [item for contract in town.rows("/contracts") for item in contract["items"]]
    return {
        "settlement_units": sum(row["units"] for row in owed),
        "transfers": len(town.rows("/title-transfers")),
        "contracts_overdrawn": sum(max(0, i["used"] - i["units"]) for i in items if i["units"] is not None),
    }
