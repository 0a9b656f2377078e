"""Title transfers, and the statement two owners settle by: what passed between them, day by day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Select, case, or_, select

from core.errors import Unfit, Unmatched
from core.store import tables as t
from core.store.database import any_of
from core.store.scope import Scope
from core.store.store import Transaction
from hub.transfers import owner_of
from web.reads.shape import PAGE, all_shown, number, paged

Row = Mapping[str, Any]
COLUMNS = ("day", "from", "to", "warehouse", "sku", "condition", "units", "transfers")
DAYS = 366
giver, taker = t.merchants.alias("giver"), t.merchants.alias("taker")


def titles(tx: Transaction, scope: Scope, after: str = "", limit: int = PAGE) -> dict[str, Any]:
    """A page of title transfers by id, those given and those got."""
    query = _titles(scope).where(t.title_transfers.c.id > number(after)) if after else _titles(scope)
    page = paged(tx, tx.rows(query.order_by(t.title_transfers.c.id).limit(limit + 1)), limit)
    return {**page, "rows": _with_lines(tx, page["rows"])}


def title(tx: Transaction, scope: Scope, ref: str, owner: str | None) -> dict[str, Any]:
    """One title transfer by its asker's number. Raises Unmatched."""
    tt = t.title_transfers.c
    row = tx.row(_titles(scope).where(tt.owner_id == owner_of(tx, scope, owner)["id"], tt.ref == ref))
    if row is None:
        raise Unmatched("title transfer", ref, f"there is no title transfer {ref!r}")
    return _with_lines(tx, all_shown([row]))[0]


def statement(tx: Transaction, scope: Scope, first: str = "", last: str = "") -> dict[str, Any]:
    """Base units that passed, per day (UTC), pair, warehouse, item and condition. first, last: YYYY-MM-DD, today
    without them. Of what a warehouse carries over, the units that have arrived. Raises Unfit.
    """
    since, until = days(first, last, tx.now)
    tt = t.title_transfers.c
    begin = datetime.combine(since, time(), UTC)
    end = datetime.combine(until + timedelta(days=1), time(), UTC)
    rows = tx.rows(_titles(scope).where(tt.created_at >= begin, tt.created_at < end).order_by(tt.id))
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in _with_lines(tx, rows):
        for line in row["lines"]:
            day = row["created_at"].astimezone(UTC).date().isoformat()
            key = (day, row["from"], row["to"], row["warehouse"], line["sku"], line["condition"])
            sums = found.setdefault(key, {**dict(zip(COLUMNS, key, strict=False)), "units": 0, "transfers": 0})
            sums["units"] += line["passed"]
            sums["transfers"] += 1
    return {"rows": [found[key] for key in sorted(found)], "first": str(since), "last": str(until)}


def days(first: str, last: str, now: datetime) -> tuple[date, date]:
    """The days from first to last; today without them. Raises Unfit."""
    since, until = _day(first or last, now), _day(last or first, now)
    if not since <= until < since + timedelta(days=DAYS):
        raise Unfit(f"{since} to {until} is no time of up to {DAYS} days: say the first day and the last")
    return since, until


def _day(text: str, now: datetime) -> date:
    try:
        return date.fromisoformat(text) if text else now.astimezone(UTC).date()
    except ValueError:
        raise Unfit(f"{text!r} is no day: write it like 2026-01-05") from None


def _titles(scope: Scope) -> Select[Any]:
    tt, w, tr = t.title_transfers.c, t.warehouses.c, t.transfers.c
    names = (giver.c.code.label("from"), taker.c.code.label("to"), w.code.label("warehouse"))
    state = case((tt.transfer_id.is_(None), "closed"), else_=tr.state).label("state")
    query = select(tt.id, tt.ref, *names, state, tt.transfer_id, tr.number, tt.who, tt.created_at)
    query = query.join(giver, giver.c.id == tt.owner_id).join(taker, taker.c.id == tt.to_owner_id)
    query = query.join(t.warehouses, w.id == tt.warehouse_id).join(t.transfers, tr.id == tt.transfer_id, isouter=True)
    return query.where(or_(scope.sees(tt.owner_id), scope.sees(tt.to_owner_id)))


def _with_lines(tx: Transaction, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows with their lines: units asked for, and those that have passed."""
    li, i, tt, tl = t.title_lines.c, t.items.c, t.title_transfers.c, t.transfer_lines.c
    passed = case((tt.transfer_id.is_(None), li.units), else_=tl.arrived).label("passed")
    query = select(li.title_id, i.sku, li.condition, li.units.label("quantity"), passed).join(
        t.items, i.id == li.item_id
    )
    query = query.join(t.title_transfers, tt.id == li.title_id)
    mine = (tl.transfer_id == tt.transfer_id) & (tl.item_id == li.item_id)
    query = query.join(t.transfer_lines, mine, isouter=True)
    query = query.where(any_of(tx.conn, li.title_id, [int(row["id"]) for row in rows])).order_by(li.title_id, li.n)
    lines: dict[int, list[Row]] = {}
    for line in tx.rows(query):
        lines.setdefault(line["title_id"], []).append({k: v for k, v in line.items() if k != "title_id"})
    return [{**row, "lines": lines.get(int(row["id"]), [])} for row in rows]
