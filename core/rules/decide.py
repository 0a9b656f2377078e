"""Admission: which warehouse backs which order, decided in order over one set of balances. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import ge
from types import MappingProxyType
from typing import NamedTuple

from core.rules import kits
from core.rules.kits import Need


class Source(NamedTuple):
    """Whose goods a wish may be backed by, and the contract that allows it; the first owner's own come first so.

    warehouses: where alone its title can pass, for a contract by which it passes when an order is backed.
    """

    owner_id: int
    contract_id: int
    warehouses: frozenset[int] | None = None

    def serves(self, warehouse_id: int) -> bool:
        """Whether its goods there may back a wish."""
        return self.warehouses is None or warehouse_id in self.warehouses


class Want(NamedTuple):
    """One line's wish: units of one owner's item. line: whatever the caller knows it by.

    per_kit: units of it in one kit; the parts of a kit are wishes of one line, and are backed in whole kits.
    others: whose units it may be backed by where that owner's do not do, in this order. lot: of which
    alone; "" for any.
    """

    line: int
    owner_id: int
    item_id: int
    quantity: int
    per_kit: int | None = None
    others: tuple[Source, ...] = ()
    lot: str = ""

    @property
    def owners(self) -> tuple[int, ...]:
        """Whose units may back it."""
        return (self.owner_id, *(source.owner_id for source in self.others)) if self.others else (self.owner_id,)

    def sources(self, warehouse_id: int) -> tuple[Source, ...]:
        """Those of the others whose goods there may back it."""
        return tuple(source for source in self.others if source.serves(warehouse_id))

    def givers(self, warehouse_id: int) -> list[tuple[int, int | None]]:
        """(owner, contract) of what may back it there: its owner's by contract, its owner's, others' by contract."""
        named = [(source.owner_id, source.contract_id) for source in self.sources(warehouse_id)]
        resold: list[tuple[int, int | None]] = [it for it in named if it[0] == self.owner_id]
        return [*resold, (self.owner_id, None), *(it for it in named if it[0] != self.owner_id)]

    def places(self, owner_id: int, warehouses: Iterable[int]) -> list[int]:
        """Those of these warehouses where that owner's goods may back it."""
        mine = [source for source in self.others if source.owner_id == owner_id]
        return [h for h in warehouses if owner_id == self.owner_id or any(source.serves(h) for source in mine)]


@dataclass(frozen=True)
class Request:
    """One order's wishes, to be backed from these warehouses, best first.

    may_split: several may make it. refusable: its caller asked, and is told no (no parts) where not all can be backed.
    may_part: an order that cannot be backed whole gets what there is; else it gets nothing and leaves it to others.
    """

    wants: Sequence[Want]
    warehouses: Sequence[int]
    may_split: bool = True
    refusable: bool = False
    may_part: bool = True


class Part(NamedTuple):
    """What one warehouse takes of one line: asked units, of which backed.

    contract_id: under which they are sold. lot: that they are of, where the wish names one.
    """

    line: int
    owner_id: int
    item_id: int
    warehouse_id: int
    asked: int
    backed: int
    per_kit: int | None = None
    contract_id: int | None = None
    lot: str = ""


