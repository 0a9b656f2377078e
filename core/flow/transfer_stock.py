"""Goods of one owner that shall move to another of its warehouses: accepted whole or refused, told, called off, closed.

What leaves and arrives is booked by `carry_transfer`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from core.errors import Refused, Unfit, YipanError
from core.flow import keep_promises, reserve_stock
from core.flow.reserve_stock import Confirm, Reserve, Subject
from core.flow.tell import Happened, ask_person, settle, tell
from core.model import Asn, AsnLine, Cancellation, Stockout
from core.rules.decide import Want
from core.rules.posting import inflow
from core.store import tables as t
from core.store.ledger import CellKey, Entry, Ledger
from core.store.store import Transaction, many, one

KIND = "transfer"
ENDED = ("closed", "cancelled")
LEAVES, COMES, OFF = "transfer.accepted", "transfer.announced", "transfer.cancelled"
BY_HAND = {
    LEAVES: "{number} leaves {warehouse}, which is on no connection: tell it by hand, then book what it says",
    COMES: "{number} comes to {warehouse}, which is on no connection: tell it by hand, then book what it says",
    OFF: "{number} was called off, and {warehouse} is on no connection: see that it does not go on with it",
}
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Transfer:
    """Move these units, (item id, base units) each, whole or not at all. ref: the asker's own number of it.

    to_owner_id: whose they are once they have left; None: they stay the owner's.
    """

    owner_id: int
    ref: str
    from_id: int
    to_id: int
    lines: tuple[tuple[int, int], ...]
    to_owner_id: int | None = None

    @property
    def goal(self) -> tuple[int, int]:
        """(owner, warehouse) they go to."""
        return self.to_owner_id or self.owner_id, self.to_id


class Accepted(NamedTuple):
    """Our id of a transfer that stands. repeated: it was asked for before."""

    id: int
    repeated: bool = False


class Fate(NamedTuple):
    """What became of units that are on the way: lost for good, or back where they had left. Base units."""

    lost: int = 0
    came_back: int = 0


Answer = Accepted | YipanError


def transfer(tx: Transaction, ledger: Ledger, commands: Sequence[Transfer]) -> list[Answer]:
    """Decide these in order; a refused one leaves no trace.

    Answers Unfit (not a number of units), OutOfStock, or Refused (this ref stands for something else, same warehouse
    twice, no keeper code).
    """
    answers = [_ask(tx, ledger, command) for command in commands]
    keep_promises.after_moves(tx, ledger)
    return answers


def _ask(tx: Transaction, ledger: Ledger, command: Transfer) -> Answer:
    known = one(tx, t.transfers, owner_id=command.owner_id, ref=command.ref)
    if known:
        return _repeated(tx, known, command)
    fault = _fault(tx, command)
    if fault:
        return fault
    subject = Subject(command.owner_id, KIND, command.ref)
    wants = (Want(n, command.owner_id, item, units) for n, (item, units) in enumerate(_summed(command)))
    (kept,) = reserve_stock.reserve(tx, ledger, [Reserve(subject, tuple(wants), (command.from_id,))])
    if isinstance(kept, YipanError):
        return kept
    reserve_stock.confirm(tx, ledger, [Confirm(subject)])
    return Accepted(_keep(tx, ledger, command))


def _fault(tx: Transaction, command: Transfer) -> YipanError | None:
    if any(type(units) is not int or units < 1 for _, units in command.lines):
        return Unfit(f"{command.ref}: every quantity must be a whole number from 1")
    if command.goal == (command.owner_id, command.from_id):
        return Refused(f"{command.ref}: goods cannot move to where they are: name two warehouses")
    owners = sorted({command.owner_id, command.goal[0]})
    known = {(row["owner_id"], row["warehouse_id"]) for row in many(tx, t.keepers, "owner_id", owners)}
    if not {(command.owner_id, command.from_id), command.goal} <= known:
        return Refused(f"{command.ref}: both warehouses need a keeper code for that owner: add it first")
    return None


def _summed(command: Transfer) -> list[tuple[int, int]]:
    """Base units per item, in the order the items are first named."""
    units: dict[int, int] = {}
    for item, n in command.lines:
        units[item] = units.get(item, 0) + n
    return list(units.items())


def _repeated(tx: Transaction, known: Row, command: Transfer) -> Answer:
    lines = {line["item_id"]: line["quantity"] for line in lines_of(tx, known["id"])}
    stands = (known["from_id"], (known["to_owner_id"], known["to_id"]), lines)
    if stands != (command.from_id, command.goal, dict(_summed(command))):
        return Refused(f"{command.ref} stands for another transfer already: choose another ref")
    return Accepted(known["id"], repeated=True)


def _keep(tx: Transaction, ledger: Ledger, command: Transfer) -> int:
    """Write it down with its claims, and tell both warehouses; returns its id."""
    ident = tx.ids.new()
    places = {"owner_id": command.owner_id, "from_id": command.from_id, "to_id": command.to_id}
    places["to_owner_id"] = command.goal[0]
    row = {"id": ident, "number": f"T{ident}", "ref": command.ref, "state": "accepted", **places}
    tx.add(t.transfers, [{**row, "created_at": tx.now}])
    claims = {ledger.cells_by_id([c["cell_id"]])[c["cell_id"]].key.item_id: c["id"] for c in open_claims(tx, row)}
    skus = {item["id"]: item["sku"] for item in many(tx, t.items, "id", list(claims))}
    lines = [
        {"transfer_id": ident, "n": n, "item_id": item, "sku": skus[item], "claim_id": claims[item], "quantity": units}
        for n, (item, units) in enumerate(_summed(command), 1)
    ]
    tx.add(t.transfer_lines, lines)
    _tell(tx, row, LEAVES, "from_id")
    _tell(tx, row, COMES, "to_id")
    return ident


def _tell(tx: Transaction, row: Row, type_: str, side: str) -> None:
    """Tell the warehouse on this side of it, by its connection or by a person."""
    warehouse = one(tx, t.warehouses, id=row[side])
    assert warehouse is not None
    ids, subject = {"transfer": row["id"], "warehouse": warehouse["id"]}, f"transfer:{row['id']}"
    said, cause = {"number": row["number"]}, warehouse["code"] if type_ == OFF else ""
    tell(tx, [Happened(type_, row["owner_id"], ids, subject, {"wms": warehouse["wms_id"]}, said, cause)])
    if warehouse["wms_id"] is None:
        words = BY_HAND[type_].format(number=row["number"], warehouse=warehouse["code"])
        ask_person(tx, f"{type_}/{side.removesuffix('_id')}", subject, row["owner_id"], words)


def happened(tx: Transaction, row: Row, type_: str, **said: Any) -> None:
    """Remember an event of this transfer, of which nobody else is told."""
    ids, subject = {"transfer": row["id"]}, f"transfer:{row['id']}"
    tell(tx, [Happened(type_, row["owner_id"], ids, subject, {}, {"number": row["number"], **said})])


def lines_of(tx: Transaction, transfer_id: int) -> list[Row]:
    """Its lines, as they stand."""
    return many(tx, t.transfer_lines, "transfer_id", [transfer_id])


def open_claims(tx: Transaction, row: Row) -> list[Row]:
    """What backs the units that have not left yet."""
    return reserve_stock.open_claims(tx, {Subject(row["owner_id"], KIND, row["ref"])})


def on_the_way(line: Row) -> int:
    """Base units of a line that left and are awaited; below 0: so many arrived before they were said to leave."""
    return int(line["departed"] - line["arrived"] - line["lost"] - line["came_back"])


def stockout(tx: Transaction, transfer_id: int) -> Stockout | None:
    """What the warehouse it leaves is told; None once something left, or nothing shall."""
    row = one(tx, t.transfers, id=transfer_id)
    told = _told(tx, row, "from_id", "departed")
    goal = one(tx, t.warehouses, id=row["to_id"]) if row else None
    return Stockout(**told, goal=goal["name"] if goal else "") if told else None


def notice(tx: Transaction, transfer_id: int) -> Asn | None:
    """What the warehouse it goes to is told; None once something arrived, or nothing shall."""
    told = _told(tx, one(tx, t.transfers, id=transfer_id), "to_id", "arrived")
    return Asn(**told, reason="transfer") if told else None


def _told(tx: Transaction, row: Row | None, side: str, moved: str) -> dict[str, Any]:
    """What the warehouse on this side is told, in its words; {} where it need not be told any more."""
    if row is None or row["state"] in ENDED or any(line[moved] for line in lines_of(tx, row["id"])):
        return {}
    keeper = _keeper(tx, row, side)
    lines = [AsnLine(line=str(li["n"]), sku=li["sku"], quantity=li["quantity"]) for li in lines_of(tx, row["id"])]
    named = {"ref": row["number"], "warehouse": str(row[side]), "keeper": keeper}
    return {**named, "created_at": row["created_at"], "lines": tuple(lines)}


def _keeper(tx: Transaction, row: Row, side: str) -> str:
    """How the warehouse on this side knows the goods there."""
    owner = row["owner_id"] if side == "from_id" else row["to_owner_id"]
    keeper = one(tx, t.keepers, owner_id=owner, warehouse_id=row[side])
    return str(keeper["code"]) if keeper else ""


def cancellation(tx: Transaction, transfer_id: int, warehouse_id: int) -> Cancellation | None:
    """What a warehouse is told of a transfer that was called off; None where it never heard of it, or goods moved."""
    row = one(tx, t.transfers, id=transfer_id)
    if row is None or row["state"] != "cancelled":
        return None
    leaves = warehouse_id == row["from_id"]
    ability = "send_stockout" if leaves else "send_asn"
    told = one(tx, t.outbox, ability=ability, subject=f"transfer:{transfer_id}")
    if told is None or told["state"] == "moot":
        return None
    return Cancellation(
        ref=row["number"],
        their_ref=told["their_ref"],
        warehouse=str(warehouse_id),
        keeper=_keeper(tx, row, "from_id" if leaves else "to_id"),
        of="stockout" if leaves else "asn",
        reason="the transfer was called off",
    )


def call_off(tx: Transaction, ledger: Ledger, row: Row) -> None:
    """Nothing of it shall move: what was reserved is free again; once more does no harm.

    Raises Refused once goods have moved.
    """
    if row["state"] == "cancelled":
        return
    if row["state"] != "accepted":
        raise Refused(f"{row['ref']} cannot be called off: goods have moved; close it when it is settled")
    reserve_stock.give_back(tx, ledger, open_claims(tx, row))
    tx.set(t.transfers, row["id"], state="cancelled")
    settle(tx, f"transfer:{row['id']}")
    for side in ("from_id", "to_id"):
        _tell(tx, row, OFF, side)
    keep_promises.after_moves(tx, ledger)


def close(tx: Transaction, ledger: Ledger, row: Row, fates: Mapping[int, Fate], reason: str, by: str) -> None:
    """Say what became of every unit on the way (item id → fate); what has not left stays; once more does no harm.

    Raises Refused where nothing has moved, or the fates are not those of exactly the units on the way.
    """
    if row["state"] == "closed":
        return
    if row["state"] != "under_way":
        raise Refused(f"{row['ref']}: nothing of it has moved: call it off instead")
    lines = lines_of(tx, row["id"])
    for line in lines:
        fate, units = fates.get(line["item_id"], Fate()), max(0, on_the_way(line))
        if min(fate) < 0 or sum(fate) != units:
            raise Refused(f"{row['ref']}: {units} of {line['sku']} are on the way: say of each whether it was lost")
    entries = [e for line in lines for e in _fated(ledger, row, line["item_id"], fates.get(line["item_id"], Fate()))]
    ledger.book(f"transfer-end:{row['id']}:{tx.ids.new()}", "transfer_end", f"transfer:{row['id']}", entries)
    for line in lines:
        fate = fates.get(line["item_id"], Fate())
        note_line(tx, line, lost=fate.lost, came_back=fate.came_back)
    reserve_stock.give_back(tx, ledger, open_claims(tx, row))
    ended(tx, row, reason=reason, by=by)
    keep_promises.after_moves(tx, ledger)


def _fated(ledger: Ledger, row: Row, item_id: int, fate: Fate) -> list[Entry]:
    left = ledger.cell(CellKey(row["owner_id"], item_id, row["from_id"]))
    awaited = ledger.cell(CellKey(row["to_owner_id"], item_id, row["to_id"]))
    back = inflow(fate.came_back, suspense=left.suspense, source="transit")
    entries = [Entry(awaited if account == "transit" else left, account, n) for account, n in back]
    return [*entries, Entry(awaited, "transit", -fate.lost), Entry(awaited, "world", fate.lost)]


def note_line(tx: Transaction, line: Row, **more: int) -> None:
    """Add units to figures of a line."""
    li = t.transfer_lines.c
    mine = (li.transfer_id == line["transfer_id"]) & (li.n == line["n"])
    tx.conn.execute(t.transfer_lines.update().where(mine).values({li[name]: li[name] + n for name, n in more.items()}))


def ended(tx: Transaction, row: Row, **said: Any) -> None:
    """Nothing more of it will leave, and nothing is on the way."""
    tx.set(t.transfers, row["id"], state="closed")
    settle(tx, f"transfer:{row['id']}")
    happened(tx, row, "transfer.closed", **said)
