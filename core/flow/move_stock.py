"""Goods that come and go without an order: announced, received, counted, changed, compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import select, update

from core.errors import Contradicted, Refused, Unmatched, YipanError
from core.flow import carry_transfer, inspect_goods, keep_promises, name_lots, regrade_goods
from core.flow.count_stock import difference
from core.flow.hear import Spoken, Units, fresh, repeated
from core.flow.tell import Happened, tell
from core.model import Adjustment, AdjustmentRow, Asn, AsnLine, Receipt, ReceivedLine
from core.rules import posting
from core.store import inbox
from core.store import tables as t
from core.store.keepers import linked_warehouse, owned
from core.store.ledger import CellKey, Entry, Ledger, LotMove
from core.store.store import Transaction, many, one

ANNOUNCE = 10**12
K = TypeVar("K")


class Announced(NamedTuple):
    """Our id of an announcement that stands. repeated: it was told before."""

    id: int
    repeated: bool = False


def announce(
    tx: Transaction,
    owner_id: int,
    warehouse_id: int,
    lines: Sequence[tuple[int, int]],
    ref: str = "",
    inspect: bool = False,
) -> Announced:
    """Goods are on their way: (item id, base units) each. The warehouse is told; said again under its ref, it stands.

    inspect: what is good is held on arrival until a person releases it.
    Raises Refused for a quantity below 1, an owner the warehouse has no keeper code for, or a ref of the owner's that
    stands for something else.
    """
    ledger = Ledger(tx)
    known = one(tx, t.asns, owner_id=owner_id, ref=ref) if ref else None
    if known:
        _refuse_other(tx, known, (warehouse_id, inspect, _summed(lines)))
        return Announced(known["id"], repeated=True)
    keeper = one(tx, t.keepers, owner_id=owner_id, warehouse_id=warehouse_id)
    warehouse = one(tx, t.warehouses, id=warehouse_id)
    if keeper is None or warehouse is None:
        raise Refused("this warehouse has no keeper code for that owner: add it first")
    if not lines or any(not 0 < units <= ANNOUNCE for _, units in lines):
        raise Refused("every announced quantity must be a whole number from 1")
    if any(row["is_kit"] for row in many(tx, t.items, "id", [item for item, _ in lines])):
        raise Refused("a virtual kit has no stock of its own: announce its parts")
    ident = tx.ids.new()
    ours = f"A{ident}"
    number = ours if not ref or one(tx, t.asns, number=ref) else ref
    head = {"id": ident, "ref": ref or ours, "number": number, "owner_id": owner_id, "warehouse_id": warehouse_id}
    said = {"keeper": keeper["code"], "state": "announced", "inspect": inspect}
    tx.add(t.asns, [{**head, **said, "created_at": tx.now}])
    _expect(tx, ledger, head, _summed(lines))
    wms = {"wms": warehouse["wms_id"]}
    tell(tx, [Happened("asn.announced", owner_id, {"asn": ident}, f"asn:{ident}", wms, {"ref": head["ref"]})])
    return Announced(ident)


def _refuse_other(tx: Transaction, known: Mapping[str, Any], told: tuple[int, bool, dict[int, int]]) -> None:
    """told: warehouse, whether good units are held on arrival, units by item."""
    units = {line["item_id"]: line["quantity"] for line in many(tx, t.asn_lines, "asn_id", [known["id"]])}
    if (known["warehouse_id"], known["inspect"], units) != told:
        raise Refused(f"{known['ref']!r} stands for other announced goods already: choose another ref")


def _expect(tx: Transaction, ledger: Ledger, head: Mapping[str, Any], units: Mapping[int, int]) -> None:
    """Keep the lines of an announcement and book them as inbound."""
    skus = {row["id"]: row["sku"] for row in many(tx, t.items, "id", list(units))}
    lines = [
        {"asn_id": head["id"], "n": n, "item_id": item, "sku": skus[item], "quantity": quantity, "received": 0}
        for n, (item, quantity) in enumerate(units.items(), 1)
    ]
    tx.add(t.asn_lines, lines)
    keys = {item: CellKey(head["owner_id"], item, head["warehouse_id"]) for item in units}
    entries = [e for item, quantity in units.items() for e in _announced(ledger, keys[item], quantity)]
    ledger.book(f"asn:{head['id']}", "announce", f"asn:{head['id']}", entries)
    ledger.flush()


def _summed(lines: Iterable[tuple[K, int]]) -> dict[K, int]:
    """Units per key; lines that say the same key are added."""
    units: dict[K, int] = {}
    for key, n in lines:
        units[key] = units.get(key, 0) + n
    return units


def _announced(ledger: Ledger, key: CellKey, units: int) -> list[Entry]:
    return [Entry(ledger.cell(key), "world", -units), Entry(ledger.cell(key), "inbound", units)]


def asn(tx: Transaction, asn_id: int) -> Asn | None:
    """What the warehouse is told; None when it is closed."""
    row = one(tx, t.asns, id=asn_id)
    if row is None or row["state"] == "closed":
        return None
    lines = many(tx, t.asn_lines, "asn_id", [asn_id])
    return Asn(
        ref=row["number"],
        warehouse=str(row["warehouse_id"]),
        keeper=row["keeper"],
        created_at=row["created_at"],
        lines=tuple(AsnLine(line=str(line["n"]), sku=line["sku"], quantity=line["quantity"]) for line in lines),
    )


def receive(tx: Transaction, batch: Sequence[Spoken]) -> None:
    """Book receipts: increments; a final one closes what was announced and did not come."""
    ledger = Ledger(tx)
    for spoken in fresh(tx, batch):
        receipt = spoken.noun
        assert isinstance(receipt, Receipt)
        row = _asn_of(tx, receipt.asn, spoken.connection_id)
        error: YipanError | None
        if row is None:
            error = carry_transfer.arrival_told(tx, ledger, spoken, receipt)
        elif unknown := _unknown_sku(tx, row, receipt.lines):
            error = Unmatched("item", unknown)
        else:
            error = _receive(tx, ledger, spoken, receipt, row)
        if error:
            inbox.park(tx, spoken.inbox_id, error)
        else:
            inbox.settle(tx, [spoken.inbox_id])
    keep_promises.after_moves(tx, ledger)


def _asn_of(tx: Transaction, ref: str, connection_id: int) -> Mapping[str, Any] | None:
    a, w = t.asns, t.warehouses
    return tx.row(select(a).join(w, w.c.id == a.c.warehouse_id).where(a.c.number == ref, w.c.wms_id == connection_id))


def _unknown_sku(tx: Transaction, asn_row: Mapping[str, Any], lines: Sequence[ReceivedLine]) -> str:
    known = _items(tx, asn_row, [line.sku for line in lines])
    return next((line.sku for line in lines if line.sku not in known), "")


def _items(tx: Transaction, asn_row: Mapping[str, Any], skus: Sequence[str]) -> dict[str, int]:
    """SKU → item: as it was announced, else the owner's own."""
    i = t.items.c
    own = select(i.sku, i.id).where(i.owner_id == asn_row["owner_id"], i.sku.in_(list(skus)), i.is_kit.is_(False))
    announced = {row["sku"]: row["item_id"] for row in many(tx, t.asn_lines, "asn_id", [asn_row["id"]])}
    return {row["sku"]: row["id"] for row in tx.rows(own)} | {sku: announced[sku] for sku in skus if sku in announced}


