"""Units asked for by callers who can be told no: confirmed, given back."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from core.flow.reserve_stock import Command, Confirm, Release
from hub import reservations as work
from hub.answers import given
from hub.onboard.form import Code
from hub.reservations import Follows, Kind, NewReservation, Number, Which, asked, in_words, reservation, subject
from web.api.page import PROBLEMS
from web.asking import Ask, Asker, hall

router = APIRouter(tags=["stock"], responses=PROBLEMS)
ByRef = Annotated[Number, Path(description="The caller's own number; it may have slashes")]
Holder = Annotated[Code | None, Query(description="Who holds it, where the key does not say")]
ForWhat = Annotated[Kind, Query(description="What it was kept for")]


def which(ref: ByRef, merchant: Holder = None, kind: ForWhat = "api") -> Which:
    """The reservation a path and its query name."""
    return Which(ref, merchant, kind)


ByNames = Annotated[Which, Depends(which)]


@router.post("/reservations", status_code=201, responses={200: {"description": "It was kept before, and stands"}})
async def reserve(ask: Ask, request: Request, response: Response, new: NewReservation) -> dict[str, Any]:
    """Keep units, whole or not at all; asked again under its ref, the answer is how it stands."""
    wanted = await run_in_threadpool(ask.read, asked, new)
    found = wanted.named((await hall(request).funnel.decided([wanted.command]))[0])
    if found.repeated:
        response.status_code = 200
    return await run_in_threadpool(ask.read, in_words, found)


@router.get("/reservations/{ref:path}")
def one(ask: Ask, named: ByNames) -> dict[str, Any]:
    """A reservation as it stands."""
    return ask.read(in_words, ask.read(reservation, named))


@router.post("/reservations/{ref:path}/confirm")
async def confirm(ask: Ask, request: Request, named: ByNames) -> dict[str, Any]:
    """Keep it for good; refused once it was given back."""
    return await _decided(ask, request, Confirm(await run_in_threadpool(ask.read, subject, named)))


@router.post("/reservations/{ref:path}/release")
async def release(ask: Ask, request: Request, named: ByNames) -> dict[str, Any]:
    """Give it back; once more does no harm."""
    return await _decided(ask, request, Release(await run_in_threadpool(ask.read, subject, named)))


@router.post("/reservations/{ref:path}/order")
def becomes_order(ask: Ask, named: ByNames, follows: Follows) -> dict[str, Any]:
    """An order of a shop takes over these units, whether it has come or is still to come; said again, no harm."""
    return ask.write(work.becomes_order, named, follows)


async def _decided(ask: Asker, request: Request, command: Command) -> dict[str, Any]:
    answer = (await hall(request).funnel.decided([command]))[0]
    return await run_in_threadpool(ask.read, in_words, given(answer))
