"""What each listing may show, less the buffer, in whole packs: what its pool can promise of its merchant's goods and,
by contracts, of others', and what locks keep for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import select

from core.flow import sell_kits
from core.flow.sell_kits import Recipe
from core.rules import channels, kits, levels
from core.rules.channels import Claimed, Place, There
from core.rules.decide import Source, units_of
from core.store import contracts, policies
from core.store import tables as t
from core.store.locks import open_locks
from core.store.pools import pools
from core.store.store import Transaction, many


class Room(NamedTuple):
    """Base units of a kit's part that a listing's orders could take by themselves."""

    item_id: int
    there: There
    per_kit: int


class Reach(NamedTuple):
    """Base units a listing's orders could take: of what anybody's may, and of what locks keep for it.

    parts: of a kit, what there is of each part that is looked at by itself, in whichever warehouses. places: where what
    is free lies, of what is looked at by itself and of kits.
    """

    free: int
    kept: int
    parts: tuple[Room, ...] = ()
    places: Mapping[Place, int] = MappingProxyType({})


def targets(
    tx: Transaction, rows: Sequence[Mapping[str, Any]], instead: Sequence[Mapping[str, Any]] = ()
) -> dict[int, int]:
    """Listing id → what it may show, computed afresh from the ledger and the policies that stand.

    instead: policies that take the place of those of their scopes.
    """
    connections = _connections(tx, rows)
    shops = {shop["id"]: shop["merchant_id"] for shop in connections}
    can = {shop["id"]: shop["can"] for shop in connections}
    stands = policies.standing(tx, [{**row, "merchant_id": shops[row["connection_id"]]} for row in rows], instead)
    recipes = sell_kits.recipes(tx, {row["item_id"] for row in rows})
    claimed = policies.exclusives(tx, _items(rows, recipes), instead)
    found = {}
    for row, there in zip(rows, _reach(tx, rows, shops, recipes, claimed), strict=True):
        free = _beside(row, there, claimed, shops[row["connection_id"]])
        buffer = levels.buffer(row["buffer"], row["pack"], can[row["connection_id"]])
        units = channels.shown(free, stands.get(row["id"], policies.NONE), buffer, there.kept)
        found[row["id"]] = levels.target(units, row["pack"])
    return found


def _beside(row: Mapping[str, Any], there: Reach, claimed: Mapping[int, Sequence[Claimed]], merchant_id: int) -> int:
    """Units that others' exclusive ones leave to a listing; of a kit, as many as they leave of every part."""

    def left(item_id: int, there: There) -> int:
        return channels.beside(there, (one for one in claimed.get(item_id, ()) if one.binds(merchant_id)), row["id"])

    whole = (left(part.item_id, part.there) // part.per_kit for part in there.parts)
    return min((left(row["item_id"], There(there.free, there.places)), *whole))


def _connections(tx: Transaction, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The shops of these listings."""
    return many(tx, t.connections, "id", sorted({row["connection_id"] for row in rows}))


def reach(tx: Transaction, rows: Sequence[Mapping[str, Any]]) -> list[Reach]:
    """What the orders of each of these listings could take, whatever policies say."""
    shops = {shop["id"]: shop["merchant_id"] for shop in _connections(tx, rows)}
    return _reach(tx, rows, shops, sell_kits.recipes(tx, {row["item_id"] for row in rows}))


def _items(rows: Sequence[Mapping[str, Any]], recipes: Mapping[int, Recipe]) -> list[int]:
    """What these listings sell, and the parts of kits among it."""
    return sorted({r["item_id"] for r in rows} | {int(part) for recipe in recipes.values() for part in recipe})


def _reach(
    tx: Transaction,
    rows: Sequence[Mapping[str, Any]],
    shops: Mapping[int, int],
    recipes: Mapping[int, Recipe],
    looked_at: Container[int] = (),
) -> list[Reach]:
    """looked_at: items, parts of kits among them, that are to be looked at by themselves."""
    ce = t.cells.c
    sold_from, items = pools(tx, shops), _items(rows, recipes)
    named = (ce.owner_id, ce.item_id, ce.warehouse_id)
    cells = tx.rows(select(*named, ce.free, ce.suspense).where(ce.item_id.in_(items), ce.condition == "ZP"))
    free = {tuple(cell[c.name] for c in named): cell["free"] + min(0, cell["suspense"]) for cell in cells}
    """Below 0: so many units are missing."""
    kept, others = _kept(tx, rows, items), contracts.sources(tx, shops.values(), items)
    stand = contracts.rights(tx, {s.contract_id for some in others.values() for s in some}, items)
    rights = {key: units_of(right) for key, right in stand.items()}

    def made(listing: Mapping[str, Any], recipe: Mapping[str, int]) -> Reach:
        who, locked, left = shops[listing["connection_id"]], 0, dict(rights)
        units: dict[Place, int] = {}
        parts = [int(part) for part in recipe]
        for warehouse in sold_from.get(listing["connection_id"], ()):
            own = {part: free.get((who, part, warehouse), 0) for part in parts}
            mine = {part: max(0, kept[listing["id"], part, warehouse] + min(0, n)) for part, n in own.items()}
            lent = {part: _lent(free, left, others.get((who, part), ()), part, warehouse) for part in parts}
            room = {part: max(0, n) + sum(lent[part].values()) for part, n in own.items()}
            whole = kits.whole(recipe, room)
            for part in parts:
                _use(left, lent[part], part, whole * recipe[str(part)] - max(0, own[part]))
            units[0, warehouse] = whole
            locked += kits.whole(recipe, mine)
        return Reach(sum(units.values()), locked, places=units)

    def lying(listing: Mapping[str, Any], item: int) -> dict[Place, int]:
        who, where = shops[listing["connection_id"]], sold_from.get(listing["connection_id"], ())
        lent = ((s.owner_id, h) for s in others.get((who, item), ()) for h in where if s.serves(h))
        places = (*((who, h) for h in where), *lent)
        return {(owner, h): max(0, free.get((owner, item, h), 0)) for owner, h in places}

    def there(listing: Mapping[str, Any]) -> Reach:
        recipe = recipes.get(listing["item_id"])
        item = int(listing["item_id"])
        if recipe is None:
            found = made(listing, {str(item): 1})
            return found._replace(places=lying(listing, item)) if item in looked_at else found
        alone = {part: per_kit for part, per_kit in recipe.items() if int(part) in looked_at}
        parts = (
            Room(int(part), There(made(listing, {part: 1}).free, lying(listing, int(part))), per_kit)
            for part, per_kit in alone.items()
        )
        return made(listing, recipe)._replace(parts=tuple(parts))

    return [there(row) for row in rows]


def _lent(
    free: Mapping[tuple[int, ...], int],
    left: Mapping[tuple[int, int], int],
    others: Sequence[Source],
    item: int,
    warehouse: int,
) -> dict[int, int]:
    """Contract → units of other owners that may be sold under it there; one that two allow counts for the first."""
    there = {s.owner_id: max(0, free.get((s.owner_id, item, warehouse), 0)) for s in others}
    lent = {}
    for source in (s for s in others if s.serves(warehouse)):
        units = min(there[source.owner_id], max(0, left.get((source.contract_id, item), 0)))
        there[source.owner_id] -= units
        lent[source.contract_id] = units
    return lent


def _use(left: dict[tuple[int, int], int], lent: Mapping[int, int], item: int, units: int) -> None:
    """Rights that these units would use, so that another warehouse's goods are not shown for the same ones."""
    for contract, n in lent.items():
        used = max(0, min(n, units))
        units -= used
        if used:
            left[contract, item] -= used


def _kept(tx: Transaction, rows: Sequence[Mapping[str, Any]], items: Sequence[int]) -> Counter[tuple[int, int, int]]:
    """(listing id, item id, warehouse id) → units that open locks keep for what is sold of it now."""
    found: Counter[tuple[int, int, int]] = Counter()
    locks = open_locks(tx, {r["connection_id"] for r in rows}, items)
    for row in rows if locks else ():
        for some in (k for k in locks if k.connection_id == row["connection_id"] and k.serves(row["id"], tx.now)):
            found[row["id"], some.item_id, some.warehouse_id] += some.units
    return found
