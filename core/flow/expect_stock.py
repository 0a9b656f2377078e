"""What should have lain in a warehouse when somebody looked: the books, and what goods on their way may change."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import func, or_, select

from core.errors import Unmatched
from core.flow.link_items import packs, sold_by
from core.model.stock import Condition
from core.rules.snapshots import Expected, Limits
from core.store import tables as t
from core.store.ledger import ON_HAND, CellKey, Ledger
from core.store.rows import any_of
from core.store.store import Transaction, one

TOLD = ("released", "accepted", "working", "ready", "part_shipped", "cancelling", "cannot_stop")
"""States of a fulfilment whose warehouse may know of it and may have sent more than it confirmed."""
Row = Mapping[str, Any]


class Subject(NamedTuple):
    """What a figure is about. warehouse_id: None where several are meant at once; keeper: "" where it is not said."""

    warehouse_id: int | None
    keeper: str
    sku: str
    condition: Condition


class Figure(NamedTuple):
    """Units a source showed of a subject when it was read."""

    subject: Subject
    units: int
    as_of: datetime


class Goods(NamedTuple):
    """An owner's item in a warehouse that keeps it."""

    owner_id: int
    item_id: int
    warehouse_id: int


@dataclass(frozen=True)
class Source:
    """Whoever shows stock. merchant_id: its holder, 0 for the operator; excludes: the setting `quantity_excludes`.

    refs: what it calls warehouses → our ids; places: the warehouses it runs or is the authority of.
    """

    connection_id: int
    merchant_id: int
    excludes: str
    refs: Mapping[str, int]
    places: Mapping[int, Row]

    def place(self, ref: str) -> int | None:
        """The warehouse a line names; None for no name where there are several. Raises Unmatched for an unknown one."""
        if ref:
            if ref not in self.refs:
                raise Unmatched("warehouse", ref)
            return self.refs[ref]
        return next(iter(self.places)) if len(self.places) == 1 else None

    def rules(self, warehouse_id: int | None) -> bool:
        """Whether it is the stock authority there."""
        place = self.places.get(warehouse_id or 0)
        return place is not None and authority_of(place) == self.connection_id

    def limits(self, warehouse_id: int) -> Limits:
        """The limits of a warehouse it rules."""
        row = self.places[warehouse_id]
        names = ("residual_after_s", "residual_max_units", "residual_max_percent", "snapshot_max_percent")
        return Limits(*(int(row[name]) for name in names))


def authority_of(warehouse: Row) -> int | None:
    """The one connection whose figures may be booked there: the one it was given, else its WMS."""
    found: int | None = warehouse["authority_id"] or warehouse["wms_id"]
    return found


def source(tx: Transaction, connection_id: int) -> Source:
    """The connection as a source of figures."""
    connection, li, w = one(tx, t.connections, id=connection_id), t.links.c, t.warehouses.c
    assert connection is not None
    links = tx.rows(select(li.ref, li.ours).where(li.connection_id == connection_id, li.kind == "warehouse"))
    mine = select(t.warehouses).where(or_(w.wms_id == connection_id, w.authority_id == connection_id))
    return Source(
        connection_id,
        int(connection["merchant_id"] or 0),
        str(connection["settings"].get("quantity_excludes", "locked")),
        {r["ref"]: int(r["ours"]) for r in links},
        {r["id"]: r for r in tx.rows(mine)},
    )


