"""Goods that change their owner where they lie: one balanced journal, whole or not at all.

Where the warehouse keeps the two owners' goods apart (another keeper code), it is told to carry them over instead, and
they are on the way until it has confirmed both sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from core.errors import OutOfStock, Refused, Unfit, YipanError
from core.flow import keep_promises, pick_lots, transfer_stock
from core.flow.reserve_stock import UNITS_MAX
from core.flow.tell import Happened, tell
from core.flow.transfer_stock import Transfer
from core.model.stock import Condition
from core.rules.posting import inflow
from core.store import tables as t
from core.store.ledger import Cell, CellKey, Entry, Ledger, LotMove
from core.store.store import Transaction, many, one

Row = Mapping[str, Any]
Goods = tuple[int, Condition]
NO_CODE = "{ref}: {who} has no keeper code in {where}: give it one there; the same code as the other's books at once"
APART = (
    "{ref}: {where} keeps the two owners' goods apart, and is told to carry over good units only: regrade them first"
)


@dataclass(frozen=True, slots=True)
class TransferTitle:
    """These units, (item id, condition, base units) each, are somebody else's from now on. ref: the asker's own number.

    unback: promises on them are taken back first where the free ones do not suffice, newest first.
    """

    owner_id: int
    to_owner_id: int
    warehouse_id: int
    ref: str
    lines: tuple[tuple[int, Condition, int], ...]
    who: str
    unback: bool = False

    @property
    def units(self) -> dict[Goods, int]:
        """(item, condition) → base units, in the order they are first named."""
        found: dict[Goods, int] = {}
        for item, condition, n in self.lines:
            found[item, condition] = found.get((item, condition), 0) + n
        return found


class Passed(NamedTuple):
    """A title transfer that stands. transfer_id: what the warehouse is told; repeated: it was asked for before."""

    id: int
    ref: str
    transfer_id: int | None
    repeated: bool = False


Answer = Passed | YipanError


def transfer_title(tx: Transaction, ledger: Ledger, commands: Sequence[TransferTitle]) -> list[Answer]:
    """Decide these in order; the title transfer each, or Unfit, Refused, or OutOfStock that says what is free.

    A refused one leaves no trace.
    """
    answers = [_transfer(tx, ledger, command) for command in commands]
    keep_promises.after_moves(tx, ledger)
    return answers


def _transfer(tx: Transaction, ledger: Ledger, command: TransferTitle) -> Answer:
    known = one(tx, t.title_transfers, owner_id=command.owner_id, ref=command.ref)
    if known:
        return _repeated(tx, known, command)
    codes = {row["owner_id"]: row["code"] for row in many(tx, t.keepers, "warehouse_id", [command.warehouse_id])}
    fault = _fault(tx, command, codes)
    if fault:
        return fault
    if codes[command.owner_id] != codes[command.to_owner_id]:
        return _instruct(tx, ledger, command)
    return _short(tx, ledger, command) or _book(tx, ledger, command)


def _repeated(tx: Transaction, known: Row, command: TransferTitle) -> Answer:
    lines = {(li["item_id"], li["condition"]): li["units"] for li in many(tx, t.title_lines, "title_id", [known["id"]])}
    same = (known["to_owner_id"], known["warehouse_id"], lines) == (
        command.to_owner_id,
        command.warehouse_id,
        command.units,
    )
    stands = Passed(known["id"], known["ref"], known["transfer_id"], repeated=True)
    return stands if same else Refused(f"{command.ref} stands for another title transfer already: choose another ref")


def _fault(tx: Transaction, command: TransferTitle, codes: Mapping[int, str]) -> YipanError | None:
    ref = command.ref
    if not command.lines or any(type(n) is not int or not 0 < n <= UNITS_MAX for *_, n in command.lines):
        return Unfit(f"{ref}: every quantity must be a whole number from 1 to {UNITS_MAX}")
    if command.owner_id == command.to_owner_id:
        return Refused(f"{ref}: they are that owner's already: name another one")
    without = next((owner for owner in (command.owner_id, command.to_owner_id) if owner not in codes), None)
    if without is not None:
        who, where = one(tx, t.merchants, id=without), one(tx, t.warehouses, id=command.warehouse_id)
        return Refused(NO_CODE.format(ref=ref, who=who and who["code"], where=where and where["code"]))
    return None


def _short(tx: Transaction, ledger: Ledger, command: TransferTitle) -> OutOfStock | None:
    """What lacks of free units, once promises were given up where that is wanted and is enough."""
    cells = {goods: ledger.cell(_key(command.owner_id, command, goods)) for goods in command.units}
    lacking = {goods: n - there for goods, n in command.units.items() if (there := _balance(cells[goods])) < n}
    promised = {goods: keep_promises.may_give_up(tx, cells[goods]) if command.unback else 0 for goods in lacking}
    missing = tuple(
        (goods[0], command.units[goods], _there(cells[goods])) for goods in lacking if promised[goods] < lacking[goods]
    )
    if missing:
        words = ", ".join(f"{n} of item {item} where {there} are free" for item, n, there in missing)
        return OutOfStock(f"{command.ref}: {words}: ask for less, or have promises taken back (unback)", missing)
    for goods, n in lacking.items():
        keep_promises.give_up(tx, ledger, cells[goods], n, "free")
    return None


def _balance(cell: Cell) -> int:
    """Units that nothing is promised of, less what is missing."""
    return int(getattr(cell, cell.account)) + min(0, cell.suspense)


def _there(cell: Cell) -> int:
    return max(0, _balance(cell))


def _book(tx: Transaction, ledger: Ledger, command: TransferTitle) -> Passed:
    row = _row(tx, command)
    entries: list[Entry] = []
    named: list[LotMove] = []
    for goods, units in command.units.items():
        ours, theirs = (ledger.cell(_key(who, command, goods)) for who in (command.owner_id, command.to_owner_id))
        moves = inflow(units, suspense=theirs.suspense, source=ours.account, to=theirs.account)
        entries += [Entry(ours if n < 0 else theirs, account, n) for account, n in moves]
        lots = pick_lots.soonest(tx, ours, units)
        named += [LotMove(cell, lot, sign * n) for cell, sign in ((ours, -1), (theirs, 1)) for lot, n in lots]
    ledger.book(f"title:{row['id']}", "title", f"title_transfer:{row['id']}", entries, named=named)
    ledger.flush()
    return _keep(tx, command, row)


def _instruct(tx: Transaction, ledger: Ledger, command: TransferTitle) -> Answer:
    """The warehouse is told to carry them from one keeper code to the other."""
    if any(condition != "ZP" for _, condition in command.units):
        where = one(tx, t.warehouses, id=command.warehouse_id)
        return Refused(APART.format(ref=command.ref, where=where and where["code"]))
    lines = tuple((item, n) for (item, _), n in command.units.items())
    place = command.warehouse_id
    asked = Transfer(command.owner_id, f"title/{command.ref}", place, place, lines, command.to_owner_id)
    if one(tx, t.transfers, owner_id=command.owner_id, ref=asked.ref):
        return Refused(f"{asked.ref} stands for another transfer already: choose another ref")
    if short := _short(tx, ledger, command):
        return short
    (answer,) = transfer_stock.transfer(tx, ledger, [asked])
    if isinstance(answer, YipanError):
        return answer
    return _keep(tx, command, {**_row(tx, command), "transfer_id": answer.id})


def _row(tx: Transaction, command: TransferTitle) -> dict[str, Any]:
    places = {name: getattr(command, name) for name in ("owner_id", "to_owner_id", "warehouse_id", "ref", "who")}
    return {"id": tx.ids.new(), **places, "transfer_id": None, "created_at": tx.now}


def _keep(tx: Transaction, command: TransferTitle, row: Row) -> Passed:
    tx.add(t.title_transfers, [row])
    tx.add(
        t.title_lines,
        [
            {"title_id": row["id"], "n": n, "item_id": item, "condition": condition, "units": units}
            for n, ((item, condition), units) in enumerate(command.units.items(), 1)
        ],
    )
    ids, subject = {"title_transfer": row["id"]}, f"title_transfer:{row['id']}"
    for merchant in (command.owner_id, command.to_owner_id):
        tell(tx, [Happened("goods.title_passed", merchant, ids, subject, {}, {"ref": row["ref"]})])
    return Passed(row["id"], row["ref"], row["transfer_id"])


def _key(owner_id: int, command: TransferTitle, goods: Goods) -> CellKey:
    return CellKey(owner_id, goods[0], command.warehouse_id, goods[1])
