"""Units a caller asks for and can be told no: reserved whole or not at all, kept until a time, confirmed, released.

A reservation is known by (holder, kind, ref): asked again it is answered as it stands, with other units it is refused.
What a channel policy keeps from callers comes with the command, and is judged where the command is decided.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import select, update

from core.errors import OutOfStock, Refused, Unfit, Unmatched, Withheld, YipanError
from core.flow import fill_claim, keep_promises, pin_lots, tell_holder, use_rights
from core.flow.fill_claim import Journal
from core.rules.channels import Bound, There
from core.rules.decide import Left, Part, Request, Rights, Rooms, Want, decide
from core.store import pins
from core.store import tables as t
from core.store.claims import cause, reserve_key
from core.store.ledger import Cell, CellKey, Entry, Ledger
from core.store.rows import Rows, any_of
from core.store.store import Transaction

UNITS_MAX = 10**12
CLAIM = ("id", "kind", "holder_id", "ref", "cell_id", "asked", "backed", "shipped", "soft", "open", "expires_at")
UNDER = (*CLAIM, "contract_id")
PIN = ("claim_id", "cell_id", "lot")
EXPIRED_AT_ONCE = 500
State = Literal["reserved", "confirmed", "released", "ordered"]


class Subject(NamedTuple):
    """What a reservation is known by. holder: the merchant who holds it; ref: the caller's own number of it."""

    holder_id: int
    kind: str
    ref: str


@dataclass(frozen=True, slots=True)
class Reserve:
    """Keep these units, whole or not at all, from these warehouses, best first; until: None is until it is released.

    bounds: item → what keeps units of it from the caller; without any it may have all there is.
    """

    subject: Subject
    wants: tuple[Want, ...]
    warehouses: tuple[int, ...]
    until: datetime | None = None
    may_split: bool = True
    bounds: Mapping[int, Bound] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Confirm:
    """Keep it for good."""

    subject: Subject


@dataclass(frozen=True, slots=True)
class Release:
    """Give it back."""

    subject: Subject


Command = Reserve | Confirm | Release


class Kept(NamedTuple):
    """Base units of one item that one warehouse was asked to keep. lot: of which alone; "" for any.

    missing: those of them it does not keep, or no longer.
    """

    owner_id: int
    item_id: int
    warehouse_id: int
    units: int
    lot: str = ""
    missing: int = 0


class Reservation(NamedTuple):
    """A reservation as it stands. until: when it is given back by itself; repeated: it was asked for before."""

    subject: Subject
    state: State
    until: datetime | None
    kept: tuple[Kept, ...]
    repeated: bool = False


Answer = Reservation | YipanError


def reserve(tx: Transaction, ledger: Ledger, commands: Sequence[Reserve]) -> list[Answer]:
    """Decide these in order over one set of balances, and book what is backed; a refused one leaves no trace.

    Answers Unfit (not a number of units), OutOfStock, Withheld, or Refused (this ref stands for something else).
    """
    answers: dict[int, Answer] = {n: Unfit(faults) for n, c in enumerate(commands) if (faults := _faults(c))}
    fit = {n: c for n, c in enumerate(commands) if n not in answers}
    wants = [(command, want) for command in fit.values() for want in command.wants]
    places = {CellKey(owner, w.item_id, h) for c, w in wants for owner in w.owners for h in c.warehouses}
    keys = {c.subject: reserve_key(*c.subject) for c in fit.values()}
    booked = ledger.known(list(keys.values()), places)
    known = standing(tx, [subject for subject, key in keys.items() if key in booked]) if booked else {}
    fresh: dict[Subject, int] = {}
    for n, command in fit.items():
        if command.subject in known:
            answers[n] = _repeated(known[command.subject], command)
        else:
            fresh.setdefault(command.subject, n)
    cells = {key[:3]: cell for key in places if (cell := ledger.found(key))}
    booked_now = _book(tx, ledger, cells, keys, [commands[n] for n in fresh.values()])
    answers |= zip(fresh.values(), booked_now, strict=True)
    for n, command in enumerate(commands):
        if n not in answers:  # said twice in this batch
            first = answers[fresh[command.subject]]
            answers[n] = _repeated(first, command) if isinstance(first, Reservation) else first
    return [answers[n] for n in range(len(commands))]


