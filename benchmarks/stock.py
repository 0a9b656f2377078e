"""How fast stock is reserved, and how honestly: ours through the funnel, beside how others do it, round by round."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import func, select

from benchmarks import stock_rivals as rivals
from benchmarks.harness import bench_result, must_equal, result_row
from benchmarks.stock_orders import (
    HISTORY,
    SKUS,
    Basket,
    Order,
    database,
    hot,
    libpq,
    oracle,
    refuse_unsafe,
    seed_words,
    uniform,
    zipf,
)
from benchmarks.stock_rivals import Ask
from core.flow.funnel import Funnel
from core.flow.reserve_stock import Reservation
from core.store import tables as t
from core.store.schema import prepare
from core.store.store import Ids, Store
from core.store.vault import Vault

SERVER = "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"
SECONDS, CALLERS, MANY = 2.0, 32, 256
DRAINED, AT_ONCE, ALIKE = 10_000, 1000, 300
FEW, MILLION = 1000, 1_000_000
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


def run(rounds: int = 5) -> dict[str, Any]:
    """All goals; raises Unequal when a contender decides or leaves anything else than ours."""
    server = os.environ.get("YIPAN_TEST_POSTGRES", SERVER)
    refuse_unsafe(server)
    with ExitStack() as stack:
        places = {
            "main": stack.enter_context(opened(database(server, SKUS))),
            "small": stack.enter_context(opened(database(server, FEW))),
            "large": stack.enter_context(opened(database(server, MILLION))),
            "old": stack.enter_context(opened(database(server, FEW, HISTORY))),
        }
        main = places["main"]
        rivals.add_function(main.address)
        port = stack.enter_context(rivals.redis_server(SKUS, 10**9)) if rivals.has_redis() else None
        contenders = _contenders(main, port)
        decided_as_oracle(server)
        left_alike(main, {"ours": main.enter, **{k: enter for k, enter in contenders.items() if k != "redis"}})
        found = [one_round(places, contenders, n) for n in range(rounds)]
        must_equal("deadlocks", _deadlocks(main.address), 0)
    return bench_result("stock", rounds, _results(found))


@contextmanager
def opened(place: AbstractContextManager[str]) -> Iterator[Ours]:
    """A store and a funnel over a database."""
    with place as address, closing(Store(address, Vault([MASTER_KEY]))) as store, closing(Funnel(store)) as funnel:
        yield Ours(address, store, funnel)


def _contenders(main: Ours, port: int | None) -> dict[str, Entry]:
    ids, address = Ids(4000), main.address
    entries: dict[str, Entry] = {
        "for_update": lambda: rivals.for_update(address, ids),
        "orm": lambda: rivals.orm(address, ids),
        "plpgsql": lambda: rivals.plpgsql(address, ids),
    }
    if port is not None:
        entries["redis"] = lambda: rivals.redis_lua(port)
    return entries


def one_round(places: dict[str, Ours], contenders: dict[str, Entry], n: int) -> dict[str, Any]:
    """Every figure once, contenders one after the other."""
    main = places["main"]
    hots = {name: drive(enter, CALLERS, hot(1), f"h{n}{name}") for name, enter in contenders.items()}
    baskets, others = zipf(5000), {name: enter for name, enter in contenders.items() if name != "orm"}
    zipfs = {name: drive(enter, CALLERS, baskets, f"z{n}{name}") for name, enter in others.items()}
    hots["ours"] = drive_ours(main, CALLERS, hot(1), f"h{n}")
    zipfs["ours"] = drive_ours(main, CALLERS, baskets, f"z{n}")
    before = _wal(main.address)
    main.funnel.decide([Order(f"w{n}.{i}", basket).command() for i, basket in enumerate(hot(AT_ONCE))])
    wal = _wal(main.address) - before
    return {
        "hot": hots,
        "zipf": zipfs,
        "hot256": drive_ours(main, MANY, hot(1), f"m{n}"),
        "single": drive(main.enter, 1, hot(1), f"s{n}"),
        "single_plpgsql": drive(contenders["plpgsql"], 1, hot(1), f"p{n}"),
        "wal_bytes": wal / AT_ONCE,
        "drain_hot": drain(main, hot(DRAINED), f"dh{n}"),
        "drain_zipf": drain(main, zipf(DRAINED), f"dz{n}"),
        "sqlite": sqlite_round(n),
        "skus": {
            name: drive_ours(places[name], CALLERS, uniform(5000, skus), f"u{n}")
            for name, skus in (("small", FEW), ("large", MILLION), ("old", FEW))
        },
    }


def drive(enter: Entry, callers: int, baskets: Sequence[Basket], tag: str) -> Heat:
    """Closed loop, a thread for each caller, who asks again once it was answered; all must be backed."""
    latencies: list[list[float]] = [[] for _ in range(callers)]
    ready = threading.Barrier(callers + 1)
    ends = [float("inf")]

    def call(k: int) -> None:
        with enter() as ask:
            ready.wait()
            n = 0
            while (before := time.perf_counter()) < ends[0]:
                must_equal("backed", ask(_order(tag, baskets, k, n)), True)
                latencies[k].append(time.perf_counter() - before)
                n += 1

    with ThreadPoolExecutor(callers) as pool:
        calls = [pool.submit(call, k) for k in range(callers)]
        ready.wait()
        began = time.perf_counter()
        ends[0] = began + SECONDS
        for one in calls:
            one.result()
    return _heat(latencies, time.perf_counter() - began)


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


def drain(main: Ours, baskets: Sequence[Basket], tag: str) -> dict[str, float]:
    """A backlog in lists of a thousand, beside COPY of the rows it leaves."""
    orders = [Order(f"{tag}.{n}", basket) for n, basket in enumerate(baskets)]
    commands = [order.command() for order in orders]
    began = time.perf_counter()
    for start in range(0, len(commands), AT_ONCE):
        answers = main.funnel.decide(commands[start : start + AT_ONCE])
        must_equal("backed", sum(isinstance(a, Reservation) for a in answers), len(answers))
    ours = len(orders) / (time.perf_counter() - began)
    copied = [Order(f"{tag}.copied.{n}", basket) for n, basket in enumerate(baskets)]
    copy = rivals.copy_all(main.address, Ids(4001), copied, AT_ONCE)
    began = time.perf_counter()
    copy()
    return {"ours_per_s": ours, "copy_per_s": len(orders) / (time.perf_counter() - began)}


def sqlite_round(n: int) -> dict[str, Heat]:
    """The embedded database: our one writer beside a commit an order, and beside eight writers that compete."""
    with tempfile.TemporaryDirectory(prefix="yipan-bench-") as folder:
        path, ids = Path(folder) / "hub.db", Ids(4002)
        address = f"sqlite:///{path}"
        prepare(address)
        _seed_sqlite(path)
        each: Entry = lambda: rivals.sqlite_each(path, ids)  # noqa: E731
        one, eight = drive(each, 1, hot(1), f"a{n}"), drive(each, 8, hot(1), f"b{n}")
        with opened(nullcontext(address)) as ours:
            return {
                "each": one,
                "each8": eight,
                "ours": drive_ours(ours, CALLERS, hot(1), f"c{n}"),
                "ours8": drive_ours(ours, 8, hot(1), f"d{n}"),
            }


def _seed_sqlite(path: Path) -> None:
    numbers = f"(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {FEW}) SELECT n FROM c)"
    with closing(sqlite3.connect(path)) as conn, conn:
        for statement in seed_words(numbers, str(time.time_ns() // 1000)):
            conn.execute(statement)


def decided_as_oracle(server: str) -> None:
    """Scarce stock and crossing baskets, in lists: every verdict is the one a clerk would give, one after the other."""
    baskets = zipf(3000, seed=11)
    with opened(database(server, SKUS)) as ours:
        with psycopg.connect(libpq(ours.address)) as conn:
            conn.execute("UPDATE cells SET free = 1 + id % 5")
            stock = dict(conn.execute("SELECT id, free FROM cells").fetchall())
        verdicts: list[bool] = []
        for start in range(0, len(baskets), 170):
            some = [Order(f"o{start + n}", basket) for n, basket in enumerate(baskets[start : start + 170])]
            verdicts += [isinstance(a, Reservation) for a in ours.funnel.decide([o.command() for o in some])]
        must_equal("verdicts", verdicts, oracle(baskets, stock))


def left_alike(main: Ours, contenders: dict[str, Entry]) -> None:
    """The same orders leave as many rows and the same balances, whoever books them."""
    left = {}
    for name, enter in contenders.items():
        before = _books(main)
        with enter() as ask:
            for n, basket in enumerate(zipf(ALIKE, seed=3)):
                must_equal("backed", ask(Order(f"alike.{name}.{n}", basket)), True)
        left[name] = {
            key: value - before.get(key, 0) for key, value in _books(main).items() if value != before.get(key)
        }
    for name, books in left.items():
        must_equal(f"what {name} leaves", left["ours"], books)


def _books(main: Ours) -> dict[Any, int]:
    """Rows of each table, and every cell's balances."""
    with main.store.read() as tx:
        counts = {
            table.name: int(tx.conn.execute(select(func.count()).select_from(table)).scalar_one())
            for table in (t.claims, t.journals, t.entries)
        }
        cells = tx.conn.execute(select(t.cells.c.id, t.cells.c.free, t.cells.c.reserved)).all()
    return {**counts, **{(c.id, "free"): c.free for c in cells}, **{(c.id, "reserved"): c.reserved for c in cells}}


