"""Admission: which warehouse backs which order, decided in order over one set of balances. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Want(NamedTuple):
    """One line's wish: units of one owner's item. line: whatever the caller knows it by."""

    line: int
    owner_id: int
    item_id: int
    quantity: int


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
            return [Part(w.line, w.owner_id, w.item_id, warehouse, w.quantity, w.quantity) for w in request.wants]
    return None


def _split(left: Balances, request: Request) -> list[Part] | None:
    mine = dict(left)
    parts: list[Part] = []
    for want in request.wants:
        missing = want.quantity
        for warehouse in request.warehouses:
            key = (want.owner_id, want.item_id, warehouse)
            taken = min(missing, max(0, mine.get(key, 0)))
            if taken:
                parts.append(Part(want.line, want.owner_id, want.item_id, warehouse, taken, taken))
                mine[key] -= taken
                missing -= taken
        if missing:
            return None
    return parts


def _short(left: Balances, request: Request) -> list[Part]:
    best = max(request.warehouses, key=lambda w: _backs(left, request, w))
    mine = dict(left)
    parts = []
    for want in request.wants:
        key = (want.owner_id, want.item_id, best)
        backed = min(want.quantity, max(0, mine.get(key, 0))) if request.may_part else 0
        mine[key] = mine.get(key, 0) - backed
        parts.append(Part(want.line, want.owner_id, want.item_id, best, want.quantity, backed))
    return parts


def _backs(left: Balances, request: Request, warehouse: int) -> int:
    needs = _needs(request.wants)
    return sum(min(n, max(0, left.get((owner, item, warehouse), 0))) for (owner, item), n in needs.items())


def _needs(wants: Sequence[Want]) -> dict[tuple[int, int], int]:
    needs: dict[tuple[int, int], int] = {}
    for want in wants:
        needs[(want.owner_id, want.item_id)] = needs.get((want.owner_id, want.item_id), 0) + want.quantity
    return needs
