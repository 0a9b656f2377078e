"""Transfers and stock-takes, with their lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Select, select

from core.flow.transfer_stock import on_the_way
from core.store import tables as t
from core.store.scope import Scope
from core.store.store import Transaction, many
from hub.counts import count_of
from hub.transfers import found
from web.reads.shape import PAGE, all_shown, page_after, shown_whole

Row = Mapping[str, Any]
source, goal = t.warehouses.alias("source"), t.warehouses.alias("goal")


def transfers(tx: Transaction, scope: Scope, state: str = "", after: str = "", limit: int = PAGE) -> dict[str, Any]:
    """A page of transfers by id. state: only those that stand so."""
    tr = t.transfers.c
    query = _transfers().where(scope.sees(tr.owner_id))
    page = page_after(tx, query.where(tr.state == state) if state else query, tr.id, after, limit)
    return {**page, "rows": _with_moves(tx, page["rows"])}


def transfer(tx: Transaction, scope: Scope, ref: str, owner: str | None) -> dict[str, Any]:
    """One transfer by its asker's number. Raises Unmatched."""
    ident = found(tx, scope, ref, owner)["id"]
    (row,) = _with_moves(tx, all_shown(tx.rows(_transfers().where(t.transfers.c.id == ident))))
    return row


def _transfers() -> Select[Any]:
    tr, m = t.transfers.c, t.merchants.c
    names = (m.code.label("owner"), source.c.code.label("from"), goal.c.code.label("to"))
    query = select(tr.id, tr.number, tr.ref, tr.state, tr.created_at, *names).join(t.merchants, m.id == tr.owner_id)
    return query.join(source, source.c.id == tr.from_id).join(goal, goal.c.id == tr.to_id)


def _with_moves(tx: Transaction, rows: Sequence[Row]) -> list[dict[str, Any]]:
    lines = many(tx, t.transfer_lines, "transfer_id", [int(row["id"]) for row in rows])
    return [{**row, "lines": [_moved(li) for li in lines if li["transfer_id"] == int(row["id"])]} for row in rows]


def _moved(line: Row) -> dict[str, Any]:
    figures = ("sku", "quantity", "departed", "arrived", "lost", "came_back")
    return {**{name: line[name] for name in figures}, "on_the_way": max(0, on_the_way(line))}


def counts(tx: Transaction, scope: Scope, state: str = "", after: str = "", limit: int = PAGE) -> dict[str, Any]:
    """A page of stock-takes by id. state: only those that stand so."""
    co = t.counts.c
    query = _counts().where(scope.sees(co.owner_id))
    page = page_after(tx, query.where(co.state == state) if state else query, co.id, after, limit)
    return {**page, "rows": _with_figures(tx, page["rows"])}


def count(tx: Transaction, scope: Scope, ident: int) -> dict[str, Any]:
    """One stock-take. Raises Unmatched."""
    row = count_of(tx, scope, ident)
    (shaped,) = _with_figures(tx, all_shown(tx.rows(_counts().where(t.counts.c.id == row["id"]))))
    return shaped


def _counts() -> Select[Any]:
    co, m, w = t.counts.c, t.merchants.c, t.warehouses.c
    query = select(t.counts, m.code.label("owner"), w.code.label("warehouse")).join(t.merchants, m.id == co.owner_id)
    return query.join(t.warehouses, w.id == co.warehouse_id)


def _with_figures(tx: Transaction, rows: Sequence[Row]) -> list[dict[str, Any]]:
    li, ce, i = t.count_lines.c, t.cells.c, t.items.c
    query = select(li.count_id, i.sku, ce.condition, li.expected, li.counted, (li.counted - li.expected).label("off"))
    query = query.join(t.cells, ce.id == li.cell_id).join(t.items, i.id == ce.item_id)
    lines = tx.rows(query.where(li.count_id.in_([int(row["id"]) for row in rows])).order_by(li.count_id, li.n))
    return [
        {**row, "lines": shown_whole([line for line in lines if line["count_id"] == int(row["id"])])} for row in rows
    ]
