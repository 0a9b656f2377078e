"""Levels that are not told until a person has looked: those that would sweep a shop's shelves, and those it refuses.

A wrong snapshot or contract must not empty a shop. Judged where marks are taken and again where levels are computed;
only the listings in question are held, what else moves is told as ever.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import delete, func, or_, select, update

from core.flow.tell import ask_person, settle
from core.store import tables as t
from core.store.database import lock_claims
from core.store.rows import any_of, upsert
from core.store.store import Transaction, many, one

TASK, REFUSED_TASK = "publish.swept", "publish.refused"
SWEPT = (
    "{swept} of {all} listings of {code} would be emptied or changed by more than half at once: look why, then publish"
)
LATELY = (
    "{swept} of {all} listings of {code} would be emptied or changed by more than half, and {before} were lately: "
    "look why, then publish"
)
WHY_MAX = 1000
REFUSED = "{code} refuses the level of listing {ref}: {why}. Correct it there or here, then publish"


@dataclass(frozen=True)
class Stop:
    """When a run stops: it sweeps more than so many percent of a shop's listings, and at least so many of them.

    Those that were emptied or fell by more than half in the last window_s count with it. 100 percent: never.
    """

    percent: int = 30
    listings: int = 20
    window_s: float = 0


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
        """As `sweeps` of its figures."""
        return sweeps(self.wanted, self.shows)


def sweeps(wanted: int, shows: int | None) -> bool:
    """Whether a listing that shows units would show none, or change by more than half."""
    there = shows or 0
    return there > 0 and (wanted == 0 or abs(wanted - there) * 2 > there)


def let_pass(tx: Transaction, looked_at: Iterable[int], changes: Sequence[Change], stop: Stop) -> list[Change]:
    """Of these those that may be told now; a run that sweeps is held and left to a person.

    looked_at: the listings that were, whether they change or not. Whoever judges is alone: what somebody else was let
    pass a moment ago is no sweep of ours.
    """
    sweeping = {change.listing_id: change for change in changes if change.sweeps}
    if sweeping and stop.percent < 100:
        lock_claims(tx.conn)
    held = set(tx.conn.execute(select(t.held_levels.c.listing_id)).scalars())
    passing = [change for change in changes if change.listing_id not in held]
    known = held | _judged(tx, looked_at, sweeping.keys() - held)
    fresh = [change for ident, change in sweeping.items() if ident not in known]
    stopped = _stopped(tx, fresh, stop) if fresh and stop.percent < 100 else set()
    return [change for change in passing if change.listing_id not in stopped]


def _judged(tx: Transaction, looked_at: Iterable[int], sweeping: Collection[int]) -> set[int]:
    """Listings that were let pass and are not told yet, or were told lately. One that sweeps no more is over."""
    p = t.passed_levels.c
    rows = tx.rows(select(p.listing_id, p.open).where((p.counts_until > tx.now) | p.open))
    waiting = {row["listing_id"] for row in rows if row["open"]} - set(sweeping)
    told(tx, waiting.intersection(looked_at) if waiting else ())
    return {row["listing_id"] for row in rows}


def _stopped(tx: Transaction, fresh: Sequence[Change], stop: Stop) -> set[int]:
    """Listings of these that are held; the others are noted, so that they count and are not judged again."""
    by_shop: dict[int, list[Change]] = {}
    for change in fresh:
        by_shop.setdefault(change.unit.connection_id, []).append(change)
    before = _passed_lately(tx, by_shop)
    stopped: set[int] = set()
    for shop, some in by_shop.items():
        lately = before.get(shop, 0)
        listed = _listed(tx, shop) if len(some) + lately >= stop.listings else None
        if listed is not None and (len(some) + lately) * 100 > listed * stop.percent:
            swept = [change.listing_id for change in some]
            _hold_swept(tx, shop, swept, lately, listed)
            stopped.update(swept)
    _note(tx, [change for change in fresh if change.listing_id not in stopped], stop)
    return stopped


def _passed_lately(tx: Transaction, shops: Iterable[int]) -> dict[int, int]:
    """Shop → its listings that were let pass within the window."""
    p = t.passed_levels.c
    query = select(p.connection_id, func.count()).where(any_of(tx.conn, p.connection_id, sorted(shops)))
    rows = tx.conn.execute(query.where(p.counts_until > tx.now).group_by(p.connection_id))
    return {shop: int(n) for shop, n in rows}


def _listed(tx: Transaction, shop: int) -> int:
    query = select(func.count()).select_from(t.listings).where(t.listings.c.connection_id == shop)
    return int(tx.conn.execute(query).scalar_one())


def _note(tx: Transaction, changes: Sequence[Change], stop: Stop) -> None:
    """They were let pass. Only what falls counts for the runs that follow: goods that come in do so all day."""
    p = t.passed_levels.c
    over = or_(p.counts_until.is_(None), p.counts_until <= tx.now)
    tx.conn.execute(delete(t.passed_levels).where(p.open.is_(False), over))
    until = tx.now + timedelta(seconds=stop.window_s) if stop.window_s else None
    upsert(
        tx.conn,
        t.passed_levels,
        [
            _passed(c.listing_id, c.unit.connection_id, until if c.wanted < (c.shows or 0) else None)
            for c in sorted(changes)
        ],
    )


def _passed(listing_id: int, connection_id: int, counts_until: datetime | None) -> dict[str, Any]:
    return {"listing_id": listing_id, "connection_id": connection_id, "counts_until": counts_until, "open": True}


def told(tx: Transaction, listings: Iterable[int]) -> None:
    """What these were let pass for is told, or wanted no more: the next sweep of them is judged again."""
    if ids := sorted(listings):
        p = t.passed_levels.c
        mine = any_of(tx.conn, p.listing_id, ids)
        tx.conn.execute(update(t.passed_levels).where(mine, p.open.is_(True)).values(open=False))


def _hold_swept(tx: Transaction, shop_id: int, swept: Sequence[int], before: int, listed: int) -> None:
    _hold(tx, dict.fromkeys(swept, None), shop_id)
    shop = one(tx, t.connections, id=shop_id)
    assert shop is not None
    words = LATELY if before else SWEPT
    reason = words.format(swept=len(swept), all=listed, code=shop["code"], before=before)
    ask_person(tx, TASK, f"connection:{shop_id}", shop["merchant_id"], reason, "publish")


def refuse(tx: Transaction, shop: Mapping[str, Any], refused: Mapping[str, str]) -> list[int]:
    """A shop took the other levels of a call and not these (listing ref → its reason): each is left to a person.

    Returns their listings.
    """
    li = t.listings.c
    rows = tx.rows(select(li.id, li.ref).where(li.connection_id == shop["id"], any_of(tx.conn, li.ref, list(refused))))
    _hold(tx, {row["id"]: refused[row["ref"]][:WHY_MAX] for row in rows}, shop["id"])
    for row in rows:
        reason = REFUSED.format(code=shop["code"], ref=row["ref"], why=refused[row["ref"]][:WHY_MAX])
        ask_person(tx, REFUSED_TASK, f"level:{row['id']}", shop["merchant_id"], reason, "publish")
    return [row["id"] for row in rows]


def _hold(tx: Transaction, why: Mapping[int, str | None], shop_id: int) -> None:
    """why: listing → what the shop said where it refused it."""
    upsert(
        tx.conn,
        t.held_levels,
        [
            {"listing_id": ident, "connection_id": shop_id, "held_at": tx.now, "refused": why[ident]}
            for ident in sorted(why)
        ],
    )


def publish(tx: Transaction, connection_id: int) -> int:
    """A person has looked: what was stopped of this shop is told as it is now; how many listings that are."""
    h = t.held_levels.c
    settle(tx, f"connection:{connection_id}")
    swept = select(h.listing_id).where(h.connection_id == connection_id, h.refused.is_(None))
    return release(tx, list(tx.conn.execute(swept).scalars()))


def corrected(tx: Transaction, listings: Sequence[int]) -> None:
    """These were changed here: those that their shop had refused are told again."""
    h = t.held_levels.c
    refused = select(h.listing_id).where(any_of(tx.conn, h.listing_id, list(listings)), h.refused.is_not(None))
    release(tx, list(tx.conn.execute(refused).scalars()))


def release(tx: Transaction, listings: Sequence[int]) -> int:
    """A person lets these pass: what is held of them is told, and not judged before it was. Returns how many are."""
    held = sorted(many(tx, t.held_levels, "listing_id", listings), key=lambda row: row["listing_id"])
    tx.conn.execute(delete(t.held_levels).where(any_of(tx.conn, t.held_levels.c.listing_id, list(listings))))
    upsert(tx.conn, t.passed_levels, [_passed(row["listing_id"], row["connection_id"], None) for row in held])
    tx.add(t.marks, [{"id": tx.ids.new(), "listing_id": row["listing_id"]} for row in held])
    if held:
        tx.lanes.add("stock")
    settle(tx, *(f"level:{row['listing_id']}" for row in held if row["refused"] is not None))
    return len(held)
