"""Units shops sold beyond what the pool could back: by shop, cause and day, and one by one with what was known."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import Select, case, func, select

from core.flow.note_oversold import paid
from core.store import tables as t
from core.store.scope import Scope
from core.store.store import Transaction
from web.reads.days import Days, day_of, days
from web.reads.shape import PAGE, page_after

Row = Mapping[str, Any]
WEEK = 6


def oversold(
    tx: Transaction, scope: Scope, first: str = "", last: str = "", after: str = "", limit: int = PAGE
) -> dict[str, Any]:
    """Totals of these days (UTC, YYYY-MM-DD; the last seven without them), and a page of the units, oldest first.

    Of orders that were paid; what became of each is as it stands now: waits, backed, short or called_off.
    """
    today, k = day_of(tx.now), t.oversold.c
    when = days(first, last, tx.now) if first or last else Days(today - timedelta(days=WEEK), today)
    mine = (scope.sees(k.merchant_id), paid(), when.hold(k.recorded_at))
    page = page_after(tx, _rows().where(*mine), k.id, after, limit)
    return {**page, "totals": totals(tx, *mine), **when.named()}


def totals(tx: Transaction, *where: Any) -> list[dict[str, Any]]:
    """Units by connection and cause, most first."""
    k, c, o = t.oversold.c, t.connections.c, t.orders.c
    units = func.sum(k.units).label("units")
    query = select(c.code.label("connection"), k.cause, units).join(t.connections, c.id == k.connection_id)
    query = query.join(t.orders, o.id == k.order_id).where(*where).group_by(c.code, k.cause)
    return [{**row, "units": int(row["units"])} for row in tx.rows(query.order_by(units.desc(), c.code, k.cause))]


def _rows() -> Select[Any]:
    k, o, ol, c, i, cl = (x.c for x in (t.oversold, t.orders, t.order_lines, t.connections, t.items, t.claims))
    missing = select(func.coalesce(func.sum(cl.asked - cl.shipped - cl.backed), 0)).where(
        cl.line_id == k.line_id, cl.open.is_(True)
    )
    outcome = case(
        (o.state == "cancelled", "called_off"),
        (missing.scalar_subquery() > 0, "waits"),
        (ol.short > 0, "short"),
        (ol.cancelled > 0, "called_off"),
        else_="backed",
    )
    names = (c.code.label("connection"), o.ref.label("order"), i.sku, k.units, k.cause, k.evidence)
    query = select(k.id, k.order_id, *names, k.placed_at, k.recorded_at, outcome.label("outcome"))
    query = query.join(t.orders, o.id == k.order_id).join(t.order_lines, ol.id == k.line_id)
    return query.join(t.connections, c.id == k.connection_id).join(t.items, i.id == k.item_id)