def _faults(command: Reserve) -> str:
    ref = command.subject.ref
    if not ref.isprintable():
        return f"{ref!r} has characters that cannot be printed: choose another ref"
    if not command.wants or not command.warehouses:
        return f"{ref}: name at least one item and one warehouse"
    for want in command.wants:
        if type(want.quantity) is not int or not 0 < want.quantity <= UNITS_MAX:
            return f"{ref}: {want.quantity!r} is no number of units: say a whole number from 1 to {UNITS_MAX}"
    return ""


def _book(
    tx: Transaction,
    ledger: Ledger,
    cells: Mapping[tuple[int, int, int], Cell],
    keys: Mapping[Subject, str],
    commands: Sequence[Reserve],
) -> list[Answer]:
    """Back or refuse each; claims, journals and balances are written together."""
    requests = [Request(c.wants, c.warehouses, c.may_split, refusable=True) for c in commands]
    shared = [w for c in commands for w in c.wants if w.others]
    rooms = pin_lots.wanted(tx, ledger, requests)
    rights = use_rights.left(tx, ledger, {s.contract_id for w in shared for s in w.others}, {w.item_id for w in shared})
    balances = {place: cell.promisable for place, cell in cells.items()}
    if any(c.bounds for c in commands):
        decisions, withheld = _decide_bound(Left(balances, dict(rights), dict(rooms)), commands, requests)
    else:
        decisions, withheld = decide(balances, requests, rights, rooms), {}
    ids = iter(tx.ids.some(sum(map(len, decisions))))
    answers: list[Answer] = []
    claims: list[tuple[Any, ...]] = []
    pinned: list[tuple[Any, ...]] = []
    for command, parts in zip(commands, decisions, strict=True):
        if not parts:
            answers.append(withheld.get(command.subject) or _out_of_stock(cells, rights, rooms, command))
            continue
        subject, entries = command.subject, []
        holder, kind, ref = subject
        for _, owner, item, warehouse, asked, backed, _, contract, lot in parts:
            cell = cells[owner, item, warehouse]
            entries += [Entry(cell, "free", -backed), Entry(cell, "reserved", backed)]
            claim = (next(ids), kind, holder, ref, cell.id, asked, backed, 0, True, True, command.until)
            claims.append((*claim, contract) if shared else claim)
            if lot:
                pinned.append((claim[0], cell.id, lot))
                rooms[owner, item, warehouse, lot] -= backed
            use_rights.held(tx, ledger, contract, item, backed)
        ledger.book(keys[subject], "reserve", f"{kind}:{ref}", entries)
        answers.append(Reservation(subject, "reserved", command.until, _kept(parts)))
    ledger.flush(Rows(t.claims, UNDER if shared else CLAIM, claims), *([Rows(t.pins, PIN, pinned)] if pinned else []))
    return answers


def _kept(parts: Sequence[Part]) -> tuple[Kept, ...]:
    return tuple([Kept(p.owner_id, p.item_id, p.warehouse_id, p.backed, p.lot) for p in parts])


def _decide_bound(
    left: Left, commands: Sequence[Reserve], requests: Sequence[Request]
) -> tuple[list[list[Part]], dict[Subject, Withheld]]:
    """As `decide`, one after the other: what each may have is judged of what those before it left.

    Also why, for those that a policy and not the stock refuses.
    """
    decisions: list[list[Part]] = []
    withheld = {}
    for command, request in zip(commands, requests, strict=True):
        if why := _withheld(left, command):
            withheld[command.subject] = why
            decisions.append([])
            continue
        decisions += decide(left.units, [request], left.rights, left.rooms)
        for part in decisions[-1]:
            left.take(part)
    return decisions, withheld


def _withheld(left: Left, command: Reserve) -> Withheld | None:
    """Why a policy keeps what is asked for; None where it leaves as much, or only the stock is too small.

    A policy knows no lots: what is pinned counts as any other units.
    """
    missing, kept = [], False
    loose = [want._replace(lot="") for want in command.wants] if command.bounds else ()
    for item, n, there in _needs(left, loose, command.warehouses):
        bound = command.bounds.get(item)
        most = bound.units(there) if bound else there.units
        if most < n:
            missing.append((item, n, most))
            kept = kept or most < there.units
    return Withheld(_words(Withheld, command, missing), tuple(missing)) if kept else None


