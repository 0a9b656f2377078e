"""What the stock bench asks for: orders over numbered SKUs, and the world they are sold from."""

from __future__ import annotations

import random
import secrets
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, NamedTuple

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from core.flow.reserve_stock import Reserve, Subject
from core.rules.decide import Want
from core.store.schema import prepare

HOLDER, WAREHOUSE, KIND = 1, 2, "api"
PLENTY = 10**9
SKUS, FEW, HISTORY = 10_000, 1000, 4_000_000
MUST_BE_ON = ("fsync", "synchronous_commit", "full_page_writes")
Basket = tuple[tuple[int, int], ...]
"""(SKU number, units) of each line; a SKU's number is the id of its item and of its cell."""


class Order(NamedTuple):
    """One caller's wish."""

    ref: str
    lines: Basket

    def command(self) -> Reserve:
        """As the funnel is asked."""
        wants = tuple(Want(n, HOLDER, sku, units) for n, (sku, units) in enumerate(self.lines))
        return Reserve(Subject(HOLDER, KIND, self.ref), wants, (WAREHOUSE,))


def hot(n: int) -> Sequence[Basket]:
    """Everybody wants the same."""
    return [((1, 1),)] * n


def zipf(n: int, seed: int = 7) -> Sequence[Basket]:
    """1 to 5 different SKUs, few of them wanted by many."""
    chance = random.Random(seed)
    weights = list(accumulate(1 / rank for rank in range(1, SKUS + 1)))

    def basket() -> Basket:
        lines: dict[int, int] = {}
        for _ in range(chance.randint(1, 5)):
            lines[bisect(weights, chance.random() * weights[-1]) + 1] = chance.randint(1, 3)
        return tuple(lines.items())

    return [basket() for _ in range(n)]


def uniform(n: int, skus: int, seed: int = 7) -> Sequence[Basket]:
    """One line each, any SKU as likely as another."""
    chance = random.Random(seed)
    return [((chance.randint(1, skus), 1),) for _ in range(n)]


def oracle(baskets: Sequence[Basket], stock: Mapping[int, int]) -> list[bool]:
    """Which of these a clerk would back who serves one after the other."""
    left = dict(stock)
    verdicts = []
    for basket in baskets:
        fits = all(left.get(sku, 0) >= units for sku, units in basket)
        verdicts.append(fits)
        for sku, units in basket if fits else ():
            left[sku] -= units
    return verdicts


SEED = (
    "INSERT INTO merchants (id, code, name, created_at) VALUES (1, 'bench', 'bench', {now})",
    "INSERT INTO warehouses (id, code, name, created_at) VALUES (2, 'bench', 'bench', {now})",
    "INSERT INTO items (id, owner_id, sku, name, created_at) SELECT n, 1, 'S' || n, 'S' || n, {now} FROM {numbers}",
    "INSERT INTO cells (id, owner_id, item_id, warehouse_id, condition, free)"
    " SELECT n, 1, n, 2, 'ZP', {free} FROM {numbers}",
)


def seed_words(numbers: str, now: str, free: int = PLENTY) -> list[str]:
    """The statements that put SKUs 1 to n into a database's own words for a list of numbers and for now."""
    return [statement.format(numbers=numbers, now=now, free=free) for statement in SEED]


@contextmanager
def database(server: str, skus: int, history: int = 0) -> Iterator[str]:
    """A PostgreSQL database of its own with so many SKUs and entries, gone afterwards; its SQLAlchemy address."""
    url = make_url(server)
    name = f"yipan_bench_{secrets.token_hex(4)}"
    quoted = sql.Identifier(name)
    with psycopg.connect(libpq(server), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(quoted))
        try:
            address = url.set(database=name).render_as_string(hide_password=False)
            prepare(address)
            _seed(libpq(address), skus, history)
            yield address
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(quoted))


def _seed(address: str, skus: int, history: int) -> None:
    with psycopg.connect(address) as conn:
        for statement in seed_words(f"generate_series(1, {skus}) n", "now()"):
            conn.execute(statement)
        if history:
            _write_history(conn, skus, history)
        conn.commit()
        conn.autocommit = True
        conn.execute("VACUUM ANALYZE")


def _write_history(conn: psycopg.Connection[Any], skus: int, entries: int) -> None:
    """Reservations of long ago: their journals and entries, without looking each reference up."""
    conn.execute("SET LOCAL session_replication_role = replica")
    conn.execute(
        "INSERT INTO journals (id, key, kind, cause, recorded_at)"
        " SELECT n, 'old:' || n, 'reserve', 'old', now() FROM generate_series(1, %s) n",
        (entries // 2,),
    )
    conn.execute(
        "INSERT INTO entries (journal_id, n, cell_id, account, quantity)"
        " SELECT j, n, 1 + j %% %s, CASE n WHEN 0 THEN 'free' ELSE 'reserved' END, 2 * n - 1"
        " FROM generate_series(1, %s) j, generate_series(0, 1) n",
        (skus, entries // 2),
    )


def libpq(address: str) -> str:
    """The address as psycopg takes it."""
    return make_url(address).set(drivername="postgresql").render_as_string(hide_password=False)


def refuse_unsafe(address: str) -> None:
    """Raises SystemExit when the server does not keep what it says it has committed."""
    with psycopg.connect(libpq(address)) as conn:
        off = [name for name in MUST_BE_ON if conn.execute(f"SHOW {name}").fetchone() != ("on",)]
    if off:
        raise SystemExit(f"{', '.join(off)} must be on: figures without it would mean nothing")
