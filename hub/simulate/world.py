"""The rows a simulated pool begins with: one merchant, one warehouse, its shops, items and listings."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select, update

from core.flow import channel_policy
from core.flow.channel_policy import Scope
from core.store import tables as t
from core.store.ledger import CellKey, Entry, Ledger
from core.store.store import Transaction
from hub.simulate.scenario import Scenario

CLOSES_S = 1800.0
"""Seconds until a shop closes what is never paid."""


class World(NamedTuple):
    """Ids of what there is; shops and items by their numbers."""

    merchant: int
    warehouse: int
    shops: tuple[int, ...]
    items: tuple[int, ...]


def build(tx: Transaction, scenario: Scenario) -> World:
    """All of it, with the stock counted in and the policy standing."""
    merchant, warehouse = tx.ids.some(2)
    it = World(merchant, warehouse, tuple(tx.ids.some(len(scenario.shops))), tuple(tx.ids.some(len(scenario.stock))))
    named = {"code": "merchant", "name": "merchant", "short_policy": "wait", "created_at": tx.now}
    tx.add(t.merchants, [{"id": merchant, **named}])
    place = {"id": warehouse, "code": "warehouse", "name": "warehouse", "region": "", "carrier": "OTHER", "sender": {}}
    tx.add(t.warehouses, [{**place, "created_at": tx.now}])
    _add_shops(tx, it, scenario)
    items = [{"id": ident, "owner_id": merchant, "sku": f"S{n}", "name": f"S{n}"} for n, ident in enumerate(it.items)]
    tx.add(t.items, [{**row, "created_at": tx.now} for row in items])
    for shop, ways in zip(it.shops, scenario.shops, strict=True):
        place = {"connection_id": shop, "location": "1" if ways.per == "location" else ""}
        rows = [{"id": tx.ids.new(), "ref": str(n), "item_id": ident, **place} for n, ident in enumerate(it.items)]
        tx.add(t.listings, [{**row, "pack": 1, "created_at": tx.now} for row in rows])
    for n, units in enumerate(scenario.stock):
        count(tx, it, n, units, f"opening:{n}")
    if scenario.policy:
        policy = channel_policy.propose(tx, Scope(merchant), scenario.policy, None, "what-if")
        channel_policy.activate(tx, policy, "what-if")
    return it


def _add_shops(tx: Transaction, it: World, scenario: Scenario) -> None:
    for n, (ident, ways) in enumerate(zip(it.shops, scenario.shops, strict=True)):
        row = {"id": ident, "code": f"shop-{n}", "connector": "sales/what-if", "kind": "sales", "settings": {}}
        can = {"send_stock": ways.ability()}
        more = {"merchant_id": it.merchant, "secrets": b"", "can": can, "state": "active", "created_at": tx.now}
        tx.add(t.connections, [{**row, **more}])
        tx.add(t.pools, [{"connection_id": ident, "warehouse_id": it.warehouse, "rank": 0}])
        cursor = {"connection_id": ident, "ability": "fetch_orders", "value": {}, "due_at": tx.now}
        tx.add(t.cursors, [{**cursor, "moves": 0}])


def count(tx: Transaction, it: World, item: int, units: int, key: str) -> None:
    """Units come in, or are found missing."""
    ledger = Ledger(tx)
    cell = ledger.cell(CellKey(it.merchant, it.items[item], it.warehouse, "ZP"))
    free = units if units > 0 else -min(-units, cell.free)
    entries = [Entry(cell, "world", -units), Entry(cell, "free", free), Entry(cell, "suspense", units - free)]
    ledger.book(key, "count", key, entries)
    ledger.flush()


def caught_up(tx: Transaction, shop: int, at: datetime) -> None:
    """All its orders until then were heard."""
    mine = (t.cursors.c.connection_id == shop) & (t.cursors.c.ability == "fetch_orders")
    tx.conn.execute(update(t.cursors).where(mine).values(read_until=at))


def free(tx: Transaction, it: World) -> Counter[str]:
    """Listing → units the pool can promise of it."""
    ce = t.cells.c
    numbers = {ident: str(n) for n, ident in enumerate(it.items)}
    rows = tx.conn.execute(select(ce.item_id, ce.free, ce.suspense).where(ce.condition == "ZP"))
    return Counter({numbers[item]: max(0, units + min(0, missing)) for item, units, missing in rows})
