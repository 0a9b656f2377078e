"""Orders of a shop take what locks keep for it first, and what they give back returns there while the lock is open.

The units stay reserved all the while: the lock's claim shrinks, the order's begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, func, select, update

from core.rules.decide import Part, Want, together
from core.store import tables as t
from core.store.claims import missing, of_order
from core.store.ledger import Cell, Entry, Ledger
from core.store.locks import Kept, open_locks
from core.store.pools import pools
from core.store.rows import add_up
from core.store.store import Transaction, many, one

if TYPE_CHECKING:
    from core.flow.take_order import Draft

Row = Mapping[str, Any]


def draw(tx: Transaction, ledger: Ledger, drafts: Sequence[Draft]) -> None:
    """Give orders what is kept for their shops: their claims on it, not written yet, and what they want less by it."""
    items = {want.item_id for d in drafts for want in d.wants}
    kept = open_locks(tx, {d.row["connection_id"] for d in drafts}, items)
    sold_from = pools(tx, {k.connection_id for k in kept})
    for draft in drafts if kept else ():
        _draw(tx, ledger, draft, kept, sold_from.get(draft.row["connection_id"], []))


def _draw(tx: Transaction, ledger: Ledger, draft: Draft, kept: Sequence[Kept], pool: Sequence[int]) -> None:
    """pool: the warehouses of its shop, first choice first. A kit is drawn where all its parts are kept.

    Who wants units of one lot draws nothing: a lock does not know its lots.
    """
    left = [want for want in draft.wants if want.lot]
    for wants in together([want for want in draft.wants if not want.lot]):
        missing = wants[0].quantity // (wants[0].per_kit or 1)
        for warehouse in pool:
            mine = [(w, _serving(kept, draft.row, draft.lines[w.line], w.item_id, warehouse)) for w in wants]
            there = (sum(_there(ledger, k) for k in some) // (w.per_kit or 1) for w, some in mine)
            whole = min(missing, *there)
            draft.drawn += [claim for w, some in mine for claim in _drawn_from(tx, ledger, draft, w, some, whole)]
            missing -= whole
        left += [w._replace(quantity=missing * (w.per_kit or 1)) for w in wants] if missing else []
    draft.wants = left
    draft.claims += draft.drawn


def _drawn_from(
    tx: Transaction, ledger: Ledger, draft: Draft, want: Want, kept: Sequence[Kept], whole: int
) -> list[dict[str, Any]]:
    """The claim on what so many kits, or units of what is no kit, need of this; kept: all in one cell."""
    units = rest = whole * (want.per_kit or 1)
    for some in kept:
        rest -= _take(tx, ledger, draft.row["id"], want.line, some, rest)
    if not units:
        return []
    part = Part(want.line, want.owner_id, want.item_id, kept[0].warehouse_id, units, units, want.per_kit)
    return [of_order(tx, draft.row["id"], kept[0].cell_id, part, soft=not draft.row["may_ship"])]


def joins(drawn: Sequence[dict[str, Any]], claim: Row) -> bool:
    """Whether the line drew from that cell already: then that claim asks for this too, and the warehouse hears once."""
    place = (claim["line_id"], claim["cell_id"])
    same = next((d for d in drawn if (d["line_id"], d["cell_id"]) == place and not claim["contract_id"]), None)
    if same:
        same |= {"asked": same["asked"] + claim["asked"], "backed": same["backed"] + claim["backed"]}
    return same is not None


def top_up(
    tx: Transaction, ledger: Ledger, claims: Sequence[Row], kept: Sequence[Kept]
) -> tuple[int, list[dict[str, Any]]]:
    """Back short claims of one order from what is kept for it where they are; the units, and the claims as they stand.

    Parts of kits, claims on other owners' goods, and those on one lot alone are left to others.
    """
    after = [dict(claim) for claim in claims]
    mine = [k for k in kept if k.connection_id == claims[0]["connection_id"]]
    if not mine:
        return 0, after
    order = one(tx, t.orders, id=claims[0]["order_id"])
    assert order is not None
    lines = {row["id"]: row for row in many(tx, t.order_lines, "id", [c["line_id"] for c in claims])}
    for claim in (c for c in after if c["part_id"] is None and c["contract_id"] is None and not c["lot"]):
        place = ledger.cells_by_id([claim["cell_id"]])[claim["cell_id"]].key
        for some in _serving(mine, order, lines[claim["line_id"]], place.item_id, place.warehouse_id):
            claim["backed"] += _take(tx, ledger, order["id"], claim["line_id"], some, missing(claim))
        tx.set(t.claims, claim["id"], backed=claim["backed"])
    return sum(c["backed"] for c in after) - sum(c["backed"] for c in claims), after


def _serving(kept: Iterable[Kept], order: Row, line: Row, item_id: int, warehouse_id: int) -> list[Kept]:
    its = (order["connection_id"], item_id, warehouse_id)
    there = (k for k in kept if (k.connection_id, k.item_id, k.warehouse_id) == its)
    return [k for k in there if k.serves(line["listing_id"], order["placed_at"])]


def _there(ledger: Ledger, some: Kept) -> int:
    """Units of a lock that may be drawn: those that are missing of the cell are missing of it."""
    cell = ledger.cells_by_id([some.cell_id])[some.cell_id]
    return max(0, some.units + min(0, cell.free + cell.suspense))


def _take(tx: Transaction, ledger: Ledger, order_id: int, line_id: int, some: Kept, wanted: int) -> int:
    """Units of a lock that are an order line's from now on: of `wanted`, those that are there."""
    units = min(wanted, _there(ledger, some))
    if units <= 0:
        return 0
    some.units -= units
    _change(tx, some.claim_id, -units)
    key = {"line_id": line_id, "cell_id": some.cell_id, "lock_id": some.lock_id}
    add_up(tx.conn, t.lock_draws, "units", (key, units))
    cell = ledger.cells_by_id([some.cell_id])[some.cell_id]
    ledger.book(f"draw:{tx.ids.new()}", "draw", f"order:{order_id}", _passed(cell, units))
    return units


