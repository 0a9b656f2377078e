"""What claims under a sharing contract use of it, and what owner and merchant owe each other for what leaves.

Every flow that changes what such a claim holds says so here, before it books the journal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select

from core.store import tables as t
from core.store.contracts import rights
from core.store.ledger import Ledger, Right
from core.store.store import Transaction, one

Row = Mapping[str, Any]


def held(tx: Transaction, ledger: Ledger, contract_id: int | None, item_id: int, units: int) -> None:
    """A claim under this contract holds so many units more; below 0: fewer, back the way they came."""
    if contract_id is None or not units:
        return
    item = _item(tx, contract_id, item_id)
    if item["percent"] is None:
        ledger.use(_moved(contract_id, item_id, units))


def gone(tx: Transaction, ledger: Ledger, claim: Row, item_id: int, taken: int, units: int, cause: str) -> None:
    """Units left for a claim, `taken` of them out of what it held; they are owed for from now on."""
    contract_id = claim.get("contract_id")
    if contract_id is None or not units:
        return
    contract, item = one(tx, t.contracts, id=contract_id), _item(tx, contract_id, item_id)
    assert contract is not None
    if item["percent"] is None and contract["quota"] == "open":
        ledger.use(_moved(contract_id, item_id, -taken))
    elif item["percent"] is None:
        ledger.use(_moved(contract_id, item_id, min(units - taken, item["allowance"])))
    _owe(tx, contract, item, claim, units, cause)


def came_back(tx: Transaction, returned: Row, cause: str) -> None:
    """Goods that had left under contracts came back to their owner: no more is owed for them. returned: its line."""
    s = t.settlement_lines.c
    owed = select(s.contract_id, s.item_id, s.price_minor, func.sum(s.units).label("n"))
    owed = owed.where(s.line_id == returned["line_id"]).group_by(s.contract_id, s.item_id, s.price_minor)
    rows = tx.rows(owed.having(func.sum(s.units) > 0).order_by(s.contract_id))
    left = returned["quantity"]
    for row in [row for row in rows if row["item_id"] == returned["item_id"]] or rows:
        back = min(left, int(row["n"]))
        left -= back
        contract = one(tx, t.contracts, id=row["contract_id"])
        assert contract is not None
        if back:
            _owe(tx, contract, row, returned, -back, cause)


def bounded(tx: Transaction, ledger: Ledger, claim: Row, item_id: int, units: int) -> int:
    """Of so many units more for a claim, those its contract still allows; all of them where it is under none."""
    contract_id = claim["contract_id"]
    if contract_id is None or units <= 0:
        return units
    ledger.flush()
    return min(units, rights(tx, [contract_id], [item_id]).get((contract_id, item_id), 0))


def _item(tx: Transaction, contract_id: int, item_id: int) -> Row:
    found = one(tx, t.contract_items, contract_id=contract_id, item_id=item_id)
    assert found is not None
    return found


def _moved(contract_id: int, item_id: int, used: int) -> list[Right]:
    return [Right(contract_id, item_id, "allowance", -used), Right(contract_id, item_id, "used", used)]


def _owe(tx: Transaction, contract: Row, item: Row, claim: Row, units: int, cause: str) -> None:
    price = item["price_minor"]
    head = {"id": tx.ids.new(), "contract_id": contract["id"], "item_id": item["item_id"], "cause": cause}
    sold = {"order_id": claim["order_id"], "line_id": claim["line_id"], "currency": contract["currency"]}
    amounts = {"units": units, "price_minor": price, "amount_minor": units * price, "recorded_at": tx.now}
    tx.add(t.settlement_lines, [{**head, **sold, **amounts}])
