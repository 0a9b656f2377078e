"""The embedded database: our one writer beside a commit an order, and beside eight processes that compete.

Those and eight callers of ours are offered half of what one writer alone commits, and answers are late from when they
were due: in a closed loop whoever starves asks for nothing, so that its waits hardly show.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import stock_rivals as rivals
from benchmarks.stock_load import decide_all, drive, drive_apart, drive_ours, left_alike, opened
from benchmarks.stock_orders import FEW, Order, hot, seed_words, uniform
from core.store.schema import prepare
from core.store.store import Ids

CALLERS, WRITERS = 32, 8
LISTED, AT_ONCE = 10_000, 200
ALIKE = 100


def sqlite_round(n: int) -> dict[str, Any]:
    """What each contender does with a file of its own; raises Unequal when they leave anything else."""
    with tempfile.TemporaryDirectory(prefix="yipan-bench-") as folder:
        path = Path(folder) / "hub.db"
        address = f"sqlite:///{path}"
        prepare(address)
        _seed(path)
        each, *writers = [partial(rivals.sqlite_each, path, Ids(4002 + k)) for k in range(1 + WRITERS)]
        one = drive(each, 1, hot(1), f"a{n}")
        offered = one.per_s / 2
        eight = drive_apart(writers, hot(1), f"b{n}", offered)
        with opened(nullcontext(address)) as ours:
            left_alike(ours, ours, {"each": each}, uniform(ALIKE, FEW))
            return {
                "each": one,
                "each8": eight,
                "lists_per_s": decide_all(ours, [Order(f"l{n}.{k}", ((1, 1),)) for k in range(LISTED)], AT_ONCE),
                "ours": drive_ours(ours, CALLERS, hot(1), f"c{n}"),
                "ours8": drive(ours.enter, WRITERS, hot(1), f"d{n}", offered),
            }


def _seed(path: Path) -> None:
    numbers = f"(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {FEW}) SELECT n FROM c)"
    with closing(sqlite3.connect(path)) as conn, conn:
        for statement in seed_words(numbers, str(time.time_ns() // 1000)):
            conn.execute(statement)
