"""The run: shoppers, polls, marks, calls and answers in the order of their moments, over a store of its own."""

from __future__ import annotations

import heapq
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import func, select

from core.errors import InDoubt, Mismatch, YipanError
from core.flow import note_told, publish_stock, saleable
from core.flow.board import Board
from core.flow.hear import Spoken
from core.flow.journeys import decide
from core.flow.publish_stock import Said
from core.flow.stop_levels import Stop
from core.model import Document, Level, Order
from core.rules.oversold import NOT_TOGETHER
from core.store import inbox, outbox, schema
from core.store import tables as t
from core.store.store import Store, Transaction
from core.store.vault import Vault
from hub.simulate import world
from hub.simulate.scenario import Arrival, Result, Sale, Scenario
from hub.simulate.shop import Bought, Shop
from hub.simulate.window import Window

BEGINNING = datetime(2026, 1, 5, tzinfo=UTC)
KEY = "dGhlIGtleSBvZiBhIHdvcmxkIHRoYXQgaXMgbm90IGE="
RETRY_S, QUIET_S, MARGIN_S, TAIL_POLLS = 5.0, 15.0, 5.0, 4
NEVER_STOP = Stop(percent=100)


def simulate(scenario: Scenario) -> Result:
    """Run it in a folder that is gone afterwards; the same scenario gives the same figures."""
    with tempfile.TemporaryDirectory(prefix="yipan-what-if-") as folder:
        url = f"sqlite:///{Path(folder) / 'pool.db'}"
        schema.prepare(url)
        run = Run(scenario)
        with closing(Store(url, Vault([KEY]), clock=lambda: run.now)) as store:
            return run.through(store)


