"""Parties: the one table with personal data, each row sealed under its merchant's key of the month."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import select

from core.model import Order, Party
from core.store import tables as t
from core.store.store import Transaction


def keep_party(tx: Transaction, merchant_id: int, order: Order, known: int | None) -> int | None:
    """Seal who an order goes to, with the buyer's name and note; returns the row's id (a known one is renewed)."""
    if order.party is None:
        return known
    party = order.party
    private = {"party": party.model_dump(), "buyer": order.buyer, "note": order.note}
    key_id = tx.vault.key(tx, merchant_id)
    row: dict[str, Any] = {"key_id": key_id, "sealed": tx.vault.seal(tx, key_id, json.dumps(private).encode())}
    row |= {
        "kind": party.kind,
        "country": party.country,
        "province": party.province,
        "city": party.city,
        "district": party.district,
    }
    if known is not None:
        tx.set(t.parties, known, **row)
        return known
    ident = tx.ids.new()
    tx.add(t.parties, [{"id": ident, "merchant_id": merchant_id or None, **row}])
    return ident


def open_party(tx: Transaction, ident: int | None) -> tuple[Party, str, str]:
    """The party, the buyer's name at the shop and the note; empty ones when nothing is known."""
    row = tx.row(select(t.parties).where(t.parties.c.id == ident)) if ident else None
    if row is None:
        return Party(), "", ""
    private = json.loads(tx.vault.open(tx, row["key_id"], row["sealed"]))
    return Party(**private["party"]), private["buyer"], private["note"]
