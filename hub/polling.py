"""Polling: due cursors are read page by page; a page is kept and its cursor moved in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import or_, select, update

from connectors.spi import Page
from core.errors import Later, Person, YipanError
from core.flow import note_told, stale_sources
from core.flow.tell import ask_person, settle
from core.model import Document
from core.store import inbox
from core.store import tables as t
from core.store.database import skip_locked
from core.store.store import Transaction
from hub.shows import shown_by
from hub.wiring import Hub, Wired

log = structlog.get_logger("polling")
PAGES_AT_ONCE = 50
SHORTEST_S = 1.0
GO_ON_S = 0.2
Row = Mapping[str, Any]


def poll_due(hub: Hub, pool: ThreadPoolExecutor) -> int:
    """Read every due cursor; returns how many there were."""
    with hub.store.read() as tx:
        if not tx.rows(_due(tx).limit(1)):
            return 0
    rows = hub.store.write(lambda tx: _lease(hub, tx))
    list(pool.map(lambda row: _poll(hub, row), rows))
    return len(rows)


def _due(tx: Transaction) -> Any:
    c = t.cursors.c
    free = or_(c.lease_until.is_(None), c.lease_until < tx.now)
    active = select(t.connections.c.id).where(t.connections.c.state == "active")
    return select(t.cursors).where(c.due_at <= tx.now, free, c.connection_id.in_(active)).order_by(c.due_at)


def _lease(hub: Hub, tx: Transaction) -> list[Row]:
    rows = tx.rows(skip_locked(_due(tx).limit(16)))
    for row in rows:
        _set(tx, row, lease_until=tx.now + timedelta(seconds=hub.options.lease_s))
    return rows


def _poll(hub: Hub, row: Row) -> None:
    """Read pages until there are no more; an error keeps the cursor where it is and tries again later."""
    with hub.store.read() as tx:
        wired, started = hub.wired(tx, row["connection_id"]), tx.now
    behind = timedelta(seconds=wired.ability(row["ability"]).behind_s)
    try:
        for _ in range(PAGES_AT_ONCE):
            if not hub.may_call(wired, "orders"):
                break
            row, more = _page(hub, wired, row, started - behind)
            if not more:
                return
        hub.store.write(lambda tx: _set(tx, row, due_at=tx.now + timedelta(seconds=GO_ON_S), lease_until=None))
    except YipanError as error:
        found = wired.hide(error)
        hub.store.write(lambda tx: _failed(hub, tx, row, found))
    except Exception:
        log.exception("poll_stopped", connection=wired.row["code"], ability=row["ability"])
        raise


def _page(hub: Hub, wired: Wired, row: Row, read_until: datetime) -> tuple[Row, bool]:
    """One page, kept together with the cursor's move; with the last one the cursor has caught up until then.

    Someone else having moved it first stops us.
    """
    ability = row["ability"]
    if ability == "fetch_stock":
        page = Page(_told_apart(wired.client.fetch_stock(_stock_refs(hub, wired)), row["moves"]), cursor=row["value"])
    else:
        page = getattr(wired.client, ability)(row["value"])
    documents = [
        *page.documents,
        *(wired.client.fetch_one(ability.removeprefix("fetch_").rstrip("s"), ref) for ref in page.refs),
    ]
    value = dict(page.cursor)

    def work(tx: Transaction) -> bool:
        over = {} if page.more else _caught_up(hub, tx, wired, row, read_until)
        if not _set(tx, row, value=value, moves=row["moves"] + 1, **over):
            return False
        inbox.keep(tx, wired.row["id"], wired.holder, documents)
        if not page.more and row["stale_at"] and row["stale_at"] <= tx.now:
            stale_sources.heard(tx, row["connection_id"], ability)
        return page.more

    return {**row, "value": value, "moves": row["moves"] + 1}, hub.store.write(work)


def _told_apart(documents: Sequence[Document], reading: int) -> list[Document]:
    """Each reading is a statement of its own, also where it shows the same as the one before."""
    return [one.model_copy(update={"event_id": f"reading {reading}/{n}"}) for n, one in enumerate(documents)]


def _stock_refs(hub: Hub, wired: Wired) -> list[str]:
    """The SKUs a warehouse or an ERP is asked about: those that lie there, or are linked there."""
    with hub.store.read() as tx:
        linked = select(t.items.c.sku).join(t.links, t.links.c.ours == t.items.c.id.cast(t.links.c.ours.type))
        mine = linked.where(t.links.c.connection_id == wired.row["id"], t.links.c.kind == "item")
        lying = (
            select(t.items.c.sku)
            .join(t.cells, t.cells.c.item_id == t.items.c.id)
            .join(t.warehouses, t.warehouses.c.id == t.cells.c.warehouse_id)
            .where(or_(t.warehouses.c.wms_id == wired.row["id"], t.warehouses.c.authority_id == wired.row["id"]))
        )
        return sorted(set(tx.conn.execute(mine).scalars()) | set(tx.conn.execute(lying).scalars()))


def _caught_up(hub: Hub, tx: Transaction, wired: Wired, row: Row, read_until: datetime) -> dict[str, Any]:
    """What a cursor says once its last page was read."""
    every_s = wired.ability(row["ability"]).every_s * hub.options.patience
    due = tx.now + timedelta(seconds=max(SHORTEST_S, every_s))
    stale_at = tx.now + timedelta(seconds=max(hub.options.stale_s * hub.options.patience, 3 * every_s))
    known = {"read_until": read_until, "stale_at": stale_at, "failures": 0, "reason": None}
    return {**known, "due_at": due, "lease_until": None}


def _failed(hub: Hub, tx: Transaction, row: Row, error: YipanError) -> None:
    """Wait a little longer each time; an error that needs a person is shown on the connection and still tried."""
    slow = 1 if isinstance(error, Later) else 12
    wait_s = min(300.0, hub.options.retry_s * hub.options.patience * slow * 2 ** min(row["failures"], 5))
    due = tx.now + timedelta(seconds=wait_s)
    _set(tx, row, due_at=due, lease_until=None, failures=row["failures"] + 1, reason=error.message[:2000])


def _set(tx: Transaction, row: Row, **values: Any) -> bool:
    """Change a cursor if it still stands where we read it."""
    c = t.cursors.c
    mine = (c.connection_id == row["connection_id"]) & (c.ability == row["ability"]) & (c.moves == row["moves"])
    return tx.conn.execute(update(t.cursors).where(mine).values(**values)).rowcount == 1


def settle_doubts(hub: Hub, quiet_s: float) -> int:
    """Read back figures in doubt, and judge those read before; returns how many were looked at."""
    quiet_s *= hub.options.patience
    with hub.store.read() as tx:
        rows = note_told.doubtful(tx, quiet_s)
        open_doubts = note_told.any_read(tx)
    for connection_id in dict.fromkeys(r["connection_id"] for r in rows):
        _read_back(hub, connection_id, [r for r in rows if r["connection_id"] == connection_id])
    if open_doubts:
        hub.store.write(lambda tx: note_told.judge(tx, quiet_s))
    return len(rows)


def _read_back(hub: Hub, connection_id: int, rows: Sequence[Row]) -> None:
    with hub.store.read() as tx:
        wired, read_at = hub.wired(tx, connection_id), tx.now
    try:
        shown = shown_by(wired, [r["product"] or r["ref"] for r in rows])
    except Person as error:
        _read_apart(hub, wired, rows, error)
    except YipanError as error:
        log.info("read_back_failed", connection=wired.row["code"], why=type(error).__name__)
    else:
        hub.store.write(lambda tx: _noted(tx, connection_id, rows, shown, read_at))


def _read_apart(hub: Hub, wired: Wired, rows: Sequence[Row], error: Person) -> None:
    """One product nobody can read keeps no other in doubt: each is read by itself, and a person hears of that one."""
    products = {row["product"] or row["ref"] for row in rows}
    if len(products) > 1:
        for product in sorted(products):
            _read_back(hub, wired.row["id"], [row for row in rows if (row["product"] or row["ref"]) == product])
        return
    why = f"what stands there is unknown until it can be read: {wired.hide(error).message}"
    hub.store.write(lambda tx: _unreadable(tx, wired, rows, why))


def _unreadable(tx: Transaction, wired: Wired, rows: Sequence[Row], why: str) -> None:
    note_told.read_later(tx, [row["id"] for row in rows])
    for row in rows:
        ask_person(tx, "shop.unreadable", f"shown:{row['id']}", wired.row["merchant_id"], why)


def _noted(
    tx: Transaction, connection_id: int, rows: Sequence[Row], shown: Mapping[str, int], read_at: datetime
) -> None:
    note_told.note_shown(tx, connection_id, shown, read_at)
    settle(tx, *(f"shown:{row['id']}" for row in rows))
