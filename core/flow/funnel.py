"""One way in: whatever is queued, commands and documents, is decided in one commit, and everybody is answered.

One funnel per process. Nobody lingers for company: a commit takes what came during the last one. On PostgreSQL half of
those who ask are decided while the commit of the other half is under way (`Recall`).
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import structlog
from sqlalchemy.exc import OperationalError

from core.errors import Broken, Unavailable, YipanError
from core.flow.hear import Spoken
from core.flow.journeys import decide, writes_ledger
from core.store.recall import Recall
from core.store.rows import glance
from core.store.store import Store
from core.store.trips import nothing

AT_ONCE, BACKLOG = 200, 1000
"""Commands in one commit; more when more wait."""
TOO_FEW = 8
"""Callers who are not parted into two commits."""
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
        self._recall = None if store.db.is_sqlite else Recall(partial(glance, store.db))
        self._door, self._taking = threading.Lock(), threading.Lock()
        self._turn = threading.Lock()
        self._closed = False
        self._under_way = 0
        """Callers whose commands are being decided or written."""
        self._threads: list[threading.Thread] = []

    def decide(self, commands: Sequence[Any]) -> list[Any]:
        """One durable answer per command, the YipanError where it could not be done; waits for the commit.

        Who comes when nobody is being served is served at once, in its own thread.
        """
        if self._is_free():
            return self._decide(commands, 1)
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
        for thread in self._threads:
            thread.join()

    def _is_free(self) -> bool:
        """Whether nobody is being served; the turn is ours then."""
        with self._door:
            served = self._closed or self._under_way or not self._waiting.empty()
            if served or not self._turn.acquire(blocking=False):
                return False
            self._under_way = 1
            return True

    def _queue(self, ticket: _Ticket) -> None:
        with self._door:
            if self._closed:
                raise RuntimeError("this funnel was closed: nothing more can be decided")
            self._waiting.put(ticket)
            while len(self._threads) < (2 if self._recall else 1):
                self._threads.append(threading.Thread(target=self._run, name="funnel", daemon=True))
                self._threads[-1].start()

    def _run(self) -> None:
        while tickets := self._take():
            answers = iter(self._decide([command for one in tickets for command in one.commands], len(tickets)))
            told = [(one, [next(answers) for _ in one.commands]) for one in tickets]
            for loop in {one.loop for one in tickets}:
                _tell(loop, [(one.answers, mine) for one, mine in told if one.loop is loop])

    def _take(self) -> list[_Ticket]:
        """What is decided next, and the turn to do so; nothing when the funnel was closed."""
        with self._taking:
            first = self._waiting.get()
            if first is None:
                self._waiting.put(None)
                return []
            self._turn.acquire()
            tickets = self._gather(first)
        with self._door:
            self._under_way += len(tickets)
        return tickets

    def _gather(self, first: _Ticket) -> list[_Ticket]:
        """The first and what waits behind it, as much as one commit takes."""
        tickets, size = [first], len(first.commands)
        limit = BACKLOG if self._waiting.qsize() > AT_ONCE else AT_ONCE
        callers = self._waiting.qsize() + 1 + self._under_way
        share = max(TOO_FEW, callers // 2) if self._recall else callers
        while size < limit and len(tickets) < share and not self._waiting.empty():
            ticket = self._waiting.get()
            if ticket is None:
                self._waiting.put(None)
                break
            tickets.append(ticket)
            size += len(ticket.commands)
        return tickets

    def _decide(self, commands: Sequence[Any], callers: int) -> list[Any]:
        """One commit. The turn, which is ours, ends when all is on its way to the database."""
        try:
            with ExitStack() as turn:
                turn.callback(self._turn.release)
                return self._commit(commands, self._recall, turn.close)
        finally:
            with self._door:
                self._under_way -= callers

    def _commit(
        self, commands: Sequence[Any], recall: Recall | None = None, sent: Callable[[], None] = nothing
    ) -> list[Any]:
        """What raises is tried again with all of it read anew, then in halves, until the one that does is alone."""
        try:
            return self._store.write(partial(decide, commands=commands), writes_ledger(commands), recall, sent)
        except OperationalError:
            if recall:
                recall.forget()
            return [Unavailable("the database cannot be written just now: ask again")] * len(commands)
        except Exception as error:
            if recall:
                recall.forget()
                return self._commit(commands)
            if len(commands) > 1:
                half = len(commands) // 2
                return self._commit(commands[:half]) + self._commit(commands[half:])
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
