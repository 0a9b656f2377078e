"""Reads what shops show, so that it can be held against the ledger, and has mended what may be."""

from __future__ import annotations

import structlog
from sqlalchemy import select

from core.errors import YipanError
from core.flow import mend_shops
from core.flow.board import Board
from core.store import tables as t
from hub.shows import shown_by
from hub.wiring import Hub

log = structlog.get_logger("reconcile")


def look(hub: Hub) -> int:
    """Read every active shop its budget allows to be read, and keep what it shows; returns how many were read."""
    with hub.store.read() as tx:
        c = t.connections.c
        ids = list(tx.conn.execute(select(c.id).where(c.kind == "sales", c.state == "active")).scalars())
    return sum(_look_at(hub, ident) for ident in ids)


def mend(hub: Hub) -> int:
    """Look, then have told again what is off without a cause; returns how many listings that were."""
    look(hub)
    with hub.store.read() as tx:
        listings = mend_shops.suspects(tx, Board())
    return hub.store.write(lambda tx: mend_shops.mend(tx, hub.options.mends_per_day, listings))


def _look_at(hub: Hub, connection_id: int) -> bool:
    with hub.store.read() as tx:
        wired, read_at = hub.wired(tx, connection_id), tx.now
        listings = tx.rows(select(t.listings).where(t.listings.c.connection_id == connection_id))
    if not listings or not hub.may_call(wired, "orders"):
        return False
    try:
        shown = shown_by(wired, [r["product"] or r["ref"] for r in listings])
    except YipanError as error:
        log.info("shop_not_read", connection=wired.row["code"], why=type(error).__name__)
        return False
    hub.store.write(lambda tx: mend_shops.note_showings(tx, connection_id, shown, read_at))
    return True
