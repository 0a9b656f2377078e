"""Shoppers: what is bought where follows from the seed alone; when it reaches the shops does not."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sandbox.demo.goods import SCARCE_UNITS, Good
from sandbox.demo.town import SHOPS, Town

THREADS = 8
SCARCE_WANTED = 2 * SCARCE_UNITS


@dataclass(frozen=True)
class Purchase:
    """One purchase. fate: pays at once, pays late, or never (then it is closed). wait_s: before it is made."""

    shop: str
    lines: tuple[tuple[int, int], ...]
    fate: str
    wait_s: float


def plan(goods: Sequence[Good], orders: int, seed: int, span_s: float) -> list[Purchase]:
    """So many purchases. Scarce goods are bought one by one, more often than there are units, and always paid."""
    chance = random.Random(seed)
    plenty, scarce = [g for g in goods if not g.scarce], [g for g in goods if g.scarce]
    wanted = [g.n for g in scarce for _ in range(SCARCE_WANTED)][: max(0, orders // 4)]
    bought = [_one(chance, ((n, 1),), "pays", span_s) for n in wanted]
    while len(bought) < orders:
        lines = tuple((g.n, chance.randint(1, 3)) for g in chance.sample(plenty, chance.choice((1, 1, 2, 3))))
        bought.append(_one(chance, lines, chance.choices(("pays", "late", "never"), (84, 8, 8))[0], span_s))
    return sorted(bought, key=lambda p: p.wait_s)


def _one(chance: random.Random, lines: tuple[tuple[int, int], ...], fate: str, span_s: float) -> Purchase:
    """At a Vendure everything is paid at once: an unpaid cart is no order there."""
    shop = chance.choice(SHOPS)
    return Purchase(shop, lines, fate if shop.startswith("tmall") else "pays", chance.uniform(0, span_s))


def shop_around(town: Town, goods: Sequence[Good], purchases: Sequence[Purchase]) -> None:
    """Make all purchases, several at a time, each at its moment; returns when the last one has met its fate."""
    by_number = {g.n: g for g in goods}
    started = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda p: _buy(town, by_number, p, started), purchases))


def _buy(town: Town, goods: dict[int, Good], purchase: Purchase, started: float) -> None:
    _sleep_until(started + purchase.wait_s)
    lines = [{"listing": goods[n].listing(purchase.shop), "quantity": units} for n, units in purchase.lines]
    body = {"lines": lines, "pay": purchase.fate == "pays"}
    if purchase.shop.startswith("tmall"):
        body["receiver"] = {"oaid": None}
    ref = town.ask(purchase.shop, "buy", body)["ref"]
    if purchase.fate != "pays":
        time.sleep(0.5)
        town.ask(purchase.shop, "pay" if purchase.fate == "late" else "close", {"ref": ref})


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


class Truck:
    """Carries what the warehouse has packed to the courier, until stopped."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self._carried: set[str] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """The last round has been driven."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(0.2):
            packed = self._packed() - self._carried
            if packed:
                self._carried |= set(self._town.ask("sf", "hand_over", {"waybills": sorted(packed)})["taken"])

    def _packed(self) -> set[str]:
        deliveries = self._town.ask("qimen", "books")["deliveries"].values()
        return {d["waybill"] for d in deliveries if d["status"] == "DELIVERED" and d["waybill"]}
