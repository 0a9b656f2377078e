"""Sharing contracts: an owner lets a merchant sell its goods, so many or a share of them, for as long as it says.

What stood under a contract goes on when it is over: only new claims are not made any more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, or_, select

from core.errors import Refused, Unfit, Unmatched, YipanError
from core.flow import keep_promises, resell, sell_kits
from core.flow.reserve_stock import UNITS_MAX
from core.store import shelves
from core.store import tables as t
from core.store.contracts import AT_RESERVE
from core.store.ledger import Ledger, Right
from core.store.rows import any_of
from core.store.store import Transaction, many, one

Row = Mapping[str, Any]
QUOTAS, TITLES = ("open", "lifetime"), ("at_ship", "at_reserve", "never")
RETURNS = ("owner", "beneficiary")
TERMS = ("quota", "title_passes", "returns_to", "known_as")
NEVER_ITS = "where title never passes, what comes back is its owner's: returns_to is owner"


class Shared(NamedTuple):
    """What may be sold of an item: units, or a percentage of what the owner has; price_minor: per base unit."""

    item_id: int
    units: int | None = None
    percent: int | None = None
    price_minor: int = 0


@dataclass(frozen=True, slots=True)
class MakeContract:
    """An owner lets a merchant sell these. ref: the owner's own number of it: said again, it stands.

    quota: open (what was shipped may be sold again) or lifetime. title_passes: at_ship, and the merchant owes the
    price of what it ships; at_reserve, and it owes that of what backs its orders, where one keeper code knows both;
    never, and it gets a fee. returns_to: whose goods are that come back: the owner's, and no more is owed for them, or
    the beneficiary's. known_as: the beneficiary's name where it buys of the owner as its distributor: what it buys
    there is sold under this contract. begins: None is now; ends: None is when it is ended.
    """

    owner_id: int
    ref: str
    beneficiary_id: int
    items: tuple[Shared, ...]
    currency: str
    who: str
    quota: str = "open"
    title_passes: str = "at_ship"
    returns_to: str = "owner"
    known_as: str = ""
    begins: datetime | None = None
    ends: datetime | None = None


@dataclass(frozen=True, slots=True)
class EndContract:
    """Nothing new is sold under it from now on."""

    owner_id: int
    ref: str
    who: str


class Contract(NamedTuple):
    """A contract that stands. repeated: it was made before."""

    id: int
    ref: str
    repeated: bool = False


Answer = Contract | YipanError


def make(tx: Transaction, ledger: Ledger, commands: Sequence[MakeContract]) -> list[Answer]:
    """Decide these in order. Answers Unfit (terms that make no contract) or Refused (circular, or its ref is taken)."""
    answers = [_make(tx, ledger, command) for command in commands]
    keep_promises.after_moves(tx, ledger)
    return answers


def end(tx: Transaction, ledger: Ledger, commands: Sequence[EndContract]) -> list[Answer]:
    """End these, once. Answers Unmatched (there is none)."""
    return [_end(tx, command) for command in commands]


def _make(tx: Transaction, ledger: Ledger, command: MakeContract) -> Answer:
    known = one(tx, t.contracts, owner_id=command.owner_id, ref=command.ref)
    if known:
        return _repeated(tx, known, command)
    if faults := _faults(command, tx.now):
        return Unfit(f"{command.ref}: {faults}")
    if any(item["is_kit"] for item in many(tx, t.items, "id", [shared.item_id for shared in command.items])):
        return Unfit(f"{command.ref}: a virtual kit has no stock of its own: name its parts")
    if other := _other_name(tx, command):
        return Refused(f"{command.ref}: {other}")
    if circle := _circle(tx, command):
        return Refused(f"{command.ref}: {circle}")
    begins = command.begins or tx.now
    head = {name: getattr(command, name) for name in ("owner_id", "beneficiary_id", "ref", "who", "currency")}
    terms = {name: getattr(command, name) for name in TERMS}
    times = {"valid_from": begins, "valid_until": command.ends, "created_at": tx.now}
    times["due_at"] = begins if begins > tx.now else command.ends
    ident = tx.ids.new()
    tx.add(t.contracts, [{"id": ident, **head, **terms, **times}])
    tx.add(t.contract_items, [{"contract_id": ident, **shared._asdict()} for shared in command.items])
    ledger.use(_granted(ident, command.items))
    ledger.book(f"contract:{ident}", "contract", f"contract:{ident}", [])
    _look_again(tx, ledger, [ident])
    resell.known(tx, command.owner_id, command.known_as)
    return Contract(ident, command.ref)


def _granted(contract_id: int, items: Sequence[Shared]) -> list[Right]:
    units = [(shared.item_id, shared.units) for shared in items if shared.units]
    sides = (("granted", -1), ("allowance", 1))
    return [Right(contract_id, item, account, sign * n) for item, n in units for account, sign in sides]


def _repeated(tx: Transaction, known: Row, command: MakeContract) -> Answer:
    rows = many(tx, t.contract_items, "contract_id", [known["id"]])
    items = {Shared(r["item_id"], r["units"], r["percent"], r["price_minor"]) for r in rows}
    same = all(
        known[name] == getattr(command, name) for name in ("beneficiary_id", "currency", *TERMS)
    ) and items == set(command.items)
    same = same and known["valid_until"] == command.ends and command.begins in (None, known["valid_from"])
    stands = Contract(known["id"], known["ref"], repeated=True)
    return stands if same else Refused(f"{command.ref} stands for another contract already: choose another ref")


def _faults(command: MakeContract, now: datetime) -> str:
    """Why these terms make no contract; "" where they do."""
    items = [shared.item_id for shared in command.items]
    begins = command.begins or now
    checks = (
        (command.owner_id == command.beneficiary_id, "an owner sells its own goods without a contract: name another"),
        (not items, "name at least one item"),
        (len(set(items)) != len(items), "an item is named twice: say its terms once"),
        (command.quota not in QUOTAS, f"quota is one of {', '.join(QUOTAS)}"),
        (command.title_passes not in TITLES, f"title_passes is one of {', '.join(TITLES)}"),
        (command.returns_to not in RETURNS, f"returns_to is one of {', '.join(RETURNS)}"),
        (command.title_passes == "never" and command.returns_to != "owner", NEVER_ITS),
        (command.ends is not None and command.ends <= begins, "it would end before it begins: turn the days round"),
        (command.ends is not None and command.ends <= now, "it would be over already: say a later end"),
    )
    fault = next((why for wrong, why in checks if wrong), "")
    return fault or next((why for shared in command.items if (why := _unfit(shared))), "")


def _unfit(shared: Shared) -> str:
    if (shared.units is None) == (shared.percent is None):
        return "say units or percent of each item, and not both"
    if shared.percent is not None and not 0 < shared.percent <= 100:
        return f"{shared.percent} % of an item cannot be shared: say 1 to 100"
    if shared.units is not None and not 0 < shared.units <= UNITS_MAX:
        return f"{shared.units} is no number of units: say 1 to {UNITS_MAX}"
    return "" if 0 <= shared.price_minor <= UNITS_MAX else "a price is 0 or more minor units"


def _other_name(tx: Transaction, command: MakeContract) -> str:
    """Why a distributor's name would mean two merchants; "" where it does not."""
    c = t.contracts.c
    its = and_(c.owner_id == command.owner_id, c.known_as == command.known_as, c.known_as != "")
    row = tx.row(select(c.ref).where(its, c.beneficiary_id != command.beneficiary_id, _lasting(tx)).limit(1))
    return f"{command.known_as} is who sells under {row['ref']}: end that first, or name its merchant" if row else ""


