"""The page of goods that change their owner, and of the statement two owners settle by."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from hub import titles as work
from hub.titles import NewTitle
from web.asking import hall
from web.console.forms import filled, whole
from web.console.pages import Ask, AskByForm, Said
from web.console.show import go, show
from web.reads import titles as reads
from web.sheets import statement as saved

router = APIRouter(include_in_schema=False)


@router.get("/title-transfers")
def titles_page(request: Request, ask: Ask, after: str = "", first: str = "", last: str = "") -> Response:
    page, statement = ask.read(reads.titles, after), ask.read(reads.statement, first, last)
    return show(request, "titles.html", ask.scope, here="titles", page=page, statement=statement)


@router.get("/title-transfers/statement.{form}")
def statement(form: str, ask: Ask, first: str = "", last: str = "") -> Response:
    found = ask.read(reads.statement, first, last)
    return saved("title-transfers", "xlsx" if form == "xlsx" else "csv", reads.COLUMNS, found)


@router.post("/title-transfers")
def transfer(
    request: Request,
    ask: AskByForm,
    ref: Said = "",
    owner: Said = "",
    to: Said = "",
    warehouse: Said = "",
    sku: Said = "",
    condition: Said = "ZP",
    quantity: Said = "",
    unback: Said = "",
) -> Response:
    line = {"sku": sku.strip(), "condition": condition, "quantity": whole(quantity)}
    named = {"ref": ref.strip(), "owner": owner.strip() or None, "to": to.strip(), "warehouse": warehouse.strip()}
    wanted = ask.read(work.asked, filled(NewTitle, {**named, "lines": [line], "unback": bool(unback)}))
    ask.write(work.noted, wanted, hall(request).funnel.decide([wanted.command])[0])
    return go("/title-transfers")