def _out_of_stock(
    cells: Mapping[tuple[int, int, int], Cell], rights: Rights, rooms: Rooms, command: Reserve
) -> OutOfStock:
    places = {(who, w.item_id, h) for w in command.wants for who in w.owners for h in command.warehouses}
    left = Left({place: cells[place].promisable for place in places if place in cells}, rights, rooms)
    needs = _needs(left, command.wants, command.warehouses)
    missing = [(item, n, there.units) for item, n, there in needs if there.units < n]
    if not missing:
        return OutOfStock(f"{command.subject.ref}: no single warehouse has all of it: ask for less")
    return OutOfStock(f"{_words(OutOfStock, command, missing)}: ask for less", tuple(missing))


def _words(kind: type[OutOfStock], command: Reserve, missing: Sequence[tuple[int, int, int]]) -> str:
    names = {item: f"item {item}" for item, _, _ in missing}
    return f"{command.subject.ref}: {kind.words(missing, names)}"


def _needs(left: Left, wants: Iterable[Want], warehouses: Sequence[int]) -> Iterator[tuple[int, int, There]]:
    """(item, units asked for, units there are in these warehouses) of each item, or lot of it."""
    needs = Counter[Want]()
    for want in wants:
        needs[want._replace(line=0, quantity=0, per_kit=None)] += want.quantity
    for want, n in needs.items():
        places = ((owner, h) for owner in want.owners for h in want.places(owner, warehouses))
        lying = {(owner, h): max(0, left.there(want, owner, h)) for owner, h in places}
        yield want.item_id, n, There(left.anywhere(want, warehouses), lying)


def _repeated(stands: Reservation, command: Reserve) -> Answer:
    """The same again is answered as it stands; other units under the same ref are a mistake of the caller."""
    asked: dict[tuple[int, str], int] = {}
    for want in command.wants:
        asked[want.item_id, want.lot] = asked.get((want.item_id, want.lot), 0) + want.quantity
    for kept in stands.kept:
        asked[kept.item_id, kept.lot] = asked.get((kept.item_id, kept.lot), 0) - kept.units
    if any(asked.values()):
        return Refused(f"{command.subject.ref} stands for other units already: choose another ref")
    return stands._replace(repeated=True)


def standing(tx: Transaction, subjects: Sequence[Subject]) -> dict[Subject, Reservation]:
    """Those of these that were ever reserved, as they stand."""
    if not subjects:
        return {}
    c, ce = t.claims.c, t.cells.c
    columns = (c.holder_id, c.kind, c.ref, c.soft, c.open, c.expires_at, c.asked, c.backed)
    query = select(*columns, ce.owner_id, ce.item_id, ce.warehouse_id, pins.lot).join(t.cells, ce.id == c.cell_id)
    query = query.join(t.pins, t.pins.c.claim_id == c.id, isouter=True)
    found: dict[Subject, list[Any]] = {}
    refs = sorted({s.ref for s in subjects})
    for row in tx.conn.execute(query.where(any_of(tx.conn, c.ref, refs)).order_by(c.id)):
        found.setdefault(Subject(row.holder_id, row.kind, row.ref), []).append(row)
    mine = {subject: found[subject] for subject in set(subjects) & set(found)}
    ordered = _ordered(tx, [subject for subject, rows in mine.items() if not rows[0].open])
    return {subject: _stands(subject, rows, subject in ordered) for subject, rows in mine.items()}


def _ordered(tx: Transaction, over: Sequence[Subject]) -> set[Subject]:
    """Those of these whose units an order took over."""
    if not over:
        return set()
    h = t.hand_overs.c
    taken = select(h.holder_id, h.kind, h.ref).where(
        h.order_id.is_not(None), any_of(tx.conn, h.ref, [s.ref for s in over])
    )
    return {Subject(*row) for row in tx.conn.execute(taken)} & set(over)


