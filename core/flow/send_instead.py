"""Goods a warehouse sent in place of those ordered, where the owner has declared that they may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select

from core.flow import fill_claim
from core.flow.fill_claim import Journal
from core.model import ConfirmedLine
from core.rules import posting
from core.store import tables as t
from core.store.ledger import Cell, CellKey, Entry, Ledger, standing
from core.store.store import Transaction, one

Row = Mapping[str, Any]
Instead = dict[str, list[tuple[Row, int]]]
"""SKU → the fulfilment's lines it may stand in for, each with the id of the item of that SKU."""


def declared(tx: Transaction, lines: Sequence[Row], skus: Sequence[str]) -> Instead:
    """Which of these lines goods of these SKUs may have been sent for."""
    s, i = t.substitutes.c, t.items.c
    query = select(s.item_id, s.instead_id, i.sku).join(t.items, i.id == s.instead_id)
    found: Instead = {}
    for row in tx.rows(query.where(s.item_id.in_([line["item_id"] for line in lines]), i.sku.in_(skus))):
        mine = [(line, row["instead_id"]) for line in lines if line["item_id"] == row["item_id"]]
        found.setdefault(row["sku"], []).extend(mine)
    return {sku: sorted(mine, key=lambda it: it[0]["n"]) for sku, mine in found.items()}


def stands_for(instead: Instead, told: ConfirmedLine) -> tuple[Row, int] | None:
    """The line it was sent for and the item it is: the line they name, else the first that still wants units."""
    lines = instead.get(told.sku, [])
    named = (it for it in lines if str(it[0]["n"]) == told.line)
    wanting = (it for it in lines if it[0]["shipped"] < it[0]["quantity"])
    return next(named, None) or next(wanting, None) or next(iter(lines), None)


def leave(
    tx: Transaction, ledger: Ledger, claim: Row, item_id: int, units: int, before: Sequence[Entry]
) -> tuple[list[Entry], int]:
    """The entries of another item that left for a claim: its backed units come free, the other's free ones leave.

    before: entries of the same journal. And how many of its backed units its contract is to take for gone: none where
    their title had passed, since it passes back first.
    """
    wanted, given = fill_claim.home(tx, ledger, claim), min(units, claim["backed"])
    back: posting.Moves = []
    if given and fill_claim.has_passed(tx, ledger, claim):
        journal = Journal(f"instead:{tx.ids.new()}", "release", f"order:{claim['order_id']}")
        fill_claim.empty(tx, ledger, claim, given, journal)
        given = 0
    else:
        back = posting.inflow(given, suspense=standing(wanted, "suspense", before), source="reserved")
    sent = ledger.cell(CellKey(wanted.key.owner_id, item_id, wanted.key.warehouse_id))
    left = posting.outflow(units, backed=0, free=standing(sent, "free", before))
    return [*_on(wanted, back), *_on(sent, left)], given


def _on(cell: Cell, moves: posting.Moves) -> list[Entry]:
    return [Entry(cell, account, n) for account, n in moves]


def note(tx: Transaction, line: Row, item_id: int, units: int) -> None:
    """Keep both on the fulfilment's line: what was ordered, and what left in its place."""
    key = {"fulfilment_id": line["fulfilment_id"], "n": line["n"], "item_id": item_id}
    known = one(tx, t.sent_instead, **key)
    s = t.sent_instead.c
    if known:
        mine = (s.fulfilment_id == key["fulfilment_id"]) & (s.n == key["n"]) & (s.item_id == item_id)
        tx.conn.execute(t.sent_instead.update().where(mine).values(quantity=s.quantity + units))
    elif units:
        tx.add(t.sent_instead, [{**key, "quantity": units}])
