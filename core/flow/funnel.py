"""One way in: whatever is queued, commands and documents, is decided in one commit, and everybody is answered.

One funnel per process. Nobody lingers for company: a commit takes what came during the last one.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import structlog
from sqlalchemy.exc import OperationalError

from core.errors import Broken, Unavailable, YipanError
from core.flow.hear import Spoken
from core.flow.journeys import decide, writes_ledger
from core.store.store import Store

AT_ONCE, BACKLOG = 200, 1000
"""Commands in one commit; more when more wait."""
log = structlog.get_logger("funnel")


class _Ticket(NamedTuple):
    """Commands of one caller. loop: where it awaits; None for a caller that blocks."""

    commands: Sequence[Any]
    answers: Any
    loop: asyncio.AbstractEventLoop | None = None


class Funnel:
    """Decides commands and documents of this process, in the order they came (`journeys` says what there is)."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: queue.SimpleQueue[_Ticket | None] = queue.SimpleQueue()
        self._turn, self._door = threading.Lock(), threading.Lock()
        self._closed = False
        self._thread: threading.Thread | None = None

    def decide(self, commands: Sequence[Any]) -> list[Any]:
        """One durable answer per command, the YipanError where it could not be done; waits for the commit.

        Who comes when nobody is being served is served at once, in its own thread.
        """
        if not self._closed and self._waiting.empty() and self._turn.acquire(blocking=False):
            try:
                return self._decide(commands)
            finally:
                self._turn.release()
        answers: Future[list[Any]] = Future()
        self._queue(_Ticket(commands, answers))
        return answers.result()

    async def decided(self, commands: Sequence[Any]) -> list[Any]:
        """As `decide`, for a caller on an event loop; all who wait there are woken at once."""
        loop = asyncio.get_running_loop()
        answers: asyncio.Future[list[Any]] = loop.create_future()
        self._queue(_Ticket(commands, answers, loop))
        return await answers

    def ask(self, command: Any) -> Any:
        """The one answer to one command; raises why not."""
        answer = self.decide([command])[0]
        if isinstance(answer, YipanError):
            raise answer
        return answer

    def close(self) -> None:
        """Decide what is queued and end."""
        with self._door:
            self._closed = True
            self._waiting.put(None)
        if self._thread:
            self._thread.join()

    def _queue(self, ticket: _Ticket) -> None:
        with self._door:
            if self._closed:
                raise RuntimeError("this funnel was closed: nothing more can be decided")
            self._waiting.put(ticket)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="funnel", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while ticket := self._waiting.get():
            with self._turn:
                tickets = self._gather(ticket)
                answers = iter(self._decide([command for one in tickets for command in one.commands]))
            told = [(one, [next(answers) for _ in one.commands]) for one in tickets]
            for loop in {one.loop for one in tickets}:
                _tell(loop, [(one.answers, mine) for one, mine in told if one.loop is loop])

    def _gather(self, first: _Ticket) -> list[_Ticket]:
        """The first and what waits behind it, as much as one commit takes."""
        tickets, size = [first], len(first.commands)
        limit = BACKLOG if self._waiting.qsize() > AT_ONCE else AT_ONCE
        while size < limit and not self._waiting.empty():
            ticket = self._waiting.get()
            if ticket is None:
                self._waiting.put(None)
                break
            tickets.append(ticket)
            size += len(ticket.commands)
        return tickets

    def _decide(self, commands: Sequence[Any]) -> list[Any]:
        """One commit; a batch that raises is halved until the one command that does is alone."""
        try:
            return self._store.write(lambda tx: decide(tx, commands), ledger=writes_ledger(commands))
        except OperationalError:
            return [Unavailable("the database cannot be written just now: ask again")] * len(commands)
        except Exception as error:
            if len(commands) > 1:
                half = len(commands) // 2
                return self._decide(commands[:half]) + self._decide(commands[half:])
            return [_why(commands[0], error)]


def _why(command: Any, error: Exception) -> YipanError:
    """The error as it is answered; what is not ours is a bug of ours."""
    if isinstance(error, YipanError):
        return error
    what = f"document {command.inbox_id}" if isinstance(command, Spoken) else type(command).__name__
    log.error("command_stopped", command=what, exc_info=error)
    return Broken(f"{type(error).__name__} while deciding it: report this, then try again")


def _tell(loop: asyncio.AbstractEventLoop | None, told: Sequence[tuple[Any, list[Any]]]) -> None:
    def tell() -> None:
        for future, answers in told:
            if not future.cancelled():
                future.set_result(answers)

    if loop is None:
        tell()
        return
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(tell)
