"""Units asked for by callers who can be told no: kept, confirmed, given back."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from core.flow.reserve_stock import Command, Confirm, Release
from hub.reservations import NewReservation, asked, in_words, kept, reservation, subject
from web.api.page import PROBLEMS, Search
from web.asking import Ask, Asker, hall

router = APIRouter(tags=["stock"], responses=PROBLEMS)


@router.post("/reservations", status_code=201, responses={200: {"description": "It was kept before, and stands"}})
async def reserve(ask: Ask, request: Request, response: Response, new: NewReservation) -> dict[str, Any]:
    """Keep units, whole or not at all; asked again under its ref, the answer is how it stands."""
    wanted = await run_in_threadpool(ask.read, asked, new)
    found = wanted.named((await hall(request).funnel.decided([wanted.command]))[0])
    if found.repeated:
        response.status_code = 200
    return await run_in_threadpool(ask.read, in_words, found)


@router.get("/reservations/{ref}")
def one(ask: Ask, ref: str, merchant: Search = "") -> dict[str, Any]:
    """A reservation as it stands. merchant: who holds it, where the key does not say."""
    return ask.read(in_words, ask.read(reservation, ref, merchant or None))


@router.post("/reservations/{ref}/confirm")
async def confirm(ask: Ask, request: Request, ref: str, merchant: Search = "") -> dict[str, Any]:
    """Keep it for good; refused once it was given back."""
    return await _decided(ask, request, Confirm(await run_in_threadpool(ask.read, subject, ref, merchant or None)))


@router.post("/reservations/{ref}/release")
async def release(ask: Ask, request: Request, ref: str, merchant: Search = "") -> dict[str, Any]:
    """Give it back; once more does no harm."""
    return await _decided(ask, request, Release(await run_in_threadpool(ask.read, subject, ref, merchant or None)))


async def _decided(ask: Asker, request: Request, command: Command) -> dict[str, Any]:
    answer = (await hall(request).funnel.decided([command]))[0]
    return await run_in_threadpool(ask.read, in_words, kept(answer))
