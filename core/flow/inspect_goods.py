"""Goods that are to be inspected: good units that are received of them are held until a person releases them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.flow import hold_goods
from core.flow.hold_goods import Freeze
from core.model import ReceivedLine
from core.store.ledger import Cell, Ledger
from core.store.store import Transaction

REASON, WHO = "qc", "receipt"


def hold(tx: Transaction, ledger: Ledger, asn: Mapping[str, Any], cell: Cell, line: ReceivedLine) -> None:
    """Hold what came free with a line of a receipt that is booked: a hold a lot, and one for what is of none."""
    named = [(lot.code, lot.quantity) for lot in line.lots if lot.code]
    for lot, units in [*named, (None, line.quantity - sum(n for _, n in named))]:
        if free := min(units, cell.promisable):
            ref = f"{REASON} {asn['ref']} {tx.ids.new()}"
            hold_goods.open_hold(tx, ledger, cell, Freeze(cell.key, free, ref, REASON, WHO, lot))
