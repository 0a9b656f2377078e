"""Ledger, warehouse and shop side by side: the figures of each, and the cause of every unit by which they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import and_, func, select

from core.flow import saleable, stale_sources, unsettled
from core.flow.expect_stock import Goods
from core.rules import levels
from core.store import policies, shelves
from core.store import tables as t
from core.store.rows import any_of
from core.store.scope import Scope
from core.store.store import Transaction

UNEXPLAINED = "unexplained"
Row = Mapping[str, Any]
Cause = dict[str, Any]
"""{cause, units, detail}: why so many units differ."""


def reconcile(tx: Transaction, scope: Scope) -> dict[str, list[dict[str, Any]]]:
    """`stock`: ledger beside warehouse, per keeper code, SKU and condition; `shops`: ledger beside shop, per listing.

    Each row has its drift and the causes that add up to it. drift is None where the other side was never read.
    """
    return {"stock": _stock(tx, scope), "shops": shops(tx, scope)}


def unexplained(found: Mapping[str, Sequence[Row]]) -> list[Row]:
    """The rows that differ by units nobody can explain."""
    rows = [row for rows in found.values() for row in rows]
    return [row for row in rows if any(c["cause"] == UNEXPLAINED for c in row["causes"])]


def _stock(tx: Transaction, scope: Scope) -> list[dict[str, Any]]:
    shown = _newest(tx, scope)
    found: dict[tuple[Any, ...], list[Row]] = {}
    for cell in _cells(tx, scope):
        subject = (cell["warehouse_id"], cell["keeper"], cell["sku"], cell["condition"])
        found.setdefault(subject, []).append(cell)
    return [_stock_row(tx, cells, shown.get(s) or shown.get((s[0], "", *s[2:]))) for s, cells in found.items()]


def _cells(tx: Transaction, scope: Scope) -> list[Row]:
    ce, i, w, k, m = t.cells.c, t.items.c, t.warehouses.c, t.keepers.c, t.merchants.c
    kept = and_(k.owner_id == ce.owner_id, k.warehouse_id == ce.warehouse_id)
    names = (m.code.label("owner"), i.sku, w.code.label("warehouse"), func.coalesce(k.code, "").label("keeper"))
    query = select(t.cells, *names).join(t.items, i.id == ce.item_id).join(t.warehouses, w.id == ce.warehouse_id)
    query = query.join(t.merchants, m.id == ce.owner_id).join(t.keepers, kept, isouter=True)
    return tx.rows(query.where(scope.sees(ce.owner_id)).order_by(w.code, i.sku, ce.condition, ce.id))


def _newest(tx: Transaction, scope: Scope) -> dict[tuple[Any, ...], Row]:
    """What each warehouse's authority showed last; what it showed of several owners at once only who sees them all."""
    c, w = t.comparisons.c, t.warehouses.c
    rules = and_(w.id == c.warehouse_id, c.connection_id == func.coalesce(w.authority_id, w.wms_id))
    newest = select(func.max(c.id)).group_by(c.connection_id, c.warehouse_id, c.keeper, c.sku, c.condition)
    query = select(t.comparisons).join(t.warehouses, rules).where(c.id.in_(newest))
    rows = [r for r in tx.rows(query) if r["item_id"] or scope.merchant_id is None]
    return {(r["warehouse_id"], r["keeper"], r["sku"], r["condition"]): r for r in rows}


def _stock_row(tx: Transaction, cells: Sequence[Row], shown: Row | None) -> dict[str, Any]:
    on_hand = sum(c["free"] + c["reserved"] + c["held"] + c["suspense"] for c in cells)
    first = cells[0]
    return {
        "owner": ", ".join(sorted({c["owner"] for c in cells})),
        **{name: first[name] for name in ("sku", "warehouse", "keeper", "condition")},
        "ledger": on_hand,
        "suspense": sum(c["suspense"] for c in cells),
        "shown": shown and shown["theirs"],
        "read_at": shown and shown["as_of"],
        "drift": shown and shown["theirs"] - on_hand,
        "causes": _stock_causes(tx, cells, shown, on_hand) if shown else [],
    }


def _stock_causes(tx: Transaction, cells: Sequence[Row], shown: Row, on_hand: int) -> list[Cause]:
    """theirs − ours = what is on its way + what lies outside − what was booked since."""
    on_its_way = shown["theirs"] - shown["residual"] - shown["on_hand"]
    since = shown["on_hand"] - on_hand
    booked = shown["state"] == "booked"
    causes = [
        _cause("sent_unconfirmed" if on_its_way < 0 else "announced", on_its_way),
        _cause("booked_since", since + (shown["residual"] if booked else 0)),
        _cause(*(("", 0) if booked else _residual(tx, cells, shown))),
    ]
    return [c for c in causes if c["units"]]


def _residual(tx: Transaction, cells: Sequence[Row], shown: Row) -> tuple[str, int, str]:
    goods = [Goods(c["owner_id"], c["item_id"], c["warehouse_id"]) for c in cells]
    why = unsettled.why(tx, goods, shown["condition"]) if shown["residual"] else ""
    cause = "unsettled" if why and shown["state"] == "waits" else f"residual_{shown['state']}"
    return cause, shown["residual"], why


def _cause(cause: str, units: int, detail: str = "") -> Cause:
    return {"cause": cause, "units": units, "detail": detail}


