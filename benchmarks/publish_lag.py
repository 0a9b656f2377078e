"""A promotion on twenty twins: how long a change of stock takes to reach the shops, and how many calls it costs.

A real hub on PostgreSQL, 10k SKUs listed at ten Tmall and ten Vendure twins. Shoppers buy at all of them; the hub
polls the orders, claims stock, and tells every other shop. Lag runs from the commit that moved stock to the commit
that books the shop's answer.
"""

from __future__ import annotations

import json
import random
import tempfile
import threading
import time
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.harness import must_equal
from benchmarks.stock_orders import database, libpq
from core.store.store import made_at
from sandbox.demo.town import Town, town

SKUS, PER_PRODUCT, SHOPS = 10_000, 20, 20
ORDERS_PER_MIN, BURST_S, PROMOTED = 2000, 45, 200
FREE, ALONE = 5000, 40
"""Units of each SKU, and SKUs that only the first shop sells."""
BUYERS = 8
SETTLED_S, PRODUCT = 120.0, 600_000_000_000
SETTINGS = {"YIPAN_BUS__THREADS": "12", "YIPAN_BUS__STOP_PERCENT": "100"}


@dataclass(frozen=True)
class Lag:
    """What was measured, seconds; calls: by the twins' own count; pairs: (commit, connection, write unit) changed."""

    p50: float
    p95: float
    p99: float
    calls: int
    pairs: int
    orders: int
    own_sale_calls: int


