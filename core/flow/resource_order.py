"""What no warehouse was told of yet moves to the warehouses of its pool that now back more of it, in one journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select, update

from core.errors import Refused
from core.flow import draw_locked, fill_claim, pin_lots, use_rights
from core.flow.fill_claim import Journal
from core.rules.decide import Balances, Part, Request, Right, Rights, Rooms, Share, Want, decide
from core.store import contracts, pins
from core.store import tables as t
from core.store.claims import of_order
from core.store.ledger import Cell, CellKey, Entry, Ledger
from core.store.store import Transaction, one

Row = Mapping[str, Any]


def look_again(tx: Transaction, ledger: Ledger, order_id: int, pool: Sequence[int], may_part: bool = True) -> int:
    """Move the order's loose claims to where more of them is backed; the units more, 0 where it stays as it is."""
    claims = _loose(tx, order_id)
    parts = _decided(tx, ledger, claims, pool, may_part)
    gain: int = sum(p.backed for p in parts) - sum(c["backed"] for c in claims)
    if gain <= 0:
        return 0
    _move(tx, ledger, order_id, claims, parts)
    return gain


def move_to(tx: Transaction, ledger: Ledger, order_id: int, warehouses: Sequence[int], may_part: bool = True) -> None:
    """A person says which warehouses shall make it. Raises Refused where they would back less than is backed now."""
    claims = _loose(tx, order_id)
    parts = _decided(tx, ledger, claims, warehouses, may_part)
    there, here = sum(p.backed for p in parts), sum(c["backed"] for c in claims)
    if there < here:
        raise Refused(f"those warehouses back {there} of its units, where it is now {here} are: name others")
    _move(tx, ledger, order_id, claims, parts)


def _loose(tx: Transaction, order_id: int) -> list[Row]:
    """Its open claims that are in no fulfilment: the only ones that may move."""
    c = t.claims.c
    query = select(t.claims, pins.lot).join(t.pins, t.pins.c.claim_id == c.id, isouter=True)
    query = query.where(c.order_id == order_id, c.open.is_(True), c.fulfilment_id.is_(None))
    return tx.rows(query.order_by(c.id))


def _decided(tx: Transaction, ledger: Ledger, claims: Sequence[Row], pool: Sequence[int], may_part: bool) -> list[Part]:
    """Admission once more, as if these claims had given back what they hold."""
    if not claims or not pool:
        return []
    cells = ledger.cells_by_id(c["cell_id"] for c in claims)
    units: dict[tuple[int, int, int | None, str], int] = Counter()
    for claim in claims:
        item_id = cells[claim["cell_id"]].key.item_id
        units[claim["line_id"], item_id, claim["per_kit"], claim["lot"]] += claim["asked"] - claim["shipped"]
    order = one(tx, t.orders, id=claims[0]["order_id"])
    assert order is not None
    ident, who = order["id"], order["merchant_id"]
    named = contracts.of_orders(tx, [order], {item for _, item, *_ in units})
    wants = [
        Want(line, who, item, n, kit, named.get((ident, item), ()), lot) for (line, item, kit, lot), n in units.items()
    ]
    ledger.load(CellKey(owner, w.item_id, h) for w in wants for owner in w.owners for h in pool)
    request = Request(wants, pool, may_part=may_part)
    rights, rooms = _rights(tx, ledger, claims, wants), _rooms(tx, ledger, claims, request)
    return decide(_balances(tx, ledger, claims, wants, pool), [request], rights, rooms)[0]


def _rights(tx: Transaction, ledger: Ledger, claims: Sequence[Row], wants: Sequence[Want]) -> Rights:
    named = {source.contract_id for want in wants for source in want.others}
    found = use_rights.left(tx, ledger, named, {want.item_id for want in wants})
    cells = ledger.cells_by_id(c["cell_id"] for c in claims)
    for claim in claims:
        key = (claim["contract_id"], cells[claim["cell_id"]].key.item_id)
        if key in found:
            found[key] = _without(found[key], claim["backed"])
    return found


def _without(right: Right, units: int) -> Right:
    """The right as if these units under it had been given back."""
    if isinstance(right, Share):
        return right._replace(free=right.free + units, held=right.held - units)
    return right + units


def _rooms(tx: Transaction, ledger: Ledger, claims: Sequence[Row], request: Request) -> Rooms:
    found = pin_lots.wanted(tx, ledger, [request])
    for claim in claims if found else ():
        place = (*fill_claim.home(tx, ledger, claim).key[:3], claim["lot"])
        if place in found:
            found[place] += claim["backed"]
    return found


