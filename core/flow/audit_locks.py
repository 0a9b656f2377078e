"""Locks held against what their claims hold and what was drawn of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select

from core.store import tables as t
from core.store.store import Transaction


def breaches(tx: Transaction) -> list[str]:
    """One sentence per breach."""
    lo, li, c, d = t.locks.c, t.lock_lines.c, t.claims.c, t.lock_draws.c
    sums = select(d.lock_id, d.cell_id, func.sum(d.units).label("n")).group_by(d.lock_id, d.cell_id).subquery().c
    names = (li.lock_id, li.cell_id, li.units, lo.ended_at, c.open, c.asked, c.backed)
    query = select(*names, func.coalesce(sums.n, 0).label("drawn")).join(t.locks, lo.id == li.lock_id)
    query = query.join(t.claims, c.id == li.claim_id)
    query = query.join(sums.n.table, (sums.lock_id == li.lock_id) & (sums.cell_id == li.cell_id), isouter=True)
    return [f"lock {r['lock_id']}, cell {r['cell_id']}: {wrong}" for r in tx.rows(query) if (wrong := _wrong(r))]


def _wrong(row: Mapping[str, Any]) -> str:
    if row["open"] == (row["ended_at"] is not None):
        return "its claim outlives it" if row["open"] else "it is open, its claim is over"
    if row["open"] and row["asked"] != row["backed"]:
        return f"its claim asks for {row['asked']} and holds {row['backed']}"
    if row["backed"] + row["drawn"] > row["units"]:
        return f"{row['backed']} are left and {row['drawn']} drawn of {row['units']}"
    return ""
