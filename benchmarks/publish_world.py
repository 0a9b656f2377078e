"""The world of the publish bench: 10k SKUs in two warehouses, sold by twenty shops under policies, and a rival."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg

from benchmarks.stock_load import MASTER_KEY
from benchmarks.stock_orders import database, libpq
from connectors.registry import connector
from core.store.store import Store
from core.store.vault import Vault

SKUS, SHOPS, OWN_POLICIES = 10_000, 20, 500
MERCHANT, WAREHOUSES = 1, (2, 3)
SHOP, LISTING, POLICY, CELL = 100, 1_000_000, 5_000_000, 20_000
"""The first ids of each; listing ids are LISTING + shop × SKUS + SKU."""

RIVAL = """
WITH stock AS (
    SELECT po.connection_id, ce.item_id, sum(greatest(0, ce.free + least(0, ce.suspense)))::bigint AS there
    FROM pools po
    JOIN connections c ON c.id = po.connection_id AND c.state = 'active' AND c.kind = 'sales'
    JOIN cells ce ON ce.warehouse_id = po.warehouse_id AND ce.owner_id = c.merchant_id AND ce.condition = 'ZP'
    GROUP BY po.connection_id, ce.item_id
), terms AS (
    SELECT l.id, l.pack, coalesce(s.there, 0) AS there,
           CASE WHEN own.id IS NULL THEN shop.cap ELSE own.cap END AS cap,
           coalesce(CASE WHEN own.id IS NULL THEN shop.reserve ELSE own.reserve END, 0) AS reserve,
           coalesce(CASE WHEN own.id IS NULL THEN shop.share ELSE own.share END, 100) AS share,
           coalesce(CASE WHEN own.id IS NULL THEN shop.floor ELSE own.floor END, 0) AS floor,
           coalesce(CASE WHEN own.id IS NULL THEN shop.buffer ELSE own.buffer END, l.buffer) AS less
    FROM listings l
    LEFT JOIN stock s ON s.connection_id = l.connection_id AND s.item_id = l.item_id
    LEFT JOIN policies own ON own.listing_id = l.id AND own.state = 'active'
    LEFT JOIN policies shop
        ON shop.connection_id = l.connection_id AND shop.listing_id IS NULL AND shop.state = 'active'
)
SELECT id, (least(
    greatest(
        greatest(0, greatest(0, there - reserve) * share / 100 - less),
        least(floor, greatest(0, there - reserve))
    ),
    coalesce(cap, 9223372036854775807)
) / pack)
FROM terms
"""
"""Every level in one statement, stock summed once for all shops: the fastest of those tried."""


@contextmanager
def world(server: str) -> Iterator[Store]:
    """The store of a database of its own with all of it; gone afterwards."""
    with database(server, 0) as address:
        with psycopg.connect(libpq(address)) as conn:
            _fill(conn)
            conn.commit()
            conn.autocommit = True
            conn.execute("VACUUM ANALYZE")
        with closing(Store(address, Vault([MASTER_KEY]))) as store:
            yield store


def shop_of(n: int) -> str:
    """The connector of a shop: every other one is a Tmall."""
    return "sales/tmall" if n % 2 == 0 else "sales/vendure"


def _fill(conn: psycopg.Connection) -> None:
    chance = random.Random(7)
    conn.execute("INSERT INTO warehouses (id, code, name, created_at) VALUES (3, 'bench2', 'bench2', now())")
    conn.execute(
        "INSERT INTO items (id, owner_id, sku, name, created_at)"
        " SELECT n, 1, 'S' || n, 'S' || n, now() FROM generate_series(1, %s) n",
        (SKUS,),
    )
    conn.execute(
        "INSERT INTO cells (id, owner_id, item_id, warehouse_id, condition, free)"
        " SELECT w * %s::bigint + n, 1, n, w, 'ZP', 20 + (n * 7 + w) %% 400 FROM generate_series(1, %s) n,"
        " unnest(%s::bigint[]) w",
        (CELL, SKUS, list(WAREHOUSES)),
    )
    for n in range(SHOPS):
        _add_shop(conn, n, chance)


def _add_shop(conn: psycopg.Connection, n: int, chance: random.Random) -> None:
    shop, name = SHOP + n, shop_of(n)
    can = {
        ability: it.model_dump(mode="json", exclude={"mark", "fact"})
        for ability, it in connector(name).manifest.can.items()
    }
    conn.execute(
        "INSERT INTO connections (id, code, connector, kind, merchant_id, settings, secrets, can, state, created_at)"
        " VALUES (%s, %s, %s, 'sales', 1, '{}', '', %s, 'active', now())",
        (shop, f"shop{n}", name, json.dumps(can)),
    )
    for rank, warehouse in enumerate(WAREHOUSES):
        conn.execute(
            "INSERT INTO pools (connection_id, warehouse_id, rank) VALUES (%s, %s, %s)", (shop, warehouse, rank)
        )
    conn.execute(
        "INSERT INTO listings (id, connection_id, ref, product, sku, item_id, pack, location, buffer, created_at)"
        " SELECT %s::bigint + n, %s, 'L' || n, 'P' || n / 10, 'S' || n, n, 1 + n %% 2, '1', n %% 4, now()"
        " FROM generate_series(1, %s) n",
        (LISTING + n * SKUS, shop, SKUS),
    )
    conn.execute(
        "INSERT INTO policies (id, merchant_id, connection_id, version, state, share, cap, who, created_at)"
        " VALUES (%s, 1, %s, 1, 'active', %s, %s, 'bench', now())",
        (POLICY + n, shop, chance.randint(30, 100), chance.choice((None, 50, 200))),
    )
    for k in range(OWN_POLICIES // SHOPS):
        conn.execute(
            "INSERT INTO policies (id, merchant_id, connection_id, listing_id, version, state, share, floor, reserve,"
            " who, created_at) VALUES (%s, 1, %s, %s, 1, 'active', %s, 3, 5, 'bench', now())",
            (POLICY + 1000 + n * 100 + k, shop, LISTING + n * SKUS + 1 + k * 37, chance.randint(10, 90)),
        )
