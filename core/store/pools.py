"""The warehouses each shop sells from, first choice first."""

from __future__ import annotations

from collections.abc import Iterable

from core.store import tables as t
from core.store.store import Transaction, many


def pools(tx: Transaction, connections: Iterable[int]) -> dict[int, list[int]]:
    """Connection id → its warehouses, best first; those without a pool are left out."""
    rows = many(tx, t.pools, "connection_id", sorted(set(connections)))
    found: dict[int, list[int]] = {}
    for row in sorted(rows, key=lambda r: (r["connection_id"], r["rank"])):
        found.setdefault(row["connection_id"], []).append(row["warehouse_id"])
    return found