def _wal(address: str) -> int:
    with psycopg.connect(libpq(address)) as conn:
        row = conn.execute("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint").fetchone()
    assert row is not None
    return int(row[0])


def _deadlocks(address: str) -> int:
    with psycopg.connect(libpq(address)) as conn:
        row = conn.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()
    assert row is not None
    return int(row[0])


GOALS: tuple[tuple[str, float | None, float], ...] = (
    ("hot32_vs_for_update", 10, 30),
    ("hot32_vs_orm", 20, 60),
    ("hot32_vs_plpgsql", 4, 10),
    ("hot32_p99", 10, 20),
    ("hot256_vs_hot32", 1, 1.5),
    ("zipf32_vs_for_update", 5, 12),
    ("zipf32_vs_plpgsql", 2, 4),
    ("hot32_vs_redis", None, 1.4),
    ("zipf32_vs_redis", None, 0.9),
    ("drain_hot", 0.2, 0.5),
    ("drain_zipf", 0.15, 0.4),
    ("sqlite_batch", 8, 15),
    ("sqlite_p99", 5, 10),
    ("single_caller", 0.35, 0.6),
    ("sku_growth", 0.33, 0.5),
    ("history", 0.8, 0.9),
)
"""(goal, floor, target): every ratio is larger when ours is better."""


