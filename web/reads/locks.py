"""Locks, with what is left of each and what was drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Select, case, func, select

from core.errors import Unmatched
from core.store import tables as t
from core.store.rows import any_of
from core.store.scope import Scope
from core.store.store import Transaction, many
from hub.transfers import owner_of
from web.reads.shape import PAGE, all_shown, page_after

Row = Mapping[str, Any]


def locks(tx: Transaction, scope: Scope, after: str = "", limit: int = PAGE) -> dict[str, Any]:
    """A page of locks by id, ended ones too."""
    page = page_after(tx, _locks(tx, scope), t.locks.c.id, after, limit)
    return {**page, "rows": _whole(tx, page["rows"])}


def lock(tx: Transaction, scope: Scope, ref: str, owner: str | None) -> dict[str, Any]:
    """One lock by its asker's number. Raises Unmatched."""
    lo = t.locks.c
    row = tx.row(_locks(tx, scope).where(lo.owner_id == owner_of(tx, scope, owner)["id"], lo.ref == ref))
    if row is None:
        raise Unmatched("lock", ref, f"there is no lock {ref!r}")
    return _whole(tx, all_shown([row]))[0]


def _locks(tx: Transaction, scope: Scope) -> Select[Any]:
    lo, m, c = t.locks.c, t.merchants.c, t.connections.c
    state = case((lo.ended_at.is_not(None), "ended"), (lo.starts_at > tx.now, "planned"), else_="open").label("state")
    names = (m.code.label("owner"), c.code.label("connection"), state)
    times = (lo.starts_at.label("from"), lo.ends_at.label("until"), lo.created_at, lo.who, lo.ended_at, lo.ended_by)
    query = select(lo.id, lo.ref, lo.kind, *names, lo.listings, *times).join(t.merchants, m.id == lo.owner_id)
    return query.join(t.connections, c.id == lo.connection_id).where(scope.sees(lo.owner_id))


def _whole(tx: Transaction, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows with their listings by their refs, and their lines."""
    refs = {r["id"]: r["ref"] for r in many(tx, t.listings, "id", sorted({i for row in rows for i in row["listings"]}))}
    lines = _lines(tx, [int(row["id"]) for row in rows])
    return [{**row, "listings": [refs[i] for i in row["listings"]], "lines": lines[int(row["id"])]} for row in rows]


def _lines(tx: Transaction, locks: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    li, c, ce, i, w, d = t.lock_lines.c, t.claims.c, t.cells.c, t.items.c, t.warehouses.c, t.lock_draws.c
    drawn = select(func.coalesce(func.sum(d.units), 0)).where(d.lock_id == li.lock_id, d.cell_id == li.cell_id)
    names = (li.lock_id, i.sku, w.code.label("warehouse"), li.units.label("quantity"), c.backed.label("remaining"))
    query = select(*names, drawn.scalar_subquery().label("drawn")).join(t.claims, c.id == li.claim_id)
    query = query.join(t.cells, ce.id == li.cell_id).join(t.items, i.id == ce.item_id)
    query = query.join(t.warehouses, w.id == ce.warehouse_id).where(any_of(tx.conn, li.lock_id, locks))
    found: dict[int, list[dict[str, Any]]] = {ident: [] for ident in locks}
    for row in tx.rows(query.order_by(li.lock_id, i.sku, w.code)):
        found[row["lock_id"]].append({k: int(v) if k == "drawn" else v for k, v in row.items() if k != "lock_id"})
    return found
