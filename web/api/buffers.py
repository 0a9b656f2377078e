"""Advice on buffers: never applied by itself."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from core.flow.advise_buffer import AT_ONCE, DAYS, MOST_DAYS, OVERSELL
from hub.onboard.form import Code
from web.api.page import PROBLEMS, Key
from web.asking import Ask
from web.reads import buffers as reads

router = APIRouter(tags=["channels"], responses=PROBLEMS)
Days = Annotated[int, Query(ge=1, le=MOST_DAYS, description="How many days back are replayed")]
Share = Annotated[str, Query(max_length=20, description="Of the units sold, how many may be oversold: 0.1%")]
Some = Annotated[int, Query(ge=1, le=AT_ONCE)]


@router.get("/buffer-advice")
def advice(
    ask: Ask,
    connection: Code | None = None,
    days: Days = DAYS,
    oversell: Share = OVERSELL,
    after: Key = "",
    limit: Some = AT_ONCE,
) -> dict[str, Any]:
    """The smallest buffer that would have kept oversell down, per listing, with its interval and what it costs.

    reason: raise, lower, keep, other_causes, no_buffer_does, few_sales, no_lags or quota.
    """
    return ask.read(reads.advice, connection or "", days, oversell, after, limit)
