"""Claims, and what left for orders, held against the journals.

A journal names the order or the caller it is for, not the claim: what several claims of one subject hold in one cell is
held against it together, and so is what left of one item for one fulfilment.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, String, and_, case, cast, func, literal, null, or_, select, union_all

from core.flow.audit_causes import shipments, words
from core.flow.audit_kits import is_kit
from core.store import tables as t
from core.store.database import Id, number_in
from core.store.locks import KINDS
from core.store.store import Transaction

NONE = literal(0)


def breaches(tx: Transaction) -> list[str]:
    """One sentence per breach."""
    return [*_backed(tx), *_left(tx), *_claims(tx), *_lines(tx)]


def _backed(tx: Transaction) -> list[str]:
    """Orders and reservations whose claims hold other units of a cell than were booked for them."""
    both = union_all(_held(), *_reserved(tx)).subquery()
    b, h = both.c, t.hand_overs.c
    held, booked = func.sum(b.held), func.sum(b.booked)
    handed = select(h.kind + ":" + h.ref).where(h.order_id.is_not(None))
    whose = and_(*(b.subject.not_like(f"{kind}:%") for kind in KINDS), b.subject.not_in(handed))
    last = func.max(b.journal_id).label("last")
    query = select(b.subject, b.cell_id, held.label("held"), booked.label("booked"), last)
    query = query.where(whose).group_by(b.subject, b.cell_id).order_by(b.subject, b.cell_id)
    wrong = tx.rows(query.having(held != booked))
    by = words(tx, {row["last"] for row in wrong if row["last"]})
    return [
        f"{r['subject']} holds {r['held']} units of cell {r['cell_id']}, its journals say {r['booked']}{by[r['last']]}"
        for r in wrong
    ]


def _held() -> Select[Any]:
    c = t.claims.c
    order, other = literal("order:") + cast(c.order_id, String), c.kind + literal(":") + c.ref
    subject = case((c.order_id.is_not(None), order), else_=other).label("subject")
    query = select(
        subject, c.cell_id, c.backed.label("held"), NONE.label("booked"), cast(null(), Id).label("journal_id")
    )
    return query.where(c.open.is_(True), c.backed > 0)


def _reserved(tx: Transaction) -> list[Select[Any]]:
    """What the journals moved into claims and out of them, each by what it was booked for."""
    e, j, f, tr = t.entries.c, t.journals.c, t.fulfilments.c, t.transfers.c
    order = literal("order:") + cast(f.order_id, String)
    by_key, by_cause = number_in(tx.conn, j.key), number_in(tx.conn, j.cause)
    of_fulfilment = j.cause.like("fulfilment:%")
    other = and_(j.kind.not_in(("ship", "transfer_out")), ~of_fulfilment)

    def moved(subject: Any) -> Select[Any]:
        columns = (subject.label("subject"), e.cell_id, NONE.label("held"), _share().label("booked"), e.journal_id)
        return select(*columns).join(t.journals, j.id == e.journal_id).where(e.account == "reserved")

    return [
        moved(j.cause).where(other),
        moved(order).join(t.fulfilments, f.id == by_cause).where(of_fulfilment),
        moved(order).join(t.fulfilments, f.id == by_key).where(j.kind == "ship"),
        moved(literal("transfer:") + tr.ref).join(t.transfers, tr.id == by_key).where(j.kind == "transfer_out"),
    ]


def _share() -> Any:
    """An order's part of an entry, where the same journal has that of a lock or of a reservation beside it."""
    e, j = t.entries.c, t.journals.c
    others = or_(and_(j.kind.in_(("draw", "hand_over")), e.quantity < 0), and_(j.kind == "put_back", e.quantity > 0))
    return case((others, 0), else_=e.quantity)


def _left(tx: Transaction) -> list[str]:
    """Fulfilments whose lines say that other units of an item left than were booked."""
    both = union_all(*_sent(), _shipped(tx)).subquery()
    b = both.c
    sent, booked = func.sum(b.sent), func.sum(b.booked)
    query = select(b.fulfilment_id, b.item_id, sent.label("sent"), booked.label("booked"))
    query = query.group_by(b.fulfilment_id, b.item_id).order_by(b.fulfilment_id, b.item_id)
    wrong = tx.rows(query.having(sent != booked))
    by = shipments(tx, {row["fulfilment_id"] for row in wrong})
    return [
        f"fulfilment {r['fulfilment_id']}: {r['sent']} of item {r['item_id']} left, its journals say {r['booked']}"
        f"{by[r['fulfilment_id']]}"
        for r in wrong
    ]


def _sent() -> list[Select[Any]]:
    """What lines say left of their own item, and of others in its place."""
    li, s = t.fulfilment_lines.c, t.sent_instead.c
    nothing = NONE.label("booked")
    of_line = and_(li.fulfilment_id == s.fulfilment_id, li.n == s.n)
    instead = select(s.fulfilment_id, li.item_id, (-s.quantity).label("sent"), nothing)
    return [
        select(li.fulfilment_id, li.item_id, li.shipped.label("sent"), nothing),
        instead.join(t.fulfilment_lines, of_line),
        select(s.fulfilment_id, s.item_id, s.quantity.label("sent"), nothing),
    ]


def _shipped(tx: Transaction) -> Select[Any]:
    e, j, ce = t.entries.c, t.journals.c, t.cells.c
    columns = (number_in(tx.conn, j.key).label("fulfilment_id"), ce.item_id, NONE.label("sent"))
    query = select(*columns, e.quantity.label("booked")).join(t.journals, j.id == e.journal_id)
    return query.join(t.cells, ce.id == e.cell_id).where(j.kind == "ship", e.account == "world")


def _claims(tx: Transaction) -> list[str]:
    """Claims that say other units left than the fulfilments made of them."""
    c, li = t.claims.c, t.fulfilment_lines.c
    left = func.coalesce(func.sum(li.shipped), 0)
    query = select(c.id, c.shipped, left.label("n"), func.max(li.fulfilment_id).label("last"))
    query = query.join(t.fulfilment_lines, li.claim_id == c.id, isouter=True).where(c.kind != "transfer")
    wrong = tx.rows(query.group_by(c.id, c.shipped).having(left != c.shipped))
    by = shipments(tx, {row["last"] for row in wrong if row["last"]})
    return [f"claim {r['id']}: {r['shipped']} left, its fulfilments say {r['n']}{by.get(r['last'], '')}" for r in wrong]


def _lines(tx: Transaction) -> list[str]:
    """Order lines that say other units left than the fulfilments of them; what leaves of kits is counted in kits."""
    o, li = t.order_lines.c, t.fulfilment_lines.c
    left = func.coalesce(func.sum(li.shipped), 0)
    query = select(o.id, o.shipped, left.label("n"), func.max(li.fulfilment_id).label("last"))
    query = query.join(t.fulfilment_lines, li.line_id == o.id, isouter=True).where(~is_kit(o.id))
    wrong = tx.rows(query.group_by(o.id, o.shipped).having(left != o.shipped))
    by = shipments(tx, {row["last"] for row in wrong if row["last"]})
    return [
        f"order line {r['id']}: {r['shipped']} left, its fulfilments say {r['n']}{by.get(r['last'], '')}" for r in wrong
    ]
