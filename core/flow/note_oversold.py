"""What shops sold beyond what the pool could back: every unit once, with its cause and what was known then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, func, or_, select

from core.rules.decide import Part, Want
from core.rules.oversold import NOT_TOGETHER, Evidence, causes
from core.store import cells, outbox, shelves
from core.store import tables as t
from core.store.rows import any_of
from core.store.store import Transaction, many, since

if TYPE_CHECKING:
    from core.flow.take_order import Draft

Row = Mapping[str, Any]
LOSSES = ("adjust", "count", "snapshot", "hold", "lock", "title", "regrade", "assemble", "ship", "transfer_out")
"""Kinds of journals by which the pool has less to promise though nobody bought it."""
NEAR_S = 2
"""Seconds by which a shop's clock may be off ours, where its connector does not stay further behind it."""


def short_units(parts: Sequence[Part]) -> dict[int, int]:
    """Order line → units of it that nothing backs; of a kit, whole kits. Those of one lot no shop is told to show."""
    missing: dict[tuple[int, int, int], int] = Counter()
    for part in (it for it in parts if not it.lot):
        missing[part.line, part.item_id, part.per_kit or 1] += part.asked - part.backed
    found: dict[int, int] = {}
    for (line, _, per_kit), units in missing.items():
        found[line] = max(found.get(line, 0), -(-units // per_kit))
    return found


def paid() -> ColumnElement[bool]:
    """Whether an order was paid, as far as its shop says."""
    o = t.orders.c
    return or_(o.paid_at.is_not(None), o.may_ship.is_(True))


def total(tx: Transaction) -> int:
    """Units of paid orders that shops sold beyond what the pool could back, whatever became of the orders since."""
    o, k = t.orders.c, t.oversold.c
    query = select(func.coalesce(func.sum(k.units), 0)).join(t.orders, o.id == k.order_id)
    return int(tx.conn.execute(query.where(paid(), k.cause != NOT_TOGETHER)).scalar_one())


def note(tx: Transaction, drafts: Sequence[Draft]) -> None:
    """Keep what these orders were short of when they were taken. What their shops applied for them is noted already."""
    short = [(d, line, units) for d in drafts for line, units in d.short.items() if units]
    listed = [(d, d.lines[line], units) for d, line, units in short if d.lines[line]["listing_id"]]
    if not listed:
        return
    short_of: Counter[int] = Counter()
    for draft, line, units in listed:
        short_of[line["listing_id"]] += units - draft.apart.get(line["id"], 0)
    seen = _Seen(tx, short_of, [want for draft, *_ in listed for want in draft.wants])
    tx.add(t.oversold, [row for one in listed for row in _rows(tx, seen, *one)])


def _rows(tx: Transaction, seen: _Seen, draft: Draft, line: Row, units: int) -> list[dict[str, Any]]:
    wants = [want for want in draft.wants if want.line == line["id"]]
    order, may_sell = draft.row, all(seen.may_sell(want) for want in wants)
    apart = draft.apart.get(line["id"], 0)
    evidence, said = seen.evidence(line["listing_id"], units - apart, may_sell, seen.sold_at(draft))
    evidence, said = evidence._replace(apart=apart), {**said, "apart": apart}
    head = {"order_id": order["id"], "line_id": line["id"], "listing_id": line["listing_id"]}
    whose = {"connection_id": order["connection_id"], "merchant_id": order["merchant_id"], "item_id": line["item_id"]}
    times = {"placed_at": order["placed_at"], "recorded_at": tx.now}
    return [
        {"id": tx.ids.new(), **head, **whose, "units": n, "cause": cause, "evidence": said, **times}
        for cause, n in causes(units, evidence)
    ]


class _Seen:
    """What is known of some listings, read with a fixed number of queries. short_of: listing → units nothing backs."""

    def __init__(self, tx: Transaction, short_of: Mapping[int, int], wants: Sequence[Want]) -> None:
        self._tx = tx
        wanted = sorted({want.item_id for want in wants})
        self._owns = {(row["owner_id"], row["id"]) for row in many(tx, t.items, "id", wanted)}
        ce = t.cells.c
        had = select(ce.owner_id, ce.item_id).where(cells.moved(), any_of(tx.conn, ce.item_id, wanted))
        self._owns |= {(row["owner_id"], row["item_id"]) for row in tx.rows(had)}
        mine = many(tx, t.listings, "id", sorted(short_of))
        self._shops = {r["id"]: r for r in many(tx, t.connections, "id", sorted({r["connection_id"] for r in mine}))}
        items = sorted({row["item_id"] for row in mine})
        li, c = t.listings.c, t.connections.c
        active = select(t.listings).join(t.connections, c.id == li.connection_id).where(c.state == "active")
        rows = {r["id"]: r for r in (*mine, *tx.rows(active.where(any_of(tx.conn, li.item_id, items))))}
        self._listings = rows
        self._shelves = {r["listing_id"]: r for r in many(tx, t.shelves, "listing_id", sorted(rows))}
        self._showings = {r["listing_id"]: r for r in many(tx, t.showings, "listing_id", sorted(rows))}
        self._applied = shelves.applied(tx, rows)
        self._lagging = self._waiting()
        self._beyond: Counter[int] = Counter()
        self._ahead = {ident: max(0, self._owes(ident) - units) for ident, units in short_of.items()}

    def may_sell(self, want: Want) -> bool:
        """Whether these goods are, or have been, the merchant's own, or a contract lets it sell them."""
        return bool(want.others) or (want.owner_id, want.item_id) in self._owns

    def sold_at(self, draft: Draft) -> datetime:
        """When its shop took these units off its figure: paid, where that is when it does, else placed.

        What a newer version adds was sold no earlier than the former was heard.
        """
        order, before = draft.row, draft.before
        can = self._shops[order["connection_id"]]["can"].get("send_stock", {})
        at: datetime = (order["paid_at"] if can.get("decrements_at") == "pay" else None) or order["placed_at"]
        return max(at, before["changed_at"]) if before and before["claims_stock"] else at

    def _shown_then(self, listing_id: int, units: int, sold_at: datetime) -> int:
        """Of so many units more beyond its figure, those its shop still showed when it sold them, by what clocks tell.

        They stand in the order they were heard in, what is backed first: as many were shown as it was lowered by.
        """
        place = self._ahead[listing_id] + self._beyond[listing_id]
        shelf, listing = self._shelves.get(listing_id), self._listings[listing_id]
        if shelf is None or shelf["lowered_at"] is None:
            return 0
        near_s = max(NEAR_S, self._shops[listing["connection_id"]]["can"].get("fetch_orders", {}).get("behind_s", 0))
        if sold_at > shelf["lowered_at"] + timedelta(seconds=near_s):
            return 0
        return int(max(0, min(units, shelf["lowered_by"] * listing["pack"] - place)))

    def evidence(
        self, listing_id: int, units: int, may_sell: bool, sold_at: datetime
    ) -> tuple[Evidence, dict[str, Any]]:
        """What is known of a listing, as the rule takes it and as it is kept."""
        listing, shelf = self._listings[listing_id], self._shelves.get(listing_id)
        told, told_at = (shelf["told"], shelf["told_at"]) if shelf else (None, None)
        if shelf and shelf["first_told_at"] and sold_at < shelf["first_told_at"]:
            told = None
        expected = self._expected(listing_id)
        beyond = min(units, max(0, self._owes(listing_id) - self._beyond[listing_id]))
        early = self._shown_then(listing_id, beyond, sold_at)
        self._beyond[listing_id] += beyond
        showing = self._showings.get(listing_id)
        fresh = showing is not None and (told_at is None or showing["read_at"] >= told_at)
        shown = showing["shown"] if showing is not None and fresh else None
        others = [
            row for row in self._listings.values() if row["item_id"] == listing["item_id"] and row["id"] != listing_id
        ]
        elsewhere = sum(max(0, self._expected(row["id"]) or 0) * row["pack"] for row in others)
        lagging = listing_id in self._lagging or listing["item_id"] in self._lagging
        lost = self._lost(listing["item_id"], told_at) if told_at else 0
        found = Evidence(told, beyond, shown, lagging, lost, elsewhere, may_sell, early)
        times = {"sold_at": sold_at, "told_at": told_at, "lowered_at": shelf["lowered_at"] if shelf else None}
        kept = {"told": told, "expected": expected, "shown": shown, "lagging": lagging}
        kept |= {name: when.astimezone(UTC).isoformat() if when else None for name, when in times.items()}
        return found, {**kept, "lost": lost, "elsewhere": elsewhere, "listings": len(others)}

    def _expected(self, listing_id: int) -> int | None:
        return shelves.expected(self._shelves.get(listing_id), self._applied.get(listing_id, 0))

    def _owes(self, listing_id: int) -> int:
        """Base units sold beyond what its shop was last told."""
        return max(0, -(self._expected(listing_id) or 0) * int(self._listings[listing_id]["pack"]))

    def _waiting(self) -> set[int]:
        """Listings and items of which a level waits to be said, or is on its way."""
        o = t.outbox.c
        query = select(o.payload).where(o.ability == "send_stock", o.state.in_(outbox.OPEN))
        told = {ident for row in self._tx.rows(query) for ident in row["payload"]["listings"]}
        moved = {item for row in self._tx.rows(select(t.marks.c["items"])) for item in row["items"] or ()}
        return told | moved

    def _lost(self, item_id: int, told_at: datetime) -> int:
        """Good units that went since then, other than to buyers."""
        e, j, ce = t.entries.c, t.journals.c, t.cells.c
        query = select(func.coalesce(-func.sum(e.quantity), 0)).join(t.journals, j.id == e.journal_id)
        query = query.join(t.cells, ce.id == e.cell_id).where(ce.item_id == item_id, ce.condition == "ZP")
        query = query.where(e.journal_id > since(told_at), e.account.in_(("free", "suspense")), e.quantity < 0)
        return int(self._tx.conn.execute(query.where(j.kind.in_(LOSSES))).scalar_one())
