"""The warehouses each shop sells from, first choice first, and the revision of what it sells."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import update

from core.store import tables as t
from core.store.store import Transaction, many


def pools(tx: Transaction, connections: Iterable[int]) -> dict[int, list[int]]:
    """Connection id → its warehouses, best first; those without a pool are left out."""
    rows = many(tx, t.pools, "connection_id", sorted(set(connections)))
    found: dict[int, list[int]] = {}
    for row in sorted(rows, key=lambda r: (r["connection_id"], r["rank"])):
        found.setdefault(row["connection_id"], []).append(row["warehouse_id"])
    return found


def revise(tx: Transaction, connection_id: int) -> None:
    """Its listings or its pool are not what they were: whoever keeps them in memory reads them anew."""
    c = t.connections.c
    tx.conn.execute(update(t.connections).where(c.id == connection_id).values(revision=c.revision + 1))
