"""A Vendure shop as its Admin API shows it: shoppers pay, the seller reads, sets on-hand levels, fulfils, cancels.

Built from what a running Vendure 3.7.3 answered (peers "Vendure"); tests/peers holds it to the real one.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox.sales.vendure_graphql import Field, Invalid, Operation, Reader, show
from sandbox.sales.vendure_records import (
    Fulfilment,
    Line,
    Order,
    Variant,
    account,
    order_head,
    show_fulfilment,
    show_order,
    show_variant,
)
from sandbox.twin import Answer, Call, Faults

SETTINGS: dict[str, Any] = {"location": "1", "channel": "", "page_size": 50, "username": "superadmin"}
SECRETS = {"api_key": "9f86d081884c7d659a2feaa0:c55ad015a3bf4f1b2b0b822cd15d6c15"}
PASSWORD = "superadmin"
TAKE_MAX = 1000
ABILITIES = {
    "login": "login",
    "orders": "fetch_orders",
    "productVariants": "fetch_stock",
    "updateProductVariants": "send_stock",
    "addFulfillmentToOrder": "send_shipment",
    "transitionFulfillmentToState": "send_shipment",
    "cancelOrder": "send_cancellation",
}
ADDRESS = {
    "fullName": "张三",
    "company": None,
    "streetLine1": "文一西路1号",
    "streetLine2": "2幢301室",
    "city": "杭州市",
    "province": "浙江省",
    "postalCode": "310000",
    "countryCode": "CN",
    "phoneNumber": "13800000000",
}
VARIANTS: list[dict[str, Any]] = [
    {"id": "1", "sku": "CUP-S", "name": "青瓷茶杯 小", "price": 1130, "on_hand": 10},
    {"id": "2", "sku": "CUP-L", "name": "青瓷茶杯 大", "price": 1413, "on_hand": 10, "threshold": 2},
    {"id": "3", "sku": "TOWEL", "name": "毛巾", "price": 2249, "on_hand": 100},
]


class Wrong(Exception):
    """An error of the whole operation: everything of it is rolled back."""

    def __init__(self, code: str, message: str, status: int = 200):
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


def not_found(kind: str, ref: Any) -> Wrong:
    return Wrong("ENTITY_NOT_FOUND", f'No {kind} with the id "{ref}" could be found')


def refusal(typename: str, code: str, message: str, **more: Any) -> dict[str, Any]:
    """A business error: a member of the result's union, inside HTTP 200."""
    return {"__typename": typename, "errorCode": code, "message": message, **more}


