"""The page of sharing contracts, and of what the two sides owe each other."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from hub import contracts as work
from hub.contracts import NewContract
from web.asking import hall
from web.console.forms import filled, moment, whole
from web.console.pages import Ask, AskByForm, Said
from web.console.show import go, show
from web.reads import contracts as reads
from web.sheets import statement as saved

router = APIRouter(include_in_schema=False)


@router.get("/contracts")
def contracts_page(request: Request, ask: Ask, after: str = "", first: str = "", last: str = "") -> Response:
    page, settled = ask.read(reads.contracts, after), ask.read(reads.settlements, first, last)
    return show(request, "contracts.html", ask.scope, here="contracts", page=page, settled=settled)


@router.get("/settlements.{form}")
def settlements(form: str, ask: Ask, first: str = "", last: str = "") -> Response:
    found = ask.read(reads.settlements, first, last)
    return saved("settlements", "xlsx" if form == "xlsx" else "csv", reads.COLUMNS, found)


@router.post("/contracts")
def make(
    request: Request,
    ask: AskByForm,
    ref: Said = "",
    owner: Said = "",
    beneficiary: Said = "",
    quota: Said = "open",
    title_passes: Said = "at_ship",
    returns_to: Said = "owner",
    known_as: Said = "",
    currency: Said = "CNY",
    sku: Said = "",
    amount: Said = "",
    unit: Said = "units",
    price: Said = "0",
    begins: Said = "",
    ends: Said = "",
) -> Response:
    item = {"sku": sku.strip(), "percent" if unit == "percent" else "units": whole(amount), "price_minor": whole(price)}
    parties = {"ref": ref.strip(), "owner": owner.strip() or None, "beneficiary": beneficiary.strip()}
    passing = {"title_passes": title_passes, "returns_to": returns_to, "known_as": known_as.strip()}
    terms = {"quota": quota, **passing, "currency": currency.strip()}
    times = {"from": moment(begins), "until": moment(ends)}
    wanted = ask.read(work.asked, filled(NewContract, {**parties, **terms, **times, "items": [item]}))
    ask.write(work.made, wanted, hall(request).funnel.decide([wanted.command])[0])
    return go("/contracts")


@router.post("/contracts/end")
def end(request: Request, ask: AskByForm, ref: Said = "", owner: Said = "") -> Response:
    ask.write(work.ended, hall(request).funnel.decide([ask.read(work.ending, ref, owner)])[0])
    return go("/contracts")
