"""Channel policies: proposed, looked at on live figures, activated, withdrawn."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from hub import policies as work
from hub.policies import NewPolicy
from web.api.page import FIRST, PROBLEMS, Key, Limit, Page
from web.asking import Ask
from web.reads import policies as reads
from web.reads.shape import number

router = APIRouter(tags=["channels"], responses=PROBLEMS)


@router.get("/policies", response_model=Page)
def policies(ask: Ask, after: Key = "", limit: Limit = FIRST) -> Any:
    """Policies by id, every version. state: draft, active, replaced, withdrawn or over."""
    return ask.read(reads.policies, after, limit)


@router.post("/policies", status_code=201)
def propose(ask: Ask, new: NewPolicy) -> dict[str, Any]:
    """A new version, as a draft: nothing changes before it is activated."""
    return ask.read(reads.policy, ask.write(work.propose, new))


@router.get("/policies/{ident}")
def one(ask: Ask, ident: str) -> dict[str, Any]:
    """A policy."""
    return ask.read(reads.policy, number(ident))


@router.get("/policies/{ident}/preview")
def preview(ask: Ask, ident: str) -> dict[str, Any]:
    """What each listing may show now and would, the published overlap before and after, and exclusive units that its
    listing cannot reach."""
    return ask.read(reads.preview, number(ident))


@router.post("/policies/{ident}/activate")
def activate(ask: Ask, ident: str) -> dict[str, Any]:
    """It stands from now on, in place of the former of its scope; once more does no harm."""
    ask.write(work.activate, number(ident))
    return ask.read(reads.policy, number(ident))


@router.post("/policies/{ident}/withdraw")
def withdraw(ask: Ask, ident: str) -> dict[str, Any]:
    """It stands no more, and the next wider one does; once more does no harm."""
    ask.write(work.withdraw, number(ident))
    return ask.read(reads.policy, number(ident))