def _receive(
    tx: Transaction, ledger: Ledger, spoken: Spoken, receipt: Receipt, row: Mapping[str, Any]
) -> Contradicted | None:
    """Book it, or say why it cannot be understood."""
    items = _items(tx, row, [line.sku for line in receipt.lines])
    units: Units = _summed(((items[line.sku], line.condition), line.quantity) for line in receipt.lines)
    by_item = _summed((item, n) for (item, _), n in units.items())
    key = f"receipt:{spoken.connection_id}:{receipt.event_id or f'{receipt.asn}:only'}"
    if ledger.known([key]):
        ends = receipt.final and row["state"] != "closed"
        return repeated(tx, ledger, key, receipt.event_id or receipt.asn, units, ends)
    announced = _announced_still(tx, ledger, row)
    entries: list[Entry] = []
    for (item, condition), n in units.items():
        entries += _arrive(ledger, row, item, condition, n, announced.get(item, 0))
        announced[item] = max(0, announced.get(item, 0) - n)
    _note_received(tx, row["id"], by_item)
    lots = [move for line in receipt.lines for move in _lots(ledger, row, items[line.sku], line)]
    ledger.book(key, "receive", f"inbox:{spoken.inbox_id}", _in_order(entries), receipt.happened_at, lots)
    for line in (it for it in receipt.lines if row["inspect"] and it.condition == "ZP"):
        good = ledger.cell(CellKey(row["owner_id"], items[line.sku], row["warehouse_id"]))
        inspect_goods.hold(tx, ledger, row, good, line)
    if receipt.final:
        _close(tx, ledger, row, announced)
    return None


def _note_received(tx: Transaction, asn_id: int, units: Mapping[int, int]) -> None:
    a = t.asn_lines.c
    for item, n in units.items():
        mine = (a.asn_id == asn_id) & (a.item_id == item)
        tx.conn.execute(update(t.asn_lines).where(mine).values(received=a.received + n))


def _announced_still(tx: Transaction, ledger: Ledger, row: Mapping[str, Any]) -> dict[int, int]:
    """Item → units of the ASN that are still expected; none once it is closed."""
    lines = many(tx, t.asn_lines, "asn_id", [row["id"]]) if row["state"] != "closed" else []
    cells = {i["item_id"]: ledger.cell(CellKey(row["owner_id"], i["item_id"], row["warehouse_id"])) for i in lines}
    return {i["item_id"]: max(0, min(i["quantity"] - i["received"], cells[i["item_id"]].inbound)) for i in lines}


