"""Channel policies: proposed as a version, looked at on live figures, activated, and over at their day or withdrawn.

A version is never changed; activating one replaces the former of its scope.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update

from core.errors import Refused, Unfit
from core.flow import saleable, sell_kits
from core.rules import channels
from core.rules.channels import Claimed, Place, There
from core.store import policies, shelves
from core.store import tables as t
from core.store.rows import any_of
from core.store.store import Transaction, many, one

Row = Mapping[str, Any]
UNITS_MAX = 10**9


@dataclass(frozen=True, slots=True)
class Scope:
    """What a policy is for: a listing, all listings of a shop, or all of a merchant."""

    merchant_id: int
    connection_id: int | None = None
    listing_id: int | None = None


def propose(tx: Transaction, scope: Scope, terms: Mapping[str, int | None], end_at: datetime | None, who: str) -> int:
    """A new version of the scope's policy, as a draft; its id. Raises Unfit for terms that make no policy."""
    tx.lock_ledger()
    fault = _fault(scope, terms, end_at, tx.now)
    if fault:
        raise Unfit(fault)
    p = t.policies.c
    ours = (p.merchant_id == scope.merchant_id, *_same(scope))
    last = tx.conn.execute(select(func.coalesce(func.max(p.version), 0)).where(*ours)).scalar_one()
    whose = {"merchant_id": scope.merchant_id, "connection_id": scope.connection_id, "listing_id": scope.listing_id}
    row = {"id": tx.ids.new(), **whose, "version": last + 1, "state": "draft", "end_at": end_at, "who": who}
    said = {name: terms.get(name) for name in policies.TERMS}
    tx.add(t.policies, [{**row, **said, "due_at": None, "created_at": tx.now}])
    return int(row["id"])


def _same(scope: Scope) -> list[Any]:
    p = t.policies.c
    pairs = ((p.connection_id, scope.connection_id), (p.listing_id, scope.listing_id))
    return [column.is_(None) if value is None else column == value for column, value in pairs]


def _fault(scope: Scope, terms: Mapping[str, int | None], end_at: datetime | None, now: datetime) -> str:
    """Why these terms make no policy; "" where they do."""
    said = {name: value for name, value in terms.items() if value is not None}
    units = {name: n for name, n in said.items() if name not in ("share", "priority")}
    share, cap, floor = said.get("share", 100), said.get("cap"), said.get("floor", 0)
    checks = (
        (not said, "say at least one of " + ", ".join(policies.TERMS)),
        (not 0 <= share <= 100, f"a share of {share} % cannot be: say 0 to 100"),
        (any(not 0 <= n <= UNITS_MAX for n in units.values()), f"units are whole numbers from 0 to {UNITS_MAX}"),
        (cap is not None and cap < floor, f"at least {floor} and at most {cap} cannot both be: change one"),
        (bool(said.get("exclusive")) and scope.listing_id is None, "exclusive units are one listing's: name it"),
        (end_at is not None and end_at <= now, "it would be over already: say a later end"),
    )
    return next((why for wrong, why in checks if wrong), "")


def activate(tx: Transaction, ident: int, who: str) -> None:
    """It stands from now on, in place of the former of its scope; once more does no harm.

    Raises Refused where it was replaced or withdrawn, is over, or more units would be exclusive than there are, or of
    what several listings reach.
    """
    tx.lock_ledger()
    row = one(tx, t.policies, id=ident)
    assert row is not None
    if row["state"] == "active":
        return
    if row["state"] != "draft":
        raise Refused(f"version {row['version']} is {row['state']}: propose a new one")
    if row["end_at"] and row["end_at"] <= tx.now:
        raise Refused(f"version {row['version']} would be over already: propose one with a later end")
    if why := _too_exclusive(tx, row):
        raise Refused(why)
    p = t.policies.c
    scope = Scope(row["merchant_id"], row["connection_id"], row["listing_id"])
    ours = (p.merchant_id == scope.merchant_id, *_same(scope))
    former = update(t.policies).where(*ours, p.state == "active")
    tx.conn.execute(former.values(state="replaced", due_at=None))
    times = {"activated_at": tx.now, "activated_by": who, "due_at": row["end_at"]}
    tx.set(t.policies, ident, state="active", **times)
    mark(tx, row)


def _too_exclusive(tx: Transaction, row: Row) -> str:
    """Why exclusive units of one item, or of a part of one kit, overlap; "" where there are as many."""
    parts = _stocked(tx, row["listing_id"]) if row["exclusive"] else []
    claimed, free = policies.exclusives(tx, parts, [row]), _lying(tx, parts)
    for item in parts:
        there, wanted = free[item].units, sum(one.units for one in claimed[item])
        if wanted > there:
            why = f"{wanted} units would be exclusive to {len(claimed[item])} listings where {there} are free"
            return f"{_sku(tx, item)}: {why}: ask for fewer"
        together, apart = _had(free[item], claimed[item]), sum(_had(free[item], [one]) for one in claimed[item])
        if apart > together:
            why = f"{apart} units would be exclusive to {len(claimed[item])} listings that reach {together} of {there}"
            return f"{_sku(tx, item)}: {why}: ask for fewer"
    return ""


