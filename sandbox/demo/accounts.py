"""The audit: the hub's figures against the twins' own books, over HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from sandbox.demo import sharing
from sandbox.demo.goods import KEEPER, WAREHOUSES
from sandbox.demo.town import SHOPS, Town

QUIET_S = 1.0
OPEN = ("waiting", "sending", "in_doubt")


@dataclass(frozen=True)
class Books:
    """Everything both sides say, read once."""

    figures: dict[str, Any]
    twins: dict[str, Any]
    orders: list[dict[str, Any]]
    parked: list[dict[str, Any]]

    @property
    def placed(self) -> dict[tuple[str, str], dict[str, Any]]:
        """(shop, ref) → order, by the shops' own count."""
        return {(shop, ref): order for shop in SHOPS for ref, order in self.twins[shop]["orders"].items()}

    @property
    def parked_refs(self) -> set[tuple[str, str]]:
        """Orders whose document is parked and that are not in our books."""
        known = {(o["shop"], o["ref"]) for o in self.orders}
        return {
            (p["connection"], p["ref"]) for p in self.parked if p["kind"] == "document" and p["what"] == "order"
        } - known


def read_books(town: Town) -> Books:
    """Read both sides."""
    twins = {name: town.ask(name, "books") for name in town.twins}
    return Books(town.api("GET", "/figures"), twins, town.rows("/orders"), town.rows("/parked"))


def wait_until_quiet(town: Town, stall_s: float, say: Any) -> bool:
    """Until nothing is due on either side for a while; False when nothing has moved for `stall_s` seconds.

    Patience is measured by what moves and not by the clock: a slow machine takes long, a hub that hangs stands still.
    """
    moved_at, quiet_since, before = time.monotonic(), None, None
    while True:
        busy, now = _busy(town), time.monotonic()
        say(busy)
        if busy != before:
            moved_at, before = now, busy
        if busy:
            quiet_since = None
            if now - moved_at > stall_s:
                return False
        else:
            quiet_since = quiet_since or now
            if now - quiet_since > QUIET_S:
                return True
        time.sleep(0.25)


def _busy(town: Town) -> dict[str, Any]:
    """What is still going on, empty when nothing is."""
    figures = town.api("GET", "/figures")
    placed = sum(len(town.ask(shop, "books")["orders"]) for shop in SHOPS)
    orders = Counter(figures["orders"])
    busy = {
        "untaken": placed - sum(orders.values()) - figures["inbox"].get("parked", 0),
        "inbox": figures["inbox"].get("waiting", 0),
        "outbox": sum(figures["outbox"].get(state, 0) for state in OPEN),
        "marks": figures["marks"],
        "doubts": figures["doubts"],
        "orders": sum(orders[state] for state in ("taken", "unpaid", "held", "released", "part_shipped", "shipped")),
        "wms": 0 if town.ask("qimen", "books")["idle"] else 1,
        "sf": 0 if town.ask("sf", "books")["idle"] else 1,
    }
    return {name: n for name, n in busy.items() if n > 0}


def report(town: Town, books: Books, faults: dict[str, Any]) -> dict[str, Any]:
    """The demo's result, all figures. faults: what each twin has counted of its own faults and calls."""
    figures, placed = books.figures, books.placed
    states = Counter(_fate(o) for o in books.orders)
    bitten: Counter[str] = Counter()
    for one in faults.values():
        bitten.update(one["bitten"])
    levels = read_levels(town)
    result = {
        "orders": {
            "placed": len(placed),
            "taken": len(books.orders),
            "short": states["short"],
            "cancelled": states["cancelled"],
            "shipped": states["shipped"] + states["delivered"],
            "delivered": states["delivered"],
            "parked": len(books.parked_refs),
        },
        "ledger_overcommitted_units": figures["ledger_overcommitted_units"],
        "shop_oversold_units": figures["shop_oversold_units"],
        "ledger_drift_units": _ledger_drift(town, books),
        "channel_drift_units": sum(abs(row["shown"] - row["target"]) for row in levels),
        "waybills_doubled": books.twins["sf"]["waybills_doubled"] + books.twins["qimen"]["waybills_doubled"],
        "fulfilments_doubled": _doubled(books) + books.twins["tryton"]["sales_doubled"],
        **sharing.figures(town),
        "duplicates_absorbed": figures["tallies"].get("duplicates_absorbed", 0),
        "faults": dict(sorted(bitten.items())),
        "calls": sum(sum(one["calls"].values()) for one in faults.values()),
    }
    return {**result, "audit": audit(town, books, result, levels) or "clean"}


