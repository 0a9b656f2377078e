"""The ledger held against itself: every rule recomputed from the journals. Nothing is mended here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import and_, case, exists, func, select, update

from core.flow import (
    audit_claims,
    audit_contracts,
    audit_kits,
    audit_locks,
    audit_lots,
    audit_moves,
    audit_snapshots,
)
from core.flow.audit_causes import last
from core.flow.tell import ask_person
from core.store import tables as t
from core.store.ledger import KEPT
from core.store.store import Transaction

SAID = 10
"""Breaches a person is told of at once; the log has all."""


def audit(tx: Transaction) -> list[str]:
    """Recompute the ledger from its journals and hold every rule against it; one sentence per breach, [] when clean."""
    checks = (
        _orphans,
        _unbalanced,
        _balances,
        _overcommitted,
        _returned,
        _instead,
        audit_claims.breaches,
        audit_moves.breaches,
        audit_kits.breaches,
        audit_locks.breaches,
        audit_contracts.breaches,
        *audit_lots.CHECKS,
        _suspense,
        audit_snapshots.breaches,
    )
    return [breach for check in checks for breach in check(tx)]


def post(tx: Transaction, day: str, breaches: Sequence[str]) -> None:
    """Leave a day's breaches to people; a clean audit settles those of all days before."""
    if breaches:
        more = f" … and {len(breaches) - SAID} more" if len(breaches) > SAID else ""
        ask_person(tx, "audit", f"audit:{day}", None, "; ".join(breaches[:SAID])[:1900] + more)
        return
    w = t.worklist.c
    tx.conn.execute(update(t.worklist).where(w.kind == "audit", w.done_at.is_(None)).values(done_at=tx.now))


def overcommitted_units(tx: Transaction) -> int:
    """Σ over cells of |open backed units − reserved|; always 0."""
    return sum(abs(r["backed"] - r["reserved"]) for r in _claimed(tx))


def _orphans(tx: Transaction) -> list[str]:
    """Entries and claims that name what is not there: no foreign key guards them."""
    e, j, ce, c = t.entries.c, t.journals.c, t.cells.c, t.claims.c
    lost = {
        "entries of a journal": select(e.journal_id).where(~exists().where(j.id == e.journal_id)),
        "entries of a cell": select(e.cell_id).where(~exists().where(ce.id == e.cell_id)),
        "claims on a cell": select(c.cell_id).where(~exists().where(ce.id == c.cell_id)),
    }
    named = {
        "a merchant": (c.holder_id, t.merchants),
        "an order": (c.order_id, t.orders),
        "an order line": (c.line_id, t.order_lines),
        "an item": (c.part_id, t.items),
        "a fulfilment": (c.fulfilment_id, t.fulfilments),
        "a contract": (c.contract_id, t.contracts),
    }
    for what, (column, table) in named.items():
        there = exists().where(table.c.id == column)
        lost[f"claims of {what}"] = select(column).where(column.is_not(None), ~there)
    return [
        f"there are {what} {ident} that is not there"
        for what, query in lost.items()
        for ident in tx.conn.execute(query.distinct().limit(SAID)).scalars()
    ]


def _unbalanced(tx: Transaction) -> list[str]:
    e, ce, j = t.entries.c, t.cells.c, t.journals.c
    total = func.sum(e.quantity)
    query = select(e.journal_id, j.kind, j.cause, ce.item_id, total.label("n")).join(t.cells, ce.id == e.cell_id)
    query = query.join(t.journals, j.id == e.journal_id).group_by(e.journal_id, j.kind, j.cause, ce.item_id)
    return [
        f"journal {r['journal_id']} is off by {r['n']} for item {r['item_id']}, booked by {r['kind']} of {r['cause']}"
        for r in tx.rows(query.having(total != 0))
    ]


def _balances(tx: Transaction) -> list[str]:
    """Cells whose balances are not the sum of their entries."""
    e, ce = t.entries.c, t.cells.c
    sums = [func.coalesce(func.sum(case((e.account == a, e.quantity), else_=0)), 0) for a in KEPT]
    query = select(ce.id, *(s.label(f"sum_{a}") for a, s in zip(KEPT, sums, strict=True)), *(ce[a] for a in KEPT))
    query = query.join(t.entries, e.cell_id == ce.id, isouter=True).group_by(ce.id, *(ce[a] for a in KEPT))
    wrong = [(r["id"], a, r[a], r[f"sum_{a}"]) for r in tx.rows(query) for a in KEPT if r[a] != r[f"sum_{a}"]]
    return [
        f"cell {cell}: {account} is {kept}, its journal says {booked}{last(tx, cell, account)}"
        for cell, account, kept, booked in wrong
    ]


def _claimed(tx: Transaction) -> list[Mapping[str, Any]]:
    c, ce = t.claims.c, t.cells.c
    backed = func.coalesce(func.sum(case((c.open.is_(True), c.backed), else_=0)), 0)
    query = select(ce.id, ce.reserved, backed.label("backed")).join(t.claims, c.cell_id == ce.id, isouter=True)
    return tx.rows(query.group_by(ce.id, ce.reserved).having(backed != ce.reserved))


def _overcommitted(tx: Transaction) -> list[str]:
    return [
        f"cell {r['id']}: open claims are backed by {r['backed']}, reserved is {r['reserved']}"
        f"{last(tx, r['id'], 'reserved')}"
        for r in _claimed(tx)
    ]


def _returned(tx: Transaction) -> list[str]:
    """Order lines whose returned units are not the sum of what came back."""
    o, r = t.order_lines.c, t.return_lines.c
    came = select(r.line_id, func.sum(r.quantity).label("n"), func.max(r.inbox_id).label("last")).group_by(r.line_id)
    sums = came.where(r.line_id.is_not(None)).subquery().c
    query = select(o.id, o.returned, func.coalesce(sums.n, 0).label("n"), sums.last).where(~audit_kits.is_kit(o.id))
    query = query.join(sums.n.table, sums.line_id == o.id, isouter=True)
    wrong = tx.rows(query.where(o.returned != func.coalesce(sums.n, 0)))
    said = [f"order line {r['id']}: returned is {r['returned']}, its returns say {r['n']}" for r in wrong]
    came_by = [f", last by return of inbox:{r['last']}" if r["last"] else "" for r in wrong]
    return [words + by for words, by in zip(said, came_by, strict=True)]


def _instead(tx: Transaction) -> list[str]:
    """Lines of fulfilments for which more was sent of other items than left in all."""
    s, f = t.sent_instead.c, t.fulfilment_lines.c
    of_line = and_(f.fulfilment_id == s.fulfilment_id, f.n == s.n)
    sent = func.sum(s.quantity)
    query = select(f.fulfilment_id, f.n, f.shipped, sent.label("sent")).join(t.sent_instead, of_line)
    query = query.group_by(f.fulfilment_id, f.n, f.shipped).having(sent > f.shipped)
    return [
        f"fulfilment {r['fulfilment_id']}, line {r['n']}: {r['sent']} of other items went for it, {r['shipped']} left"
        for r in tx.rows(query)
    ]


def _suspense(tx: Transaction) -> list[str]:
    """Negative suspense is drift; above 0 it never is, since what comes in fills what is missing and no more."""
    ce = t.cells.c
    return [
        f"cell {cell['id']}: {_words(cell['suspense'])}{last(tx, cell['id'], 'suspense')}"
        for cell in tx.rows(select(ce.id, ce.suspense).where(ce.suspense != 0))
    ]


def _words(suspense: int) -> str:
    return f"{suspense} units in suspense" if suspense < 0 else f"its suspense is {suspense} above 0"
