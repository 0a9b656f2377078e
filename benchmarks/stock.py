"""How fast stock is reserved, and how honestly: ours through the funnel, beside how others do it, round by round."""

from __future__ import annotations

import gc
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import psycopg

from benchmarks import stock_rivals as rivals
from benchmarks.harness import bench_result, must_equal, result_row
from benchmarks.stock_load import Entry, Ours, decide_all, drive, drive_ours, left_alike, opened
from benchmarks.stock_orders import (
    FEW,
    HISTORY,
    SKUS,
    Basket,
    Order,
    database,
    hot,
    libpq,
    oracle,
    refuse_unsafe,
    uniform,
    zipf,
)
from benchmarks.stock_sqlite import sqlite_round
from core.flow.reserve_stock import Reservation
from core.store.store import Ids

SERVER = "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"
CALLERS, MANY, MILLION = 32, 256, 1_000_000
DRAINED, AT_ONCE, ALIKE = 10_000, 1000, 300


def run(rounds: int = 9) -> dict[str, Any]:
    """All goals; raises Unequal when a contender decides or leaves anything else than ours."""
    server = os.environ.get("YIPAN_TEST_POSTGRES", SERVER)
    refuse_unsafe(server)
    with ExitStack() as stack:
        places = {
            "main": stack.enter_context(opened(database(server, SKUS))),
            "rivals": stack.enter_context(opened(database(server, SKUS))),
            "small": stack.enter_context(opened(database(server, FEW))),
            "large": stack.enter_context(opened(database(server, MILLION))),
            "old": stack.enter_context(opened(database(server, FEW, HISTORY))),
        }
        main, theirs = places["main"], places["rivals"]
        rivals.add_function(theirs.address)
        port = stack.enter_context(rivals.redis_server(SKUS, 10**9)) if rivals.has_redis() else None
        contenders = _contenders(theirs.address, port)
        decided_as_oracle(server)
        alike = {name: enter for name, enter in contenders.items() if name != "redis"}
        left_alike(main, theirs, alike, zipf(ALIKE, seed=3))
        gc.collect()
        gc.freeze()  # as web and workers do
        found = [one_round(places, contenders, n) for n in range(rounds)]
        for place in (main, theirs):
            must_equal("deadlocks", _deadlocks(place.address), 0)
    return bench_result("stock", rounds, _results(found))


def _contenders(address: str, port: int | None) -> dict[str, Entry]:
    ids = Ids(4000)
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
        "drain_hot": drain(main, places["rivals"], hot(DRAINED), f"dh{n}"),
        "drain_zipf": drain(main, places["rivals"], zipf(DRAINED), f"dz{n}"),
        "sqlite": sqlite_round(n),
        "skus": {
            name: drive_ours(places[name], CALLERS, uniform(5000, skus), f"u{n}")
            for name, skus in (("small", FEW), ("large", MILLION), ("old", FEW))
        },
    }


def drain(main: Ours, theirs: Ours, baskets: Sequence[Basket], tag: str) -> dict[str, float]:
    """A backlog in lists of a thousand, beside COPY of the rows it leaves."""
    ours = decide_all(main, [Order(f"{tag}.{n}", basket) for n, basket in enumerate(baskets)], AT_ONCE)
    copied = [Order(f"{tag}.copied.{n}", basket) for n, basket in enumerate(baskets)]
    copy = rivals.copy_all(theirs.address, Ids(4001), copied, AT_ONCE)
    gc.collect()
    gc.freeze()
    began = time.perf_counter()
    copy()
    return {"ours_per_s": ours, "copy_per_s": len(copied) / (time.perf_counter() - began)}


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
        "sqlite_batch": lite["lists_per_s"] / lite["each"].per_s,
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
        "sqlite_batch": {
            "each_per_s": middle(lambda o: o["sqlite"]["each"].per_s),
            "lists_per_s": middle(lambda o: o["sqlite"]["lists_per_s"]),
            "callers32_per_s": middle(lambda o: o["sqlite"]["ours"].per_s),
        },
        "sqlite_p99": {
            "orders_per_s": {n: middle(lambda o, n=n: o["sqlite"][n].per_s) for n in ("each8", "ours8")},  # type: ignore[misc]
            "p99_ms": {n: middle(lambda o, n=n: o["sqlite"][n].p99_ms) for n in ("each8", "ours8")},  # type: ignore[misc]
        },
        "single_caller": {
            "ours_per_s": middle(lambda o: o["single"].per_s),
            "plpgsql_per_s": middle(lambda o: o["single_plpgsql"].per_s),
        },
        "sku_growth": {"orders_per_s": rates("skus")},
    }
