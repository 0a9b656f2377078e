"""A newer version of an order, laid over the books as a difference of its lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from core.flow import sell_kits
from core.model import OrderLine
from core.rules import kits
from core.store import shelves
from core.store import tables as t
from core.store.store import Transaction, many

if TYPE_CHECKING:
    from core.flow.take_order import Draft

KEPT = ("short", "shipped", "returned", "fulfilled")
"""What later flows write on a line; a newer version of the order leaves it alone."""


def draft_lines(tx: Transaction, draft: Draft, listings: Mapping[str, Mapping[str, Any] | None]) -> None:
    """The order's lines as rows, and what each wants of the pool beyond the claims it has."""
    known = (
        {}
        if draft.new
        else {r["ref"]: r for r in tx.rows(select(t.order_lines).where(t.order_lines.c.order_id == draft.row["id"]))}
    )
    if not draft.new:
        draft.claims += [dict(c) for c in many(tx, t.claims, "order_id", [draft.row["id"]]) if c["open"]]
    told = {line.ref for line in draft.order.lines}
    for ref, gone in known.items():
        if ref not in told:
            draft.lines[gone["id"]] = {**gone, "known": True, "cancelled": gone["ordered"]}
    for line in draft.order.lines:
        listing = listings[line.ref]
        row = _line(tx, draft, line, listing, known.get(line.ref))
        draft.lines[row["id"]] = row
        missing = units_wanted(draft.row, row) - row["shipped"] - _claimed(draft, row["id"])
        if listing and missing > 0:
            draft.wants += sell_kits.wants(row, draft.row["merchant_id"], missing)


def units_wanted(order: Mapping[str, Any], line: Mapping[str, Any]) -> int:
    """Base units this line shall have of the pool in all: none when it was called off or is not ours to send, or where
    the counterpart of its order has them.
    """
    if (
        order["closed"]
        or not order["claims_stock"]
        or order["state"] in ("elsewhere", "cancelled")
        or order["counterpart_of"] is not None
        or not line["bears_stock"]
    ):
        return 0
    return int(line["ordered"] - line["cancelled"] - line["short"])


def lay_lines(tx: Transaction, drafts: Sequence[Draft]) -> None:
    """Write the lines, and note what the shop applied to its own figure by itself."""
    rows = [row for d in drafts for row in d.lines.values()]
    sells = _sells(tx, {d.row["connection_id"] for d in drafts})
    back = Counter[int]()
    for draft in drafts:
        back += _put_back(draft, sells[draft.row["connection_id"]])
    seen = [note for d in drafts for note in _seen(tx, d, sells[d.row["connection_id"]])]
    tx.add(t.order_lines, [{k: v for k, v in row.items() if k != "known"} for row in rows if not row["known"]])
    for row in rows:
        if row["known"]:
            tx.set(t.order_lines, row["id"], **{k: v for k, v in row.items() if k not in (*KEPT, "known", "id")})
    for draft in drafts:
        _learn_fulfilled(tx, draft)
    tx.add(t.seen, seen)
    moved = [s["listing_id"] for s in seen] + shelves.doubt_clamped(tx, back)
    tx.add(t.marks, [{"id": tx.ids.new(), "listing_id": ident} for ident in moved])
    if moved:
        tx.lanes.add("stock")


def _learn_fulfilled(tx: Transaction, draft: Draft) -> None:
    """What lies in the shop's fulfilments, whoever made them; what we told it stands in its figure already."""
    o = t.order_lines.c
    told = {line.ref: line.fulfilled for line in draft.order.lines if line.fulfilled}
    for row in draft.lines.values():
        units = told.get(row["ref"], 0) * row["pack"]
        if units > row["fulfilled"]:
            less = update(t.order_lines).where(o.id == row["id"], o.fulfilled < units)
            tx.conn.execute(less.values(fulfilled=units))


