"""What follows once units have moved: promises for missing goods are taken back, units that became free back who waits.

Every flow that books journals ends here, so that it makes no difference what freed a unit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, update

from core.flow import (
    draw_locked,
    fill_claim,
    pin_lots,
    release_order,
    resource_order,
    sell_kits,
    tell_holder,
    use_rights,
)
from core.flow.fill_claim import Journal
from core.rules.decide import Left, Part, Source, Want
from core.store import contracts, pins
from core.store import tables as t
from core.store.claims import cause, missing, of_order, reserved_at
from core.store.contracts import AT_RESERVE
from core.store.ledger import Cell, CellKey, Ledger
from core.store.locks import KINDS, Kept, open_locks
from core.store.pools import pools
from core.store.rows import any_of
from core.store.store import Transaction, many, one

ASK, RESOURCE = "ask", "resource"
NEWEST = "newest"
ASKED = "order.short/send_cancellation"
Row = Mapping[str, Any]


def after_moves(tx: Transaction, ledger: Ledger) -> None:
    """Write what was booked, take back what is missing where its owner wants that, back who waits for what is free."""
    ledger.flush()
    ledger.risen |= pin_lots.awaited(tx, ledger.relotted) if ledger.relotted else set()
    while ledger.risen or ledger.sunk:
        risen, sunk = ledger.risen, ledger.sunk
        ledger.risen, ledger.sunk = set(), set()
        risen |= _take_back(tx, ledger, sunk)
        back_waiting(tx, ledger, risen)
        ledger.flush()
    if ledger.relotted:
        pin_lots.watch(tx, ledger.relotted)
        ledger.relotted = set()


def back_waiting(tx: Transaction, ledger: Ledger, items: Collection[int]) -> None:
    """Back the short claims on these items of merchants who wait and of callers, oldest first; release what is ready.

    One look-up in an index that holds nothing but short claims.
    """
    claims = _with_owners(tx, _waiting(tx, items)) if items else []
    if not claims:
        return
    sold_from = pools(tx, {c["connection_id"] for c in claims if c["short_policy"] == RESOURCE})
    ledger.load(key for c in claims for key in _places(c, sold_from.get(c["connection_id"], ())))
    ledger.cells_by_id(c["cell_id"] for c in claims)
    kept = open_locks(tx, {c["connection_id"] for c in claims} - {None}, {c["item_id"] for c in claims})
    waiting = [list(some) for _, some in groupby(claims, key=_whose)]
    backed = [some[0]["order_id"] for some in waiting if _back(tx, ledger, some, sold_from, kept)]
    release_order.release(tx, [ident for ident in backed if ident])


def _waiting(tx: Transaction, items: Collection[int]) -> list[Row]:
    c, o, m, ce = t.claims.c, t.orders.c, t.merchants.c, t.cells.c
    giver = func.coalesce(t.contracts.c.owner_id, ce.owner_id).label("owner_id")
    who = func.coalesce(o.merchant_id, c.holder_id).label("merchant_id")
    policy = (m.short_policy, m.part_backing)
    query = (
        select(t.claims, pins.lot, giver, ce.item_id, o.connection_id, o.placed_at, who, *policy)
        .join(t.cells, ce.id == c.cell_id)
        .join(t.pins, t.pins.c.claim_id == c.id, isouter=True)
        .join(t.contracts, t.contracts.c.id == c.contract_id, isouter=True)
        .join(t.orders, o.id == c.order_id, isouter=True)
        .join(t.merchants, m.id == o.merchant_id, isouter=True)
        .where(t.is_short, any_of(tx.conn, ce.item_id, sorted(items)))
    )
    rows = tx.rows(query.where(or_(m.short_policy != ASK, and_(c.order_id.is_(None), c.kind != "transfer"))))
    since = reserved_at(tx, rows)
    return sorted(rows, key=lambda c: (c["placed_at"] or since.get(c["id"], tx.now), *_whose(c), c["id"]))


def _whose(claim: Row) -> tuple[int, int, str, str]:
    """The order of a claim, or the holder, kind and ref of a reservation."""
    return claim["order_id"] or 0, claim["holder_id"] or 0, claim["kind"], claim["ref"] or ""


def _with_owners(tx: Transaction, claims: Sequence[Row]) -> list[Row]:
    """The claims, each with whose goods may back it: its owner's, its merchant's, and others' by contract."""
    merchants, items = {c["merchant_id"] for c in claims}, {c["item_id"] for c in claims}
    named = contracts.sources(tx, merchants, items)
    others = {key: tuple(source.owner_id for source in some) for key, some in named.items()}
    return [
        {**c, "owners": (c["owner_id"], c["merchant_id"], *others.get((c["merchant_id"], c["item_id"]), ()))}
        for c in claims
    ]


