"""One way in for callers who wait: whatever is queued is decided in one commit, and everybody gets a durable answer.

One funnel per process. Nobody lingers for company: a commit takes what came during the last one.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import groupby
from typing import Any, NamedTuple

import structlog
from sqlalchemy.exc import OperationalError

from core.errors import Broken, Unavailable, YipanError
from core.flow import reserve_stock
from core.flow.reserve_stock import Answer, Command, Confirm, Release, Reservation, Reserve
from core.store.ledger import Ledger
from core.store.store import Store, Transaction

AT_ONCE, BACKLOG = 200, 1000
"""Commands in one commit; more when more wait."""
FLOWS: dict[type, Callable[[Transaction, Ledger, Any], list[Answer]]] = {
    Reserve: reserve_stock.reserve,
    Confirm: reserve_stock.confirm,
    Release: reserve_stock.release,
}
log = structlog.get_logger("funnel")


class _Ticket(NamedTuple):
    """Commands of one caller. loop: where it awaits; None for a caller that blocks."""

    commands: Sequence[Command]
    answers: Any
    loop: asyncio.AbstractEventLoop | None = None


class Funnel:
    """Decides commands of this process, in the order they came."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: queue.SimpleQueue[_Ticket | None] = queue.SimpleQueue()
        self._turn, self._door = threading.Lock(), threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="funnel", daemon=True)
        self._thread.start()

    def decide(self, commands: Sequence[Command]) -> list[Answer]:
        """One durable answer per command, a reservation or why not; waits for the commit.

        Who comes when nobody is being served is served at once, in its own thread.
        """
        if not self._closed and self._waiting.empty() and self._turn.acquire(blocking=False):
            try:
                return self._decide(commands)
            finally:
                self._turn.release()
        answers: Future[list[Answer]] = Future()
        self._queue(_Ticket(commands, answers))
        return answers.result()

    async def decided(self, commands: Sequence[Command]) -> list[Answer]:
        """As `decide`, for a caller on an event loop; all who wait there are woken at once."""
        loop = asyncio.get_running_loop()
        answers: asyncio.Future[list[Answer]] = loop.create_future()
        self._queue(_Ticket(commands, answers, loop))
        return await answers

    def ask(self, command: Command) -> Reservation:
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
        self._thread.join()

    def _queue(self, ticket: _Ticket) -> None:
        with self._door:
            if self._closed:
                raise RuntimeError("this funnel was closed: nothing more can be decided")
            self._waiting.put(ticket)

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

    def _decide(self, commands: Sequence[Command]) -> list[Answer]:
        """One commit; a batch that raises is halved until the one command that does is alone."""
        try:
            return self._store.write(lambda tx: decide(tx, commands), ledger=True)
        except OperationalError:
            return [Unavailable("the database cannot be written just now: ask again")] * len(commands)
        except Exception as error:
            if len(commands) > 1:
                half = len(commands) // 2
                return self._decide(commands[:half]) + self._decide(commands[half:])
            log.error("command_stopped", command=type(commands[0]).__name__, exc_info=error)
            return [error if isinstance(error, YipanError) else Broken(f"{type(error).__name__} while deciding it")]


def _tell(loop: asyncio.AbstractEventLoop | None, told: Sequence[tuple[Any, list[Answer]]]) -> None:
    def tell() -> None:
        for future, answers in told:
            if not future.cancelled():
                future.set_result(answers)

    if loop is None:
        tell()
        return
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(tell)


def decide(tx: Transaction, commands: Sequence[Command]) -> list[Answer]:
    """Decide a list of commands in order, inside one transaction."""
    ledger = Ledger(tx)
    return [answer for kind, some in groupby(commands, key=type) for answer in FLOWS[kind](tx, ledger, list(some))]