class Run:
    """One scenario under way. now: the moment everybody lives in."""

    def __init__(self, scenario: Scenario) -> None:
        self.now = BEGINNING
        self._told = scenario
        self._chance = random.Random(scenario.seed)
        self._due: list[tuple[datetime, int, Callable[[], None]]] = []
        self._order = count()
        self._numbers = count(1)
        self._asked = self._sold = self._turned_away = self._lost_sales = self._calls = 0
        self._withheld = 0.0
        self._free: Counter[str] = Counter()
        self._stirred = True
        self._read_until: dict[int, datetime] = {}
        self._window = Window()

    def through(self, store: Store) -> Result:
        """From the beginning until everything is quiet."""
        self._store, self._board = store, Board()
        self._world = store.write(lambda tx: world.build(tx, self._told))
        self.shops = {
            ident: Shop(n, ways)
            for n, (ident, ways) in enumerate(zip(self._world.shops, self._told.shops, strict=True))
        }
        self._publish()
        end = self._plan()
        while self._due and self._due[0][0] <= end:
            at, _, work = heapq.heappop(self._due)
            self._pass(at)
            work()
            self._publish()
        return self._result()

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Have something happen so many seconds from now."""
        heapq.heappush(self._due, (self.now + timedelta(seconds=seconds), next(self._order), work))

    def _plan(self) -> datetime:
        """Everything that happens of itself; when it has long been over."""
        for sale in self._told.sales:
            self.later(sale.at_s, lambda sale=sale: self._sell(sale))  # type: ignore[misc]
        for arrival in self._told.arrivals:
            self.later(arrival.at_s, lambda arrival=arrival: self._arrive(arrival))  # type: ignore[misc]
        last = max((one.at_s for one in (*self._told.sales, *self._told.arrivals)), default=0.0)
        last += max((sale.pays_s or world.CLOSES_S for sale in self._told.sales), default=0.0)
        tail = max(ways.poll_s + 4 * ways.latency_s for ways in self._told.shops) * TAIL_POLLS + 8 * QUIET_S
        for ident, shop in self.shops.items():
            self.later(self._chance.uniform(0, shop.ways.poll_s), lambda ident=ident: self._poll(ident))  # type: ignore[misc]
        self.later(QUIET_S, self._read_back)
        return self.now + timedelta(seconds=last + tail)

    def _pass(self, at: datetime) -> None:
        """Time goes by; what is free and shown nowhere is withheld meanwhile."""
        seconds = (at - self.now).total_seconds()
        if seconds > 0:
            hidden = (max(0, n - self._shown(ref)) for ref, n in self._free.items())
            self._withheld += seconds * sum(hidden)
        self.now = at

    def _shown(self, ref: str) -> int:
        return max(shop.shows(ref) for shop in self.shops.values())

    # What happens in the world

    def _sell(self, sale: Sale) -> None:
        shop, ref = self.shops[self._world.shops[sale.shop]], str(sale.item)
        self._asked += sale.units
        bought = shop.buy(ref, sale.units, self.now)
        if bought is None:
            self._turned_away += sale.units
            self._lost_sales += min(sale.units, max(0, self._free[ref]))
            return
        self._sold += sale.units
        self._window.sold(shop.number, ref, bought.ref, sale.units, shop.applies_at_once)
        if sale.pays_s is None:
            self.later(world.CLOSES_S, lambda: self._close(shop, bought))
        elif sale.pays_s:
            self.later(sale.pays_s, lambda: self._pay(shop, bought))
        else:
            self._pay(shop, bought)

    def _pay(self, shop: Shop, bought: Bought) -> None:
        shop.pay(bought, self.now)
        if shop.ways.decrements_at == "pay":
            self._window.applied(shop.number, bought.listing, bought.ref)

    def _close(self, shop: Shop, bought: Bought) -> None:
        shop.close(bought, self.now)
        self._window.closed(shop.number, bought.listing, bought.ref, shop.applies_at_once)

    def _arrive(self, arrival: Arrival) -> None:
        key = f"arrival:{next(self._numbers)}"
        self._store.write(lambda tx: world.count(tx, self._world, arrival.item, arrival.units, key))
        if arrival.units < 0:
            self._window.lost(str(arrival.item), key, -arrival.units)
        self._stirred = True

    # What the hub hears

    def _poll(self, ident: int) -> None:
        """Its feed is asked; what it says now is heard a little later."""
        shop, at = self.shops[ident], self.now
        told = shop.told(self._read_until.get(ident), at)
        self._read_until[ident] = at
        self.later(2 * shop.ways.latency_s, lambda: self._hear(ident, told, at))
        self.later(shop.ways.poll_s, lambda: self._poll(ident))

    def _hear(self, ident: int, orders: Sequence[Order], at: datetime) -> None:
        if orders:
            documents = [self._document(order) for order in orders]
            kept = self._store.write(lambda tx: inbox.keep(tx, ident, self._world.merchant, documents))
            spoken = [
                Spoken("order", number, ident, self._world.merchant, order)
                for number, order in zip(sorted(kept.new), orders, strict=True)
            ]
            self._store.write(lambda tx: decide(tx, spoken))
            self._window.heard(order.ref for order in orders if order.claims_stock)
            self._stirred = True
        self._store.write(lambda tx: world.caught_up(tx, ident, at))

    def _document(self, order: Order) -> Document:
        event = str(UUID(int=next(self._numbers)))
        return Document(kind="order", ref=order.ref, event_id=event, body=order.model_dump_json().encode())

    # What the hub says

    def _publish(self) -> None:
        """Marks become writes, and every write that is due is on its way, where anything was stirred since."""
        if not self._stirred:
            return
        self._stirred = False
        with self._store.read() as tx:
            marked, due = publish_stock.any_marks(tx), outbox.any_due(tx, "stock")
        while marked and self._store.write(lambda tx: publish_stock.take_marks(tx, NEVER_STOP, self._board)):
            due = True
        while due:
            claimed = self._store.write(self._claim)
            for row, said in claimed:
                if said.levels:
                    self._call(row, said)
            due = any(not said.levels for _, said in claimed)
        with self._store.read() as tx:
            self._free = world.free(tx, self._world)

    def _claim(self, tx: Transaction) -> list[tuple[Any, Said]]:
        rows = outbox.claim(tx, "stock", 1000, 3600)
        found = list(zip(rows, publish_stock.compute_all(tx, rows, NEVER_STOP) if rows else [], strict=True))
        for row, said in found:
            if not said.levels:
                outbox.moot(tx, row, "no longer wanted")
        return found

    def _call(self, row: Any, said: Said) -> None:
        shop, known = self.shops[row["connection_id"]], self._window.known()
        self._calls += 1
        if said.reads:
            self.later(shop.ways.latency_s, lambda: self._read_first(row, said, shop, known))
        else:
            self.later(shop.ways.latency_s, lambda: self._land(row, said, said.levels, shop, known))

    def _read_first(self, row: Any, said: Said, shop: Shop, known: set[str]) -> None:
        levels = publish_stock.after_read(said, {level.listing: shop.shows(level.listing) for level in said.levels})
        told = [one.listing for one in levels if one.listing in said.expected]  # others are written as if unread
        known = known | self._window.seen_at(shop.number, told)
        self.later(2 * shop.ways.latency_s, lambda: self._land(row, said, levels, shop, known))

    def _land(self, row: Any, said: Said, levels: Sequence[Level], shop: Shop, known: set[str]) -> None:
        """The write arrives; its answer comes back, or never."""
        error: YipanError | None = None
        try:
            shop.write(levels)
        except Mismatch as mismatch:
            error = mismatch
        else:
            for level in levels:
                absolute = level.form == "set" and shop.ways.level_means == "saleable"
                self._window.landed(shop.number, level.listing, known, absolute)
            if self._chance.random() < shop.ways.lost:
                error = InDoubt("the answer never came")
        self.later(shop.ways.latency_s, lambda: self._answered(row, said, error))

    def _answered(self, row: Any, said: Said, error: YipanError | None) -> None:
        lost = isinstance(error, InDoubt)

        def book(tx: Transaction) -> None:
            if isinstance(error, Mismatch):
                note_told.mismatched(tx, said)
                outbox.again(tx, row, 0)
            elif lost:
                note_told.lost(tx, said)
                outbox.again(tx, row, RETRY_S)
            elif outbox.done(tx, row):
                note_told.told(tx, said)

        self._store.write(book)
        self._stir()
        if lost:
            self.later(RETRY_S, self._stir)

    def _stir(self) -> None:
        self._stirred = True

    def _read_back(self) -> None:
        """Figures in doubt are read at quiet times, and judged once all sales before that were heard."""
        with self._store.read() as tx:
            rows, read = note_told.doubtful(tx, QUIET_S), note_told.any_read(tx)
        for row in rows:
            self._note_shown(row)
        if read:
            self._store.write(lambda tx: note_told.judge(tx, MARGIN_S))
            self._stir()
        self.later(QUIET_S, self._read_back)

    def _note_shown(self, row: Any) -> None:
        shop, ident = self.shops[row["connection_id"]], row["connection_id"]
        shown, at = {row["ref"]: shop.shows(row["ref"])}, self.now
        self._store.write(lambda tx: note_told.note_shown(tx, ident, shown, at))

    # What came of it

    def _result(self) -> Result:
        with self._store.read() as tx:
            ov, cl = t.oversold.c, t.claims.c
            causes = tx.conn.execute(select(ov.cause, func.sum(ov.units)).group_by(ov.cause)).all()
            missing = select(func.coalesce(func.sum(cl.asked - cl.shipped - cl.backed), 0)).where(cl.open.is_(True))
            left = int(tx.conn.execute(missing).scalar_one())
            rows = tx.rows(select(t.listings))
            wanted = saleable.targets(tx, rows)
        astray = sum(self.shops[r["connection_id"]].shows(r["ref"]) != wanted[r["id"]] for r in rows)
        oversold = {str(cause): int(units) for cause, units in causes}
        span = max(1.0, (self.now - BEGINNING).total_seconds())
        return Result(
            asked=self._asked,
            sold=self._sold,
            turned_away=self._turned_away,
            lost_sales=self._lost_sales,
            oversold=sum(units for cause, units in oversold.items() if cause != NOT_TOGETHER),
            oversold_by=oversold,
            short=left,
            window=self._window.units,
            withheld=round(self._withheld / span, 2),
            calls=self._calls,
            astray=astray,
        )
