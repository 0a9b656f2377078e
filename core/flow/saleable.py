"""What each listing may show: what its pool can promise and locks keep for it, less the buffer, in whole packs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select

from core.flow import sell_kits
from core.rules import kits, levels
from core.store import tables as t
from core.store.locks import open_locks
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
    free: dict[tuple[int, int], int] = {}
    """Below 0: so many units are missing."""
    for cell in cells:
        key = (cell["item_id"], cell["warehouse_id"])
        free[key] = free.get(key, 0) + cell["free"] + min(0, cell["suspense"])
    kept = _kept(tx, rows, items)

    def there(listing: Mapping[str, Any], warehouse: int) -> int:
        recipe = recipes.get(listing["item_id"]) or {str(listing["item_id"]): 1}
        room = {int(part): free.get((int(part), warehouse), 0) for part in recipe}
        mine = {part: max(0, kept[listing["id"], part, warehouse] + min(0, n)) for part, n in room.items()}
        return kits.whole(recipe, {part: max(0, n) for part, n in room.items()}) + kits.whole(recipe, mine)

    return {
        r["id"]: levels.target(sum(there(r, w) for w in pools.get(r["connection_id"], ())), r["buffer"], r["pack"])
        for r in rows
    }


def _kept(tx: Transaction, rows: Sequence[Mapping[str, Any]], items: Sequence[int]) -> Counter[tuple[int, int, int]]:
    """(listing id, item id, warehouse id) → units that open locks keep for what is sold of it now."""
    found: Counter[tuple[int, int, int]] = Counter()
    locks = open_locks(tx, {r["connection_id"] for r in rows}, items)
    for row in rows if locks else ():
        for some in (k for k in locks if k.connection_id == row["connection_id"] and k.serves(row["id"], tx.now)):
            found[row["id"], some.item_id, some.warehouse_id] += some.units
    return found
