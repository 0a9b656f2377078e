"""Kits that warehouses keep assembled: parts become kits, or kits their parts, in one journal, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import OutOfStock, Refused, Unfit, YipanError
from core.flow import keep_promises
from core.rules.posting import inflow
from core.store import tables as t
from core.store.ledger import CellKey, Entry, Ledger
from core.store.store import Transaction, many, one

Row = Mapping[str, Any]
Answer = Row | YipanError


@dataclass(frozen=True, slots=True)
class Assemble:
    """Make so many kits of their parts; below zero: take so many apart. ref: the asker's own number of it."""

    owner_id: int
    warehouse_id: int
    item_id: int
    units: int
    ref: str


def assemble(tx: Transaction, ledger: Ledger, commands: Sequence[Assemble]) -> list[Answer]:
    """Decide these in order; an assembly each, or Unfit, Refused, or OutOfStock that says what is there."""
    answers = [_assemble(tx, ledger, command) for command in commands]
    keep_promises.after_moves(tx, ledger)
    return answers


def _assemble(tx: Transaction, ledger: Ledger, command: Assemble) -> Answer:
    known = one(tx, t.assemblies, owner_id=command.owner_id, ref=command.ref)
    if known:
        same = all(known[name] == getattr(command, name) for name in ("warehouse_id", "item_id", "units"))
        return known if same else Refused(f"{command.ref} is another assembly already: choose another ref")
    recipe = {row["part_id"]: int(row["units"]) for row in many(tx, t.kit_parts, "kit_id", [command.item_id])}
    item = one(tx, t.items, id=command.item_id)
    assert item is not None
    if not recipe or item["is_kit"]:
        return Unfit(f"{item['sku']} is no kit that is kept assembled: say what it is made of, with stocked true")
    changes = {command.item_id: command.units} | {part: -command.units * n for part, n in recipe.items()}
    return _short(ledger, command, changes) or _book(tx, ledger, command, changes)


def _short(ledger: Ledger, command: Assemble, changes: Mapping[int, int]) -> OutOfStock | None:
    """What lacks of the goods that would be used up."""
    missing = tuple(
        (item, -n, there)
        for item, n in changes.items()
        if n < 0 and (there := ledger.cell(_key(command, item)).promisable) < -n
    )
    words = ", ".join(f"{n} of item {item} where {there} are free" for item, n, there in missing)
    return OutOfStock(f"{command.ref}: {words}: ask for less", missing) if missing else None


def _book(tx: Transaction, ledger: Ledger, command: Assemble, changes: Mapping[int, int]) -> Row:
    row = {"id": tx.ids.new(), "owner_id": command.owner_id, "ref": command.ref, "created_at": tx.now}
    row |= {name: getattr(command, name) for name in ("warehouse_id", "item_id", "units")}
    entries: list[Entry] = []
    for item, units in changes.items():
        cell = ledger.cell(_key(command, item))
        gone = [("free", units), ("world", -units)]
        moves = gone if units < 0 else inflow(units, suspense=cell.suspense)
        entries += [Entry(cell, account, n) for account, n in moves]
    ledger.book(f"assembly:{row['id']}", "assemble", f"assembly:{row['id']}", entries)
    tx.add(t.assemblies, [row])
    return row


def _key(command: Assemble, item_id: int) -> CellKey:
    return CellKey(command.owner_id, item_id, command.warehouse_id)
