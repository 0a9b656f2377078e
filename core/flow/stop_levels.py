"""A run that would sweep a shop's shelves stops for a person: a wrong snapshot or contract must not empty a shop.

Only the listings of that run are held; what else moves is told as ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select

from core.flow import saleable
from core.flow.tell import ask_person, settle
from core.store import shelves
from core.store import tables as t
from core.store.store import Transaction, many, one

Row = Mapping[str, Any]
TASK = "publish.swept"
SWEPT = (
    "{swept} of {all} listings of {code} would be emptied or changed by more than half at once: look why, then publish"
)


@dataclass(frozen=True)
class Stop:
    """When a run stops: it sweeps more than so many percent of a shop's listings, and at least so many of them."""

    percent: int = 30
    listings: int = 20


def let_pass(tx: Transaction, rows: Sequence[Row], stop: Stop) -> list[Row]:
    """Of these listings those that may be told now; a run that sweeps is held and left to a person."""
    held = {r["listing_id"] for r in many(tx, t.held_levels, "listing_id", [row["id"] for row in rows])}
    passing = [row for row in rows if row["id"] not in held]
    by_shop: dict[int, list[Row]] = {}
    for row in passing:
        by_shop.setdefault(row["connection_id"], []).append(row)
    stopped = {
        ident for shop, some in by_shop.items() if len(some) >= stop.listings for ident in _hold(tx, shop, some, stop)
    }
    return [row for row in passing if row["id"] not in stopped]


def _hold(tx: Transaction, connection_id: int, rows: Sequence[Row], stop: Stop) -> set[int]:
    """Which of a shop's listings are held, where so many would be swept."""
    li = t.listings.c
    count = select(func.count()).select_from(t.listings).where(li.connection_id == connection_id)
    listed = int(tx.conn.execute(count).scalar_one())
    if len(rows) * 100 <= listed * stop.percent:
        return set()
    swept = _swept(tx, rows)
    if len(swept) < stop.listings or len(swept) * 100 <= listed * stop.percent:
        return set()
    tx.add(t.held_levels, [{"listing_id": ident, "connection_id": connection_id, "held_at": tx.now} for ident in swept])
    shop = one(tx, t.connections, id=connection_id)
    assert shop is not None
    reason = SWEPT.format(swept=len(swept), all=listed, code=shop["code"])
    ask_person(tx, TASK, f"connection:{connection_id}", shop["merchant_id"], reason, "publish")
    return set(swept)


def _swept(tx: Transaction, rows: Sequence[Row]) -> list[int]:
    """Those that showed units and would show none, or change by more than half."""
    ids = [row["id"] for row in rows]
    wanted, seen = saleable.targets(tx, rows), shelves.applied(tx, ids)
    found = []
    for shelf in many(tx, t.shelves, "listing_id", ids):
        ident = shelf["listing_id"]
        shows = shelves.expected(shelf, seen.get(ident, 0)) or 0
        if shows > 0 and (wanted[ident] == 0 or abs(wanted[ident] - shows) * 2 > shows):
            found.append(ident)
    return sorted(found)


def publish(tx: Transaction, connection_id: int) -> int:
    """A person has looked: what is held of this shop is told as it is now; how many listings that are."""
    h = t.held_levels.c
    held = list(tx.conn.execute(select(h.listing_id).where(h.connection_id == connection_id)).scalars())
    tx.conn.execute(delete(t.held_levels).where(h.connection_id == connection_id))
    tx.add(t.marks, [{"id": tx.ids.new(), "listing_id": ident} for ident in held])
    if held:
        tx.lanes.add("stock")
    settle(tx, f"connection:{connection_id}")
    return len(held)
