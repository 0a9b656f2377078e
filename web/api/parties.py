"""Merchants and warehouses."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from hub.onboard.merchants import MerchantChange, NewMerchant, add_merchant, change_merchant
from hub.onboard.warehouses import Arrangement, Keeper, NewWarehouse, add_warehouse, arrange_warehouse, set_keepers
from web.api.page import PROBLEMS, Page
from web.asking import Ask
from web.reads import lists
from web.reads.shape import shown

router = APIRouter(tags=["merchants and warehouses"], responses=PROBLEMS)


@router.get("/merchants", response_model=Page)
def merchants(ask: Ask) -> Any:
    """The merchants you see."""
    return ask.read(lists.merchants)


@router.post("/merchants", status_code=201)
def new_merchant(ask: Ask, new: NewMerchant) -> dict[str, Any]:
    """Take a merchant in."""
    return shown(ask.write(add_merchant, new))


@router.patch("/merchants/{code}")
def change(ask: Ask, code: str, change: MerchantChange) -> dict[str, Any]:
    """Change what a merchant wants done about short orders and missing goods; what is not named stays."""
    return shown(ask.write(change_merchant, code, change))


@router.get("/warehouses", response_model=Page)
def warehouses(ask: Ask) -> Any:
    """Warehouses and the keeper codes by which they know owners' goods."""
    return ask.read(lists.warehouses)


@router.post("/warehouses", status_code=201)
def new_warehouse(ask: Ask, new: NewWarehouse) -> dict[str, Any]:
    """Take a warehouse in."""
    return shown(ask.write(add_warehouse, new))


@router.patch("/warehouses/{code}")
def arrange(ask: Ask, code: str, how: Arrangement) -> dict[str, Any]:
    """Change how a warehouse is reached; what is not named stays."""
    return shown(ask.write(arrange_warehouse, code, how))


@router.put("/warehouses/{code}/keepers")
def keepers(ask: Ask, code: str, keepers: list[Keeper]) -> dict[str, int]:
    """Say how the warehouse knows these owners' goods."""
    return {"set": ask.write(set_keepers, code, keepers)}
