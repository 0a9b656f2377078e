"""What last moved what the audit finds wrong, to be said after the breach."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import ColumnElement, func, select

from core.store import tables as t
from core.store.database import number_in
from core.store.rows import any_of
from core.store.store import Transaction


def last(tx: Transaction, cell_id: int, *accounts: str) -> str:
    """The journal that last moved one of these accounts of a cell; "" when nothing ever did."""
    e = t.entries.c
    return _of(tx, select(e.journal_id).where(e.cell_id == cell_id, e.account.in_(accounts)).subquery().c.journal_id)


def last_of_lot(tx: Transaction, cell_id: int, lot: str) -> str:
    """The journal that last moved a lot of a cell; "" when nothing ever did."""
    e = t.lot_entries.c
    return _of(tx, select(e.journal_id).where(e.cell_id == cell_id, e.lot == lot).subquery().c.journal_id)


def _of(tx: Transaction, moved: ColumnElement[int]) -> str:
    j = t.journals.c
    row = tx.row(select(j.kind, j.cause).join(moved.table, moved == j.id).order_by(j.id.desc()).limit(1))
    return f", last by {row['kind']} of {row['cause']}" if row else ""


def words(tx: Transaction, journal_ids: Collection[int]) -> Mapping[int | None, str]:
    """Each of these journals in the words of `last`; None stands for none."""
    j = t.journals.c
    rows = tx.rows(select(j.id, j.kind, j.cause).where(any_of(tx.conn, j.id, sorted(journal_ids))))
    return {None: ""} | {row["id"]: f", last by {row['kind']} of {row['cause']}" for row in rows}


def shipments(tx: Transaction, fulfilment_ids: Collection[int]) -> Mapping[int, str]:
    """The last confirmation of each of these fulfilments, in the same words; "" for one that had none."""
    j, number = t.journals.c, number_in(tx.conn, t.journals.c.key)
    query = select(number.label("of"), func.max(j.id).label("last")).where(j.kind == "ship").group_by(number)
    known = query.subquery().c
    mine = select(known.of, known.last).where(any_of(tx.conn, known.of, sorted(fulfilment_ids)))
    found = {row["of"]: row["last"] for row in tx.rows(mine)}
    said = words(tx, found.values())
    return {ident: said[found.get(ident)] for ident in fulfilment_ids}
