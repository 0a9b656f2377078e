"""Which journey each command and each kind of document starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from core.flow import (
    assemble_kits,
    compare_stock,
    hold_goods,
    link_items,
    lock_stock,
    make_contract,
    move_stock,
    reserve_stock,
    return_goods,
    ship_order,
    take_order,
    track_parcel,
    transfer_stock,
    transfer_title,
)
from core.flow.assemble_kits import Assemble
from core.flow.hear import Spoken
from core.flow.hold_goods import Freeze, Thaw
from core.flow.lock_stock import Lock, Unlock
from core.flow.make_contract import EndContract, MakeContract
from core.flow.reserve_stock import Confirm, Release, Reserve
from core.flow.transfer_stock import Transfer
from core.flow.transfer_title import TransferTitle
from core.store.ledger import Ledger
from core.store.store import Transaction

COMMANDS: dict[type, Callable[[Transaction, Ledger, Any], Sequence[Any]]] = {
    Reserve: reserve_stock.reserve,
    Confirm: reserve_stock.confirm,
    Release: reserve_stock.release,
    Transfer: transfer_stock.transfer,
    TransferTitle: transfer_title.transfer_title,
    MakeContract: make_contract.make,
    EndContract: make_contract.end,
    Assemble: assemble_kits.assemble,
    Freeze: hold_goods.freeze,
    Thaw: hold_goods.thaw,
    Lock: lock_stock.lock,
    Unlock: lock_stock.unlock,
}
"""Command → the journey that decides several of them: one answer each, in order."""
DOCUMENTS: dict[str, Callable[[Transaction, Sequence[Spoken]], None]] = {
    "order": take_order.take_orders,
    "confirm": ship_order.confirm_shipments,
    "progress": ship_order.note_progress,
    "receipt": move_stock.receive,
    "return": return_goods.take_back,
    "count": move_stock.adjust,
    "stock_change": move_stock.adjust,
    "tracking": track_parcel.track_parcels,
    "stock": compare_stock.compare,
    "item": link_items.link_items,
}
"""Document kind → the journey that books several of them and settles their inbox rows."""
BESIDE = frozenset({"tracking", "item"})
"""Kinds that leave the ledger alone."""


def decide(tx: Transaction, commands: Sequence[Any]) -> list[Any]:
    """Decide commands and documents in order, inside one transaction: an answer for each, None for a document."""
    answers: list[Any] = []
    for kind, some in groupby(commands, key=_kind):
        if isinstance(kind, str):
            documents = list(some)
            DOCUMENTS[kind](tx, documents)
            answers += [None] * len(documents)
        else:
            answers += COMMANDS[kind](tx, Ledger(tx), list(some))
    return answers


def writes_ledger(commands: Sequence[Any]) -> bool:
    """Whether any of these may change the ledger."""
    return any(_kind(command) not in BESIDE for command in commands)


def _kind(command: Any) -> str | type:
    return command.kind if isinstance(command, Spoken) else type(command)
