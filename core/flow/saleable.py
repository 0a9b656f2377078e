"""What each listing may show: what its shop's pool can promise, less the buffer, in whole packs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select

from core.flow import sell_kits
from core.rules import kits, levels
from core.store import tables as t
from core.store.store import Transaction


def targets(tx: Transaction, rows: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """Listing id → what it may show, computed afresh from the ledger."""
    ce, p = t.cells.c, t.pools.c
    pools: dict[int, set[int]] = {}
    for pool in tx.rows(select(t.pools).where(p.connection_id.in_(sorted({r["connection_id"] for r in rows})))):
        pools.setdefault(pool["connection_id"], set()).add(pool["warehouse_id"])
    recipes = sell_kits.recipes(tx, {r["item_id"] for r in rows})
    items = sorted({r["item_id"] for r in rows} | {int(part) for recipe in recipes.values() for part in recipe})
    cells = tx.rows(
        select(ce.item_id, ce.warehouse_id, ce.free, ce.suspense).where(ce.item_id.in_(items), ce.condition == "ZP")
    )
    promisable: dict[tuple[int, int], int] = {}
    for cell in cells:
        key = (cell["item_id"], cell["warehouse_id"])
        promisable[key] = promisable.get(key, 0) + max(0, cell["free"] + min(0, cell["suspense"]))

    def there(item: int, warehouse: int) -> int:
        if recipe := recipes.get(item):
            return kits.whole(recipe, {int(part): promisable.get((int(part), warehouse), 0) for part in recipe})
        return promisable.get((item, warehouse), 0)

    return {
        r["id"]: levels.target(
            sum(there(r["item_id"], w) for w in pools.get(r["connection_id"], ())), r["buffer"], r["pack"]
        )
        for r in rows
    }
