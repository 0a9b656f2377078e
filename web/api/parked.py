"""Parked work and its buttons."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter

from hub import parked as work
from hub.parked import Fix
from web.api.page import PROBLEMS, Page
from web.asking import Ask
from web.reads.shape import all_shown, number

router = APIRouter(tags=["parked work"], responses=PROBLEMS)


@router.get("/parked", response_model=Page)
def parked(ask: Ask) -> Any:
    """What waits for a person, oldest first, each with its reason and its buttons."""

    def read(tx: Any, scope: Any) -> dict[str, Any]:
        return {"rows": all_shown(work.parked(tx, scope)), "next": None, "as_of": tx.now.isoformat()}

    return ask.read(read)


@router.post("/parked/{kind}/{ident}/{button}")
def press(
    ask: Ask, kind: Literal["document", "intent", "task"], ident: str, button: str, fix: Fix | None = None
) -> dict[str, str]:
    """Press a button: replay, link, accept or dismiss a document; retry or dismiss an intent; a task is done.

    A task about a residual is accepted (owner: whose goods, where several are meant) or dismissed; one about goods that
    are missing takes promises for them back (`unback`), newest first, never what a warehouse was told of.
    """
    ask.write(work.press, kind, number(ident), button, fix)
    return {"pressed": button}
