"""Wishes for units of one lot alone: how many there are, and whom to ask where there are none, or none any more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from core.flow.change_order import units_wanted
from core.flow.tell import ask_person
from core.rules.decide import Request, Rooms
from core.store import pins
from core.store import tables as t
from core.store.ledger import CellKey, Ledger
from core.store.lots import UNNAMED, keeping
from core.store.rows import any_of
from core.store.store import Transaction

if TYPE_CHECKING:
    from core.flow.take_order import Draft

GONE, UNKNOWN, CHANGED, OTHER = "lot.pinned_gone", "order.lot_unknown", "order.lot_changed", "lot.not_pinned"
Row = Mapping[str, Any]
Place = tuple[int, int, int, str]
"""owner, item, warehouse, lot"""
LINE = "order {order}, line {ref} wants lot {lot} of {sku}"
NO_LOTS = f"{LINE}, which keeps no lots: have the item keep them, or have the line sold anew without"
NO_NAME = f"{LINE}, which stands for none: ask the shop which lot is meant"
A_KIT = f"{LINE}, a virtual kit, which has none: it gets any; have its parts sold by lot"
ANOTHER = f"{LINE}, which wanted {{was}} first: the first stands; have the line cancelled and sold anew"
LESS = "{ref} was promised {units} units of lot {lot}, of which {there} lie there: have them counted, or cancelled"
LEFT = (
    "{units} units left for {ref} that are not of the lot it was promised ({lots}): have them stopped, or ask them back"
)


def rooms(tx: Transaction, ledger: Ledger, places: Collection[Place]) -> Rooms:
    """How many units of each of these lots may still be promised by name, of cells that are loaded."""
    if not places:
        return {}
    ledger.flush()
    cells = {place: cell.id for place in places if (cell := ledger.found(CellKey(*place[:3])))}
    there = pins.room(tx, set(cells.values()), {lot for *_, lot in places})
    return {place: there.get((ident, place[3]), 0) for place, ident in cells.items()}


def wanted(tx: Transaction, ledger: Ledger, requests: Iterable[Request]) -> Rooms:
    """The same of the lots that these wishes name, wherever they may be backed."""
    pinned = [(want, request.warehouses) for request in requests for want in request.wants if want.lot]
    return rooms(
        tx, ledger, {(owner, w.item_id, h, w.lot) for w, houses in pinned for owner in w.owners for h in houses}
    )


def awaited(tx: Transaction, cell_ids: Iterable[int]) -> set[int]:
    """The items of these cells of whose lots somebody waits for units, wherever: there may be more of one than before,
    though no more units are free.
    """
    c, p, ce = t.claims.c, t.pins.c, t.cells.c
    here = select(ce.item_id).where(any_of(tx.conn, ce.id, sorted(cell_ids)))
    query = select(ce.item_id).join(t.claims, c.cell_id == ce.id).join(t.pins, p.claim_id == c.id)
    return set(tx.conn.execute(query.where(t.is_short, ce.item_id.in_(here)).distinct()).scalars())


def ask(tx: Transaction, drafts: Sequence[Draft]) -> None:
    """Ask a person, once each, about lots these orders name that cannot be promised as they stand."""
    told = [(d, line) for d in drafts for line in d.order.lines if line.lot and line.bears_stock]
    if not told:
        return
    rows = {(d.row["id"], row["ref"]): row for d in drafts for row in d.lines.values()}
    pinned = [(d, rows[d.row["id"], line.ref], line.lot) for d, line in told]
    keeps = keeping(tx, {row["item_id"] for _, row, _ in pinned if row["item_id"]})
    for draft, row, lot in pinned:
        kind, words = _doubt(row, lot[:200], keeps)
        if kind and units_wanted(draft.row, row):
            was = f"lot {row['lot']}" if row["lot"] else "any"
            named = {"order": draft.row["ref"], "ref": row["ref"], "sku": row["sku"] or row["title"], "was": was}
            _once(tx, kind, row["id"], draft.row["merchant_id"], words.format(**named, lot=lot))


def _doubt(row: Row, lot: str, keeps: Collection[int]) -> tuple[str, str]:
    """What is wrong with a lot that an order's line names, and in what words; "" for nothing."""
    if row["recipe"]:
        return UNKNOWN, A_KIT
    if row["lot"] != lot:
        return CHANGED, ANOTHER
    if row["item_id"] not in keeps:
        return UNKNOWN, NO_LOTS
    return (UNKNOWN, NO_NAME) if lot == UNNAMED else ("", "")


def _once(tx: Transaction, kind: str, line_id: int, merchant_id: int, why: str) -> None:
    """Each version of an order says it again: what a person has seen is not asked anew, and no release settles it."""
    w, subject = t.worklist.c, f"line:{line_id}"
    if tx.row(select(w.id).where(w.kind == kind, w.subject == subject, w.reason == why)) is None:
        ask_person(tx, kind, subject, merchant_id, why)


