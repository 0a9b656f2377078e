"""The pool under everything shops and warehouses may say, in any order and any number of times, beside a simple model.

The model knows physics only: what came, what left, what was counted. Whatever is said, facts are never refused, the
pool never promises what is not there, and all that lies in the warehouse is what came less what left.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import select, update

from core.errors import OutOfStock, Refused
from core.flow import audit_ledger, follow_reservation, keep_promises, reserve_stock
from core.flow.journeys import decide
from core.flow.reserve_stock import Answer, Command, Confirm, Release, Reservation, Reserve, Subject
from core.model import Adjustment, AdjustmentRow
from core.rules import kits
from core.rules.decide import Want
from core.store import pins
from core.store import tables as t
from core.store.ledger import Ledger
from core.store.scope import HUB
from core.store.store import Transaction
from hub import orders as work
from hub import parked
from hub.orders import Resource
from tests.conftest import machine_examples
from tests.simulation import shown_stock
from tests.simulation.held_lots import HeldLots
from tests.simulation.moves import Moves
from tests.simulation.rough_writers import RoughWriters
from tests.unit.test_kits import kit
from tests.worlds import Clock, closed, in_memory, order, store, unpaid, world

SKUS = ("pen", "ink")
BETA = "beta, buying at alpha's shop"
POLICIES = ("ask", "wait", "resource", "part_ship")
SHOPS = ("tmall", "vendure", "beta_shop")
AUDITED_EVERY = 10
few = st.integers(1, 6)
chance = st.booleans()


@dataclass
class Physics:
    """Units that lie in each (sku, warehouse), and units that left for each (order, sku)."""

    there: dict[tuple[str, str], int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)

    def move(self, sku: str, warehouse: str, units: int) -> None:
        self.there[(sku, warehouse)] = self.there.get((sku, warehouse), 0) + units


class PoolMachine(Moves, HeldLots, RoughWriters, RuleBasedStateMachine):
    """One pool, three shops, two warehouses, two processes."""

    def __init__(self) -> None:
        super().__init__()
        self.open = ExitStack()
        folder, clock = self.open.enter_context(in_memory()), Clock()
        self.hub = world(self.open.enter_context(store(folder, clock=clock)), clock)
        self.physics = Physics()
        self.steps = 0
        self.orders: dict[str, tuple[str, int, list[tuple[str, int]]]] = {}
        self.closed: set[str] = set()
        self.resold: set[str] = set()
        self.refs: list[Subject] = []
        self.asns: list[tuple[str, str, int]] = []
        self.said: list[tuple[str, str, int, bool, str]] = []
        self.lines: list[tuple[str, ...]] = []
        self.returned: list[tuple[str, str, list[int], str, str, str]] = []
        self.hub.store.write(self.ink_may_be_sent_for_pens)
        self.hub.store.write(lambda tx: tx.conn.execute(update(t.contracts).values(known_as=BETA)))
        self.hub.store.write(shown_stock.set_limits)
        kit(self.hub)
        self.begin_lots()
        for sku, warehouse, units in (("pen", "east", 12), ("pen", "west", 6), ("ink", "east", 5)):
            self.hub.counts(sku, units, warehouse)
            self.physics.move(sku, warehouse, units)
        self.begin_processes()

    def ink_may_be_sent_for_pens(self, tx: Transaction) -> None:
        tx.add(t.substitutes, [{"item_id": self.hub.pen, "instead_id": self.hub.ink, "created_at": tx.now}])

    def teardown(self) -> None:
        try:
            self.audit()
        finally:
            self.open.close()

    # shops

    def tell(self, ref: str, paid: bool = True, called: bool = True) -> None:
        shop, version, lines = self.orders[ref]
        make = closed if ref in self.closed else order if paid else unpaid
        told = make(ref, *lines, version=f"{version:04}")
        self.takes(shop, told.model_copy(update={"distributor": BETA}) if ref in self.resold else told)
        if called:
            self.call()

    def takes(self, shop: str, *told: object) -> None:
        assert set(self.hub.takes(*told, at=getattr(self.hub, shop))) == {"done"}

    @rule(shop=st.sampled_from(SHOPS), pens=few, inks=st.integers(0, 3), state=st.integers(0, 3), resold=chance)
    def a_shop_sells(self, shop: str, pens: int, inks: int, state: int, resold: bool) -> None:
        """To a shopper, or to beta, which buys alpha's pens as its distributor."""
        ref = f"O{len(self.orders)}"
        if resold and shop == "tmall":
            self.resold.add(ref)
        lines = [("pen", pens), ("ink", inks)] if inks and shop == "tmall" else [("pen", pens)]
        self.orders[ref] = (shop, 1, lines)
        self.tell(ref, paid=state != 3, called=state < 2)

    @rule(sets=st.integers(1, 3), pens=st.integers(0, 2), state=st.integers(0, 3))
    def a_shop_sells_kits(self, sets: int, pens: int, state: int) -> None:
        """Of two pens and an ink each, and loose pens with them."""
        ref = f"O{len(self.orders)}"
        self.orders[ref] = ("tmall", 1, [("set", sets), *([("pen", pens)] if pens else [])])
        self.tell(ref, paid=state != 3, called=state < 2)

    @precondition(lambda self: self.orders)
    @rule(data=st.data(), pens=few, back=st.integers(0, 2))
    def an_order_changes(self, data: st.DataObject, pens: int, back: int) -> None:
        """A newer version, or an older one that must change nothing."""
        ref = data.draw(st.sampled_from(sorted(self.orders)))
        shop, version, lines = self.orders[ref]
        if back and version > back:
            self.takes(shop, order(ref, ("pen", 9), version=f"{version - back:04}"))
        elif ref not in self.closed:
            self.orders[ref] = (shop, version + 1, [(lines[0][0], pens), *lines[1:]])
            self.tell(ref)

    @precondition(lambda self: self.orders)
    @rule(data=st.data(), called=chance)
    def an_order_is_called_off(self, data: st.DataObject, called: bool) -> None:
        ref = data.draw(st.sampled_from(sorted(self.orders)))
        shop, version, lines = self.orders[ref]
        self.orders[ref] = (shop, version + 1, lines)
        self.closed.add(ref)
        self.tell(ref, called=called)

    @precondition(lambda self: self.orders)
    @rule(data=st.data())
    def an_order_is_told_again(self, data: st.DataObject) -> None:
        self.tell(data.draw(st.sampled_from(sorted(self.orders))))

    # the bus

    def call(self) -> None:
        """Couriers and warehouses hear what waits for them."""
        self.look()
        self.hub.sends("send_booking")
        for ref in {line[5] for line in self.lines if line[1] == "labelling"}:
            self.hub.labels(ref)
        self.hub.sends("send_delivery_order")
        self.hub.sends("send_cancellation")

    @rule(policy=st.sampled_from(POLICIES), parts=chance, unback=st.sampled_from(["person", "newest"]))
    def the_policy_changes(self, policy: str, parts: bool, unback: str) -> None:
        """What is short or missing already is looked at under the new one."""
        hub = self.hub
        hub.decides(policy, part_backing=parts or policy == "part_ship", unback=unback)
        hub.store.write(lambda tx: [keep_promises.policy_changed(tx, m) for m in (hub.alpha, hub.beta)])

    @precondition(lambda self: self.orders)
    @rule(data=st.data(), act=st.sampled_from(["top up", "any", "east", "west"]))
    def a_person_looks_after_an_order(self, data: st.DataObject, act: str) -> None:
        """It is backed where it stands, or moves to where more of it, or no less, is backed."""
        ref = data.draw(st.sampled_from(sorted(self.orders)))
        ident, before = self.hub.order(ref)["id"], sum(backed for _, backed in self.hub.claims(ref))
        how = Resource(warehouses=(act,) if act in ("east", "west") else ())

        def press(tx: Transaction) -> None:
            work.top_up(tx, HUB, ident) if act == "top up" else work.resource(tx, HUB, ident, how)

        try:
            self.hub.store.write(press)
        except Refused:
            return
        assert sum(backed for _, backed in self.hub.claims(ref)) >= before

    @precondition(lambda self: self.missing())
    @rule(data=st.data())
    def a_person_takes_promises_back(self, data: st.DataObject) -> None:
        """For goods that are missing: as many as are missing there, or all that no warehouse was told of."""
        hub, ident = self.hub, data.draw(st.sampled_from(self.missing()))
        task = hub.row(t.worklist, kind="stock.missing", subject=f"cell:{ident}")["id"]
        before = hub.row(t.cells, id=ident)

        def loose(tx: Transaction) -> int:
            return keep_promises.may_give_up(tx, Ledger(tx).cells_by_id([ident])[ident])

        with hub.store.read() as tx:
            units = min(loose(tx), -before["suspense"])
        with contextlib.nullcontext() if units else pytest.raises(Refused):
            hub.store.write(lambda tx: parked.press(tx, HUB, "task", task, "unback"))
        after = hub.row(t.cells, id=ident)
        assert after["suspense"] == before["suspense"] + units
        assert before["reserved"] - after["reserved"] == units + after["free"] - before["free"]

    def missing(self) -> list[int]:
        """The cells that miss units."""
        ce = t.cells.c
        return [row["id"] for row in self.hub.rows(select(ce.id).where(ce.suspense < 0).order_by(ce.id))]

    # warehouses

    def look(self) -> None:
        """(ref, state, sku, warehouse, units, order) of every fulfilment's line."""
        f, li, w = t.fulfilments, t.fulfilment_lines, t.warehouses
        columns = (f.c.ref, f.c.state, li.c.sku, w.c.code, li.c.quantity, t.orders.c.ref.label("order"))
        query = select(*columns).join(f, f.c.id == li.c.fulfilment_id).join(t.orders, t.orders.c.id == f.c.order_id)
        rows = self.hub.rows(query.join(w, w.c.id == f.c.warehouse_id).order_by(f.c.id, li.c.n))
        self.lines = [tuple(r.values()) for r in rows]

    @precondition(lambda self: self.lines)
    @rule(data=st.data(), units=st.integers(0, 7), final=chance)
    def a_warehouse_confirms(self, data: st.DataObject, units: int, final: bool) -> None:
        """Anything: less, more, twice, after the end, after it was called off."""
        ref, _, sku, warehouse, *_ = data.draw(st.sampled_from(self.lines))
        event = f"E{len(self.said)}"
        self.said.append((ref, sku, units, final, event))
        assert self.hub.confirms(ref, (sku, units), final=final, event_id=event) == ["done"]
        self.physics.move(sku, warehouse, -units)

    @precondition(lambda self: self.lines)
    @rule(data=st.data())
    def a_warehouse_ships_all_it_was_told(self, data: st.DataObject) -> None:
        ref, _, sku, warehouse, units, _ = data.draw(st.sampled_from(self.lines))
        assert self.hub.confirms(ref, (sku, units)) == ["done"]
        self.physics.move(sku, warehouse, -units)

    @precondition(lambda self: self.said)
    @rule(data=st.data(), more=st.integers(0, 2))
    def a_confirm_comes_twice(self, data: st.DataObject, more: int) -> None:
        """The same does no harm; another under its number waits for a person and moves nothing."""
        ref, sku, units, final, event = data.draw(st.sampled_from(self.said))
        more = more if units else 0
        became = self.hub.confirms(ref, (sku, units + more), final=final, event_id=event)
        assert became == (["parked"] if more else ["done"])

    @precondition(lambda self: any(line[2] == "pen" for line in self.lines))
    @rule(data=st.data(), units=st.integers(0, 7), pens=st.integers(0, 2), final=chance)
    def a_warehouse_sends_ink_for_pens(self, data: st.DataObject, units: int, pens: int, final: bool) -> None:
        ref, _, _, warehouse, *_ = data.draw(st.sampled_from([line for line in self.lines if line[2] == "pen"]))
        if any(line[0] == ref and line[2] == "ink" for line in self.lines):
            return
        assert self.hub.confirms(ref, ("ink", units), ("pen", pens), final=final) == ["done"]
        self.physics.move("ink", warehouse, -units)
        self.physics.move("pen", warehouse, -pens)

    @rule(
        sku=st.sampled_from(SKUS),
        warehouse=st.sampled_from(["east", "west"]),
        rows=st.lists(few, min_size=1, max_size=2),
        condition=st.sampled_from(["ZP", "CC"]),
        data=st.data(),
    )
    def goods_come_back(self, sku: str, warehouse: str, rows: list[int], condition: str, data: st.DataObject) -> None:
        """Of an order that is known, or of none; more than left, or of what it never had; in one row or two."""
        order = data.draw(st.sampled_from([*sorted(self.orders), "nobody's"]))
        told = (sku, warehouse, rows, condition, order, f"B{len(self.returned)}")
        self.returned.append(told)
        assert self.say_what_came_back(*told) == ["done"]
        self.physics.move(sku if condition == "ZP" else f"{sku} {condition}", warehouse, sum(rows))

    def say_what_came_back(
        self, sku: str, warehouse: str, rows: list[int], condition: str, order: str, event: str
    ) -> list[str]:
        how = {"warehouse": warehouse.upper(), "order": order, "event_id": event}
        return self.hub.takes_back(f"RT{event}", *((sku, units, condition) for units in rows), **how)

    @precondition(lambda self: self.returned)
    @rule(data=st.data(), otherwise=chance)
    def a_return_comes_twice(self, data: st.DataObject, otherwise: bool) -> None:
        """The same does no harm; another under its number waits for a person and moves nothing."""
        sku, warehouse, rows, *more = data.draw(st.sampled_from(self.returned))
        became = self.say_what_came_back(sku, warehouse, [*rows, 1] if otherwise else rows, *more)
        assert became == (["parked"] if otherwise else ["done"])

    @rule(sku=st.sampled_from(SKUS), warehouse=st.sampled_from(["east", "west"]), units=few, better=chance)
    def goods_are_regraded(self, sku: str, warehouse: str, units: int, better: bool) -> None:
        """Judged anew, be they on the books or not."""
        event = f"G{next(self.hub._numbers)}"
        signs = {"ZP": 1 if better else -1, "CC": -1 if better else 1}
        named = {"sku": sku, "keeper": "ALPHA", "warehouse": warehouse.upper(), "event_id": event}
        rows = tuple(AdjustmentRow(**named, condition=c, quantity=sign * units) for c, sign in signs.items())
        assert self.hub.hears(Adjustment(ref=event, rows=rows), at=self.hub.wms) == ["done"]
        for c, sign in signs.items():
            self.physics.move(sku if c == "ZP" else f"{sku} {c}", warehouse, sign * units)

    @precondition(lambda self: self.lines)
    @rule(data=st.data(), verdict=st.sampled_from(["accepted", "cancelled", "cancel_refused"]))
    def a_warehouse_answers(self, data: st.DataObject, verdict: str) -> None:
        ref, *_ = data.draw(st.sampled_from(self.lines))
        assert self.hub.answers(ref, verdict) == ["done"]

    @rule(sku=st.sampled_from(SKUS), warehouse=st.sampled_from(["east", "west"]), units=st.integers(1, 12))
    def goods_are_announced(self, sku: str, warehouse: str, units: int) -> None:
        ref = self.hub.announces((getattr(self.hub, sku), units), warehouse=getattr(self.hub, warehouse))
        self.asns.append((ref, sku, warehouse))

    @precondition(lambda self: self.asns)
    @rule(data=st.data(), units=st.integers(0, 12), more=st.integers(0, 3), bad=st.integers(0, 2), final=chance)
    def goods_are_received(self, data: st.DataObject, units: int, more: int, bad: int, final: bool) -> None:
        ref, sku, warehouse = data.draw(st.sampled_from(self.asns))
        assert self.hub.receives(ref, (sku, units), (sku, bad, "CC"), (sku, more), final=final) == ["done"]
        self.physics.move(sku, warehouse, units + more)
        self.physics.move(f"{sku} CC", warehouse, bad)

    @rule(sku=st.sampled_from(SKUS), warehouse=st.sampled_from(["east", "west"]), units=st.integers(-9, 15))
    def stock_is_counted(self, sku: str, warehouse: str, units: int) -> None:
        assert self.hub.counts(sku, units, warehouse) == ["done"]
        self.physics.move(sku, warehouse, units)

    @rule(sku=st.sampled_from(SKUS), warehouse=st.sampled_from(["east", "west"]), lie=st.integers(-12, 12), late=chance)
    def a_warehouse_shows_its_stock(self, sku: str, warehouse: str, lie: int, late: bool) -> None:
        """Once or twice, the truth or not: the truth moves nothing, a lie told twice is booked or decided on."""
        hub, true = self.hub, self.physics.there.get((sku, warehouse), 0)
        assert hub.clock is not None
        before = len(list(shown_stock.booked(hub)))
        as_of = shown_stock.ago(hub.clock.now, 60) if late else None
        for _ in range(2):
            assert shown_stock.shows(hub, sku, warehouse, true + lie, as_of) in (["done"], ["parked"])
            hub.clock.wait(shown_stock.QUARTER_S)
        shown_stock.decide(hub, accept=lie % 2 == 0)
        for told_sku, place, units in list(shown_stock.booked(hub))[before:]:
            assert lie and (told_sku, place) == (sku, warehouse)
            self.physics.move(sku, warehouse, units)
            self.corrected[sku, warehouse] += 1
            assert late or shown_stock.may_lie_there(hub, sku, warehouse, true + lie)
        hub.store.write(reserve_stock.expire)

    # callers who can be told no

    def decides(self, *commands: Command) -> list[Answer]:
        return self.hub.store.write(lambda tx: decide(tx, commands))

    @rule(sku=st.sampled_from(SKUS), units=few, split=chance, keeps=st.sampled_from([None, 60]))
    def a_caller_asks(self, sku: str, units: int, split: bool, keeps: int | None) -> None:
        """Kept whole where there is enough, else told no; asked again it is answered the same."""
        hub, places = self.hub, (self.hub.east, self.hub.west)
        there = [max(0, sum(map(hub.cell(getattr(hub, sku), p).get, ("free", "suspense"), (0, 0)))) for p in places]
        assert hub.clock is not None
        until = hub.clock.now + timedelta(seconds=keeps) if keeps else None
        want = Want(0, hub.alpha, getattr(hub, sku), units)
        asked = Reserve(Subject(hub.alpha, "api", f"R{len(self.refs)}"), (want,), places, until, split)
        answer, again = self.decides(asked, asked)
        if units <= (sum(there) if split else max(there)):
            assert isinstance(answer, Reservation)
            assert sum(k.units for k in answer.kept) == units
            assert again == answer._replace(repeated=True)
            self.refs.append(asked.subject)
        else:
            assert isinstance(answer, OutOfStock)
            assert isinstance(again, OutOfStock)

    @precondition(lambda self: self.refs)
    @rule(data=st.data(), kind=st.sampled_from([Confirm, Release]))
    def a_caller_confirms_or_releases(self, data: st.DataObject, kind: type[Confirm] | type[Release]) -> None:
        (answer,) = self.decides(kind(data.draw(st.sampled_from(self.refs))))
        assert isinstance(answer, Reservation | Refused)

    @precondition(lambda self: self.refs)
    @rule(data=st.data())
    def a_reservation_becomes_an_order(self, data: st.DataObject) -> None:
        """One that is here, or the next one; reserved stays what it was but for what is then kept twice."""
        hub, ref = self.hub, data.draw(st.sampled_from([*sorted(self.orders), f"O{len(self.orders)}"]))
        subject, shop = data.draw(st.sampled_from(self.refs)), self.orders.get(ref, ("tmall",))[0]
        with contextlib.suppress(Refused):
            hub.store.write(lambda tx: follow_reservation.promise(tx, subject, getattr(hub, shop), ref))

    @rule(seconds=st.integers(1, 90))
    def time_passes(self, seconds: int) -> None:
        """What was kept long enough is given back."""
        assert self.hub.clock is not None
        self.hub.clock.wait(seconds)
        self.hub.store.write(reserve_stock.expire)
        late = select(t.claims.c.id).where(t.claims.c.expires_at <= self.hub.clock.now)
        assert self.hub.rows(late) == []

    # what must hold whatever was said

    def audit(self) -> None:
        assert [breach for breach in self.hub.audit() if "units in suspense" not in breach] == []

    @invariant()
    def the_books_hold(self) -> None:
        """No unit is promised twice. The whole audit runs every tenth step and at the end: no breach goes away."""
        self.look()
        with self.hub.store.read() as tx:
            assert audit_ledger.overcommitted_units(tx) == 0
        self.steps += 1
        if self.steps % AUDITED_EVERY == 0:
            self.audit()

    @invariant()
    def on_hand_is_what_came_less_what_left(self) -> None:
        ce, i, w = t.cells.c, t.items.c, t.warehouses.c
        query = select(t.cells, i.sku, w.code).join(t.items, i.id == ce.item_id)
        for cell in self.hub.rows(query.join(t.warehouses, w.id == ce.warehouse_id)):
            sku = cell["sku"] if cell["condition"] == "ZP" else f"{cell['sku']} {cell['condition']}"
            on_hand = cell["free"] + cell["reserved"] + cell["held"] + cell["suspense"]
            assert on_hand == self.physics.there.get((sku, cell["code"]), 0)
            assert cell["suspense"] <= 0
            assert not (cell["suspense"] and cell["free"])

    @invariant()
    def claims_ask_for_what_orders_still_want(self) -> None:
        c = t.claims.c
        for claim in self.hub.rows(select(t.claims).where(c.open.is_(True))):
            assert 0 <= claim["backed"] <= claim["asked"] - claim["shipped"]
            assert claim["asked"] > claim["shipped"]
        assert self.hub.rows(select(c.id).where(c.open.is_(False), c.backed > 0)) == []

    @invariant()
    def nothing_that_is_wanted_is_forgotten(self) -> None:
        """Every unit an order still wants stands in an open claim, and every open claim is on its way or waits."""
        c, o, ol = t.claims.c, t.orders.c, t.order_lines.c
        asked: dict[int, list[Mapping[str, Any]]] = {}
        for claim in self.hub.rows(select(t.claims).where(c.open.is_(True))):
            asked.setdefault(claim["line_id"], []).append(claim)
        lines = select(t.order_lines, o.closed, o.state).join(t.orders, o.id == ol.order_id)
        for line in self.hub.rows(lines):
            wanted = 0 if line["closed"] else line["ordered"] - line["cancelled"] - line["short"] - line["shipped"]
            if line["state"] != "cancelled":
                assert kits.claimed(asked.get(line["id"], [])) >= wanted
        loose = select(c.backed, c.asked, c.shipped, o.may_ship, o.state).join(t.orders, o.id == c.order_id)
        for claim in self.hub.rows(loose.where(c.open.is_(True), c.fulfilment_id.is_(None))):
            ready = claim["may_ship"] and claim["backed"] == claim["asked"] - claim["shipped"]
            assert not ready or claim["state"] in ("short", "part_shipped")

    @invariant()
    def nobody_waits_for_what_is_there(self) -> None:
        """Whatever freed a unit, it backs the orders of who waits for it: a part of one, or where not allowed, all."""
        c, o, m, ce = t.claims.c, t.orders.c, t.merchants.c, t.cells.c
        query = select(
            c.order_id,
            c.cell_id,
            c.part_id,
            (c.asked - c.shipped - c.backed).label("missing"),
            m.part_backing,
            pins.lot,
            t.cells,
        )
        query = query.join(t.cells, ce.id == c.cell_id).join(t.orders, o.id == c.order_id)
        query = query.join(t.pins, t.pins.c.claim_id == c.id, isouter=True)
        query = query.join(t.merchants, m.id == o.merchant_id)
        waits: dict[int, dict[tuple[int, str], int]] = {}
        for claim in self.hub.rows(query.where(t.is_short, m.short_policy != "ask")):
            there = max(0, claim["free"] + min(0, claim["suspense"]))
            there = min(there, self.room(claim["cell_id"], claim["lot"])) if claim["lot"] else there
            assert not (claim["part_backing"] and there and claim["part_id"] is None)
            cells = waits.setdefault(claim["order_id"], {})
            place = (claim["cell_id"], claim["lot"])
            cells[place] = cells.get(place, there) - claim["missing"]
        assert not any(all(left >= 0 for left in cells.values()) for cells in waits.values())

    @invariant()
    def a_caller_that_lost_units_is_on_the_worklist_and_gets_what_comes(self) -> None:
        c, ce, w = t.claims.c, t.cells.c, t.worklist.c
        query = select(c.id, pins.lot, c.cell_id, ce.free, ce.suspense).join(t.cells, ce.id == c.cell_id)
        query = query.join(t.pins, t.pins.c.claim_id == c.id, isouter=True)
        short = self.hub.rows(query.where(t.is_short, c.order_id.is_(None)))
        for claim in short:
            there = max(0, claim["free"] + min(0, claim["suspense"]))
            assert not (min(there, self.room(claim["cell_id"], claim["lot"])) if claim["lot"] else there)
        asked = select(w.subject).where(w.kind == "reservation.short", w.done_at.is_(None))
        assert {r["subject"] for r in self.hub.rows(asked)} == {f"reservation:{claim['id']}" for claim in short}

    @invariant()
    def what_is_cancelled_holds_nothing(self) -> None:
        c, o = t.claims.c, t.orders.c
        held = select(c.id).join(t.orders, o.id == c.order_id).where(o.state == "cancelled", c.open.is_(True))
        assert self.hub.rows(held) == []

    @invariant()
    def the_worklist_names_exactly_the_cells_that_miss_units(self) -> None:
        missing = {f"cell:{ident}" for ident in self.missing()}
        w = t.worklist.c
        query = select(w.subject).where(w.kind == "stock.missing", w.done_at.is_(None))
        assert {r["subject"] for r in self.hub.rows(query)} == missing


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=machine_examples())