def _balances(
    tx: Transaction, ledger: Ledger, claims: Sequence[Row], wants: Sequence[Want], pool: Sequence[int]
) -> Balances:
    held: dict[int, int] = Counter()
    for claim in claims:
        held[fill_claim.home(tx, ledger, claim).id] += claim["backed"]
    balances = {}
    for key in {CellKey(owner, want.item_id, h) for want in wants for owner in want.owners for h in pool}:
        if cell := ledger.found(key):
            balances[key[:3]] = max(0, cell.free + min(0, cell.suspense) + held.get(cell.id, 0))
    return balances


def _move(tx: Transaction, ledger: Ledger, order_id: int, claims: Sequence[Row], parts: Sequence[Part]) -> None:
    """In one journal; what title passes with, before and after it, in one for each claim that holds less or more."""
    sources = {part: ledger.cell(CellKey(part.owner_id, part.item_id, part.warehouse_id)) for part in parts}
    places = {part: fill_claim.seat(tx, ledger, cell, part.contract_id) for part, cell in sources.items()}
    bought = [claim for claim in claims if fill_claim.has_passed(tx, ledger, claim)]
    buys = [part for part, cell in places.items() if sources[part] is not cell]
    changes = _changes(order_id, bought, {part: places[part] for part in buys})
    _pass(tx, ledger, [(claim, n) for claim, n in changes if n < 0])
    _book(
        tx, ledger, order_id, [c for c in claims if c not in bought], {p: c for p, c in places.items() if p not in buys}
    )
    _pass(tx, ledger, [(claim, n) for claim, n in changes if n > 0])
    _claim_anew(tx, order_id, claims, places)
    draw_locked.leave(tx, ledger, order_id)


def _changes(order_id: int, claims: Sequence[Row], places: Mapping[Part, Cell]) -> list[tuple[Row, int]]:
    """(what a claim is on, the units it holds more) of claims that title passed to or will."""
    more = Counter[tuple[int, int, int | None, str]]()
    for claim in claims:
        more[claim["line_id"], claim["cell_id"], claim["contract_id"], claim["lot"]] -= claim["backed"]
    for part, cell in places.items():
        more[part.line, cell.id, part.contract_id, part.lot] += part.backed
    names = ("line_id", "cell_id", "contract_id", "lot")
    return [({"order_id": order_id, **dict(zip(names, key, strict=True))}, n) for key, n in more.items()]


def _pass(tx: Transaction, ledger: Ledger, changes: Sequence[tuple[Row, int]]) -> None:
    """Title passes to these claims with so many units, or back."""
    for claim, units in changes:
        move = fill_claim.fill if units > 0 else fill_claim.empty
        journal = Journal(f"resource:{tx.ids.new()}", "resource", f"order:{claim['order_id']}")
        move(tx, ledger, claim, abs(units), journal)


def _book(tx: Transaction, ledger: Ledger, order_id: int, claims: Sequence[Row], places: Mapping[Part, Cell]) -> None:
    given, taken = Counter[int](), Counter[int]()
    for claim in claims:
        given[claim["cell_id"]] += claim["backed"]
    for part, cell in places.items():
        taken[cell.id] += part.backed
    cells = ledger.cells_by_id({*given, *taken})
    for claim in claims:
        use_rights.held(tx, ledger, claim["contract_id"], cells[claim["cell_id"]].key.item_id, -claim["backed"])
    for part in places:
        use_rights.held(tx, ledger, part.contract_id, part.item_id, part.backed)
    entries = [e for ident in sorted({*given, *taken}) for e in _moves(cells[ident], given[ident], taken[ident])]
    if entries:
        inflows_first = sorted(entries, key=lambda e: -e.quantity)
        ledger.book(f"resource:{tx.ids.new()}", "resource", f"order:{order_id}", inflows_first)


def _moves(cell: Cell, given: int, taken: int) -> list[Entry]:
    """What is given back fills missing units first, as whatever comes in."""
    fills = min(given, max(0, -cell.suspense))
    moves = (("reserved", taken - given), ("suspense", fills), ("free", given - fills - taken))
    return [Entry(cell, account, n) for account, n in moves if n]


def _claim_anew(tx: Transaction, order_id: int, claims: Sequence[Row], places: Mapping[Part, Cell]) -> None:
    """A claim that stays where it was keeps its row; the others end, and new ones begin."""
    c = t.claims.c
    standing = {(row["line_id"], row["cell_id"], row["contract_id"], row["lot"]): row for row in reversed(claims)}
    kept, new = [], []
    for part, cell in places.items():
        claim = standing.get((part.line, cell.id, part.contract_id, part.lot))
        if claim:
            kept.append(claim["id"])
            tx.set(t.claims, claim["id"], asked=claim["shipped"] + part.asked, backed=part.backed)
        else:
            new.append(of_order(tx, order_id, cell.id, part, all(row["soft"] for row in claims)))
    over = [claim["id"] for claim in claims if claim["id"] not in kept]
    tx.conn.execute(update(t.claims).where(c.id.in_(over)).values(asked=c.shipped, backed=0, open=False))
    tx.add(t.claims, new)
