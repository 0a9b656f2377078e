"""What left and what arrived of a transfer, as a warehouse or a person says: facts, booked at once, in full.

An arrival that is heard before its departure comes from the world; the departure then goes there. So it makes no
difference in which order the two are heard.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, String, cast, func, literal, select

from core.errors import Refused, Unmatched, YipanError
from core.flow import reserve_stock
from core.flow.hear import Spoken
from core.flow.tell import ask_person
from core.flow.transfer_stock import ENDED, ended, happened, lines_of, note_line, on_the_way, open_claims
from core.model import Confirm, Progress, Receipt
from core.rules import posting
from core.store import tables as t
from core.store.ledger import Cell, CellKey, Entry, Ledger, standing
from core.store.store import Transaction, one

LATE = "{number} had ended, and goods left all the same: see that they are received, or sent back"
MISSING = "{number}: {units} units left and did not arrive: find out, then close it"
SURPLUS = "{number}: more arrived than was on the way: have both warehouses counted"
STANDS_STILL = "{number}: a warehouse says {code}: find out, then call it off or close it"
STOPPED = ("cancelled", "exception")
IN = "transfer-in:"
"""How the keys of arrivals begin."""
Row = Mapping[str, Any]
Units = dict[tuple[int, str], int]
"""(item id, condition) → base units."""


class Told(NamedTuple):
    """Increments that were said to have moved. key: the business key of what was said; final: nothing more will."""

    key: str
    cause: str
    units: Units
    final: bool = False
    happened_at: datetime | None = None


def departure_told(tx: Transaction, ledger: Ledger, spoken: Spoken, confirm: Confirm) -> YipanError | None:
    """Book what a warehouse confirms to have left for a transfer, or say why it cannot be understood."""
    row = _of_warehouse(tx, confirm.fulfilment, "from_id", spoken.connection_id)
    if row is None:
        return Unmatched("fulfilment", confirm.fulfilment)
    return _heard(tx, ledger, spoken, confirm, row, out_key, depart)


def arrival_told(tx: Transaction, ledger: Ledger, spoken: Spoken, receipt: Receipt) -> YipanError | None:
    """Book what a warehouse confirms to have received of a transfer, or say why it cannot be understood."""
    row = _of_warehouse(tx, receipt.asn, "to_id", spoken.connection_id)
    if row is None:
        return Unmatched("asn", receipt.asn)
    return _heard(tx, ledger, spoken, receipt, row, in_key, arrive)


def _heard(
    tx: Transaction,
    ledger: Ledger,
    spoken: Spoken,
    noun: Confirm | Receipt,
    row: Row,
    key: Callable[[Row, str], str],
    book: Callable[[Transaction, Ledger, Row, Told], None],
) -> YipanError | None:
    message = f"{spoken.connection_id}:{noun.event_id or 'only'}"
    try:
        units = _units(tx, row, [(line.sku, line.condition, line.quantity) for line in noun.lines])
        book(tx, ledger, row, Told(key(row, message), f"inbox:{spoken.inbox_id}", units, noun.final, noun.happened_at))
    except (Refused, Unmatched) as error:
        return error
    return None


def progress_told(tx: Transaction, spoken: Spoken, progress: Progress) -> YipanError | None:
    """A step inside a warehouse moves nothing; where it will not go on, a person is asked."""
    sides = ("from_id", "to_id")
    row = next((r for s in sides if (r := _of_warehouse(tx, progress.fulfilment, s, spoken.connection_id))), None)
    if row is None:
        return Unmatched("fulfilment", progress.fulfilment)
    if progress.stage in STOPPED and row["state"] not in ENDED:
        said = STANDS_STILL.format(number=row["number"], code=progress.code)
        ask_person(tx, "transfer.stopped", f"transfer:{row['id']}", row["owner_id"], said)
    return None


def out_key(row: Row, message: str) -> str:
    """The business key of a departure. message: who said it, and their number of it."""
    return f"transfer-out:{row['id']}:{message}"


def in_key(row: Row, message: str) -> str:
    """The business key of an arrival. message: who said it, and their number of it."""
    return f"{IN}{row['id']}:{message}"


def arrivals(journal_key: ColumnElement[str], transfer_id: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether a journal is of goods that arrived by this transfer."""
    return journal_key.startswith(literal(IN) + cast(transfer_id, String) + ":")


