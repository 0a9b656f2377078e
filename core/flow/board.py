"""The level board: what all listings may show, computed at once over columns that are kept between runs.

Listings seldom change, so a process keeps them; stock, policies and whatever else a level depends on are read anew.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sqlalchemy import Text, and_, cast, exists, or_, select

from core.flow import saleable, sell_kits
from core.rules import channels, levels
from core.store import contracts, policies
from core.store import tables as t
from core.store.locks import open_locks
from core.store.rows import any_of
from core.store.store import Transaction, many

Column = npt.NDArray[np.int64]
KEPT = ("id", "item_id", "pack", "buffer")
MANY = 2000
"""From so many items on, all stock is read rather than theirs."""


@dataclass(frozen=True)
class Catalogue:
    """The listings of one shop as columns, sorted by item. units: their write units, by the ability's batch key."""

    connection_id: int
    merchant_id: int
    can: Mapping[str, Any]
    warehouses: tuple[int, ...]
    ids: Column
    items: Column
    packs: Column
    buffers: Column
    units: Sequence[str]

    def of_items(self, items: Column) -> Column:
        """Where the listings of these items stand; items: sorted."""
        first, last = np.searchsorted(self.items, items, "left"), np.searchsorted(self.items, items, "right")
        lengths = last - first
        return np.repeat(first - np.cumsum(lengths) + lengths, lengths) + np.arange(int(lengths.sum()))

    def row(self, n: int) -> dict[str, Any]:
        """One listing, as `saleable` takes it."""
        ident, item, pack, buffer = (int(column[n]) for column in (self.ids, self.items, self.packs, self.buffers))
        return {"id": ident, "item_id": item, "pack": pack, "buffer": buffer, "connection_id": self.connection_id}


class Some(NamedTuple):
    """Listings of a shop, by where they stand in its catalogue."""

    of: Catalogue
    at: Column

    @property
    def ids(self) -> Column:
        """Their ids."""
        return self.of.ids[self.at]


class Board:
    """The catalogues of the shops that are told levels."""

    def __init__(self) -> None:
        self._shops: dict[int, Catalogue] = {}
        self._versions: dict[int, tuple[int, str]] = {}

    def look(self, tx: Transaction) -> None:
        """Read the catalogues that are new or have changed; forget those of shops that are told nothing."""
        c = t.connections.c
        query = select(c.id, c.revision, cast(c.can, Text)).where(c.kind == "sales", c.state == "active")
        stands = {ident: (revision, can) for ident, revision, can in tx.conn.execute(query)}
        same = {ident: shop for ident, shop in self._shops.items() if stands.get(ident) == self._versions[ident]}
        fresh = many(tx, t.connections, "id", [i for i, version in stands.items() if self._versions.get(i) != version])
        self._shops = same | {row["id"]: _read(tx, row) for row in fresh if "send_stock" in row["can"]}
        self._versions = stands

    def all(self) -> list[Some]:
        """Every listing."""
        return [Some(shop, np.arange(len(shop.ids))) for shop in self._shops.values()]

    def about(self, items: Collection[int], listings: Collection[int]) -> list[Some]:
        """The listings of these items, and these."""
        wanted, named = (np.array(sorted(some), dtype=np.int64) for some in (items, listings))
        found = []
        for shop in self._shops.values():
            at = shop.of_items(wanted)
            if len(named):
                at = np.union1d(at, np.flatnonzero(np.isin(shop.ids, named)))
            if len(at):
                found.append(Some(shop, at))
        return found

    def targets(self, tx: Transaction, found: Sequence[Some]) -> list[Column]:
        """What each of these listings may show, as `saleable.targets` says."""
        if not found:
            return []
        items = np.unique(np.concatenate([some.of.items[some.at] for some in found]))
        stock = _Stock(tx, items, {some.of.merchant_id for some in found})
        terms = _Terms(tx, found)
        levels = [terms.levels(some, stock.units(some)) for some in found]
        twists = _Twists(tx, found, items)
        for some, level in zip(found, levels, strict=True):
            special = np.flatnonzero(twists.touch(some))
            if len(special):
                rows = [some.of.row(int(n)) for n in some.at[special]]
                exact = saleable.targets(tx, rows)
                level[special] = [exact[row["id"]] for row in rows]
        return levels


def _read(tx: Transaction, shop: Mapping[str, Any]) -> Catalogue:
    li, p = t.listings.c, t.pools.c
    key = shop["can"]["send_stock"].get("batch_key") or "ref"
    query = select(*(li[name] for name in KEPT), li.ref, li[key].label("key"))
    rows = tx.conn.execute(query.where(li.connection_id == shop["id"]).order_by(li.item_id, li.id)).all()
    pool = select(p.warehouse_id).where(p.connection_id == shop["id"]).distinct().order_by(p.warehouse_id)
    ids, items, packs, own = _table([row[: len(KEPT)] for row in rows], len(KEPT))
    buffers = np.maximum(own, levels.lag_buffer(shop["can"]) * packs)
    return Catalogue(
        shop["id"],
        shop["merchant_id"],
        shop["can"],
        tuple(tx.conn.execute(pool).scalars()),
        ids,
        items,
        packs,
        buffers,
        [f"{key}:{row.key or row.ref}" for row in rows],
    )