def _doubled(books: Books) -> int:
    """Shipments a shop holds of a waybill beyond the confirmations its warehouse made of it."""
    told = Counter(s["waybill"] for order in books.placed.values() for s in order["shipments"])
    made = {d["waybill"]: d["confirmations"] for d in books.twins["qimen"]["deliveries"].values()}
    return sum(max(0, n - made.get(waybill, 0)) for waybill, n in told.items())


def _fate(order: dict[str, Any]) -> str:
    """short: paid, and ended without stock (called off at the shop, or waiting for it); else as our books say."""
    ended_short = order["state"] == "short" or (order["state"] == "cancelled" and order["paid_at"] is not None)
    return "short" if ended_short else str(order["state"])


def read_levels(town: Town) -> list[dict[str, Any]]:
    """What every shop shows, read through the hub's own connectors, beside what it should."""
    command = [sys.executable, "-P", "-m", "workers", "levels", "--json"]
    done = subprocess.run(command, env=town.environment, capture_output=True, text=True, timeout=120, check=True)
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def _ledger_drift(town: Town, books: Books) -> int:
    ours: Counter[str] = Counter()
    for row in town.rows("/stock"):
        ours[f"{WAREHOUSES[row['warehouse']]}|{KEEPER}|{row['sku']}|{row['condition']}"] += row["on_hand"]
    theirs = books.twins["qimen"]["stock"]
    return sum(abs(ours.get(cell, 0) - theirs.get(cell, 0)) for cell in {*ours, *theirs})


def audit(town: Town, books: Books, result: dict[str, Any], levels: list[dict[str, Any]]) -> list[str]:
    """One sentence per breach."""
    o = result["orders"]
    breaches = [f"{name} is {result[name]}, not 0" for name in ZERO if result[name]]
    if o["placed"] != o["taken"] + o["parked"]:
        breaches.append(f"placed {o['placed']} is not taken {o['taken']} + parked {o['parked']}")
    if o["taken"] != o["shipped"] + o["short"] + o["cancelled"]:
        breaches.append(
            f"taken {o['taken']} is not shipped {o['shipped']} + short {o['short']} + cancelled {o['cancelled']}"
        )
    if o["delivered"] != o["shipped"]:
        breaches.append(f"delivered {o['delivered']} is not shipped {o['shipped']}")
    breaches += [
        f"{r['connection']} shows {r['shown']} of listing {r['listing']}, not {r['target']}"
        for r in levels
        if r["shown"] != r["target"]
    ]
    return [*breaches, *_sent_as_bought(books), *_ledger(town)]


ZERO = (
    "ledger_overcommitted_units",
    "ledger_drift_units",
    "channel_drift_units",
    "waybills_doubled",
    "fulfilments_doubled",
    "contracts_overdrawn",
)


def _sent_as_bought(books: Books) -> list[str]:
    """Every paid order at a shop was fulfilled there in full with a waybill, unless it ended short."""
    fates = {(o["shop"], o["ref"]): _fate(o) for o in books.orders}
    breaches = []
    for (shop, ref), order in books.placed.items():
        if fates.get((shop, ref)) not in ("shipped", "delivered"):
            continue
        lines = [line for line in order["lines"] if line["shipped"] != line["quantity"]]
        if lines or not all(s["waybill"] for s in order["shipments"]):
            breaches.append(f"{shop} has not been told that {ref} was shipped in full")
    return breaches


def _ledger(town: Town) -> list[str]:
    """The hub's own audit of its journals."""
    command = [sys.executable, "-P", "-m", "workers", "audit"]
    done = subprocess.run(command, env=town.environment, capture_output=True, text=True, timeout=120, check=False)
    return [] if done.returncode == 0 else done.stdout.splitlines() or [done.stderr[-300:]]