def _line(
    tx: Transaction, draft: Draft, line: OrderLine, listing: Mapping[str, Any] | None, known: Mapping[str, Any] | None
) -> dict[str, Any]:
    pack = known["pack"] if known else (listing["pack"] if listing else 1)
    return {
        "known": known is not None,
        "id": known["id"] if known else tx.ids.new(),
        "order_id": draft.row["id"],
        "ref": line.ref,
        "listing_id": listing["id"] if listing else None,
        "item_id": listing["item_id"] if listing else None,
        "sku": line.sku,
        "title": line.title[:200],
        "pack": pack,
        "recipe": known["recipe"] if known else (listing["recipe"] if listing else None),
        "lot": known["lot"] if known else _lot(line, listing),
        "bears_stock": line.bears_stock,
        "ordered": line.quantity * pack,
        "cancelled": line.cancelled * pack,
        "seen": known["seen"] if known else 0,
        **{name: known[name] if known else 0 for name in KEPT},
        "list_minor": line.list_minor,
        "seller_discount_minor": line.seller_discount_minor,
        "platform_discount_minor": line.platform_discount_minor,
        "net_minor": line.net_minor,
        "tax_minor": line.tax_minor,
        "tax_included": line.tax_included,
    }


def _lot(line: OrderLine, listing: Mapping[str, Any] | None) -> str:
    """The lot a new line pins; a kit has none."""
    return line.lot[:200] if listing and not listing["recipe"] else ""


def _claimed(draft: Draft, line_id: int) -> int:
    """Units of the line that open claims still ask for."""
    return kits.claimed([c for c in draft.claims if c["line_id"] == line_id and c["open"]])


def _seen(tx: Transaction, draft: Draft, can: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Listing units the shop took off its own figure (or put back) since we last looked, line by line.

    can: how it is told levels.
    """
    if draft.row["state"] == "elsewhere":
        return []
    notes = []
    for line in draft.lines.values():
        applied = line["seen"] + _applied(draft, line, can)
        if applied != line["seen"] and line["listing_id"]:
            units = applied - line["seen"]
            line["seen"] = applied
            note = {"id": tx.ids.new(), "listing_id": line["listing_id"], "units": units, "order_id": draft.row["id"]}
            notes.append({**note, "heard_at": tx.now})
    return notes


def _put_back(draft: Draft, can: Mapping[str, Any]) -> Counter[int]:
    """Listing → units its shop had taken off its figure for this order and put back since we last looked.

    Of an order heard of only now: those that were called off by then.
    """
    back = Counter[int]()
    if can.get("decrements_at") not in ("create", "pay") or can.get("level_means") == "on_hand":
        return back
    for line in draft.lines.values():
        gone = line["ordered"] if draft.row["closed"] else line["cancelled"]
        units = max(0, -_applied(draft, line, can)) if line["known"] else gone // line["pack"]
        if units and line["listing_id"]:
            back[line["listing_id"]] += units
    return back


def _applied(draft: Draft, line: Mapping[str, Any], can: Mapping[str, Any]) -> int:
    """The change of the shop's own figure this version stands for, by when it decrements and restocks."""
    if can.get("decrements_at", "never") == "never":
        return 0
    stands = 0 if draft.row["closed"] or not draft.row["claims_stock"] else line["ordered"] - line["cancelled"]
    if (can["decrements_at"], can.get("level_means")) == ("ship", "saleable"):
        stands = min(stands, line["fulfilled"])
    change = stands // line["pack"] - line["seen"]
    paid = draft.row["paid_at"] is not None or bool(draft.before and draft.before["may_ship"])
    restocks = can.get("level_means") == "on_hand" or ("refund" if paid else "close") in can.get("restocks_on", ())
    return int(change if change > 0 or restocks else 0)


def _sells(tx: Transaction, connections: Collection[int]) -> dict[int, Mapping[str, Any]]:
    """How each shop is told levels."""
    return {r["id"]: r["can"].get("send_stock", {}) for r in many(tx, t.connections, "id", sorted(connections))}