def shops(tx: Transaction, scope: Scope, listings: Sequence[int] | None = None) -> list[dict[str, Any]]:
    """Ledger beside shop, per listing; of these listings, None is of all."""
    li, c, i, s, sh = (x.c for x in (t.listings, t.connections, t.items, t.shelves, t.showings))
    names = (
        c.code.label("connection"),
        c.merchant_id,
        c.state,
        c.can,
        i.sku.label("item"),
        s.told,
        s.seen_base,
        s.doubt,
        s.told_at,
    )
    query = (
        select(t.listings, *names, sh.shown, sh.read_at)
        .join(t.connections, c.id == li.connection_id)
        .join(t.items, i.id == li.item_id)
        .join(t.shelves, s.listing_id == li.id, isouter=True)
        .join(t.showings, sh.listing_id == li.id, isouter=True)
    )
    if listings is not None:
        query = query.where(any_of(tx.conn, li.id, listings))
    rows = tx.rows(query.where(scope.sees(c.merchant_id)).order_by(c.code, li.ref))
    if not rows:
        return []
    reached = zip(rows, saleable.reach(tx, rows), strict=True)
    pool = {row["id"]: there.free + there.kept for row, there in reached}
    stands = policies.standing(tx, rows)
    buffers = {ident: policy.buffer for ident, policy in stands.items() if policy.buffer is not None}
    own = {row["id"]: levels.buffer(row["buffer"], row["pack"], row["can"]) for row in rows}
    rows = [{**row, "buffer": buffers.get(row["id"], own[row["id"]])} for row in rows]
    late = stale_sources.stale(tx, {row["connection_id"] for row in rows})
    wanted, under_way = saleable.targets(tx, rows), _under_way(tx, rows)
    under_way = {row["id"]: "stale_source" for row in rows if row["connection_id"] in late} | under_way
    seen = shelves.applied(tx, [row["id"] for row in rows])
    unheard = _unheard(tx)
    return [_shop_row(r, pool[r["id"]], wanted[r["id"]], seen.get(r["id"], 0), under_way, unheard) for r in rows]


def _shop_row(
    row: Row, pool: int, wanted: int, seen: int, under_way: Mapping[int, str], unheard: Mapping[int, Any]
) -> dict[str, Any]:
    told, since = row["told"], seen - (row["seen_base"] or 0)
    expected = None if told is None else told - since
    shown = row["shown"] if row["read_at"] and (row["told_at"] is None or row["read_at"] >= row["told_at"]) else None
    showing = expected if shown is None else shown
    fate = under_way.get(row["id"], "") or _idle(row)
    causes = []
    if expected is not None and showing is not None:
        lag = _cause(fate or UNEXPLAINED, expected - wanted)
        causes = [lag, _cause(fate or _unseen(row, unheard), showing - expected)]
    return {
        "connection": row["connection"],
        "listing": row["ref"],
        "listing_id": row["id"],
        "item": row["item"],
        "pool": pool,
        "held_back": _held_back(pool, wanted, row),
        "target": wanted,
        "told": told,
        "seen": since,
        "expected": expected,
        "shown": shown,
        "read_at": row["read_at"],
        "drift": None if showing is None or expected is None else showing - wanted,
        "causes": [c for c in causes if c["units"]],
    }


def _held_back(pool: int, wanted: int, row: Row) -> list[Cause]:
    """Why the shop may show less than the pool could promise, in base units."""
    buffer = min(row["buffer"], pool)
    rest = pool - buffer - wanted * row["pack"]
    packs = rest if 0 <= rest < row["pack"] else 0
    causes = [_cause("buffer", buffer), _cause("part_of_a_pack", packs), _cause("policy", rest - packs)]
    return [c for c in causes if c["units"]]


def _idle(row: Row) -> str:
    """Why the shop is told nothing now; "" where nothing keeps it from being told."""
    if row["state"] != "active":
        return "paused"
    if "send_stock" not in row["can"]:
        return "no_call"
    return "in_doubt" if row["doubt"] else ""


def _unseen(row: Row, unheard: Mapping[int, Any]) -> str:
    """Whether sales may explain it that the shop has made and we have not heard of when it was read."""
    read_until = unheard.get(row["connection_id"])
    heard = read_until is not None and row["read_at"] is not None and read_until > row["read_at"]
    return UNEXPLAINED if heard else "unseen_sales"


def _unheard(tx: Transaction) -> dict[int, Any]:
    """Connection id → until when all its orders are known; None where some wait to be understood."""
    cu, i = t.cursors.c, t.inbox.c
    rows = tx.rows(select(cu.connection_id, cu.read_until).where(cu.ability == "fetch_orders"))
    waits = select(i.connection_id).where(i.kind == "order", unsettled.is_open).distinct()
    unread = set(tx.conn.execute(waits).scalars())
    return {r["connection_id"]: None if r["connection_id"] in unread else r["read_until"] for r in rows}


def _under_way(tx: Transaction, rows: Sequence[Row]) -> dict[int, str]:
    """Listing id → what is being done about its level: marked, being told, in doubt or parked."""
    o, marks = t.outbox.c, tx.rows(select(t.marks))
    found: dict[int, str] = {}
    items, own = {i for m in marks for i in m["items"] or ()}, {m["listing_id"] for m in marks}
    for row in rows:
        if row["item_id"] in items or row["id"] in own:
            found[row["id"]] = "marked"
    for intent in tx.rows(select(o.payload, o.state).where(o.ability == "send_stock", unsettled.is_wanted)):
        state = intent["state"] if intent["state"] in ("in_doubt", "parked") else "being_told"
        found |= dict.fromkeys(intent["payload"]["listings"], state)
    return found
