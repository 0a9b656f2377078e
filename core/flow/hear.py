"""What flows are given: understood documents, each with the inbox row that is settled in the same transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.model import Model
from core.store import inbox
from core.store.store import Transaction


@dataclass(frozen=True)
class Spoken:
    """One understood document. kind: of document; merchant_id: the holder of the connection, 0 for the operator's."""

    kind: str
    inbox_id: int
    connection_id: int
    merchant_id: int
    noun: Model
    event_id: str | None = None


def fresh(tx: Transaction, batch: Sequence[Spoken]) -> list[Spoken]:
    """Those that nobody has settled meanwhile, in order."""
    waiting = inbox.still_waiting(tx, [s.inbox_id for s in batch])
    return [s for s in batch if s.inbox_id in waiting]