def _table(rows: Sequence[Sequence[int]], width: int) -> list[Column]:
    """Rows of figures as columns."""
    flat = np.fromiter(chain.from_iterable(rows), dtype=np.int64, count=len(rows) * width)
    return [flat[n::width].copy() for n in range(width)]


class _Stock:
    """Good units that can be promised of some items, by owner and warehouse."""

    def __init__(self, tx: Transaction, items: Column, owners: Collection[int]) -> None:
        ce = t.cells.c
        query = select(ce.owner_id, ce.warehouse_id, ce.item_id, ce.free, ce.suspense).where(ce.condition == "ZP")
        if len(items) < MANY:
            query = query.where(any_of(tx.conn, ce.item_id, items.tolist()))
        cells = _table(tx.conn.execute(query.where(ce.owner_id.in_(sorted(owners)))).all(), 5)
        owner, warehouse, item, free, suspense = cells
        self._items, self._there = items, {}
        self._nothing = np.zeros(len(items), dtype=np.int64)
        there, asked = np.maximum(0, free + np.minimum(0, suspense)), np.isin(item, items)
        for who, where in {*zip(owner.tolist(), warehouse.tolist(), strict=True)}:
            mine = np.flatnonzero(asked & (owner == who) & (warehouse == where))
            units = self._nothing.copy()
            units[np.searchsorted(items, item[mine])] = there[mine]
            self._there[who, where] = units

    def units(self, some: Some) -> Column:
        """Base units each of these listings could promise of its merchant's own goods."""
        shop = some.of
        sums = self._nothing.copy()
        for warehouse in shop.warehouses:
            sums += self._there.get((shop.merchant_id, warehouse), self._nothing)
        return sums[np.searchsorted(self._items, shop.items[some.at])]


class _Terms:
    """The policies that stand, by scope."""

    def __init__(self, tx: Transaction, found: Sequence[Some]) -> None:
        merchants = sorted({some.of.merchant_id for some in found})
        ids = np.concatenate([some.ids for some in found])
        self._stands = policies.scopes(tx, merchants, ids.tolist() if len(ids) < MANY else None)
        self._own = {listing: policy for (_, _, listing), policy in self._stands.items() if listing is not None}
        each = np.split(np.isin(ids, list(self._own)), np.cumsum([len(some.at) for some in found])[:-1])
        self._at = {some.of.connection_id: np.flatnonzero(own) for some, own in zip(found, each, strict=True)}

    def levels(self, some: Some, units: Column) -> Column:
        """Whole packs that may be shown of so many units."""
        shop = some.of
        who, where = shop.merchant_id, shop.connection_id
        wide = self._stands.get((who, where, None)) or self._stands.get((who, None, None)) or policies.NONE
        shown = channels.shown_each(units, wide, shop.buffers[some.at])
        for n in self._at[where].tolist():
            at = some.at[n]
            shown[n] = channels.shown(int(units[n]), self._own[int(shop.ids[at])], int(shop.buffers[at]))
        return np.maximum(0, shown) // shop.packs[some.at]


class _Twists:
    """What makes a level more than its merchant's own goods less a policy: kits, contracts, locks, exclusive units."""

    def __init__(self, tx: Transaction, found: Sequence[Some], items: Column) -> None:
        i, lo, p = t.items.c, t.locks.c, t.policies.c
        kits = select(i.id).join(t.kit_parts, t.kit_parts.c.kit_id == i.id).where(i.is_kit.is_(True))
        lasting = or_(p.end_at.is_(None), p.end_at > tx.now)
        asked = {
            "kits": kits,
            "contracts": select(t.contracts.c.id).where(contracts.stands(tx)),
            "locks": select(lo.id).where(lo.ended_at.is_(None)),
            "exclusives": select(p.id).where(and_(p.state == "active", p.exclusive > 0, lasting)),
        }
        there = tx.row(select(*(exists(query).label(name) for name, query in asked.items())))
        assert there is not None
        named = items.tolist() if any(there.values()) else []
        merchants, shops = ({getattr(some.of, name) for some in found} for name in ("merchant_id", "connection_id"))
        self._items: set[int] = set(sell_kits.recipes(tx, named)) if there["kits"] else set()
        self._items |= set(policies.exclusives(tx, named)) if there["exclusives"] else set()
        self._lent = set(contracts.sources(tx, merchants, named)) if there["contracts"] else set()
        kept = open_locks(tx, shops, named) if there["locks"] else []
        self._kept = {(one.connection_id, one.item_id) for one in kept}

    def touch(self, some: Some) -> npt.NDArray[np.bool_]:
        """Which of these listings they are about."""
        shop = some.of
        items = self._items | {item for who, item in self._lent if who == shop.merchant_id}
        items |= {item for where, item in self._kept if where == shop.connection_id}
        there = shop.items[some.at]
        return np.isin(there, list(items)) if items else np.zeros(len(there), dtype=np.bool_)
