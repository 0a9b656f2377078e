"""The inbox: what was said to us, kept raw and sealed before it is acknowledged, settled once.

A document with a sender's event id is unique on it; where that names one fact and comes again with other content, the
other content is kept beside the first, for a person. One that carries state is kept unless it equals the latest kept
for its (connection, kind, ref), so that A → B → A stays three documents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import and_, or_, select, update

from core.errors import YipanError
from core.model import Document
from core.store import tables as t
from core.store.rows import any_of, given, insert_or_skip
from core.store.store import Transaction

Subject = tuple[int, str, str]
"""(connection id, kind, ref): what documents without an event id are versions of."""
LANES = {"order": "orders", "tracking": "tracking"}
FACTS = ("confirm", "receipt", "return", "count", "stock_change")
"""Kinds of documents whose event id names one fact: goods that moved."""


@dataclass(frozen=True)
class Kept:
    """What became of a page of documents: ids of the new ones, and how many were there already."""

    new: tuple[int, ...]
    duplicates: int


class Delivery(NamedTuple):
    """Documents one connection brought at once. holder: whose key seals them, 0 for the operator's."""

    connection_id: int
    holder: int
    documents: Sequence[Document]


@dataclass(frozen=True)
class Heard:
    """A kept document, opened."""

    id: int
    connection_id: int
    kind: str
    ref: str
    body: bytes
    headers: Mapping[str, str]
    event_id: str | None
    attempts: int
    repeats: int | None = None
    """Inbox row of the document with other content that came first under its event id."""


def keep(tx: Transaction, connection_id: int, holder: int, documents: Sequence[Document]) -> Kept:
    """Keep a page. Duplicates are dropped and counted; order within the page is kept."""
    return keep_deliveries(tx, [Delivery(connection_id, holder, documents)])


def keep_deliveries(tx: Transaction, deliveries: Sequence[Delivery]) -> Kept:
    """Keep what several connections brought, in order, with as many statements as for one."""
    brought = [(d, document, hashlib.sha256(document.body).hexdigest()) for d in deliveries for document in d.documents]
    if not brought:
        return Kept((), 0)
    plain = [((d.connection_id, doc.kind, doc.ref), digest) for d, doc, digest in brought if doc.event_id is None]
    latest = _repeated(tx, dict(reversed(plain)))
    keys = {holder: tx.vault.key(tx, holder) for holder in sorted({d.holder for d in deliveries})}
    rows = []
    for delivery, document, digest in brought:
        subject = (delivery.connection_id, document.kind, document.ref)
        if document.event_id is None and latest.get(subject) == digest:
            continue
        latest[subject] = digest
        rows.append(_row(tx, delivery.connection_id, keys[delivery.holder], document, digest))
    states, events = [r for r in rows if r["event_id"] is None], [r for r in rows if r["event_id"] is not None]
    tx.add(t.inbox, states)
    told = insert_or_skip(tx.conn, t.inbox, events)
    new = [*(row["id"] for row in states), *told, *_keep_others(tx, events, set(told))]
    tx.tally("duplicates_absorbed", len(brought) - len(new))
    tx.lanes.update(LANES.get(document.kind, "fulfilment") for _, document, _ in brought)
    return Kept(tuple(new), len(brought) - len(new))


def _repeated(tx: Transaction, first: Mapping[Subject, str]) -> dict[Subject, str]:
    """Those subjects of which the latest that was kept has the digest that now comes first."""
    if not first:
        return {}
    i = t.inbox.c
    columns = {name: i[name].type for name in ("connection_id", "kind", "ref", "digest")}
    asked = given(tx.conn, columns, [(*subject, digest) for subject, digest in first.items()])
    mine = [i[name] == asked.c[name] for name in ("connection_id", "kind", "ref")]
    last = select(i.digest).where(*mine).order_by(i.id.desc()).limit(1).scalar_subquery()
    rows = tx.conn.execute(select(asked).where(asked.c.digest == last))
    return {(connection_id, kind, ref): digest for connection_id, kind, ref, digest in rows}


def _keep_others(tx: Transaction, events: Sequence[dict[str, Any]], new: Collection[int]) -> list[int]:
    """Of facts whose event id was there already: those with other content than the first, each content once."""
    known = [row for row in events if row["id"] not in new and row["kind"] in FACTS]
    if not known:
        return []
    i, names = t.inbox.c, ("connection_id", "kind", "event_id")
    asked = given(tx.conn, {name: i[name].type for name in names}, [tuple(row[n] for n in names) for row in known])
    query = select(i.id, i.digest, *(i[name] for name in names))
    rows = tx.rows(query.join(asked, and_(*(i[name] == asked.c[name] for name in names))))
    first = {tuple(row[name] for name in names): row for row in rows}
    stands = [(row, first[tuple(row[name] for name in names)]) for row in known]
    others = [_other(row, was["id"]) for row, was in stands if was["digest"] != row["digest"]]
    return insert_or_skip(tx.conn, t.inbox, others)


