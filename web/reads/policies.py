"""Channel policies with what they are for, and what one would change on live figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Select, select

from core.flow import channel_policy
from core.store import policies as store
from core.store import tables as t
from core.store.scope import Scope
from core.store.store import Transaction, many
from hub.policies import found
from web.reads.shape import PAGE, all_shown, page_after

Row = Mapping[str, Any]
MOST = 500
"""Listings shown of a preview, those that change most first."""


def policies(tx: Transaction, scope: Scope, after: str = "", limit: int = PAGE) -> dict[str, Any]:
    """A page of policies by id, of all versions."""
    return page_after(tx, _policies(scope), t.policies.c.id, after, limit)


def policy(tx: Transaction, scope: Scope, ident: int) -> dict[str, Any]:
    """One policy. Raises Unmatched."""
    row = found(tx, scope, ident)
    return all_shown(tx.rows(_policies(scope).where(t.policies.c.id == row["id"])))[0]


def preview(tx: Transaction, scope: Scope, ident: int) -> dict[str, Any]:
    """What each listing may show now and would, in listing units, and how often each free unit is shown.

    unreached: exclusive units that its listing cannot reach from the warehouses its shop sells from, by SKU.
    Raises Unmatched. A merchant sees its own shops alone: of others', how many listings would change.
    """
    row = found(tx, scope, ident)
    changed = channel_policy.preview(tx, row)
    mine = [one for one in changed if scope.merchant_id in (None, one["merchant_id"])]
    shown = sorted(mine, key=lambda one: -abs(one["then"] - one["now"]))[:MOST]
    items = sorted({one["item_id"] for one in changed})
    now, then = channel_policy.overlap(tx, items), channel_policy.overlap(tx, items, [row])
    return {
        "policy": policy(tx, scope, ident),
        "listings": _named(tx, shown),
        "changed": len(mine),
        "others_changed": len(changed) - len(mine),
        "unreached": channel_policy.unreached(tx, row),
        "published_overlap": {"now": _ratio(now), "then": _ratio(then)},
        "as_of": tx.now.isoformat(),
    }


def _ratio(overlap: Mapping[int, tuple[int, int]]) -> float | None:
    """Units shown for each unit that is free; None where none is."""
    shown, free = (sum(pair[n] for pair in overlap.values()) for n in (0, 1))
    return round(shown / free, 2) if free else None


def _named(tx: Transaction, rows: Sequence[Row]) -> list[dict[str, Any]]:
    codes = {c["id"]: c["code"] for c in many(tx, t.connections, "id", sorted({r["connection_id"] for r in rows}))}
    skus = {i["id"]: i["sku"] for i in many(tx, t.items, "id", sorted({r["item_id"] for r in rows}))}
    return [
        {
            "connection": codes[row["connection_id"]],
            "listing": row["ref"],
            "sku": skus[row["item_id"]],
            **{name: row[name] for name in ("now", "then")},
        }
        for row in rows
    ]


def _policies(scope: Scope) -> Select[Any]:
    p, m, c, li = t.policies.c, t.merchants.c, t.connections.c, t.listings.c
    names = (m.code.label("merchant"), c.code.label("connection"), li.ref.label("listing"), p.version, p.state)
    terms = [p[name] for name in store.TERMS]
    times = (p.end_at.label("until"), p.who, p.created_at, p.activated_at, p.activated_by)
    query = select(p.id, *names, *terms, *times).join(t.merchants, m.id == p.merchant_id)
    query = query.join(t.connections, c.id == p.connection_id, isouter=True)
    query = query.join(t.listings, li.id == p.listing_id, isouter=True)
    return query.where(scope.sees(p.merchant_id))
