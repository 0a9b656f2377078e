"""What every shop shows beside what it should: read through the connectors, computed afresh from the ledger."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from core.flow import saleable
from core.store import tables as t
from hub.shows import shown_by
from hub.wiring import Hub


def levels(hub: Hub) -> list[dict[str, Any]]:
    """One row a listing of every active shop: shown (saleable units), target, told. Raises what the wire raises."""
    with hub.store.read() as tx:
        c = t.connections.c
        shops = tx.rows(select(t.connections).where(c.kind == "sales", c.state == "active").order_by(c.code))
    return [row for shop in shops for row in _of_shop(hub, shop["id"], shop["code"])]


def _of_shop(hub: Hub, connection_id: int, code: str) -> list[dict[str, Any]]:
    with hub.store.read() as tx:
        wired = hub.wired(tx, connection_id)
        listings = tx.rows(select(t.listings).where(t.listings.c.connection_id == connection_id))
        wanted = saleable.targets(tx, listings) if listings else {}
        told = {r["listing_id"]: r["told"] for r in tx.rows(select(t.shelves.c.listing_id, t.shelves.c.told))}
    shown = shown_by(wired, [r["product"] or r["ref"] for r in listings])
    return [
        {
            "connection": code,
            "listing": r["ref"],
            "shown": shown.get(r["ref"], 0),
            "target": wanted[r["id"]],
            "told": told.get(r["id"]),
        }
        for r in listings
    ]
