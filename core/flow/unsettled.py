"""What is being said of goods and not settled yet: until it is, no figure tells what really lies there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import and_, or_, select, text

from core.flow.expect_stock import TOLD, Goods, authority_of
from core.store import tables as t
from core.store.inbox import FACTS
from core.store.rows import any_of
from core.store.store import Transaction, many

is_open = text("(inbox.state = 'waiting' or inbox.state = 'parked')")
"""Whether a document is not booked yet, in the words of the indexes of those that are not."""
is_wanted = text("outbox.state in ('waiting', 'sending', 'in_doubt', 'parked')")
"""Whether an intent is open, in the words of its index."""
PHYSICAL = (*FACTS, "callback")
UNSURE = ("sending", "in_doubt", "parked")
Row = Mapping[str, Any]


def why(tx: Transaction, goods: Collection[Goods], condition: str) -> str:
    """What waits, is parked or in doubt that may have moved these goods; "" when nothing does."""
    return _document(tx, goods, condition) or _call(tx, goods, condition) or _stock_take(tx, goods, condition)


def _document(tx: Transaction, goods: Collection[Goods], condition: str) -> str:
    """A document of their warehouses that is not booked, unless it names a fulfilment or an ASN of other goods.

    One that waits moves what its fulfilment holds; one that is parked may have moved any goods of the owner.
    """
    i = t.inbox.c
    warehouses = many(tx, t.warehouses, "id", sorted({g.warehouse_id for g in goods}))
    speakers = sorted({c for w in warehouses for c in (w["wms_id"], authority_of(w)) if c})
    query = select(i.id, i.kind, i.ref, i.state).where(is_open, i.kind.in_(PHYSICAL))
    for row in tx.rows(query.where(any_of(tx.conn, i.connection_id, speakers)).order_by(i.id)):
        moved = _named(tx, row)
        whole = row["state"] == "parked"
        if moved is None or any(_touches(named, goods, condition, whole) for named in moved):
            return f"{row['kind']} {row['ref']} is {row['state']}"
    return ""


def _touches(named: Row, goods: Collection[Goods], condition: str, whole: bool) -> bool:
    if whole:
        return any((named["owner_id"], named["warehouse_id"]) == (g.owner_id, g.warehouse_id) for g in goods)
    there = Goods(named["owner_id"], named["item_id"], named["warehouse_id"]) in goods
    return there and named.get("condition", condition) == condition


def _named(tx: Transaction, document: Row) -> list[Row] | None:
    """The goods a document's number stands for; None where that is not known."""
    f, li, c, ce, a, al = (x.c for x in (t.fulfilments, t.fulfilment_lines, t.claims, t.cells, t.asns, t.asn_lines))
    if document["kind"] == "confirm":
        query = select(ce.owner_id, ce.item_id, ce.warehouse_id, ce.condition).join(t.claims, c.cell_id == ce.id)
        query = query.join(t.fulfilment_lines, li.claim_id == c.id).join(t.fulfilments, f.id == li.fulfilment_id)
        return tx.rows(query.where(f.ref == document["ref"])) or None
    if document["kind"] == "receipt":
        query = select(a.owner_id, al.item_id, a.warehouse_id).join(t.asn_lines, al.asn_id == a.id)
        return tx.rows(query.where(a.number == document["ref"])) or None
    return None


def _call(tx: Transaction, goods: Collection[Goods], condition: str) -> str:
    """A call about fulfilments, ASNs or transfers of these goods whose outcome nobody knows, or that was refused."""
    o = t.outbox.c
    keys = sorted({key for one in goods for key in _keys(tx, one, condition)})
    warehouses = many(tx, t.warehouses, "id", sorted({g.warehouse_id for g in goods}))
    theirs = any_of(tx.conn, o.connection_id, sorted({w["wms_id"] for w in warehouses if w["wms_id"]}))
    query = select(o.ability, o.key, o.state).where(is_wanted, theirs, any_of(tx.conn, o.key, keys))
    row = tx.row(query.where(o.state.in_(UNSURE)).order_by(o.id).limit(1))
    return f"{row['ability']} of {row['key']} is {row['state']}" if row else ""


def _keys(tx: Transaction, goods: Goods, condition: str) -> list[str]:
    f, li, c, ce, a, al = (x.c for x in (t.fulfilments, t.fulfilment_lines, t.claims, t.cells, t.asns, t.asn_lines))
    mine = and_(*(ce[name] == value for name, value in goods._asdict().items()), ce.condition == condition)
    query = select(f.id).join(t.fulfilment_lines, li.fulfilment_id == f.id).join(t.claims, c.id == li.claim_id)
    told = query.join(t.cells, ce.id == c.cell_id).where(mine, f.final.is_(False), f.state.in_(TOLD))
    here = and_(a.owner_id == goods.owner_id, a.warehouse_id == goods.warehouse_id, al.item_id == goods.item_id)
    announced = select(a.id).join(t.asn_lines, al.asn_id == a.id).where(here, a.state != "closed")
    tr, tl = t.transfers.c, t.transfer_lines.c
    moved = (
        select(tr.id)
        .join(t.transfer_lines, tl.transfer_id == tr.id)
        .where(
            or_(
                and_(tr.owner_id == goods.owner_id, tr.from_id == goods.warehouse_id),
                and_(tr.to_owner_id == goods.owner_id, tr.to_id == goods.warehouse_id),
            ),
            tl.item_id == goods.item_id,
        )
    )
    return [
        *(f"transfer:{i}" for i in tx.conn.execute(moved).scalars()),
        *(f"fulfilment:{i}" for i in tx.conn.execute(told).scalars()),
        *(f"asn:{i}" for i in tx.conn.execute(announced).scalars()),
    ]


def _stock_take(tx: Transaction, goods: Collection[Goods], condition: str) -> str:
    """A stock-take of these goods that nobody has approved or rejected: it may have found what a snapshot shows."""
    co, li, ce = t.counts.c, t.count_lines.c, t.cells.c
    mine = or_(*(and_(*(ce[name] == value for name, value in one._asdict().items())) for one in goods))
    query = select(co.ref).join(t.count_lines, li.count_id == co.id).join(t.cells, ce.id == li.cell_id)
    row = tx.row(query.where(co.state == "waiting", ce.condition == condition, mine).order_by(co.id).limit(1))
    return f"stock-take {row['ref']} is waiting" if row else ""
