"""The three-way comparison: ledger, warehouses, shops."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from web.api.page import PROBLEMS
from web.asking import Ask
from web.reads.reconcile import reconciled

router = APIRouter(tags=["reconcile"], responses=PROBLEMS)


@router.get("/reconcile")
def reconcile(ask: Ask, drift_only: bool = False) -> dict[str, Any]:
    """What ledger, warehouses and shops say of the same goods, and the cause of every unit by which they differ."""
    return ask.read(reconciled, drift_only)
