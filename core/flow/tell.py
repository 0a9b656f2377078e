"""What happened is remembered as an event and, by the one table of routes, becomes what others shall be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select, update

from core.rules.routes import Route, routes
from core.store import outbox
from core.store import tables as t
from core.store.outbox import Intent
from core.store.rows import any_of, insert_or_skip
from core.store.store import Transaction, many


@dataclass(frozen=True)
class Happened:
    """One event. subject: what it is about (`order:17`); ids: whatever its intents need to be phrased later.

    connections: role → connection id, for the roles this event knows (`shop`, `wms`, `courier`). cause: set where
    the same thing happens to it more than once, so that each is said. delay_s: how long it is worth waiting before it
    is said.
    """

    type: str
    merchant_id: int | None
    ids: Mapping[str, int]
    key: str
    connections: Mapping[str, int | None] = field(default_factory=dict)
    payload: Mapping[str, Any] = field(default_factory=dict)
    cause: str = ""
    delay_s: float = 0

    @property
    def subject(self) -> str:
        """`order:17`: the kind and id of the thing it is about, the first of ids."""
        kind, ident = next(iter(self.ids.items()))
        return f"{kind}:{ident}"


def tell(tx: Transaction, happened: Sequence[Happened]) -> None:
    """Append the events and the intents they lead to."""
    if not happened:
        return
    tx.add(t.events, [_event(tx, h) for h in happened])
    erps = _erps(tx, happened)
    wanted = [
        (h, route, ident) for h in happened for route in routes().get(h.type, ()) for ident in _who(h, route, erps)
    ]
    able = {row["id"]: row["can"] for row in many(tx, t.connections, "id", sorted({ident for *_, ident in wanted}))}
    outbox.add(tx, [_intent(h, r, i, able[i][r.ability]["lane"]) for h, r, i in wanted if r.ability in able[i]])
    _leave_to_people(tx, [(h, r) for h, r, i in wanted if r.ability not in able[i]])


def _event(tx: Transaction, happened: Happened) -> dict[str, Any]:
    payload = {**happened.payload, **happened.ids}
    head = {"id": tx.ids.new(), "type": happened.type, "subject": happened.subject, "merchant_id": happened.merchant_id}
    return {**head, "time": tx.now, "payload": payload}


def _erps(tx: Transaction, happened: Sequence[Happened]) -> dict[int, list[int]]:
    merchants = sorted(
        {h.merchant_id for h in happened if h.merchant_id and any(r.to == "erp" for r in routes().get(h.type, ()))}
    )
    if not merchants:
        return {}
    c = t.connections.c
    found: dict[int, list[int]] = {}
    for row in tx.rows(
        select(c.id, c.merchant_id).where(c.kind == "erp", c.state == "active", c.merchant_id.in_(merchants))
    ):
        found.setdefault(row["merchant_id"], []).append(row["id"])
    return found


def _who(happened: Happened, route: Route, erps: Mapping[int, list[int]]) -> list[int]:
    if route.to == "erp":
        return erps.get(happened.merchant_id or 0, [])
    one = happened.connections.get(route.to)
    return [one] if one else []


def _intent(happened: Happened, route: Route, connection_id: int, lane: str) -> Intent:
    subject = happened.subject if route.ability != "send_cancellation" else f"{happened.subject}:{happened.type}"
    subject += f":{happened.cause}" if happened.cause else ""
    what = (connection_id, route.ability, lane, happened.key, subject, dict(happened.ids))
    return Intent(*what, happened.merchant_id, happened.delay_s)


def _leave_to_people(tx: Transaction, left: Sequence[tuple[Happened, Route]]) -> None:
    """No call is known for it there: a person has to do it at their side."""
    for happened, route in left:
        by_hand = f"{happened.type}: this {route.to} has no call for {route.ability}; do it there by hand"
        reason = ASK.get(happened.type, by_hand)
        ask_person(tx, f"{happened.type}/{route.ability}", happened.subject, happened.merchant_id, reason)


def ask_person(
    tx: Transaction, kind: str, subject: str, merchant_id: int | None, reason: str, fix: str = "done"
) -> None:
    """Put it on the worklist, or back on it. fix: what its buttons do."""
    row = {"kind": kind, "subject": subject, "merchant_id": merchant_id, "reason": reason, "fix": fix}
    if not insert_or_skip(tx.conn, t.worklist, [{"id": tx.ids.new(), **row, "created_at": tx.now}]):
        w = t.worklist.c
        again = update(t.worklist).where(w.kind == kind, w.subject == subject, w.done_at.is_not(None))
        tx.conn.execute(again.values(done_at=None, created_at=tx.now, reason=reason))


def settle(tx: Transaction, *subjects: str) -> None:
    """Nobody has to act on these any more."""
    w = t.worklist.c
    if subjects:
        mine = any_of(tx.conn, w.subject, subjects)
        tx.conn.execute(update(t.worklist).where(mine, w.done_at.is_(None)).values(done_at=tx.now))


ASK = {"order.short": "no stock for this paid order: ask the shop to cancel it, or bring in stock and retry"}