def _places(claim: Row, pool: Iterable[int]) -> list[CellKey]:
    """Where units may lie that could back a claim."""
    return [CellKey(owner, claim["item_id"], h) for owner in dict.fromkeys(claim["owners"]) for h in pool]


def _back(
    tx: Transaction,
    ledger: Ledger,
    claims: Sequence[Row],
    sold_from: Mapping[int, Sequence[int]],
    kept: Sequence[Kept],
) -> bool:
    """Whether this order, or reservation, got any of what it waits for. claims: its, on items of which there is more.

    A reservation stays where it stands, and takes what there is.
    """
    if claims[0]["order_id"] is None:
        return _top_up(tx, ledger, claims, may_part=True) > 0
    drawn, claims = draw_locked.top_up(tx, ledger, claims, kept)
    return _back_free(tx, ledger, claims, sold_from) or drawn > 0


def _back_free(tx: Transaction, ledger: Ledger, claims: Sequence[Row], sold_from: Mapping[int, Sequence[int]]) -> bool:
    first = claims[0]
    if first["short_policy"] != RESOURCE:
        return _top_up(tx, ledger, claims, first["part_backing"]) > 0
    pool = sold_from.get(first["connection_id"], ())
    places = (ledger.found(key) for c in claims for key in _places(c, pool))
    if not any(cell and cell.promisable for cell in places):
        return False
    return resource(tx, ledger, first["order_id"], pool, first["part_backing"]) > 0


def resource(tx: Transaction, ledger: Ledger, order_id: int, pool: Sequence[int], may_part: bool) -> int:
    """Move an order to where more of it is backed, else back what can be where it stands; the units it got."""
    gained = resource_order.look_again(tx, ledger, order_id, pool, may_part)
    return gained or _top_up(tx, ledger, _short_claims(tx, order_id), may_part)


def top_up_order(tx: Transaction, ledger: Ledger, order_id: int) -> int:
    """A person asked to back this short order where it stands; the units that it got."""
    o, m = t.orders.c, t.merchants.c
    query = select(m.part_backing).join(t.orders, o.merchant_id == m.id).where(o.id == order_id)
    units = _top_up(tx, ledger, _short_claims(tx, order_id), tx.conn.execute(query).scalar_one())
    release_order.release(tx, [order_id])
    return units


def _short_claims(tx: Transaction, order_id: int) -> list[Row]:
    c = t.claims.c
    query = select(t.claims, pins.lot, t.orders.c.merchant_id).join(t.orders, t.orders.c.id == c.order_id)
    query = query.join(t.pins, t.pins.c.claim_id == c.id, isouter=True)
    return tx.rows(query.where(t.is_short, c.order_id == order_id).order_by(c.id))


