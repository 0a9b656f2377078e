"""Good units kept from being promised, and the lots units are of."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.concurrency import run_in_threadpool

from core.flow.hold_goods import Freeze, Thaw
from hub.holds import NewHold, Release, asked, given_back, noted
from hub.onboard.form import Code
from hub.reservations import Number
from web.api.page import FIRST, PROBLEMS, Key, Limit, Page, Search
from web.asking import Ask, Asker, hall
from web.reads import lots as reads

router = APIRouter(tags=["stock"], responses=PROBLEMS)
ByRef = Annotated[Number, Path(description="The caller's own number; it may have slashes")]
Owner = Annotated[Code | None, Query(description="Whose goods, where the key does not say")]


@router.get("/items/{sku:path}/lots")
def lots(ask: Ask, sku: str, owner: Owner = None) -> Any:
    """Which lots an item's units are of, soonest to expire first; `?` is the lot of those nobody named one for."""
    return ask.read(reads.lots, sku, owner)


@router.get("/holds", response_model=Page)
def holds(ask: Ask, sku: Search = "", after: Key = "", limit: Limit = FIRST) -> Any:
    """Holds by id, ended ones too. sku: of this item only."""
    return ask.read(reads.holds, sku, after, limit)


@router.post("/holds", status_code=201)
async def hold(ask: Ask, request: Request, new: NewHold) -> dict[str, Any]:
    """Keep free units back; refused where fewer are free. Asked again under its ref, nothing is held twice."""
    return await _decided(ask, request, "goods held", await run_in_threadpool(ask.read, asked, new))


@router.post("/holds/{ref:path}/release")
async def release(ask: Ask, request: Request, ref: ByRef, how: Release, owner: Owner = None) -> dict[str, Any]:
    """Give held units back until `keep` of them are held; once more does no harm."""
    return await _decided(
        ask, request, "goods released", await run_in_threadpool(ask.read, given_back, ref, owner, how)
    )


async def _decided(ask: Asker, request: Request, action: str, command: Freeze | Thaw) -> dict[str, Any]:
    answer = (await hall(request).funnel.decided([command]))[0]
    return reads.all_shown([await run_in_threadpool(ask.write, noted, action, answer)])[0]
