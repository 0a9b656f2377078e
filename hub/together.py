"""Small writes of many threads in one commit: who comes while another writes waits, and goes with all who wait."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from core.store.store import Store, Transaction

Work = Callable[[Transaction], object]


class Together:
    """Writes for the threads of one process. Each work must bear being done again from the start."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[tuple[Work, Future[None]]] = deque()
        self._turn = threading.Lock()

    def write(self, work: Work) -> None:
        """Returns once it is committed; raises what it raised, whatever became of the others."""
        done: Future[None] = Future()
        self._waiting.append((work, done))
        with self._turn:
            some = [self._waiting.popleft() for _ in range(len(self._waiting))]
            if some:
                self._write(some)
        done.result()

    def _write(self, some: list[tuple[Work, Future[None]]]) -> None:
        """All in one commit; where one raises, each in its own."""
        try:
            self._store.write(lambda tx: [work(tx) for work, _ in some], ledger=len(some) > 1)
        except BaseException as error:
            if len(some) == 1:
                some[0][1].set_exception(error)
                return
            for one in some:
                self._write([one])
            return
        for _, done in some:
            done.set_result(None)
