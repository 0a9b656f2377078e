"""The lots a document names, as the ledger takes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core.model.stock import Lot
from core.store.ledger import Cell, LotMove


def split(lots: Iterable[Lot], shares: Sequence[int]) -> list[list[Lot]]:
    """The lots of each of these shares of their units, in order; what is beyond all shares is the last one's."""
    left = list(lots)
    found: list[list[Lot]] = []
    for n, units in enumerate(shares, 1):
        mine: list[Lot] = []
        while left and (units > 0 or n == len(shares)):
            lot = left.pop(0)
            some = lot.quantity if n == len(shares) else min(units, lot.quantity)
            mine.append(lot.model_copy(update={"quantity": some}))
            units -= some
            left[:0] = [lot.model_copy(update={"quantity": lot.quantity - some})] if some < lot.quantity else []
        found.append(mine)
    return found


def moves(cell: Cell, lots: Iterable[Lot], sign: int = 1) -> list[LotMove]:
    """Lots of units that came to a cell, or (sign -1) left it; those without a code are left to the remainder."""
    return [
        LotMove(
            cell,
            lot.code[:200],
            sign * lot.quantity,
            lot.made_on.isoformat() if lot.made_on else None,
            lot.expires_on.isoformat() if lot.expires_on else None,
        )
        for lot in lots
        if lot.code
    ]
