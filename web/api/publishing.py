"""How well shops are kept up."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from web.api.page import PROBLEMS
from web.asking import Ask
from web.reads import publishing as reads

router = APIRouter(tags=["stock"], responses=PROBLEMS)


@router.get("/publishing")
def publishing(ask: Ask) -> dict[str, Any]:
    """Per shop: what waits, how long it takes until it is told, and whether it shows what it was told."""
    return ask.read(reads.publishing)