def put_back(tx: Transaction, ledger: Ledger, claim: Row, units: int) -> int:
    """Of units an order's claim gives back, those that return to the open locks they were drawn from.

    What another owner lent was drawn from none.
    """
    d = t.lock_draws.c
    mine = (d.line_id == claim["line_id"]) & (d.cell_id == claim["cell_id"])
    rows = tx.rows(_drawn().where(mine, d.units > 0)) if units > 0 and not claim["contract_id"] else []
    rest = units
    for row in rows:
        given = min(rest, row["units"])
        _return(tx, ledger, row, given, claim["order_id"], "reserved")
        rest -= given
    return units - rest


def leave(tx: Transaction, ledger: Ledger, order_id: int) -> None:
    """The order moved to other warehouses: what it drew and holds no more returns to the open locks, if it is free."""
    d, c, o = t.lock_draws.c, t.claims.c, t.order_lines.c
    its = (c.line_id == d.line_id, c.cell_id == d.cell_id, c.contract_id.is_(None))
    held = select(func.coalesce(func.sum(c.backed + c.shipped), 0)).where(*its).scalar_subquery()
    query = _drawn().add_columns((d.units - held).label("left")).join(t.order_lines, o.id == d.line_id)
    for row in tx.rows(query.where(o.order_id == order_id, d.units > held)):
        cell = ledger.cells_by_id([row["cell_id"]])[row["cell_id"]]
        _return(tx, ledger, row, min(int(row["left"]), cell.promisable), order_id, "free")


def _drawn() -> Select[Any]:
    """What was drawn from locks that are open, each with the lock's claim."""
    d, li, lo = t.lock_draws.c, t.lock_lines.c, t.locks.c
    query = select(t.lock_draws, li.claim_id).join(t.locks, lo.id == d.lock_id)
    query = query.join(t.lock_lines, (li.lock_id == d.lock_id) & (li.cell_id == d.cell_id))
    return query.where(lo.ended_at.is_(None)).order_by(d.lock_id)


def _return(tx: Transaction, ledger: Ledger, drawn: Row, units: int, order_id: int, account: str) -> None:
    """Units of a draw are the lock's again, out of this account; whoever waits for them is looked at."""
    if units <= 0:
        return
    d = t.lock_draws.c
    mine = (d.line_id == drawn["line_id"]) & (d.cell_id == drawn["cell_id"]) & (d.lock_id == drawn["lock_id"])
    tx.conn.execute(update(t.lock_draws).where(mine).values(units=d.units - units))
    _change(tx, drawn["claim_id"], units)
    cell = ledger.cells_by_id([drawn["cell_id"]])[drawn["cell_id"]]
    ledger.book(f"put-back:{tx.ids.new()}", "put_back", f"order:{order_id}", _passed(cell, units, account))
    ledger.risen.add(cell.key.item_id)


def _passed(cell: Cell, units: int, account: str = "reserved") -> list[Entry]:
    """Into another claim; what was reserved stays so, and the cell's shops are told anew all the same."""
    return [Entry(cell, account, -units), Entry(cell, "reserved", units)]


def _change(tx: Transaction, claim_id: int, units: int) -> None:
    c = t.claims.c
    tx.conn.execute(update(t.claims).where(c.id == claim_id).values(asked=c.asked + units, backed=c.backed + units))
