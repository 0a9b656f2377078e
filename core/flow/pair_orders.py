"""Two orders of one purchase, a shopper's and that of a distributor at its supplier: they claim stock once.

Whichever comes first claims; the other is its counterpart, claims nothing, and is decided when the first is cancelled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, or_, select

from core.errors import Refused
from core.flow import release_order, resource_order, sell_kits, tell_counterparts
from core.flow.change_order import units_wanted
from core.flow.tell import ask_person
from core.rules.decide import Part
from core.store import contracts
from core.store import tables as t
from core.store.claims import of_order
from core.store.ledger import CellKey, Ledger
from core.store.pools import pools
from core.store.rows import any_of
from core.store.store import Transaction, many, one

if TYPE_CHECKING:
    from core.flow.take_order import Draft

Row = Mapping[str, Any]
DIFFERS = (
    "order {} is said to be of the same purchase, but is of other goods: both claim stock; call off what is too much"
)
BEGUN = ("part_shipped", "shipped", "delivered")


def link(tx: Transaction, drafts: Sequence[Draft]) -> None:
    """Drafts whose counterpart is here and claims, or is before them in this batch, follow it and want nothing."""
    loose = [d for d in drafts if d.row["counterpart_of"] is None and d.row["state"] not in BEGUN]
    here = _named_by(tx, {d.row["ref"] for d in loose}) if loose else []
    told: dict[int, Draft] = {}
    for draft in loose:
        rows = [*here, *_named(tx, draft.row), *(before.row for before in told.values())]
        other = _counterpart(tx, draft.row, [told[row["id"]].row if row["id"] in told else row for row in rows])
        led = any(before.row["counterpart_of"] == draft.row["id"] for before in told.values())
        told[draft.row["id"]] = draft
        if other is None or led or (not draft.new and _followers(tx, draft.row["id"])):
            continue
        theirs = told[other["id"]].lines.values() if other["id"] in told else _lines(tx, other["id"])
        if _goods(draft.lines.values()) == _goods(theirs):
            draft.row["counterpart_of"] = other["id"]
            draft.wants, draft.follows = [], True
        elif draft.new:
            subject = f"order:{draft.row['id']}"
            ask_person(
                tx,
                "order.counterpart_differs",
                subject,
                draft.row["merchant_id"],
                DIFFERS.format(_ref(draft.row, other)),
            )


def _ref(order: Row, other: Row) -> str:
    """The other's number, where the order names it; another merchant's is not told."""
    return str(other["ref"]) if order["merchant_id"] == other["merchant_id"] else str(order["counterpart_ref"] or "-")


def pair(tx: Transaction, order: Row, ref: str) -> bool:
    """This order is of one purchase with the one of that ref; whether it follows it now. One that comes later follows.

    What it claims is the caller's to give back. Raises Refused where a warehouse has it, others follow it, it follows
    another, or that is of other goods.
    """
    if order["counterpart_of"] is not None:
        stands = one(tx, t.orders, id=order["counterpart_of"])
        if stands and stands["ref"] == ref:
            return True
        raise Refused(f"{order['ref']} is paired with another order already")
    f = t.fulfilments.c
    told = select(f.id).where(f.order_id == order["id"], f.state != "cancelled").limit(1)
    if tx.row(told) or _followers(tx, order["id"]):
        raise Refused(f"{order['ref']} is what makes the purchase already: pair the other order with it")
    named = {**order, "counterpart_ref": ref}
    other = _counterpart(tx, named, [*_named(tx, named), *_named_by(tx, {order["ref"]})])
    if other and _goods(_lines(tx, order["id"])) != _goods(_lines(tx, other["id"])):
        raise Refused(f"{ref} is of other goods than {order['ref']}: an order of the same goods is its counterpart")
    tx.set(t.orders, order["id"], counterpart_ref=ref, counterpart_of=other and other["id"])
    tell_counterparts.began(tx, [{**order, "counterpart_of": other and other["id"]}])
    return other is not None


def pass_on(tx: Transaction, ledger: Ledger, order_id: int) -> None:
    """An order is cancelled: the first of those that followed it and live is decided now, the others follow that."""
    live = [row for row in _followers(tx, order_id) if not row["closed"] and row["state"] != "cancelled"]
    for n, row in enumerate(live):
        tx.set(t.orders, row["id"], counterpart_of=live[0]["id"] if n else None)
    if live:
        _decide(tx, ledger, {**live[0], "counterpart_of": None})


def _decide(tx: Transaction, ledger: Ledger, order: Row) -> None:
    """Claims for all it wants, backed from whatever warehouses of its pool back most of it."""
    pool = pools(tx, [order["connection_id"]]).get(order["connection_id"])
    missing = [(line, units_wanted(order, line) - line["shipped"]) for line in _lines(tx, order["id"])]
    wants = [w for line, n in missing if n > 0 for w in sell_kits.wants(line, order["merchant_id"], n)]
    if not pool or not wants:
        return
    made = []
    for want in wants:
        cell = ledger.cell(CellKey(want.owner_id, want.item_id, pool[0]))
        part = Part(want.line, want.owner_id, want.item_id, pool[0], want.quantity, 0, want.per_kit, lot=want.lot)
        made.append(of_order(tx, order["id"], cell.id, part, soft=not order["may_ship"]))
    tx.add(t.claims, made)
    merchant = one(tx, t.merchants, id=order["merchant_id"])
    assert merchant is not None
    resource_order.look_again(tx, ledger, order["id"], pool, merchant["part_backing"])
    release_order.release(tx, [order["id"]])


def _counterpart(tx: Transaction, order: Row, others: Iterable[Row]) -> Row | None:
    """The one of these that is of the same purchase and claims; None for none, or where several could be."""
    named = {
        other["id"]: other
        for other in others
        if other["id"] != order["id"]
        and (other["ref"] == order["counterpart_ref"] or other["counterpart_ref"] == order["ref"])
        and other["counterpart_of"] is None
        and not other["closed"]
        and other["state"] != "cancelled"
    }
    partners = _partners(tx, order["merchant_id"]) if named else set()
    found = [other for other in named.values() if other["merchant_id"] in partners]
    return found[0] if len(found) == 1 else None


def _named(tx: Transaction, order: Row) -> list[Row]:
    """Orders of the ref this one names, at the shops of its merchant and its partners."""
    if not order["counterpart_ref"]:
        return []
    o, c = t.orders.c, t.connections.c
    shops = select(c.id).where(any_of(tx.conn, c.merchant_id, sorted(_partners(tx, order["merchant_id"]))))
    return tx.rows(select(t.orders).where(o.connection_id.in_(shops), o.ref == order["counterpart_ref"]))


def _named_by(tx: Transaction, refs: Iterable[str]) -> list[Row]:
    """Orders that name one of these refs."""
    o = t.orders.c
    return tx.rows(select(t.orders).where(o.counterpart_ref != "", any_of(tx.conn, o.counterpart_ref, sorted(refs))))


def _partners(tx: Transaction, merchant_id: int) -> set[int]:
    """The merchant, and those it has a contract with that stands."""
    c = t.contracts.c
    sides: ColumnElement[bool] = or_(c.owner_id == merchant_id, c.beneficiary_id == merchant_id)
    rows = tx.rows(select(c.owner_id, c.beneficiary_id).where(and_(contracts.stands(tx), sides)))
    return {merchant_id, *(ident for row in rows for ident in row.values())}


def _followers(tx: Transaction, order_id: int) -> list[Row]:
    o = t.orders.c
    return tx.rows(select(t.orders).where(o.counterpart_of == order_id).order_by(o.id))


def _lines(tx: Transaction, order_id: int) -> list[Row]:
    return many(tx, t.order_lines, "order_id", [order_id])


def _goods(lines: Iterable[Row]) -> Counter[int]:
    """Item → base units that lines want."""
    found = Counter[int]()
    for line in lines:
        if line["bears_stock"] and line["item_id"]:
            found[line["item_id"]] += line["ordered"] - line["cancelled"]
    return +found
