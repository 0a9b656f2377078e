"""What a journal's cause stands for: `order:17` is an order with a ref at a shop, `inbox:5` a document we were sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC
from typing import Any, NamedTuple

from sqlalchemy import Table, or_, select

from core.store import tables as t
from core.store.locks import KINDS
from core.store.rows import any_of
from core.store.scope import Scope
from core.store.store import Transaction


class Cause(NamedTuple):
    """kind: what it is (`order`, `fulfilment`, `asn`, a document's or a reservation's kind); ref: its number.

    ref is None where it is another merchant's; connection: the code of who said it, "" where nobody did.
    """

    kind: str
    ref: str | None
    connection: str = ""

    def __str__(self) -> str:
        ref = "of another merchant" if self.ref is None else self.ref
        return " ".join(word for word in (self.kind, ref, f"({self.connection})" if self.connection else "") if word)


Look = Callable[[Transaction, Scope, list[int]], dict[int, Cause]]
"""Our ids of things of one kind → what a scope is told of them."""


def resolve(tx: Transaction, scope: Scope, causes: Iterable[str]) -> dict[str, Cause]:
    """Each cause in words. One that names nothing of ours, as `cart:R7`, stands for itself."""
    wanted = set(causes)
    found = {cause: Cause(*_halves(cause)) for cause in wanted}
    for kind, look in LOOKS.items():
        named = [ref for name, ref in map(_halves, wanted) if name == kind]
        ids = [int(ref) for ref in named if ref.isdecimal() and len(ref) < 20 and int(ref) < 2**63]
        if ids:
            found |= {f"{kind}:{ident}": cause for ident, cause in look(tx, scope, ids).items()}
    return found


def _halves(cause: str) -> tuple[str, str]:
    kind, _, ref = cause.partition(":")
    return kind, ref


def _orders(tx: Transaction, scope: Scope, ids: list[int]) -> dict[int, Cause]:
    o, c = t.orders.c, t.connections.c
    query = select(o.id, o.ref, c.code, scope.sees(o.merchant_id).label("mine")).join(
        t.connections, c.id == o.connection_id
    )
    rows = tx.rows(query.where(any_of(tx.conn, o.id, ids)))
    return {r["id"]: Cause("order", r["ref"], r["code"]) if r["mine"] else Cause("order", None) for r in rows}


def _named(kind: str, table: Table, *tenants: str) -> Look:
    """A look at rows that have a ref of their own, which only the merchants in those columns see."""

    def look(tx: Transaction, scope: Scope, ids: list[int]) -> dict[int, Cause]:
        c = table.c
        mine = or_(*(scope.sees(c[tenant]) for tenant in tenants)).label("mine")
        query = select(c.id, c.ref, mine).where(any_of(tx.conn, c.id, ids))
        return {r["id"]: Cause(kind, r["ref"] if r["mine"] else None) for r in tx.rows(query)}

    return look


def _documents(tx: Transaction, scope: Scope, ids: list[int]) -> dict[int, Cause]:
    """A warehouse speaks of everybody's fulfilments and returns: whose they are decides who sees their number."""
    i, c, f = t.inbox.c, t.connections.c, t.fulfilments.c
    query = select(i.id, i.kind, i.ref, c.code).join(t.connections, c.id == i.connection_id)
    rows = tx.rows(query.where(any_of(tx.conn, i.id, ids)))
    named = any_of(tx.conn, f.ref, sorted({r["ref"] for r in rows}))
    others = set(tx.conn.execute(select(f.ref).where(named, ~scope.sees(f.merchant_id))).scalars())
    hidden = _of_others(tx, scope, ids)
    return {
        r["id"]: Cause(r["kind"], None if r["ref"] in others or r["id"] in hidden else r["ref"], r["code"])
        for r in rows
    }


def _of_others(tx: Transaction, scope: Scope, ids: list[int]) -> set[int]:
    """Those of these documents that tell of another merchant's returns."""
    r = t.return_lines.c
    theirs = select(r.inbox_id).where(any_of(tx.conn, r.inbox_id, ids), ~scope.sees(r.merchant_id))
    return set(tx.conn.execute(theirs).scalars())


def _comparisons(tx: Transaction, scope: Scope, ids: list[int]) -> dict[int, Cause]:
    """The two snapshots that showed a residual, or the one a person accepted."""
    c, first, x = t.comparisons.c, t.comparisons.alias("first"), t.connections.c
    seen = scope.sees(t.items.c.owner_id).label("mine")
    query = select(c.id, c.sku, c.residual, c.as_of, first.c.as_of.label("first_as_of"), x.code, seen)
    query = query.join(first, first.c.id == c.first_id).join(t.connections, x.id == c.connection_id)
    rows = tx.rows(query.join(t.items, t.items.c.id == c.item_id).where(any_of(tx.conn, c.id, ids)))
    return {r["id"]: Cause("stock", _shown(r) if r["mine"] else None, r["code"]) for r in rows}


def _shown(row: Mapping[str, Any]) -> str:
    times = dict.fromkeys(f"{row[at].astimezone(UTC):%Y-%m-%d %H:%M:%S}" for at in ("first_as_of", "as_of"))
    return f"{row['sku']} {row['residual']:+}, shown {' and '.join(times)}"


LOOKS: Mapping[str, Look] = {
    "order": _orders,
    "fulfilment": _named("fulfilment", t.fulfilments, "merchant_id"),
    "asn": _named("asn", t.asns, "owner_id"),
    "transfer": _named("transfer", t.transfers, "owner_id", "to_owner_id"),
    "title_transfer": _named("title_transfer", t.title_transfers, "owner_id", "to_owner_id"),
    "contract": _named("contract", t.contracts, "owner_id", "beneficiary_id"),
    "stock_take": _named("stock_take", t.counts, "owner_id"),
    "assembly": _named("assembly", t.assemblies, "owner_id"),
    **{kind: _named(kind, t.locks, "owner_id") for kind in KINDS},
    "inbox": _documents,
    "comparison": _comparisons,
}