def measure(server: str) -> Lag:
    """One promotion. Raises Unequal where a shop ends at another figure than the pool can promise."""
    shops = {f"{kind}-{n}": f"sandbox.sales.{kind}" for n in range(SHOPS // 2) for kind in ("tmall", "vendure")}
    with tempfile.TemporaryDirectory() as folder, database(server, SKUS) as address:
        settings = {**SETTINGS, "YIPAN_DATABASE": address}
        with town(Path(folder), settings, shops) as place:
            first = json.loads((place.home / "first.json").read_text())
            place.session.headers["Authorization"] = f"Bearer {first['api_key']}"
            with psycopg.connect(libpq(address), autocommit=True) as conn:
                _open(place, conn, list(shops))
                own = _own_sales(place, conn, min(shops))
                began = _now(conn)
                calls = _calls(place)
                _promote(place, list(shops))
                _wait(conn)
                _shows_what_it_may(place, conn)
                return _measured(place, conn, began, calls, own)


def _open(place: Town, conn: psycopg.Connection[Any], shops: Sequence[str]) -> None:
    """Connections by the hub's door; goods, listings and what shops were told by the thousand."""
    conn.execute("UPDATE cells SET free = %s", (FREE,))
    for n, shop in enumerate(shops):
        _plug_in(place, shop)
        here = conn.execute("SELECT id FROM connections WHERE code = %s", (shop,)).fetchone()
        assert here
        sold = SKUS if shop == min(shops) else SKUS - ALONE
        conn.execute(
            "INSERT INTO listings (id, connection_id, ref, product, sku, item_id, location, created_at)"
            " SELECT %s::bigint + n, %s, n, %s::bigint + (n - 1) / %s, '', n, %s, now() FROM generate_series(1, %s) n",
            ((n + 1) * 1_000_000, here[0], PRODUCT, PER_PRODUCT, "1" if "vendure" in shop else "", sold),
        )
        conn.execute("UPDATE connections SET revision = revision + 1 WHERE id = %s", here)
    conn.execute(
        "INSERT INTO shelves (listing_id, told, doubt, told_at) SELECT id, %s, false, now() FROM listings",
        (FREE,),
    )
    conn.execute("VACUUM ANALYZE")


def _plug_in(place: Town, shop: str) -> None:
    module = import_module(f"sandbox.sales.{shop.partition('-')[0]}")
    settings = {**module.SETTINGS, **module.SECRETS, "base_url": place.twins[shop]}
    connector = f"sales/{shop.partition('-')[0]}"
    if shop.startswith("tmall"):
        products = [
            {
                "num_iid": str(PRODUCT + p),
                "title": f"P{p}",
                "skus": [
                    {"sku_id": str(n), "outer_id": f"S{n}", "price": "10.00", "quantity": FREE}
                    for n in range(p * PER_PRODUCT + 1, (p + 1) * PER_PRODUCT + 1)
                ],
            }
            for p in range(SKUS // PER_PRODUCT)
        ]
        place.ask(shop, "setup", {"products": products})
    else:
        variants = [
            {"id": str(n), "sku": f"S{n}", "name": f"S{n}", "price": 1000, "on_hand": FREE} for n in range(1, SKUS + 1)
        ]
        place.ask(shop, "setup", {"variants": variants})
    new = {"code": shop, "connector": connector, "merchant": "bench", "settings": settings, "pool": ["bench"]}
    place.api("POST", "/connections", new)


def _own_sales(place: Town, conn: psycopg.Connection[Any], shop: str) -> int:
    """Calls that a shop's sales of what it alone sells cost."""
    before = _calls(place)
    for n in range(SKUS - ALONE + 1, SKUS + 1):
        _buy(place, shop, [(n, 1)])
    _wait(conn, orders=ALONE)
    return _calls(place) - before


def _promote(place: Town, shops: Sequence[str]) -> None:
    """Shoppers come at an even pace, whatever the hub does; four of five want what is promoted."""
    chance = random.Random(11)
    weights = list(accumulate(1 / rank for rank in range(1, PROMOTED + 1)))
    total = ORDERS_PER_MIN * BURST_S // 60
    wanted: list[tuple[str, list[tuple[int, int]]]] = []
    for _ in range(total):
        hot = chance.random() < 0.8
        sku = bisect(weights, chance.random() * weights[-1]) + 1 if hot else chance.randint(PROMOTED + 1, SKUS - ALONE)
        wanted.append((chance.choice(shops), [(sku, chance.randint(1, 3))]))
    start = time.monotonic() + 0.2
    todo = iter(enumerate(wanted))
    turn = threading.Lock()

    def shop_on() -> None:
        while True:
            with turn:
                n, (shop, lines) = next(todo, (-1, ("", [])))
            if n < 0:
                return
            time.sleep(max(0.0, start + n * 60 / ORDERS_PER_MIN - time.monotonic()))
            _buy(place, shop, lines)

    buyers = [threading.Thread(target=shop_on) for _ in range(BUYERS)]
    for buyer in buyers:
        buyer.start()
    for buyer in buyers:
        buyer.join()


def _buy(place: Town, shop: str, lines: Sequence[tuple[int, int]]) -> None:
    place.ask(shop, "buy", {"lines": [{"listing": str(sku), "quantity": units} for sku, units in lines]})


def _wait(conn: psycopg.Connection[Any], orders: int = 0) -> None:
    """Until every order that was placed is taken and every level said."""
    wanted = orders or ORDERS_PER_MIN * BURST_S // 60
    deadline = time.monotonic() + SETTLED_S
    while time.monotonic() < deadline:
        row = conn.execute(
            "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM marks), (SELECT count(*) FROM outbox"
            " WHERE ability = 'send_stock' AND state IN ('waiting', 'sending', 'in_doubt', 'parked'))"
        ).fetchone()
        assert row
        if row[0] >= wanted + (0 if orders else ALONE) and not row[1] and not row[2]:
            return
        time.sleep(0.25)
    raise SystemExit(f"the hub was not done after {SETTLED_S:.0f} s: orders, marks and calls left are {row}")


def _now(conn: psycopg.Connection[Any]) -> Any:
    row = conn.execute("SELECT now()").fetchone()
    assert row
    return row[0]


def _calls(place: Town) -> int:
    """Calls that told twins levels, by their own count."""
    return sum(place.ask(name, "faults")["calls"].get("send_stock", 0) for name in place.twins)


def _measured(place: Town, conn: psycopg.Connection[Any], began: Any, calls: int, own: int) -> Lag:
    rows = conn.execute(
        "SELECT (payload->>'since')::bigint, done_at FROM outbox"
        " WHERE ability = 'send_stock' AND state = 'done' AND created_at >= %s",
        (began,),
    ).fetchall()
    lags = sorted((done - made_at(since)).total_seconds() for since, done in rows)
    pairs = conn.execute(
        "SELECT count(DISTINCT (j.id, l.connection_id, CASE WHEN l.location = '' THEN l.product ELSE l.location END))"
        " FROM journals j JOIN entries e ON e.journal_id = j.id AND e.account = 'free'"
        " JOIN cells ce ON ce.id = e.cell_id JOIN listings l ON l.item_id = ce.item_id WHERE j.recorded_at >= %s",
        (began,),
    ).fetchone()
    assert pairs
    at = {q: lags[min(len(lags) - 1, int(len(lags) * q))] for q in (0.5, 0.95, 0.99)}
    orders = ORDERS_PER_MIN * BURST_S // 60
    return Lag(at[0.5], at[0.95], at[0.99], _calls(place) - calls, int(pairs[0]), orders, own)


def _shows_what_it_may(place: Town, conn: psycopg.Connection[Any]) -> None:
    """Every twin shows of every SKU what the pool has."""
    free = {str(item): units for item, units in conn.execute("SELECT item_id, free FROM cells").fetchall()}
    for shop in place.twins:
        stock = place.ask(shop, "books")["stock"]
        wrong = [ref for ref, units in stock.items() if int(ref) <= SKUS - ALONE and units != free[ref]]
        must_equal(f"SKUs that {shop} shows wrongly", wrong[:5], [])
