"""What no warehouse was told of yet moves to the warehouses of its pool that now back more of it, in one journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select, update

from core.errors import Refused
from core.flow import draw_locked
from core.rules.decide import Balances, Part, Request, Want, decide
from core.store import tables as t
from core.store.ledger import Cell, CellKey, Entry, Ledger
from core.store.store import Transaction

Row = Mapping[str, Any]


def look_again(tx: Transaction, ledger: Ledger, order_id: int, pool: Sequence[int], may_part: bool = True) -> int:
    """Move the order's loose claims to where more of them is backed; the units more, 0 where it stays as it is."""
    claims = _loose(tx, order_id)
    parts = _decided(ledger, claims, pool, may_part)
    gain: int = sum(p.backed for p in parts) - sum(c["backed"] for c in claims)
    if gain <= 0:
        return 0
    _move(tx, ledger, order_id, claims, parts)
    return gain


def move_to(tx: Transaction, ledger: Ledger, order_id: int, warehouses: Sequence[int], may_part: bool = True) -> None:
    """A person says which warehouses shall make it. Raises Refused where they would back less than is backed now."""
    claims = _loose(tx, order_id)
    parts = _decided(ledger, claims, warehouses, may_part)
    there, here = sum(p.backed for p in parts), sum(c["backed"] for c in claims)
    if there < here:
        raise Refused(f"those warehouses back {there} of its units, where it is now {here} are: name others")
    _move(tx, ledger, order_id, claims, parts)


def _loose(tx: Transaction, order_id: int) -> list[Row]:
    """Its open claims that are in no fulfilment: the only ones that may move."""
    c = t.claims.c
    query = select(t.claims).where(c.order_id == order_id, c.open.is_(True), c.fulfilment_id.is_(None))
    return tx.rows(query.order_by(c.id))


def _decided(ledger: Ledger, claims: Sequence[Row], pool: Sequence[int], may_part: bool) -> list[Part]:
    """Admission once more, as if these claims had given back what they hold."""
    if not claims or not pool:
        return []
    cells = ledger.cells_by_id(c["cell_id"] for c in claims)
    units: dict[tuple[int, int, int, int | None], int] = Counter()
    for claim in claims:
        key = cells[claim["cell_id"]].key
        units[claim["line_id"], key.owner_id, key.item_id, claim["per_kit"]] += claim["asked"] - claim["shipped"]
    wants = [Want(line, owner, item, n, per_kit) for (line, owner, item, per_kit), n in units.items()]
    ledger.open(CellKey(w.owner_id, w.item_id, h) for w in wants for h in pool)
    return decide(_balances(ledger, claims, wants, pool), [Request(wants, pool, may_part=may_part)])[0]


def _balances(ledger: Ledger, claims: Sequence[Row], wants: Sequence[Want], pool: Sequence[int]) -> Balances:
    held: dict[int, int] = Counter()
    for claim in claims:
        held[claim["cell_id"]] += claim["backed"]
    balances = {}
    for want in wants:
        for warehouse in pool:
            cell = ledger.cell(CellKey(want.owner_id, want.item_id, warehouse))
            balances[want.owner_id, want.item_id, warehouse] = max(
                0, cell.free + min(0, cell.suspense) + held.get(cell.id, 0)
            )
    return balances


def _move(tx: Transaction, ledger: Ledger, order_id: int, claims: Sequence[Row], parts: Sequence[Part]) -> None:
    given, taken = Counter[int](), Counter[int]()
    for claim in claims:
        given[claim["cell_id"]] += claim["backed"]
    places = {part: ledger.cell(CellKey(part.owner_id, part.item_id, part.warehouse_id)) for part in parts}
    for part, cell in places.items():
        taken[cell.id] += part.backed
    cells = ledger.cells_by_id({*given, *taken})
    entries = [e for ident in sorted({*given, *taken}) for e in _moves(cells[ident], given[ident], taken[ident])]
    if entries:
        inflows_first = sorted(entries, key=lambda e: -e.quantity)
        ledger.book(f"resource:{tx.ids.new()}", "resource", f"order:{order_id}", inflows_first)
    _claim_anew(tx, order_id, claims, places)
    draw_locked.leave(tx, ledger, order_id)


def _moves(cell: Cell, given: int, taken: int) -> list[Entry]:
    """What is given back fills missing units first, as whatever comes in."""
    fills = min(given, max(0, -cell.suspense))
    moves = (("reserved", taken - given), ("suspense", fills), ("free", given - fills - taken))
    return [Entry(cell, account, n) for account, n in moves if n]


def _claim_anew(tx: Transaction, order_id: int, claims: Sequence[Row], places: Mapping[Part, Cell]) -> None:
    """A claim that stays where it was keeps its row; the others end, and new ones begin."""
    c = t.claims.c
    standing = {(one["line_id"], one["cell_id"]): one for one in reversed(claims)}
    kept, new = [], []
    for part, cell in places.items():
        claim = standing.get((part.line, cell.id))
        if claim:
            kept.append(claim["id"])
            tx.set(t.claims, claim["id"], asked=claim["shipped"] + part.asked, backed=part.backed)
        else:
            head = {"id": tx.ids.new(), "kind": "order", "order_id": order_id, "line_id": part.line}
            units = {"cell_id": cell.id, "asked": part.asked, "backed": part.backed, "shipped": 0}
            of_kit = {"part_id": part.item_id if part.per_kit else None, "per_kit": part.per_kit}
            new.append({**head, **units, **of_kit, "soft": all(one["soft"] for one in claims), "open": True})
    over = [claim["id"] for claim in claims if claim["id"] not in kept]
    tx.conn.execute(update(t.claims).where(c.id.in_(over)).values(asked=c.shipped, backed=0, open=False))
    tx.add(t.claims, new)