def _stands(subject: Subject, rows: Sequence[Any], ordered: bool) -> Reservation:
    over: State = "ordered" if ordered else "released"
    state: State = over if not rows[0].open else "reserved" if rows[0].soft else "confirmed"
    kept = tuple(Kept(r.owner_id, r.item_id, r.warehouse_id, r.asked, r.lot, r.asked - r.backed) for r in rows)
    return Reservation(subject, state, rows[0].expires_at, kept)


def confirm(tx: Transaction, ledger: Ledger, commands: Sequence[Confirm]) -> list[Answer]:
    """Keep these for good. Answers Unmatched (never reserved) or Refused (given back meanwhile)."""
    known = standing(tx, [c.subject for c in commands])
    answers: list[Answer] = []
    for command in commands:
        stands = known.get(command.subject)
        if stands is None:
            answers.append(_unknown(command.subject))
        elif stands.state == "ordered":
            answers.append(stands)
        elif stands.state == "released":
            answers.append(Refused(f"{command.subject.ref} was given back: reserve again, under another ref"))
        else:
            known[command.subject] = stands._replace(state="confirmed", until=None)
            answers.append(known[command.subject])
    _set(tx, open_claims(tx, {a.subject for a in answers if isinstance(a, Reservation)}), soft=False)
    return answers


def release(tx: Transaction, ledger: Ledger, commands: Sequence[Release]) -> list[Answer]:
    """Give these back, once. Answers Unmatched (never reserved)."""
    known = standing(tx, [c.subject for c in commands])
    _release(tx, ledger, set(known))
    return [_released(known[c.subject]) if c.subject in known else _unknown(c.subject) for c in commands]


def _released(stands: Reservation) -> Answer:
    if stands.state == "ordered":
        return Refused(f"{stands.subject.ref} became an order: call that off at its shop")
    return stands._replace(state="released", until=None, kept=tuple(k._replace(missing=k.units) for k in stands.kept))


def expire(tx: Transaction) -> int:
    """Give back what was kept until a time that is past; returns how many claims."""
    c = t.claims.c
    due = select(c.holder_id, c.kind, c.ref).where(c.expires_at <= tx.now).limit(EXPIRED_AT_ONCE)
    ledger = Ledger(tx)
    return _release(tx, ledger, {Subject(*row) for row in tx.conn.execute(due)})


def any_expired(tx: Transaction) -> bool:
    """Whether something was kept long enough."""
    return tx.row(select(t.claims.c.id).where(t.claims.c.expires_at <= tx.now).limit(1)) is not None


def _release(tx: Transaction, ledger: Ledger, subjects: Collection[Subject]) -> int:
    claims = open_claims(tx, subjects)
    tell_holder.over(tx, claims)
    give_back(tx, ledger, claims)
    keep_promises.after_moves(tx, ledger)
    return len(claims)


def give_back(tx: Transaction, ledger: Ledger, claims: Sequence[Mapping[str, Any]]) -> None:
    """These claims are over; what they hold goes back to free (or fills negative suspense)."""
    for claim in (c for c in claims if c["backed"]):
        journal = Journal(f"release:{claim['id']}", "release", cause(claim))
        fill_claim.empty(tx, ledger, claim, claim["backed"], journal)
    _set(tx, claims, open=False, backed=0)


def open_claims(tx: Transaction, subjects: Collection[Subject]) -> list[Mapping[str, Any]]:
    """What these reservations hold."""
    c = t.claims.c
    named = select(t.claims).where(any_of(tx.conn, c.ref, sorted({s.ref for s in subjects})), c.open.is_(True))
    rows = tx.rows(named.order_by(c.id)) if subjects else []
    return [r for r in rows if Subject(r["holder_id"], r["kind"], r["ref"]) in subjects]


def _set(tx: Transaction, claims: Sequence[Mapping[str, Any]], **values: Any) -> None:
    if claims:
        mine = any_of(tx.conn, t.claims.c.id, [c["id"] for c in claims])
        tx.conn.execute(update(t.claims).where(mine).values(expires_at=None, **values))


def _unknown(subject: Subject) -> Unmatched:
    return Unmatched("reservation", subject.ref, f"there is no reservation {subject.ref!r}: reserve first")
