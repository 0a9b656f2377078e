"""Sharing contracts as either side sees them, and what the two owe each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Select, case, or_, select

from core.errors import Unmatched
from core.rules.decide import units_of
from core.store import contracts as store
from core.store import tables as t
from core.store.rows import any_of
from core.store.scope import Scope
from core.store.store import Transaction
from hub.transfers import owner_of
from web.reads.days import day_of, days
from web.reads.shape import PAGE, all_shown, page_after

Row = Mapping[str, Any]
COLUMNS = (
    "day",
    "contract",
    "owner",
    "beneficiary",
    "sku",
    "order",
    "units",
    "price_minor",
    "amount_minor",
    "currency",
)
giver, seller = t.merchants.alias("giver"), t.merchants.alias("seller")


def contracts(tx: Transaction, scope: Scope, after: str = "", limit: int = PAGE) -> dict[str, Any]:
    """A page of contracts by id, those given and those got, ended ones too. given: whoever asks may end it."""
    page = page_after(tx, _contracts(tx, scope), t.contracts.c.id, after, limit)
    return {**page, "rows": _whole(tx, page["rows"])}


def contract(tx: Transaction, scope: Scope, ref: str, owner: str | None) -> dict[str, Any]:
    """One contract by its owner's number of it. Raises Unmatched."""
    c = t.contracts.c
    row = tx.row(_contracts(tx, scope).where(c.owner_id == owner_of(tx, scope, owner)["id"], c.ref == ref))
    if row is None:
        raise Unmatched("contract", ref, f"there is no contract {ref!r}")
    return _whole(tx, all_shown([row]))[0]


def settlements(tx: Transaction, scope: Scope, first: str = "", last: str = "") -> dict[str, Any]:
    """What left under contracts and came back, line by line, by days in UTC (YYYY-MM-DD; today without them)."""
    when = days(first, last, tx.now)
    s, c, i, o = t.settlement_lines.c, t.contracts.c, t.items.c, t.orders.c
    names = (c.ref.label("contract"), giver.c.code.label("owner"), seller.c.code.label("beneficiary"), i.sku)
    mine = or_(scope.sees(c.beneficiary_id), scope.sees(o.merchant_id)).label("mine")
    sums = (s.units, s.price_minor, s.amount_minor, s.currency, s.recorded_at)
    query = select(*names, mine, o.ref.label("order"), *sums)
    query = query.join(t.contracts, c.id == s.contract_id).join(giver, giver.c.id == c.owner_id)
    query = query.join(seller, seller.c.id == c.beneficiary_id).join(t.items, i.id == s.item_id)
    query = query.join(t.orders, o.id == s.order_id, isouter=True)
    sees = or_(scope.sees(c.owner_id), scope.sees(c.beneficiary_id))
    rows = tx.rows(query.where(sees, when.hold(s.recorded_at)).order_by(s.id))
    return {"rows": [_line(row) for row in rows], **when.named()}


def _line(row: Row) -> dict[str, Any]:
    """The owner does not see which order it was, unless it was made at its own shop."""
    day = day_of(row["recorded_at"]).isoformat()
    shown = {**row, "day": day, "order": row["order"] if row["mine"] else None}
    return {name: shown[name] for name in COLUMNS}


def _contracts(tx: Transaction, scope: Scope) -> Select[Any]:
    c = t.contracts.c
    over = or_(c.ended_at.is_not(None), c.valid_until <= tx.now)
    state = case((over, "ended"), (c.valid_from > tx.now, "planned"), else_="open").label("state")
    names = (giver.c.code.label("owner"), seller.c.code.label("beneficiary"))
    terms = (c.quota, c.title_passes, c.returns_to, c.known_as)
    times = (
        c.currency,
        c.valid_from.label("from"),
        c.valid_until.label("until"),
        c.who,
        c.created_at,
        c.ended_at,
        c.ended_by,
    )
    given = scope.sees(c.owner_id).label("given")
    query = select(c.id, c.ref, state, given, *names, *terms, *times).join(giver, giver.c.id == c.owner_id)
    query = query.join(seller, seller.c.id == c.beneficiary_id)
    return query.where(or_(scope.sees(c.owner_id), scope.sees(c.beneficiary_id)))


def _whole(tx: Transaction, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows with their items."""
    items = _items(tx, [int(row["id"]) for row in rows])
    return [{**row, "items": items[int(row["id"])]} for row in rows]


def _items(tx: Transaction, ids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """Contract → its items: the quota, units used, and those that may still be sold."""
    ci, i = t.contract_items.c, t.items.c
    query = (
        select(t.contract_items, i.sku).join(t.items, i.id == ci.item_id).where(any_of(tx.conn, ci.contract_id, ids))
    )
    rows = tx.rows(query.order_by(ci.contract_id, i.sku))
    left = store.rights(tx, set(ids), {row["item_id"] for row in rows})
    drawn = store.drawn(tx, set(ids))
    found: dict[int, list[dict[str, Any]]] = {ident: [] for ident in ids}
    for row in rows:
        key = (row["contract_id"], row["item_id"])
        used = row["used"] if row["percent"] is None else drawn[key]
        terms = {name: row[name] for name in ("sku", "units", "percent", "price_minor")}
        found[row["contract_id"]].append({**terms, "used": used, "left": units_of(left[key])})
    return found
