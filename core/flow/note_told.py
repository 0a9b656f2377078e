"""What shops are known to show: a write that was confirmed or lost, and figures that are read back and judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, select, update

from core.flow import stop_levels
from core.flow.publish_stock import Said
from core.store import shelves
from core.store import tables as t
from core.store.rows import any_of, upsert
from core.store.store import Transaction, many


def told(tx: Transaction, *saids: Said) -> None:
    """These writes are confirmed. An absolute write over a moving figure leaves doubt until it is read back.

    A doubt raised since they were computed stays: they may have been laid over what it is about.
    Shelves are changed by whoever has the ledger: `judge` must not settle a doubt over a figure told meanwhile.
    """
    tx.lock_ledger()
    listed = [int(ident) for said in saids for ident in said.told]
    before = {row["listing_id"]: row for row in many(tx, t.shelves, "listing_id", listed)}
    heard = _heard(tx, [ident for ident, shelf in before.items() if shelf["lowered_at"]])
    rows = [_stands(tx, said, int(ident), before.get(int(ident)), heard) for said in saids for ident in said.told]
    upsert(tx.conn, t.shelves, rows)
    stop_levels.told(tx, (ident for said in saids for ident in said.swept))


def _heard(tx: Transaction, listings: Sequence[int]) -> dict[int, datetime]:
    """Listing id → until when its shop's orders have been read; nothing is asked for none."""
    if not listings:
        return {}
    li, cu = t.listings.c, t.cursors.c
    ours = and_(cu.connection_id == li.connection_id, cu.ability == "fetch_orders", cu.read_until.is_not(None))
    query = select(li.id, cu.read_until).join(t.cursors, ours).where(any_of(tx.conn, li.id, listings))
    return {row["id"]: row["read_until"] for row in tx.rows(query)}


def _stands(
    tx: Transaction, said: Said, ident: int, before: Mapping[str, Any] | None, heard: Mapping[int, datetime]
) -> dict[str, Any]:
    """How a listing stands once this write is confirmed. before: its shelf until now; heard: as `_heard` finds it."""
    doubts = before["doubts"] if before else 0
    unknown = doubts != said.doubts.get(str(ident), 0)
    return {
        "listing_id": ident,
        "told": said.told[str(ident)],
        "told_at": tx.now,
        "first_told_at": (before and before["first_told_at"]) or tx.now,
        **_lowered(tx.now, said, ident, before, heard.get(ident)),
        "seen_base": said.seen[str(ident)],
        "unknown": unknown,
        "doubt": unknown or said.reads or said.unsure,
        "shown": None,
        "shown_at": None,
    }


def _lowered(
    now: datetime, said: Said, ident: int, before: Mapping[str, Any] | None, heard_until: datetime | None
) -> dict[str, Any]:
    """When a listing was last lowered, and by how much; what it sold beyond its figure is settled by being told anew.

    Lowered several times while its sales of before are unheard, the units add up.
    """
    if before is None or (stood := shelves.expected(before, said.seen[str(ident)])) is None:
        return {"lowered_at": None, "lowered_by": 0}
    at, by, units = before["lowered_at"], before["lowered_by"], stood - said.told[str(ident)]
    if units <= 0:
        return {"lowered_at": at, "lowered_by": max(0, by + min(0, stood))}
    unheard = at is not None and (heard_until is None or heard_until <= at)
    return {"lowered_at": now, "lowered_by": units + (by if unheard else 0)}


def lost(tx: Transaction, said: Said) -> None:
    """Nobody knows whether the write arrived: what the shop shows is in doubt; what was read before says nothing."""
    tx.lock_ledger()
    shelves.doubt(tx, [int(listing) for listing in said.told], told_at=tx.now)


def mismatched(tx: Transaction, said: Said) -> None:
    """The shop shows something else than was expected and changed nothing: it is read before it is written over."""
    tx.lock_ledger()
    shelves.doubt(tx, [int(listing) for listing in said.told])


def doubtful(tx: Transaction, quiet_s: float) -> list[Mapping[str, Any]]:
    """Listings in doubt whose last write is a while ago, one read each: with their connection."""
    s, li = t.shelves.c, t.listings.c
    due = and_(s.doubt.is_(True), s.told_at < tx.now - timedelta(seconds=quiet_s), s.shown_at.is_(None))
    return tx.rows(select(t.listings).join(t.shelves, s.listing_id == li.id).where(due).limit(50))


def note_shown(tx: Transaction, connection_id: int, shown: Mapping[str, int], read_at: Any) -> None:
    """What the shop showed when it was read; judged once everything it sold before then has been heard."""
    tx.lock_ledger()
    li = t.listings.c
    for row in tx.rows(select(li.id, li.ref).where(li.connection_id == connection_id, li.ref.in_(list(shown)))):
        s = t.shelves.c
        mine = and_(s.listing_id == row["id"], s.doubt.is_(True), s.told_at < read_at)
        tx.conn.execute(update(t.shelves).where(mine).values(shown=shown[row["ref"]], shown_at=read_at))


def read_later(tx: Transaction, listings: Sequence[int]) -> None:
    """These could not be read: they wait as if they had been written just now."""
    s = t.shelves.c
    mine = any_of(tx.conn, s.listing_id, list(listings))
    tx.conn.execute(update(t.shelves).where(mine, s.doubt.is_(True)).values(told_at=tx.now))


def judge(tx: Transaction, margin_s: float) -> int:
    """Settle doubts: where nothing was sold around the read, what was shown then is what stands. Returns how many.

    A sale heard of near or after the read makes the comparison unsure: it is read again.
    """
    tx.lock_ledger()
    s, li, cu = t.shelves.c, t.listings.c, t.cursors.c
    heard = and_(cu.connection_id == li.connection_id, cu.ability == "fetch_orders", cu.read_until > s.shown_at)
    query = select(t.shelves, li.connection_id).join(t.listings, li.id == s.listing_id).join(t.cursors, heard)
    rows = tx.rows(query.where(s.doubt.is_(True), s.shown_at.is_not(None)))
    for row in rows:
        if _moved_since(tx, row, margin_s):
            values: dict[str, Any] = {"shown": None, "shown_at": None}
        else:
            seen = shelves.applied(tx, [row["listing_id"]]).get(row["listing_id"], 0) - row["seen_base"]
            values = {"told": row["shown"] + seen, "doubt": False, "unknown": False}
            tx.add(t.marks, [{"id": tx.ids.new(), "listing_id": row["listing_id"]}])
        tx.conn.execute(update(t.shelves).where(s.listing_id == row["listing_id"]).values(**values))
    return len(rows)


def _moved_since(tx: Transaction, row: Mapping[str, Any], margin_s: float) -> bool:
    """Whether a sale of it was heard near or after the read, or an order of its shop waits to be read."""
    i = t.inbox.c
    recent = and_(
        t.seen.c.listing_id == row["listing_id"], t.seen.c.heard_at > row["shown_at"] - timedelta(seconds=margin_s)
    )
    waiting = and_(i.connection_id == row["connection_id"], i.kind == "order", i.state == "waiting")
    return (
        tx.row(select(t.seen.c.id).where(recent).limit(1)) is not None
        or tx.row(select(i.id).where(waiting).limit(1)) is not None
    )


def any_read(tx: Transaction) -> bool:
    """Whether a figure in doubt has been read back and waits to be judged."""
    s = t.shelves.c
    return tx.row(select(s.listing_id).where(s.doubt.is_(True), s.shown_at.is_not(None)).limit(1)) is not None
