"""Units that are kept for one shop, whole or not at all: for a campaign until its end, or for good as its exclusives.

A lock is known by (owner, ref): asked again it is answered as it stands. Its shop's orders take of it
(`draw_locked`); what is left is given back at its end, or when a person ends it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import or_, select

from core.errors import OutOfStock, Refused, Unfit, Unmatched, YipanError
from core.flow import keep_promises, sell_kits
from core.flow.reserve_stock import UNITS_MAX
from core.rules.posting import inflow
from core.store import tables as t
from core.store.cells import had_by
from core.store.ledger import CellKey, Entry, Ledger
from core.store.rows import any_of
from core.store.store import Transaction, many, one

DUE_AT_ONCE = 100
Row = Mapping[str, Any]


class Line(NamedTuple):
    """Base units of an item to keep in one warehouse."""

    item_id: int
    warehouse_id: int
    units: int


@dataclass(frozen=True, slots=True)
class Lock:
    """Keep these units of an owner's goods for what its shop sells from one moment to another.

    starts_at: None is now. ends_at: None is until somebody ends it, which a campaign may not be. listings: of that
    shop, the only ones it is for; () is all. ref: the asker's own number of it; who: the asker.
    """

    owner_id: int
    ref: str
    kind: Literal["campaign", "exclusive"]
    connection_id: int
    lines: tuple[Line, ...]
    who: str
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    listings: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Unlock:
    """Give back now what nobody has drawn; known by (owner, ref)."""

    owner_id: int
    ref: str
    who: str


class Locked(NamedTuple):
    """Our id of a lock that stands. repeated: it was asked for before."""

    id: int
    repeated: bool = False


Answer = Locked | YipanError


def lock(tx: Transaction, ledger: Ledger, commands: Sequence[Lock]) -> list[Answer]:
    """Decide these in order; a refused one leaves no trace.

    Answers Unfit (units or times that cannot be), OutOfStock, or Refused (this ref stands for something else, not this
    owner's shop, listings or goods, a warehouse the shop does not sell from, a kit).
    """
    answers = [_lock(tx, ledger, command) for command in commands]
    ledger.flush()
    return answers


def unlock(tx: Transaction, ledger: Ledger, commands: Sequence[Unlock]) -> list[Answer]:
    """End these; once more does no harm. Answers Unmatched for one that never was."""
    answers = [_unlock(tx, ledger, command) for command in commands]
    keep_promises.after_moves(tx, ledger)
    return answers


def any_due(tx: Transaction) -> bool:
    """Whether a lock begins or ends."""
    return tx.row(select(t.locks.c.id).where(t.locks.c.due_at <= tx.now).limit(1)) is not None


def turn(tx: Transaction) -> int:
    """Begin and end the locks whose time it is; how many there were."""
    ledger = Ledger(tx)
    lo = t.locks.c
    due = tx.rows(select(t.locks).where(lo.due_at <= tx.now).order_by(lo.due_at, lo.id).limit(DUE_AT_ONCE))
    for row in due:
        if row["ends_at"] and row["ends_at"] <= tx.now:
            _end(tx, ledger, row, None)
        else:
            _begin(tx, row)
    keep_promises.after_moves(tx, ledger)
    return len(due)


def _lock(tx: Transaction, ledger: Ledger, command: Lock) -> Answer:
    known = one(tx, t.locks, owner_id=command.owner_id, ref=command.ref)
    if known:
        return _repeated(tx, ledger, known, command)
    fault = _unfit(tx, command) or _not_theirs(tx, command) or _missing(ledger, command)
    return fault or Locked(_keep(tx, ledger, command))


def _repeated(tx: Transaction, ledger: Ledger, known: Row, command: Lock) -> Answer:
    lines = many(tx, t.lock_lines, "lock_id", [known["id"]])
    cells = ledger.cells_by_id(line["cell_id"] for line in lines)
    units = {(cells[li["cell_id"]].key.item_id, cells[li["cell_id"]].key.warehouse_id): li["units"] for li in lines}
    stands = (known["kind"], known["connection_id"], tuple(known["listings"]), known["ends_at"], units)
    asked = (command.kind, command.connection_id, _listed(command), command.ends_at, _summed(command))
    if stands != asked or command.starts_at not in (None, known["starts_at"]):
        return Refused(f"{command.ref} stands for another lock already: choose another ref")
    return Locked(known["id"], repeated=True)


def _listed(command: Lock) -> tuple[int, ...]:
    return tuple(sorted(set(command.listings)))


def _summed(command: Lock) -> dict[tuple[int, int], int]:
    """(item, warehouse) → base units."""
    units: dict[tuple[int, int], int] = {}
    for item, warehouse, n in command.lines:
        units[item, warehouse] = units.get((item, warehouse), 0) + n
    return units


def _unfit(tx: Transaction, command: Lock) -> Unfit | None:
    if not command.lines or any(type(n) is not int or not 0 < n <= UNITS_MAX for *_, n in command.lines):
        return Unfit(f"{command.ref}: every quantity must be a whole number from 1 to {UNITS_MAX}")
    if command.ends_at is None:
        return Unfit(f"{command.ref}: say when the campaign ends") if command.kind == "campaign" else None
    if command.ends_at <= tx.now:
        return Unfit(f"{command.ref}: its end is past: name one that is still to come")
    if command.starts_at and command.ends_at <= command.starts_at:
        return Unfit(f"{command.ref}: it ends before it begins: name a later end")
    return None


def _not_theirs(tx: Transaction, command: Lock) -> Refused | None:
    shop = one(tx, t.connections, id=command.connection_id)
    if shop is None or (shop["kind"], shop["merchant_id"]) != ("sales", command.owner_id):
        return Refused(f"{command.ref}: a lock is for a shop of the goods' owner: name one")
    units = _summed(command)
    pool = {row["warehouse_id"] for row in many(tx, t.pools, "connection_id", [command.connection_id])}
    if not {warehouse for _, warehouse in units} <= pool:
        return Refused(f"{command.ref}: that shop sells from other warehouses: add these to its pool first")
    i, wanted = t.items.c, sorted({item for item, _ in units})
    theirs = or_(i.owner_id == command.owner_id, had_by(command.owner_id))
    items = tx.rows(select(t.items).where(any_of(tx.conn, i.id, wanted), theirs))
    if len(items) < len(wanted):
        return Refused(f"{command.ref}: only an owner's own goods can be locked")
    if any(item["is_kit"] for item in items):
        return Refused(f"{command.ref}: a virtual kit has no stock of its own: lock all of its parts")
    return _not_listed(tx, command, set(wanted))


def _not_listed(tx: Transaction, command: Lock, items: set[int]) -> Refused | None:
    listings = many(tx, t.listings, "id", _listed(command))
    recipes = sell_kits.recipes(tx, {row["item_id"] for row in listings})
    sold = {int(part) for row in listings for part in recipes.get(row["item_id"], (row["item_id"],))}
    if len(listings) < len(_listed(command)) or any(r["connection_id"] != command.connection_id for r in listings):
        return Refused(f"{command.ref}: these are not all listings of that shop: add them first")
    if listings and sold != items:
        return Refused(f"{command.ref}: these listings do not sell just what is locked: name those that do")
    return None


def _missing(ledger: Ledger, command: Lock) -> OutOfStock | None:
    units = _summed(command)
    keys = {(item, warehouse): CellKey(command.owner_id, item, warehouse) for item, warehouse in units}
    ledger.load(keys.values())
    there = {place: cell.promisable if (cell := ledger.found(key)) else 0 for place, key in keys.items()}
    missing = tuple((place[0], n, there[place]) for place, n in units.items() if there[place] < n)
    words = ", ".join(f"{n} of item {item} where there are {left}" for item, n, left in missing)
    return OutOfStock(f"{command.ref}: {words}: ask for less", missing) if missing else None


def _keep(tx: Transaction, ledger: Ledger, command: Lock) -> int:
    """Write it down with its claims; returns its id."""
    ident = tx.ids.new()
    starts_at = command.starts_at or tx.now
    times = {"starts_at": starts_at, "ends_at": command.ends_at, "created_at": tx.now}
    times["due_at"] = starts_at if starts_at > tx.now else command.ends_at
    head = {"id": ident, "owner_id": command.owner_id, "ref": command.ref, "kind": command.kind, "who": command.who}
    shop = {"connection_id": command.connection_id, "listings": list(_listed(command))}
    tx.add(t.locks, [{**head, **shop, **times}])
    cells = {place: ledger.cell(CellKey(command.owner_id, *place)) for place in _summed(command)}
    claims, lines, entries = [], [], []
    of_lock = {"kind": command.kind, "holder_id": command.owner_id, "ref": str(ident), "soft": False, "open": True}
    for place, units in _summed(command).items():
        cell, claim_id = cells[place], tx.ids.new()
        entries += [Entry(cell, "free", -units), Entry(cell, "reserved", units)]
        claims.append({"id": claim_id, "cell_id": cell.id, "asked": units, "backed": units, **of_lock})
        lines.append({"lock_id": ident, "cell_id": cell.id, "claim_id": claim_id, "units": units})
    ledger.book(f"lock:{ident}", "lock", f"{command.kind}:{ident}", entries)
    tx.add(t.claims, claims)
    tx.add(t.lock_lines, lines)
    return ident


def _unlock(tx: Transaction, ledger: Ledger, command: Unlock) -> Answer:
    row = one(tx, t.locks, owner_id=command.owner_id, ref=command.ref)
    if row is None:
        return Unmatched("lock", command.ref, f"there is no lock {command.ref!r}")
    if row["ended_at"] is None:
        _end(tx, ledger, row, command.who)
    return Locked(row["id"])


def _begin(tx: Transaction, row: Row) -> None:
    """Its shop is told what it may show from now on."""
    li, c, ce = t.lock_lines.c, t.claims.c, t.cells.c
    query = select(ce.item_id).join(t.lock_lines, li.cell_id == ce.id).join(t.claims, c.id == li.claim_id)
    items = tx.conn.execute(query.where(li.lock_id == row["id"]).distinct()).scalars()
    tx.add(t.marks, [{"id": tx.ids.new(), "items": sorted(items)}])
    tx.lanes.add("stock")
    tx.set(t.locks, row["id"], due_at=row["ends_at"])


def _end(tx: Transaction, ledger: Ledger, row: Row, who: str | None) -> None:
    """What nobody has drawn goes back to free (or fills negative suspense)."""
    claims = many(tx, t.claims, "id", [line["claim_id"] for line in many(tx, t.lock_lines, "lock_id", [row["id"]])])
    cells = ledger.cells_by_id(claim["cell_id"] for claim in claims)
    entries = [
        Entry(cells[claim["cell_id"]], account, n)
        for claim in claims
        for account, n in inflow(claim["backed"], suspense=cells[claim["cell_id"]].suspense, source="reserved")
    ]
    if entries:
        ledger.book(f"unlock:{row['id']}", "unlock", f"{row['kind']}:{row['id']}", entries)
    for claim in claims:
        tx.set(t.claims, claim["id"], backed=0, open=False)
    tx.set(t.locks, row["id"], ended_at=tx.now, ended_by=who, due_at=None)
