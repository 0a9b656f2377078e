"""A Tryton 8.2 with one database: sessions, products, stock of one warehouse, and sales that can be doubled.

Answers and errors are shaped as a running trytond 8.2.1 gave them (erp-wms-tms §15, peers). Sales are not unique by
reference there, and so they aren't here.
"""

from __future__ import annotations

import json
import secrets
import threading
from base64 import b64decode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sandbox.twin import Answer, Call, Faults

PASSWORD = "tryton-sandbox"
SETTINGS: dict[str, Any] = {
    "database": "yipan",
    "login": "yipan",
    "rpc_path": "/rpc/",
    "company": 1,
    "party": 2,
    "address": 2,
    "warehouse": 5,
    "unit": 1,
    "payment_term": 10,
    "freight_product": 9,
}
SECRETS = {"password": PASSWORD}
FREIGHT = {"id": 9, "code": "FREIGHT", "name": "运费"}
PRODUCTS = [
    {"id": 101, "code": "SKU-001", "name": "棉T恤 白 M"},
    {"id": 102, "code": "SKU-002", "name": "棉T恤 黑 L"},
    {"id": 103, "code": "SKU-003", "name": "帆布包"},
]
QUANTITIES = {"SKU-001": 100, "SKU-002": 200, "SKU-003": 300}
RECORDS = {"party": "Party", "invoice_address": "Invoice Address", "shipment_address": "Shipment Address"}
RECORDS |= {"warehouse": "Warehouse", "payment_term": "Payment Term", "currency": "Currency", "company": "Company"}
EXISTING = {"party": 2, "invoice_address": 2, "shipment_address": 2, "warehouse": 5, "payment_term": 10, "currency": 1}
EXISTING |= {"company": 1, "unit": 1}
SALE = {*RECORDS, "reference", "description", "sale_date", "invoice_method", "shipment_method", "lines"}
LINE = {"type", "product", "quantity", "unit", "unit_price"}
ALLOWED = {"quote": ("draft",), "confirm": ("quotation",), "cancel": ("draft", "quotation")}
BECOMES = {"quote": "quotation", "confirm": "processing", "cancel": "cancelled"}
PREFERENCES = {"company_filter": "one", "employees": [], "companies": [1], "company": 1, "language": "en", "groups": []}
WORDS = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed"}
WORDS |= {429: "Too Many Requests"}
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
    "in": lambda a, b: a in b,
    ">": lambda a, b: a is not None and a > b,
    ">=": lambda a, b: a is not None and a >= b,
}


class Said(Exception):
    """An error as trytond's exceptions carry it: inside HTTP 200 when the request had the three names."""

    def __init__(self, *error: Any) -> None:
        super().__init__(*error)
        self.error = list(error)


