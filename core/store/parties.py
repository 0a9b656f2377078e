"""Parties: the one table with personal data, each row sealed under its merchant's key of the month."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import select

from core.model import Order, Party
from core.store import tables as t
from core.store.store import Transaction


class Told(NamedTuple):
    """What an order says of whom it goes to. known: the row that was made of what it said before."""

    merchant_id: int
    order: Order
    known: int | None


def keep_parties(tx: Transaction, told: Sequence[Told]) -> list[int | None]:
    """Seal whom orders go to, with buyers' names and notes; returns each one's row (a known one is renewed)."""
    kept: list[int | None] = []
    new: list[dict[str, Any]] = []
    for merchant_id, order, known in told:
        if order.party is None:
            kept.append(known)
            continue
        row = _sealed(tx, merchant_id, order, order.party)
        if known is not None:
            tx.set(t.parties, known, **row)
        else:
            new.append({"id": tx.ids.new(), "merchant_id": merchant_id or None, **row})
        kept.append(known if known is not None else new[-1]["id"])
    tx.add(t.parties, new)
    return kept


def _sealed(tx: Transaction, merchant_id: int, order: Order, party: Party) -> dict[str, Any]:
    private = {"party": party.model_dump(), "buyer": order.buyer, "note": order.note}
    key_id = tx.vault.key(tx, merchant_id)
    return {
        "key_id": key_id,
        "sealed": tx.vault.seal(tx, key_id, json.dumps(private).encode()),
        "kind": party.kind,
        "country": party.country,
        "province": party.province,
        "city": party.city,
        "district": party.district,
    }


def open_party(tx: Transaction, ident: int | None) -> tuple[Party, str, str]:
    """The party, the buyer's name at the shop and the note; empty ones when nothing is known."""
    row = tx.row(select(t.parties).where(t.parties.c.id == ident)) if ident else None
    if row is None:
        return Party(), "", ""
    private = json.loads(tx.vault.open(tx, row["key_id"], row["sealed"]))
    return Party(**private["party"]), private["buyer"], private["note"]