def unreached(tx: Transaction, row: Row) -> dict[str, int]:
    """SKU → units of a policy's exclusive ones that its listing cannot reach now, whatever others have."""
    parts = _stocked(tx, row["listing_id"]) if row["exclusive"] else []
    claimed, free = policies.exclusives(tx, parts, [row]), _lying(tx, parts)
    found = {}
    for item in parts:
        mine = [one for one in claimed[item] if one.listing_id == row["listing_id"]]
        found[item] = sum(one.units for one in mine) - _had(free[item], mine)
    return {_sku(tx, item): units for item, units in found.items() if units}


def _had(there: There, exclusives: Sequence[Claimed]) -> int:
    """Units of these exclusive ones that their listings have together."""
    return sum(channels.granted(there, exclusives).values())


def _lying(tx: Transaction, items: Sequence[int]) -> dict[int, There]:
    """Item → good units of it that are free, and where they lie."""
    places: dict[int, dict[Place, int]] = {item: {} for item in items}
    for cell in many(tx, t.cells, "item_id", list(items)):
        if cell["condition"] == "ZP":
            places[cell["item_id"]][cell["owner_id"], cell["warehouse_id"]] = cell["free"]
    return {item: There(sum(lying.values()), lying) for item, lying in places.items()}


def _stocked(tx: Transaction, listing_id: int) -> list[int]:
    """What a listing's orders take: its item, or the parts of its kit."""
    listing = one(tx, t.listings, id=listing_id)
    assert listing is not None
    recipe = sell_kits.recipes(tx, [listing["item_id"]]).get(listing["item_id"])
    return sorted(int(part) for part in recipe) if recipe else [listing["item_id"]]


def _sku(tx: Transaction, item_id: int) -> str:
    item = one(tx, t.items, id=item_id)
    assert item is not None
    return str(item["sku"])


def withdraw(tx: Transaction, ident: int) -> None:
    """It stands no more, and the next wider one does; once more does no harm."""
    tx.lock_ledger()
    row = one(tx, t.policies, id=ident)
    assert row is not None
    if row["state"] in ("draft", "active"):
        tx.set(t.policies, ident, state="withdrawn", due_at=None)
    if row["state"] == "active":
        mark(tx, row)


def mark(tx: Transaction, row: Row) -> None:
    """Shops are told anew what a policy is about; where units are exclusive, other shops of the item too."""
    shelves.mark(tx, (listing["item_id"] for listing in concerned(tx, row)))


def concerned(tx: Transaction, row: Row) -> list[Row]:
    """The listings a policy is about, with their merchants; of one listing's, all that take of the same goods."""
    li, c = t.listings.c, t.connections.c
    query = select(t.listings, c.merchant_id).join(t.connections, c.id == li.connection_id)
    query = query.where(c.kind == "sales").order_by(li.id)
    if row["listing_id"]:
        items = sell_kits.selling(tx, _stocked(tx, row["listing_id"]))
        return tx.rows(query.where(any_of(tx.conn, li.item_id, items)))
    if row["connection_id"]:
        return tx.rows(query.where(li.connection_id == row["connection_id"]))
    return tx.rows(query.where(c.merchant_id == row["merchant_id"]))


def preview(tx: Transaction, row: Row) -> list[Row]:
    """What each listing concerned may show `now`, and would `then`; those that stay the same are left out."""
    rows = concerned(tx, row)
    now, then = saleable.targets(tx, rows), saleable.targets(tx, rows, [row])
    return [
        {**one, "now": now[one["id"]], "then": then[one["id"]]} for one in rows if now[one["id"]] != then[one["id"]]
    ]


def overlap(tx: Transaction, items: Sequence[int], instead: Sequence[Row] = ()) -> dict[int, tuple[int, int]]:
    """Item → (base units its listings may show in all, units that are free): how often each unit is shown."""
    li, c = t.listings.c, t.connections.c
    query = select(t.listings, c.merchant_id).join(t.connections, c.id == li.connection_id)
    rows = tx.rows(query.where(c.kind == "sales", c.state == "active", any_of(tx.conn, li.item_id, sorted(items))))
    shown, levels = dict.fromkeys(items, 0), saleable.targets(tx, rows, instead)
    for row in rows:
        shown[row["item_id"]] += levels[row["id"]] * row["pack"]
    free: dict[int, int] = dict.fromkeys(items, 0)
    for cell in many(tx, t.cells, "item_id", list(items)):
        free[cell["item_id"]] += max(0, cell["free"] + min(0, cell["suspense"])) if cell["condition"] == "ZP" else 0
    return {item: (shown[item], free[item]) for item in items}


def any_due(tx: Transaction) -> bool:
    """Whether a policy has come to its end since anybody looked."""
    return tx.row(select(t.policies.c.id).where(t.policies.c.due_at <= tx.now).limit(1)) is not None


def turn(tx: Transaction) -> int:
    """Policies that are over make way for the next wider ones; returns how many were."""
    rows = tx.rows(select(t.policies).where(t.policies.c.due_at <= tx.now).limit(100))
    for row in rows:
        tx.set(t.policies, row["id"], state="over", due_at=None)
        mark(tx, row)
    return len(rows)