def _top_up(tx: Transaction, ledger: Ledger, claims: Sequence[Row], may_part: bool) -> int:
    """Back these claims of one order where they are; where it may not be in part, all of it or nothing."""
    if not may_part and claims:
        claims = _short_claims(tx, claims[0]["order_id"])
        there = _there(tx, ledger, claims)
        if any(_units(there[claim["id"]]) < missing(claim) for claim in claims):
            return 0
    if any(c["part_id"] for c in claims):
        claims = _short_claims(tx, claims[0]["order_id"])
    simple = [claim for claim in claims if claim["part_id"] is None]
    there = _there(tx, ledger, simple)
    units = sum(_top_up_one(tx, ledger, claim, there[claim["id"]]) for claim in simple)
    cells = ledger.cells_by_id(c["cell_id"] for c in claims)
    for some in sell_kits.together(claims, {ident: cell.key.warehouse_id for ident, cell in cells.items()}):
        there = _there(tx, ledger, some)
        more = sell_kits.backable(some, {ident: _units(parts) for ident, parts in there.items()})
        for claim in some:
            got = _top_up_one(tx, ledger, claim, _first(there[claim["id"]], more[claim["part_id"]]))
            more[claim["part_id"]] -= got
            units += got
    return units


def _there(tx: Transaction, ledger: Ledger, claims: Sequence[Row]) -> dict[int, list[Part]]:
    """Claim's id → what could back it beyond what does, first choice first: no unit twice, of no lot, and no right.

    What an order asked of another owner may be its merchant's own by now; that uses no right.
    """
    homes = {c["id"]: fill_claim.home(tx, ledger, c) for c in claims}
    wants = {c["id"]: _want(tx, homes[c["id"]], c) for c in claims}
    keys = {CellKey(who, *homes[ident].key[1:3]) for ident, want in wants.items() for who in want.owners}
    ledger.load(keys)
    cells = [cell for key in keys if (cell := ledger.found(key))]
    items = {key.item_id for key in keys}
    rights = use_rights.left(tx, ledger, {c["contract_id"] for c in claims} - {None}, items)
    pinned = {(c["id"], c["lot"]) for c in claims if c["lot"]}
    places = {(who, *homes[ident].key[1:3], lot) for ident, lot in pinned for who in wants[ident].owners}
    left = Left({cell.key[:3]: cell.promisable for cell in cells}, rights, pin_lots.rooms(tx, ledger, places))
    found = {}
    for claim in claims:
        want, place = wants[claim["id"]], homes[claim["id"]].key
        sources = left.sources(want, place.warehouse_id)
        mine = [it for it in sources if claim["order_id"] or it[1] == claim["contract_id"]]
        found[claim["id"]] = _first((_part(claim, place, *source) for source in mine), want.quantity)
        for part in found[claim["id"]]:
            left.take(part)
    return found


def _want(tx: Transaction, home: Cell, claim: Row) -> Want:
    """What a claim waits for, as a wish at its warehouse: under a contract its merchant's own units do, too."""
    key, contract = home.key, claim["contract_id"]
    wish = Want(claim["line_id"], key.owner_id, key.item_id, missing(claim), lot=claim["lot"])
    if contract is None:
        return wish
    where = None if fill_claim.may_pass(tx, home, claim) else frozenset[int]()
    return wish._replace(owner_id=claim["merchant_id"], others=(Source(key.owner_id, contract, where),))


def _part(claim: Row, place: CellKey, owner_id: int, contract_id: int | None, units: int) -> Part:
    what = (place.item_id, place.warehouse_id, units, units, claim["per_kit"])
    return Part(claim["line_id"], owner_id, *what, contract_id, claim["lot"])


def _units(parts: Iterable[Part]) -> int:
    return sum(part.backed for part in parts)


def _first(parts: Iterable[Part], units: int) -> list[Part]:
    """So many units of these, as far as they go."""
    found = []
    for part in parts:
        n = max(0, min(part.backed, units))
        units -= n
        found += [part._replace(asked=n, backed=n)] if n else []
    return found


def _top_up_one(tx: Transaction, ledger: Ledger, claim: Row, parts: Sequence[Part]) -> int:
    """Back a claim by these; what is not under its contract is asked of there by another one from now on."""
    units = sum(part.backed for part in parts if part.contract_id == claim["contract_id"])
    if units:
        _fill(tx, ledger, claim, units)
        if claim["order_id"] is None:
            tell_holder.changed(tx, ledger, claim, claim["backed"] + units)
    beside = [part for part in parts if part.contract_id != claim["contract_id"]]
    _change(tx, claim["id"], -_units(beside), units)
    for part in beside:
        cell = ledger.cell(CellKey(part.owner_id, part.item_id, part.warehouse_id))
        _fill(tx, ledger, _beside(tx, claim, cell, part), part.backed)
    return _units(parts)


