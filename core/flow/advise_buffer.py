"""What buffer each listing would have needed, from what was recorded of it. It is advice: nothing is set by it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from sqlalchemy import and_, case, func, select

from core.errors import Unfit, Unmatched
from core.flow.measure_lag import BUCKETS_MS, percentile
from core.flow.pool_steps import Pools
from core.rules import buffers, levels
from core.rules.buffers import Lag, Sale, Story
from core.rules.oversold import NOT_TOGETHER
from core.store import policies
from core.store import tables as t
from core.store.rows import any_of
from core.store.scope import Scope
from core.store.store import Transaction, one

Row = Mapping[str, Any]
MOST_DAYS, AT_ONCE = 31, 50
"""Days that may be asked for, and listings that are looked at together."""
DAYS, OVERSELL = 7, "0.1%"


class Asked(NamedTuple):
    """connection: of this shop alone. share: of the units sold that may be oversold, 0 to 1."""

    connection: str = ""
    days: int = DAYS
    share: Decimal = Decimal("0.001")


def share_of(text: str) -> Decimal:
    """A share as people write it, in per cent: 0.1% or 0.1. Raises Unfit."""
    try:
        percent = Decimal(text.strip().removesuffix("%"))
    except InvalidOperation:
        percent = Decimal(-1)
    if not percent.is_finite() or not 0 <= percent <= 100:
        raise Unfit(f"{text!r} is no share of what is sold: write it like {OVERSELL}")
    return percent / 100


def advise(tx: Transaction, scope: Scope, asked: Asked, after: int = 0, limit: int = AT_ONCE) -> list[dict[str, Any]]:
    """One row per listing of shops in scope, by id, those after that one first: advice, what it rests on and costs.

    Raises Unfit, Unmatched. The time looked at ends now and begins `since`, later where much moved.
    """
    if not 1 <= asked.days <= MOST_DAYS:
        raise Unfit(f"{asked.days} days cannot be looked back on: say 1 to {MOST_DAYS}")
    rows = _listings(tx, scope, asked.connection, after, limit)
    if not rows:
        return []
    pools = Pools(tx, rows, tx.now - timedelta(days=asked.days))
    known = _Known(tx, rows, pools.since)
    stands = policies.standing(tx, rows)
    found = []
    for row in rows:
        policy = stands.get(row["id"], policies.NONE)
        own = levels.buffer(row["buffer"], row["pack"], row["can"])
        current = own if policy.buffer is None else policy.buffer
        story = known.story(row, pools)
        oversold = known.oversold[row["id"]]
        said = buffers.advise(story, policy, current, asked.share, oversold, row["id"])
        if row["id"] in pools.under_quota:
            said = buffers.Advice("quota")
        figures = {"sales": len(story.sales), "sold": story.sold, "oversold": oversold}
        costs = {"withheld": round(buffers.withheld(story, policy, current), 1), **known.lag(row["connection_id"])}
        found.append({**_named(row), "current": current, **said._asdict(), **figures, **costs, "since": pools.since})
    return found


def all_advice(tx: Transaction, scope: Scope, asked: Asked) -> Iterator[dict[str, Any]]:
    """As `advise`, of all listings, some at a time."""
    after = 0
    while rows := advise(tx, scope, asked, after):
        yield from rows
        after = rows[-1]["id"]


def _named(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in ("id", "connection", "listing", "sku")}


def _listings(tx: Transaction, scope: Scope, connection: str, after: int, limit: int) -> list[Row]:
    """Listings of active shops, with their shop's code and merchant."""
    li, c, i = t.listings.c, t.connections.c, t.items.c
    named = (li.ref.label("listing"), c.code.label("connection"), c.merchant_id, c.can, i.sku.label("sku_"))
    query = select(t.listings, *named)
    query = query.join(t.connections, c.id == li.connection_id).join(t.items, i.id == li.item_id)
    query = query.where(c.kind == "sales", c.state == "active", scope.sees(c.merchant_id), li.id > after)
    if connection:
        shop = one(tx, t.connections, code=connection, kind="sales")
        if shop is None or scope.merchant_id not in (None, shop["merchant_id"]):
            raise Unmatched("connection", connection, f"there is no shop {connection!r}")
        query = query.where(li.connection_id == shop["id"])
    return [{**row, "sku": row["sku_"]} for row in tx.rows(query.order_by(li.id).limit(limit))]


