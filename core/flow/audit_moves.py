"""Transfers and stock-takes held against the journal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from sqlalchemy import and_, case, func, or_, select

from core.flow.audit_causes import last
from core.store import tables as t
from core.store.store import Transaction

Figures = dict[tuple[int, int], dict[str, int]]
"""(transfer id, item id) → units per figure of a line."""
FIGURES = ("departed", "arrived", "lost", "came_back")


def breaches(tx: Transaction) -> list[str]:
    """One sentence per breach."""
    return [*_on_the_way(tx), *_figures(tx), *_claimed(tx), *_counted(tx)]


def _on_the_way(tx: Transaction) -> list[str]:
    """Cells whose transit is not what transfers have on the way to them."""
    tr, li, ce = t.transfers.c, t.transfer_lines.c, t.cells.c
    way = li.departed - li.arrived - li.lost - li.came_back
    sums = func.sum(case((way > 0, way), else_=0)).label("n")
    query = select(tr.to_owner_id, li.item_id, tr.to_id, sums).join(t.transfers, tr.id == li.transfer_id)
    going = query.group_by(tr.to_owner_id, li.item_id, tr.to_id).subquery().c
    same = and_(going.to_owner_id == ce.owner_id, going.item_id == ce.item_id, going.to_id == ce.warehouse_id)
    units = case((ce.condition == "ZP", func.coalesce(going.n, 0)), else_=0)
    found = select(ce.id, ce.transit, units.label("n")).join(going.n.table, same, isouter=True)
    return [
        f"cell {r['id']}: {r['transit']} units in transit, its transfers have {r['n']} on the way"
        f"{last(tx, r['id'], 'transit')}"
        for r in tx.rows(found.where(ce.transit != units))
    ]


def _figures(tx: Transaction) -> list[str]:
    """Lines that say other units moved than the journals do."""
    booked = _booked(tx)
    return [
        f"transfer {line['transfer_id']}, {line['sku']}: {name} is {line[name]}, its journals say {said.get(name, 0)}"
        for line in tx.rows(select(t.transfer_lines))
        for said in [booked.get((line["transfer_id"], line["item_id"]), {})]
        for name in FIGURES
        if line[name] != said.get(name, 0)
    ]


def _booked(tx: Transaction) -> Figures:
    """What the journals of transfers brought anywhere; their keys name the transfer."""
    e, j, ce = t.entries.c, t.journals.c, t.cells.c
    kinds = j.kind.in_(("transfer_out", "transfer_in", "transfer_end"))
    tr = t.transfers.c
    query = (
        select(j.key, j.kind, ce.item_id, ce.owner_id, ce.warehouse_id, e.account, func.sum(e.quantity).label("n"))
        .join(t.journals, j.id == e.journal_id)
        .join(t.cells, ce.id == e.cell_id)
        .where(kinds, e.quantity > 0)
        .group_by(j.key, j.kind, ce.item_id, ce.owner_id, ce.warehouse_id, e.account)
    )
    rows = tx.rows(select(tr.id, tr.to_owner_id, tr.to_id))
    goals = {row["id"]: (row["to_owner_id"], row["to_id"]) for row in rows}
    found: Figures = defaultdict(lambda: dict.fromkeys(FIGURES, 0))
    for row in tx.rows(query):
        transfer = int(row["key"].split(":")[1])
        name = _figure(row)
        if name == "came_back" or (row["owner_id"], row["warehouse_id"]) == goals.get(transfer):
            found[transfer, row["item_id"]][name] += int(row["n"])
    return found


def _figure(row: Mapping[str, Any]) -> str:
    if row["kind"] == "transfer_end":
        return "lost" if row["account"] == "world" else "came_back"
    return "departed" if row["kind"] == "transfer_out" else "arrived"


def _claimed(tx: Transaction) -> list[str]:
    """Lines whose claim does not know what left, or keeps units for a transfer that has ended."""
    c, li, tr = t.claims.c, t.transfer_lines.c, t.transfers.c
    query = select(li.transfer_id, li.sku, li.departed, c.shipped, c.open, tr.state)
    query = query.join(t.claims, c.id == li.claim_id).join(t.transfers, tr.id == li.transfer_id)
    ended = and_(c.open.is_(True), tr.state.in_(("closed", "cancelled")))
    return [
        f"transfer {r['transfer_id']} ({r['state']}), {r['sku']}: {r['departed']} left, its claim says {r['shipped']}"
        f"{' and is open' if r['open'] else ''}"
        for r in tx.rows(query.where(or_(c.shipped != li.departed, ended)))
    ]


def _counted(tx: Transaction) -> list[str]:
    """Stock-takes that are not booked as they say, or booked before anybody agreed."""
    e, j, li, co = t.entries.c, t.journals.c, t.count_lines.c, t.counts.c
    lies = case((e.account != "world", e.quantity), else_=0)
    moved = (
        select(j.cause, e.cell_id, func.sum(lies).label("n"))
        .join(t.journals, j.id == e.journal_id)
        .where(j.kind == "count")
    )
    booked = {(r["cause"], r["cell_id"]): int(r["n"]) for r in tx.rows(moved.group_by(j.cause, e.cell_id))}
    query = select(t.count_lines, co.state).join(t.counts, co.id == li.count_id)
    wrong = []
    for row in tx.rows(query):
        off = row["counted"] - row["expected"] if row["state"] == "booked" else 0
        said = booked.get((f"stock_take:{row['count_id']}", row["cell_id"]), 0)
        if off != said:
            wrong.append(
                f"stock-take {row['count_id']} ({row['state']}): cell {row['cell_id']} is off by {off}, {said} booked"
            )
    return wrong
