"""Inward: kept documents are translated by their mapping and handed to their flow, in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import structlog

from core.errors import Broken, Later, YipanError
from core.flow import move_stock, reconcile, ship_order, take_order, track_parcel
from core.flow.hear import Spoken
from core.store import inbox
from core.store.database import chunks
from core.store.inbox import Heard
from core.store.store import Transaction
from hub.unread import UNREAD, read_again
from hub.wiring import Hub, Wired, links_to_ours, meaning

log = structlog.get_logger("inward")
Flow = Callable[[Transaction, Sequence[Spoken]], None]
FLOWS: dict[str, Flow] = {
    "order": take_order.take_orders,
    "confirm": ship_order.confirm_shipments,
    "progress": ship_order.note_progress,
    "receipt": move_stock.receive,
    "count": move_stock.adjust,
    "stock_change": move_stock.adjust,
    "tracking": track_parcel.track_parcels,
    "stock": reconcile.compare,
    "item": reconcile.link_items,
}
"""Document kind → the journey it starts."""
LATER_S = 1.0
AT_ONCE = {"tracking": 25}
"""Documents booked in one commit, where fewer than a batch: callbacks wait for the writer's lock meanwhile."""


def settle(hub: Hub, limit: int = 200) -> int:
    """Understand and book what waits in the inbox; returns how many documents were looked at."""
    with hub.store.db.turn("inbox"):
        with hub.store.read() as tx:
            heard = inbox.waiting(tx, limit)
        for kind in dict.fromkeys(h.kind for h in heard):
            _settle_kind(hub, kind, [h for h in heard if h.kind == kind])
    return len(heard)


def _settle_kind(hub: Hub, kind: str, heard: Sequence[Heard]) -> None:
    """Translate a batch of one kind; what cannot be read parks alone, the rest goes on together."""
    if kind == UNREAD:
        read_again(hub, heard)
        return
    with hub.store.read() as tx:
        wired = {c: hub.wired(tx, c) for c in {h.connection_id for h in heard}}
        read = [(h, _read(tx, wired[h.connection_id], h)) for h in heard]
    unfit = [(h, r) for h, r in read if isinstance(r, YipanError)]
    if unfit:
        hub.store.write(lambda tx: _put_aside(tx, unfit))
    spoken = [r for _, r in read if isinstance(r, Spoken)]
    for some in chunks(spoken, AT_ONCE.get(kind, len(spoken) or 1)):
        _book(hub, kind, some)


def _read(tx: Transaction, wired: Wired, heard: Heard) -> Spoken | YipanError:
    try:
        mapping = meaning(wired.connector.name, heard.kind)
        if mapping.link_kinds:
            tree = mapping.parse(heard.body)
            noun = mapping.read(tree, links_to_ours(tx, heard.connection_id, list(mapping.links([tree]))))
        else:
            noun = mapping.read(heard.body)
    except YipanError as error:
        return error
    return Spoken(heard.id, heard.connection_id, wired.holder, noun, heard.event_id)


def _book(hub: Hub, kind: str, spoken: Sequence[Spoken]) -> None:
    """One transaction for the batch; a batch that raises is halved until the one document that does is alone."""
    failed = _try(hub, kind, spoken) if spoken else None
    if failed is None:
        return
    if len(spoken) == 1:
        _stop(hub, spoken[0], failed)
    else:
        half = len(spoken) // 2
        _book(hub, kind, spoken[:half])
        _book(hub, kind, spoken[half:])


def _try(hub: Hub, kind: str, spoken: Sequence[Spoken]) -> Exception | None:
    try:
        hub.store.write(lambda tx: FLOWS[kind](tx, spoken))
    except Exception as error:
        return error
    return None


def _stop(hub: Hub, spoken: Spoken, error: Exception) -> None:
    if not isinstance(error, YipanError):
        log.error("document_stopped", document=spoken.inbox_id, exc_info=error)
        error = Broken(f"{type(error).__name__} while booking it: report this, then replay")
    found: YipanError = error
    hub.store.write(lambda tx: _put_aside(tx, [(spoken, found)]))


def _put_aside(tx: Transaction, failed: Sequence[tuple[Any, Any]]) -> None:
    for what, error in failed:
        ident = what.inbox_id if isinstance(what, Spoken) else what.id
        if isinstance(error, Later):
            inbox.delay(tx, ident, error, LATER_S)
        else:
            inbox.park(tx, ident, error)
