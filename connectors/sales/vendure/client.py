"""Speaks Vendure's Admin API: GraphQL over POST, whose business errors are union members inside HTTP 200."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from connectors.spi import Connection, Manifest, Outcome, Outgoing, Page
from connectors.wire.http import Http, lost, read_json
from connectors.wire.json import write_json
from core.model import Document

PATH = "/admin-api"
OPERATIONS = Path(__file__).with_name("operations")
VARIANTS_MAX = 100
OPEN_STATES = ("PaymentSettled", "PartiallyShipped")
"""Paid and not yet shipped: read at each poll whatever their age, since no time of the order follows its payment."""


class Vendure:
    """One channel of one Vendure server."""

    def __init__(self, connection: Connection, manifest: Manifest, http: Http, now: Callable[[], datetime]) -> None:
        self._settings, self._secrets = connection.settings, connection.secrets
        self._manifest, self._http, self._now = manifest, http, now
        self._overlap = timedelta(seconds=manifest.can["fetch_orders"].overlap_s)
        self._token = ""

    def fetch_orders(self, cursor: Mapping[str, Any]) -> Page:
        """Placed orders in the order of placing: what was placed or changed since the cursor, and all that is open."""
        since, skip = cursor.get("since") or self._horizon(), int(cursor.get("skip", 0))
        take = int(self._settings.get("page_size", 100))
        options = {"skip": skip, "take": take, "sort": {"orderPlacedAt": "ASC", "id": "ASC"}, "filter": _placed(since)}
        orders = self._list("fetch_orders", "Orders", "orders", options)
        items, total = orders["items"], orders.get("totalItems", 0)
        documents = [_order(order) for order in items]
        if items and skip + len(items) < total:
            return Page(documents, cursor={"since": since, "skip": skip + len(items)}, more=True)
        return Page(documents, cursor={"since": self._horizon()})

    def fetch_one(self, kind: str, ref: str) -> Document:
        """One order by its code."""
        items = self._list("fetch_one", "Orders", "orders", _by_code(ref))["items"]
        if not items:
            raise self._manifest.decide("ENTITY_NOT_FOUND", f"there is no order {ref}")
        return _order(items[0])

    def fetch_stock(self, refs: Sequence[str]) -> Sequence[Document]:
        """What the shop holds of these variants: one document per hundred."""
        return [self._stock(refs[at : at + VARIANTS_MAX]) for at in range(0, len(refs), VARIANTS_MAX)]

    def send_stock(self, batch: Sequence[Outgoing], step: str = "") -> Sequence[Outcome]:
        """On-hand levels, in one transaction there: where it refuses for want of one variant, the others go again."""
        variables = {"input": [self._located(row.body) for row in batch]}
        answer = self._answer("send_stock", "SetStock", variables, reads=False)
        if _code(answer) == "ENTITY_NOT_FOUND" and len(known := self._known(batch)) < len(batch):
            return self._send_known(batch, known)
        done = _many(self._unwrap(answer, reads=False).get("updateProductVariants"), reads=False)
        written = {str(_dict(variant).get("id")) for variant in done}
        return [self._written(row, written) for row in batch]

    def send_shipment(self, batch: Sequence[Outgoing], step: str = "") -> Sequence[Outcome]:
        """`add` makes a fulfilment (on hand falls), `ship` says that it has left."""
        return [self._ship(row) if step == "ship" else self._add(row) for row in batch]

    def send_cancellation(self, batch: Sequence[Outgoing], step: str = "") -> Sequence[Outcome]:
        """Calls the whole order off while nothing of it is in a fulfilment; the refund is the merchant's business."""
        return [self._cancel(row) for row in batch]

    def probe(self, ability: str, row: Outgoing, step: str = "") -> Outcome:
        """Reads the order again: is there such a fulfilment, has it shipped, is the order cancelled?"""
        order = self._standing(row)
        if ability == "send_cancellation":
            return Outcome.done(order["id"]) if order["state"] == "Cancelled" else Outcome.absent()
        if step == "ship":
            return self._shipped(order, row.reached["add"])
        others = [f for f in order["fulfillments"] or () if f["id"] not in row.known]
        found = [f["id"] for f in others if _is_ours(f, row.body["input"])]
        return Outcome.done(found[0]) if found else Outcome.absent()

    def _horizon(self) -> str:
        """How far back the next reading begins."""
        return _text(self._now() - self._overlap)

    def _stock(self, refs: Sequence[str]) -> Document:
        options = {"filter": {"id": {"in": list(refs)}}, "take": VARIANTS_MAX}
        answer = self._ask("fetch_stock", "Stock", {"options": options}, reads=True)
        everywhere = _inside(answer, "globalSettings", reads=True).get("outOfStockThreshold")
        variants = _many(_inside(answer, "productVariants", reads=True).get("items"), reads=True)
        levels = [level for variant in variants for level in _levels(_dict(variant), everywhere)]
        return Document(kind="stock", ref="stock", body=_bytes({"stockLevels": levels}))

    def _located(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The row with our usual stock location where it names none."""
        usual = {"stockLocationId": self._settings["location"]}
        return {**body, "stockLevels": [{**usual, **level} for level in body["stockLevels"]]}

    def _known(self, batch: Sequence[Outgoing]) -> list[Outgoing]:
        """Those of these rows whose variant the shop has."""
        options = {"filter": {"id": {"in": [row.body["id"] for row in batch]}}, "take": VARIANTS_MAX}
        items = self._list("fetch_stock", "Stock", "productVariants", options)["items"]
        ids = {str(_dict(variant).get("id")) for variant in items}
        return [row for row in batch if row.body["id"] in ids]

    def _send_known(self, batch: Sequence[Outgoing], known: Sequence[Outgoing]) -> Sequence[Outcome]:
        """Nothing was written: write what the shop knows, and refuse the rest by name."""
        outcomes = iter(self.send_stock(known) if known else ())
        return [next(outcomes) if row in known else self._unknown(row) for row in batch]

    def _unknown(self, row: Outgoing) -> Outcome:
        return self._failed("ENTITY_NOT_FOUND", f"there is no variant {row.body['id']}")

    def _failed(self, code: str, why: str) -> Outcome:
        return Outcome.failed(self._manifest.decide(code, why))

    def _written(self, row: Outgoing, written: set[str]) -> Outcome:
        if row.body["id"] in written:
            return Outcome.done(row.body["id"])
        return Outcome.failed(lost(f"the answer leaves out variant {row.body['id']}", reads=False))

    def _add(self, row: Outgoing) -> Outcome:
        variables = {"input": _with_listed_arguments(row.body["input"])}
        return Outcome.done(self._mutate("send_shipment", "Fulfil", "addFulfillmentToOrder", variables))

    def _ship(self, row: Outgoing) -> Outcome:
        variables = {"id": row.reached["add"]}
        return Outcome.done(self._mutate("send_shipment", "Ship", "transitionFulfillmentToState", variables))

    def _shipped(self, order: Mapping[str, Any], ref: str) -> Outcome:
        states = [f["state"] for f in order["fulfillments"] or () if f["id"] == ref]
        if states and states[0] in ("Shipped", "Delivered"):
            return Outcome.done(ref)
        if states == ["Cancelled"]:
            return self._failed("FULFILLMENT_CANCELLED", f"the shop cancelled fulfilment {ref}")
        return Outcome.absent()

    def _cancel(self, row: Outgoing) -> Outcome:
        order = self._standing(row)
        if order["state"] == "Cancelled":
            return Outcome.done(order["id"])
        if any(f["state"] != "Cancelled" for f in order["fulfillments"] or ()):
            return self._failed("PARTLY_FULFILLED", f"goods of order {order['code']} are already in a fulfilment")
        variables = {"input": {"orderId": order["id"], **row.body["input"]}}
        return Outcome.done(self._mutate("send_cancellation", "Cancel", "cancelOrder", variables))

    def _standing(self, row: Outgoing) -> dict[str, Any]:
        """The order of a row and its fulfilments, as they stand now."""
        code = row.body["order"]
        items = self._list("probe", "Standing", "orders", _by_code(code))["items"]
        if not items:
            raise self._manifest.decide("ENTITY_NOT_FOUND", f"there is no order {code}")
        order: dict[str, Any] = items[0]
        return order

    def _list(self, ability: str, operation: str, field: str, options: Mapping[str, Any]) -> dict[str, Any]:
        found = _inside(self._ask(ability, operation, {"options": options}, reads=True), field, reads=True)
        return {**found, "items": _many(found.get("items"), reads=True)}

    def _mutate(self, ability: str, operation: str, field: str, variables: Mapping[str, Any]) -> str:
        """The id of what a mutation made or changed; a union member that is an error raises what it stands for."""
        result = _inside(self._ask(ability, operation, variables, reads=False), field, reads=False)
        if "errorCode" in result:
            raise self._manifest.decide(str(result["errorCode"]), str(result.get("message")))
        if "id" not in result:
            raise lost(f"the answer's {field} has no id", reads=False)
        return str(result["id"])

    def _ask(self, ability: str, operation: str, variables: Mapping[str, Any], *, reads: bool) -> dict[str, Any]:
        return self._unwrap(self._answer(ability, operation, variables, reads=reads), reads=reads)

    def _unwrap(self, answer: Any, *, reads: bool) -> dict[str, Any]:
        """The answer's data, or the error it tells of."""
        code = _code(answer)
        if code:
            raise self._manifest.decide(code, str(_first_error(answer).get("message")))
        return _inside(answer, "data", reads=reads)

    def _answer(self, ability: str, operation: str, variables: Mapping[str, Any], *, reads: bool) -> Any:
        """The whole answer; a session that has ended is opened again, once: what was FORBIDDEN did nothing."""
        used = self._token
        answer = self._post(ability, operation, variables, reads=reads)
        if used and _code(answer) == "FORBIDDEN":
            self._token = ""
            answer = self._post(ability, operation, variables, reads=reads)
        return answer

    def _post(self, ability: str, operation: str, variables: Mapping[str, Any], *, reads: bool) -> Any:
        return read_json(self._exchange(ability, operation, variables, self._proof(), reads=reads), reads=reads)

    def _exchange(
        self, ability: str, operation: str, variables: Mapping[str, Any], proof: Mapping[str, str], *, reads: bool
    ) -> Any:
        body = {"operationName": operation, "query": _text_of(operation), "variables": variables}
        headers = {"Content-Type": "application/json", **self._channel(), **proof}
        return self._http.call(ability, "POST", PATH, reads=reads, data=_bytes(body), headers=headers)

    def _channel(self) -> dict[str, str]:
        token = str(self._settings.get("channel") or "")
        return {"vendure-token": token} if token else {}

    def _proof(self) -> dict[str, str]:
        """The header that says who we are; without an API key a session is opened first."""
        if self._secrets.get("api_key"):
            return {"vendure-api-key": self._secrets["api_key"]}
        self._token = self._token or self._login()
        return {"Authorization": f"Bearer {self._token}"}

    def _login(self) -> str:
        who = {"username": self._settings.get("username", ""), "password": self._secrets.get("password", "")}
        response = self._exchange("login", "Login", who, {}, reads=True)
        result = _inside(self._unwrap(read_json(response, reads=True), reads=True), "login", reads=True)
        if "errorCode" in result:
            raise self._manifest.decide(str(result["errorCode"]), str(result.get("message")))
        token = response.headers.get("vendure-auth-token")
        if not token:
            raise lost("the login gave no session token", reads=True)
        return str(token)


def _placed(since: str) -> dict[str, Any]:
    """Open carts are no orders yet (`active`); the rest is a window over two clocks and the open states."""
    recent = [{clock: {"after": since}} for clock in ("orderPlacedAt", "updatedAt")]
    wanted = [*recent, {"state": {"in": list(OPEN_STATES)}}]
    return {"active": {"eq": False}, "orderPlacedAt": {"isNull": False}, "_or": wanted}


def _by_code(code: str) -> dict[str, Any]:
    return {"take": 1, "filter": {"code": {"eq": code}}}


def _order(order: Any) -> Document:
    """An order as a document. Its version is the time of its history's newest entry, which follows every change."""
    known = _dict(order)
    newest = _dict(_first(_dict(known.get("history")).get("items")))
    ref, version = str(known.get("code") or "?"), str(newest.get("createdAt") or "")
    return Document(kind="order", ref=ref, body=_bytes({"order": _joined(order)}), version=version or None)


def _joined(order: Any) -> Any:
    """The order, each line with what of it is in fulfilments; what is not as it should be stays as it came."""
    if not isinstance(_dict(order).get("lines"), list):
        return order
    made = [f for f in map(_dict, _rows(order, "fulfillments")) if f.get("state") != "Cancelled"]
    rows = [_dict(row) for fulfilment in made for row in _rows(fulfilment, "lines")]
    lines = [{**line, **_fulfilled(line, rows)} if isinstance(line, dict) else line for line in order["lines"]]
    return {**order, "lines": lines}


def _fulfilled(line: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    units = [row.get("quantity") for row in rows if row.get("orderLineId") == line.get("id")]
    numbers = [n for n in units if isinstance(n, int)]
    return {"fulfilledQuantity": sum(numbers)} if len(numbers) == len(units) else {}


def _rows(outer: Any, name: str) -> list[Any]:
    rows = _dict(outer).get(name)
    return rows if isinstance(rows, list) else []


def _levels(variant: Mapping[str, Any], everywhere: Any) -> list[dict[str, Any]]:
    """The variant's level at each location, each with what it belongs to and the threshold that holds for it."""
    own = variant.get("outOfStockThreshold")
    threshold = everywhere if variant.get("useGlobalOutOfStockThreshold") else own
    product = {"id": variant.get("id"), "sku": variant.get("sku")}
    levels = variant.get("stockLevels") or ()
    return [{**level, "outOfStockThreshold": threshold, "productVariant": product} for level in levels]


def _with_listed_arguments(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The handler's arguments as Vendure wants them: a list of names and values."""
    handler = wanted["handler"]
    arguments = [{"name": name, "value": value} for name, value in handler["arguments"].items()]
    return {**wanted, "handler": {**handler, "arguments": arguments}}


def _is_ours(fulfilment: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether this is the fulfilment we asked for: the same waybill on the same lines, and not called off."""
    waybill = wanted["handler"]["arguments"]["trackingCode"]
    same = fulfilment["trackingCode"] == waybill and fulfilment["state"] != "Cancelled"
    return same and _lines(fulfilment["lines"]) == _lines(wanted["lines"])


def _lines(lines: Sequence[Mapping[str, Any]]) -> set[tuple[str, int]]:
    return {(str(line["orderLineId"]), int(line["quantity"])) for line in lines}


def _code(answer: Any) -> str:
    """The code of the answer's first GraphQL error, "" where it has none."""
    error = _first_error(answer)
    return str(_dict(error.get("extensions")).get("code") or "UNEXPECTED") if error else ""


def _first_error(answer: Any) -> dict[str, Any]:
    error = _first(_dict(answer).get("errors"))
    return error if isinstance(error, dict) else {"message": error} if error else {}


def _first(rows: Any) -> Any:
    return rows[0] if isinstance(rows, list) and rows else None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _inside(outer: Any, name: str, *, reads: bool) -> dict[str, Any]:
    inner = _dict(outer).get(name)
    if not isinstance(inner, dict):
        raise lost(f"the answer has no {name}", reads=reads)
    return inner


def _many(rows: Any, *, reads: bool) -> list[Any]:
    if not isinstance(rows, list):
        raise lost("the answer has no list where one belongs", reads=reads)
    return rows


def _bytes(value: Any) -> bytes:
    return write_json(value).encode()


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat("T", "milliseconds") + "Z"


@cache
def _text_of(operation: str) -> str:
    return (OPERATIONS / f"{operation}.graphql").read_text(encoding="utf-8")
