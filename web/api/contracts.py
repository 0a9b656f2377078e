"""Sharing contracts, and what owners and merchants owe each other by them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from hub import contracts as work
from hub.contracts import NewContract
from hub.onboard.form import Code
from hub.transfers import Number
from web.api.page import FIRST, PROBLEMS, Key, Limit, Page
from web.api.titles import Day
from web.asking import Ask, hall
from web.reads import contracts as reads
from web.sheets import Format
from web.sheets import statement as saved

router = APIRouter(tags=["contracts"], responses=PROBLEMS)
ByRef = Annotated[Number, Path(description="The owner's own number; it may have slashes")]
Owner = Annotated[Code | None, Query(description="Whose goods, where the key does not say")]


@router.get("/contracts", response_model=Page)
def contracts(ask: Ask, after: Key = "", limit: Limit = FIRST) -> Any:
    """Contracts by id, given and got, with what is used and left of each item. state: planned, open or ended."""
    return ask.read(reads.contracts, after, limit)


@router.post("/contracts", status_code=201, responses={200: {"description": "It was made before, and stands"}})
async def make(ask: Ask, request: Request, response: Response, new: NewContract) -> dict[str, Any]:
    """Let a merchant sell goods. Said again under its ref, it stands."""
    wanted = await run_in_threadpool(ask.read, work.asked, new)
    answer = (await hall(request).funnel.decided([wanted.command]))[0]
    if (await run_in_threadpool(ask.write, work.made, wanted, answer)).repeated:
        response.status_code = 200
    return await run_in_threadpool(ask.read, reads.contract, new.ref, new.owner)


@router.get("/contracts/{ref:path}")
def one(ask: Ask, ref: ByRef, owner: Owner = None) -> dict[str, Any]:
    """A contract as it stands."""
    return ask.read(reads.contract, ref, owner)


@router.post("/contracts/{ref:path}/end")
async def end(ask: Ask, request: Request, ref: ByRef, owner: Owner = None) -> dict[str, Any]:
    """Nothing new is sold under it from now on; what was sold goes on. Once more does no harm."""
    command = await run_in_threadpool(ask.read, work.ending, ref, owner)
    answer = (await hall(request).funnel.decided([command]))[0]
    await run_in_threadpool(ask.write, work.ended, answer)
    return await run_in_threadpool(ask.read, reads.contract, ref, owner)


@router.get("/settlements", response_model=None)
def settlements(ask: Ask, first: Day = "", last: Day = "", format: Format = "json") -> Any:
    """What left under contracts and came back, line by line; csv and xlsx are files to be saved."""
    found = ask.read(reads.settlements, first, last)
    return saved("settlements", format, reads.COLUMNS, found)
