"""What was recorded, as a scenario: last week's orders against the stock and the shops they met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, case, func, select

from core.errors import Unfit, Unmatched
from core.rules.levels import LAG_BUFFER
from core.store import tables as t
from core.store.rows import any_of
from core.store.store import Transaction, one
from hub.simulate.scenario import FORMS, Arrival, Sale, Scenario, Ways

Row = Mapping[str, Any]
MOVES = (
    *("receive", "count", "adjust", "snapshot", "return", "regrade", "hold", "thaw", "title"),
    *("transfer_in", "transfer_out", "assemble", "lock", "unlock"),
)
"""Journals by which there is more or less to sell though nobody bought it."""


def recorded(tx: Transaction, merchant: str, since: datetime, latency_s: float, policy: Mapping[str, int]) -> Scenario:
    """The orders a merchant's shops recorded since then; kits and goods of others are left out.

    Raises Unmatched for a merchant there is not, Unfit where nothing was sold.
    """
    holder = one(tx, t.merchants, code=merchant)
    if holder is None:
        raise Unmatched("merchant", merchant, f"there is no merchant {merchant!r}: name one with --merchant")
    shops = _shops(tx, holder["id"])
    lines = _lines(tx, sorted(shops), since)
    if not lines:
        raise Unfit(f"{merchant} sold nothing since {since.isoformat()}: say an earlier time")
    items = sorted({line["item_id"] for line in lines})
    number = {item: n for n, item in enumerate(items)}
    places = {shop: n for n, shop in enumerate(sorted(shops))}
    there = _stock(tx, holder["id"], items, since)
    return Scenario(
        shops=tuple(_ways(shops[shop], latency_s) for shop in sorted(shops)),
        stock=tuple(max(0, there.get(item, 0)) for item in items),
        sales=tuple(_sale(line, since, places, number) for line in lines),
        arrivals=tuple(
            Arrival((row["recorded_at"] - since).total_seconds(), number[row["item_id"]], int(row["units"]))
            for row in _arrivals(tx, holder["id"], items, since)
        ),
        policy=policy,
    )


def _shops(tx: Transaction, merchant_id: int) -> dict[int, Row]:
    c = t.connections.c
    rows = tx.rows(select(c.id, c.can).where(c.kind == "sales", c.merchant_id == merchant_id))
    return {row["id"]: row["can"] for row in rows if "send_stock" in row["can"]}


def _ways(can: Row, latency_s: float) -> Ways:
    """A shop as its manifest says it is, in the best form it offers."""
    says = can["send_stock"]
    form = next(form for form in FORMS if form in says["forms"])
    every_s = can.get("fetch_orders", {}).get("every_s", 60)
    less = says.get("lag_buffer", LAG_BUFFER)
    return Ways(
        form, says["decrements_at"], says["level_means"], says["per"], float(every_s), latency_s, lag_buffer=less
    )


def _lines(tx: Transaction, shops: Sequence[int], since: datetime) -> list[Row]:
    o, ol, i = t.orders.c, t.order_lines.c, t.items.c
    query = select(o.connection_id, o.placed_at, o.paid_at, o.closed, ol.item_id, ol.ordered)
    query = query.join(t.order_lines, ol.order_id == o.id).join(t.items, i.id == ol.item_id)
    mine = (any_of(tx.conn, o.connection_id, shops), o.placed_at >= since, i.is_kit.is_(False), ol.ordered > 0)
    return tx.rows(query.where(*mine).order_by(o.placed_at, ol.id))


def _sale(line: Row, since: datetime, places: Mapping[int, int], number: Mapping[int, int]) -> Sale:
    paid = None if line["paid_at"] is None else max(0.0, (line["paid_at"] - line["placed_at"]).total_seconds())
    at_s = (line["placed_at"] - since).total_seconds()
    return Sale(at_s, places[line["connection_id"]], number[line["item_id"]], int(line["ordered"]), paid)


def _entries(owner_id: int, items: Any) -> Any:
    """Good units of these items that may be promised, journal by journal."""
    e, j, ce = t.entries.c, t.journals.c, t.cells.c
    rows = t.entries.join(t.journals, j.id == e.journal_id).join(t.cells, ce.id == e.cell_id)
    mine = and_(ce.owner_id == owner_id, ce.condition == "ZP", items, e.account.in_(("free", "suspense")))
    return rows, mine


def _stock(tx: Transaction, owner_id: int, items: Sequence[int], at: datetime) -> dict[int, int]:
    """Item → units that could be promised then, before anything of the orders that follow."""
    e, j, ce = t.entries.c, t.journals.c, t.cells.c
    rows, mine = _entries(owner_id, any_of(tx.conn, ce.item_id, items))
    free = func.sum(case((e.account == "free", e.quantity), else_=0))
    missing = func.sum(case((e.account == "suspense", e.quantity), else_=0))
    query = select(ce.item_id, free, missing).select_from(rows).where(mine, j.recorded_at < at)
    found: dict[int, int] = {}
    for item, units, lacking in tx.conn.execute(query.group_by(ce.id, ce.item_id)):
        found[item] = found.get(item, 0) + max(0, int(units) + min(0, int(lacking)))
    return found


def _arrivals(tx: Transaction, owner_id: int, items: Sequence[int], since: datetime) -> list[Row]:
    e, j, ce = t.entries.c, t.journals.c, t.cells.c
    rows, mine = _entries(owner_id, any_of(tx.conn, ce.item_id, items))
    units = func.sum(e.quantity)
    query = select(j.recorded_at, ce.item_id, units.label("units")).select_from(rows)
    query = query.where(mine, j.recorded_at >= since, j.kind.in_(MOVES)).group_by(j.id, j.recorded_at, ce.item_id)
    return tx.rows(query.having(units != 0).order_by(j.id))
