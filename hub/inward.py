"""Inward: kept documents are translated by their mapping and handed to their flow, in batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.errors import Later, YipanError
from core.flow.hear import Spoken
from core.store import inbox
from core.store.inbox import Heard
from core.store.rows import chunks
from core.store.store import Transaction
from hub import said_before
from hub.unread import UNREAD, read_again
from hub.wiring import Hub, Wired, links_to_ours, meaning

Row = Mapping[str, Any]
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
        said = inbox.said_under(tx, heard)
        read = [(h, _read(tx, wired[h.connection_id], h, said.get(h.repeats or 0, ()))) for h in heard]
    same = [h.id for h, r in read if r is None]
    if same:
        hub.store.write(lambda tx: inbox.absorb(tx, same))
    unfit = [(h, r) for h, r in read if isinstance(r, YipanError)]
    if unfit:
        hub.store.write(lambda tx: _put_aside(tx, unfit))
    spoken = [r for _, r in read if isinstance(r, Spoken)]
    for some in chunks(spoken, AT_ONCE.get(kind, len(spoken) or 1)):
        _book(hub, some)


def _read(tx: Transaction, wired: Wired, heard: Heard, said: Sequence[Row]) -> Spoken | YipanError | None:
    """What it says, or why it cannot be said; None where another says that already.

    said: the rows of what was said under its number, the first one first.
    """
    spoken = _understood(tx, wired, heard)
    if not said or isinstance(spoken, YipanError):
        return spoken
    first, *others = [_opened(tx, wired, row) for row in said if row["repeats"] is None or row["id"] < heard.id]
    return said_before.judge(said[0], first, others, spoken)


def _opened(tx: Transaction, wired: Wired, row: Row) -> Spoken | YipanError:
    try:
        return _understood(tx, wired, inbox.opened(tx, row))
    except YipanError as error:
        return error


def _understood(tx: Transaction, wired: Wired, heard: Heard) -> Spoken | YipanError:
    try:
        mapping = meaning(wired.connector.name, heard.kind)
        if mapping.link_kinds:
            tree = mapping.parse(heard.body)
            noun = mapping.read(tree, links_to_ours(tx, heard.connection_id, list(mapping.links([tree]))))
        else:
            noun = mapping.read(heard.body)
    except YipanError as error:
        return error
    return Spoken(heard.kind, heard.id, heard.connection_id, wired.holder, noun, heard.event_id)


def _book(hub: Hub, spoken: Sequence[Spoken]) -> None:
    """One commit for the batch; a document that cannot be booked is put aside alone."""
    answers = zip(spoken, hub.funnel.decide(spoken), strict=True)
    failed = [(document, answer) for document, answer in answers if isinstance(answer, YipanError)]
    if failed:
        hub.store.write(lambda tx: _put_aside(tx, failed))


def _put_aside(tx: Transaction, failed: Sequence[tuple[Any, Any]]) -> None:
    for what, error in failed:
        ident = what.inbox_id if isinstance(what, Spoken) else what.id
        if isinstance(error, Later):
            inbox.delay(tx, ident, error, LATER_S)
        else:
            inbox.park(tx, ident, error)
