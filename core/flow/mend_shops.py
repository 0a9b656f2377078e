"""Shops whose figure is off without a cause: so many a day are told again by themselves, the rest is left to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import update

from core.flow import reconcile
from core.flow.tell import ask_person, settle
from core.store import tables as t
from core.store.database import insert_or_skip
from core.store.scope import HUB
from core.store.store import Transaction, one

TASK = "shop.drift"
OFF = (
    "{connection} shows {shown} of {listing}, it should show {target}, and nothing explains the difference: look there"
)
Row = Mapping[str, Any]


def note_showings(tx: Transaction, connection_id: int, shown: Mapping[str, int], read_at: Any) -> None:
    """Keep what a shop showed of each listing (ref → saleable units) when it was read."""
    for row in tx.rows(t.listings.select().where(t.listings.c.connection_id == connection_id)):
        if row["ref"] in shown:
            said = {"shown": shown[row["ref"]], "read_at": read_at}
            if not insert_or_skip(tx.conn, t.showings, [{"listing_id": row["id"], **said}]):
                tx.conn.execute(update(t.showings).where(t.showings.c.listing_id == row["id"]).values(**said))


def mend(tx: Transaction, most_per_day: int) -> int:
    """Have what is off without a cause told again, up to a day's bound; returns how many were."""
    tx.lock_ledger()
    rows = reconcile.reconcile(tx, HUB)["shops"]
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


def _tell_again(tx: Transaction, row: Row) -> None:
    """In doubt, it is read before it is written over, and read back after."""
    doubt = {"doubt": True, "unknown": True, "shown": None, "shown_at": None}
    tx.conn.execute(update(t.shelves).where(t.shelves.c.listing_id == row["listing_id"]).values(**doubt))
    tx.add(t.marks, [{"id": tx.ids.new(), "listing_id": row["listing_id"]}])
    tx.lanes.add("stock")


def _ask(tx: Transaction, rows: Sequence[Row]) -> None:
    for row in rows:
        shop = one(tx, t.connections, code=row["connection"])
        showing = row["expected"] if row["shown"] is None else row["shown"]
        reason = OFF.format(**{**row, "shown": showing})
        ask_person(tx, TASK, f"listing:{row['listing_id']}", shop["merchant_id"] if shop else None, reason)
