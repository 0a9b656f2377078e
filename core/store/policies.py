"""Which channel policy stands for which listing: its own, else its shop's, else its merchant's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import and_, or_, select

from core.rules.channels import Claimed, Policy
from core.store import tables as t
from core.store.rows import any_of
from core.store.store import Transaction

Row = Mapping[str, Any]
TERMS = ("share", "floor", "cap", "reserve", "buffer", "exclusive", "priority")
NONE = Policy()
Scope = tuple[int, int | None, int | None]
"""(merchant, connection, listing); None: all of them."""


def policy_of(row: Row) -> Policy:
    """A policy's terms; what is not said is as without one."""
    return _policy([row[name] for name in TERMS])


def _policy(terms: Sequence[Any]) -> Policy:
    """By its terms, in the order of `TERMS`."""
    return Policy(**{name: term for name, term in zip(TERMS, terms, strict=True) if term is not None})


def standing(tx: Transaction, rows: Sequence[Row], instead: Sequence[Row] = ()) -> dict[int, Policy]:
    """Listing id → the policy that stands for it now; those without one are left out.

    rows: listings with their merchant_id; instead: policies that take the place of those of their scopes.
    """
    if not rows:
        return {}
    found = scopes(tx, {row["merchant_id"] for row in rows}, [row["id"] for row in rows])
    found |= {scope_of(row): policy_of(row) for row in instead}
    stands = {}
    for row in rows if found else ():
        who, shop = row["merchant_id"], row["connection_id"]
        for scope in ((who, shop, row["id"]), (who, shop, None), (who, None, None)):
            if scope in found:
                stands[row["id"]] = found[scope]
                break
    return stands


def scopes(tx: Transaction, merchants: Iterable[int], listings: Sequence[int] | None) -> dict[Scope, Policy]:
    """Scope → the policy that stands for it now; of single listings, these, or all for None."""
    p = t.policies.c
    active = and_(p.state == "active", or_(p.end_at.is_(None), p.end_at > tx.now))
    query = select(p.merchant_id, p.connection_id, p.listing_id, *(p[name] for name in TERMS))
    query = query.where(active, any_of(tx.conn, p.merchant_id, sorted(set(merchants))))
    if listings is not None:
        query = query.where(or_(p.listing_id.is_(None), any_of(tx.conn, p.listing_id, listings)))
    rows = tx.conn.execute(query).all()
    return {(who, shop, listing): _policy(terms) for who, shop, listing, *terms in rows}


def scope_of(row: Row) -> Scope:
    """What a policy is for."""
    return row["merchant_id"], row["connection_id"], row["listing_id"]


def exclusives(tx: Transaction, items: Iterable[int], instead: Sequence[Row] = ()) -> dict[int, list[Claimed]]:
    """Item → units its listings have for themselves."""
    p, li = t.policies.c, t.listings.c
    wanted = sorted(set(items))
    query = select(t.policies, li.item_id).join(t.listings, li.id == p.listing_id)
    query = query.join(t.connections, t.connections.c.id == p.connection_id).where(t.connections.c.state == "active")
    active = (p.state == "active", p.exclusive > 0, or_(p.end_at.is_(None), p.end_at > tx.now))
    rows = {row["listing_id"]: row for row in tx.rows(query.where(*active, any_of(tx.conn, li.item_id, wanted)))}
    sold = {row["listing_id"] for row in instead if row["listing_id"]}
    if sold:
        places = tx.rows(select(li.id, li.item_id).where(any_of(tx.conn, li.id, sorted(sold))))
        item = {row["id"]: row["item_id"] for row in places}
        rows |= {row["listing_id"]: {**row, "item_id": item[row["listing_id"]]} for row in instead if row["listing_id"]}
    found: dict[int, list[Claimed]] = {}
    for row in rows.values():
        if row["exclusive"] and row["item_id"] in wanted:
            one = Claimed(row["listing_id"], row["exclusive"], row["priority"] or 0, row["merchant_id"])
            found.setdefault(row["item_id"], []).append(one)
    return found
