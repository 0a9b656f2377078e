"""How fast callbacks are kept: SF route pushes on SQLite, beside a rival that only inserts, and under a backlog."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from benchmarks.harness import bench_result, must_equal, result_row
from benchmarks.push_load import PARCELS
from config.settings import Settings
from core.model import Document
from core.store import inbox
from core.store import tables as t
from core.store.schema import prepare
from core.store.scope import HUB
from core.store.store import Store, Transaction
from core.store.vault import Vault, read_keys
from hub.onboard.connections import NewConnection, add_connection

RATE, CALLERS = 300, 50
OPEN_S, CLOSED_S, WARM_S = 6.0, 4.0, 1.0
BACKLOG, WORKERS = 10_000, 2
LIMIT_MS = 100.0
Pushed = dict[str, Any]


def run(rounds: int = 5) -> dict[str, Any]:
    """Both goals; every push must be answered as kept, and every kept push must be in the inbox."""
    p99s, rates = [], []
    for _ in range(rounds):
        p99s.append(under_backlog())
        rates.append(side_by_side())
    calm = {"offered_per_s": RATE, **_of(p99s, ("p50_ms", "p99_ms", "max_ms", "backlog_left"))}
    race = _of(rates, ("ours_per_s", "rival_per_s"))
    rows = [
        result_row("callback_p99", [LIMIT_MS / r["p99_ms"] for r in p99s], floor=1, target=2, absolute=calm),
        result_row("callback_rate", [r["ratio"] for r in rates], floor=0.5, target=0.7, absolute=race),
    ]
    return bench_result("callbacks", rounds, rows)


def under_backlog() -> Pushed:
    """Pushes offered at a steady rate while two workers drain what was there before."""
    with hub_folder() as place, ExitStack() as stack:
        fill_backlog(place)
        port = stack.enter_context(listening([sys.executable, "-m", "web.main"], place.environment))
        load(port, place.path, "open", RATE, WARM_S)
        for _ in range(WORKERS):
            stack.enter_context(child([sys.executable, "-m", "workers", "worker"], place.environment))
        wait_until_draining(place)
        result = load(port, place.path, "open", RATE, OPEN_S)
        return result | {"backlog_left": waiting(place)}


def side_by_side() -> Pushed:
    """Closed loops against ours and the rival's, one after the other, workers idle."""
    with hub_folder() as place, listening([sys.executable, "-m", "web.main"], place.environment) as port:
        load(port, place.path, "closed", CALLERS, WARM_S)
        before = waiting(place)
        ours = load(port, place.path, "closed", CALLERS, CLOSED_S)
        must_equal("pushes kept", waiting(place) - before, ours["pushes"])
    with hub_folder() as place, listening([sys.executable, "-m", "benchmarks.push_rival"], place.environment) as port:
        load(port, "/push", "closed", CALLERS, WARM_S)
        rival = load(port, "/push", "closed", CALLERS, CLOSED_S)
    ratio = ours["per_s"] / rival["per_s"]
    return {"ratio": ratio, "ours_per_s": ours["per_s"], "rival_per_s": rival["per_s"]}


@dataclass(frozen=True)
class Place:
    """A hub in a temporary folder with one SF account, whose door is at `path`."""

    home: Path
    path: str
    courier_id: int
    store: Store
    environment: dict[str, str]