def _ratios(found: dict[str, Any]) -> dict[str, float]:
    """The goals' ratios in one round."""
    hots, zipfs, lite, skus = found["hot"], found["zipf"], found["sqlite"], found["skus"]
    ours, ours_zipf = hots["ours"].per_s, zipfs["ours"].per_s
    ratios = {f"hot32_vs_{name}": ours / heat.per_s for name, heat in hots.items() if name != "ours"}
    ratios |= {f"zipf32_vs_{name}": ours_zipf / heat.per_s for name, heat in zipfs.items() if name != "ours"}
    return ratios | {
        "hot32_p99": hots["for_update"].p99_ms / hots["ours"].p99_ms,
        "hot256_vs_hot32": found["hot256"].per_s / ours,
        "drain_hot": found["drain_hot"]["ours_per_s"] / found["drain_hot"]["copy_per_s"],
        "drain_zipf": found["drain_zipf"]["ours_per_s"] / found["drain_zipf"]["copy_per_s"],
        "sqlite_batch": lite["ours"].per_s / lite["each"].per_s,
        "sqlite_p99": lite["each8"].p99_ms / lite["ours8"].p99_ms,
        "single_caller": found["single"].per_s / found["single_plpgsql"].per_s,
        "sku_growth": skus["large"].per_s / skus["small"].per_s,
        "history": skus["old"].per_s / skus["small"].per_s,
    }


def _results(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    rounds = [_ratios(one) for one in found]
    absolute = _absolute(found)
    rows = []
    for goal, floor, target in GOALS:
        ratios = [one[goal] for one in rounds if goal in one]
        if ratios:
            rows.append(result_row(goal, ratios, floor=floor, target=target, absolute=absolute.get(goal, {})))
        else:
            print(f"{goal}: no redis-server on this machine, not measured", file=sys.stderr)
    return rows


def _absolute(found: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Medians of the rounds, beside the goal they belong to."""

    def middle(read: Callable[[dict[str, Any]], float]) -> float:
        return round(statistics.median(read(one) for one in found), 1)

    def rates(group: str) -> dict[str, float]:
        return {name: middle(lambda one, name=name: one[group][name].per_s) for name in found[0][group]}  # type: ignore[misc]

    hots, zipfs = rates("hot"), rates("zipf")
    p99s = {name: middle(lambda one, name=name: one["hot"][name].p99_ms) for name in hots}  # type: ignore[misc]
    return {
        "hot32_vs_for_update": {
            "orders_per_s": hots,
            "wal_bytes_per_order": middle(lambda o: o["wal_bytes"]),
        },
        "hot32_p99": {"p99_ms": p99s},
        "hot256_vs_hot32": {"ours_per_s": middle(lambda o: o["hot256"].per_s)},
        "zipf32_vs_for_update": {"orders_per_s": zipfs},
        "drain_hot": {name: middle(lambda o, name=name: o["drain_hot"][name]) for name in found[0]["drain_hot"]},  # type: ignore[misc]
        "drain_zipf": {name: middle(lambda o, name=name: o["drain_zipf"][name]) for name in found[0]["drain_zipf"]},  # type: ignore[misc]
        "sqlite_batch": {"orders_per_s": rates("sqlite")},
        "sqlite_p99": {"p99_ms": {n: middle(lambda o, n=n: o["sqlite"][n].p99_ms) for n in found[0]["sqlite"]}},  # type: ignore[misc]
        "single_caller": {
            "ours_per_s": middle(lambda o: o["single"].per_s),
            "plpgsql_per_s": middle(lambda o: o["single_plpgsql"].per_s),
        },
        "sku_growth": {"orders_per_s": rates("skus")},
    }
