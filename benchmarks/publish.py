"""How fast levels are computed and told: the board a worker keeps beside one SQL statement, and a promotion's lag."""

from __future__ import annotations

import gc
import os
import random
import statistics
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import text

from benchmarks.harness import bench_result, must_equal, result_row
from benchmarks.publish_lag import Lag, measure
from benchmarks.publish_world import RIVAL, SKUS, world
from benchmarks.stock import SERVER
from benchmarks.stock_orders import refuse_unsafe
from core.flow.board import Board, Some
from core.store.store import Store

DIRTY, HEATS = 100, 5
PROMOTIONS, LAG_S = 3, 2.0
MOVE = "UPDATE cells SET free = (free * 31 + :n) % 300 WHERE item_id = ANY(:items)"


def run(rounds: int = 5) -> dict[str, Any]:
    """All goals; raises Unequal when the rival computes another level anywhere, or a call was made for nothing."""
    server = os.environ.get("YIPAN_TEST_POSTGRES", SERVER)
    refuse_unsafe(server)
    found = _boards(server, rounds)
    gc.unfreeze()
    gc.collect()  # the twins of the promotion are in this process
    lags = [measure(server) for _ in range(min(rounds, PROMOTIONS))]
    for lag in lags:
        must_equal("calls beyond what changed", max(0, lag.calls - lag.pairs), 0)
        must_equal("calls for a shop's own sales", lag.own_sale_calls, 0)
    return bench_result("publish", rounds, [*_results(found), _lag(lags)])


def _boards(server: str, rounds: int) -> list[dict[str, float]]:
    with world(server) as store:
        board = Board()
        full(store, board)
        gc.collect()
        gc.freeze()  # as workers do
        return [one_round(store, board, n) for n in range(rounds)]


def one_round(store: Store, board: Board, n: int) -> dict[str, float]:
    """Stock moves, then both sides say what every listing may show; best of some heats each, seconds."""
    chance = random.Random(n)
    moved = chance.sample(range(1, SKUS + 1), DIRTY)
    store.write(lambda tx: tx.conn.execute(text(MOVE), {"n": n, "items": moved}))
    took: dict[str, list[float]] = {"sql": [], "full": [], "dirty": []}
    for _ in range(HEATS):
        before = time.perf_counter()
        theirs = by_sql(store)
        took["sql"].append(time.perf_counter() - before)
        before = time.perf_counter()
        ours = full(store, board)
        took["full"].append(time.perf_counter() - before)
        before = time.perf_counter()
        some = dirty(store, board, moved)
        took["dirty"].append(time.perf_counter() - before)
    levels, of_moved = _by_listing(*ours), _by_listing(*some)
    must_equal("levels that differ", levels.items() ^ {(ident, level) for ident, level in theirs}, set())
    must_equal("levels of what moved that differ", of_moved.items() - levels.items(), set())
    return {name: min(each) for name, each in took.items()}


def by_sql(store: Store) -> Sequence[Any]:
    """(listing, level) of all, fetched."""
    with store.read() as tx:
        return tx.conn.execute(text(RIVAL)).all()


def full(store: Store, board: Board) -> tuple[list[Some], list[Any]]:
    """Every level, by the board."""
    with store.read() as tx:
        board.look(tx)
        found = board.all()
        return found, board.targets(tx, found)


def dirty(store: Store, board: Board, items: Sequence[int]) -> tuple[list[Some], list[Any]]:
    """The levels of some SKUs, by the board."""
    with store.read() as tx:
        board.look(tx)
        found = board.about(items, ())
        return found, board.targets(tx, found)


def _by_listing(found: Sequence[Some], levels: Sequence[Any]) -> dict[int, int]:
    return {
        ident: level
        for some, each in zip(found, levels, strict=True)
        for ident, level in zip(some.ids.tolist(), each.tolist(), strict=True)
    }


def _results(found: Sequence[dict[str, float]]) -> list[dict[str, Any]]:
    absolute = {f"{name}_ms": round(statistics.median(one[name] for one in found) * 1000, 2) for name in found[0]}
    return [
        result_row("dirty_100", [one["sql"] / one["dirty"] for one in found], floor=50, target=100, absolute=absolute),
        result_row("full_recompute", [one["sql"] / one["full"] for one in found], floor=10, target=20, absolute={}),
    ]


def _lag(lags: Sequence[Lag]) -> dict[str, Any]:
    def middle(name: str) -> float:
        return round(statistics.median(getattr(lag, name) for lag in lags), 3)

    absolute = {name: middle(name) for name in ("p50", "p95", "p99", "calls", "pairs", "orders", "own_sale_calls")}
    return result_row("lag_p95", [LAG_S / lag.p95 for lag in lags], floor=1, target=2, absolute=absolute)
