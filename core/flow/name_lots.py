"""The lots a document names, as the ledger takes them."""

from __future__ import annotations

from collections.abc import Iterable

from core.model.stock import Lot
from core.store.ledger import Cell, LotMove


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