@dataclass
class Books:
    """The ledger's side of some figures of one source, read with a fixed number of queries."""

    source: Source
    ledger: Ledger
    _kept: list[Row] = field(default_factory=list)
    _codes: set[tuple[int, str]] = field(default_factory=set)
    _moves: list[Row] = field(default_factory=list)
    _sent: list[Row] = field(default_factory=list)
    _announced: list[Row] = field(default_factory=list)
    _packs: Mapping[int, int] = field(default_factory=dict)

    def meant(self, subject: Subject) -> list[Goods]:
        """The goods a subject stands for; [] where that cannot be told. Raises Unmatched for an unknown keeper code."""
        if subject.keeper and not any(self._near(w, subject) and c == subject.keeper for w, c in self._codes):
            raise Unmatched("keeper", subject.keeper, UNKNOWN_KEEPER.format(subject.keeper))
        fits = [k for k in self._kept if k["sku"] == subject.sku and self._near(k["warehouse_id"], subject)]
        if subject.keeper:
            fits = [k for k in fits if k["code"] == subject.keeper]
        elif len({k["id"] for k in fits}) > 1:
            return []
        return [Goods(k["owner_id"], k["id"], k["warehouse_id"]) for k in fits]

    def expected(self, goods: Collection[Goods], condition: Condition, as_of: datetime) -> Expected:
        """What should have lain there then. What was booked since may have happened before that moment or after it."""
        cells = [c for g in goods if (c := self.ledger.found(CellKey(*g, condition)))]
        ids = {cell.id for cell in cells}
        now = sum(cell.on_hand for cell in cells)
        since = [int(m["n"]) for m in self._moves if m["cell_id"] in ids and m["recorded_at"] > as_of]
        came, left = sum(n for n in since if n > 0), -sum(n for n in since if n < 0)
        inbound = sum(a["n"] for a in self._announced if _goods(a) in goods and a["created_at"] <= as_of)
        sent = self.sent(goods, condition, as_of)
        return Expected(now - came + left, now - came - sent, now + left + inbound)

    def sent(self, goods: Collection[Goods], condition: Condition, as_of: datetime) -> int:
        """Units whose fulfilments the warehouse was told of by then and has not confirmed."""
        named = [s for s in self._sent if s["condition"] == condition and _goods(s) in goods]
        return sum(int(s["n"]) for s in named if s["created_at"] <= as_of)

    def in_base_units(self, figure: Figure, goods: Sequence[Goods]) -> Figure:
        """A figure counted in the packs of the source's link to the item."""
        return figure._replace(units=figure.units * self._packs.get(goods[0].item_id, 1))

    def known(self, keeper: str, sku: str) -> list[Subject]:
        """What the authority was asked about: every cell there is of it, as a subject."""
        subjects = (
            Subject(k["warehouse_id"], k["code"], k["sku"], condition)
            for k in self._kept
            if k["sku"] == sku and self.source.rules(k["warehouse_id"]) and keeper in ("", k["code"])
            for condition in CONDITIONS
            if self.ledger.found(CellKey(k["owner_id"], k["id"], k["warehouse_id"], condition))
        )
        return list(dict.fromkeys(subjects))

    def _near(self, warehouse_id: int, subject: Subject) -> bool:
        if subject.warehouse_id is not None:
            return warehouse_id == subject.warehouse_id
        return warehouse_id in self.source.places or not self.source.places


CONDITIONS: tuple[Condition, ...] = ("ZP", "CC", "JS", "XS")
UNKNOWN_KEEPER = "no owner there is known by keeper code {!r}: set the warehouse's keeper codes, then replay"


def books(tx: Transaction, ledger: Ledger, source: Source, skus: Iterable[str], earliest: datetime) -> Books:
    """The ledger's side of what a source shows of these SKUs. earliest: when the first of the figures was read."""
    names = sorted(set(skus))
    k, i = t.keepers.c, t.items.c
    query = select(i.id, i.sku, k.owner_id, k.warehouse_id, k.code).join(t.items, i.owner_id == k.owner_id)
    kept = tx.rows(query.where(any_of(tx.conn, i.sku, names)).order_by(k.warehouse_id, i.id)) + _bought(tx, names)
    if source.merchant_id:
        sold = {r["id"] for r in sold_by(tx, source.merchant_id, names)}
        kept = [row for row in kept if row["id"] in sold]
    codes = {(r["warehouse_id"], r["code"]) for r in tx.rows(select(k.warehouse_id, k.code))}
    ledger.load(CellKey(r["owner_id"], r["id"], r["warehouse_id"], c) for r in kept for c in CONDITIONS)
    found = (ledger.found(CellKey(r["owner_id"], r["id"], r["warehouse_id"], c)) for r in kept for c in CONDITIONS)
    ids = sorted({cell.id for cell in found if cell})
    items = sorted({row["id"] for row in kept})
    moves, (leaving, coming) = _moves(tx, ids, earliest), _transfers(tx, items)
    sent, announced = _sent(tx, items) + leaving, _announced(tx, items) + coming
    return Books(source, ledger, kept, codes, moves, sent, announced, packs(tx, source.connection_id, items))


