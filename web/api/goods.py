"""Items, listings, stock, and goods on their way in."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from core.flow.explain import NEWEST
from core.store.cells import aware
from hub.onboard import kits
from hub.onboard import substitutes as work
from hub.onboard.form import Code
from hub.onboard.goods import NewItems, NewListings, add_items, add_listings
from hub.onboard.inbound import NewInbound, announce_inbound
from hub.onboard.kits import Recipe
from hub.onboard.substitutes import Substitutes
from web.api.page import FIRST, PROBLEMS, Key, Limit, Moment, Page, Required, Search
from web.asking import Ask
from web.reads import lists
from web.reads import stock as stock_reads
from web.reads.shape import shown

router = APIRouter(tags=["goods"], responses=PROBLEMS)


@router.get("/items", response_model=Page)
def items(ask: Ask, search: Search = "", after: Key = "", limit: Limit = FIRST) -> Any:
    """Items by id. search: a SKU's beginning, or part of a name."""
    return ask.read(lists.items, search, after, limit)


@router.post("/items")
def new_items(ask: Ask, new: NewItems) -> dict[str, int]:
    """Take items in; those there already are laid over."""
    return ask.write(add_items, new)


@router.get("/items/{sku:path}/substitutes")
def substitutes(ask: Ask, sku: str, owner: Code | None = None) -> dict[str, Any]:
    """What a warehouse may send instead of an item. owner: whose, where the key does not say."""
    return {"sku": sku, "substitutes": ask.read(work.substitutes, sku, owner)}


@router.put("/items/{sku:path}/substitutes")
def set_substitutes(ask: Ask, sku: str, new: Substitutes) -> dict[str, Any]:
    """Say what a warehouse may send instead of an item, in place of what was said before."""
    return {"sku": sku, "substitutes": ask.write(work.set_substitutes, sku, new)}


@router.get("/items/{sku:path}/parts")
def parts(ask: Ask, sku: str, owner: Code | None = None) -> dict[str, Any]:
    """What one virtual kit is made of; {} for what is no kit. owner: whose, where the key does not say."""
    return {"sku": sku, "parts": ask.read(kits.parts, sku, owner)}


@router.put("/items/{sku:path}/parts")
def set_parts(ask: Ask, sku: str, new: Recipe) -> dict[str, Any]:
    """Say what a virtual kit is made of, in place of what was said before; orders keep what they were taken with."""
    return {"sku": sku, "parts": ask.write(kits.set_parts, sku, new)}


@router.get("/listings", response_model=Page)
def listings(ask: Ask, connection: Search = "", search: Search = "", after: Key = "", limit: Limit = FIRST) -> Any:
    """Listings by id, with what was last told to the shop."""
    return ask.read(lists.listings, connection, search, after, limit)


@router.post("/listings")
def new_listings(ask: Ask, new: NewListings) -> dict[str, int]:
    """Take listings in; those there already are laid over. Each that is new or changed is published."""
    return ask.write(add_listings, new)


@router.get("/inbound", response_model=Page)
def inbound(ask: Ask, after: Key = "", limit: Limit = FIRST) -> Any:
    """Goods announced to warehouses, and what has arrived of them."""
    return ask.read(lists.inbound, after, limit)


@router.post("/inbound", status_code=201, responses={200: {"description": "It was announced before, and stands"}})
def new_inbound(ask: Ask, response: Response, new: NewInbound) -> dict[str, Any]:
    """Announce goods; the warehouse is told."""
    found = ask.write(announce_inbound, new)
    if found["repeated"]:
        response.status_code = 200
    return shown(found)


@router.get("/stock", response_model=Page)
def stock(
    ask: Ask, search: Search = "", warehouse: Search = "", after: Key = "", limit: Limit = FIRST, at: Moment = ""
) -> Any:
    """Cells with their accounts, on hand and available units. search: a SKU's beginning, or part of a name.

    at: as the journal says they were then, without those that held nothing.
    """
    return ask.read(stock_reads.stock, search, warehouse, after, limit, aware(at) if at else None)


@router.get("/stock/explain")
def explain_stock(ask: Ask, sku: Required, owner: Search = "", warehouse: Search = "", limit: Limit = NEWEST) -> Any:
    """An item's cells, the open claims on them, and the newest journals that touched them. owner: of the item."""
    return ask.read(stock_reads.explain_stock, sku, owner, warehouse, limit)


@router.get("/stock/drift", response_model=Page)
def drift(ask: Ask, limit: Limit = FIRST) -> Any:
    """Where a warehouse's or an ERP's newest figure and the ledger disagree; compared, never applied."""
    return ask.read(stock_reads.drift, limit)