class Shop:
    """The twin. One lock around all of its state."""

    write_abilities = ("send_stock", "send_shipment", "send_cancellation")

    def __init__(self, faults: Faults, now: Callable[[], datetime]) -> None:
        self.faults, self._clock, self._lock = faults, now, threading.RLock()
        self.api_key, self.location, self.currency = SECRETS["api_key"], SETTINGS["location"], "CNY"
        self.threshold = 0
        self.sessions: set[str] = set()
        self.variants: dict[str, Variant] = {}
        self.orders: dict[str, Order] = {}
        self.last_id = {"order": 0, "line": 0, "fulfilment": 0}
        self.last_time = ""
        self.oversold = self.stock_writes = self.called_off = 0
        self.to_lose: list[str] = []
        self.moving_pages = False
        self.set_variants(VARIANTS)

    # What the wire asks

    def ability(self, call: Call) -> str:
        """Our name for the operation asked; reading one order is named apart from listing them."""
        body = _spoken(call) or {}
        name = _root_name(str(body.get("query", "")))
        if body.get("operationName") == "Standing":
            return "probe"
        by_code = "code" in ((body.get("variables") or {}).get("options") or {}).get("filter", {})
        return "fetch_one" if name == "orders" and by_code else ABILITIES.get(name, "unknown")

    def throttled(self, call: Call) -> Answer:
        """Vendure has no limit of its own: this is the proxy before it."""
        return Answer("slow down", 429, "text/plain", {"Retry-After": "0.1"})

    def answer(self, call: Call) -> Answer:
        """Read the operation, authenticate, do it, and show what was selected."""
        if call.method != "POST" or call.path != "/admin-api":
            return Answer(json.dumps({"message": f"Cannot {call.method} {call.path}"}), 404)
        try:
            with self._lock:
                return self._run(call)
        except Wrong as wrong:
            return _failed(wrong)
        except Invalid as invalid:
            return _failed(Wrong("GRAPHQL_VALIDATION_FAILED", str(invalid), 400))

    def _run(self, call: Call) -> Answer:
        body = _spoken(call)
        if body is None:
            return Answer("Unexpected token in JSON", 400, "text/plain")
        variables = body.get("variables") or {}
        operation = Reader(body.get("query") or "", variables).operation()
        missing = [name for name in operation.needs if variables.get(name) is None]
        if missing:
            raise Wrong("BAD_USER_INPUT", f'Variable "${missing[0]}" of required type was not provided.')
        data: dict[str, Any] = {}
        headers: dict[str, str] = {}
        for asked in operation.root:
            data[asked.name] = show(self._resolve(operation, asked, call, headers), asked.selected)
        return Answer(json.dumps({"data": data}, ensure_ascii=False), headers=headers)

    def _resolve(self, operation: Operation, asked: Field, call: Call, headers: dict[str, str]) -> Any:
        if asked.name == "login":
            return self._login(asked.arguments, headers)
        if not self._knows(call):
            raise Wrong("FORBIDDEN", "You are not currently authorized to perform this action")
        resolver = RESOLVERS.get((operation.kind, asked.name))
        if resolver is None:
            raise Invalid(f'Cannot query field "{asked.name}" on type "{operation.kind.title()}".')
        return resolver(self, asked.arguments)

    def _knows(self, call: Call) -> bool:
        bearer = call.headers.get("authorization", "").removeprefix("Bearer ")
        return secrets.compare_digest(call.headers.get("vendure-api-key", ""), self.api_key) or bearer in self.sessions

    def _login(self, arguments: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
        if (arguments.get("username"), arguments.get("password")) != (SETTINGS["username"], PASSWORD):
            return refusal(
                "InvalidCredentialsError", "INVALID_CREDENTIALS_ERROR", "The provided credentials are invalid"
            )
        token = secrets.token_hex(16)
        self.sessions.add(token)
        headers["vendure-auth-token"] = token
        return {"__typename": "CurrentUser", "id": "1", "identifier": arguments["username"]}

    # What shoppers, the demo and tests do

    def control(self, action: str, body: Any) -> Any:
        """What the demo and the tests ask."""
        with self._lock:
            return getattr(self, f"on_{action}")(body or {})

    def on_setup(self, body: dict[str, Any]) -> dict[str, Any]:
        self.api_key, self.location = body.get("api_key", self.api_key), str(body.get("location", self.location))
        self.currency, self.threshold = body.get("currency", self.currency), body.get("threshold", self.threshold)
        self.moving_pages = body.get("moving_pages", self.moving_pages)
        if "variants" in body:
            self.set_variants(body["variants"])
        return {"listings": sorted(self.variants)}

    def set_variants(self, variants: list[dict[str, Any]]) -> None:
        """Put these variants on sale instead of what was there."""
        self.variants = {str(v["id"]): Variant(**{**v, "id": str(v["id"])}) for v in variants}

    def on_buy(self, body: dict[str, Any]) -> dict[str, str]:
        """A shopper orders, at 0 too. pay: true, false (stops before payment) or "authorize"."""
        now = self._now(timedelta(seconds=body.get("ago_s", 0)))
        code = body.get("code") or secrets.token_hex(8).upper()
        lines = [self._line(line) for line in body["lines"]]
        address = ADDRESS | (body.get("address") or {})
        order = Order(str(self._next("order")), code, lines, created=now, updated=now, address=address)
        self.orders[code] = order
        self._enter(order, "AddingItems", now)
        self._enter(order, "ArrangingPayment", now)
        if body.get("pay", True):
            self._place(order, "Authorized" if body.get("pay") == "authorize" else "Settled", now)
        return {"ref": code}

    def _line(self, line: dict[str, Any]) -> Line:
        listing, quantity = str(line["listing"]), int(line["quantity"])
        if listing not in self.variants:
            raise not_found("ProductVariant", listing)
        return Line(str(line.get("line") or self._next("line")), listing, quantity, placed=0)

    def _place(self, order: Order, payment: str, now: str) -> None:
        """Paid or authorised, a cart becomes an order and its stock is allocated."""
        amount = order.freight + order.goods(self.variants)
        order.payment = {"id": order.id, "method": "card", "state": payment, "amount": amount, "at": now}
        order.active, order.placed = False, now
        for line in order.lines:
            variant = self.variants[line.listing]
            self.oversold += max(0, line.quantity - max(0, self._saleable(variant)))
            variant.allocated += line.quantity
            line.placed = line.quantity
        self._enter(order, f"Payment{payment}", now)

    def on_pay(self, body: dict[str, Any]) -> dict[str, str]:
        """The cart is paid, or the merchant settles what was authorised; updatedAt follows neither."""
        order = self.orders[body["ref"]]
        if order.state == "ArrangingPayment":
            self._place(order, "Settled", self._now())
        elif order.state == "PaymentAuthorized" and order.payment:
            order.payment["state"] = "Settled"
            self._enter(order, "PaymentSettled", self._now())
        return {"status": order.state}

    def on_close(self, body: dict[str, Any]) -> dict[str, str]:
        """The merchant calls off what is not paid; what was allocated for it is saleable again."""
        order = self.orders[body["ref"]]
        if order.state in ("ArrangingPayment", "PaymentAuthorized"):
            self._call_off(order, {line.id: line.quantity for line in order.lines})
        return {"status": order.state}

    def on_cancel_line(self, body: dict[str, Any]) -> dict[str, str]:
        """The merchant calls off some units of one line."""
        order = self.orders[body["ref"]]
        self._call_off(order, {str(body["line"]): int(body["quantity"])})
        return {"status": order.state}

    def on_grow_line(self, body: dict[str, Any]) -> dict[str, str]:
        """The merchant adds units to a line of a placed order; what was placed stays what it was."""
        order = self.orders[body["ref"]]
        line, now = order.line(str(body["line"])), self._now()
        assert line and order.placed
        self.variants[line.listing].allocated += int(body["quantity"]) - line.quantity
        line.quantity, order.updated = int(body["quantity"]), now
        self._enter(order, order.state, now)
        return {"status": order.state}

    def on_end_sessions(self, body: dict[str, Any]) -> dict[str, int]:
        """Every session ends, as when the server's sessions are cleared."""
        ended = len(self.sessions)
        self.sessions.clear()
        return {"ended": ended}

    def on_spoil(self, body: dict[str, Any]) -> dict[str, str]:
        """Lay raw fields over an order, as a new enum value or a missing field would."""
        self.orders[body["ref"]].odd |= body["fields"]
        return {"ref": body["ref"]}

    def on_lie(self, body: dict[str, Any]) -> dict[str, str]:
        """Hold one listing (`what`, else the first) wrongly by some units."""
        ref = body["what"] if body.get("what") in self.variants else min(self.variants)
        self.variants[ref].on_hand += int(body.get("by", 1))
        return {"listing": ref}

    def on_lose(self, body: dict[str, Any]) -> dict[str, Any]:
        """Answer the next write of this ability as done without doing it."""
        self.to_lose.append(body["what"])
        return {"losing": self.to_lose}

    def on_books(self, body: dict[str, Any]) -> dict[str, Any]:
        """Everything an auditor needs. Carts are no orders: nothing was placed."""
        return {
            "orders": {order.code: account(order) for order in self.orders.values() if order.placed},
            "carts": {order.code: order.state for order in self.orders.values() if not order.placed},
            "stock": {ref: self._saleable(variant) for ref, variant in self.variants.items()},
            "on_hand": {ref: variant.on_hand for ref, variant in self.variants.items()},
            "oversold": self.oversold,
            "fulfilments_doubled": sum(order.doubled for order in self.orders.values()),
        }

    def _next(self, kind: str) -> int:
        self.last_id[kind] += 1
        return self.last_id[kind]

    def _now(self, ago: timedelta = timedelta()) -> str:
        """The time, later than every time before unless it lies `ago`."""
        if ago:
            return _text(self._clock() - ago)
        now = _text(self._clock())
        if now <= self.last_time:
            now = _text(datetime.fromisoformat(self.last_time) + timedelta(milliseconds=1))
        self.last_time = now
        return now

    def _enter(self, order: Order, state: str, now: str) -> None:
        order.state = state
        order.history.append(now)

    def _saleable(self, variant: Variant) -> int:
        threshold = self.threshold if variant.threshold is None else variant.threshold
        return variant.on_hand - variant.allocated - threshold

    def _show(self, order: Order) -> dict[str, Any]:
        return show_order(order, self.variants, self.currency, self.location)

    def _may_happen(self, ability: str) -> bool:
        if ability in self.to_lose:
            self.to_lose.remove(ability)
            return False
        return True

    # Queries

    def list_orders(self, arguments: dict[str, Any]) -> dict[str, Any]:
        options = arguments.get("options") or {}
        heads = ((order, order_head(order)) for order in self.orders.values())
        found = [(order, head) for order, head in heads if _matches(head, options.get("filter") or {})]
        for name, way in reversed(list((options.get("sort") or {}).items())):
            found.sort(key=lambda row, by=name: _sortable(row[1][by]), reverse=way == "DESC")  # type: ignore[misc]
        skip, total = int(options.get("skip") or 0), len(found)
        moved = self._moves(skip, total)
        items = [self._show(order) for order, _ in found[skip - moved :][: _take(options)]]
        return {"__typename": "OrderList", "totalItems": total + moved, "items": items}

    def _moves(self, skip: int, total: int) -> int:
        """Between two page reads an earlier order comes into the list: what follows stands one place further."""
        moves = 0 < skip <= total and (self.moving_pages or self.faults.level == "harsh")
        if moves:
            self.faults.note("moving_pages/fetch_orders")
        return int(moves)

    def list_variants(self, arguments: dict[str, Any]) -> dict[str, Any]:
        options = arguments.get("options") or {}
        wanted = options.get("filter") or {}
        ids = wanted.get("id", {}).get("in")  # as by an index: a shop may have many thousands
        some = self.variants if ids is None else sorted(self.variants.keys() & set(ids), key=_sortable)
        shown = [show_variant(self.variants[ident], self.location) for ident in some]
        found = [row for row in shown if _matches(row, wanted)]
        skip = int(options.get("skip") or 0)
        items = found[skip : skip + _take(options)]
        return {"__typename": "ProductVariantList", "totalItems": len(found), "items": items}

    def show_settings(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"__typename": "GlobalSettings", "outOfStockThreshold": self.threshold}

    # Mutations

    def set_stock(self, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        """Absolute on-hand levels in one transaction: an unknown variant or location undoes all of it."""
        wanted = [self._wanted_level(row) for row in arguments["input"]]
        if self._may_happen("send_stock"):
            for variant, quantity in wanted:
                self.stock_writes += variant.on_hand != quantity
                variant.on_hand = quantity
        return [show_variant(variant, self.location) for variant, _ in wanted]

    def _wanted_level(self, row: dict[str, Any]) -> tuple[Variant, int]:
        _known_keys(row, {"id", "stockLevels"}, "UpdateProductVariantInput")
        if row["id"] not in self.variants:
            raise not_found("ProductVariant", row["id"])
        [level] = row["stockLevels"]
        _known_keys(level, {"stockLocationId", "stockOnHand"}, "StockLevelInput")
        if type(level["stockOnHand"]) is not int:
            raise Wrong("BAD_USER_INPUT", f"Int cannot represent non-integer value: {level['stockOnHand']!r}")
        if level["stockLocationId"] != self.location:
            raise Wrong("", 'insert or update on table "stock_level" violates foreign key constraint')
        return self.variants[row["id"]], level["stockOnHand"]

    def fulfil(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """A fulfilment of some units: they leave on hand now, not when they are shipped."""
        wanted = arguments["input"]
        _known_keys(wanted, {"lines", "handler"}, "FulfillOrderInput")
        lines = {str(line["orderLineId"]): line["quantity"] for line in wanted["lines"]}
        error = self._unfit_to_fulfil(lines, wanted["handler"])
        if error:
            return error
        order = next(order for order in self.orders.values() if order.line(next(iter(lines))))
        details = {argument["name"]: argument["value"] for argument in wanted["handler"]["arguments"]}
        ref = str(self._next("fulfilment"))
        fulfilment = Fulfilment(ref, details.get("method", ""), details.get("trackingCode", ""), lines)
        if self._may_happen("send_shipment"):
            self._fulfil(order, fulfilment)
        return show_fulfilment(fulfilment)

    def _fulfil(self, order: Order, fulfilment: Fulfilment) -> None:
        order.fulfilments.append(fulfilment)
        order.history.append(self._now())
        for ref, quantity in fulfilment.lines.items():
            line = order.line(ref)
            assert line
            line.fulfilled += quantity
            self.variants[line.listing].on_hand -= quantity
            self.variants[line.listing].allocated -= quantity

    def _unfit_to_fulfil(self, wanted: dict[str, int], handler: dict[str, Any]) -> dict[str, Any] | None:
        if not sum(wanted.values()):
            return refusal(
                "EmptyOrderLineSelectionError",
                "EMPTY_ORDER_LINE_SELECTION_ERROR",
                "At least one OrderLine must be specified",
            )
        found = [(ref, line) for order in self.orders.values() for ref in wanted if (line := order.line(ref))]
        if len(found) < len(wanted):
            raise not_found("OrderLine", next(iter(wanted.keys() - {ref for ref, _ in found})))
        if any(wanted[ref] > line.quantity - line.fulfilled for ref, line in found):
            words = "One or more OrderItems are already part of a Fulfillment"
            return refusal("ItemsAlreadyFulfilledError", "ITEMS_ALREADY_FULFILLED_ERROR", words)
        for ref, line in found:
            variant = self.variants[line.listing]
            if variant.on_hand < wanted[ref]:
                words = f'Cannot create a Fulfillment as "{variant.name}" has insufficient stockOnHand'
                return refusal("InsufficientStockOnHandError", "INSUFFICIENT_STOCK_ON_HAND_ERROR", words)
        if handler.get("code") != "manual-fulfillment":
            words = "There is no FulfillmentHandler with that code"
            return refusal("InvalidFulfillmentHandlerError", "INVALID_FULFILLMENT_HANDLER_ERROR", words)
        return None

    def move_fulfilment(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Pending → Shipped → Delivered, each once; the order's state follows."""
        ref, state = str(arguments["id"]), arguments["state"]
        found = [(order, f) for order in self.orders.values() for f in order.fulfilments if f.id == ref]
        if not found:
            raise not_found("Fulfillment", ref)
        order, fulfilment = found[0]
        if state not in NEXT_STATES.get(fulfilment.state, ()):
            code = "FULFILLMENT_STATE_TRANSITION_ERROR"
            return refusal("FulfillmentStateTransitionError", code, f"errorResult.{code}")
        if self._may_happen("send_shipment"):
            fulfilment.state = state
            self._enter(order, order.state_by_shipments, self._now())
        return show_fulfilment(fulfilment)

    def cancel(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """All of an order called off; a second time there is nothing left to select."""
        wanted = arguments["input"]
        _known_keys(wanted, {"orderId", "reason", "cancelShipping", "lines"}, "CancelOrderInput")
        order = next((order for order in self.orders.values() if order.id == wanted["orderId"]), None)
        if order is None:
            raise not_found("Order", wanted["orderId"])
        if not any(line.quantity for line in order.lines):
            words = "At least one OrderLine must be specified"
            return refusal("EmptyOrderLineSelectionError", "EMPTY_ORDER_LINE_SELECTION_ERROR", words)
        if self._may_happen("send_cancellation"):
            order.called_off_by_us = True
            order.freight = 0 if wanted.get("cancelShipping") else order.freight
            self._call_off(order, {line.id: line.quantity for line in order.lines})
            self.called_off += 1
        return {**self._show(order), "state": "Cancelled"}

    def _call_off(self, order: Order, units: dict[str, int]) -> None:
        """Allocated units are released; fulfilled ones come back as on hand. updatedAt follows, since lines change."""
        now = self._now()
        for line in order.lines:
            gone = min(units.get(line.id, 0), line.quantity)
            if order.placed:
                released = min(gone, line.quantity - line.fulfilled)
                self.variants[line.listing].allocated -= released
                self.variants[line.listing].on_hand += gone - released
                line.fulfilled -= gone - released
                line.quantity -= gone
                order.updated = now
        whole = not order.placed or not any(line.quantity for line in order.lines)
        order.active = order.active and not whole
        self._enter(order, "Cancelled" if whole else order.state, now)


NEXT_STATES = {"Pending": ("Shipped",), "Shipped": ("Delivered",)}
RESOLVERS: dict[tuple[str, str], Callable[[Shop, dict[str, Any]], Any]] = {
    ("query", "orders"): Shop.list_orders,
    ("query", "productVariants"): Shop.list_variants,
    ("query", "globalSettings"): Shop.show_settings,
    ("mutation", "updateProductVariants"): Shop.set_stock,
    ("mutation", "addFulfillmentToOrder"): Shop.fulfil,
    ("mutation", "transitionFulfillmentToState"): Shop.move_fulfilment,
    ("mutation", "cancelOrder"): Shop.cancel,
}


def make(faults: Faults, **options: Any) -> Shop:
    """A shop with three variants on sale. options: now, a clock."""
    return Shop(faults, options.get("now", lambda: datetime.now(UTC)))


def prepare(twin: Shop, ability: str) -> None:
    """What the fixtures speak of exists, so that every ability has something to do."""
    twin.on_buy({"code": "T7N2SANM6QZM7AHW", "lines": [{"listing": "1", "quantity": 2, "line": "1"}]})
    twin.on_buy(
        {
            "code": "X6VCBW5QR69G3ER7",
            "lines": [{"listing": "2", "quantity": 1, "line": "3"}, {"listing": "3", "quantity": 4, "line": "4"}],
        }
    )


def effects(twin: Shop, ability: str) -> int:
    """How often the ability has changed something here."""
    made = {
        "send_stock": twin.stock_writes,
        "send_shipment": sum(len(order.fulfilments) for order in twin.orders.values()),
        "send_cancellation": twin.called_off,
    }
    return made[ability]


def _spoken(call: Call) -> dict[str, Any] | None:
    """The JSON object that was sent; None where it is none."""
    try:
        body = call.json
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _root_name(query: str) -> str:
    """The last root field names what is asked (`globalSettings` only comes along)."""
    try:
        return Reader(query, {}).operation().root[-1].name
    except Invalid:
        return ""


def _failed(wrong: Wrong) -> Answer:
    error: dict[str, Any] = {"message": wrong.message, "path": [], "extensions": {"code": wrong.code}}
    if not wrong.code:
        del error["extensions"]
    return Answer(json.dumps({"errors": [error], "data": None}, ensure_ascii=False), wrong.status)


def _take(options: Mapping[str, Any]) -> int:
    take = int(options.get("take") or 100)
    if take > TAKE_MAX:
        raise Wrong("USER_INPUT_ERROR", f"Cannot take more than {TAKE_MAX} results from a list query")
    return take


def _known_keys(row: dict[str, Any], known: set[str], kind: str) -> None:
    strange = sorted(row.keys() - known)
    if strange:
        raise Wrong("BAD_USER_INPUT", f'Field "{strange[0]}" is not defined by type "{kind}".')


def _matches(row: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """A filter: all its fields hold, and where it has `_or` one of those."""
    anyone = wanted.get("_or")
    if anyone is not None and not any(_matches(row, one) for one in anyone):
        return False
    return all(_holds(row[name], test) for name, test in wanted.items() if name != "_or")


def _holds(value: Any, test: dict[str, Any]) -> bool:
    for operator, operand in test.items():
        if operator not in OPERATORS:
            raise Wrong("BAD_USER_INPUT", f'Field "{operator}" is not defined by the type of this filter.')
        if not OPERATORS[operator](value, operand):
            return False
    return True


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda value, operand: bool(value == operand),
    "in": lambda value, operand: value in operand,
    "after": lambda value, operand: value is not None and value > operand,
    "isNull": lambda value, operand: (value is None) == operand,
}


def _sortable(value: Any) -> tuple[bool, int, str]:
    return value is not None, len(value or "") if str(value).isdigit() else 0, str(value)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat("T", "milliseconds") + "Z"
