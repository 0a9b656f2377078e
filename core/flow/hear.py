"""What flows are given: understood documents, each with the inbox row that is settled in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.errors import Contradicted
from core.model import Model
from core.store import inbox
from core.store import tables as t
from core.store.ledger import Ledger
from core.store.store import Transaction, many

OTHERWISE = (
    "{number} came again and says something else. First: {first}. Now: {now}. Nothing of this one was booked: settle "
    "with the sender which is true, have what is missing told under a number of its own, then dismiss this one"
)
Units = Mapping[tuple[int, str], int]
"""(item id, condition) → base units that came on hand, or (below zero) went."""


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


def repeated(
    tx: Transaction, ledger: Ledger, key: str, number: str, told: Units, ends: bool = False
) -> Contradicted | None:
    """What a person has to settle where this key is booked for something else; a true repeat is absorbed.

    number: how the sender calls it. ends: it says that nothing more will come, which nobody has said yet.
    """
    first, now = ledger.moved(key), {what: n for what, n in told.items() if n}
    if first == now and not ends:
        tx.tally("duplicates_absorbed")
        return None
    skus = {row["id"]: row["sku"] for row in many(tx, t.items, "id", sorted({item for item, _ in (*first, *now)}))}
    more = ", and nothing more" if ends else ""
    return Contradicted(OTHERWISE.format(number=number, first=_words(first, skus), now=_words(now, skus) + more))


def _words(units: Units, skus: Mapping[int, str]) -> str:
    return ", ".join(f"{n:+} {skus[item]} {condition}" for (item, condition), n in sorted(units.items())) or "nothing"
