"""A reservation that loses units or gets them back is an event and a task: nobody can call who asked for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from core.flow.tell import Happened, ask_person, settle, tell
from core.store import tables as t
from core.store.claims import missing
from core.store.ledger import Ledger
from core.store.store import Transaction, one

LOST, REGAINED = "reservation.short", "reservation.backed"
LESS = "{kind} {ref} keeps {backed} of {asked} units of {sku} in {warehouse}: bring some in, or tell who reserved them"
Row = Mapping[str, Any]


def changed(tx: Transaction, ledger: Ledger, claim: Row, backed: int) -> None:
    """A claim of a reservation, as it stood, is backed by so many units from now on."""
    place = ledger.cells_by_id([claim["cell_id"]])[claim["cell_id"]].key
    item, warehouse = one(tx, t.items, id=place.item_id), one(tx, t.warehouses, id=place.warehouse_id)
    assert item is not None and warehouse is not None
    said = {name: claim[name] for name in ("kind", "ref", "asked")}
    said |= {"sku": item["sku"], "warehouse": warehouse["code"], "backed": backed}
    type_, units = LOST if backed < claim["backed"] else REGAINED, abs(backed - claim["backed"])
    holder, subject = claim["holder_id"], _subject(claim)
    tell(tx, [Happened(type_, holder, {"reservation": claim["id"]}, subject, {}, {**said, "units": units})])
    settle(tx, subject)
    if backed < claim["asked"]:
        ask_person(tx, LOST, subject, holder, LESS.format(**said))


def over(tx: Transaction, claims: Iterable[Row]) -> None:
    """These claims of reservations end: nobody has to act on what they lack."""
    settle(tx, *(_subject(claim) for claim in claims if missing(claim)))


def _subject(claim: Row) -> str:
    return f"reservation:{claim['id']}"