def _lasting(tx: Transaction) -> ColumnElement[bool]:
    """Contracts that stand or will."""
    c = t.contracts.c
    return and_(c.ended_at.is_(None), or_(c.valid_until.is_(None), c.valid_until > tx.now))


def _circle(tx: Transaction, command: MakeContract) -> str:
    """Why the goods would come back to their owner by contracts that stand or will; "" where they would not."""
    c, ci = t.contracts.c, t.contract_items.c
    query = select(c.owner_id, c.beneficiary_id, c.ref).join(t.contract_items, ci.contract_id == c.id)
    named = any_of(tx.conn, ci.item_id, sorted(shared.item_id for shared in command.items))
    lets: dict[int, dict[int, str]] = {}
    for row in tx.rows(query.where(_lasting(tx), named)):
        lets.setdefault(row["owner_id"], {})[row["beneficiary_id"]] = row["ref"]
    seen, reach = {command.beneficiary_id}, [command.beneficiary_id]
    while reach:
        for to, ref in lets.get(reach.pop(), {}).items():
            if to == command.owner_id:
                return f"its goods would come back to their owner by {ref}: end that first"
            if to not in seen:
                seen.add(to)
                reach.append(to)
    return ""


def _end(tx: Transaction, command: EndContract) -> Answer:
    row = one(tx, t.contracts, owner_id=command.owner_id, ref=command.ref)
    if row is None:
        return Unmatched("contract", command.ref, f"there is no contract {command.ref!r}")
    if row["ended_at"] is None:
        tx.set(t.contracts, row["id"], ended_at=tx.now, ended_by=command.who, due_at=None)
        _mark(tx, _items(tx, [row["id"]]))
    return Contract(row["id"], row["ref"], repeated=row["ended_at"] is not None)


def any_due(tx: Transaction) -> bool:
    """Whether a contract has begun or run out since anybody looked."""
    return tx.row(select(t.contracts.c.id).where(t.contracts.c.due_at <= tx.now).limit(1)) is not None


def turn(tx: Transaction) -> int:
    """Contracts that have begun back who waits, those that ran out show less; returns how many turned."""
    rows = tx.rows(select(t.contracts).where(t.contracts.c.due_at <= tx.now).limit(100))
    for row in rows:
        until = row["valid_until"]
        tx.set(t.contracts, row["id"], due_at=until if until and until > tx.now else None)
    ledger = Ledger(tx)
    _look_again(tx, ledger, [row["id"] for row in rows])
    keep_promises.after_moves(tx, ledger)
    return len(rows)


def codes_changed(tx: Transaction, owners: Collection[int]) -> None:
    """Warehouses know goods of these owners by other keeper codes: where title passes at reservation, look again."""
    c = t.contracts.c
    sides = or_(any_of(tx.conn, c.owner_id, sorted(owners)), any_of(tx.conn, c.beneficiary_id, sorted(owners)))
    query = select(c.id).where(c.title_passes == AT_RESERVE, sides, _lasting(tx))
    ledger = Ledger(tx)
    _look_again(tx, ledger, tx.conn.execute(query).scalars().all())
    keep_promises.after_moves(tx, ledger)


def _look_again(tx: Transaction, ledger: Ledger, contracts: Sequence[int]) -> None:
    """More or less may be sold of these items from now on: shops are told, and who waits is looked at."""
    items = _items(tx, contracts)
    _mark(tx, items)
    ledger.risen |= set(items)


def _items(tx: Transaction, contracts: Sequence[int]) -> list[int]:
    return sorted({row["item_id"] for row in many(tx, t.contract_items, "contract_id", list(contracts))})


def _mark(tx: Transaction, items: Sequence[int]) -> None:
    shelves.mark(tx, sell_kits.selling(tx, items))