def _other(row: Mapping[str, Any], first: int) -> dict[str, Any]:
    """The row under an event id of its own, made of the sender's and of what it says."""
    event_id = hashlib.sha256(f"{row['event_id']}/{row['digest']}".encode()).hexdigest()
    return {**row, "event_id": event_id, "repeats": first}


def _row(tx: Transaction, connection_id: int, key_id: int, document: Document, digest: str) -> dict[str, Any]:
    return {
        "id": tx.ids.new(),
        "connection_id": connection_id,
        "kind": document.kind,
        "ref": document.ref,
        "event_id": document.event_id,
        "version": document.version,
        "digest": digest,
        "body": tx.vault.seal(tx, key_id, document.body),
        "key_id": key_id,
        "headers": dict(document.headers),
        "part_of": document.part_of,
        "repeats": None,
        "state": "waiting",
        "due_at": tx.now,
        "received_at": document.received_at or tx.now,
    }


def waiting(tx: Transaction, limit: int = 200) -> list[Heard]:
    """The oldest documents that wait to be understood, opened."""
    i = t.inbox.c
    rows = tx.rows(select(t.inbox).where(i.state == "waiting", i.due_at <= tx.now).order_by(i.id).limit(limit))
    return [opened(tx, row) for row in rows]


def due_lanes(tx: Transaction) -> set[str]:
    """The lanes that have documents to understand."""
    i = t.inbox.c
    kinds = tx.conn.execute(select(i.kind).where(i.state == "waiting", i.due_at <= tx.now).distinct()).scalars()
    return {LANES.get(kind, "fulfilment") for kind in kinds}


def opened(tx: Transaction, row: Mapping[str, Any]) -> Heard:
    """A row with its body unsealed."""
    body = tx.vault.open(tx, row["key_id"], row["body"])
    names = ("id", "connection_id", "kind", "ref", "headers", "event_id", "attempts", "repeats")
    return Heard(body=body, **{n: row[n] for n in names})


def said_under(tx: Transaction, heard: Sequence[Heard]) -> dict[int, list[Mapping[str, Any]]]:
    """What was said under the numbers of those that repeat one: inbox row of the first → its row, then the others'."""
    ids = sorted({h.repeats for h in heard if h.repeats})
    i = t.inbox.c
    mine = or_(any_of(tx.conn, i.id, ids), any_of(tx.conn, i.repeats, ids))
    rows = tx.rows(select(t.inbox).where(mine).order_by(i.repeats.is_not(None), i.id)) if ids else []
    said: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        said.setdefault(row["repeats"] or row["id"], []).append(row)
    return said


def still_waiting(tx: Transaction, ids: Sequence[int]) -> set[int]:
    """Which of these nobody has settled meanwhile; ask first in the transaction that settles them."""
    query = select(t.inbox.c.id).where(t.inbox.c.id.in_(list(ids)), t.inbox.c.state == "waiting")
    query = query.order_by(t.inbox.c.id).with_for_update()
    return set(tx.conn.execute(query).scalars())


def settle(tx: Transaction, ids: Sequence[int]) -> None:
    """They are understood and booked."""
    if ids:
        values = {"state": "done", "settled_at": tx.now, "problem": None, "reason": None, "fix": None}
        tx.conn.execute(update(t.inbox).where(t.inbox.c.id.in_(list(ids))).values(**values))


def absorb(tx: Transaction, ids: Sequence[int]) -> None:
    """They say what another says."""
    settle(tx, ids)
    tx.tally("duplicates_absorbed", len(ids))


def park(tx: Transaction, ident: int, error: YipanError) -> None:
    """It waits for a person, with the reason and the button that fixes it."""
    values = {"problem": type(error).__name__, "reason": error.message[:2000], "fix": error.fix}
    tx.set(t.inbox, ident, state="parked", settled_at=tx.now, **values)


def delay(tx: Transaction, ident: int, error: YipanError, seconds: float) -> None:
    """It is tried again by itself."""
    values = {"problem": type(error).__name__, "reason": error.message[:2000], "fix": error.fix}
    tx.conn.execute(
        update(t.inbox)
        .where(t.inbox.c.id == ident)
        .values(due_at=tx.now + timedelta(seconds=seconds), attempts=t.inbox.c.attempts + 1, **values)
    )


def hear_again(tx: Transaction, kind: str, ref: str) -> None:
    """What was parked because `ref` was not known yet goes through again, now that it is."""
    i = t.inbox.c
    named = i.reason.contains(repr(ref), autoescape=True)
    waits = select(i.id).where(i.state == "parked", i.kind == kind, i.problem == "Unmatched", named)
    replay(tx, list(tx.conn.execute(waits).scalars()))


def replay(tx: Transaction, ids: Sequence[int]) -> int:
    """Send kept documents through again (after a mapping was mended or something was linked); returns how many."""
    rows = tx.rows(
        select(t.inbox.c.id, t.inbox.c.kind).where(t.inbox.c.id.in_(list(ids)), t.inbox.c.state != "waiting")
    )
    for row in rows:
        tx.set(t.inbox, row["id"], state="waiting", due_at=tx.now)
        tx.lanes.add(LANES.get(row["kind"], "fulfilment"))
    return len(rows)
