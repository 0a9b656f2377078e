"""Goods that came back: facts, booked in full and graded as the warehouse says, whether or not we know who bought them.

That money was given back moves no stock, and goods that came back pay nobody: a refund is the shop's own document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import func, or_, select, update

from core.errors import Unmatched, YipanError
from core.flow import keep_promises, name_lots, note_serials, sell_kits, use_rights
from core.flow.hear import Spoken, fresh, repeated
from core.flow.tell import Happened, ask_person, tell
from core.model import Return, ReturnedLine
from core.model.stock import Lot
from core.rules import posting
from core.store import contracts, inbox
from core.store import tables as t
from core.store.keepers import linked_warehouse, owned
from core.store.ledger import Cell, CellKey, Entry, Ledger, standing
from core.store.store import Transaction, one

Row = Mapping[str, Any]
NO_ORDER = "{} units of {} came back and no order of ours is named: find out whose they are, and whether to pay them"
NOT_ORDERED = "{} units of {} came back with order {}, which had none: find out where they belong"
TOO_MANY = "{} units more of {} came back with order {} than had left: settle with the warehouse what they are"


class Back(NamedTuple):
    """Units of one item in one condition; order: that they belong to, if it is known."""

    sku: str
    owner_id: int
    item_id: int
    condition: str
    units: int
    order: Row | None
    lots: Sequence[Lot] = ()
    serials: Sequence[str] = ()


def take_back(tx: Transaction, batch: Sequence[Spoken]) -> None:
    """Book returns: increments, keyed by the sender's message id, or "only" where it sends none."""
    ledger = Ledger(tx)
    for spoken in fresh(tx, batch):
        assert isinstance(spoken.noun, Return)
        error = _take_back(tx, ledger, spoken, spoken.noun)
        if error:
            inbox.park(tx, spoken.inbox_id, error)
        else:
            inbox.settle(tx, [spoken.inbox_id])
    keep_promises.after_moves(tx, ledger)


def _take_back(tx: Transaction, ledger: Ledger, spoken: Spoken, told: Return) -> YipanError | None:
    """Book it, or say why it cannot be understood."""
    warehouse = linked_warehouse(tx, spoken.connection_id, told.warehouse)
    if warehouse is None:
        return Unmatched("warehouse", told.warehouse)
    found = [_backs(tx, spoken, told, line, warehouse) for line in told.lines]
    strange = next((line.sku for line, some in zip(told.lines, found, strict=True) if not some), None)
    if strange is not None:
        return Unmatched("item", strange)
    backs = [part for some in found for back in some if back.units for part in _parts(tx, back)]
    key = f"return:{spoken.connection_id}:{told.event_id or f'{told.ref}:only'}"
    if ledger.known([key]):
        return repeated(tx, ledger, key, told.event_id or told.ref, _units(backs), _ends(tx, spoken, told))
    entries: list[Entry] = []
    for back in backs:
        entries += _arrive(_cell(ledger, warehouse, back), back.units, entries)
    lots = [move for back in backs for move in name_lots.moves(_cell(ledger, warehouse, back), back.lots)]
    ledger.book(key, "return", f"inbox:{spoken.inbox_id}", entries, told.happened_at, lots)
    _keep(tx, spoken, told, warehouse, backs)
    return None


def _backs(tx: Transaction, spoken: Spoken, told: Return, line: ReturnedLine, warehouse: int) -> list[Back]:
    """What came back and of which order, by whose it is; nothing where its SKU is nobody's under that keeper code."""
    order = _order(tx, spoken.connection_id, told, line)
    sent = _sent(tx, order, line, warehouse) if order else []
    if not sent:
        found = owned(tx, warehouse, line.keeper, line.sku, kits=True)
        return [Back(line.sku, *found, line.condition, line.quantity, order, line.lots, line.serials)] if found else []
    left, shares = line.quantity, []
    for one_of in sent:
        shares.append(min(left, max(0, one_of["units"])))
        left -= shares[-1]
    shares[-1] += left
    mine = [(s, n) for s, n in zip(sent, shares, strict=True) if n] or [(sent[0], 0)]
    lots = name_lots.split(line.lots, [n for _, n in mine])
    whose = [(s["owner_id"], s["item_id"]) for s, _ in mine]
    backs = [Back(line.sku, *who, line.condition, mine[n][1], order, lots[n]) for n, who in enumerate(whose)]
    return [backs[0]._replace(serials=line.serials), *backs[1:]]


def _parts(tx: Transaction, back: Back) -> list[Back]:
    """What came back under a kit's own SKU, in its parts: as the order had them, else as they are now."""
    ol = t.order_lines.c
    query = select(ol.recipe).where(ol.order_id == (back.order["id"] if back.order else 0), ol.item_id == back.item_id)
    sold = tx.conn.execute(query.order_by(ol.id).limit(1)).scalar()
    recipe = sold or sell_kits.recipes(tx, [back.item_id]).get(back.item_id)
    if not recipe:
        return [back]
    return [back._replace(item_id=int(part), units=back.units * n, lots=(), serials=()) for part, n in recipe.items()]


