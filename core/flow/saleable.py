"""What each listing may show: what its shop's pool can promise, less the buffer, in whole packs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select

from core.rules import levels
from core.store import tables as t
from core.store.store import Transaction


def targets(tx: Transaction, rows: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """Listing id → what it may show, computed afresh from the ledger."""
    ce, p = t.cells.c, t.pools.c
    pools: dict[int, set[int]] = {}
    for pool in tx.rows(select(t.pools).where(p.connection_id.in_(sorted({r["connection_id"] for r in rows})))):
        pools.setdefault(pool["connection_id"], set()).add(pool["warehouse_id"])
    items = sorted({r["item_id"] for r in rows})
    cells = tx.rows(
        select(ce.item_id, ce.warehouse_id, ce.free, ce.suspense).where(ce.item_id.in_(items), ce.condition == "ZP")
    )
    promisable: dict[tuple[int, int], int] = {}
    for cell in cells:
        key = (cell["item_id"], cell["warehouse_id"])
        promisable[key] = promisable.get(key, 0) + max(0, cell["free"] + min(0, cell["suspense"]))
    return {
        r["id"]: levels.target(
            sum(promisable.get((r["item_id"], w), 0) for w in pools.get(r["connection_id"], ())), r["buffer"], r["pack"]
        )
        for r in rows
    }