def named_by(tx: Transaction, number: str, connection_id: int) -> bool:
    """Whether this is our number of a transfer that a warehouse of this connection makes or gets."""
    return any(_of_warehouse(tx, number, side, connection_id) for side in ("from_id", "to_id"))


def _of_warehouse(tx: Transaction, number: str, side: str, connection_id: int) -> Row | None:
    tr, w = t.transfers, t.warehouses
    query = select(tr).join(w, w.c.id == tr.c[side]).where(tr.c.number == number, w.c.wms_id == connection_id)
    return tx.row(query)


def _units(tx: Transaction, row: Row, told: Sequence[tuple[str, str, int]]) -> Units:
    """Raises Unmatched for a SKU the transfer does not have."""
    items = {line["sku"]: line["item_id"] for line in lines_of(tx, row["id"])}
    units: Units = {}
    for sku, condition, n in told:
        if sku not in items:
            raise Unmatched("item", sku, f"{sku!r} is not on {row['number']}: settle with the warehouse, then replay")
        units[items[sku], condition] = units.get((items[sku], condition), 0) + n
    return units


def depart(tx: Transaction, ledger: Ledger, row: Row, told: Told) -> None:
    """Goods left: the claim's backed units, then free, then suspense. Said again it is absorbed.

    Raises Refused where the same key said something else.
    """
    if _repeated(tx, ledger, row, told.key, _whatever_condition(told.units)):
        return
    lines = {line["item_id"]: line for line in lines_of(tx, row["id"])}
    entries: list[Entry] = []
    early = {item: max(0, -on_the_way(line)) for item, line in lines.items()}
    for (item, condition), n in told.units.items():
        entries += _leave(tx, ledger, row, lines[item], condition, n, early[item], entries)
        early[item] = max(0, early[item] - n)
        note_line(tx, lines[item], departed=n)
    ledger.book(told.key, "transfer_out", told.cause, entries, told.happened_at)
    if told.final:
        reserve_stock.give_back(tx, ledger, open_claims(tx, row))
    ledger.flush()
    late = row["state"] in ENDED and any(told.units.values())
    _follow(tx, row, "transfer.departed", told)
    _ask_after(tx, row)
    if late:
        ask_person(tx, "transfer.left_late", f"transfer:{row['id']}", row["owner_id"], LATE.format(**row))


def _leave(
    tx: Transaction,
    ledger: Ledger,
    row: Row,
    line: Row,
    condition: str,
    units: int,
    early: int,
    before: Sequence[Entry],
) -> list[Entry]:
    """early: units that had arrived before they were said to leave; they came from the world, and now go there.

    before: entries of the same journal.
    """
    good = ledger.cell(CellKey(row["owner_id"], line["item_id"], row["from_id"]))
    awaited = ledger.cell(CellKey(row["to_owner_id"], line["item_id"], row["to_id"]))
    claim = one(tx, t.claims, id=line["claim_id"])
    assert claim is not None
    left = _out_of(ledger, good, condition, units, claim["backed"], before)
    taken = -sum(e.quantity for e in left if e.account == "reserved")
    shipped = claim["shipped"] + units
    asked = max(claim["asked"], shipped)
    open_ = claim["open"] and shipped < asked
    tx.set(t.claims, claim["id"], backed=claim["backed"] - taken, shipped=shipped, asked=asked, open=open_)
    arrived = min(units, early)
    return [*left, Entry(awaited, "transit", units - arrived), Entry(awaited, "world", arrived)]


def _out_of(
    ledger: Ledger, good: Cell, condition: str, units: int, backed: int, before: Sequence[Entry]
) -> list[Entry]:
    """What leaves; where goods in another condition went instead of the good ones, those that were kept come free."""
    if condition == "ZP":
        moves = posting.outflow(units, backed=backed, free=standing(good, "free", before))
        return [Entry(good, account, n) for account, n in moves if account != "world"]
    other = ledger.cell(good.key._replace(condition=condition))
    freed = posting.inflow(min(units, backed), suspense=standing(good, "suspense", before), source="reserved")
    went = posting.outflow(units, backed=0, free=standing(other, "held", before))
    gone = [Entry(other, "held" if account == "free" else account, n) for account, n in went if account != "world"]
    return [*(Entry(good, account, n) for account, n in freed), *gone]


