"""Where a unit with a serial number went, and whether it came back."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from web.api.page import PROBLEMS
from web.asking import Ask
from web.reads import serials as reads

router = APIRouter(tags=["stock"], responses=PROBLEMS)


@router.get("/serials/{serial:path}")
def serial(ask: Ask, serial: str) -> Any:
    """What warehouses told of this serial number, oldest first; items of several SKUs may bear the same."""
    return ask.read(reads.serial, serial)