def _sent(tx: Transaction, order: Row, line: ReturnedLine, warehouse: int) -> list[Row]:
    """(owner_id, item_id, units that left and are not back) of what that SKU was to our warehouses in this order.

    owner_id: whose they are when they come back. Goods that go back to whom they were lent by come first, as the last
    to have been sold.
    """
    f, li, c, ce = t.fulfilments.c, t.fulfilment_lines.c, t.claims.c, t.cells.c
    query = select(ce.owner_id, li.item_id, c.contract_id, func.sum(li.shipped).label("left"))
    query = query.join(t.claims, c.id == li.claim_id).join(t.cells, ce.id == c.cell_id)
    query = query.join(t.fulfilments, f.id == li.fulfilment_id).where(f.order_id == order["id"], li.sku == line.sku)
    query = query.where(li.keeper == line.keeper) if line.keeper else query
    rows = [_title(tx, row, warehouse) for row in tx.rows(query.group_by(ce.owner_id, li.item_id, c.contract_id))]
    sent: dict[tuple[int, int], list[Row]] = {}
    for row in rows:
        sent.setdefault((row["owner_id"], row["item_id"]), []).append(row)
    r = t.return_lines.c
    back = select(r.owner_id, r.item_id, func.sum(r.quantity).label("n")).where(r.order_id == order["id"])
    came = {(b["owner_id"], b["item_id"]): int(b["n"]) for b in tx.rows(back.group_by(r.owner_id, r.item_id))}
    return [
        {"owner_id": at[0], "item_id": at[1], "units": sum(int(row["left"]) for row in some) - came.get(at, 0)}
        for at, some in sorted(sent.items(), key=lambda it: (not any(row["lent"] for row in it[1]), it[0]))
    ]


def _title(tx: Transaction, row: Row, warehouse: int) -> Row:
    """The row with whose goods it is when they come back, and whether they go back to whom they were lent by.

    Title passes where they lie, so under another keeper code they stay whose they were when they left.
    """
    contract = one(tx, t.contracts, id=row["contract_id"]) if row["contract_id"] else None
    if contract is None:
        return {**row, "lent": False}
    owner, other = contract["owner_id"], contract["beneficiary_id"]
    named = owner if contract["returns_to"] == "owner" else other
    may = named == row["owner_id"] or warehouse in contracts.together(tx, owner, other)
    whose = named if may else row["owner_id"]
    return {**row, "owner_id": whose, "lent": whose == owner}


def _order(tx: Transaction, connection_id: int, told: Return, line: ReturnedLine) -> Row | None:
    """The order goods belong to: by our fulfilment's number, else by the waybill, else by the shop's number of it.

    Only what this warehouse had to send; a shop's number that two of its orders share names none.
    """
    f, w, o, p = t.fulfilments.c, t.warehouses.c, t.orders.c, t.parcels.c
    sent = select(f.order_id).join(t.warehouses, w.id == f.warehouse_id).where(w.wms_id == connection_id)
    ways = [sent.where(f.ref.in_([line.order, told.ref]))]
    if told.waybill:
        ways.append(sent.join(t.parcels, p.fulfilment_id == f.id).where(p.waybill == told.waybill))
    ways.append(select(o.id.label("order_id")).where(o.ref == line.order, o.id.in_(sent)))
    for way in ways:
        ids = set(tx.conn.execute(way.distinct().limit(2)).scalars())
        if len(ids) == 1:
            return one(tx, t.orders, id=ids.pop())
    return None


def _units(backs: Sequence[Back]) -> dict[tuple[int, str], int]:
    units: dict[tuple[int, str], int] = {}
    for back in backs:
        units[back.item_id, back.condition] = units.get((back.item_id, back.condition), 0) + back.units
    return units


def _ends(tx: Transaction, spoken: Spoken, told: Return) -> bool:
    """Whether it says that nothing more will come back, and nobody has said so yet."""
    known = one(tx, t.returns, connection_id=spoken.connection_id, ref=told.ref)
    return told.final and not (known and known["final"])


def _cell(ledger: Ledger, warehouse: int, back: Back) -> Cell:
    return ledger.cell(CellKey(back.owner_id, back.item_id, warehouse, back.condition))


def _arrive(cell: Cell, units: int, before: Sequence[Entry]) -> list[Entry]:
    """before: entries of the same journal."""
    moves = posting.inflow(units, suspense=standing(cell, "suspense", before), to=cell.account)
    return [Entry(cell, account, n) for account, n in moves]


