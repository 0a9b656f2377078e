"""Shops whose figure is off without a cause: so many a day are told again by themselves, the rest is left to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select

from core.flow import reconcile
from core.flow.board import Board
from core.flow.tell import ask_person, settle
from core.store import shelves
from core.store import tables as t
from core.store.rows import any_of, upsert
from core.store.scope import HUB
from core.store.store import Transaction, one

TASK = "shop.drift"
OFF = (
    "{connection} shows {shown} of {listing}, it should show {target}, and nothing explains the difference: look there"
)
Row = Mapping[str, Any]


def note_showings(tx: Transaction, connection_id: int, shown: Mapping[str, int], read_at: Any) -> None:
    """Keep what a shop showed of each listing (ref → saleable units) when it was read."""
    li = t.listings.c
    rows = tx.conn.execute(select(li.id, li.ref).where(li.connection_id == connection_id))
    said = [{"listing_id": i, "shown": shown[ref], "read_at": read_at} for i, ref in rows if ref in shown]
    upsert(tx.conn, t.showings, said)


def suspects(tx: Transaction, board: Board) -> list[int]:
    """Listings that show, or should show by what they were told, something else than they may."""
    board.look(tx)
    found: list[int] = []
    for some in board.all():
        (levels,) = board.targets(tx, [some])
        ids = some.ids.tolist()
        stands, sh = shelves.standing(tx, ids), t.showings.c
        shown = dict(tx.conn.execute(select(sh.listing_id, sh.shown).where(any_of(tx.conn, sh.listing_id, ids))).all())
        for ident, level in zip(ids, levels.tolist(), strict=True):
            expected, _ = stands.get(ident, (None, False))
            if expected is not None and (expected, shown.get(ident, expected)) != (level, expected):
                found.append(ident)
    return found


def mend(tx: Transaction, most_per_day: int, listings: Sequence[int]) -> int:
    """Have what is off of these without a cause told again, up to a day's bound; returns how many were.

    Those that are on the worklist are looked at too, and leave it when they are right.
    """
    tx.lock_ledger()
    rows = reconcile.shops(tx, HUB, sorted({*listings, *_asked(tx)}))
    off = reconcile.unexplained({"shops": rows})
    tally = f"shops_mended:{tx.now:%Y-%m-%d}"
    done = one(tx, t.tallies, name=tally)
    left = max(0, most_per_day - (int(done["n"]) if done else 0))
    for row in off[:left]:
        _tell_again(tx, row)
    tx.tally(tally, len(off[:left]))
    _ask(tx, off[left:])
    for row in rows:
        if row["drift"] == 0:
            settle(tx, f"listing:{row['listing_id']}")
    return len(off[:left])


def _asked(tx: Transaction) -> list[int]:
    """Listings that people were asked to look at."""
    w = t.worklist.c
    subjects = tx.conn.execute(select(w.subject).where(w.kind == TASK, w.done_at.is_(None))).scalars()
    return [int(subject.removeprefix("listing:")) for subject in subjects]


def _tell_again(tx: Transaction, row: Row) -> None:
    """In doubt, it is read before it is written over, and read back after."""
    shelves.doubt(tx, [row["listing_id"]])
    tx.add(t.marks, [{"id": tx.ids.new(), "listing_id": row["listing_id"]}])
    tx.lanes.add("stock")


def _ask(tx: Transaction, rows: Sequence[Row]) -> None:
    for row in rows:
        shop = one(tx, t.connections, code=row["connection"])
        showing = row["expected"] if row["shown"] is None else row["shown"]
        reason = OFF.format(**{**row, "shown": showing})
        ask_person(tx, TASK, f"listing:{row['listing_id']}", shop["merchant_id"] if shop else None, reason)