def _beside(tx: Transaction, claim: Row, cell: Cell, part: Part) -> Row:
    """The order's claim on its merchant's own units there, asking for these too."""
    c = t.claims.c
    mine = (c.line_id == claim["line_id"], c.cell_id == cell.id, c.contract_id.is_(None), c.open.is_(True))
    query = select(t.claims).join(t.pins, t.pins.c.claim_id == c.id, isouter=True)
    query = query.where(*mine, c.fulfilment_id.is_(None), func.coalesce(t.pins.c.lot, "") == part.lot)
    if known := tx.row(query.order_by(c.id).limit(1)):
        _change(tx, known["id"], part.asked, part.backed)
        return known
    new = of_order(tx, claim["order_id"], cell.id, part, soft=claim["soft"])
    tx.add(t.claims, [new])
    return new


def _change(tx: Transaction, claim_id: int, asked: int, backed: int) -> None:
    """A claim asks for so many units more, and has so many more; one that asks for nothing any more is over."""
    c = t.claims.c
    after = {"asked": c.asked + asked, "backed": c.backed + backed, "open": c.asked + asked > c.shipped}
    if asked or backed:
        tx.conn.execute(update(t.claims).where(c.id == claim_id).values(**after))


def _fill(tx: Transaction, ledger: Ledger, claim: Row, units: int) -> None:
    fill_claim.fill(tx, ledger, claim, units, Journal(f"top-up:{tx.ids.new()}", "reserve", cause(claim)))


def _take_back(tx: Transaction, ledger: Ledger, sunk: Iterable[int]) -> set[int]:
    """Take back promises on the cells that miss more than before, where their owner leaves that to us; their items."""
    known = ledger.cells_by_id(sunk)
    cells = [known[ident] for ident in sorted(sunk) if known[ident].suspense < 0]
    owners = {m["id"]: m["unback"] for m in many(tx, t.merchants, "id", sorted({c.key.owner_id for c in cells}))}
    mine = [cell for cell in cells if owners[cell.key.owner_id] == NEWEST]
    return {cell.key.item_id for cell in mine if take_back(tx, ledger, cell)}


def take_back(tx: Transaction, ledger: Ledger, cell: Cell) -> int:
    """Give up promises for goods that are missing, as many as are missing there; the units."""
    return give_up(tx, ledger, cell, max(0, -cell.suspense), "suspense")


def give_up(tx: Transaction, ledger: Ledger, cell: Cell, wanted: int, account: str) -> int:
    """Give up promises on so many units of a cell: locks, then newest claims; only what no warehouse was told of.

    Moves reserved to that account (what misses units is filled first) and leaves those orders short, and reservations,
    of which a person hears; the units.
    """
    short: list[int] = []
    total = 0
    c = t.claims.c
    for claim in tx.rows(select(t.claims).where(_loose(cell)).order_by(c.kind.in_(KINDS).desc(), c.id.desc())):
        units = min(claim["backed"], wanted - total)
        if units > 0 and claim["part_id"]:
            total += _break_kits(tx, ledger, cell, claim["id"], units)
            short.append(claim["order_id"])
        elif units > 0:
            journal = Journal(f"unback:{tx.ids.new()}", "unback", cause(claim))
            fill_claim.empty(tx, ledger, claim, units, journal, account)
            _leave_short(tx, ledger, claim, units)
            short += [claim["order_id"]] if claim["order_id"] else []
            total += units
    release_order.release(tx, short)
    return total


