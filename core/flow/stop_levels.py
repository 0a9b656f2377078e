"""A run that would sweep a shop's shelves stops for a person: a wrong snapshot or contract must not empty a shop.

Only the listings of that run are held; what else moves is told as ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import delete, select

from core.flow.board import Board
from core.flow.tell import ask_person, settle
from core.store import tables as t
from core.store.store import Transaction, one

TASK = "publish.swept"
SWEPT = (
    "{swept} of {all} listings of {code} would be emptied or changed by more than half at once: look why, then publish"
)


@dataclass(frozen=True)
class Stop:
    """When a run stops: it sweeps more than so many percent of a shop's listings, and at least so many of them."""

    percent: int = 30
    listings: int = 20


class Unit(NamedTuple):
    """What one call to a shop may hold together. name: by the ability's batch key."""

    connection_id: int
    name: str


class Change(NamedTuple):
    """A listing that shall show something else, in listing units. shows: None where nothing is known of it."""

    listing_id: int
    unit: Unit
    wanted: int
    shows: int | None

    @property
    def sweeps(self) -> bool:
        """Whether it shows units and would show none, or change by more than half."""
        shows = self.shows or 0
        return shows > 0 and (self.wanted == 0 or abs(self.wanted - shows) * 2 > shows)


def let_pass(tx: Transaction, board: Board, changes: Sequence[Change], stop: Stop) -> list[Change]:
    """Of these those that may be told now; a run that sweeps is held and left to a person."""
    held = set(tx.conn.execute(select(t.held_levels.c.listing_id)).scalars()) if changes else set()
    passing = [change for change in changes if change.listing_id not in held]
    swept: dict[int, list[int]] = {}
    for change in passing:
        if change.sweeps:
            swept.setdefault(change.unit.connection_id, []).append(change.listing_id)
    stopped: set[int] = set()
    for shop, some in swept.items():
        listed = board.listed(shop)
        if len(some) >= stop.listings and len(some) * 100 > listed * stop.percent:
            _hold(tx, shop, sorted(some), listed)
            stopped.update(some)
    return [change for change in passing if change.listing_id not in stopped]


def _hold(tx: Transaction, connection_id: int, swept: Sequence[int], listed: int) -> None:
    tx.add(t.held_levels, [{"listing_id": ident, "connection_id": connection_id, "held_at": tx.now} for ident in swept])
    shop = one(tx, t.connections, id=connection_id)
    assert shop is not None
    reason = SWEPT.format(swept=len(swept), all=listed, code=shop["code"])
    ask_person(tx, TASK, f"connection:{connection_id}", shop["merchant_id"], reason, "publish")


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
