"""Speaks Tryton's JSON-RPC: a session, model calls whose last parameter is the context, errors inside HTTP 200."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import requests

from connectors.spi import Connection, Manifest, Outcome, Outgoing, Page
from connectors.wire.http import Http, lost, read_json
from connectors.wire.json import write_json
from core.model import Document

PAGE = 100
CODES_PER_READ = 500
ID_MAX = 2**31 - 1
ITEM = ["code", "rec_name", "active", "default_uom.symbol", "template.name"]
CHANGED = ["create_date", "write_date", "template.write_date"]
STOCK = ["code", "quantity"]
PARTS = ("year", "month", "day", "hour", "minute", "second", "microsecond")
REACHED = {"quote": ("quotation", "confirmed", "processing", "done"), "confirm": ("confirmed", "processing", "done")}
"""Step → states of a sale that has it behind itself."""
BEFORE = {"quote": ("draft",), "confirm": ("draft", "quotation")}
"""Step → states of a sale that has it still ahead."""


class Tryton:
    """One account at one Tryton database. The session lives as long as this object and is renewed when it ran out."""

    def __init__(self, connection: Connection, manifest: Manifest, http: Http, now: Callable[[], datetime]) -> None:
        defaults = {name: setting.default for name, setting in manifest.settings.items()}
        self.settings = {**defaults, **connection.settings}
        self.password = connection.secrets["password"]
        self.manifest, self.http, self.now = manifest, http, now
        self.path = f"/{quote(self.settings['database'], safe='')}{self.settings['rpc_path']}"
        self.session = ""
        self.context: dict[str, Any] = {}
        self.currencies: dict[str, int] = {}

    def fetch_items(self, cursor: Mapping[str, Any]) -> Page:
        """Salable products by id; the next pass asks for those changed since this one began."""
        since, after = cursor.get("since"), cursor.get("after", 0)
        overlap = timedelta(seconds=self.manifest.can["fetch_items"].overlap_s)
        began = cursor.get("began") or _typed(self.now() - overlap)
        sold = [["salable", "=", True], ["id", "!=", self.settings["freight_product"]]]
        rows = self._products("fetch_items", [["id", ">", after], *sold, *_changed(since)], PAGE)
        ids = [row["id"] for row in rows if _has_id(row)]
        more = len(rows) == PAGE and bool(ids)
        on = {"since": since, "began": began, "after": max(ids)} if more else {"since": began}
        return Page([_item(row) for row in rows], cursor=on, more=more)

    def fetch_one(self, kind: str, ref: str) -> Document:
        """One product by its id."""
        rows = self._products("fetch_items", [["id", "=", int(ref)]], 1)
        if not rows:
            raise self.manifest.decide("gone", f"there is no product {ref} in Tryton")
        return _item(rows[0])

    def fetch_stock(self, refs: Sequence[str]) -> Sequence[Document]:
        """What the warehouse holds of these products, named by code or id."""
        parts = [refs[n : n + CODES_PER_READ] for n in range(0, len(refs), CODES_PER_READ)]
        return [self._stock(part) for part in parts]

    def send_sale(self, batch: Sequence[Outgoing], step: str = "") -> Sequence[Outcome]:
        """create → quote → confirm; our number travels as the sale's reference, their id is the result of each step."""
        return [self._create(row) if step == "create" else self._advance(row, step) for row in batch]

    def probe(self, ability: str, row: Outgoing, step: str = "") -> Outcome:
        """create: the oldest sale with our reference, for Tryton lets many have it; else by the state of the sale."""
        if step != "create":
            return self._standing(row.reached["create"], step)
        domain = [["reference", "=", row.body["reference"]]]
        ids = self._rows(ability, "sale.sale.search", [domain, 0, 1, [["id", "ASC"]]])
        return Outcome.done(str(ids[0])) if ids else Outcome.absent()

    def _create(self, row: Outgoing) -> Outcome:
        sale = {**row.body, **self._header(row.body["currency"]), "lines": [["create", self._lines(row.body)]]}
        sale.pop("freight", None)
        ids = self._rows("send_sale", "sale.sale.create", [[sale]], reads=False)
        if len(ids) != 1:
            raise lost("the answer names no sale", reads=False)
        return Outcome.done(str(ids[0]))

    def _advance(self, row: Outgoing, step: str) -> Outcome:
        """Tryton refuses a step taken twice, and a person may have taken it there: hence the look before."""
        sale_id = row.reached["create"]
        standing = self._standing(sale_id, step)
        if standing.state != "absent":
            return standing
        self._ask("send_sale", f"sale.sale.{step}", [[int(sale_id)]], type(None), reads=False)
        return Outcome.done(sale_id)

    def _standing(self, sale_id: str, step: str) -> Outcome:
        rows = self._rows("send_sale", "sale.sale.search_read", [[["id", "=", int(sale_id)]], 0, 1, None, ["state"]])
        state = str(rows[0].get("state")) if rows else "gone"
        if state in REACHED[step]:
            return Outcome.done(sale_id)
        if state in BEFORE[step]:
            return Outcome.absent()
        return Outcome.failed(self.manifest.decide(state, f"sale {sale_id} is {state} in Tryton: look at it there"))

    def _header(self, currency: str) -> dict[str, Any]:
        """What one sale is like all others of this connection: ids of their records."""
        wanted = self.settings
        return {
            "party": wanted["party"],
            "invoice_address": wanted["address"],
            "shipment_address": wanted["address"],
            "warehouse": wanted["warehouse"],
            "payment_term": wanted["payment_term"],
            "currency": self._currency(currency),
        }

    def _lines(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        freight = self.settings["freight_product"]
        carried = [{**line, "product": freight} for line in body.get("freight", ()) if freight]
        return [{**line, "unit": self.settings["unit"]} for line in (*body["lines"], *carried)]

    def _currency(self, code: str) -> int:
        """Their id of a currency, asked once."""
        if code not in self.currencies:
            ids = self._rows("send_sale", "currency.currency.search", [[["code", "=", code]], 0, 1, None])
            if not ids:
                raise self.manifest.decide("currency", f"Tryton has no currency {code}: add it there, then retry")
            self.currencies[code] = ids[0]
        return self.currencies[code]

    def _products(self, ability: str, domain: list[Any], limit: int) -> list[Any]:
        """Products by id. Only `active_test` shows those no longer active: a clause on `active` fails beside an OR."""
        params = [domain, 0, limit, [["id", "ASC"]], [*ITEM, *CHANGED]]
        return self._rows(ability, "product.product.search_read", params, active_test=False)

    def _stock(self, refs: Sequence[str]) -> Document:
        ids = [int(ref) for ref in refs if ref.isdecimal() and int(ref) <= ID_MAX]
        named = ["OR", ["code", "in", list(refs)], ["id", "in", ids]]
        params = [[named], 0, None, [["id", "ASC"]], STOCK]
        # Without a date Tryton counts to its company's today; our today may be another one.
        rows = self._rows("fetch_stock", "product.product.search_read", params, locations=[self.settings["warehouse"]])
        return Document(kind="stock", ref=f"{self.settings['warehouse']}/{refs[0]}", body=write_json(rows).encode())

    def _rows(self, ability: str, method: str, params: list[Any], *, reads: bool = True, **context: Any) -> list[Any]:
        rows: list[Any] = self._ask(ability, method, params, list, reads=reads, **context)
        return rows

    def _ask(self, ability: str, method: str, params: list[Any], kind: type, *, reads: bool, **context: Any) -> Any:
        """One model call. A 401 did nothing there: the session ran out, so enter anew and say it again."""
        self._enter(ability)
        response = self._call(ability, f"model.{method}", [*params, {**self.context, **context}], reads, (200, 401))
        if response.status_code == 401:
            self.session = ""
            self._enter(ability)
            response = self._call(ability, f"model.{method}", [*params, {**self.context, **context}], reads, (200,))
        return self._result(response, reads, kind)

    def _enter(self, ability: str) -> None:
        """Log in and learn the user's context, unless both is done."""
        if self.session and self.context:
            return
        self.session = ""
        login = self.settings["login"]
        params = [login, {"password": self.password}, "en"]
        entry = self._result(self._call(ability, "common.db.login", params, True, (200,)), True, list)
        self.session = b64encode(f"{login}:{entry[0]}:{entry[1]}".encode()).decode()
        preferences = self._call(ability, "model.res.user.get_preferences", [True, {}], True, (200,))
        chosen = {"company": self.settings["company"]} if self.settings["company"] else {}
        self.context = {**self._result(preferences, True, dict), **chosen}

    def _call(
        self, ability: str, method: str, params: list[Any], reads: bool, accept: Sequence[int]
    ) -> requests.Response:
        # Tryton answers errors as JSON only to a body of exactly these three names.
        body = write_json({"id": 0, "method": method, "params": params}).encode()
        headers = {"Content-Type": "application/json"}
        if self.session:
            headers["Authorization"] = f"Session {self.session}"
        return self.http.call(ability, "POST", self.path, reads=reads, data=body, headers=headers, accept=accept)

    def _result(self, response: requests.Response, reads: bool, kind: type) -> Any:
        """The answer's result, which must be of this kind."""
        answer = read_json(response, reads=reads)
        if not isinstance(answer, dict):
            raise lost("the answer is no RPC answer", reads=reads)
        if answer.get("error"):
            code, *words = answer["error"] if isinstance(answer["error"], list) else [answer["error"]]
            raise self.manifest.decide(str(code), _sentence(words))
        if "result" not in answer or not isinstance(answer["result"], kind):
            raise lost("the answer holds neither an error nor the result asked for", reads=reads)
        return answer["result"]


def _changed(since: Any) -> list[Any]:
    """create_date counts too: write_date is empty until the first change. A template's name is its products' name."""
    return [["OR", *([name, ">=", since] for name in CHANGED)]] if since else []


def _item(row: Any) -> Document:
    """One product as it came; the newest of its times is its version."""
    if not _has_id(row):
        return Document(kind="item", ref="?", body=write_json(row).encode())
    template = row.get("template.") or {}
    version = max(map(_sortable, (row.get("create_date"), row.get("write_date"), template.get("write_date"))))
    return Document(kind="item", ref=str(row["id"]), body=write_json(row).encode(), version=version or None)


def _has_id(row: Any) -> bool:
    return isinstance(row, dict) and isinstance(row.get("id"), int)


def _typed(time: datetime) -> dict[str, Any]:
    """An aware time in Tryton's typed JSON; times are UTC there."""
    return {"__class__": "datetime", **{part: getattr(time.astimezone(UTC), part) for part in PARTS}}


def _sortable(time: Any) -> str:
    """A typed time as text that sorts; "" for what is none."""
    parts = [time.get(part) for part in PARTS] if isinstance(time, dict) else [None]
    return ".".join(f"{part:06}" for part in parts) if all(isinstance(part, int) for part in parts) else ""


def _sentence(words: Sequence[Any]) -> str:
    """An error's texts: UserError [text, description, …], UserWarning [name, text, …], ConcurrencyException text."""
    flat = [part for word in words for part in (word if isinstance(word, list) else [word])]
    return " ".join(part for part in flat if isinstance(part, str) and part)[:500]
