"""The outbox: intents, each one thing an external system shall be told, and what became of it.

waiting → sending (token and lease, committed before the first byte) → done | waiting | in_doubt | parked | moot.
Every finish is conditional on the token. Rows of one (connection, key) go one after the other; parked blocks only
its key.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import and_, exists, or_, select, update

from core.errors import InDoubt, YipanError
from core.store import tables as t
from core.store.database import lock_claims, skip_locked
from core.store.rows import given, insert_or_skip
from core.store.store import Transaction

OPEN = ("waiting", "sending", "in_doubt", "parked")
TURNED_AWAY = ("Unavailable", "Throttled", "NotAuthorised", "Refused", "Unfit", "Unmatched")
MOVES = ("send_shipment", "send_cancellation")
LEASE = ("state", "token", "lease_until", "attempts")
EXCLUSIVE = {"send_stock": ("send_shipment",), "send_shipment": ("send_stock", *MOVES), "send_cancellation": MOVES}
"""At an on-hand shop: what an ability never goes beside."""


@dataclass(frozen=True)
class Intent:
    """One thing to be said. subject: its key, unique per connection and ability; key: what it keeps order with."""

    connection_id: int
    ability: str
    lane: str
    key: str
    subject: str
    payload: Mapping[str, Any]
    merchant_id: int | None = None
    delay_s: float = 0


def add(tx: Transaction, intents: Sequence[Intent]) -> list[int]:
    """Remember what is to be said; one that is there already stays as it is. Returns the ids of the new ones."""
    rows = [
        {
            "id": tx.ids.new(),
            "connection_id": i.connection_id,
            "merchant_id": i.merchant_id,
            "lane": i.lane,
            "ability": i.ability,
            "key": i.key,
            "subject": i.subject,
            "payload": dict(i.payload),
            "reached": {},
            "state": "waiting",
            "due_at": _after(tx, i.delay_s),
            "created_at": tx.now,
        }
        for i in intents
    ]
    tx.lanes.update(i.lane for i in intents)
    return insert_or_skip(tx.conn, t.outbox, rows)


def any_due(tx: Transaction, lane: str) -> bool:
    """Whether a lane may have something to take up."""
    o = t.outbox.c
    due = select(o.id).where(o.lane == lane, o.state.in_(("waiting", "in_doubt")), o.due_at <= tx.now)
    return tx.row(due.where(or_(o.lease_until.is_(None), o.lease_until < tx.now)).limit(1)) is not None


def claim(tx: Transaction, lane: str, limit: int, lease_s: float, busy: Sequence[int] = ()) -> list[Mapping[str, Any]]:
    """Due intents of a lane, first of their key, leased under a fresh token; `busy` connections are left alone.

    A row found `in_doubt` is to be probed, one now `sending` is to be sent.
    """
    lock_claims(tx.conn)
    o = t.outbox.c
    shops = _on_hand_shops(tx)
    first = t.outbox.alias("first")
    other = t.outbox.alias("other")
    query = (
        select(t.outbox)
        .where(o.lane == lane, o.state.in_(("waiting", "in_doubt")), o.due_at <= tx.now)
        .where(or_(o.lease_until.is_(None), o.lease_until < tx.now), o.connection_id.not_in(list(busy) or [0]))
        .where(
            ~exists().where(
                first.c.connection_id == o.connection_id,
                first.c.key == o.key,
                first.c.id < o.id,
                first.c.state.in_(OPEN),
            )
        )
        .where(or_(o.connection_id.not_in(shops or [0]), ~_held_up(other)))
        .order_by(o.id)
    )
    return _lease(tx, _without_conflicts(tx, query, limit, shops), lease_s)


def _on_hand_shops(tx: Transaction) -> list[int]:
    """Connections whose figure moves by our shipments: there levels and shipments share one lane."""
    c = t.connections.c
    rows = tx.rows(select(c.id, c.can).where(c.kind == "sales"))
    return [r["id"] for r in rows if r["can"].get("send_stock", {}).get("level_means") == "on_hand"]


def _held_up(other: Any) -> Any:
    """At an on-hand shop a level and a fulfilment never cross: one waits while the other is on the wire or in doubt.

    What moves its figure there goes alone: Vendure reads, reckons and writes, and of two at once it loses one (peers).
    """
    o = t.outbox.c
    crosses = or_(
        and_(o.ability == "send_stock", other.c.ability == "send_shipment"),
        and_(o.ability == "send_shipment", other.c.ability == "send_stock"),
    )
    half_done = and_(other.c.state == "waiting", other.c.attempts > 0, other.c.ability == "send_shipment")
    on_its_way = and_(crosses, or_(other.c.state.in_(("sending", "in_doubt")), half_done))
    moves = and_(o.ability.in_(MOVES), other.c.ability.in_(MOVES), other.c.state == "sending")
    return exists().where(other.c.connection_id == o.connection_id, other.c.id != o.id, or_(on_its_way, moves))


def _without_conflicts(tx: Transaction, query: Any, limit: int, shops: Sequence[int]) -> list[Mapping[str, Any]]:
    """The first rows of which none may cross another at its connection; what stands behind them moves up."""
    o = t.outbox.c
    taken: set[tuple[int, str]] = set()
    free: list[Mapping[str, Any]] = []
    while len(free) < limit:
        crowded = {connection_id for connection_id, _ in taken}
        others = or_(o.connection_id.not_in(crowded or [0]), o.ability.not_in(list(EXCLUSIVE)))
        behind = query.where(others, o.id > max((row["id"] for row in free), default=0))
        rows = tx.rows(skip_locked(behind.limit(limit - len(free))))
        fit = [row for row in rows if row["connection_id"] not in shops or _goes_with(row, taken)]
        free += fit
        if len(fit) == len(rows):
            break
    return free


def _goes_with(row: Mapping[str, Any], taken: set[tuple[int, str]]) -> bool:
    """Whether it crosses nothing that was taken at its connection; then it is taken too."""
    fits = not any((row["connection_id"], ability) in taken for ability in EXCLUSIVE.get(row["ability"], ()))
    if fits:
        taken.add((row["connection_id"], row["ability"]))
    return fits


def _lease(tx: Transaction, rows: Sequence[Mapping[str, Any]], lease_s: float) -> list[Mapping[str, Any]]:
    until = tx.now + timedelta(seconds=lease_s)
    leased: list[Mapping[str, Any]] = [
        {
            **row,
            "state": "sending" if row["state"] == "waiting" else "in_doubt",
            "token": secrets.token_hex(12),
            "lease_until": until,
            "attempts": row["attempts"] + 1,
        }
        for row in rows
    ]
    tx.set_each(t.outbox, [{name: row[name] for name in ("id", *LEASE)} for row in leased])
    return leased


def note(tx: Transaction, row: Mapping[str, Any], **values: Any) -> bool:
    """Write what became known of a leased row, if the lease is still ours."""
    o = t.outbox.c
    done = tx.conn.execute(update(t.outbox).where(o.id == row["id"], o.token == row["token"]).values(**values))
    return done.rowcount == 1


def done(tx: Transaction, row: Mapping[str, Any], their_ref: str = "") -> bool:
    """It is so at their side. False when the lease was lost: then somebody else says what became of it."""
    clear = {"problem": None, "reason": None, "fix": None}
    return note(tx, row, state="done", token=None, lease_until=None, done_at=tx.now, their_ref=their_ref, **clear)


def done_all(tx: Transaction, rows: Sequence[Mapping[str, Any]]) -> set[int]:
    """As `done`, for several at once; ids of those whose lease was still ours."""
    if not rows:
        return set()
    o = t.outbox.c
    held = given(tx.conn, {"id": o.id.type, "token": o.token.type}, [(row["id"], row["token"]) for row in rows])
    clear = {"token": None, "lease_until": None, "problem": None, "reason": None, "fix": None}
    mine = update(t.outbox).where(o.id == held.c.id, o.token == held.c.token)
    over = mine.values(state="done", done_at=tx.now, their_ref="", **clear).returning(o.id)
    return set(tx.conn.execute(over).scalars())


def moot(tx: Transaction, row: Mapping[str, Any], why: str) -> bool:
    """It is no longer wanted."""
    return note(tx, row, state="moot", token=None, lease_until=None, done_at=tx.now, reason=why)


def again(
    tx: Transaction, row: Mapping[str, Any], seconds: float, error: YipanError | None = None, **values: Any
) -> bool:
    """Back to waiting, due after some seconds."""
    return note(
        tx, row, state="waiting", token=None, lease_until=None, due_at=_after(tx, seconds), **_why(error), **values
    )


def put_back(tx: Transaction, row: Mapping[str, Any], seconds: float) -> bool:
    """It was not tried after all: as it was before it was leased, due after some seconds."""
    state = "waiting" if row["state"] == "sending" else row["state"]
    back = {"state": state, "token": None, "lease_until": None, "attempts": row["attempts"] - 1}
    back["reached"] = row["reached"]
    return note(tx, row, due_at=_after(tx, seconds), **back)


def doubt(tx: Transaction, row: Mapping[str, Any], seconds: float, error: YipanError, **values: Any) -> bool:
    """Nobody knows whether it arrived: to be probed, not before some seconds."""
    return note(
        tx, row, state="in_doubt", token=None, lease_until=None, due_at=_after(tx, seconds), **_why(error), **values
    )


def park(tx: Transaction, row: Mapping[str, Any], error: YipanError) -> bool:
    """It waits for a person; only its own key waits with it."""
    return note(tx, row, state="parked", token=None, lease_until=None, **_why(error))


def unpark(tx: Transaction, ident: int) -> bool:
    """A person pressed the button: send it again."""
    o = t.outbox.c
    back = update(t.outbox).where(o.id == ident, o.state == "parked")
    found = tx.row(select(o.lane).where(o.id == ident))
    if found is None or not tx.conn.execute(back.values(state="waiting", due_at=tx.now, resends=0)).rowcount:
        return False
    tx.lanes.add(found["lane"])
    return True


def expire(tx: Transaction, patience: float = 1.0) -> int:
    """Leases that ran out: what may be repeated waits again, the rest is in doubt. Returns how many."""
    o = t.outbox.c
    rows = tx.rows(skip_locked(select(t.outbox).where(o.state == "sending", o.lease_until < tx.now)))
    for row in rows:
        can = tx.conn.execute(
            select(t.connections.c.can).where(t.connections.c.id == row["connection_id"])
        ).scalar_one()
        ability = can.get(row["ability"], {})
        error = InDoubt("the process that was sending it is gone")
        if ability.get("idempotent"):
            again(tx, row, 0, error)
        else:
            doubt(tx, row, ability.get("settle_s", 30) * patience, error)
        tx.lanes.add(row["lane"])
    return len(rows)


def any_expired(tx: Transaction) -> bool:
    """Whether a process died over a call."""
    o = t.outbox.c
    return tx.row(select(o.id).where(o.state == "sending", o.lease_until < tx.now).limit(1)) is not None


def withdraw(tx: Transaction, connection_id: int, ability: str, subject: str, why: str) -> bool:
    """Take back what certainly is not there; False when it may be."""
    o = t.outbox.c
    mine = and_(o.connection_id == connection_id, o.ability == ability, o.subject == subject)
    row = tx.row(select(t.outbox).where(mine, o.state.in_(("waiting", "parked"))).with_for_update())
    if row is None or not _never_arrived(row):
        return False
    tx.set(t.outbox, row["id"], state="moot", done_at=tx.now, reason=why)
    return True


def _never_arrived(row: Mapping[str, Any]) -> bool:
    """Never tried, or tried once and provably turned away before anything of it was done."""
    turned_away = row["problem"] in TURNED_AWAY and not row["resends"] and not row["reached"]
    return bool(row["attempts"] == 0 or turned_away)


def _after(tx: Transaction, seconds: float) -> Any:
    return tx.now + timedelta(seconds=seconds)


def _why(error: YipanError | None) -> dict[str, Any]:
    if error is None:
        return {"problem": None, "reason": None, "fix": None}
    return {"problem": type(error).__name__, "reason": error.message[:2000], "fix": error.fix}
