"""Admission: which warehouse backs which order, decided in order over one set of balances. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from core.rules import kits
from core.rules.kits import Need


class Source(NamedTuple):
    """Whose goods a wish may be backed by besides the first owner's, and the contract that allows it."""

    owner_id: int
    contract_id: int


class Want(NamedTuple):
    """One line's wish: units of one owner's item. line: whatever the caller knows it by.

    per_kit: units of it in one kit; the parts of a kit are wishes of one line, and are backed in whole kits.
    others: whose units it may be backed by where that owner's do not do, in this order.
    """

    line: int
    owner_id: int
    item_id: int
    quantity: int
    per_kit: int | None = None
    others: tuple[Source, ...] = ()

    @property
    def owners(self) -> tuple[int, ...]:
        """Whose units may back it."""
        return (self.owner_id, *(source.owner_id for source in self.others))


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
    """What one warehouse takes of one line: asked units, of which backed. contract_id: under which they are sold."""

    line: int
    owner_id: int
    item_id: int
    warehouse_id: int
    asked: int
    backed: int
    per_kit: int | None = None
    contract_id: int | None = None


Rights = dict[tuple[int, int], int]
"""(contract, item) → units that may still be sold under it, from whatever warehouse."""
Balances = dict[tuple[int, int, int], int]
"""(owner, item, warehouse) → promisable units."""


def decide(
    balances: Mapping[tuple[int, int, int], int],
    requests: Sequence[Request],
    rights: Mapping[tuple[int, int], int] = MappingProxyType({}),
) -> list[list[Part]]:
    """One list of parts per request. An order is a fact: it is never refused, only left short; a caller's wish may be.

    The first warehouse that backs the whole order makes it; else it is split where that backs everything; else the
    warehouse that backs most takes it all, part backed or short (no part of a line is split off for a short order).
    """
    left = Left(dict(balances), dict(rights))
    return [_decide_one(left, request) for request in requests]


class Left(NamedTuple):
    """What nobody has been given yet."""

    units: Balances
    rights: Rights

    def copy(self) -> Left:
        """To try something with."""
        return Left(dict(self.units), dict(self.rights))

    def there(self, owner_id: int, item_id: int, warehouse_id: int, contract_id: int | None) -> int:
        """Units of an owner's item that one may have there, under a contract or as the owner."""
        units = self.units.get((owner_id, item_id, warehouse_id), 0)
        return units if contract_id is None else min(units, self.rights.get((contract_id, item_id), 0))

    def take(self, part: Part) -> None:
        """These are given."""
        key = (part.owner_id, part.item_id, part.warehouse_id)
        self.units[key] = self.units.get(key, 0) - part.backed
        if part.contract_id is not None and part.backed:
            self.rights[part.contract_id, part.item_id] -= part.backed


def _decide_one(left: Left, request: Request) -> list[Part]:
    parts = _whole(left, request) or (_split(left, request) if request.may_split else None)
    if not parts:
        parts = [] if request.refusable else _short(left, request)
    for part in parts:
        left.take(part)
    return parts


def _whole(left: Left, request: Request) -> list[Part] | None:
    if any(want.others for want in request.wants):
        return _whole_of_several(left, request)
    needs = _needs(request.wants)
    for warehouse in request.warehouses:
        if all(left.units.get((owner, item, warehouse), 0) >= n for (owner, item), n in needs.items()):
            return [_part(w, warehouse, w.quantity, w.quantity) for w in request.wants]
    return None


def _whole_of_several(left: Left, request: Request) -> list[Part] | None:
    """As `_whole`, where wishes may be backed by the goods of several owners."""
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
    own = mine.there(want.owner_id, want.item_id, warehouse, None)
    return own + sum(mine.there(s.owner_id, want.item_id, warehouse, s.contract_id) for s in want.others)


def _shared(mine: Left, want: Want, warehouse: int, backed: int) -> list[Part]:
    """A wish by whose goods back it; what nothing backs is asked of the last of them."""
    parts = []
    for owner, contract in ((want.owner_id, None), *want.others):
        units = min(backed, max(0, mine.there(owner, want.item_id, warehouse, contract)))
        backed -= units
        if units:
            parts.append(_part(want, warehouse, units, units)._replace(owner_id=owner, contract_id=contract))
    short = want.quantity - sum(part.backed for part in parts)
    if short and parts:
        parts[-1] = parts[-1]._replace(asked=parts[-1].asked + short)
    return parts or [_part(want, warehouse, want.quantity, 0)]


def _part(want: Want, warehouse: int, asked: int, backed: int) -> Part:
    """A part of the wish; one that nothing backs is asked of whoever comes last."""
    last = want.others[-1] if want.others and not backed else None
    owner, contract = last or (want.owner_id, None)
    return Part(want.line, owner, want.item_id, warehouse, asked, backed, want.per_kit, contract)


def together(wants: Sequence[Want]) -> list[list[Want]]:
    """The parts of each kit together, every other wish by itself."""
    found: dict[tuple[int, int], list[Want]] = {}
    for n, want in enumerate(wants):
        found.setdefault((-1, n) if want.per_kit is None else (0, want.line), []).append(want)
    return list(found.values())


def _needs(wants: Sequence[Want]) -> dict[tuple[int, int], int]:
    needs: dict[tuple[int, int], int] = {}
    for want in wants:
        needs[(want.owner_id, want.item_id)] = needs.get((want.owner_id, want.item_id), 0) + want.quantity
    return needs
