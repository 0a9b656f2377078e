"""The tiny shop's twin: orders by number of change, figures it shows, parcels, and a signed push."""

from __future__ import annotations

import hashlib
import hmac
import json
from threading import Lock
from typing import Any

from sandbox.twin import Answer, Call, Faults, Pusher

SETTINGS = {"shop": "s1"}
SECRETS = {"secret": "tiny-secret-1"}
PATHS = {
    "/orders": "fetch_orders",
    "/order": "fetch_one",
    "/shown": "fetch_stock",
    "/show": "send_stock",
    "/ship": "send_shipment",
}
PAGE = 2


class TinyTwin:
    """One shop in memory."""

    write_abilities = ("send_stock", "send_shipment")

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.orders: dict[str, dict[str, Any]] = {}
        self.shown: dict[str, int] = {}
        self.sets: list[tuple[str, int]] = []
        self.changes = 0
        self.lock = Lock()
        self.pusher = Pusher(faults, lambda status, body: status == 200 and body == b'{"ok": true}')

    def ability(self, call: Call) -> str:
        return PATHS.get(call.path, "")

    def throttled(self, call: Call) -> Answer:
        return Answer('{"error": "slow"}')

    def control(self, action: str, body: Any) -> Any:
        return {"orders": self.orders, "shown": self.shown}

    def answer(self, call: Call) -> Answer:
        if call.headers.get("x-sign") != sign(call.body):
            return Answer('{"error": "who"}')
        with self.lock:
            return Answer(json.dumps({"ok": self.do(call.path, call.json)}))

    def do(self, path: str, asked: Any) -> Any:
        match path:
            case "/orders":
                return {"orders": self.page(asked["after"])}
            case "/order":
                return {"order": self.orders[asked["id"]]}
            case "/shown":
                return {"shown": [{"id": i, "count": self.shown.get(i, 0)} for i in asked["ids"]]}
            case "/show":
                self.shown[asked["id"]] = asked["count"]
                self.sets.append((asked["id"], asked["count"]))
                return {}
        self.orders[asked["id"]]["parcels"].append(asked["waybill"])
        return {"parcel": asked["waybill"]}

    def page(self, after: int) -> list[dict[str, Any]]:
        changed = sorted((o for o in self.orders.values() if o["change"] > after), key=lambda o: o["change"])
        if self.faults.level == "harsh" and self.changes < 12:
            self.faults.note("moving_pages/fetch_orders")
            self.sell(next(iter(self.orders)))
        return changed[:PAGE]

    def sell(self, ref: str) -> None:
        self.changes += 1
        line = {"n": "1", "what": "P1", "count": 1}
        order = self.orders.setdefault(ref, {"id": ref, "at": "2026-01-02 03:04:05", "lines": [line], "parcels": []})
        order.update(change=self.changes, status="paid")


def sign(body: bytes) -> str:
    return hmac.new(SECRETS["secret"].encode(), body, hashlib.sha256).hexdigest()


def make(faults: Faults, **options: Any) -> TinyTwin:
    """A shop without orders."""
    return TinyTwin(faults)


def prepare(twin: TinyTwin, ability: str) -> None:
    """Five orders."""
    for n in range(1, 6):
        twin.sell(f"T{n}")


def effects(twin: TinyTwin, ability: str) -> int:
    """Parcels made, or figures set to something new."""
    if ability == "send_stock":
        return len(set(twin.sets))
    return sum(len(order["parcels"]) for order in twin.orders.values())


def callbacks(twin: TinyTwin) -> list[dict[str, Any]]:
    """One pushed order."""
    body = json.dumps({"id": "T9", "change": 9, "status": "paid"}).encode()
    return [{"query": [], "headers": {"X-Sign": sign(body)}, "body": body, "kind": "order"}]
