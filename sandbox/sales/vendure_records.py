"""What the Vendure twin keeps, how each thing looks in its Admin API, and how it stands in the books."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TAX_PERCENT = 13
FREIGHT = 800


@dataclass
class Variant:
    """One product variant at one stock location. threshold None: the global one holds."""

    id: str
    sku: str
    name: str
    price: int
    on_hand: int
    threshold: int | None = None
    allocated: int = 0


@dataclass
class Line:
    """One order line: quantity is what remains after cancellations."""

    id: str
    listing: str
    quantity: int
    placed: int
    fulfilled: int = 0


@dataclass
class Fulfilment:
    """One fulfilment: line id → quantity."""

    id: str
    method: str
    waybill: str
    lines: dict[str, int]
    state: str = "Pending"


@dataclass
class Order:
    """One order. odd: raw fields laid over what Vendure would show, for tests of bad input."""

    id: str
    code: str
    lines: list[Line]
    created: str
    updated: str
    address: dict[str, Any]
    state: str = "AddingItems"
    active: bool = True
    placed: str | None = None
    freight: int = FREIGHT
    payment: dict[str, Any] | None = None
    fulfilments: list[Fulfilment] = field(default_factory=list)
    history: list[str] = field(default_factory=list)
    called_off_by_us: bool = False
    odd: dict[str, Any] = field(default_factory=dict)

    def line(self, ref: str) -> Line | None:
        """The line with this id."""
        return next((line for line in self.lines if line.id == ref), None)

    def goods(self, variants: Mapping[str, Variant]) -> int:
        """What the remaining units cost, tax included."""
        return sum(variants[line.listing].price * line.quantity for line in self.lines)

    @property
    def state_by_shipments(self) -> str:
        """Its state, from the units its fulfilments have brought on their way."""
        whole = sum(line.quantity for line in self.lines)
        for state, so_far in (("Delivered", ("Delivered",)), ("Shipped", ("Shipped", "Delivered"))):
            units = sum(sum(f.lines.values()) for f in self.fulfilments if f.state in so_far)
            if units:
                return state if units >= whole else f"Partially{state}"
        return self.state

    @property
    def doubled(self) -> int:
        """Fulfilments beyond the first with the same waybill on the same lines."""
        made = [(f.waybill, tuple(sorted(f.lines.items()))) for f in self.fulfilments]
        return len(made) - len(set(made))


def order_head(order: Order) -> dict[str, Any]:
    """What orders are found and sorted by."""
    return {
        "id": order.id,
        "code": order.code,
        "state": order.state,
        "active": order.active,
        "createdAt": order.created,
        "updatedAt": order.updated,
        "orderPlacedAt": order.placed,
    }


def show_order(order: Order, variants: Mapping[str, Variant], currency: str, location: str) -> dict[str, Any]:
    """The order as the API's type `Order`, amounts in minor units."""
    goods = order.goods(variants)
    return {
        "__typename": "Order",
        **order_head(order),
        "currencyCode": currency,
        "couponCodes": [],
        "subTotalWithTax": goods,
        "shippingWithTax": order.freight,
        "totalWithTax": goods + order.freight,
        "customer": _customer(order),
        "shippingAddress": {"__typename": "OrderAddress", **order.address},
        "lines": [_line(line, variants[line.listing], location) for line in order.lines],
        "payments": [_payment(order.payment)] if order.payment else [],
        "fulfillments": [show_fulfilment(fulfilment) for fulfilment in order.fulfilments],
        "history": _history(order),
        **order.odd,
    }


def _line(line: Line, variant: Variant, location: str) -> dict[str, Any]:
    total = variant.price * line.quantity
    return {
        "__typename": "OrderLine",
        "id": line.id,
        "quantity": line.quantity,
        "orderPlacedQuantity": line.placed,
        "linePriceWithTax": total,
        "discountedLinePriceWithTax": total,
        "proratedLinePriceWithTax": total,
        "lineTax": total - round(total * 100 / (100 + TAX_PERCENT)),
        "productVariant": show_variant(variant, location),
    }


def show_variant(variant: Variant, location: str) -> dict[str, Any]:
    """The variant as the API's type `ProductVariant`."""
    level = {"stockLocationId": location, "stockOnHand": variant.on_hand, "stockAllocated": variant.allocated}
    return {
        "__typename": "ProductVariant",
        "id": variant.id,
        "sku": variant.sku,
        "name": variant.name,
        "outOfStockThreshold": variant.threshold or 0,
        "useGlobalOutOfStockThreshold": variant.threshold is None,
        "stockLevels": [{"__typename": "StockLevel", **level}],
    }


def account(order: Order) -> dict[str, Any]:
    """The order as an auditor wants it. closed: by the shop; cancelled: by a call of ours."""
    shipped = [f for f in order.fulfilments if f.state in ("Shipped", "Delivered")]
    units = {line.id: sum(f.lines.get(line.id, 0) for f in shipped) for line in order.lines}
    lines = [{"listing": x.listing, "quantity": x.placed, "shipped": units[x.id]} for x in order.lines]
    shipments = [{"waybill": f.waybill, "company": f.method, "lines": list(f.lines)} for f in shipped]
    closed, ours = order.state == "Cancelled", order.called_off_by_us
    paid = bool(order.payment and order.payment["state"] == "Settled")
    fate = {"paid": paid, "closed": closed and not ours, "cancelled": closed and ours}
    return {"status": order.state, "lines": lines, "shipments": shipments, **fate}


def _customer(order: Order) -> dict[str, Any]:
    mail = f"{order.code.lower()}@example.com"
    return {"__typename": "Customer", "firstName": "三", "lastName": "张", "emailAddress": mail, "phoneNumber": None}


def _payment(payment: dict[str, Any]) -> dict[str, Any]:
    shown = {name: payment[name] for name in ("id", "method", "state", "amount")}
    return {"__typename": "Payment", **shown, "createdAt": payment["at"]}


def _history(order: Order) -> dict[str, Any]:
    """The newest entry, which is all that is ever asked for."""
    items = [{"__typename": "HistoryEntry", "createdAt": order.history[-1]}]
    return {"__typename": "HistoryEntryList", "totalItems": len(order.history), "items": items}


def show_fulfilment(fulfilment: Fulfilment) -> dict[str, Any]:
    """The fulfilment as the API's type `Fulfillment`."""
    lines = [
        {"__typename": "FulfillmentLine", "orderLineId": ref, "quantity": quantity}
        for ref, quantity in fulfilment.lines.items()
    ]
    head = {"id": fulfilment.id, "state": fulfilment.state}
    head |= {"method": fulfilment.method, "trackingCode": fulfilment.waybill}
    return {"__typename": "Fulfillment", **head, "lines": lines}
