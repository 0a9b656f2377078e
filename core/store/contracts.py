"""What merchants may sell of other owners' goods, and how much of it is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, func, or_, select, update

from core.errors import Broken
from core.rules.decide import Rights, Share, Source
from core.store import tables as t
from core.store.rows import any_of
from core.store.store import Transaction

if TYPE_CHECKING:
    from core.store.ledger import Right

Row = Mapping[str, Any]
AT_RESERVE = "at_reserve"
NEVER = "never"
"""Title passes when an order is backed, or not at all; else when it ships."""


def sources(
    tx: Transaction, merchants: Iterable[int], items: Iterable[int]
) -> dict[tuple[int, int], tuple[Source, ...]]:
    """(merchant, item) → whose goods it may sell of it besides its own, by contracts that stand now, oldest first.

    Where title passes when an order is backed, only the goods in warehouses that know both owners by one keeper code.
    """
    who, what = sorted(set(merchants)), sorted(set(items))
    if not who or not what:
        return {}
    found: dict[tuple[int, int], tuple[Source, ...]] = {}
    for row in _standing(tx, what, any_of(tx.conn, t.contracts.c.beneficiary_id, who)):
        key = (row["beneficiary_id"], row["item_id"])
        found[key] = (*found.get(key, ()), _source(tx, row))
    return found


def of_orders(
    tx: Transaction, orders: Sequence[Row], items: Iterable[int]
) -> dict[tuple[int, int], tuple[Source, ...]]:
    """(order, item) → whose goods may back it by contract: its merchant's own, to a distributor, before others'."""
    what = sorted(set(items))
    named = sources(tx, {order["merchant_id"] for order in orders}, what)
    resold = resales(tx, orders, what)
    both = {
        (order["id"], item): (*resold.get((order["id"], item), ()), *named.get((order["merchant_id"], item), ()))
        for order in orders
        for item in what
    }
    return {key: some for key, some in both.items() if some}


def resales(tx: Transaction, orders: Sequence[Row], items: Sequence[int]) -> dict[tuple[int, int], tuple[Source, ...]]:
    """(order, item) → its merchant's goods by the contracts that stand with the distributor who bought it to resell."""
    bought = [order for order in orders if order["distributor"]]
    if not bought or not items:
        return {}
    names = sorted({order["distributor"] for order in bought})
    rows = _standing(tx, items, any_of(tx.conn, t.contracts.c.known_as, names))
    found: dict[tuple[int, int], tuple[Source, ...]] = {}
    for order, row in ((order, row) for order in bought for row in rows if _resells(order, row)):
        key = (order["id"], row["item_id"])
        found[key] = (*found.get(key, ()), _source(tx, row))
    return found


def _resells(order: Row, contract: Row) -> bool:
    """Whether the order's distributor bought by this contract; an agency (代销) by one that passes no title, a dealer
    (经销) by one that does.
    """
    theirs = (contract["owner_id"], contract["known_as"]) == (order["merchant_id"], order["distributor"])
    never = contract["title_passes"] == NEVER
    return theirs and {"agency": never, "dealer": not never}.get(order["resale"], True)


def _standing(tx: Transaction, items: Sequence[int], which: ColumnElement[bool]) -> list[Row]:
    """A row for each of these items of such contracts as stand now, oldest first."""
    c, ci = t.contracts.c, t.contract_items.c
    query = select(c.id, c.owner_id, c.beneficiary_id, c.title_passes, c.known_as, ci.item_id)
    query = query.join(t.contract_items, ci.contract_id == c.id)
    return tx.rows(query.where(stands(tx), which, any_of(tx.conn, ci.item_id, items)).order_by(c.id))


def _source(tx: Transaction, row: Row) -> Source:
    where = together(tx, row["owner_id"], row["beneficiary_id"]) if row["title_passes"] == AT_RESERVE else None
    return Source(row["owner_id"], row["id"], where)


