"""Orders as shops tell them: taken, changed, called off, in batches, one transaction each.

An order a shop says exists is a fact and is never refused; what the pool cannot back stays short. A newer version is
applied as a difference; an older one changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select, tuple_

from core.errors import Unmatched
from core.flow import (
    cancel_order,
    change_order,
    draw_locked,
    fill_claim,
    follow_reservation,
    keep_promises,
    note_oversold,
    pair_orders,
    pin_lots,
    release_order,
    resell,
    sell_kits,
    tell_counterparts,
    use_rights,
)
from core.flow.fill_claim import Journal
from core.flow.hear import Spoken, fresh
from core.flow.tell import Happened, tell
from core.model import Order
from core.rules.decide import Left, Part, Request, Rights, Want, decide, together
from core.store import claims, contracts, inbox
from core.store import tables as t
from core.store.ledger import Cell, CellKey, Entry, Ledger
from core.store.parties import Told, keep_parties
from core.store.pools import pools
from core.store.store import Transaction, many

GONE = ("shipped", "delivered")
OURS = ("id", "merchant_id", "state", "created_at")
"""What a newer version of an order never overwrites."""


NO_POOL = "this shop sells from no warehouse: give its connection a pool, then replay"


@dataclass
class Draft:
    """One order on its way into the books: its row, its lines, and what it wants of the pool beyond what it has."""

    order: Order
    row: dict[str, Any]
    new: bool
    before: Mapping[str, Any] | None
    lines: dict[int, dict[str, Any]] = field(default_factory=dict)
    claims: list[dict[str, Any]] = field(default_factory=list)
    drawn: list[dict[str, Any]] = field(default_factory=list)
    """Those of its claims that are new and on units locks kept for its shop."""
    wants: list[Want] = field(default_factory=list)
    follows: bool = False
    """Another order of its purchase claims for it, from this version on."""
    short: dict[int, int] = field(default_factory=dict)
    """Line → units of it that nothing backed."""
    apart: dict[int, int] = field(default_factory=dict)
    """Line → units of those that its pool has all the same, but not where the order may have them."""


def take_orders(tx: Transaction, batch: Sequence[Spoken]) -> None:
    """Book the newest version of each order in the batch and settle its inbox rows; unknown listings park theirs."""
    ledger = Ledger(tx)
    told, stale = _newest(fresh(tx, batch))
    standing = _standing(tx, told)
    listings = _listings(tx, told)
    sold_from = pools(tx, {s.connection_id for s in told})
    wanted: list[tuple[Spoken, Mapping[str, Any] | None]] = []
    settled = list(stale)
    for spoken in told:
        order = _order(spoken)
        before = standing.get((spoken.connection_id, order.ref))
        unknown = _unknown(order, spoken.connection_id, listings)
        if before and before["version"] > order.version:
            settled.append(spoken.inbox_id)
        elif unknown:
            inbox.park(tx, spoken.inbox_id, Unmatched("listing", unknown))
        elif spoken.connection_id not in sold_from:
            inbox.park(tx, spoken.inbox_id, Unmatched("pool", str(spoken.connection_id), NO_POOL))
        else:
            wanted.append((spoken, before))
            settled.append(spoken.inbox_id)
    drafts = _drafts(tx, wanted, listings)
    pair_orders.link(tx, drafts)
    _book(tx, ledger, drafts)
    inbox.settle(tx, settled)


def _book(tx: Transaction, ledger: Ledger, drafts: Sequence[Draft]) -> None:
    tx.add(t.orders, [d.row for d in drafts if d.new])
    for draft in drafts:
        if not draft.new:
            tx.set(t.orders, draft.row["id"], **{k: v for k, v in draft.row.items() if k not in OURS})
    change_order.lay_lines(tx, drafts)
    tell_counterparts.began(tx, [d.row for d in drafts if d.follows])
    _follow(tx, ledger, drafts)
    draw_locked.draw(tx, ledger, [d for d in drafts if d.wants])
    back(tx, ledger, [d for d in drafts if d.wants])
    note_oversold.note(tx, [d for d in drafts if d.short])
    tx.add(t.claims, [claim for d in drafts for claim in d.drawn])
    for draft in drafts:
        cancel_order.give_back(tx, ledger, draft.row, list(draft.lines.values()), draft.claims)
    ledger.flush()
    tell(tx, [h for d in drafts if not d.row["closed"] and d.row["status"] not in GONE for h in _news(d)])
    release_order.release(tx, [d.row["id"] for d in drafts])
    pin_lots.ask(tx, drafts)
    keep_promises.after_moves(tx, ledger)


def _follow(tx: Transaction, ledger: Ledger, drafts: Sequence[Draft]) -> None:
    """What was reserved for these orders is theirs; the rest of their wishes is decided like any other."""
    promised = follow_reservation.promised(tx, [d.row for d in drafts])
    for draft in (d for d in drafts if d.row["id"] in promised):
        for subject in promised[draft.row["id"]]:
            made, draft.wants = follow_reservation.take_over(tx, ledger, subject, draft.row, draft.wants)
            tx.add(t.claims, made)
            draft.claims += made


def back(tx: Transaction, ledger: Ledger, drafts: Sequence[Draft]) -> None:
    """Decide all wishes over one set of balances, and book what is backed as claims."""
    sold_from = pools(tx, {d.row["connection_id"] for d in drafts})
    _name_sources(tx, drafts)
    merchants = many(tx, t.merchants, "id", sorted({d.row["merchant_id"] for d in drafts}))
    may_part = {m["id"]: m["part_backing"] for m in merchants}
    requests = [
        Request(d.wants, sold_from.get(d.row["connection_id"], ()), may_part=may_part[d.row["merchant_id"]])
        for d in drafts
    ]
    keys = {CellKey(owner, w.item_id, h) for r in requests for w in r.wants for owner in w.owners for h in r.warehouses}
    ledger.load(keys)
    balances = {key[:3]: cell.promisable for key in keys if (cell := ledger.found(key))}
    rights, rooms = _rights(tx, ledger, requests), pin_lots.wanted(tx, ledger, requests)
    made, passing = [], []
    decided = decide(balances, requests, rights, rooms)
    for draft, parts in zip(drafts, decided, strict=True):
        draft.short = note_oversold.short_units(parts)
    _lay_apart(Left(balances, rights, rooms), drafts, requests, decided)
    for draft, parts in zip(drafts, decided, strict=True):
        resell.ask(tx, draft.row, parts)
        soft = not draft.order.may_ship
        places = [(part, _cell(ledger, part)) for part in parts]
        seats = [(part, cell, fill_claim.seat(tx, ledger, cell, part.contract_id)) for part, cell in places]
        mine = [claims.of_order(tx, draft.row["id"], seat.id, part, soft) for part, _, seat in seats]
        _reserve(tx, ledger, draft, mine, [(part, cell) for part, cell, seat in seats if seat is cell])
        passing += [
            (part, claim)
            for (part, cell, seat), claim in zip(seats, mine, strict=True)
            if seat is not cell and part.backed
        ]
        mine = [claim for claim in mine if not draw_locked.joins(draft.drawn, claim)]
        draft.claims += mine
        made += mine
    tx.add(t.claims, made)
    for part, claim in sorted(passing, key=lambda one: not one[0].lot):
        journal = Journal(f"reserve:{claim['id']}", "reserve", f"order:{claim['order_id']}")
        fill_claim.fill(tx, ledger, {**claim, "lot": part.lot}, part.backed, journal)


def _lay_apart(
    left: Left, drafts: Sequence[Draft], requests: Sequence[Request], decided: Sequence[Sequence[Part]]
) -> None:
    """Of what nothing backs, what the pool has left once all are decided; no unit of it for two lines."""
    short = [(d, r) for d, r in zip(drafts, requests, strict=True) if any(d.short.values())]
    for part in (part for parts in decided for part in parts) if short else ():
        left.take(part)
    spent = Counter[int]()
    for draft, request in short:
        for wants in together(draft.wants):
            there = {w: left.anywhere(w, request.warehouses) - spent[w.item_id] for w in wants}
            whole = min(max(0, n) // (w.per_kit or 1) for w, n in there.items())
            line = wants[0].line
            units = min(draft.short.get(line, 0), whole)
            draft.apart[line] = units
            spent.update({w.item_id: units * (w.per_kit or 1) for w in wants})


def _name_sources(tx: Transaction, drafts: Sequence[Draft]) -> None:
    """Whose goods each wish may be backed by: the merchant's own first, then others' under its contracts."""
    found = contracts.of_orders(tx, [d.row for d in drafts], {w.item_id for d in drafts for w in d.wants})
    for draft in drafts if found else ():
        draft.wants = [w._replace(others=found.get((draft.row["id"], w.item_id), ())) for w in draft.wants]


def _rights(tx: Transaction, ledger: Ledger, requests: Sequence[Request]) -> Rights:
    """What is left of the contracts these wishes may be backed under."""
    wants = [w for r in requests for w in r.wants if w.others]
    named = {source.contract_id for want in wants for source in want.others}
    return use_rights.left(tx, ledger, named, {want.item_id for want in wants})


def _cell(ledger: Ledger, part: Part) -> Cell:
    return ledger.cell(CellKey(part.owner_id, part.item_id, part.warehouse_id))


def _reserve(
    tx: Transaction, ledger: Ledger, draft: Draft, made: Sequence[dict[str, Any]], parts: Sequence[tuple[Part, Cell]]
) -> None:
    """What backs an order where it lies, in one journal."""
    sides = (("free", -1), ("reserved", 1))
    entries = [Entry(cell, name, sign * part.backed) for part, cell in parts for name, sign in sides if part.backed]
    for part, _ in parts:
        use_rights.held(tx, ledger, part.contract_id, part.item_id, part.backed)
    if entries:
        key, cause = f"reserve:{draft.row['id']}:{made[0]['id']}", f"order:{draft.row['id']}"
        ledger.book(key, "reserve", cause, entries, draft.order.placed_at)


def _order(spoken: Spoken) -> Order:
    assert isinstance(spoken.noun, Order)
    return spoken.noun


def _newest(batch: Sequence[Spoken]) -> tuple[list[Spoken], list[int]]:
    """The newest of each order (of equal versions the one heard last), and the inbox ids of the others."""
    newest: dict[tuple[int, str], Spoken] = {}
    stale = []
    for spoken in batch:
        key = (spoken.connection_id, _order(spoken).ref)
        other = newest.get(key)
        if other is None or _order(other).version <= _order(spoken).version:
            newest[key] = spoken
            stale += [other.inbox_id] if other else []
        else:
            stale.append(spoken.inbox_id)
    return list(newest.values()), stale


def _standing(tx: Transaction, told: Sequence[Spoken]) -> dict[tuple[int, str], Mapping[str, Any]]:
    o = t.orders.c
    keys = [(s.connection_id, _order(s).ref) for s in told]
    rows = tx.rows(select(t.orders).where(tuple_(o.connection_id, o.ref).in_(keys))) if keys else []
    return {(r["connection_id"], r["ref"]): r for r in rows}


def _listings(tx: Transaction, told: Sequence[Spoken]) -> dict[tuple[int, str], Mapping[str, Any]]:
    li, it = t.listings.c, t.items.c
    keys = sorted({(s.connection_id, line.listing) for s in told for line in _order(s).lines})
    if not keys:
        return {}
    query = (
        select(t.listings, it.is_kit)
        .join(t.items, it.id == li.item_id)
        .where(tuple_(li.connection_id, li.ref).in_(keys))
    )
    return {(r["connection_id"], r["ref"]): r for r in sell_kits.with_recipes(tx, tx.rows(query))}


def _unknown(order: Order, connection_id: int, listings: Mapping[tuple[int, str], Any]) -> str:
    return next(
        (line.listing for line in order.lines if line.bears_stock and (connection_id, line.listing) not in listings), ""
    )


def _drafts(
    tx: Transaction,
    wanted: Sequence[tuple[Spoken, Mapping[str, Any] | None]],
    listings: Mapping[tuple[int, str], Mapping[str, Any]],
) -> list[Draft]:
    told = [Told(spoken.merchant_id, _order(spoken), was["party_id"] if was else None) for spoken, was in wanted]
    parties = keep_parties(tx, told)
    return [_draft(tx, *one, party_id, listings) for one, party_id in zip(wanted, parties, strict=True)]


def _draft(
    tx: Transaction,
    spoken: Spoken,
    before: Mapping[str, Any] | None,
    party_id: int | None,
    listings: Mapping[tuple[int, str], Mapping[str, Any]],
) -> Draft:
    order = _order(spoken)
    row = {
        "id": before["id"] if before else tx.ids.new(),
        "connection_id": spoken.connection_id,
        "merchant_id": before["merchant_id"] if before else spoken.merchant_id,
        "ref": order.ref,
        "version": order.version,
        "status": order.status,
        "state": before["state"] if before else ("elsewhere" if order.status in GONE else "taken"),
        "claims_stock": order.claims_stock,
        "may_ship": order.may_ship,
        "closed": order.closed,
        "holds": list(order.holds),
        "counterpart_ref": order.counterpart_ref or (before["counterpart_ref"] if before else ""),
        "counterpart_of": before["counterpart_of"] if before else None,
        "distributor": order.distributor,
        "resale": order.resale,
        "placed_at": order.placed_at,
        "paid_at": order.paid_at,
        "currency": order.currency,
        "freight_minor": order.freight_minor,
        "paid_minor": order.paid_minor,
        "party_id": party_id,
        "created_at": before["created_at"] if before else tx.now,
        "changed_at": tx.now,
    }
    draft = Draft(order, row, before is None, before)
    change_order.draft_lines(
        tx, draft, {line.ref: listings.get((spoken.connection_id, line.listing)) for line in order.lines}
    )
    return draft


def _news(draft: Draft) -> list[Happened]:
    """What this version brings: the order itself, and that it is paid (an unpaid one may yet close)."""
    paid = draft.order.may_ship and not (draft.before and draft.before["may_ship"])
    types = [*(["order.taken"] if draft.new else []), *(["order.paid"] if paid else [])]
    row, shop = draft.row, {"shop": draft.row["connection_id"]}
    about = ({"order": row["id"]}, f"order:{row['id']}", shop, {"ref": row["ref"]})
    return [Happened(type_, row["merchant_id"], *about) for type_ in types]
