"""Claims of orders: how they are written, and what they wait for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.rules.decide import Part
from core.store import tables as t
from core.store.store import Transaction


def of_order(tx: Transaction, order_id: int, cell_id: int, part: Part, soft: bool) -> dict[str, Any]:
    """A new claim of an order's line on a cell, for what was decided of it; soft: the order may not ship yet.

    The lot it pins is written at once, the claim is the caller's to write.
    """
    ident = tx.ids.new()
    if part.lot:
        tx.add(t.pins, [{"claim_id": ident, "cell_id": cell_id, "lot": part.lot}])
    return {
        "id": ident,
        "kind": "order",
        "order_id": order_id,
        "line_id": part.line,
        "cell_id": cell_id,
        "part_id": part.item_id if part.per_kit else None,
        "per_kit": part.per_kit,
        "asked": part.asked,
        "backed": part.backed,
        "shipped": 0,
        "soft": soft,
        "open": True,
        "fulfilment_id": None,
        "contract_id": part.contract_id,
    }


def missing(claim: Mapping[str, Any]) -> int:
    """Units an open claim waits for, as `tables.is_short` asks of the database."""
    return int(claim["asked"] - claim["shipped"] - claim["backed"])