def _leave_short(tx: Transaction, ledger: Ledger, claim: Row, units: int) -> None:
    """The claim is without these units from now on; a lock wants them no longer."""
    is_lock = claim["kind"] in KINDS
    asked = claim["asked"] - units if is_lock else claim["asked"]
    tx.set(t.claims, claim["id"], asked=asked, backed=claim["backed"] - units)
    if claim["order_id"] is None and not is_lock:
        tell_holder.changed(tx, ledger, claim, claim["backed"] - units)


def may_give_up(tx: Transaction, cell: Cell) -> int:
    """Units of a cell that are promised and may be given up."""
    query = select(func.coalesce(func.sum(t.claims.c.backed), 0)).where(_loose(cell))
    return int(tx.conn.execute(query).scalar_one())


def _loose(cell: Cell) -> ColumnElement[bool]:
    """Claims on a cell that no warehouse was told of; who asked to move goods is kept to.

    Nor are those given up that hold what passed to this owner for an order: it would go back to whom it came from.
    """
    c, co = t.claims.c, t.contracts.c
    bought = select(co.id).where(co.title_passes == AT_RESERVE, co.beneficiary_id == cell.key.owner_id)
    its = or_(c.contract_id.is_(None), c.contract_id.not_in(bought))
    loose = and_(c.open.is_(True), c.fulfilment_id.is_(None), c.backed > 0, c.kind != "transfer")
    return and_(c.cell_id == cell.id, loose, its)


def _break_kits(tx: Transaction, ledger: Ledger, cell: Cell, claim_id: int, units: int) -> int:
    """Give up whole kits of the line of this claim for units that are missing of one part; the units of that part."""
    claim = one(tx, t.claims, id=claim_id)
    assert claim is not None
    c = t.claims.c
    mine = and_(c.line_id == claim["line_id"], c.open.is_(True), c.fulfilment_id.is_(None))
    claims = tx.rows(select(t.claims).where(mine).order_by(c.id.desc()))
    cells = ledger.cells_by_id(row["cell_id"] for row in claims)
    claims = [row for row in claims if cells[row["cell_id"]].key.warehouse_id == cell.key.warehouse_id]
    given = sell_kits.broken(claims, claim["part_id"], min(units, claim["backed"]))
    total = given[claim["part_id"]]
    for row in claims:
        some = min(row["backed"], given[row["part_id"]])
        given[row["part_id"]] -= some
        if some:
            journal = Journal(f"unback:{tx.ids.new()}", "unback", f"order:{row['order_id']}")
            fill_claim.empty(tx, ledger, row, some, journal)
            tx.set(t.claims, row["id"], backed=row["backed"] - some)
    return total


def policy_changed(tx: Transaction, merchant_id: int) -> None:
    """Look again at a merchant's short orders, and at its goods that are missing, now that it wants something else."""
    c, o, ce = t.claims.c, t.orders.c, t.cells.c
    ledger = Ledger(tx)
    query = select(c.order_id, ce.item_id).join(t.cells, ce.id == c.cell_id).join(t.orders, o.id == c.order_id)
    short = tx.rows(query.where(t.is_short, o.merchant_id == merchant_id))
    ledger.risen |= {row["item_id"] for row in short}
    missing = select(ce.id).where(ce.owner_id == merchant_id, ce.suspense < 0)
    ledger.sunk |= set(tx.conn.execute(missing).scalars())
    after_moves(tx, ledger)
    release_order.release(tx, [row["order_id"] for row in short])
    _stop_asking(tx, merchant_id, [row["order_id"] for row in short])


def _stop_asking(tx: Transaction, merchant_id: int, orders: Sequence[int]) -> None:
    """Who waits from now on does not want its shops asked to cancel any more."""
    merchant = one(tx, t.merchants, id=merchant_id)
    w = t.worklist.c
    if merchant and merchant["short_policy"] != ASK:
        asked = any_of(tx.conn, w.subject, [f"order:{ident}" for ident in sorted(set(orders))])
        done = update(t.worklist).where(w.kind == ASKED, asked, w.done_at.is_(None)).values(done_at=tx.now)
        tx.conn.execute(done)