def together(tx: Transaction, owner_id: int, other_id: int) -> frozenset[int]:
    """The warehouses that know the goods of these two by one keeper code: there title passes where they lie."""
    his, hers = t.keepers.alias("his"), t.keepers.alias("hers")
    same = and_(his.c.warehouse_id == hers.c.warehouse_id, his.c.code == hers.c.code)
    query = select(his.c.warehouse_id).join(hers, same).where(his.c.owner_id == owner_id, hers.c.owner_id == other_id)
    return frozenset(tx.conn.execute(query).scalars())


def stands(tx: Transaction) -> Any:
    """Whether new claims may be made under a contract now."""
    c = t.contracts.c
    begun = and_(c.ended_at.is_(None), c.valid_from <= tx.now)
    return and_(begun, or_(c.valid_until.is_(None), c.valid_until > tx.now))


def rights(tx: Transaction, contracts: Collection[int], items: Collection[int]) -> Rights:
    """(contract, item) → what may still be sold: the allowance, or a share of what the owner has on the books."""
    if not contracts:
        return {}
    ci, c = t.contract_items.c, t.contracts.c
    query = select(t.contract_items, c.owner_id).join(t.contracts, c.id == ci.contract_id)
    query = query.where(any_of(tx.conn, ci.contract_id, sorted(contracts)), any_of(tx.conn, ci.item_id, sorted(items)))
    rows = tx.rows(query)
    shares = [row for row in rows if row["percent"] is not None]
    free, held = (_free(tx, shares), drawn(tx, {row["contract_id"] for row in shares})) if shares else ({}, Counter())
    return {
        (row["contract_id"], row["item_id"]): row["allowance"]
        if row["percent"] is None
        else _share(row, free, held[row["contract_id"], row["item_id"]])
        for row in rows
    }


def _share(row: Row, free: Mapping[tuple[int, int], int], held: int) -> Share:
    return Share(row["owner_id"], int(row["percent"]), free.get((row["owner_id"], row["item_id"]), 0), held)


def _free(tx: Transaction, shares: Sequence[Row]) -> dict[tuple[int, int], int]:
    """(owner, item) → good units that may be promised, in all warehouses together."""
    ce = t.cells.c
    query = select(ce.owner_id, ce.item_id, ce.free, ce.suspense).where(
        any_of(tx.conn, ce.item_id, sorted({row["item_id"] for row in shares})), ce.condition == "ZP"
    )
    found: dict[tuple[int, int], int] = Counter()
    for cell in tx.rows(query):
        found[cell["owner_id"], cell["item_id"]] += max(0, cell["free"] + min(0, cell["suspense"]))
    return found


def drawn(tx: Transaction, contracts: Collection[int]) -> Counter[tuple[int, int]]:
    """(contract, item) → units that open claims hold under it."""
    cl, ce = t.claims.c, t.cells.c
    query = select(cl.contract_id, ce.item_id, func.sum(cl.backed).label("n")).join(t.cells, ce.id == cl.cell_id)
    named = any_of(tx.conn, cl.contract_id, sorted(contracts))
    rows = tx.rows(query.where(named, cl.open.is_(True)).group_by(cl.contract_id, ce.item_id))
    return Counter({(row["contract_id"], row["item_id"]): int(row["n"]) for row in rows})


def write(tx: Transaction, journal_id: int, moved: Sequence[Right]) -> None:
    """Write rights that moved with a journal, and what is left of them. Raises Broken where they do not add up to 0."""
    sums: dict[tuple[int, int, str], int] = Counter()
    for contract, item, account, units in moved:
        sums[contract, item, account] += units
    for contract, item in sorted({key[:2] for key in sums}):
        mine = {account: sums.get((contract, item, account), 0) for account in ("granted", "allowance", "used")}
        if sum(mine.values()):
            raise Broken(f"rights of contract {contract} on item {item} are not balanced: {mine}")
        tx.add(
            t.right_entries,
            [
                {"journal_id": journal_id, "contract_id": contract, "item_id": item, "account": account, "quantity": n}
                for account, n in mine.items()
                if n
            ],
        )
        ci = t.contract_items.c
        change = {"allowance": ci.allowance + mine["allowance"], "used": ci.used + mine["used"]}
        here = (ci.contract_id == contract) & (ci.item_id == item)
        tx.conn.execute(update(t.contract_items).where(here).values(**change))
