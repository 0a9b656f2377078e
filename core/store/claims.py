"""Claims: how those of orders are written, what any of them waits for, and since when a caller's stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select

from core.rules.decide import Part
from core.store import tables as t
from core.store.rows import any_of
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


def cause(claim: Mapping[str, Any]) -> str:
    """What a journal that moves a claim's units is booked for: its order, or what its holder knows it by."""
    return f"order:{claim['order_id']}" if claim["order_id"] else f"{claim['kind']}:{claim['ref']}"


def reserve_key(holder_id: int, kind: str, ref: str) -> str:
    """The business key under which a caller's reservation was booked."""
    return f"reserve:{holder_id}:{kind}:{ref}"


def reserved_at(tx: Transaction, claims: Sequence[Mapping[str, Any]]) -> dict[int, datetime]:
    """Claim → when the reservation was booked that it belongs to; nothing for claims of anything else."""
    j, keys = t.journals.c, {c["id"]: reserve_key(c["holder_id"], c["kind"], c["ref"]) for c in claims if c["ref"]}
    if not keys:
        return {}
    booked = select(j.key, j.recorded_at).where(any_of(tx.conn, j.key, sorted(set(keys.values()))))
    at = {row["key"]: row["recorded_at"] for row in tx.rows(booked)}
    return {ident: at[key] for ident, key in keys.items() if key in at}
