"""What was booked because snapshots showed it, held against the comparisons that showed it."""

from __future__ import annotations

from sqlalchemy import String, and_, cast, func, literal, or_, select

from core.store import tables as t
from core.store.store import Transaction

PLACES = ("free", "held", "suspense")


def breaches(tx: Transaction) -> list[str]:
    """Journals without the comparison they name, comparisons without their journal, units that differ."""
    return [*_unfounded(tx), *_unbooked(tx), *_differing(tx)]


def _key() -> object:
    c = t.comparisons.c
    return literal("snapshot:") + cast(c.first_id, String) + literal(":") + cast(c.id, String)


def _unfounded(tx: Transaction) -> list[str]:
    j, c = t.journals.c, t.comparisons.c
    query = select(j.id, j.key).join(t.comparisons, and_(j.key == _key(), c.state == "booked"), isouter=True)
    rows = tx.rows(query.where(j.kind == "snapshot", c.id.is_(None)).order_by(j.id))
    return [f"journal {r['id']}: no comparison that is booked stands behind {r['key']}" for r in rows]


def _unbooked(tx: Transaction) -> list[str]:
    j, c = t.journals.c, t.comparisons.c
    query = select(c.id).join(t.journals, j.key == _key(), isouter=True)
    rows = tx.rows(query.where(c.state == "booked", j.id.is_(None)).order_by(c.id))
    return [f"comparison {r['id']}: booked, but there is no journal of it" for r in rows]


def _differing(tx: Transaction) -> list[str]:
    """A residual is booked whole, on the cell it was shown of."""
    j, c, e, ce = t.journals.c, t.comparisons.c, t.entries.c, t.cells.c
    units = func.coalesce(func.sum(e.quantity), 0)
    mine = and_(ce.item_id == c.item_id, ce.warehouse_id == c.warehouse_id, ce.condition == c.condition)
    query = select(c.id, c.residual, units.label("n")).join(t.journals, j.key == _key())
    query = query.join(t.entries, e.journal_id == j.id).join(t.cells, and_(ce.id == e.cell_id, mine), isouter=True)
    there = or_(e.account.in_(PLACES), e.account.is_(None))
    query = query.where(c.state == "booked", there, ce.id.is_not(None)).group_by(c.id, c.residual)
    rows = tx.rows(query.having(units != c.residual).order_by(c.id))
    return [f"comparison {r['id']}: off by {r['residual']:+}, booked as {r['n']:+}" for r in rows]
