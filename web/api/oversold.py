"""What shops sold beyond what the pool could back."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from web.api.page import FIRST, PROBLEMS, Key, Limit
from web.api.titles import Day
from web.asking import Ask
from web.reads import oversold as reads

router = APIRouter(tags=["stock"], responses=PROBLEMS)


@router.get("/oversold")
def oversold(ask: Ask, first: Day = "", last: Day = "", after: Key = "", limit: Limit = FIRST) -> dict[str, Any]:
    """Units sold beyond what the pool could back: totals per shop and cause, and each with what was known then."""
    return ask.read(reads.oversold, first, last, after, limit)
