"""What shops have applied to their own figures, and what should stand there by it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import func, select, update

from core.store import tables as t
from core.store.rows import any_of
from core.store.store import Transaction


def mark(tx: Transaction, items: Iterable[int]) -> None:
    """What shops may show of these items is looked at again; nothing for none."""
    if wanted := sorted(set(items)):
        tx.add(t.marks, [{"id": tx.ids.new(), "items": wanted}])
        tx.lanes.add("stock")


def mark_shops(tx: Transaction, shops: Any) -> None:
    """The same of all that these shops sell, and of the parts of kits among it; shops: ids, or a query for them."""
    li, k = t.listings.c, t.kit_parts.c
    sold = select(li.item_id).where(li.connection_id.in_(shops))
    parts = select(k.part_id).where(k.kit_id.in_(sold))
    mark(tx, tx.conn.execute(sold.union(parts)).scalars())


def applied(tx: Transaction, listings: Iterable[int]) -> dict[int, int]:
    """Listing id → listing units its shop applied itself, as far as we have heard; those with none are left out."""
    s = t.seen.c
    query = select(s.listing_id, func.sum(s.units).label("n")).where(any_of(tx.conn, s.listing_id, sorted(listings)))
    return {row["listing_id"]: int(row["n"]) for row in tx.rows(query.group_by(s.listing_id))}


def standing(tx: Transaction, listings: Sequence[int]) -> dict[int, tuple[int | None, bool]]:
    """Listing id → what should show there now (None if never told), and whether nobody knows."""
    s, seen = t.shelves.c, t.seen.c
    units = select(func.coalesce(func.sum(seen.units), 0)).where(seen.listing_id == s.listing_id).scalar_subquery()
    query = select(s.listing_id, s.told - units + s.seen_base, s.unknown)
    rows = tx.conn.execute(query.where(any_of(tx.conn, s.listing_id, listings)))
    return {listing: (None if there is None else int(there), bool(unknown)) for listing, there, unknown in rows}


def doubt_clamped(tx: Transaction, back: Mapping[int, int]) -> list[int]:
    """Put in doubt what a shop may show too much of, since it stops at 0: those listings.

    back: listing id → units its shop took off and put back since. Where these were more than stood there, what it was
    told in between was laid over 0 and not over what it owed, and what it put back stands on top of that.
    """
    if not back:
        return []
    there = standing(tx, sorted(back))
    ids = [ident for ident, (units, _) in there.items() if units is not None and units < back[ident]]
    doubt(tx, ids)
    return ids


def doubt(tx: Transaction, listings: Sequence[int], **more: Any) -> None:
    """Nobody knows what these show: it is read before it is written over. Counted, so that no write wipes a later one.

    more: what else is so of them.
    """
    s = t.shelves.c
    unsure = {"doubt": True, "unknown": True, "doubts": s.doubts + 1, "shown": None, "shown_at": None}
    tx.conn.execute(update(t.shelves).where(any_of(tx.conn, s.listing_id, listings)).values(**unsure, **more))


def expected(shelf: Mapping[str, Any] | None, applied: int) -> int | None:
    """What a listing should show now, by its row of `shelves` and what its shop applied in all; None if never told."""
    if shelf is None or shelf["told"] is None:
        return None
    return int(shelf["told"] - (applied - shelf["seen_base"]))
