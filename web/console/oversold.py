"""The page of what shops sold beyond what the pool could back, and why."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from web.console.pages import Ask
from web.console.show import show
from web.reads import oversold as reads

router = APIRouter(include_in_schema=False)


@router.get("/oversold")
def oversold_page(request: Request, ask: Ask, first: str = "", last: str = "", after: str = "") -> Response:
    page = ask.read(reads.oversold, first, last, after)
    return show(request, "oversold.html", ask.scope, here="oversold", page=page)
