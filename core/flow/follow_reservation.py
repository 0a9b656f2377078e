"""An order that follows a reservation takes over its units: the claim moves, nothing is reserved twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select, tuple_, update

from core.errors import Refused, Unmatched
from core.flow import fill_claim, keep_promises, release_order, tell_holder
from core.flow.reserve_stock import Subject, give_back, open_claims, standing
from core.rules.decide import Part, Want
from core.store import pins
from core.store import tables as t
from core.store.claims import missing, of_order
from core.store.ledger import Entry, Ledger
from core.store.store import Transaction, one

Row = Mapping[str, Any]


def promise(tx: Transaction, subject: Subject, connection_id: int, order_ref: str) -> int | None:
    """This order, whether it has come or not, takes over this reservation; our id of it, None until it comes.

    Said again it changes nothing. Raises Unmatched (never reserved) or Refused (given back, or another order's).
    """
    ledger = Ledger(tx)
    known = one(tx, t.hand_overs, **subject._asdict())
    if known is None:
        known = _promise(tx, subject, connection_id, order_ref)
    elif (known["connection_id"], known["order_ref"]) != (connection_id, order_ref):
        raise Refused(f"{subject.ref} was promised to the order {known['order_ref']!r}: it cannot follow two")
    order = one(tx, t.orders, connection_id=connection_id, ref=order_ref)
    if order is None or known["order_id"]:
        return int(known["order_id"]) if known["order_id"] else None
    _fill(tx, ledger, subject, order)
    release_order.release(tx, [order["id"]])
    keep_promises.after_moves(tx, ledger)
    return int(order["id"])


def _promise(tx: Transaction, subject: Subject, connection_id: int, order_ref: str) -> Row:
    stands = standing(tx, [subject]).get(subject)
    if stands is None:
        raise Unmatched("reservation", subject.ref, f"there is no reservation {subject.ref!r}: reserve first")
    if stands.state == "released":
        raise Refused(f"{subject.ref} was given back: the order {order_ref!r} has to be backed by itself")
    row = {**subject._asdict(), "connection_id": connection_id, "order_ref": order_ref, "created_at": tx.now}
    tx.add(t.hand_overs, [row])
    return {**row, "order_id": None}


def promised(tx: Transaction, orders: Sequence[Row]) -> dict[int, list[Subject]]:
    """Order id → reservations that were promised to these orders and stand there still."""
    h = t.hand_overs.c
    ids = {(o["connection_id"], o["ref"]): o["id"] for o in orders}
    if not ids:
        return {}
    named = tuple_(h.connection_id, h.order_ref).in_(list(ids))
    found: dict[int, list[Subject]] = {}
    for row in tx.rows(select(t.hand_overs).where(named, h.order_id.is_(None)).order_by(h.created_at, h.ref)):
        subject = Subject(row["holder_id"], row["kind"], row["ref"])
        found.setdefault(ids[row["connection_id"], row["order_ref"]], []).append(subject)
    return found


def take_over(
    tx: Transaction, ledger: Ledger, subject: Subject, order: Row, wants: Sequence[Want]
) -> tuple[list[dict[str, Any]], list[Want]]:
    """The order's claims on units the reservation held, and what of its wishes these leave open.

    The reservation is over; what it held beyond these wishes goes back. Parts of kits are decided anew, in whole kits,
    and so is a wish for a lot that the reservation does not pin; units it does pin stay so, whatever the order says.
    """
    held = [dict(claim) for claim in open_claims(tx, {subject})]
    if not held:
        return [], list(wants)
    tell_holder.over(tx, held)
    pinned = pins.of(tx, [claim["id"] for claim in held])
    cells = ledger.cells_by_id(claim["cell_id"] for claim in held)
    made: list[dict[str, Any]] = []
    left: list[Want] = []
    passed: list[Entry] = []
    for want in sorted(wants, key=lambda want: not want.lot):
        missing = want.quantity
        for claim in held if want.per_kit is None else ():
            key, lot = cells[claim["cell_id"]].key, pinned.get(claim["id"], "")
            fits = key.item_id == want.item_id and want.lot in ("", lot)
            units = min(missing, claim["backed"]) if fits else 0
            if units:
                place = (key.owner_id, want.item_id, key.warehouse_id)
                part = Part(want.line, *place, units, units, contract_id=claim["contract_id"], lot=lot)
                made.append(of_order(tx, order["id"], claim["cell_id"], part, soft=not order["may_ship"]))
                passed += fill_claim.take_over(tx, ledger, made[-1])
                ledger.relotted |= {made[-1]["cell_id"]} if lot else set()
                claim["backed"] -= units
                missing -= units
        left += [want._replace(quantity=missing)] if missing else []
    ledger.book(_key(subject), "hand_over", f"order:{order['id']}", passed)
    _end(tx, ledger, subject, order, held)
    return made, left


def _key(subject: Subject) -> str:
    return f"hand-over:{subject.holder_id}:{subject.kind}:{subject.ref}"


def _end(tx: Transaction, ledger: Ledger, subject: Subject, order: Row, held: Sequence[Row]) -> None:
    """The reservation's claims are over; what nobody took of them goes back."""
    give_back(tx, ledger, held)
    h = t.hand_overs.c
    mine = (h.holder_id == subject.holder_id) & (h.kind == subject.kind) & (h.ref == subject.ref)
    tx.conn.execute(update(t.hand_overs).where(mine).values(order_id=order["id"]))


def _fill(tx: Transaction, ledger: Ledger, subject: Subject, order: Row) -> None:
    """The order is here: what it is short of is taken over, and what it has been backed twice goes back."""
    c, ce = t.claims.c, t.cells.c
    query = select(t.claims, pins.lot, ce.owner_id, ce.item_id).join(t.cells, ce.id == c.cell_id)
    query = query.join(t.pins, t.pins.c.claim_id == c.id, isouter=True)
    mine = (c.order_id == order["id"]) & c.fulfilment_id.is_(None) & c.part_id.is_(None)
    short = tx.rows(query.where(t.is_short, mine).order_by(c.id))
    wants = [Want(row["line_id"], row["owner_id"], row["item_id"], missing(row), lot=row["lot"]) for row in short]
    made, _ = take_over(tx, ledger, subject, order, wants)
    taken: dict[tuple[int, int], int] = {}
    cells = ledger.cells_by_id(claim["cell_id"] for claim in made)
    for claim in made:
        at = (claim["line_id"], cells[claim["cell_id"]].key.item_id)
        taken[at] = taken.get(at, 0) + claim["backed"]
    for row in short:
        units = min(taken.get((row["line_id"], row["item_id"]), 0), missing(row))
        if units:
            taken[row["line_id"], row["item_id"]] -= units
            asked = row["asked"] - units
            tx.set(t.claims, row["id"], asked=asked, open=asked > row["shipped"])
    tx.add(t.claims, made)
