"""Closed loops of callers: who asks again once it was answered, on threads, on an event loop or in processes."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from sqlalchemy import func, select

from benchmarks.harness import must_equal
from benchmarks.stock_orders import Basket, Order
from benchmarks.stock_rivals import Ask
from core.flow.funnel import Funnel
from core.flow.reserve_stock import Reservation
from core.store import tables as t
from core.store.store import Store
from core.store.vault import Vault

SECONDS, START_S = 2.0, 60
MASTER_KEY = "dGhlIGtleSBvZiBhIGh1YiB0aGF0IGhhcyBub3RoaW4="
Entry = Callable[[], AbstractContextManager[Ask]]
"""Opens one caller's way to ask."""


@dataclass
class Heat:
    """What came of one contender's turn."""

    per_s: float
    p50_ms: float
    p99_ms: float


@dataclass
class Ours:
    """A database of ours, its store and its funnel."""

    address: str
    store: Store
    funnel: Funnel

    @contextmanager
    def enter(self) -> Iterator[Ask]:
        """One blocking caller's way to ask."""
        yield lambda order: isinstance(self.funnel.decide([order.command()])[0], Reservation)

    async def ask(self, order: Order) -> bool:
        """One awaiting caller's way to ask."""
        return isinstance((await self.funnel.decided([order.command()]))[0], Reservation)


@contextmanager
def opened(place: AbstractContextManager[str]) -> Iterator[Ours]:
    """A store and a funnel over a database."""
    with place as address, closing(Store(address, Vault([MASTER_KEY]))) as store, closing(Funnel(store)) as funnel:
        yield Ours(address, store, funnel)


def drive(enter: Entry, callers: int, baskets: Sequence[Basket], tag: str, per_s: float = 0) -> Heat:
    """A thread for each caller, who asks again once it was answered; all must be backed.

    per_s: so many orders come in a second, to all of them together, and each is answered late when it waits for its
    turn; else a caller has its next order once it was answered.
    """
    ready = threading.Barrier(callers + 1)

    def call(k: int) -> list[float]:
        with enter() as ask:
            ready.wait()
            return _ask_on(ask, baskets, tag, k, callers / per_s if per_s else 0)

    with ThreadPoolExecutor(callers) as pool:
        calls = [pool.submit(call, k) for k in range(callers)]
        ready.wait()
        began = time.perf_counter()
        latencies = [one.result() for one in calls]
    return _heat(latencies, time.perf_counter() - began)


def drive_apart(enters: Sequence[Entry], baskets: Sequence[Basket], tag: str, per_s: float) -> Heat:
    """The same, each of these callers a process of its own."""
    fork = multiprocessing.get_context("fork")
    ready = fork.Barrier(len(enters) + 1)

    def call(k: int, answer: Connection) -> None:
        with enters[k]() as ask:
            ready.wait(START_S)
            answer.send(_ask_on(ask, baskets, tag, k, len(enters) / per_s))

    pipes = [fork.Pipe(duplex=False) for _ in enters]
    callers = [fork.Process(target=call, args=(k, there)) for k, (_, there) in enumerate(pipes)]
    for caller in callers:
        caller.start()
    for _, there in pipes:
        there.close()
    ready.wait(START_S)
    began = time.perf_counter()
    latencies = [here.recv() for here, _ in pipes]
    took_s = time.perf_counter() - began
    for caller in callers:
        caller.join()
    return _heat(latencies, took_s)


def _ask_on(ask: Ask, baskets: Sequence[Basket], tag: str, caller: int, every_s: float) -> list[float]:
    """Ask for what comes in that time; seconds until each answer, since it was due where orders come every so often."""
    took_s: list[float] = []
    due = time.perf_counter() + every_s * random.Random(caller).random()
    end = due + SECONDS
    while due < end:
        if (early_s := due - time.perf_counter()) > 0:
            time.sleep(early_s)
        must_equal("backed", ask(_order(tag, baskets, caller, len(took_s))), True)
        now = time.perf_counter()
        took_s.append(now - due)
        due = due + every_s if every_s else now
    return took_s


def drive_ours(ours: Ours, callers: int, baskets: Sequence[Basket], tag: str) -> Heat:
    """The same closed loop for callers who await on one event loop, as the web process's do."""
    latencies: list[list[float]] = [[] for _ in range(callers)]

    async def call(k: int, end: float) -> None:
        n = 0
        while (before := time.perf_counter()) < end:
            must_equal("backed", await ours.ask(_order(tag, baskets, k, n)), True)
            latencies[k].append(time.perf_counter() - before)
            n += 1

    async def all_of_them() -> float:
        began = time.perf_counter()
        await asyncio.gather(*(call(k, began + SECONDS) for k in range(callers)))
        return time.perf_counter() - began

    return _heat(latencies, asyncio.run(all_of_them()))


def _order(tag: str, baskets: Sequence[Basket], caller: int, n: int) -> Order:
    return Order(f"{tag}.{caller}.{n}", baskets[(caller * 157 + n) % len(baskets)])


def _heat(latencies: Sequence[Sequence[float]], took_s: float) -> Heat:
    took = sorted(one for each in latencies for one in each)
    return Heat(len(took) / took_s, took[len(took) // 2] * 1000, took[int(len(took) * 0.99)] * 1000)


def decide_all(ours: Ours, orders: Sequence[Order], at_once: int) -> float:
    """A backlog in lists of so many, all of which must be backed; orders a second."""
    commands = [order.command() for order in orders]
    gc.collect()
    gc.freeze()  # what was made beforehand is not looked through again while the time is taken
    began = time.perf_counter()
    for start in range(0, len(commands), at_once):
        answers = ours.funnel.decide(commands[start : start + at_once])
        must_equal("backed", sum(isinstance(a, Reservation) for a in answers), len(answers))
    return len(orders) / (time.perf_counter() - began)


def left_alike(main: Ours, theirs: Ours, contenders: dict[str, Entry], baskets: Sequence[Basket]) -> None:
    """The same orders leave as many rows and the same balances, whoever books them. theirs: what contenders book in."""
    ours = _left(main, main.enter, "ours", baskets)
    for name, enter in contenders.items():
        must_equal(f"what {name} leaves", _left(theirs, enter, name, baskets), ours)


def _left(place: Ours, enter: Entry, name: str, baskets: Sequence[Basket]) -> dict[Any, int]:
    before = _books(place)
    with enter() as ask:
        for n, basket in enumerate(baskets):
            must_equal("backed", ask(Order(f"alike.{name}.{n}", basket)), True)
    return {key: value - before.get(key, 0) for key, value in _books(place).items() if value != before.get(key)}


def _books(main: Ours) -> dict[Any, int]:
    """Rows of each table, and every cell's balances."""
    with main.store.read() as tx:
        counts = {
            table.name: int(tx.conn.execute(select(func.count()).select_from(table)).scalar_one())
            for table in (t.claims, t.journals, t.entries)
        }
        cells = tx.conn.execute(select(t.cells.c.id, t.cells.c.free, t.cells.c.reserved)).all()
    return {**counts, **{(c.id, "free"): c.free for c in cells}, **{(c.id, "reserved"): c.reserved for c in cells}}
