"""How well shops are kept up: what waits, how long it takes to tell them, and whether they show what was told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import and_, case, func, select

from core.flow import stale_sources
from core.flow.measure_lag import percentile, summed
from core.store import tables as t
from core.store.outbox import OPEN
from core.store.scope import Scope
from core.store.store import Transaction

Row = Mapping[str, Any]
DAY = timedelta(hours=24)
PERCENTS = (50, 95, 99)
HELD = 200


def publishing(tx: Transaction, scope: Scope) -> dict[str, Any]:
    """Per shop: listings, those in doubt, held and off, open calls, calls of the last 24 hours and lags in ms.

    A lag is the upper end of a bucket. stale: the source for which its figures do not rise, orders or stock. off: what
    was read after the last write is not what should have stood there. shown: base units it should show now, and
    published_overlap: how often all shops show a unit that is free (kits apart); of a merchant, its shops and goods.
    held: the first listings that wait for a person, with what their shop said where it refused them.
    """
    shops = standings(tx, scope)
    lags = _lags(tx, [shop["id"] for shop in shops], tx.now - DAY)
    rows = [{**shop, **_measured(lags.get(shop["id"], []), tx.now)} for shop in shops]
    return {
        "rows": [{k: v for k, v in row.items() if k != "id"} for row in rows],
        "held": held(tx, scope),
        "published_overlap": overlap(tx, scope, shops),
        "as_of": tx.now.isoformat(),
    }


def overlap(tx: Transaction, scope: Scope, shops: Sequence[Row]) -> float | None:
    """Units these shops show for each unit that is free; None where none is."""
    free = _free(tx, scope)
    return round(sum(shop["shown"] for shop in shops) / free, 2) if free else None


def held(tx: Transaction, scope: Scope, limit: int = HELD) -> list[dict[str, Any]]:
    """Listings whose shop is told nothing until a person has looked, oldest first. refused: by the shop, and why."""
    h, li, c = t.held_levels.c, t.listings.c, t.connections.c
    query = select(c.code.label("connection"), li.ref.label("listing"), li.sku, h.held_at, h.refused)
    query = query.join(t.listings, li.id == h.listing_id).join(t.connections, c.id == h.connection_id)
    rows = tx.rows(query.where(scope.sees(c.merchant_id)).order_by(h.held_at, h.listing_id).limit(limit))
    return [{**row, "held_at": row["held_at"].isoformat()} for row in rows]


def _free(tx: Transaction, scope: Scope) -> int:
    """Units that may be promised of what shops list."""
    ce, li = t.cells.c, t.listings.c
    there = ce.free + case((ce.suspense < 0, ce.suspense), else_=0)
    query = select(func.coalesce(func.sum(case((there > 0, there), else_=0)), 0))
    query = query.where(ce.condition == "ZP", ce.item_id.in_(select(li.item_id)), scope.sees(ce.owner_id))
    return int(tx.conn.execute(query).scalar_one())


def _measured(rows: Sequence[Row], now: datetime) -> dict[str, Any]:
    counts = summed(rows)
    hours = []
    first = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=23)
    for n in range(24):
        begin = first + timedelta(hours=n)
        here = summed([row for row in rows if begin <= row["minute"] < begin + timedelta(hours=1)])
        hours.append({"hour": begin.isoformat(), "calls": sum(here.values()), "p95_ms": percentile(here, 95)})
    lags = {f"p{percent}_ms": percentile(counts, percent) for percent in PERCENTS}
    return {"calls": sum(counts.values()), **lags, "hours": hours}


def _lags(tx: Transaction, connections: Sequence[int], since: datetime) -> dict[int, list[Row]]:
    g = t.publish_lags.c
    found: dict[int, list[Row]] = {}
    for row in tx.rows(select(t.publish_lags).where(g.connection_id.in_(connections), g.minute >= since)):
        found.setdefault(row["connection_id"], []).append(row)
    return found


def standings(tx: Transaction, scope: Scope) -> list[dict[str, Any]]:
    """Per shop: how its figures stand, and the calls that wait."""
    c, li, i, s, w, h, o, se = (
        x.c for x in (t.connections, t.listings, t.items, t.shelves, t.showings, t.held_levels, t.outbox, t.seen)
    )
    applied = select(se.listing_id, func.sum(se.units).label("n")).group_by(se.listing_id).subquery().c
    expected = s.told - (func.coalesce(applied.n, 0) - s.seen_base)
    off = and_(w.read_at >= s.told_at, s.doubt.is_(False), w.shown != expected)

    stands = case((and_(s.told.is_not(None), expected > 0, i.is_kit.is_(False)), expected * li.pack), else_=0)

    def count(condition: Any) -> Any:
        return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)

    figures = (
        func.count(li.id).label("listings"),
        count(s.told.is_not(None)).label("told"),
        count(s.doubt.is_(True)).label("in_doubt"),
        count(h.listing_id.is_not(None)).label("held"),
        count(off).label("off"),
        func.coalesce(func.sum(stands), 0).label("shown"),
        func.max(w.read_at).label("read_at"),
    )
    query = select(c.id, c.code.label("connection"), c.state, *figures).join(t.listings, li.connection_id == c.id)
    query = query.join(t.items, i.id == li.item_id)
    for table, column in ((t.shelves, s), (t.showings, w), (t.held_levels, h)):
        query = query.join(table, column.listing_id == li.id, isouter=True)
    query = query.join(applied.n.table, applied.listing_id == li.id, isouter=True)
    query = query.where(c.kind == "sales", scope.sees(c.merchant_id)).group_by(c.id, c.code, c.state).order_by(c.code)
    waits = select(o.connection_id, func.count().label("n")).where(o.ability == "send_stock", o.state.in_(OPEN))
    waiting = {row["connection_id"]: row["n"] for row in tx.rows(waits.group_by(o.connection_id))}
    rows = tx.rows(query)
    late = stale_sources.stale(tx, [row["id"] for row in rows])
    return [{**_plain(row, waiting.get(row["id"], 0)), "stale": late.get(row["id"], "")} for row in rows]


def _plain(row: Row, waiting: int) -> dict[str, Any]:
    counts = {name: int(row[name]) for name in ("listings", "told", "in_doubt", "held", "off", "shown")}
    at = row["read_at"].isoformat() if row["read_at"] else None
    return {
        "id": row["id"],
        "connection": row["connection"],
        "state": row["state"],
        **counts,
        "read_at": at,
        "waiting": waiting,
    }
