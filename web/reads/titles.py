"""Title transfers, and the statement two owners settle by: what passed between them, day by day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Select, and_, case, or_, select

from core.errors import Unmatched
from core.flow.carry_transfer import arrivals
from core.store import tables as t
from core.store.rows import any_of
from core.store.scope import Scope
from core.store.store import Transaction, since
from hub.transfers import owner_of
from web.reads.days import Days, day_of, days
from web.reads.shape import PAGE, all_shown, page_after

Row = Mapping[str, Any]
COLUMNS = ("day", "from", "to", "warehouse", "sku", "condition", "units", "transfers")
SKEW = timedelta(days=1)
"""By how much a process's clock, which numbers journals, may differ from the one they are dated by."""
giver, taker = t.merchants.alias("giver"), t.merchants.alias("taker")


def titles(tx: Transaction, scope: Scope, after: str = "", limit: int = PAGE) -> dict[str, Any]:
    """A page of title transfers by id, those given and those got."""
    page = page_after(tx, _titles(scope), t.title_transfers.c.id, after, limit)
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
    without them. What a warehouse carries over passes as it arrives, on each day its part: a day that is over stays as
    it is. Raises Unfit.
    """
    when = days(first, last, tx.now)
    units, transfers = Counter[tuple[str, ...]](), dict[tuple[str, ...], set[int]]()
    for row in [*_at_once(tx, scope, when), *_arrived(tx, scope, when)]:
        names = (row[name] for name in COLUMNS[1:6])
        key = (day_of(row["at"]).isoformat(), *names)
        units[key] += int(row["units"])
        transfers.setdefault(key, set()).add(row["id"])
    rows = [(*key, units[key], len(transfers[key])) for key in sorted(units)]
    return {"rows": [dict(zip(COLUMNS, row, strict=True)) for row in rows], **when.named()}


def _at_once(tx: Transaction, scope: Scope, when: Days) -> list[Row]:
    """What passed where it lay: the lines of title transfers, each `at` the time of its booking."""
    tt, li, i = t.title_transfers.c, t.title_lines.c, t.items.c
    query = _titles(scope).join(t.title_lines, li.title_id == tt.id).join(t.items, i.id == li.item_id)
    query = query.add_columns(i.sku, li.condition, li.units, tt.created_at.label("at"))
    return tx.rows(query.where(tt.transfer_id.is_(None), when.hold(tt.created_at)))


def _arrived(tx: Transaction, scope: Scope, when: Days) -> list[Row]:
    """What warehouses carried over, as it arrived: per arrival, item and condition, `at` the time of its booking."""
    tt, li, i, ce = t.title_transfers.c, t.title_lines.c, t.items.c, t.cells.c
    e, j = t.entries.c, t.journals.c
    theirs = (ce.owner_id == tt.to_owner_id, ce.warehouse_id == tt.warehouse_id, ce.item_id == li.item_id)
    query = _titles(scope).join(t.title_lines, li.title_id == tt.id).join(t.items, i.id == li.item_id)
    query = query.join(t.cells, and_(*theirs)).join(t.entries, e.cell_id == ce.id)
    query = query.join(t.journals, and_(j.id == e.journal_id, arrivals(j.key, tt.transfer_id)))
    query = query.add_columns(i.sku, ce.condition, e.quantity.label("units"), j.recorded_at.label("at"))
    return tx.rows(query.where(e.journal_id > since(when.begin - SKEW), when.hold(j.recorded_at), e.quantity > 0))


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