def _arrive(
    ledger: Ledger, row: Mapping[str, Any], item: int, condition: str, units: int, announced: int
) -> list[Entry]:
    good = ledger.cell(CellKey(row["owner_id"], item, row["warehouse_id"]))
    cell = ledger.cell(CellKey(row["owner_id"], item, row["warehouse_id"], condition))
    moves = posting.receipt(units, announced=announced, suspense=cell.suspense, to=cell.account)
    return [Entry(good if account == "inbound" else cell, account, n) for account, n in moves]


def _lots(ledger: Ledger, row: Mapping[str, Any], item: int, line: ReceivedLine) -> list[LotMove]:
    return name_lots.moves(ledger.cell(CellKey(row["owner_id"], item, row["warehouse_id"], line.condition)), line.lots)


def _in_order(entries: Sequence[Entry]) -> list[Entry]:
    """Inflows first, so that no guarded balance dips on the way."""
    return sorted(entries, key=lambda e: -e.quantity)


def _close(tx: Transaction, ledger: Ledger, row: Mapping[str, Any], missing: Mapping[int, int]) -> None:
    """What was announced and will not come is expected no longer."""
    if row["state"] == "closed":
        return
    entries = []
    for item, units in missing.items():
        cell = ledger.cell(CellKey(row["owner_id"], item, row["warehouse_id"]))
        entries += [Entry(cell, "inbound", -units), Entry(cell, "world", units)]
    ledger.book(f"asn-close:{row['id']}", "close", f"asn:{row['id']}", entries)
    tx.set(t.asns, row["id"], state="closed")
    ids = {"asn": row["id"]}
    tell(tx, [Happened("asn.closed", row["owner_id"], ids, f"asn:{row['id']}", {}, {"ref": row["ref"]})])


def unback(tx: Transaction, cell_id: int) -> int:
    """A person gives up promises for goods that are missing from a cell; returns the units (`keep_promises.take_back`).

    What became short may find its units elsewhere, where its merchant's policy is to look.
    """
    ledger = Ledger(tx)
    cell = ledger.cells_by_id([cell_id])[cell_id]
    units = keep_promises.take_back(tx, ledger, cell)
    if units:
        ledger.risen.add(cell.key.item_id)
    keep_promises.after_moves(tx, ledger)
    return units


def adjust(tx: Transaction, batch: Sequence[Spoken]) -> None:
    """Book signed differences (counts, changes). A row that names a document of ours only confirms it."""
    ledger = Ledger(tx)
    for spoken in fresh(tx, batch):
        assert isinstance(spoken.noun, Adjustment)
        told = spoken.noun
        pairs = regrade_goods.pairs(told.rows)
        single = [(n, row) for n, row in enumerate(told.rows) if not any(n in pair for pair in pairs)]
        unknown = [
            *(e for pair in pairs if (e := regrade_goods.regrade(tx, ledger, spoken, told, pair))),
            *(e for n, row in single if (e := _adjust(tx, ledger, spoken, n, row, told.happened_at))),
        ]
        if unknown:
            inbox.park(tx, spoken.inbox_id, unknown[0])
        else:
            inbox.settle(tx, [spoken.inbox_id])
    keep_promises.after_moves(tx, ledger)


def _adjust(
    tx: Transaction, ledger: Ledger, spoken: Spoken, n: int, row: AdjustmentRow, happened_at: datetime | None
) -> Unmatched | Contradicted | None:
    """Book one row, or say why it cannot be understood (the other rows are booked all the same)."""
    if row.order_ref and _ours(tx, row.order_ref, spoken.connection_id):
        return None
    warehouse = linked_warehouse(tx, spoken.connection_id, row.warehouse)
    if warehouse is None:
        return Unmatched("warehouse", row.warehouse)
    found = owned(tx, warehouse, row.keeper, row.sku)
    if found is None:
        return Unmatched("item", row.sku)
    key = f"adjust:{spoken.connection_id}:{row.event_id}:{row.sku}:{row.condition}:{n}"
    if ledger.known([key]):
        return repeated(tx, ledger, key, row.event_id, {(found[1], row.condition): row.quantity})
    cell = ledger.cell(CellKey(found[0], found[1], warehouse, row.condition))
    at = row.happened_at or happened_at
    lots = name_lots.moves(cell, row.lots)
    ledger.book(key, "adjust", f"inbox:{spoken.inbox_id}", difference(cell, row.quantity), at, lots)
    return None


def _ours(tx: Transaction, ref: str, connection_id: int) -> bool:
    f, w, a = t.fulfilments, t.warehouses, t.asns
    fulfilment = select(f.c.id).join(w, w.c.id == f.c.warehouse_id).where(f.c.ref == ref, w.c.wms_id == connection_id)
    announced = select(a.c.id).join(w, w.c.id == a.c.warehouse_id).where(a.c.number == ref, w.c.wms_id == connection_id)
    known = tx.row(fulfilment) is not None or tx.row(announced) is not None
    return known or carry_transfer.named_by(tx, ref, connection_id)
