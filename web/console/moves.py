"""The page of goods that move between warehouses, and of stock-takes that wait for somebody to agree."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from core.errors import Unmatched
from hub import counts as work
from hub.counts import Rejection
from web.console.pages import Ask, AskByForm
from web.console.show import go, show
from web.reads import moves
from web.reads.shape import number

router = APIRouter(include_in_schema=False)


@router.get("/transfers")
def transfers_page(request: Request, ask: Ask, after: str = "") -> Response:
    page, counts = ask.read(moves.transfers, "", after), ask.read(moves.counts, "waiting")
    return show(request, "transfers.html", ask.scope, here="transfers", page=page, counts=counts)


@router.post("/counts/{ident}/{action}")
def count_action(ident: str, action: str, ask: AskByForm) -> Response:
    if action == "approve":
        ask.write(work.approve, number(ident))
    elif action == "reject":
        ask.write(work.reject, number(ident), Rejection())
    else:
        raise Unmatched("action", action)
    return go("/transfers")
