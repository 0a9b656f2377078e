"""Keeps what callbacks bring: one thread commits whatever is queued in one transaction, then all who wait are told."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from core.errors import YipanError
from core.model import Document
from core.store import inbox
from core.store import tables as t
from core.store.inbox import Delivery
from core.store.rows import insert_or_skip
from core.store.store import Store, Transaction

CAP = 200
"""Deliveries kept in one commit."""


@dataclass
class Brought:
    """One callback's documents. problem: why they wait for a person from the start.

    too_large: nothing was read; only that it happened is noted.
    """

    connection_id: int
    holder: int
    documents: Sequence[Document] = ()
    problem: YipanError | None = None
    too_large: bool = False
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    kept: asyncio.Future[None] = field(init=False)

    def __post_init__(self) -> None:
        self.kept = self.loop.create_future()


class Keeper:
    """The group-committing writer of one web process. keep_all(tx, batch) is what it does with a batch."""

    def __init__(self, store: Store, keep_all: Callable[[Transaction, Sequence[Brought]], None] | None = None) -> None:
        self._store = store
        self._keep_all = keep_all or _keep_all
        self._queue: queue.SimpleQueue[Brought | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._thread.start()

    async def keep(self, brought: Brought) -> None:
        """Returns once it is committed; raises what kept it from being so."""
        self._queue.put(brought)
        await brought.kept

    def close(self) -> None:
        """Keep what is queued, then stop."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while first := self._queue.get():
            batch, last = self._take(first)
            self._commit(batch)
            if last:
                return

    def _take(self, first: Brought) -> tuple[list[Brought], bool]:
        batch = [first]
        with contextlib.suppress(queue.Empty):
            while len(batch) < CAP:
                brought = self._queue.get_nowait()
                if brought is None:
                    return batch, True
                batch.append(brought)
        return batch, False

    def _commit(self, batch: Sequence[Brought]) -> None:
        """One that cannot be kept must not take its neighbours with it: then each is tried alone."""
        try:
            self._store.write(lambda tx: self._keep_all(tx, batch))
        except Exception as error:
            if len(batch) == 1:
                _tell(batch, error)
                return
            for brought in batch:
                self._commit([brought])
            return
        _tell(batch, None)


def _keep_all(tx: Transaction, batch: Sequence[Brought]) -> None:
    good = [b for b in batch if b.documents and b.problem is None]
    inbox.keep_deliveries(tx, [Delivery(b.connection_id, b.holder, b.documents) for b in good])
    for brought in batch:
        if brought.problem is not None:
            _park(tx, brought, brought.problem)


def _park(tx: Transaction, brought: Brought, problem: YipanError) -> None:
    for ident in inbox.keep(tx, brought.connection_id, brought.holder, brought.documents).new:
        inbox.park(tx, ident, problem)
    if brought.too_large:
        row = {
            "id": tx.ids.new(),
            "kind": "callback.too_large",
            "subject": f"connection:{brought.connection_id}:{tx.now:%Y-%m-%d}",
        }
        more = {"merchant_id": brought.holder or None, "reason": problem.message, "fix": "done", "created_at": tx.now}
        insert_or_skip(tx.conn, t.worklist, [{**row, **more}])


def _tell(batch: Sequence[Brought], error: Exception | None) -> None:
    """One wake-up of the event loop for the whole batch."""
    loop = batch[0].loop

    def tell() -> None:
        for brought in batch:
            if brought.kept.cancelled():
                continue
            if error is None:
                brought.kept.set_result(None)
            else:
                brought.kept.set_exception(error)

    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(tell)