def _whatever_condition(units: Units) -> Units:
    """The same units as they are awaited: as good ones."""
    good: Units = {}
    for (item, _), n in units.items():
        good[item, "ZP"] = good.get((item, "ZP"), 0) + n
    return good


def arrive(tx: Transaction, ledger: Ledger, row: Row, told: Told) -> None:
    """Goods arrived: from what is on the way, and what is beyond that from the world. Said again it is absorbed.

    Raises Refused where the same key said something else.
    """
    if _repeated(tx, ledger, row, told.key, told.units):
        return
    lines = {line["item_id"]: line for line in lines_of(tx, row["id"])}
    entries: list[Entry] = []
    way = {item: max(0, on_the_way(line)) for item, line in lines.items()}
    for (item, condition), n in told.units.items():
        entries += _come(ledger, row, item, condition, n, way[item])
        way[item] = max(0, way[item] - n)
        note_line(tx, lines[item], arrived=n)
    ledger.book(told.key, "transfer_in", told.cause, entries, told.happened_at)
    ledger.flush()
    _follow(tx, row, "transfer.arrived", told)
    _ask_after(tx, row, told.final)


def _come(ledger: Ledger, row: Row, item_id: int, condition: str, units: int, on_way: int) -> list[Entry]:
    good = ledger.cell(CellKey(row["to_owner_id"], item_id, row["to_id"]))
    cell = ledger.cell(CellKey(row["to_owner_id"], item_id, row["to_id"], condition))
    moves = posting.receipt(units, announced=on_way, suspense=cell.suspense, to=cell.account)
    return [Entry(good, "transit", n) if account == "inbound" else Entry(cell, account, n) for account, n in moves]


def _ask_after(tx: Transaction, row: Row, final: bool = False) -> None:
    """A person is asked after units that will not arrive any more, and those that are not said to have left.

    final: nothing more will arrive.
    """
    ways = [on_the_way(line) for line in lines_of(tx, row["id"])]
    missing = sum(n for n in ways if n > 0)
    if final and missing:
        said = MISSING.format(number=row["number"], units=missing)
        ask_person(tx, "transfer.missing", f"transfer:{row['id']}", row["owner_id"], said)
    if min(ways) < 0 and not open_claims(tx, row):
        ask_person(tx, "transfer.surplus", f"transfer:{row['id']}", row["owner_id"], SURPLUS.format(**row))


def _follow(tx: Transaction, row: Row, type_: str, told: Told) -> None:
    """The transfer's state follows from what moved."""
    happened(tx, row, type_, units=sum(told.units.values()), final=told.final)
    going = any(on_the_way(line) > 0 for line in lines_of(tx, row["id"])) or open_claims(tx, row)
    if going:
        tx.set(t.transfers, row["id"], state="under_way")
    elif row["state"] != "closed":
        ended(tx, row)


def _repeated(tx: Transaction, ledger: Ledger, row: Row, key: str, units: Units) -> bool:
    """Whether it was booked before. Raises Refused where that was something else."""
    if not ledger.known([key]):
        return False
    if {what: n for what, n in units.items() if n} != _booked(tx, key, row):
        raise Refused("the same number told of other units before: settle with who said it, then choose another number")
    tx.tally("duplicates_absorbed")
    return True


def _booked(tx: Transaction, key: str, row: Row) -> Units:
    """What the journal of this key brought to where goods come; a departure brings them as good ones."""
    e, j, ce = t.entries.c, t.journals.c, t.cells.c
    query = select(ce.item_id, ce.condition, func.sum(e.quantity).label("n")).join(t.cells, ce.id == e.cell_id)
    there = (ce.owner_id == row["to_owner_id"]) & (ce.warehouse_id == row["to_id"])
    mine = query.join(t.journals, j.id == e.journal_id).where(j.key == key, e.quantity > 0, there)
    return {(r["item_id"], r["condition"]): int(r["n"]) for r in tx.rows(mine.group_by(ce.item_id, ce.condition))}