class Status(Exception):
    """An HTTP error page."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Tryton:
    """The twin. `lost` holds sales that were answered as made and are in no book."""

    write_abilities = ("send_sale",)

    def __init__(self, faults: Faults) -> None:
        self._faults, self._lock = faults, threading.Lock()
        self.database, self.login, self.password = SETTINGS["database"], SETTINGS["login"], PASSWORD
        self.sessions: set[str] = set()
        self.products: dict[int, dict[str, Any]] = {}
        self.quantities: dict[str, float] = {}
        self.sales: dict[int, dict[str, Any]] = {}
        self.lost: set[int] = set()
        self._lose = 0
        self._last = datetime.min.replace(tzinfo=UTC)
        self.methods: dict[str, Callable[..., Any]] = {
            "model.res.user.get_preferences": lambda context_only, context: PREFERENCES,
            "model.currency.currency.search": self._currencies,
            "model.product.product.search_read": self._products,
            "model.sale.sale.search": lambda *asked: [row["id"] for row in self._search(self.sales, *asked)],
            "model.sale.sale.search_read": self._sales,
            "model.sale.sale.create": lambda rows, context: [self._create(row) for row in rows],
            **{f"model.sale.sale.{step}": self._step(step) for step in ALLOWED},
        }

    def ability(self, call: Call) -> str:
        """Reads of sales are probes; login, preferences and currencies come before any of them."""
        try:
            method, params = call.json["method"], call.json["params"]
        except (ValueError, KeyError, TypeError):
            return "unreadable"
        if method == "model.product.product.search_read":
            return "fetch_stock" if "quantity" in params[4] else "fetch_items"
        if method.startswith("model.sale.sale.search"):
            return "probe"
        return "send_sale" if method.startswith("model.sale.sale.") else "login"

    def throttled(self, call: Call) -> Answer:
        """trytond says so to too many logins; a proxy before it to anything."""
        return _page(429)

    def answer(self, call: Call) -> Answer:
        """One RPC, alone: a transaction that fails leaves nothing behind."""
        with self._lock:
            try:
                return self._answer(call)
            except Status as page:
                return _page(page.status)

    def _answer(self, call: Call) -> Answer:
        if call.path != f"/{self.database}/rpc/":
            raise Status(405 if call.path == f"/{self.database}/" else 404)
        method, params = _read(call)
        if method == "common.db.login":
            return _json({"id": call.json.get("id"), "result": self._login(*params)})
        self._check_session(call)
        try:
            return _json({"id": call.json["id"], "result": self._dispatch(method, params)})
        except Said as said:
            return _json({"id": call.json["id"], "error": said.error})

    def _login(self, login: str, parameters: dict[str, str], language: str = "en") -> list[Any]:
        if (login, parameters.get("password")) != (self.login, self.password):
            raise Status(401)
        token = secrets.token_hex(16)
        self.sessions.add(token)
        return [1, token, None]

    def _check_session(self, call: Call) -> None:
        kind, _, text = call.headers.get("authorization", "").partition(" ")
        parts = b64decode(text).decode().rsplit(":", 2) if kind == "Session" else []
        if len(parts) != 3 or parts[:2] != [self.login, "1"] or parts[2] not in self.sessions:
            raise Status(401)

    def _dispatch(self, method: str, params: list[Any]) -> Any:
        if method not in self.methods:
            model = method.removeprefix("model.").rpartition(".")[0]
            if any(known.startswith(f"model.{model}.") for known in self.methods):
                raise Status(403)
            raise Said(repr(model), "")
        if not params or not isinstance(params[-1], dict):
            raise Said("the last parameter is no context", "")
        return self.methods[method](*params)

    def _currencies(self, domain: Any, offset: int, limit: int | None, order: Any, context: Any) -> list[int]:
        known = {1: {"id": 1, "code": "CNY"}}
        return [row["id"] for row in self._search(known, domain, offset, limit, order, context)]

    def _products(self, domain: Any, offset: int, limit: int | None, order: Any, fields: Any, context: Any) -> Any:
        rows = [self._product(product, context) for product in self.products.values()]
        found = self._search({row["id"]: row for row in rows}, domain, offset, limit, order, context)
        if limit and len(found) == limit > 1 and self._faults.level == "harsh":
            # Somebody edits a product of the page just read, before the next page is asked for.
            self.products[found[0]["id"]]["write_date"] = self._now()
            self._faults.note("moving_pages/fetch_items")
        return [_picked(row, fields) for row in found]

    def _product(self, product: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
        here = SETTINGS["warehouse"] in context.get("locations", ())
        quantity = self.quantities.get(product["code"], 0) if here else 0
        template = {"id": product["id"], "name": product["name"], "write_date": product["write_date"]}
        uom = {"id": 1, "symbol": "u"}
        named = {"rec_name": f"[{product['code']}] {product['name']}", "template": template, "default_uom": uom}
        return {**product, **named, "quantity": float(quantity)}

    def _sales(self, domain: Any, offset: int, limit: int | None, order: Any, fields: Any, context: Any) -> Any:
        return [_picked(row, fields) for row in self._search(self.sales, domain, offset, limit, order, context)]

    def _search(
        self, rows: dict[int, dict[str, Any]], domain: Any, offset: int, limit: int | None, order: Any, context: Any
    ) -> list[dict[str, Any]]:
        """By id. What is no longer active shows only when the context says so."""
        shown = [row for row in rows.values() if row.get("active", True) or not context.get("active_test", True)]
        found = sorted((row for row in shown if _fits(row, domain)), key=lambda row: int(row["id"]))
        return found[offset:][:limit]

    def _create(self, values: dict[str, Any]) -> int:
        _check_names(values, SALE)
        if not values.get("party"):
            raise _user_error('A value is required for field "Party" in "Sale".')
        for name, title in RECORDS.items():
            if values.get(name) not in (None, EXISTING[name]):
                raise _user_error(f'The value "{values[name]}" for field "{title}" in "Sale" does not exist.')
        lines = [self._line(line) for action, made in values.get("lines", []) if action == "create" for line in made]
        sale_id = len(self.sales) + 1
        made_of = {"id": sale_id, "state": "draft", "reference": values.get("reference"), "lines": lines}
        self.sales[sale_id] = {**values, **made_of}
        if self._lose:
            self._lose -= 1
            self.lost.add(sale_id)
        return sale_id

    def _line(self, line: dict[str, Any]) -> dict[str, Any]:
        _check_names(line, LINE)
        if line.get("product") not in self.products:
            raise _user_error(f'The value "{line.get("product")}" for field "Product" in "Sale Line" does not exist.')
        if line.get("unit") != EXISTING["unit"]:
            raise _user_error('A value is required for field "Unit" in record "(1)" of "Sale Line".')
        price = Decimal(line["unit_price"]["decimal"])
        if -int(price.as_tuple().exponent) > 4:
            raise _user_error(f'The number of digits in the value "{price}" for field "Unit Price" exceeds the limit.')
        code = self.products[line["product"]]["code"]
        return {"product": line["product"], "code": code, "quantity": line["quantity"], "unit_price": str(price)}

    def _step(self, step: str) -> Callable[..., None]:
        def take(ids: list[int], context: dict[str, Any]) -> None:
            for sale_id in ids:
                sale = self.sales.get(sale_id, {"state": "missing"})
                if sale["state"] not in ALLOWED[step]:
                    name = f"{sale_id} [{sale['reference']}]" if "reference" in sale else str(sale_id)
                    raise _user_error(f'You can not call "{step}" on "{name}" of "Sale".')
                sale["state"] = BECOMES[step]

        return take

    def control(self, action: str, body: Any) -> Any:
        """setup {login, password, db, products, quantities}, books, lie, lose, change, step {step, id}, expire."""
        with self._lock:
            return getattr(self, f"_do_{action}")(body or {})

    def _do_setup(self, body: dict[str, Any]) -> dict[str, Any]:
        self.database, self.login = body.get("db", self.database), body.get("login", self.login)
        self.password = body.get("password", self.password)
        if "products" in body:
            self.products = {row["id"]: self._made(row) for row in (FREIGHT, *body["products"])}
        self.quantities = body.get("quantities", self.quantities)
        return {}

    def _made(self, product: dict[str, Any]) -> dict[str, Any]:
        """A product nobody has changed yet has no write_date."""
        return {"create_date": self._now(), "write_date": None, "active": True, "salable": True, **product}

    def _do_change(self, body: dict[str, Any]) -> dict[str, Any]:
        self.products[body["id"]] |= {**body, "write_date": self._now()}
        return {}

    def _now(self) -> datetime:
        """The time, never the same twice."""
        self._last = max(datetime.now(UTC), self._last + timedelta(microseconds=1))
        return self._last

    def _do_books(self, body: dict[str, Any]) -> dict[str, Any]:
        """Sales by reference: the first of each, and how often it was made. Lines carry ids and codes of products."""
        sales: dict[str, dict[str, Any]] = {}
        for sale in (sale for sale in self.sales.values() if sale["id"] not in self.lost):
            entry = {name: sale[name] for name in ("id", "state", "lines")}
            first = sales.setdefault(str(sale["reference"]), {**entry, "times_created": 0})
            first["times_created"] += 1
        return {"sales": sales, "sales_doubled": sum(entry["times_created"] - 1 for entry in sales.values())}

    def _do_lie(self, body: dict[str, Any]) -> dict[str, Any]:
        by = body.get("by", 1)
        if body.get("what", "stock") == "stock":
            code = body.get("code") or next(iter(self.quantities))
            self.quantities[code] += by
        else:
            next(iter(self.sales.values()))["lines"][0]["quantity"] += by
        return {}

    def _do_lose(self, body: dict[str, Any]) -> dict[str, Any]:
        self._lose += 1
        return {}

    def _do_step(self, body: dict[str, Any]) -> dict[str, Any]:
        """A person at the screen quotes, confirms or cancels a sale."""
        self._step(body["step"])([body["id"]], {})
        return {}

    def _do_expire(self, body: dict[str, Any]) -> dict[str, Any]:
        self.sessions.clear()
        return {}


def make(faults: Faults, **options: Any) -> Tryton:
    """A Tryton without products; options are those of `setup`."""
    twin = Tryton(faults)
    twin.control("setup", {"products": [], **options})
    return twin


def prepare(twin: Tryton, ability: str) -> None:
    """Three products with stock."""
    twin.control("setup", {"products": PRODUCTS, "quantities": dict(QUANTITIES)})


def effects(twin: Tryton, ability: str) -> int:
    """How many sales were made, doubled ones counted twice."""
    return len(twin.sales) - len(twin.lost) if ability == "send_sale" else 0


def _read(call: Call) -> tuple[str, list[Any]]:
    try:
        asked = json.loads(call.body, object_hook=_plain)
        return asked["method"], asked["params"]
    except (ValueError, KeyError, TypeError):
        raise Status(400) from None


def _plain(value: dict[str, Any]) -> Any:
    """Typed JSON as trytond reads it; a Decimal stays as it came, for the digits it was written with."""
    if value.get("__class__") == "datetime":
        return datetime(**{part: value[part] for part in PARTS}, tzinfo=UTC)
    return value


PARTS = ("year", "month", "day", "hour", "minute", "second", "microsecond")


def _typed(value: Any) -> Any:
    if isinstance(value, datetime):
        return {"__class__": "datetime", **{part: getattr(value, part) for part in PARTS}}
    raise TypeError(type(value))


def _fits(row: dict[str, Any], domain: Any) -> bool:
    """A domain: a list of clauses that all hold, or one whose first word is OR."""
    if domain and isinstance(domain[0], str) and domain[0] != "OR":
        return COMPARE[domain[1]](_walk(row, domain[0]), domain[2])
    if domain and domain[0] == "OR":
        return any(_fits(row, clause) for clause in domain[1:])
    return all(_fits(row, clause) for clause in domain)


def _walk(row: dict[str, Any], name: str) -> Any:
    first, _, rest = name.partition(".")
    if first not in row:
        raise Said(repr(first), "")
    return _walk(row[first], rest) if rest else row[first]


def _picked(row: dict[str, Any], fields: list[str]) -> dict[str, Any]:
    """The fields asked for; those behind a dot stand under `name.` with the id of what they belong to."""
    picked: dict[str, Any] = {"id": row["id"]}
    for name in fields:
        first, _, rest = name.partition(".")
        if rest:
            picked.setdefault(f"{first}.", {"id": row[first]["id"]})[rest] = _walk(row, name)
        else:
            picked[name] = _walk(row, name)
    return picked


def _check_names(values: dict[str, Any], known: set[str]) -> None:
    for name in values:
        if name not in known:
            raise Said(repr(name), "")


def _user_error(text: str) -> Said:
    return Said("UserError", [text, "", None])


def _json(value: Any) -> Answer:
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_typed)
    return Answer(body, content_type="application/json")


def _page(status: int) -> Answer:
    words = WORDS[status]
    body = f"<!doctype html>\n<html lang=en>\n<title>{status} {words}</title>\n<h1>{words}</h1>\n"
    headers = {"WWW-Authenticate": 'Basic realm="Tryton"'} if status == 401 else {}
    return Answer(body, status, "text/html; charset=utf-8", headers)


__all__ = ["SECRETS", "SETTINGS", "Tryton", "effects", "make", "prepare"]
