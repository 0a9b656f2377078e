"""Which channel policy stands for a listing: its own, else its shop's, else its merchant's. Callers have the last."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, or_, select

from core.rules.channels import Bound, Claimed, Place, Policy
from core.rules.decide import Source
from core.store import contracts
from core.store import tables as t
from core.store.pools import pools
from core.store.rows import any_of
from core.store.store import Transaction

Row = Mapping[str, Any]
TERMS = ("share", "floor", "cap", "reserve", "buffer", "exclusive", "priority")
NONE = Policy()
Scope = tuple[int, int | None, int | None]
"""(merchant, connection, listing); None: all of them."""


def policy_of(row: Row) -> Policy:
    """A policy's terms; what is not said is as without one."""
    return _policy(tuple(row[name] for name in TERMS))


@lru_cache(10_000)
def _policy(terms: tuple[int | None, ...]) -> Policy:
    """By its terms, in the order of `TERMS`; many policies have the same."""
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
    query = select(p.merchant_id, p.connection_id, p.listing_id, *(p[name] for name in TERMS))
    query = query.where(_stands(tx), any_of(tx.conn, p.merchant_id, sorted(set(merchants))))
    if listings is not None:
        query = query.where(or_(p.listing_id.is_(None), any_of(tx.conn, p.listing_id, listings)))
    rows = tx.conn.execute(query).all()
    return {(who, shop, listing): _policy(tuple(terms)) for who, shop, listing, *terms in rows}


def _stands(tx: Transaction) -> ColumnElement[bool]:
    """Whether a policy stands now."""
    p = t.policies.c
    return and_(p.state == "active", or_(p.end_at.is_(None), p.end_at > tx.now))


def scope_of(row: Row) -> Scope:
    """What a policy is for."""
    return row["merchant_id"], row["connection_id"], row["listing_id"]


def bounds(tx: Transaction, merchant_id: int, owners: Mapping[int, int]) -> dict[int, Bound]:
    """Item → what keeps units of it from a merchant's callers now; those of which nothing is kept are left out.

    A caller is no shop: what holds for it is the merchant's own policy, and what listings have for themselves.
    owners: whose goods each of the items is.
    """
    p = t.policies.c
    theirs = any_of(tx.conn, p.merchant_id, sorted({merchant_id, *owners.values()}))
    own = and_(p.merchant_id == merchant_id, p.connection_id.is_(None))
    query = select(*(p[name] for name in TERMS)).where(_stands(tx), theirs, or_(own, p.exclusive > 0))
    rows = tx.rows(query)
    policy = next((policy_of(row) for row in rows if not row["exclusive"]), NONE)
    claimed = exclusives(tx, owners) if any(row["exclusive"] for row in rows) else {}
    kept = {item: tuple(one for one in claimed.get(item, ()) if one.binds(merchant_id)) for item in owners}
    return {item: Bound(policy, some) for item, some in kept.items() if some or policy != NONE}


def exclusives(tx: Transaction, items: Iterable[int], instead: Sequence[Row] = ()) -> dict[int, list[Claimed]]:
    """Item → units its listings have for themselves, and of a part those that listings of kits have of it."""
    wanted, drafts = set(items), {row["listing_id"]: row for row in instead if row["listing_id"]}
    rows = [row for row in _exclusive(tx, wanted) if row["listing_id"] not in drafts]
    rows += [{**row, **drafts[row["listing_id"]]} for row in _sold(tx, drafts)]
    sold_from = pools(tx, {row["connection_id"] for row in rows})
    lent = contracts.sources(tx, {row["merchant_id"] for row in rows}, wanted)
    found: dict[int, dict[int, Claimed]] = {}
    for row in (row for row in rows if row["exclusive"]):
        who, where = row["merchant_id"], sold_from.get(row["connection_id"], ())
        kit = 0 if row["part_id"] else who
        for item, per_kit, whose in ((row["item_id"], 1, kit), (row["part_id"], row["per_kit"], who)):
            if item in wanted:
                reaches = _reaches(whose, where, lent.get((who, item), ()))
                terms = (row["listing_id"], row["exclusive"] * per_kit, row["priority"] or 0, who, row["owner_id"])
                found.setdefault(item, {})[row["listing_id"]] = Claimed(*terms, reaches)
    return {item: list(claims.values()) for item, claims in found.items()}


def _reaches(owner_id: int, warehouses: Sequence[int], lent: Sequence[Source]) -> frozenset[Place]:
    """Where a listing's orders can take units from: its merchant's own, and others' by contract."""
    by_contract = ((source.owner_id, h) for source in lent for h in warehouses if source.serves(h))
    return frozenset([*((owner_id, h) for h in warehouses), *by_contract])


def _exclusive(tx: Transaction, wanted: Collection[int]) -> list[Row]:
    """Exclusive units that stand, with what they are of: these items, or kits of them, a row for each part."""
    p, li, k, c = t.policies.c, t.listings.c, t.kit_parts.c, t.connections.c
    terms = (p.listing_id, p.connection_id, p.exclusive, p.priority, p.merchant_id)
    query = select(*terms).where(_stands(tx), p.exclusive > 0)
    query = query.join(t.listings, li.id == p.listing_id).join(t.connections, c.id == p.connection_id)
    about = or_(any_of(tx.conn, li.item_id, sorted(wanted)), any_of(tx.conn, k.part_id, sorted(wanted)))
    return tx.rows(_with_parts(query).where(c.state == "active", about)) if wanted else []


def _sold(tx: Transaction, listings: Collection[int]) -> list[Row]:
    """What these listings sell, a row for each part of a kit."""
    li = t.listings.c
    query = _with_parts(select(li.id.label("listing_id")))
    return tx.rows(query.where(any_of(tx.conn, li.id, sorted(listings)))) if listings else []


def _with_parts(query: Select[Any]) -> Select[Any]:
    """This of listings, with what they sell and whose it is, and of virtual kits with each part."""
    li, i, k = t.listings.c, t.items.c, t.kit_parts.c
    query = query.add_columns(li.item_id, i.owner_id, k.part_id, k.units.label("per_kit"))
    parts = and_(k.kit_id == i.id, i.is_kit.is_(True))
    return query.join(t.items, i.id == li.item_id).join(t.kit_parts, parts, isouter=True)
