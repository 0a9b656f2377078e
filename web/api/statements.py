"""Statements of days: what the audit found."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from web.api.page import FIRST, PROBLEMS, Key, Limit
from web.asking import Ask
from web.reads import statements as reads

router = APIRouter(tags=["audit"], responses=PROBLEMS)
Day = Annotated[str, Path(max_length=10, description="UTC: 2026-01-05")]


@router.get("/audit")
def statements(ask: Ask, before: Key = "", limit: Limit = FIRST) -> dict[str, Any]:
    """Statements of days, newest first: how many breaches were found once the day was over, and what the books held.

    The clock makes them, shortly after midnight (UTC) or when it starts; `due` are days that wait for theirs. Breaches
    are told by the statement of one day. To audit now, run `yipan audit`.
    """
    return ask.read(reads.statements, before, limit)


@router.get("/audit/{day}")
def statement(ask: Ask, day: Day) -> dict[str, Any]:
    """The statement of one day, with every breach and the journal that last moved what is wrong."""
    return ask.read(reads.statement, day)
