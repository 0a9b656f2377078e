"""Speaks to the tiny shop: JSON, an HMAC over each body, errors inside HTTP 200."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from connectors.spi import Connection, Manifest, Outcome, Outgoing, Page, Reply, Request
from connectors.wire.http import Http, lost, read_json
from connectors.wire.signing import same
from core.errors import NotAuthorised, Unfit, YipanError
from core.model import Document


class Tiny:
    """One shop."""

    def __init__(self, connection: Connection, manifest: Manifest, http: Http, now: Callable[[], datetime]) -> None:
        self.shop, self.secret = connection.settings["shop"], connection.secrets["secret"]
        self.manifest, self.http = manifest, http

    def fetch_orders(self, cursor: Mapping[str, Any]) -> Page:
        """Orders changed after a number, oldest change first."""
        after = cursor.get("after", 0)
        answer = self._ask("fetch_orders", "/orders", {"after": after}, reads=True)
        rows = _part(answer, "orders", reads=True)
        last = rows[-1].get("change", after + 1) if rows else after
        return Page([_order(row) for row in rows], cursor={"after": last}, more=bool(rows))

    def fetch_one(self, kind: str, ref: str) -> Document:
        """One order."""
        return _order(_part(self._ask("fetch_one", "/order", {"id": ref}, reads=True), "order", reads=True))

    def fetch_stock(self, refs: Sequence[str]) -> Sequence[Document]:
        """What the shop shows."""
        answer = self._ask("fetch_stock", "/shown", {"ids": list(refs)}, reads=True)
        return [Document(kind="stock", ref=",".join(refs), body=_bytes(answer))]

    def send_stock(self, batch: Sequence[Outgoing], step: str = "") -> Sequence[Outcome]:
        """Set what the shop shows."""
        for row in batch:
            self._ask("send_stock", "/show", row.body, reads=False)
        return [Outcome.done() for _ in batch]

    def send_shipment(self, batch: Sequence[Outgoing], step: str = "") -> Sequence[Outcome]:
        """Tell of a parcel; a second call makes a second parcel there."""
        made = [self._ask("send_shipment", "/ship", row.body, reads=False) for row in batch]
        return [Outcome.done(str(_part(one, "parcel", reads=False))) for one in made]

    def probe(self, ability: str, row: Outgoing, step: str = "") -> Outcome:
        """Whether the order has a parcel."""
        parcels = self._ask("probe", "/order", {"id": row.ref}, reads=True)["order"]["parcels"]
        return Outcome.done(str(parcels[0])) if parcels else Outcome.absent()

    def read_callback(self, request: Request) -> Sequence[Document]:
        """A pushed order."""
        if not same(sign(self.secret, request.body), request.headers.get("x-sign", "")):
            raise NotAuthorised("the push is not signed by the shop")
        return [_order(read_pushed(request.body))]

    def acknowledge(self, request: Request, error: YipanError | None) -> Reply:
        """The shop reads ok."""
        return Reply(200, b'{"ok": true}' if error is None else b'{"ok": false}')

    def _ask(self, ability: str, path: str, body: Any, *, reads: bool) -> Any:
        text = _bytes({"shop": self.shop, **body})
        headers = {"X-Sign": sign(self.secret, text)}
        answer = read_json(self.http.call(ability, "POST", path, reads=reads, data=text, headers=headers), reads=reads)
        if not isinstance(answer, dict) or not {"ok", "error"} & set(answer):
            raise lost("the answer holds neither ok nor error", reads=reads)
        if "error" in answer:
            raise self.manifest.decide(answer["error"], "the shop says so")
        return answer["ok"]


def sign(secret: str, body: bytes) -> str:
    """The shop's signature."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def read_pushed(body: bytes) -> Any:
    """The order inside a push."""
    order = json.loads(body)
    if not isinstance(order, dict):
        raise Unfit("the push is no order")
    return order


def _part(answer: Any, name: str, *, reads: bool) -> Any:
    if not isinstance(answer, dict) or name not in answer:
        raise lost(f"the answer has no {name}", reads=reads)
    return answer[name]


def _order(row: Any) -> Document:
    return Document(kind="order", ref=row.get("id", "?"), body=_bytes(row), version=f"{row.get('change', 0):09}")


def _bytes(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=float).encode()
