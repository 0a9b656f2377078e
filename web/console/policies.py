"""The pages of channel policies: what stands, and what one would change."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from core.errors import Unmatched
from hub import policies as work
from hub.policies import NewPolicy
from web.console.forms import filled, moment, whole
from web.console.pages import Ask, AskByForm, Said
from web.console.show import go, show
from web.reads import policies as reads
from web.reads.shape import number

router = APIRouter(include_in_schema=False)


@router.get("/policies")
def policies_page(request: Request, ask: Ask, after: str = "") -> Response:
    return show(request, "policies.html", ask.scope, here="policies", page=ask.read(reads.policies, after))


@router.get("/policies/{ident}")
def policy_page(request: Request, ask: Ask, ident: str) -> Response:
    found = ask.read(reads.preview, number(ident))
    return show(request, "policy.html", ask.scope, here="policies", page=found)


@router.post("/policies")
def propose(
    ask: AskByForm,
    merchant: Said = "",
    connection: Said = "",
    listing: Said = "",
    share: Said = "",
    floor: Said = "",
    cap: Said = "",
    reserve: Said = "",
    buffer: Said = "",
    exclusive: Said = "",
    priority: Said = "",
    until: Said = "",
) -> Response:
    whose = {"merchant": merchant.strip(), "connection": connection.strip(), "listing": listing.strip()}
    terms = {"share": share, "floor": floor, "cap": cap, "reserve": reserve, "buffer": buffer}
    terms |= {"exclusive": exclusive, "priority": priority}
    said = {name: text or None for name, text in whose.items()} | {k: whole(v) for k, v in terms.items() if v.strip()}
    ident = ask.write(work.propose, filled(NewPolicy, {**said, "until": moment(until)}))
    return go(f"/policies/{ident}")


@router.post("/policies/{ident}/{action}")
def act(ask: AskByForm, ident: str, action: str) -> Response:
    if action not in ("activate", "withdraw"):
        raise Unmatched("action", action)
    ask.write(work.activate if action == "activate" else work.withdraw, number(ident))
    return go("/policies")
