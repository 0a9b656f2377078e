"""Kits that are made of their parts, and taken apart."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from core.store import tables as t
from hub import assemblies as work
from hub.assemblies import NewAssembly
from web.api.page import FIRST, PROBLEMS, Key, Limit, Page
from web.asking import Ask, hall
from web.reads.shape import number, paged, shown

router = APIRouter(tags=["stock"], responses=PROBLEMS)


@router.get("/assemblies", response_model=Page)
def assemblies(ask: Ask, after: Key = "", limit: Limit = FIRST) -> Any:
    """Assemblies by id."""
    where = [t.assemblies.c.id > number(after)] if after else []
    return ask.read(lambda tx, scope: paged(tx, work.rows(tx, scope, *where, limit=limit + 1), limit))


@router.post("/assemblies", status_code=201)
async def assemble(ask: Ask, request: Request, new: NewAssembly) -> dict[str, Any]:
    """Make kits of their parts, or take them apart, whole or not at all; asked again under its ref nothing is done."""
    command = await run_in_threadpool(ask.read, work.asked, new)
    answer = (await hall(request).funnel.decided([command]))[0]
    return shown(await run_in_threadpool(ask.write, work.noted, answer))
