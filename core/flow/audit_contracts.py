"""Contracts held against their entries, the claims under them, and what left and came back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sqlalchemy import and_, case, func, select

from core.store import tables as t
from core.store.contracts import AT_RESERVE
from core.store.store import Transaction

Sums = Mapping[tuple[int, int], int]
"""(contract, item) → units."""


def breaches(tx: Transaction) -> list[str]:
    """One sentence per breach."""
    return [*_balances(tx), *_held(tx), *_owed(tx)]


def _balances(tx: Transaction) -> list[str]:
    """Rights that are not what their entries say."""
    r, ci = t.right_entries.c, t.contract_items.c
    sums = [func.sum(case((r.account == a, r.quantity), else_=0)).label(a) for a in ("granted", "allowance", "used")]
    booked = {
        (row["contract_id"], row["item_id"]): row
        for row in tx.rows(select(r.contract_id, r.item_id, *sums).group_by(r.contract_id, r.item_id))
    }
    wrong = []
    for row in tx.rows(select(t.contract_items).order_by(ci.contract_id, ci.item_id)):
        said = booked.get((row["contract_id"], row["item_id"]), {"granted": 0, "allowance": 0, "used": 0})
        have = {"granted": -(row["units"] or 0), "allowance": row["allowance"], "used": row["used"]}
        for name in (name for name in have if have[name] != said[name]):
            wrong.append(f"{_named(row)}: {name} is {have[name]}, its entries say {said[name]}")
    return wrong


def _held(tx: Transaction) -> list[str]:
    """Claims that hold other units than were used, and goods of somebody who is no party to the contract."""
    cl, ce, c, ci = t.claims.c, t.cells.c, t.contracts.c, t.contract_items.c
    query = select(cl.contract_id, ce.item_id, func.sum(cl.backed).label("n")).join(t.cells, ce.id == cl.cell_id)
    query = query.where(cl.contract_id.is_not(None), cl.open.is_(True)).group_by(cl.contract_id, ce.item_id)
    held: Sums = Counter({(r["contract_id"], r["item_id"]): int(r["n"]) for r in tx.rows(query)})
    rights = select(t.contract_items, c.quota).join(t.contracts, c.id == ci.contract_id).where(ci.units.is_not(None))
    wrong = []
    for row in tx.rows(rights):
        units = held[row["contract_id"], row["item_id"]]
        if row["used"] < units or (row["quota"] == "open" and row["used"] != units):
            wrong.append(f"{_named(row)}: {row['used']} are used, its claims hold {units}")
    strange = select(cl.id).join(t.cells, ce.id == cl.cell_id).join(t.contracts, c.id == cl.contract_id)
    passed = and_(c.title_passes == AT_RESERVE, cl.order_id.is_not(None))
    whose = case((passed, c.beneficiary_id), else_=c.owner_id)
    ids = tx.conn.execute(strange.where(ce.owner_id != whose)).scalars()
    return [*wrong, *(f"claim {ident} is on goods its contract is not about" for ident in ids)]


def _owed(tx: Transaction) -> list[str]:
    """Lines of orders of which other units are owed for than left under contracts, or passed, and did not come back."""
    cl, c, s = t.claims.c, t.contracts.c, t.settlement_lines.c
    passed = func.sum(case((and_(c.title_passes == AT_RESERVE, cl.open.is_(True)), cl.backed), else_=0)).label("passed")
    left = select(cl.line_id, func.sum(cl.shipped).label("n"), passed).join(t.contracts, c.id == cl.contract_id)
    under = {row["line_id"]: row for row in tx.rows(left.where(cl.line_id.is_not(None)).group_by(cl.line_id))}
    names = (func.sum(case((s.cause.like("return:%"), 0), else_=s.units)).label("out"), func.sum(s.units).label("n"))
    wrong = []
    owed = {row["line_id"]: row for row in tx.rows(select(s.line_id, *names).group_by(s.line_id))}
    for line in sorted(under.keys() | owed.keys()):
        row, sold = owed.get(line, {"out": 0, "n": 0}), under.get(line, {"n": 0, "passed": 0})
        if int(row["out"]) != int(sold["n"]) + int(sold["passed"]) or int(row["n"]) < int(sold["passed"]):
            left_under = f"{sold['n']} left under contracts and {sold['passed']} passed"
            wrong.append(f"order line {line}: {left_under}, {row['out']} are owed for, {row['n']} net")
    return wrong


def _named(row: Mapping[str, Any]) -> str:
    return f"contract {row['contract_id']}, item {row['item_id']}"
