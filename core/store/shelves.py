"""What shops have applied to their own figures, and what should stand there by it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import func, select

from core.store import tables as t
from core.store.database import any_of
from core.store.store import Transaction


def applied(tx: Transaction, listings: Iterable[int]) -> dict[int, int]:
    """Listing id → listing units its shop applied itself, as far as we have heard; those with none are left out."""
    s = t.seen.c
    query = select(s.listing_id, func.sum(s.units).label("n")).where(any_of(tx.conn, s.listing_id, sorted(listings)))
    return {row["listing_id"]: int(row["n"]) for row in tx.rows(query.group_by(s.listing_id))}


def expected(shelf: Mapping[str, Any] | None, applied: int) -> int | None:
    """What a listing should show now, by its row of `shelves` and what its shop applied in all; None if never told."""
    if shelf is None or shelf["told"] is None:
        return None
    return int(shelf["told"] - (applied - shelf["seen_base"]))