class _Known:
    """What was sold, oversold and measured of some listings since then, read with a fixed number of queries."""

    def __init__(self, tx: Transaction, rows: Sequence[Row], since: datetime) -> None:
        ids, shops = [row["id"] for row in rows], sorted({row["connection_id"] for row in rows})
        self._now, self._since = tx.now, since
        self._sold: dict[int, list[Row]] = {}
        for row in tx.rows(_sales(tx, shops, ids, since)):
            self._sold.setdefault(row["listing_id"], []).append(row)
        g, k = t.publish_lags.c, t.oversold.c
        query = select(g.connection_id, g.bucket_ms, func.sum(g.calls).label("n")).where(g.connection_id.in_(shops))
        self._lags: dict[int, dict[int, int]] = {}
        for row in tx.rows(query.where(g.minute >= since).group_by(g.connection_id, g.bucket_ms)):
            self._lags.setdefault(row["connection_id"], {})[row["bucket_ms"]] = int(row["n"])
        units = select(k.listing_id, func.sum(k.units).label("n"))
        mine = (any_of(tx.conn, k.listing_id, ids), k.recorded_at >= since, k.cause != NOT_TOGETHER)
        units = units.where(*mine).group_by(k.listing_id)
        self.oversold = Counter({row["listing_id"]: int(row["n"]) for row in tx.rows(units)})

    def story(self, row: Row, pools: Pools) -> Story:
        """What happened to a listing, in seconds since the time looked at began."""
        sold = self._sold.get(row["id"], [])
        there, steps = pools.steps(row, {one["order_id"] for one in sold})
        ends = max(1.0, self._seconds(self._now))
        return Story(there, steps, [self._sale(one) for one in sold], self._drawable(row["connection_id"]), ends)

    def lag(self, connection_id: int) -> dict[str, int | None]:
        """Within how many ms half of the calls, and 95 of 100, told the shop what had moved."""
        counts = self._lags.get(connection_id, {})
        return {f"lag_p{percent}_ms": percentile(counts, percent) for percent in (50, 95)}

    def _sale(self, row: Row) -> Sale:
        placed, heard = (max(0.0, self._seconds(row[name])) for name in ("placed_at", "created_at"))
        units = row["ordered"] - int(row["drawn"])
        back = max(0, min(_called_off(row), units - row["shipped"]))
        return Sale(min(placed, heard), heard, units, back, self._seconds(row["changed_at"]))

    def _drawable(self, connection_id: int) -> list[Lag]:
        counts = self._lags.get(connection_id, {})
        ends = (0, *BUCKETS_MS)
        return [
            Lag(low / 1000, high / 1000, counts[high])
            for low, high in zip(ends, BUCKETS_MS, strict=False)
            if counts.get(high)
        ]

    def _seconds(self, at: datetime) -> float:
        return (at - self._since).total_seconds()


def _called_off(row: Row) -> int:
    """Units of a line that nobody wants any more."""
    gone = row["closed"] or row["state"] == "cancelled"
    return int(row["ordered"] if gone else row["cancelled"] + row["short"])


def _sales(tx: Transaction, shops: Sequence[int], ids: Sequence[int], since: datetime) -> Any:
    """Lines of orders that were first heard since then and want units of the pool; drawn: from locks, not of it.

    Orders that took over a reservation are left out: their units were taken when they were reserved.
    """
    o, ol, d, h = t.orders.c, t.order_lines.c, t.lock_draws.c, t.hand_overs.c
    drawn = select(func.coalesce(func.sum(d.units), 0)).where(d.line_id == ol.id).scalar_subquery()
    told = (o.placed_at, o.created_at, o.changed_at, o.closed, o.state)
    units = (ol.ordered, ol.cancelled, ol.short, ol.shipped, case((ol.ordered > drawn, drawn), else_=ol.ordered))
    query = select(ol.listing_id, ol.order_id, *told, *units[:4], units[4].label("drawn"))
    wants = and_(o.claims_stock.is_(True), o.state != "elsewhere", ol.bears_stock.is_(True), ol.ordered > 0)
    reserved = select(h.order_id).where(h.order_id == o.id).exists()
    mine = (any_of(tx.conn, o.connection_id, shops), any_of(tx.conn, ol.listing_id, ids), o.created_at >= since)
    query = query.join(t.orders, o.id == ol.order_id).where(*mine, wants, ~reserved)
    return query.order_by(ol.id)
