"""The page of units that are kept for one shop, for a campaign or as its exclusives."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from hub import locks as work
from hub.answers import given
from hub.locks import NewLock
from web.asking import hall
from web.console.forms import filled, moment, whole
from web.console.pages import Ask, AskByForm, Said
from web.console.show import go, show
from web.reads import locks as reads

router = APIRouter(include_in_schema=False)
Listed = Annotated[str, Form(max_length=2000)]


@router.get("/locks")
def locks_page(request: Request, ask: Ask, after: str = "") -> Response:
    return show(request, "locks.html", ask.scope, here="locks", page=ask.read(reads.locks, after))


@router.post("/locks")
def lock(
    request: Request,
    ask: AskByForm,
    ref: Said = "",
    kind: Said = "campaign",
    owner: Said = "",
    connection: Said = "",
    listings: Listed = "",
    sku: Said = "",
    warehouse: Said = "",
    quantity: Said = "",
    begins: Said = "",
    ends: Said = "",
) -> Response:
    named = {"ref": ref.strip(), "kind": kind, "owner": owner.strip() or None, "connection": connection.strip()}
    line = {"sku": sku.strip(), "warehouse": warehouse.strip(), "quantity": whole(quantity)}
    only = [ref.strip() for ref in listings.split(",") if ref.strip()]
    new = filled(NewLock, {**named, "listings": only, "lines": [line], "from": moment(begins), "until": moment(ends)})
    wanted = ask.read(work.asked, new)
    wanted.named(hall(request).funnel.decide([wanted.command])[0])
    return go("/locks")


@router.post("/locks/release")
def release(request: Request, ask: AskByForm, ref: Said = "", owner: Said = "") -> Response:
    given(hall(request).funnel.decide([ask.read(work.ended, ref, owner)])[0])
    return go("/locks")
