"""The door senders push to: found by token, read by the connection's client, kept, and only then acknowledged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from anyio.to_thread import run_sync
from prometheus_client import Counter
from sqlalchemy import select
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from connectors.registry import connector
from connectors.spi import Reply
from connectors.spi import Request as Pushed
from core.errors import Broken, NotAuthorised, Unavailable, Unfit, YipanError
from core.model import Document
from core.store import tables as t
from hub.onboard.keys import digest
from hub.unread import unread
from web.asking import Hall
from web.keeper import Brought, Keeper
from web.problems import TooLarge

PATH = "/callbacks/"
RECHECKED_S = 1.0
"""How long a token is believed without asking the store again: a revocation bites within it."""
REMEMBERED = 2000
COUNTED = Counter("yipan_callbacks", "Callbacks by what became of them", ["connector", "result"])
log = structlog.get_logger()


@dataclass(frozen=True)
class Door:
    """What stands behind one token. limit_bytes: the largest push read; until: when the store is asked again."""

    connection_id: int
    holder: int
    connector: str
    client: Any
    limit_bytes: int
    until: float


class Doorway:
    """Takes callbacks before the app's own layers do: nothing of them is needed to keep a push."""

    def __init__(self, app: ASGIApp, callbacks: Callbacks) -> None:
        self._app, self._callbacks = app, callbacks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A push, or anything else, which the app answers."""
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"].startswith(PATH):
            answer = await self._callbacks.hear(Request(scope, receive))
            await answer(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class Callbacks:
    """`POST /callbacks/{token}`."""

    def __init__(self, hall: Hall, keeper: Keeper) -> None:
        self._hall, self._keeper = hall, keeper
        self._doors: dict[str, Door] = {}
        self._asked: dict[str, asyncio.Future[Door | None]] = {}

    async def hear(self, request: Request) -> Response:
        """The answer in the sender's words; an unknown token gets a plain 404."""
        door = await self._door(digest(request.url.path.removeprefix(PATH)))
        if door is None:
            COUNTED.labels("-", "unknown").inc()
            return PlainTextResponse("not found", 404)
        try:
            body = await _body(request, door.limit_bytes)
        except ClientDisconnect:
            COUNTED.labels(door.connector, "cut_off").inc()
            return PlainTextResponse("cut off", 400)
        pushed = _pushed(request, body or b"")
        error = await self._take(door, pushed, body is None)
        COUNTED.labels(door.connector, type(error).__name__ if error else "kept").inc()
        return _answer(_reply(door, pushed, error))

    async def _take(self, door: Door, pushed: Pushed, too_large: bool) -> YipanError | None:
        """Keep what was pushed; the error when it could not be read or kept."""
        if too_large:
            error: YipanError = TooLarge(
                f"a push of more than {door.limit_bytes} bytes was refused unread: ask the sender to split it"
            )
            return await self._keep(Brought(door.connection_id, door.holder, problem=error, too_large=True)) or error
        documents, problem = _read(door, pushed)
        if isinstance(problem, NotAuthorised):
            return problem
        return await self._keep(Brought(door.connection_id, door.holder, documents, problem)) or problem

    async def _keep(self, brought: Brought) -> YipanError | None:
        if not brought.documents and brought.problem is None:
            return None
        try:
            await self._keeper.keep(brought)
        except Exception as error:
            log.error("callback not kept", connection=brought.connection_id, error=type(error).__name__)
            return Unavailable("not kept: send it again")
        return None

    async def _door(self, key: str) -> Door | None:
        door = self._doors.get(key)
        if door is None or door.until < time.monotonic():
            door = await self._looked_up(key)
        return door

    async def _looked_up(self, key: str) -> Door | None:
        """Look once for all who ask at the same moment."""
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = asyncio.ensure_future(run_sync(self._look_up, key))
            asked.add_done_callback(lambda done: self._asked.pop(key, None))
        door = await asyncio.shield(asked)
        self._remember(key, door)
        return door

    def _remember(self, key: str, door: Door | None) -> None:
        if len(self._doors) >= REMEMBERED:
            self._doors.clear()
        if door is None:
            self._doors.pop(key, None)
        else:
            self._doors[key] = door

    def _look_up(self, key: str) -> Door | None:
        d, c = t.doors.c, t.connections.c
        query = select(c.id, c.merchant_id, c.connector).join(t.doors, d.connection_id == c.id)
        with self._hall.store.read() as tx:
            row = tx.row(query.where(d.digest == key, d.revoked_at.is_(None)))
        if row is None:
            return None
        limit = connector(row["connector"]).manifest.body_limit_bytes
        until = time.monotonic() + RECHECKED_S
        return Door(
            row["id"], row["merchant_id"] or 0, row["connector"], self._hall.client_for(row["id"]), limit, until
        )


async def _body(request: Request, limit_bytes: int) -> bytes | None:
    """The raw body; None as soon as it is larger than the limit."""
    said = request.headers.get("content-length", "")
    if said.isdigit() and int(said) > limit_bytes:
        return None
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit_bytes:
            return None
        parts.append(part)
    return b"".join(parts)


def _pushed(request: Request, body: bytes) -> Pushed:
    return Pushed(
        method=request.method,
        query=request.query_params.multi_items(),
        headers=dict(request.headers),
        body=body,
        received_at=datetime.now(UTC),
        remote=request.client.host if request.client else "",
    )


def _read(door: Door, pushed: Pushed) -> tuple[Sequence[Document], YipanError | None]:
    """The documents; what cannot be read is one document of its own, to be kept with the reason."""
    try:
        return door.client.read_callback(pushed), None
    except YipanError as error:
        problem = error
    except Exception as error:
        log.error("callback broke its client", connector=door.connector, error=type(error).__name__)
        problem = Broken(
            f"{door.connector} stumbled over this push ({type(error).__name__}): mend the connector, then replay it"
        )
    return [unread(pushed)], problem if isinstance(problem, NotAuthorised | Broken) else Unfit(problem.message)


def _reply(door: Door, pushed: Pushed, error: YipanError | None) -> Reply:
    try:
        reply: Reply = door.client.acknowledge(pushed, error)
    except Exception as broken:
        log.error("callback broke its answer", connector=door.connector, error=type(broken).__name__)
        return Reply(400, b"bad request", "text/plain")
    return reply


def _answer(reply: Reply) -> Response:
    return Response(reply.body, reply.status, {"content-type": reply.content_type})