def watch(tx: Transaction, cell_ids: Iterable[int]) -> None:
    """Ask a person where less of a lot lies in these cells than was promised by name, oldest promises first."""
    served = list(_served(pins.standing(tx, any_of(tx.conn, t.pins.c.cell_id, sorted(cell_ids)))))
    lacking = {_subject(claim): (claim, there) for claim, there in served if there < claim["backed"]}
    for subject, (claim, there) in lacking.items():
        named = {name: claim[name] for name in ("ref", "lot")}
        why = LESS.format(**named, units=claim["backed"], there=max(0, there))
        ask_person(tx, GONE, subject, claim["merchant_id"], why)
    if enough := {_subject(claim) for claim, _ in served} - lacking.keys():
        w = t.worklist.c
        mine = any_of(tx.conn, w.subject, sorted(enough))
        tx.conn.execute(update(t.worklist).where(w.kind == GONE, mine, w.done_at.is_(None)).values(done_at=tx.now))


def _served(claims: Sequence[Row]) -> Iterable[tuple[Row, int]]:
    """Each claim on a lot, and the units of it that those before it leave."""
    taken = Counter[tuple[int, str]]()
    for claim in claims:
        at = (claim["cell_id"], claim["lot"])
        yield claim, int(claim["there"]) - taken[at]
        taken[at] += claim["backed"]


def _subject(claim: Row) -> str:
    """What a person is asked about: the order, or the claim of a caller's reservation."""
    return f"order:{claim['order_id']}" if claim["order_id"] else f"claim:{claim['id']}"


def told_less(tx: Transaction, fulfilment_id: int, lot: str, units: int, there: int) -> None:
    """A fulfilment is made of units of a lot of which fewer lie there."""
    f = t.fulfilments.c
    row = tx.row(select(f.ref, f.merchant_id).where(f.id == fulfilment_id))
    assert row is not None
    why = LESS.format(ref=row["ref"], units=units, lot=lot, there=there)
    ask_person(tx, GONE, f"fulfilment:{fulfilment_id}", row["merchant_id"], why)


def unasked(tx: Transaction) -> list[str]:
    """Lots of which more was promised by name than lies there, and no person was asked about any of it; pins astray."""
    found: dict[tuple[int, str], list[Row]] = {}
    for claim in pins.standing(tx):
        found.setdefault((claim["cell_id"], claim["lot"]), []).append(claim)
    beyond = {at: some for at, some in found.items() if sum(c["backed"] for c in some) > some[0]["there"]}
    w = t.worklist.c
    asked = set(tx.conn.execute(select(w.subject).where(w.kind == GONE)).scalars()) if beyond else set()
    p, c = t.pins.c, t.claims.c
    astray = select(p.claim_id).join(t.claims, c.id == p.claim_id).where(c.cell_id != p.cell_id)
    return [
        *(f"claim {ident} pins a lot in another cell" for ident in tx.conn.execute(astray).scalars()),
        *_beyond(beyond, asked),
    ]


def _beyond(beyond: Mapping[tuple[int, str], Sequence[Row]], asked: set[str]) -> list[str]:
    return [
        f"cell {cell}: {sum(c['backed'] for c in some)} units of lot {lot} are pinned by claims "
        f"{', '.join(str(c['id']) for c in some)}, {some[0]['there']} lie there"
        for (cell, lot), some in beyond.items()
        if not asked & {name for claim in some for name in (_subject(claim), f"fulfilment:{claim['fulfilment_id']}")}
    ]


def check(tx: Transaction, fulfilment: Row, left: Sequence[tuple[Row, Mapping[str, int]]]) -> set[int]:
    """Ask a person where other lots left than were promised; the numbers of the lines whose lots were.

    left: (the fulfilment's line, lot → units that left of it) each. What left for all lines of an item is looked at
    together, since a warehouse may tell it of either.
    """
    lots = pins.of(tx, sorted({line["claim_id"] for line, _ in left}))
    there = Counter[tuple[int, str]]()
    for line, units in left:
        there.update({(line["item_id"], lot): n for lot, n in units.items()})
    mine = [(line, lots[line["claim_id"]], sum(units.values())) for line, units in left if line["claim_id"] in lots]
    wrong = Counter[str]()
    for line, lot, told in mine:
        right = min(told, there[line["item_id"], lot])
        there[line["item_id"], lot] -= right
        wrong[lot] += told - right
    if beyond := wrong.total():
        why = LEFT.format(units=beyond, ref=fulfilment["ref"], lots=", ".join(sorted(+wrong)))
        ask_person(tx, OTHER, f"fulfilment:{fulfilment['id']}", fulfilment["merchant_id"], why)
    return {line["n"] for line, _, _ in mine}
