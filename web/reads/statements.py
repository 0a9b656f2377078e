"""Statements of days: what the audit found and what the books held, for whoever sees the whole hub."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from core.errors import Unmatched
from core.flow import close_day
from core.store import tables as t
from core.store.scope import Scope
from core.store.store import Transaction, one
from web.problems import Forbidden
from web.reads.shape import PAGE, paged, shown


def statements(tx: Transaction, scope: Scope, before: str = "", limit: int = PAGE) -> dict[str, Any]:
    """A page of them without their breaches, newest first; due: days that are over and wait for theirs."""
    _whole_hub(scope)
    s = t.statements.c
    query = select(s.day, s.made_at, s.found, s.figures).order_by(s.day.desc()).limit(limit + 1)
    page = paged(tx, tx.rows(query.where(s.day < before) if before else query), limit, "day")
    return {**page, "due": close_day.due(tx)}


def statement(tx: Transaction, scope: Scope, day: str) -> dict[str, Any]:
    """One of them, with every breach. Raises Unmatched."""
    _whole_hub(scope)
    found = one(tx, t.statements, day=day)
    if found is None:
        raise Unmatched("statement", day, f"there is no statement of {day!r}: name a day that is over, as 2026-01-05")
    return shown(found)


def _whole_hub(scope: Scope) -> None:
    """Raises Forbidden for one who sees a merchant's part of it."""
    if scope.merchant_id is not None:
        raise Forbidden("a statement is about everybody's goods: ask the operator")