def _keep(tx: Transaction, spoken: Spoken, told: Return, warehouse: int, backs: Sequence[Back]) -> None:
    """Write what came back, on the return and on the lines of its orders, and tell of it."""
    ident = _head(tx, spoken.connection_id, told, warehouse)
    r = t.return_lines.c
    last = tx.conn.execute(select(func.coalesce(func.max(r.n), 0)).where(r.return_id == ident)).scalar_one()
    rows = [row for back in backs for row in _rows(tx, back, f"return:{ident}:{back.item_id}")]
    came = note_serials.Told(spoken.inbox_id, told.happened_at)
    for back in backs:
        note_serials.came(tx, came, ident, {back.item_id: back.serials})
    head = {"return_id": ident, "inbox_id": spoken.inbox_id}
    tx.add(t.return_lines, [{**head, "n": n, **row} for n, row in enumerate(rows, last + 1)])
    for row in (row for row in rows if row["line_id"]):
        use_rights.came_back(tx, row, f"return:{ident}")
    sell_kits.note_returned(tx, {row["line_id"] for row in rows if row["line_id"]})
    tell(tx, [_happened(ident, told.ref, row) for row in rows])


def _head(tx: Transaction, connection_id: int, told: Return, warehouse: int) -> int:
    """The return of that number, made when this is the first we hear of it."""
    known = one(tx, t.returns, connection_id=connection_id, ref=told.ref)
    if known:
        tx.set(t.returns, known["id"], final=known["final"] or told.final, waybill=told.waybill or known["waybill"])
        return int(known["id"])
    ident = tx.ids.new()
    how = {"carrier": told.carrier[:200], "waybill": told.waybill[:200], "reason": told.reason[:200]}
    row = {"id": ident, "connection_id": connection_id, "ref": told.ref, "warehouse_id": warehouse, **how}
    tx.add(t.returns, [{**row, "final": told.final, "created_at": tx.now}])
    return ident


def _rows(tx: Transaction, back: Back, subject: str) -> list[dict[str, Any]]:
    """Units by the order line they belong to: of lines with that item, those that sent more than came back first."""
    merchant = back.order["merchant_id"] if back.order else back.owner_id
    order_id = back.order["id"] if back.order else None
    row = {"owner_id": back.owner_id, "merchant_id": merchant, "item_id": back.item_id, "condition": back.condition}
    shares = _shares(tx, back.order, back, subject) if back.order else []
    if not shares:
        kind, why = ("return.not_ordered", NOT_ORDERED) if back.order else ("return.no_order", NO_ORDER)
        ask_person(tx, kind, subject, merchant, why.format(back.units, back.sku, back.order and back.order["ref"]))
        return [{**row, "quantity": back.units, "order_id": order_id, "line_id": None}]
    return [{**row, "quantity": units, "order_id": order_id, "line_id": line} for line, units in shares]


def _shares(tx: Transaction, order: Row, back: Back, subject: str) -> list[tuple[int, int]]:
    """(order line, units) of what came back; more than had left goes to the first line, and to a person."""
    lines = _lines(tx, order["id"], back.item_id)
    shares: dict[int, int] = {}
    left = back.units
    for line in lines:
        units = min(left, max(0, _out(tx, line, back.item_id)))
        if units:
            shares[line["id"]] = units
            left -= units
    if lines and left:
        shares[lines[0]["id"]] = shares.get(lines[0]["id"], 0) + left
        why = TOO_MANY.format(left, back.sku, order["ref"])
        ask_person(tx, "return.too_many", subject, order["merchant_id"], why)
    o = t.order_lines.c
    simple = {line["id"] for line in lines if not line["recipe"]}
    for line_id, units in ((ident, n) for ident, n in shares.items() if ident in simple):
        tx.conn.execute(update(t.order_lines).where(o.id == line_id).values(returned=o.returned + units))
    return list(shares.items())


def _out(tx: Transaction, line: Row, item_id: int) -> int:
    """Units that left for a line and have not come back; of a kit's line, those of this part."""
    if not line["recipe"]:
        return int(line["shipped"] - line["returned"])
    return sell_kits.out(tx, line, item_id)


def _lines(tx: Transaction, order_id: int, item_id: int) -> list[Row]:
    """The order's lines that had this item to send, or got it in place of theirs."""
    ol, f, s = t.order_lines.c, t.fulfilment_lines.c, t.sent_instead.c
    got = select(f.line_id).join(t.sent_instead, (s.fulfilment_id == f.fulfilment_id) & (s.n == f.n))
    parts = select(t.claims.c.line_id).where(t.claims.c.order_id == order_id, t.claims.c.part_id == item_id)
    mine = or_(ol.item_id == item_id, ol.id.in_(got.where(s.item_id == item_id)), ol.id.in_(parts))
    return tx.rows(select(t.order_lines).where(ol.order_id == order_id, ol.bears_stock.is_(True), mine).order_by(ol.id))


def _happened(return_id: int, ref: str, row: Mapping[str, Any]) -> Happened:
    """An order's goods came back, or goods of nobody's order did."""
    payload = {"ref": ref, "units": row["quantity"], "condition": row["condition"]}
    if row["order_id"] is None:
        return Happened("goods.returned", row["merchant_id"], {"return": return_id}, f"return:{return_id}", {}, payload)
    ids = {"order": row["order_id"], "return": return_id}
    return Happened("order.goods_returned", row["merchant_id"], ids, f"order:{row['order_id']}", {}, payload)
