"""Pushes nobody could read when they came: kept raw, and read again by their client when a person replays them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256

from connectors.spi import Request
from core.errors import Broken, YipanError
from core.model import Document
from core.store import inbox
from core.store.inbox import Heard
from core.store.store import Transaction
from hub.wiring import Hub

UNREAD = "callback"
"""Kind of such a document."""
QUERY = "query:"


def unread(request: Request) -> Document:
    """The push as it came, with what it takes to read it again."""
    headers = {"content-type": request.headers.get("content-type", ""), "method": request.method}
    headers |= {f"{QUERY}{n}:{name}": value for n, (name, value) in enumerate(request.query)}
    return Document(kind=UNREAD, ref=sha256(request.body).hexdigest(), body=request.body, headers=headers)


def read_again(hub: Hub, heard: Sequence[Heard]) -> None:
    """Cut them into documents after all; what still cannot be read parks again with the new reason."""
    for push in heard:
        documents, error = _read(hub, push)
        hub.store.write(lambda tx, p=push, d=documents, e=error: _put(tx, hub, p, d, e))  # type: ignore[misc]


def _read(hub: Hub, push: Heard) -> tuple[Sequence[Document], YipanError | None]:
    try:
        return hub.client(push.connection_id).read_callback(_request(push)), None
    except YipanError as error:
        return (), error
    except Exception as error:
        return (), Broken(f"its client stumbled again ({type(error).__name__}): mend the connector, then replay it")


def _request(push: Heard) -> Request:
    names = [name for name in push.headers if name.startswith(QUERY)]
    query = [
        (name.split(":", 2)[2], push.headers[name]) for name in sorted(names, key=lambda n: int(n.split(":", 2)[1]))
    ]
    headers = {"content-type": push.headers.get("content-type", "")}
    return Request(push.headers.get("method", "POST"), query, headers, push.body, datetime.now(UTC))


def _put(tx: Transaction, hub: Hub, push: Heard, documents: Sequence[Document], error: YipanError | None) -> None:
    if error is not None:
        inbox.park(tx, push.id, error)
        return
    inbox.keep(tx, push.connection_id, hub.wired(tx, push.connection_id).holder, documents)
    inbox.settle(tx, [push.id])
