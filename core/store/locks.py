"""Units that are kept for one shop by locks, and what is left of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from core.store import tables as t
from core.store.rows import any_of
from core.store.store import Transaction

KINDS = ("campaign", "exclusive")
"""What a lock is for; the kind of its claims, whose ref is the lock's id."""


@dataclass
class Kept:
    """What a lock keeps in one cell: base units nobody has drawn. listings: the only ones it is for, () is all."""

    lock_id: int
    claim_id: int
    connection_id: int
    listings: tuple[int, ...]
    starts_at: datetime
    ends_at: datetime | None
    cell_id: int
    item_id: int
    warehouse_id: int
    units: int

    def serves(self, listing_id: int | None, at: datetime) -> bool:
        """Whether what its shop sells of this listing at that moment is drawn from it."""
        of_it = not self.listings or listing_id in self.listings
        return of_it and self.starts_at <= at and (self.ends_at is None or at <= self.ends_at)


def open_locks(tx: Transaction, connections: Iterable[int], items: Iterable[int]) -> list[Kept]:
    """What open locks of these shops still keep of these items, soonest to end first, those without an end last."""
    shops = sorted(set(connections))
    if not shops:
        return []
    lo, li, c, ce = t.locks.c, t.lock_lines.c, t.claims.c, t.cells.c
    names = (lo.connection_id, lo.listings, lo.starts_at, lo.ends_at)
    query = select(li.lock_id, li.claim_id, *names, c.cell_id, ce.item_id, ce.warehouse_id, c.backed.label("units"))
    query = query.join(t.locks, lo.id == li.lock_id).join(t.claims, c.id == li.claim_id)
    query = query.join(t.cells, ce.id == c.cell_id)
    query = query.where(lo.ended_at.is_(None), lo.connection_id.in_(shops), c.backed > 0)
    rows = tx.rows(query.where(any_of(tx.conn, ce.item_id, sorted(set(items)))))
    found = [Kept(**{**row, "listings": tuple(row["listings"])}) for row in rows]
    return sorted(found, key=lambda k: (k.ends_at is None, k.ends_at or k.starts_at, k.claim_id))
