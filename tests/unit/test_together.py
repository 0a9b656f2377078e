"""Small writes go together: everybody's is kept, and one that raises spares the others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select

from core.store import tables as t
from core.store.store import Store, Transaction
from hub.together import Together
from tests.worlds import store

THREADS = 12


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Store]:
    with store(tmp_path) as it:
        yield it


def tallies(kept: Store) -> dict[str, int]:
    with kept.read() as tx:
        return {row["name"]: row["n"] for row in tx.rows(select(t.tallies))}


def test_writes_that_wait_for_one_another_share_a_commit(kept: Store) -> None:
    together, commits = Together(kept), kept.db.commits
    first, all_wait = threading.Event(), threading.Event()

    def slow(tx: Transaction) -> None:
        first.set()
        all_wait.wait(5)
        tx.tally("slow")

    with ThreadPoolExecutor(THREADS + 1) as pool:
        leader = pool.submit(together.write, slow)
        first.wait(5)
        others = [pool.submit(together.write, lambda tx, n=n: tx.tally(f"n{n}")) for n in range(THREADS)]
        while len(together._waiting) < THREADS:
            pass
        all_wait.set()
        for one in (leader, *others):
            one.result(5)
    assert tallies(kept) == {"slow": 1, **{f"n{n}": 1 for n in range(THREADS)}}
    assert kept.db.commits - commits == 2


def test_one_that_raises_is_told_so_and_spares_the_others(kept: Store) -> None:
    together = Together(kept)
    first, all_wait = threading.Event(), threading.Event()

    def slow(tx: Transaction) -> None:
        first.set()
        all_wait.wait(5)

    def stumbles(tx: Transaction) -> None:
        tx.tally("half done")
        raise ValueError("no")

    with ThreadPoolExecutor(4) as pool:
        leader = pool.submit(together.write, slow)
        first.wait(5)
        bad, good = pool.submit(together.write, stumbles), pool.submit(together.write, lambda tx: tx.tally("good"))
        while len(together._waiting) < 2:
            pass
        all_wait.set()
        leader.result(5)
        good.result(5)
        with pytest.raises(ValueError, match="no"):
            bad.result(5)
    assert tallies(kept) == {"good": 1}
