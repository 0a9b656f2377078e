"""What distributors buy to sell on: whom to ask about units that no contract with them covers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select

from core.flow.tell import ask_person, settle
from core.rules.decide import Part
from core.store import contracts
from core.store import tables as t
from core.store.store import Transaction, one

Row = Mapping[str, Any]
UNKNOWN, BEYOND = "distributor.unknown", "order.beyond_contract"
WHO = (
    "{} resells your goods ({}), and no contract that stands knows it by that name for what order {} is of: make one "
    "that says known_as, else nothing is settled between you here"
)
MORE = (
    "{} bought {} units in order {} beyond what its contract lets it sell: they are promised, since it bought them, "
    "and not settled by it: settle these by hand, and make a contract of more for the next"
)
ON_ACCOUNT = {
    "agency": "代销: title_passes never",
    "dealer": "经销: title_passes at_ship or at_reserve",
    "": "as it says",
}


def ask(tx: Transaction, order: Row, parts: Sequence[Part]) -> None:
    """Ask the supplier about units of a distributor's order that are backed under no contract with it.

    About a distributor no contract knows it is asked once, and only who has contracts that name distributors.
    """
    units = sum(part.backed for part in parts if part.contract_id is None)
    if not order["distributor"] or not units:
        return
    who, owner = order["distributor"], order["merchant_id"]
    if contracts.resales(tx, [order], sorted({part.item_id for part in parts if part.contract_id is None})):
        ask_person(tx, BEYOND, f"resale:{order['id']}", owner, MORE.format(who, units, order["ref"]))
    elif _names_distributors(tx, owner) and one(tx, t.worklist, kind=UNKNOWN, subject=_subject(owner, who)) is None:
        why = WHO.format(who, ON_ACCOUNT[order["resale"]], order["ref"])
        ask_person(tx, UNKNOWN, _subject(owner, who), owner, why)


def known(tx: Transaction, owner_id: int, distributor: str) -> None:
    """A contract knows this distributor now."""
    settle(tx, _subject(owner_id, distributor))


def _subject(owner_id: int, distributor: str) -> str:
    return f"distributor:{owner_id}:{distributor}"


def _names_distributors(tx: Transaction, owner_id: int) -> bool:
    c = t.contracts.c
    return tx.row(select(c.id).where(c.owner_id == owner_id, c.known_as != "").limit(1)) is not None
