"""Goods that change their owner where they lie."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from hub import titles as work
from hub.onboard.form import Code
from hub.titles import NewTitle
from hub.transfers import Number
from web.api.page import FIRST, PROBLEMS, Key, Limit, Page
from web.asking import Ask, hall
from web.reads import titles as reads
from web.sheets import Format
from web.sheets import statement as saved

router = APIRouter(tags=["transfers"], responses=PROBLEMS)
ByRef = Annotated[Number, Path(description="The asker's own number; it may have slashes")]
Owner = Annotated[Code | None, Query(description="Whose goods they were, where the key does not say")]
Day = Annotated[str, Query(max_length=10, description="YYYY-MM-DD, a day in UTC; today where none is said")]


@router.get("/title-transfers", response_model=Page)
def titles(ask: Ask, after: Key = "", limit: Limit = FIRST) -> Any:
    """Title transfers by id, given and got. state: closed, or how far the warehouse is with carrying them over."""
    return ask.read(reads.titles, after, limit)


@router.get("/title-transfers/statement", response_model=None)
def statement(ask: Ask, first: Day = "", last: Day = "", format: Format = "json") -> Any:
    """What passed per day, pair, warehouse, item and condition; csv and xlsx are files to be saved."""
    found = ask.read(reads.statement, first, last)
    return saved("title-transfers", format, reads.COLUMNS, found)


@router.post(
    "/title-transfers", status_code=201, responses={200: {"description": "It was asked for before, and stands"}}
)
async def transfer(ask: Ask, request: Request, response: Response, new: NewTitle) -> dict[str, Any]:
    """Goods are another merchant's from now on, whole or not at all. Asked again under its ref, it stands."""
    wanted = await run_in_threadpool(ask.read, work.asked, new)
    answer = (await hall(request).funnel.decided([wanted.command]))[0]
    if (await run_in_threadpool(ask.write, work.noted, wanted, answer)).repeated:
        response.status_code = 200
    return await run_in_threadpool(ask.read, reads.title, new.ref, new.owner)


@router.get("/title-transfers/{ref:path}")
def one(ask: Ask, ref: ByRef, owner: Owner = None) -> dict[str, Any]:
    """A title transfer as it stands."""
    return ask.read(reads.title, ref, owner)
