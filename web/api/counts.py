"""What persons find in warehouses: stock-takes, with whoever agrees to them, and goods judged anew."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from hub import counts as work
from hub.counts import NewCount, NewRegrade, Rejection
from web.api.page import FIRST, PROBLEMS, Key, Limit, Page, Search
from web.asking import Ask
from web.reads import moves
from web.reads.shape import number

BEFORE: dict[int | str, dict[str, Any]] = {200: {"description": "It was said before, and stands"}}
router = APIRouter(tags=["stock-takes"], responses=PROBLEMS)


@router.get("/counts", response_model=Page)
def counts(ask: Ask, state: Search = "", after: Key = "", limit: Limit = FIRST) -> Any:
    """Stock-takes by id, with what was counted and expected. state: waiting, booked or rejected."""
    return ask.read(moves.counts, state, after, limit)


@router.post("/counts", status_code=201, responses=BEFORE)
def count(ask: Ask, response: Response, new: NewCount) -> dict[str, Any]:
    """Say what lies there. A small difference is booked at once, a larger one waits for someone else to approve it."""
    taken = ask.write(work.add_count, new)
    if taken.repeated:
        response.status_code = 200
    return ask.read(moves.count, taken.id)


@router.post("/counts/{ident}/approve")
def approve(ask: Ask, ident: str) -> dict[str, Any]:
    """Book it; not by whom it counted."""
    ask.write(work.approve, number(ident))
    return ask.read(moves.count, number(ident))


@router.post("/counts/{ident}/reject")
def reject(ask: Ask, ident: str, rejection: Rejection | None = None) -> dict[str, Any]:
    """Book nothing of it."""
    ask.write(work.reject, number(ident), rejection or Rejection())
    return ask.read(moves.count, number(ident))


@router.post("/regrades", status_code=201, responses=BEFORE)
def regrade(ask: Ask, response: Response, new: NewRegrade) -> dict[str, Any]:
    """Judge goods anew: one journal out of one condition and into another."""
    found = ask.write(work.regrade, new)
    if found["repeated"]:
        response.status_code = 200
    return found
