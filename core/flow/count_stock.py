"""Stock-takes by persons: counted against the books of that moment, booked at once or once another agrees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import and_, case, func, or_, select, update

from core.errors import Refused, Unfit
from core.flow import keep_promises
from core.flow.tell import Happened, ask_person, settle, tell
from core.rules import posting
from core.store import tables as t
from core.store.ledger import ON_HAND, Cell, CellKey, Entry, Ledger
from core.store.store import Transaction, many, one

TASK = "stock_take"
WAITS = "{ref} differs by {units} units from the books: approve or reject it"
NEWER = "{ref}: a later stock-take of the same cell is booked already: count again"
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Counted:
    """What a person counted. lines: (item id, condition, base units that lie there). by: who says so."""

    owner_id: int
    warehouse_id: int
    ref: str
    counted_at: datetime
    lines: tuple[tuple[int, str, int], ...]
    by: str


class Taken(NamedTuple):
    """Our id of a stock-take that stands. repeated: it was told before."""

    id: int
    repeated: bool = False


def count(tx: Transaction, ledger: Ledger, counted: Counted) -> Taken:
    """Take it: booked where it differs by no more than its owner allows, else it waits; said again, no harm.

    Raises Unfit for a moment to come or a cell named twice, Refused where the ref stands for something else or a
    later stock-take of a cell is booked.
    """
    known = one(tx, t.counts, owner_id=counted.owner_id, ref=counted.ref)
    if known:
        _refuse_other(tx, ledger, known, counted)
        return Taken(known["id"], repeated=True)
    if counted.counted_at > tx.now:
        raise Unfit(f"{counted.ref}: it cannot have been counted at {counted.counted_at.isoformat()}, that is to come")
    units = {CellKey(counted.owner_id, i, counted.warehouse_id, c): n for i, c, n in counted.lines}
    if len(units) != len(counted.lines):
        raise Unfit(f"{counted.ref}: an item in one condition is named twice: add its units up")
    row = _keep(tx, ledger, counted, units)
    merchant = one(tx, t.merchants, id=counted.owner_id)
    assert merchant is not None
    off = sum(abs(line["counted"] - line["expected"]) for line in lines_of(tx, row["id"]))
    if off <= merchant["count_limit"]:
        _book(tx, ledger, row, counted.by)
    else:
        said = WAITS.format(ref=row["ref"], units=off)
        ask_person(tx, TASK, f"{TASK}:{row['id']}", row["owner_id"], said, "approve")
    keep_promises.after_moves(tx, ledger)
    return Taken(row["id"])


def _refuse_other(tx: Transaction, ledger: Ledger, known: Row, counted: Counted) -> None:
    lines = {line["cell_id"]: line["counted"] for line in lines_of(tx, known["id"])}
    keys = {ident: cell.key for ident, cell in ledger.cells_by_id(lines).items() if ident in lines}
    stands = {(keys[i].item_id, keys[i].condition, n) for i, n in lines.items()}
    same = (known["warehouse_id"], known["counted_at"]) == (counted.warehouse_id, counted.counted_at)
    if not same or stands != set(counted.lines):
        raise Refused(f"{counted.ref} stands for another stock-take already: choose another ref")


def _keep(tx: Transaction, ledger: Ledger, counted: Counted, units: Mapping[CellKey, int]) -> Row:
    ledger.open(units)
    row = {
        "id": tx.ids.new(),
        "owner_id": counted.owner_id,
        "warehouse_id": counted.warehouse_id,
        "ref": counted.ref,
        "state": "waiting",
        "counted_at": counted.counted_at,
        "asked_by": counted.by,
        "created_at": tx.now,
    }
    tx.add(t.counts, [row])
    cells = [ledger.cell(key) for key in units]
    _refuse_older(tx, row, [cell.id for cell in cells])
    there = on_hand_at(tx, [cell.id for cell in cells], counted.counted_at)
    found = [(cell.id, units[cell.key]) for cell in cells]
    lines = [
        {"count_id": row["id"], "n": n, "cell_id": ident, "counted": units, "expected": _nearest(there, ident, units)}
        for n, (ident, units) in enumerate(found, 1)
    ]
    tx.add(t.count_lines, lines)
    return row


def lines_of(tx: Transaction, count_id: int) -> list[Row]:
    """Its lines, as they stand."""
    return many(tx, t.count_lines, "count_id", [count_id])


class Between(NamedTuple):
    """The fewest and the most units that may have lain there."""

    least: int
    most: int


def on_hand_at(tx: Transaction, cells: Sequence[int], at: datetime) -> dict[int, Between]:
    """Cell → units the books say lay there then.

    That is what was recorded up to then, and what stock-takes and snapshots of up to then found, whenever that was
    booked. What a snapshot of after then found may have been so already, or not yet.
    """
    e, j = t.entries.c, t.journals.c
    seen = j.kind.in_(("count", "snapshot"))
    then = or_(and_(~seen, j.recorded_at <= at), and_(seen, j.happened_at <= at))
    later = and_(j.kind == "snapshot", j.happened_at > at)
    least = func.sum(case((or_(then, e.quantity < 0), e.quantity), else_=0)).label("least")
    most = func.sum(case((or_(then, e.quantity > 0), e.quantity), else_=0)).label("most")
    query = select(e.cell_id, least, most).join(t.journals, j.id == e.journal_id)
    mine = query.where(e.cell_id.in_(list(cells)), e.account.in_(ON_HAND), or_(then, later))
    return {r["cell_id"]: Between(int(r["least"]), int(r["most"])) for r in tx.rows(mine.group_by(e.cell_id))}


def _nearest(there: Mapping[int, Between], cell_id: int, counted: int) -> int:
    """Of what may have lain there, what is nearest to what was counted."""
    least, most = there.get(cell_id, Between(0, 0))
    return min(max(counted, least), most)


def _refuse_older(tx: Transaction, row: Row, cells: Sequence[int]) -> None:
    """What a later stock-take found would be found once more."""
    li, co = t.count_lines.c, t.counts.c
    later = (
        select(co.id)
        .join(t.count_lines, li.count_id == co.id)
        .where(li.cell_id.in_(list(cells)), co.state == "booked", co.counted_at > row["counted_at"])
    )
    if tx.row(later.limit(1)):
        raise Refused(NEWER.format(**row))


def approve(tx: Transaction, ledger: Ledger, row: Row, by: str) -> None:
    """Book it, against the books of its moment as they are known now; once more does no harm.

    Raises Refused where it was rejected, or a later stock-take of a cell is booked.
    """
    if row["state"] == "rejected":
        raise Refused(f"{row['ref']} was rejected: count again")
    if row["state"] == "waiting":
        lines = lines_of(tx, row["id"])
        _refuse_older(tx, row, [line["cell_id"] for line in lines])
        _expect_anew(tx, row, lines)
        _book(tx, ledger, row, by)
        keep_promises.after_moves(tx, ledger)


def _expect_anew(tx: Transaction, row: Row, lines: Sequence[Row]) -> None:
    there = on_hand_at(tx, [line["cell_id"] for line in lines], row["counted_at"])
    li = t.count_lines.c
    for line in lines:
        mine = (li.count_id == row["id"]) & (li.n == line["n"])
        tx.conn.execute(
            update(t.count_lines).where(mine).values(expected=_nearest(there, line["cell_id"], line["counted"]))
        )


def _book(tx: Transaction, ledger: Ledger, row: Row, by: str) -> None:
    lines = lines_of(tx, row["id"])
    cells = ledger.cells_by_id(line["cell_id"] for line in lines)
    entries = [e for li in lines for e in difference(cells[li["cell_id"]], li["counted"] - li["expected"])]
    ledger.book(f"count:{row['id']}", "count", f"stock_take:{row['id']}", entries, row["counted_at"])
    _decide(tx, row, "booked", by)


def difference(cell: Cell, units: int) -> list[Entry]:
    """The entries of so many units that lie there beyond the books, or (below zero) that the books have too many."""
    balance = getattr(cell, cell.account)
    moves = posting.count(units, account=cell.account, balance=balance, suspense=cell.suspense)
    return [Entry(cell, account, n) for account, n in moves]


def reject(tx: Transaction, row: Row, reason: str, by: str) -> None:
    """Nothing of it is booked; once more does no harm. Raises Refused where it is booked already."""
    if row["state"] == "booked":
        raise Refused(f"{row['ref']} is booked already: count again, and what differs is booked the other way")
    if row["state"] == "waiting":
        _decide(tx, row, "rejected", by, reason)


def _decide(tx: Transaction, row: Row, state: str, by: str, reason: str | None = None) -> None:
    tx.set(t.counts, row["id"], state=state, decided_by=by, decided_at=tx.now, reason=reason)
    settle(tx, f"stock_take:{row['id']}")
    ids, subject = {"stock_take": row["id"]}, f"stock_take:{row['id']}"
    tell(tx, [Happened(f"stock_take.{state}", row["owner_id"], ids, subject, {}, {"ref": row["ref"], "by": by})])