@contextmanager
def hub_folder() -> Iterator[Place]:
    """A fresh hub; gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        settings = Settings(home=home)
        settings.data.mkdir()
        prepare(settings.database_url)
        store = Store(settings.database_url, Vault(read_keys(settings.key_file)))
        sf = {"partnerID": "BENCH", "checkword": "bench-checkword"}
        new = NewConnection(code="sf", connector="courier/sf", settings=sf)
        row, token = store.write(lambda tx: add_connection(tx, HUB, new))
        environment = {**os.environ, "YIPAN_HOME": str(home), "YIPAN_WEB__PORT": "0", "YIPAN_BUS__HINTS": "false"}
        try:
            yield Place(home, f"/callbacks/{token}", row["id"], store, environment)
        finally:
            store.close()


def fill_backlog(place: Place) -> None:
    """Parcels on their way, and ten thousand pushes about them that nobody has looked at."""
    parcels = [f"SF9{n:012}" for n in range(PARCELS)]
    place.store.write(lambda tx: _expect(tx, place.courier_id, parcels))
    pushes = [_push(parcels[n % PARCELS], n) for n in range(BACKLOG)]
    for start in range(0, BACKLOG, 1000):
        some = pushes[start : start + 1000]
        place.store.write(lambda tx, page=some: inbox.keep(tx, place.courier_id, 0, page))  # type: ignore[misc]


def _push(waybill: str, n: int) -> Document:
    row = {
        "id": f"b{n}",
        "mailno": waybill,
        "acceptTime": "2026-06-18 10:00:00",
        "acceptAddress": "杭州市",
        "opCode": "31",
    }
    body = json.dumps({"Body": {"WaybillRoute": [{**row, "remark": f"{n}"}]}}, ensure_ascii=False).encode()
    return Document(kind="tracking", ref=waybill, body=body)


def _expect(tx: Transaction, courier_id: int, waybills: Sequence[str]) -> None:
    """One shipped order that all these parcels belong to."""
    ids = {name: tx.ids.new() for name in ("merchant", "warehouse", "order", "fulfilment")}
    now = tx.now
    tx.add(t.merchants, [{"id": ids["merchant"], "code": "bench", "name": "bench", "created_at": now}])
    tx.add(t.warehouses, [{"id": ids["warehouse"], "code": "bench", "name": "bench", "created_at": now}])
    order = {
        "id": ids["order"],
        "connection_id": courier_id,
        "merchant_id": ids["merchant"],
        "ref": "bench",
        "version": "1",
    }
    flags = {
        "claims_stock": True,
        "may_ship": True,
        "closed": False,
        "holds": [],
        "status": "shipped",
        "state": "shipped",
    }
    times = {"placed_at": now, "created_at": now, "changed_at": now}
    tx.add(t.orders, [{**order, **flags, **times, "currency": "CNY"}])
    fulfilment = {"id": ids["fulfilment"], "ref": "bench", "order_id": ids["order"], "merchant_id": ids["merchant"]}
    more = {"warehouse_id": ids["warehouse"], "state": "shipped", "final": True, "created_at": now}
    tx.add(t.fulfilments, [{**fulfilment, **more}])
    parcel = {"carrier": "SF", "courier_id": courier_id, "fulfilment_id": ids["fulfilment"], "order_id": ids["order"]}
    state = {"merchant_id": ids["merchant"], "milestone": "created", "created_at": now}
    tx.add(t.parcels, [{"id": tx.ids.new(), "waybill": w, **parcel, **state} for w in waybills])


def waiting(place: Place) -> int:
    """Documents nobody has settled yet."""
    query = select(func.count()).select_from(t.inbox).where(t.inbox.c.state == "waiting")
    with place.store.read() as tx:
        return int(tx.conn.execute(query).scalar_one())


def wait_until_draining(place: Place) -> None:
    """Returns once the workers have settled their first documents."""
    left = waiting(place)
    until = time.monotonic() + 60
    while waiting(place) >= left:
        if time.monotonic() > until:
            raise TimeoutError("the workers settle nothing")
        time.sleep(0.02)


@contextmanager
def child(command: Sequence[str], environment: dict[str, str], **more: Any) -> Iterator[subprocess.Popen[str]]:
    """A child process, ended afterwards."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, text=True, **more)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def listening(command: Sequence[str], environment: dict[str, str]) -> Iterator[int]:
    """A web process; the port it says it listens on."""
    with child(command, environment, stderr=subprocess.PIPE) as process:
        assert process.stderr
        for line in process.stderr:
            said = json.loads(line) if line.startswith("{") else {}
            if said.get("event") == "listening":
                yield int(said["port"])
                return
    raise RuntimeError(f"{command[-1]} never listened")


def load(port: int, path: str, way: str, first: float, seconds: float) -> Pushed:
    """Load from a process of its own. Every push must be answered as kept."""
    command = [sys.executable, "-m", "benchmarks.push_load", str(port), path, way, str(first), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=True)
    result: Pushed = json.loads(done.stdout)
    must_equal("pushes refused", result["refused"], 0)
    return result


def _of(rounds: Sequence[Pushed], names: Sequence[str]) -> dict[str, list[float]]:
    return {name: [round(r[name], 1) for r in rounds] for name in names}
