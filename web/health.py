"""Whether the hub lives and how much waits: `/healthz` from heartbeat rows, `/metrics` from the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from prometheus_client import REGISTRY, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from sqlalchemy import ColumnElement, Select, Table, func, select
from starlette.responses import JSONResponse, Response

from core.flow import measure_lag
from core.rules.oversold import NOT_TOGETHER
from core.store import tables as t
from core.store.outbox import OPEN
from core.store.scope import HUB
from core.store.store import Store, Transaction
from web.reads.publishing import overlap, standings

ROLES = ("web", "worker", "clock")
STALE_S = 10
INBOX_OPEN = ("waiting", "parked")


def beats(tx: Transaction) -> dict[str, dict[str, Any]]:
    """Role → state (`ok`, `stale`, `missing`) and the last beat of any process of that role."""
    p = t.processes.c
    query = select(p.role, func.max(p.beat_at).label("beat_at")).where(p.stopped_at.is_(None)).group_by(p.role)
    last = {row["role"].split(":")[0]: row["beat_at"] for row in tx.rows(query.order_by(func.max(p.beat_at)))}
    return {role: _beat(last.get(role), tx.now) for role in ROLES}


def _beat(last: Any, now: Any) -> dict[str, Any]:
    if last is None:
        return {"state": "missing", "beat_at": None}
    state = "ok" if now - last < timedelta(seconds=STALE_S) else "stale"
    return {"state": state, "beat_at": last.isoformat()}


def healthz(store: Store) -> Response:
    """200 when each role beat within ten seconds, else 503; both say which did."""
    with store.read() as tx:
        roles, as_of = beats(tx), tx.now.isoformat()
    healthy = all(role["state"] == "ok" for role in roles.values())
    body = {"status": "ok" if healthy else "stale", "roles": roles, "as_of": as_of}
    return JSONResponse(body, 200 if healthy else 503)


def metrics(store: Store) -> Response:
    """Prometheus text: rows by state, and the counters of this process."""
    with store.read() as tx:
        families = _families(tx)
    return Response(generate_latest(_Rows(families)) + generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)


class _Rows:
    """What generate_latest asks of a registry."""

    def __init__(self, families: list[GaugeMetricFamily]) -> None:
        self._families = families

    def collect(self) -> list[GaugeMetricFamily]:
        return self._families


def _families(tx: Transaction) -> list[GaugeMetricFamily]:
    short = {row["cause"]: int(row["n"]) for row in tx.rows(_oversold())}
    families = [
        _gauge("yipan_inbox_open", "Documents not settled yet, by state", "state", open_rows(tx, t.inbox, INBOX_OPEN)),
        _gauge("yipan_outbox_open", "Intents not finished yet, by state", "state", open_rows(tx, t.outbox, OPEN)),
        _gauge(
            "yipan_tally", "Counted things by name", "name", {r["name"]: r["n"] for r in tx.rows(select(t.tallies))}
        ),
        _gauge(
            "yipan_oversold_units",
            "Units shops sold beyond what the pool could back, by cause",
            "cause",
            {cause: n for cause, n in short.items() if cause != NOT_TOGETHER},
        ),
        _gauge(
            "yipan_not_together_units",
            "Units shops sold that the pool had, but not where one order may have them",
            "",
            {"": short.get(NOT_TOGETHER, 0)},
        ),
        *_lags(tx),
        *_shown(tx),
        _gauge("yipan_marks", "What moved and shops have not been told of", "", {"": rows_in(tx, t.marks)}),
        _gauge(
            "yipan_worklist_open",
            "Things a person has to do",
            "",
            {"": rows_in(tx, t.worklist, t.worklist.c.done_at.is_(None))},
        ),
    ]
    return families


def _lags(tx: Transaction) -> list[GaugeMetricFamily]:
    """Of the last five minutes."""
    g, c = t.publish_lags.c, t.connections.c
    query = select(c.code, g.bucket_ms, g.calls).join(t.connections, c.id == g.connection_id)
    by_shop: dict[str, list[Any]] = {}
    for row in tx.rows(query.where(g.minute >= tx.now - timedelta(minutes=5))):
        by_shop.setdefault(row["code"], []).append(row)
    family = GaugeMetricFamily(
        "yipan_publish_lag_ms", "From what moved to the shop being told", labels=["shop", "percent"]
    )
    for shop, rows in by_shop.items():
        for percent in (50, 95, 99):
            family.add_metric([shop, str(percent)], measure_lag.percentile(measure_lag.summed(rows), percent) or 0)
    return [family]


def _shown(tx: Transaction) -> list[GaugeMetricFamily]:
    shops = standings(tx, HUB)
    title = "Listings told of, in doubt, held, and showing what they should not"
    family = GaugeMetricFamily("yipan_shop_figures", title, labels=["shop", "state"])
    for shop in shops:
        for state in ("told", "in_doubt", "held", "off"):
            family.add_metric([shop["connection"], state], shop[state])
    times = overlap(tx, HUB, shops)
    often = "Units shops show for each that is free"
    return [family, _gauge("yipan_published_overlap", often, "", {} if times is None else {"": times})]


def _oversold() -> Select[Any]:
    k = t.oversold.c
    return select(k.cause, func.sum(k.units).label("n")).group_by(k.cause)


def open_rows(tx: Transaction, table: Table, states: Sequence[str]) -> dict[str, int]:
    """How many rows are in each of these states; asked one by one, so that the indexes over open rows answer."""
    return {state: rows_in(tx, table, table.c.state == state) for state in states}


def count_by(tx: Transaction, table: Table, column: ColumnElement[Any], *where: Any) -> dict[str, int]:
    """How many rows there are of each value."""
    rows = tx.conn.execute(select(column, func.count()).select_from(table).where(*where).group_by(column))
    return {str(value): int(n) for value, n in rows}


def rows_in(tx: Transaction, table: Table, *where: Any) -> int:
    """How many rows there are."""
    return int(tx.conn.execute(select(func.count()).select_from(table).where(*where)).scalar_one())


def _gauge(name: str, title: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, title, labels=[label] if label else None)
    for value, n in values.items():
        family.add_metric([value] if label else [], n)
    return family
