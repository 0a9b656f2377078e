"""Transfers between warehouses: asked for, told of, settled."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from hub import transfers as work
from hub.onboard.form import Code
from hub.transfers import Closing, Moved, NewTransfer, Number
from web.api.page import FIRST, PROBLEMS, Key, Limit, Page, Search
from web.asking import Ask, hall
from web.reads import moves

router = APIRouter(tags=["transfers"], responses=PROBLEMS)
ByRef = Annotated[Number, Path(description="The asker's own number; it may have slashes")]
Owner = Annotated[Code | None, Query(description="Whose goods, where the key does not say")]


@router.get("/transfers", response_model=Page)
def transfers(ask: Ask, state: Search = "", after: Key = "", limit: Limit = FIRST) -> Any:
    """Transfers by id, with what left, arrived and is on the way. state: accepted, under_way, closed or cancelled."""
    return ask.read(moves.transfers, state, after, limit)


@router.post("/transfers", status_code=201, responses={200: {"description": "It was asked for before, and stands"}})
async def transfer(ask: Ask, request: Request, response: Response, new: NewTransfer) -> dict[str, Any]:
    """Move units, whole or not at all; both warehouses are told. Asked again under its ref, it stands."""
    wanted = await run_in_threadpool(ask.read, work.asked, new)
    found = wanted.named((await hall(request).funnel.decided([wanted.command]))[0])
    if found.repeated:
        response.status_code = 200
    return await run_in_threadpool(ask.read, moves.transfer, new.ref, new.owner)


@router.get("/transfers/{ref:path}")
def one(ask: Ask, ref: ByRef, owner: Owner = None) -> dict[str, Any]:
    """A transfer as it stands."""
    return ask.read(moves.transfer, ref, owner)


@router.post("/transfers/{ref:path}/departures")
def depart(ask: Ask, ref: ByRef, moved: Moved, owner: Owner = None) -> dict[str, Any]:
    """Goods left: a fact, booked in full; told again under its ref, once."""
    ask.write(work.depart, ref, owner, moved)
    return ask.read(moves.transfer, ref, owner)


@router.post("/transfers/{ref:path}/arrivals")
def arrive(ask: Ask, ref: ByRef, moved: Moved, owner: Owner = None) -> dict[str, Any]:
    """Goods arrived: a fact, booked in full; told again under its ref, once."""
    ask.write(work.arrive, ref, owner, moved)
    return ask.read(moves.transfer, ref, owner)


@router.post("/transfers/{ref:path}/close")
def close(ask: Ask, ref: ByRef, closing: Closing, owner: Owner = None) -> dict[str, Any]:
    """Say of every unit on the way whether it was lost or came back, and why; what has not left is free again."""
    ask.write(work.close, ref, owner, closing)
    return ask.read(moves.transfer, ref, owner)


@router.post("/transfers/{ref:path}/cancel")
def cancel(ask: Ask, ref: ByRef, owner: Owner = None) -> dict[str, Any]:
    """Call it off before anything has moved; once more does no harm."""
    ask.write(work.call_off, ref, owner)
    return ask.read(moves.transfer, ref, owner)
