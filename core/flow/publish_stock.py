"""Stock levels on their way to shops: marks become write units, a unit's levels are computed when it is claimed.

`told` is the target our last confirmed write stood for, `seen` what the shop applied itself since (LEDGER §6).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sqlalchemy import and_, case, delete, func, select

from core.flow import saleable, sell_kits, stale_sources, stop_levels
from core.flow.board import Board, Some
from core.flow.stop_levels import Change, Stop, Unit
from core.model import Level
from core.rules import levels
from core.rules.levels import Form, Shelf
from core.store import outbox, shelves
from core.store import tables as t
from core.store.outbox import Intent
from core.store.rows import any_of
from core.store.store import Transaction, many

MARKS_AT_ONCE, KEY = 2000, "level:"
WireForm = Literal["set", "compare", "delta"]


@dataclass(frozen=True)
class Said:
    """What one write stands for, remembered before the first byte: levels to send, and what will have been told.

    told: listing id → target; seen, doubts: listing id → units seen, and doubts raised, in all when it was computed.
    reads: look at the shop first. unsure: a lost write may yet arrive after this one, so what the shop shows has to be
    read back.
    swept: those of them that were let pass though they sweep.
    """

    levels: tuple[Level, ...]
    told: dict[str, int]
    seen: dict[str, int]
    expected: dict[str, int]
    reads: bool
    unsure: bool = False
    doubts: dict[str, int] = field(default_factory=dict)
    swept: tuple[int, ...] = ()

    @property
    def keyed(self) -> bool:
        """Whether a repeat is recognised by its key: a difference is, an absolute figure would overwrite."""
        return all(level.form == "delta" for level in self.levels)

    @property
    def compares(self) -> bool:
        """Whether it is only taken where the shop shows what is expected."""
        return any(level.form == "compare" for level in self.levels)

    def without(self, listings: Collection[int]) -> Said:
        """What it stands for if these were not taken."""
        told = {ident: units for ident, units in self.told.items() if int(ident) not in listings}
        return replace(self, told=told, swept=tuple(ident for ident in self.swept if ident not in listings))

    def as_json(self) -> dict[str, Any]:
        """As kept with the intent."""
        return {**vars(self), "levels": [level.model_dump() for level in self.levels]}

    @staticmethod
    def from_json(kept: Mapping[str, Any]) -> Said:
        """As it was kept."""
        levels = tuple(Level(**level) for level in kept["levels"])
        return Said(**{**kept, "levels": levels, "swept": tuple(kept.get("swept", ()))})


def take_marks(tx: Transaction, stop: Stop = Stop(), board: Board | None = None) -> int:  # noqa: B008
    """Turn marks into write units that wait to be said; returns how many marks there were.

    board: the process's own, kept from run to run. A listing that shows already what it may is left out,
    unless a write of its unit is under way.
    """
    marks = tx.rows(select(t.marks).order_by(t.marks.c.id).limit(MARKS_AT_ONCE))
    if not marks:
        return 0
    tx.conn.execute(delete(t.marks).where(t.marks.c.id.in_([m["id"] for m in marks])))
    board = board or Board()
    board.look(tx)
    named = {m["listing_id"] for m in marks if m["listing_id"]}
    found = board.about(sell_kits.selling(tx, sorted({item for m in marks for item in m["items"] or ()})), named)
    looked_at = (ident for some in found for ident in some.ids.tolist())
    passing = stop_levels.let_pass(tx, looked_at, _changes(tx, board, found), stop)
    units: dict[Unit, list[int]] = {}
    for change in passing:
        units.setdefault(change.unit, []).append(change.listing_id)
    _want(tx, units, marks[0]["id"], {some.of.connection_id: some.of.can["send_stock"]["lane"] for some in found})
    return len(marks)


def _changes(tx: Transaction, board: Board, found: Sequence[Some]) -> list[Change]:
    """What differs from what its shop shows. What is under way is read first: else it could end unseen in between."""
    under_way = _open_units(tx, found)
    targets = board.targets(tx, found)
    stands = shelves.standing(tx, [ident for some in found for ident in some.ids.tolist()])
    late = stale_sources.stale(tx, [some.of.connection_id for some in found])
    changes = []
    for some, wanted in zip(found, targets, strict=True):
        shop = some.of
        can = shop.can["send_stock"]
        blind = levels.blind(can["forms"], can["level_means"])
        for ident, at, target in zip(some.ids.tolist(), some.at.tolist(), wanted.tolist(), strict=True):
            expected, unknown = stands.get(ident, (None, False))
            unit = Unit(shop.connection_id, shop.units[at])
            if shop.connection_id in late:
                target = levels.held(target, expected)
            if expected != target or unknown or blind or unit in under_way:
                changes.append(Change(ident, unit, target, expected))
    return changes


def _open_units(tx: Transaction, found: Sequence[Some]) -> set[Unit]:
    """Write units of these shops of which a write waits, is on its way, or stopped."""
    o = t.outbox.c
    shops = [some.of.connection_id for some in found]
    query = select(o.connection_id, o.key).where(any_of(tx.conn, o.connection_id, shops), o.state.in_(outbox.OPEN))
    rows = tx.conn.execute(query.where(o.ability == "send_stock"))
    return {Unit(shop, key.removeprefix(KEY)) for shop, key in rows}


def _want(tx: Transaction, units: Mapping[Unit, Sequence[int]], since: int, lanes: Mapping[int, str]) -> None:
    """One waiting intent per unit: an untouched one takes these listings along, else a new one follows.

    since: the oldest mark it is about.
    """
    waiting = _untouched(tx, units)
    joined = []
    for unit, rows in waiting.items():
        first, there = rows[0], {ident for row in rows for ident in row["payload"]["listings"]}
        if more := set(units[unit]) - there:
            together = sorted({*first["payload"]["listings"], *more})
            joined.append({"id": first["id"], "payload": {**first["payload"], "listings": together}})
    tx.set_each(t.outbox, joined)
    tx.lanes.update(rows[0]["lane"] for rows in waiting.values())
    fresh = [(unit, ids) for unit, ids in units.items() if unit not in waiting]
    outbox.add(
        tx,
        [
            Intent(
                unit.connection_id,
                "send_stock",
                lanes[unit.connection_id],
                KEY + unit.name,
                f"{unit.name}#{tx.ids.new()}",
                {"unit": unit.name, "listings": sorted(ids), "since": since},
            )
            for unit, ids in fresh
        ],
    )


def _untouched(tx: Transaction, units: Collection[Unit]) -> dict[Unit, list[Mapping[str, Any]]]:
    """Unit → its intents that nobody has taken up, in their order, locked so that nobody does before we are done."""
    o = t.outbox.c
    shops, keys = sorted({unit.connection_id for unit in units}), sorted({KEY + unit.name for unit in units})
    mine = (any_of(tx.conn, o.connection_id, shops), any_of(tx.conn, o.key, keys), o.state == "waiting")
    query = select(t.outbox).where(*mine, o.attempts == 0, o.ability == "send_stock").order_by(o.id)
    found: dict[Unit, list[Mapping[str, Any]]] = {}
    for row in tx.rows(query.with_for_update()) if units else []:
        found.setdefault(Unit(row["connection_id"], row["payload"]["unit"]), []).append(row)
    return {unit: rows for unit, rows in found.items() if unit in units}


def compute(tx: Transaction, intent: Mapping[str, Any], stop: Stop = Stop()) -> Said:  # noqa: B008
    """What this unit's listings shall show now, and how it is said.

    Listings that show it already are left out, and those that are held or would be by now. One intent is one call under
    one key: listings beyond the ability's `batch_max` go on in intents behind it.
    """
    return compute_all(tx, [intent], stop)[0]


def compute_all(tx: Transaction, intents: Sequence[Mapping[str, Any]], stop: Stop = Stop()) -> list[Said]:  # noqa: B008
    """As `compute`, for several units at once."""
    tx.lock_ledger()
    shops = many(tx, t.connections, "id", sorted({intent["connection_id"] for intent in intents}))
    can = {shop["id"]: shop["can"]["send_stock"] for shop in shops}
    read = {shop["id"] for shop in shops if "fetch_stock" in shop["can"]}
    listed = sorted({ident for intent in intents for ident in intent["payload"]["listings"]})
    rows = {row["id"]: row for row in many(tx, t.listings, "id", listed)}
    stand = _stand(tx, listed)
    late = stale_sources.stale(tx, can)
    wanted = {
        ident: levels.held(units, stand[ident].expected) if rows[ident]["connection_id"] in late else units
        for ident, units in saleable.targets(tx, list(rows.values())).items()
    }
    extra = _taken_not_fulfilled(
        tx, [ident for ident, row in rows.items() if can[row["connection_id"]]["level_means"] == "on_hand"]
    )
    passing = _passing(tx, rows, wanted, stand, stop)
    found, over = [], []
    for intent in intents:
        mine = [rows[ident] for ident in intent["payload"]["listings"] if ident in passing]
        ability, key = can[intent["connection_id"]], hashlib.sha256(f"{intent['id']}:{intent['attempts']}".encode())
        readable, most = intent["connection_id"] in read, ability["batch_max"]
        speak = _to_speak(mine, ability, wanted, stand)
        found.append(_said(speak[:most], ability, wanted, stand, extra, key.hexdigest()[:32], readable))
        if speak[most:]:
            over.append((intent, most, [row["id"] for row, _ in speak[most:]]))
    _go_on(tx, over)
    return found


def _to_speak(
    rows: Sequence[Mapping[str, Any]], can: Mapping[str, Any], wanted: Mapping[int, int], stand: Mapping[int, Shelf]
) -> list[tuple[Mapping[str, Any], Form]]:
    """Of these listings those that show something else, each with the form to say it in."""
    forms = ((r, levels.form(stand[r["id"]], wanted[r["id"]], can["forms"], can["level_means"])) for r in rows)
    return [(row, form) for row, form in forms if form != "skip"]


def _go_on(tx: Transaction, over: Sequence[tuple[Mapping[str, Any], int, Sequence[int]]]) -> None:
    """Listings a call cannot hold leave their intent, and wait behind it in others of its unit.

    over: an intent, how many listings a call may hold, and those to go on.
    """
    kept, fresh = [], []
    for intent, most, ids in over:
        payload, named = intent["payload"], (intent["connection_id"], "send_stock", intent["lane"], intent["key"])
        left = sorted({*payload["listings"]} - {*ids})
        kept.append({"id": intent["id"], "payload": {**payload, "listings": left}})
        for at in range(0, len(ids), most):
            subject = f"{payload['unit']}#{tx.ids.new()}"
            fresh.append(Intent(*named, subject, {**payload, "listings": ids[at : at + most]}))
    tx.set_each(t.outbox, kept)
    outbox.add(tx, fresh)


def _passing(
    tx: Transaction,
    rows: Mapping[int, Mapping[str, Any]],
    wanted: Mapping[int, int],
    stand: Mapping[int, Shelf],
    stop: Stop,
) -> set[int]:
    """Of these listings those that may be told: since they were marked more may have moved, and a run been stopped."""
    changes = [
        Change(ident, Unit(row["connection_id"], ""), wanted[ident], stand[ident].expected)
        for ident, row in rows.items()
    ]
    return {change.listing_id for change in stop_levels.let_pass(tx, rows, changes, stop)}


def _said(
    speak: Sequence[tuple[Mapping[str, Any], Form]],
    can: Mapping[str, Any],
    wanted: Mapping[int, int],
    stand: Mapping[int, Shelf],
    extra: Mapping[int, int],
    key: str,
    readable: bool,
) -> Said:
    """The levels of one unit. can: the ability; readable: what the shop shows can be read.

    extra: listing id → units its on-hand shop holds allocated for us.
    """
    rows, said = [row for row, _ in speak], {form for _, form in speak}
    form: WireForm = "set" if said & {"set", "read_set"} else "compare" if "compare" in said else "delta"
    held = extra if can["level_means"] == "on_hand" else None
    return Said(
        levels=tuple(_level(r, form, wanted[r["id"]], stand[r["id"]], held, key) for r in rows),
        told={str(r["id"]): wanted[r["id"]] for r in rows},
        seen={str(r["id"]): stand[r["id"]].applied for r in rows},
        expected={r["ref"]: e for r in rows if (e := stand[r["id"]].expected) is not None},
        reads="read_set" in said and can["level_means"] == "saleable",
        unsure=readable and any(stand[r["id"]].unknown for r in rows),
        doubts={str(r["id"]): stand[r["id"]].doubts for r in rows},
        swept=tuple(r["id"] for r in rows if stop_levels.sweeps(wanted[r["id"]], stand[r["id"]].expected)),
    )


def _stand(tx: Transaction, listings: Sequence[int]) -> dict[int, Shelf]:
    """Listing id → what is known of what its shop shows."""
    seen = shelves.applied(tx, listings)
    told = {r["listing_id"]: r for r in many(tx, t.shelves, "listing_id", listings)}
    return {ident: _shelf(told.get(ident), seen.get(ident, 0)) for ident in listings}


def after_read(said: Said, shown: Mapping[str, int]) -> tuple[Level, ...]:
    """The levels to write over figures just read (listing ref → shown)."""
    return tuple(
        level.model_copy(
            update={
                "quantity": levels.after_read(
                    Shelf(said.expected.get(level.listing), 0), level.quantity, shown.get(level.listing, level.quantity)
                )
            }
        )
        for level in said.levels
    )


def _shelf(row: Mapping[str, Any] | None, seen: int) -> Shelf:
    if row is None:
        return Shelf(None, 0, applied=seen)
    return Shelf(row["told"], seen - row["seen_base"], row["doubt"], row["unknown"], seen, row["doubts"])


def _taken_not_fulfilled(tx: Transaction, listings: Sequence[int]) -> dict[int, int]:
    """Listing units of orders we have taken that the shop has not fulfilled yet (it holds them allocated)."""
    ol, o = t.order_lines.c, t.orders.c
    still = ol.ordered - ol.cancelled - ol.fulfilled
    units = func.sum(case((still > 0, still), else_=0) / ol.pack)  # a return may call off what was fulfilled
    query = select(ol.listing_id, units.label("n")).join(t.orders, o.id == ol.order_id)
    mine = and_(
        ol.listing_id.in_(listings),
        o.claims_stock.is_(True),
        o.closed.is_(False),
        o.state.not_in(("elsewhere", "cancelled")),
    )
    return {r["listing_id"]: int(r["n"]) for r in tx.rows(query.where(mine).group_by(ol.listing_id))}


def _level(
    row: Mapping[str, Any],
    form: WireForm,
    wanted: int,
    shelf: Shelf,
    extra: Mapping[int, int] | None,
    key: str,
) -> Level:
    quantity = wanted if extra is None else levels.on_hand(wanted, row["threshold"], extra.get(row["id"], 0))
    return Level(
        listing=row["ref"],
        product=row["product"],
        sku=row["sku"],
        location=row["location"],
        form=form,
        quantity=max(0, quantity),
        change=wanted - (shelf.expected or 0) if form == "delta" else 0,
        expected=shelf.expected,
        key=key,
    )


def any_marks(tx: Transaction) -> bool:
    """Whether anything moved that shops have not been told of."""
    return tx.row(select(t.marks.c.id).limit(1)) is not None
