"""What claims under a sharing contract use of it, and what owner and merchant owe each other for what leaves.

Every flow that changes what such a claim holds says so here, before it books the journal.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import func, select

from core.rules.decide import Rights
from core.store import tables as t
from core.store.contracts import AT_RESERVE, rights
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


def passed(tx: Transaction, claim: Row, item_id: int, units: int, cause: str) -> None:
    """Title of units passed when they backed an order's claim: they are owed for; below 0: it passed back."""
    contract = one(tx, t.contracts, id=claim["contract_id"])
    assert contract is not None
    _owe(tx, contract, _item(tx, contract["id"], item_id), claim, units, cause)


def gone(tx: Transaction, ledger: Ledger, claim: Row, item_id: int, taken: int, units: int, cause: str) -> None:
    """Units left for a claim, `taken` of them out of what it held; they are owed for from now on, if not before."""
    contract_id = claim.get("contract_id")
    if contract_id is None or not units:
        return
    contract, item = one(tx, t.contracts, id=contract_id), _item(tx, contract_id, item_id)
    assert contract is not None
    if item["percent"] is None and contract["quota"] == "open":
        ledger.use(_moved(contract_id, item_id, -taken))
    elif item["percent"] is None:
        there = item["allowance"] - ledger.using(contract_id, item_id)
        ledger.use(_moved(contract_id, item_id, min(units - taken, there)))
    passed_before = taken if contract["title_passes"] == AT_RESERVE else 0
    if units > passed_before:
        _owe(tx, contract, item, claim, units - passed_before, cause)


def came_back(tx: Transaction, returned: Row, cause: str) -> None:
    """Goods that had left under contracts came back to their owner: no more is owed for them. returned: its line.

    What came in place of another item is owed for as that one. What still backs the order has not left.
    """
    s, c = t.settlement_lines.c, t.contracts.c
    owed = select(s.contract_id, s.item_id, s.price_minor, func.sum(s.units).label("n"))
    owed = owed.join(t.contracts, c.id == s.contract_id).where(c.owner_id == returned["owner_id"])
    owed = owed.where(s.line_id == returned["line_id"]).group_by(s.contract_id, s.item_id, s.price_minor)
    rows = tx.rows(owed.having(func.sum(s.units) > 0).order_by(s.contract_id))
    left = returned["quantity"]
    same = [row for row in rows if row["item_id"] == returned["item_id"]]
    for row in same or (rows if _instead(tx, returned) else ()):
        back = min(left, max(0, int(row["n"]) - _backing(tx, row, returned["line_id"])))
        left -= back
        contract = one(tx, t.contracts, id=row["contract_id"])
        assert contract is not None
        if back:
            _owe(tx, contract, row, returned, -back, cause)


def _backing(tx: Transaction, owed: Row, line_id: int) -> int:
    """Of the units owed for by an order's line, those that have not left: their title passed when they backed it."""
    cl, c, ce = t.claims.c, t.contracts.c, t.cells.c
    query = select(func.coalesce(func.sum(cl.backed), 0)).join(t.contracts, c.id == cl.contract_id)
    query = query.join(t.cells, ce.id == cl.cell_id).where(c.title_passes == AT_RESERVE, cl.open.is_(True))
    mine = (cl.line_id == line_id) & (cl.contract_id == owed["contract_id"]) & (ce.item_id == owed["item_id"])
    return int(tx.conn.execute(query.where(mine)).scalar_one())


def _instead(tx: Transaction, returned: Row) -> bool:
    """Whether that item was sent for that line in place of what was ordered."""
    i, f = t.sent_instead.c, t.fulfilment_lines.c
    query = select(i.item_id).join(t.fulfilment_lines, (f.fulfilment_id == i.fulfilment_id) & (f.n == i.n))
    return tx.row(query.where(f.line_id == returned["line_id"], i.item_id == returned["item_id"]).limit(1)) is not None


def left(tx: Transaction, ledger: Ledger, contract_ids: Collection[int], items: Collection[int]) -> Rights:
    """What may still be sold under these contracts, by all that was booked so far."""
    if not contract_ids:
        return {}
    ledger.flush()
    return rights(tx, contract_ids, items)


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
