"""Orders, returns, parcels and figures."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from hub import orders as work
from hub.orders import Counterpart, Resource
from web.api.page import FIRST, PROBLEMS, Key, Limit, Page, Search
from web.asking import Ask
from web.reads import figures as figure_reads
from web.reads import lists
from web.reads import orders as order_reads
from web.reads.shape import number, shown

router = APIRouter(tags=["orders"], responses=PROBLEMS)


@router.get("/orders", response_model=Page)
def orders(ask: Ask, search: Search = "", state: Search = "", before: Key = "", limit: Limit = FIRST) -> Any:
    """Orders, newest first. search: an order's ref (or its beginning), a waybill, a fulfilment's ref, or a SKU."""
    return ask.read(order_reads.orders, search, state, before, limit)


@router.get("/orders/{ident}")
def order(ask: Ask, ident: str) -> dict[str, Any]:
    """One order: lines, claims, fulfilments, parcels, documents, intents and events."""
    return ask.read(order_reads.order, ident)


@router.get("/orders/{ident}/explain")
def explain_order(ask: Ask, ident: str) -> dict[str, Any]:
    """All that happened to one order, in time order: when, what, and in words."""
    return ask.read(order_reads.explain_order, ident)


@router.post("/orders/{ident}/resource")
def resource(ask: Ask, ident: str, how: Resource | None = None) -> dict[str, Any]:
    """Move what no warehouse was told of to warehouses that back more of it, or to those that are named."""
    return shown(ask.write(work.resource, number(ident), how or Resource()))


@router.post("/orders/{ident}/top-up")
def top_up(ask: Ask, ident: str) -> dict[str, Any]:
    """Back what the order is short of, from where it stands."""
    return shown(ask.write(work.top_up, number(ident)))


@router.post("/orders/{ident}/counterpart")
def counterpart(ask: Ask, ident: str, other: Counterpart) -> dict[str, Any]:
    """Another order is of the same purchase: it claims the stock of both; where it comes later, this one does."""
    return shown(ask.write(work.pair, number(ident), other))


@router.get("/returns", response_model=Page)
def returns(ask: Ask, ref: Search = "", after: Key = "", limit: Limit = FIRST) -> Any:
    """Goods that came back, by id of the return: of your orders, and of your goods whoever sold them."""
    return ask.read(lists.returns, ref, after, limit)


@router.get("/parcels", response_model=Page)
def parcels(ask: Ask, waybill: Search = "", after: Key = "", limit: Limit = FIRST) -> Any:
    """Parcels by id."""
    return ask.read(lists.parcels, waybill, after, limit)


@router.get("/figures")
def figures(ask: Ask) -> dict[str, Any]:
    """Counts of everything you see, as of now."""
    return ask.read(figure_reads.figures)
