"""Admission: which warehouse backs which order, decided in order over one set of balances. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from core.rules import kits
from core.rules.kits import Need


class Want(NamedTuple):
    """One line's wish: units of one owner's item. line: whatever the caller knows it by.

    per_kit: units of it in one kit; the parts of a kit are wishes of one line, and are backed in whole kits.
    """

    line: int
    owner_id: int
    item_id: int
    quantity: int
    per_kit: int | None = None


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
    """What one warehouse takes of one line: asked units, of which backed."""

    line: int
    owner_id: int
    item_id: int
    warehouse_id: int
    asked: int
    backed: int
    per_kit: int | None = None


Balances = dict[tuple[int, int, int], int]
"""(owner, item, warehouse) → promisable units."""


def decide(balances: Mapping[tuple[int, int, int], int], requests: Sequence[Request]) -> list[list[Part]]:
    """One list of parts per request. An order is a fact: it is never refused, only left short; a caller's wish may be.

    The first warehouse that backs the whole order makes it; else it is split where that backs everything; else the
    warehouse that backs most takes it all, part backed or short (no part of a line is split off for a short order).
    """
    left: Balances = dict(balances)
    return [_decide_one(left, request) for request in requests]


def _decide_one(left: Balances, request: Request) -> list[Part]:
    parts = _whole(left, request) or (_split(left, request) if request.may_split else None)
    if not parts:
        parts = [] if request.refusable else _short(left, request)
    for part in parts:
        key = (part.owner_id, part.item_id, part.warehouse_id)
        left[key] = left.get(key, 0) - part.backed
    return parts


def _whole(left: Balances, request: Request) -> list[Part] | None:
    needs = _needs(request.wants)
    for warehouse in request.warehouses:
        if all(left.get((owner, item, warehouse), 0) >= n for (owner, item), n in needs.items()):
            return [_part(w, warehouse, w.quantity, w.quantity) for w in request.wants]
    return None


def _split(left: Balances, request: Request) -> list[Part] | None:
    mine = dict(left)
    parts: list[Part] = []
    for wants in together(request.wants):
        missing = wants
        for warehouse in request.warehouses:
            taken = [p for p in _take(mine, missing, warehouse) if p.backed]
            parts += [p._replace(asked=p.backed) for p in taken]
            backed = {p.item_id: p.backed for p in taken}
            missing = [w._replace(quantity=w.quantity - backed.get(w.item_id, 0)) for w in missing]
        if any(w.quantity for w in missing):
            return None
    return parts


def _short(left: Balances, request: Request) -> list[Part]:
    best = max(request.warehouses, key=lambda w: sum(p.backed for p in _at(left, request.wants, w)))
    parts = _at(left, request.wants, best)
    return parts if request.may_part else [p._replace(backed=0) for p in parts]


def _at(left: Balances, wants: Sequence[Want], warehouse: int) -> list[Part]:
    mine = dict(left)
    return [part for some in together(wants) for part in _take(mine, some, warehouse)]


def _take(mine: Balances, wants: Sequence[Want], warehouse: int) -> list[Part]:
    """What this warehouse backs of one line, in whole kits; taken off `mine`."""
    there = [mine.get((w.owner_id, w.item_id, warehouse), 0) for w in wants]
    needs = [Need(w.quantity, w.per_kit or 1, n) for w, n in zip(wants, there, strict=True)]
    lacking = kits.lacking(needs)
    parts = []
    for want, n in zip(wants, there, strict=True):
        backed = kits.without(want.quantity, want.per_kit or 1, lacking)
        mine[want.owner_id, want.item_id, warehouse] = n - backed
        parts.append(_part(want, warehouse, want.quantity, backed))
    return parts


def _part(want: Want, warehouse: int, asked: int, backed: int) -> Part:
    return Part(want.line, want.owner_id, want.item_id, warehouse, asked, backed, want.per_kit)


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
