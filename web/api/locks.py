"""Units kept for one shop: for a campaign, or as its exclusives."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from hub import locks as work
from hub.answers import given
from hub.locks import NewLock
from hub.onboard.form import Code
from hub.transfers import Number
from web.api.page import FIRST, PROBLEMS, Key, Limit, Page
from web.asking import Ask, hall
from web.reads import locks as reads

router = APIRouter(tags=["stock"], responses=PROBLEMS)
ByRef = Annotated[Number, Path(description="The asker's own number; it may have slashes")]
Owner = Annotated[Code | None, Query(description="Whose goods, where the key does not say")]


@router.get("/locks", response_model=Page)
def locks(ask: Ask, after: Key = "", limit: Limit = FIRST) -> Any:
    """Locks by id, with what is left and what was drawn, ended ones too. state: planned, open or ended."""
    return ask.read(reads.locks, after, limit)


@router.post("/locks", status_code=201, responses={200: {"description": "It was asked for before, and stands"}})
async def lock(ask: Ask, request: Request, response: Response, new: NewLock) -> dict[str, Any]:
    """Keep free units for what one shop sells, whole or not at all. Asked again under its ref, it stands."""
    wanted = await run_in_threadpool(ask.read, work.asked, new)
    found = wanted.named((await hall(request).funnel.decided([wanted.command]))[0])
    if found.repeated:
        response.status_code = 200
    return await run_in_threadpool(ask.read, reads.lock, new.ref, new.owner)


@router.get("/locks/{ref:path}")
def one(ask: Ask, ref: ByRef, owner: Owner = None) -> dict[str, Any]:
    """A lock as it stands."""
    return ask.read(reads.lock, ref, owner)


@router.post("/locks/{ref:path}/release")
async def release(ask: Ask, request: Request, ref: ByRef, owner: Owner = None) -> dict[str, Any]:
    """Give back now what nobody has drawn; once more does no harm."""
    command = await run_in_threadpool(ask.read, work.ended, ref, owner)
    given((await hall(request).funnel.decided([command]))[0])
    return await run_in_threadpool(ask.read, reads.lock, ref, owner)
