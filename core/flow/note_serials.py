"""Serial numbers of what left and of what came back: facts, kept beside the journal, that move nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import func, select

from core.flow.tell import ask_person
from core.store import tables as t
from core.store.rows import any_of
from core.store.store import Transaction

TWICE = (
    "serial {serial} of {sku} left with {ref}, and with {before} before, without coming back: ask the warehouse which"
)
Row = Mapping[str, Any]


class Told(NamedTuple):
    """Where serials were told of. happened_at: when the sender says it happened."""

    inbox_id: int
    happened_at: datetime | None


def left(tx: Transaction, told: Told, fulfilment: Row, serials: Mapping[int, Sequence[str]]) -> None:
    """Keep which units of these items left with a fulfilment; a person hears of one that had left before."""
    for item_id, some in serials.items():
        for serial, before in _out(tx, item_id, some).items():
            words = {"serial": serial, "ref": fulfilment["ref"], **before}
            why = TWICE.format(**words)
            ask_person(tx, "serial.twice", f"serial:{item_id}:{serial}", fulfilment["merchant_id"], why)
        _keep(tx, told, item_id, some, "left", fulfilment_id=fulfilment["id"])


def came(tx: Transaction, told: Told, return_id: int, serials: Mapping[int, Sequence[str]]) -> None:
    """Keep which units of these items came back with a return."""
    for item_id, some in serials.items():
        _keep(tx, told, item_id, some, "came", return_id=return_id)


def _keep(
    tx: Transaction, told: Told, item_id: int, serials: Sequence[str], what: Literal["left", "came"], **of: int
) -> None:
    head = {"item_id": item_id, "what": what, "fulfilment_id": None, "return_id": None, **of, **told._asdict()}
    once = dict.fromkeys(serials)
    tx.add(t.serial_facts, [{"id": tx.ids.new(), **head, "serial": s, "recorded_at": tx.now} for s in once])


def _out(tx: Transaction, item_id: int, serials: Sequence[str]) -> dict[str, Row]:
    """Those of these whose newest fact is that they left: with which fulfilment, under which SKU."""
    s, f, i = t.serial_facts.c, t.fulfilments.c, t.items.c
    newest = select(func.max(s.id)).where(s.item_id == item_id, any_of(tx.conn, s.serial, list(serials)))
    query = select(s.serial, f.ref.label("before"), i.sku).join(t.fulfilments, f.id == s.fulfilment_id)
    query = query.join(t.items, i.id == s.item_id).where(s.id.in_(newest.group_by(s.serial)))
    return {row["serial"]: row for row in tx.rows(query)}