class Share(NamedTuple):
    """A right to a percentage of what its owner has: units free, in all warehouses, and those held under it."""

    owner_id: int
    percent: int
    free: int
    held: int

    @property
    def units(self) -> int:
        """Units that may still be sold under it."""
        return max(0, self.percent * (self.free + self.held) // 100 - self.held)


Right = int | Share
"""Units that may still be sold, or the share they are reckoned from, which others' sales make smaller."""
Rights = dict[tuple[int, int], Right]
"""(contract, item) → what may still be sold under it, from whatever warehouse."""
Balances = dict[tuple[int, int, int], int]
"""(owner, item, warehouse) → promisable units."""
Rooms = dict[tuple[int, int, int, str], int]
"""(owner, item, warehouse, lot) → units of the lot there that nobody was promised by name, or told to send."""


def decide(
    balances: Mapping[tuple[int, int, int], int],
    requests: Sequence[Request],
    rights: Mapping[tuple[int, int], Right] = MappingProxyType({}),
    rooms: Mapping[tuple[int, int, int, str], int] = MappingProxyType({}),
) -> list[list[Part]]:
    """One list of parts per request. An order is a fact: it is never refused, only left short; a caller's wish may be.

    The first warehouse that backs the whole order makes it; else it is split where that backs everything; else the
    warehouse that backs most takes it all, part backed or short (no part of a line is split off for a short order).
    """
    left = Left(dict(balances), dict(rights), dict(rooms))
    return [_decide_one(left, request) for request in requests]


class Left(NamedTuple):
    """What nobody has been given yet."""

    units: Balances
    rights: Rights
    rooms: Rooms

    def copy(self) -> Left:
        """To try something with."""
        return Left(dict(self.units), dict(self.rights), dict(self.rooms))

    def have(self, needs: Mapping[tuple[int, int], int], warehouse_id: int) -> bool:
        """Whether all of it lies there. needs: (owner, item) → units."""
        there = [self.units.get((owner, item, warehouse_id), 0) for owner, item in needs]
        return all(map(ge, there, needs.values()))

    def there(self, want: Want, owner_id: int, warehouse_id: int) -> int:
        """Units of that owner that may back a wish there, whatever contracts allow."""
        place = (owner_id, want.item_id, warehouse_id)
        units = self.units.get(place, 0)
        return max(0, min(units, self.rooms.get((*place, want.lot), 0))) if want.lot else units

    def anywhere(self, want: Want, warehouses: Sequence[int]) -> int:
        """Units that may back a wish in these warehouses together."""
        places = {owner: dict.fromkeys(want.places(owner, warehouses)) for owner in want.owners}
        there = {(who, want.item_id, 0): sum(self.there(want, who, h) for h in where) for who, where in places.items()}
        loose = want._replace(others=tuple(source._replace(warehouses=None) for source in want.others), lot="")
        return sum(units for _, _, units in Left(there, self.rights, {}).sources(loose, 0))

    def sources(self, want: Want, warehouse_id: int) -> list[tuple[int, int | None, int]]:
        """(owner, contract, units) of what may back a wish there; a unit that two contracts allow is named once."""
        left = {owner: max(0, self.there(want, owner, warehouse_id)) for owner in want.owners}
        found: list[tuple[int, int | None, int]] = []
        for owner, contract in want.givers(warehouse_id):
            may = left[owner] if contract is None else units_of(self.rights.get((contract, want.item_id), 0))
            units = min(left[owner], may)
            left[owner] -= units
            found.append((owner, contract, units))
        return found

    def take(self, part: Part) -> None:
        """These are given."""
        key = (part.owner_id, part.item_id, part.warehouse_id)
        self.units[key] = self.units.get(key, 0) - part.backed
        if part.lot:
            self.rooms[*key, part.lot] = self.rooms.get((*key, part.lot), 0) - part.backed
        for at, right in self.rights.items() if part.backed else ():
            if at[1] == part.item_id:
                self.rights[at] = _after(right, part, under=at[0] == part.contract_id)


def units_of(right: Right) -> int:
    """Units that may still be sold by it."""
    return right.units if isinstance(right, Share) else max(0, right)


def _after(right: Right, part: Part, under: bool) -> Right:
    """What is left of a right once this is given. under: its own contract allowed it."""
    if not isinstance(right, Share):
        return right - part.backed if under else right
    if right.owner_id != part.owner_id:
        return right
    return right._replace(free=right.free - part.backed, held=right.held + (part.backed if under else 0))


def _decide_one(left: Left, request: Request) -> list[Part]:
    parts = _whole(left, request) or (_split(left, request) if request.may_split else None)
    if not parts:
        parts = [] if request.refusable else _short(left, request)
    for part in parts:
        left.take(part)
    return parts


def _whole(left: Left, request: Request) -> list[Part] | None:
    for want in request.wants:
        if want.others or want.lot:
            return _whole_by_turns(left, request)
    needs = _needs(request.wants)
    for warehouse in request.warehouses:
        if left.have(needs, warehouse):
            return [_part(w, warehouse, w.quantity, w.quantity) for w in request.wants]
    return None


def _whole_by_turns(left: Left, request: Request) -> list[Part] | None:
    """As `_whole`, where wishes may be backed by the goods of several owners, or by one lot alone."""
    for warehouse in request.warehouses:
        parts = _at(left, request.wants, warehouse)
        if all(part.asked == part.backed for part in parts):
            return parts
    return None


def _split(left: Left, request: Request) -> list[Part] | None:
    mine = left.copy()
    parts: list[Part] = []
    for wants in together(request.wants):
        missing = wants
        for warehouse in request.warehouses:
            taken = [p for p in _take(mine, missing, warehouse) if p.backed]
            parts += [p._replace(asked=p.backed) for p in taken]
            backed = Counter[int]()
            for part in taken:
                backed[part.item_id] += part.backed
            missing = [w._replace(quantity=w.quantity - backed[w.item_id]) for w in missing]
        if any(w.quantity for w in missing):
            return None
    return parts


def _short(left: Left, request: Request) -> list[Part]:
    best = max(request.warehouses, key=lambda w: sum(p.backed for p in _at(left, request.wants, w)))
    parts = _at(left, request.wants, best)
    return parts if request.may_part else [_part(w, best, w.quantity, 0) for w in request.wants]


def _at(left: Left, wants: Sequence[Want], warehouse: int) -> list[Part]:
    mine = left.copy()
    return [part for some in together(wants) for part in _take(mine, some, warehouse)]


def _take(mine: Left, wants: Sequence[Want], warehouse: int) -> list[Part]:
    """What this warehouse backs of one line, in whole kits; taken off `mine`."""
    needs = [Need(w.quantity, w.per_kit or 1, _there(mine, w, warehouse)) for w in wants]
    lacking = kits.lacking(needs)
    parts = []
    for want in wants:
        backed = kits.without(want.quantity, want.per_kit or 1, lacking)
        parts += (
            _shared(mine, want, warehouse, backed) if want.others else [_part(want, warehouse, want.quantity, backed)]
        )
    for part in parts:
        mine.take(part)
    return parts


def _there(mine: Left, want: Want, warehouse: int) -> int:
    if not want.others:
        return mine.there(want, want.owner_id, warehouse)
    return sum(units for _, _, units in mine.sources(want, warehouse))


def _shared(mine: Left, want: Want, warehouse: int, backed: int) -> list[Part]:
    """A wish by whose goods back it; what nothing backs is asked of the last of them."""
    parts = []
    for owner, contract, there in mine.sources(want, warehouse):
        units = min(backed, there)
        backed -= units
        if units:
            parts.append(_part(want, warehouse, units, units)._replace(owner_id=owner, contract_id=contract))
    short = want.quantity - sum(part.backed for part in parts)
    if short and parts:
        parts[-1] = parts[-1]._replace(asked=parts[-1].asked + short)
    return parts or [_part(want, warehouse, want.quantity, 0)]


def _part(want: Want, warehouse: int, asked: int, backed: int) -> Part:
    """A part of the wish; one that nothing backs is asked of whoever comes last."""
    owner, contract = want.owner_id, None
    if not backed and (last := want.sources(warehouse)[-1:]):
        owner, contract, _ = last[0]
    return Part(want.line, owner, want.item_id, warehouse, asked, backed, want.per_kit, contract, want.lot)


def together(wants: Sequence[Want]) -> list[list[Want]]:
    """The parts of each kit together, every other wish by itself."""
    found: dict[tuple[int, int], list[Want]] = {}
    for n, want in enumerate(wants):
        found.setdefault((-1, n) if want.per_kit is None else (0, want.line), []).append(want)
    return list(found.values())


def _needs(wants: Sequence[Want]) -> dict[tuple[int, int], int]:
    needs: dict[tuple[int, int], int] = {}
    for want in wants:
        goods = want.owner_id, want.item_id
        needs[goods] = needs.get(goods, 0) + want.quantity
    return needs