def _bought(tx: Transaction, skus: Sequence[str]) -> list[Row]:
    """Goods of somebody else's items: the title passed to whoever owns them now."""
    k, i, ce = t.keepers.c, t.items.c, t.cells.c
    query = select(i.id, i.sku, ce.owner_id, ce.warehouse_id, k.code).join(t.cells, ce.item_id == i.id)
    query = query.join(t.keepers, (k.owner_id == ce.owner_id) & (k.warehouse_id == ce.warehouse_id))
    query = query.where(any_of(tx.conn, i.sku, skus), ce.owner_id != i.owner_id)
    return tx.rows(query.distinct().order_by(ce.warehouse_id, i.id, ce.owner_id))


def _goods(row: Row) -> Goods:
    return Goods(row["owner_id"], row["item_id"], row["warehouse_id"])


def _moves(tx: Transaction, cells: Sequence[int], earliest: datetime) -> list[Row]:
    """What was booked in and out of these cells since then, per journal."""
    e, j = t.entries.c, t.journals.c
    net = func.sum(e.quantity)
    query = select(e.cell_id, e.journal_id, j.recorded_at, net.label("n")).join(t.journals, j.id == e.journal_id)
    query = query.where(any_of(tx.conn, e.cell_id, cells), e.account.in_(ON_HAND), j.recorded_at > earliest)
    return tx.rows(query.group_by(e.cell_id, e.journal_id, j.recorded_at).having(net != 0))


def _sent(tx: Transaction, items: Sequence[int]) -> list[Row]:
    f, li, c, ce = t.fulfilments.c, t.fulfilment_lines.c, t.claims.c, t.cells.c
    query = (
        select(
            ce.owner_id, ce.item_id, ce.warehouse_id, ce.condition, f.created_at, (li.quantity - li.shipped).label("n")
        )
        .join(t.fulfilments, f.id == li.fulfilment_id)
        .join(t.claims, c.id == li.claim_id)
        .join(t.cells, ce.id == c.cell_id)
    )
    still = (f.final.is_(False), f.state.in_(TOLD), li.quantity > li.shipped)
    return tx.rows(query.where(any_of(tx.conn, ce.item_id, items), *still))


def _announced(tx: Transaction, items: Sequence[int]) -> list[Row]:
    a, li = t.asns.c, t.asn_lines.c
    query = select(a.owner_id, li.item_id, a.warehouse_id, a.created_at, (li.quantity - li.received).label("n"))
    query = query.join(t.asns, a.id == li.asn_id).where(any_of(tx.conn, li.item_id, items), a.state != "closed")
    return tx.rows(query.where(li.quantity > li.received))


def _transfers(tx: Transaction, items: Sequence[int]) -> tuple[list[Row], list[Row]]:
    """What may have left for transfers unconfirmed, and what may have arrived of them."""
    tr, li = t.transfers.c, t.transfer_lines.c
    query = select(t.transfer_lines, tr.owner_id, tr.to_owner_id, tr.from_id, tr.to_id, tr.created_at)
    query = query.join(t.transfers, tr.id == li.transfer_id)
    rows = tx.rows(query.where(any_of(tx.conn, li.item_id, items), tr.state.not_in(("closed", "cancelled"))))
    leaving: list[Row] = [
        {**r, "warehouse_id": r["from_id"], "condition": "ZP", "n": max(0, r["quantity"] - r["departed"])} for r in rows
    ]
    return leaving, [{**r, "owner_id": r["to_owner_id"], "warehouse_id": r["to_id"], "n": _awaited(r)} for r in rows]


def _awaited(line: Row) -> int:
    """Units of a transfer's line that may still arrive."""
    settled = sum(line[name] for name in ("arrived", "lost", "came_back"))
    return int(max(0, max(line["quantity"], line["departed"]) - settled))
