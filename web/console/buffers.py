"""The page of advice on buffers."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from core.flow.advise_buffer import DAYS, OVERSELL
from web.console.forms import whole
from web.console.pages import Ask
from web.console.show import show
from web.reads import buffers as reads

router = APIRouter(include_in_schema=False)


@router.get("/buffer-advice")
def buffers_page(
    request: Request, ask: Ask, connection: str = "", days: str = "", oversell: str = "", after: str = ""
) -> Response:
    page = ask.read(reads.advice, connection, whole(days) if days.strip() else DAYS, oversell or OVERSELL, after)
    return show(request, "buffers.html", ask.scope, here="buffer_advice", page=page)
