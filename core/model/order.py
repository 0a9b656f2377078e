"""What the shopper bought, as one shop tells it, and the same as a sale for an ERP."""

from __future__ import annotations

from typing import Literal

from core.model.base import Currency, Minor, Model, Quantity, Ref, Time
from core.model.party import Party


class OrderLine(Model):
    """One line. quantity counts listing units; `listing` is the shop's own number of what is sold.

    cancelled: units of this line the shop calls off. fulfilled: units the shop itself says are in fulfilments, ours
    among them (0 where it does not say). bears_stock: False for services and virtual goods. lot: the only one its
    units may be of; "" for any.
    Amounts are totals of the line in minor units: list (before discounts), discounts by who pays, net (what the
    shopper pays for it), tax and whether net includes it.
    """

    ref: Ref
    listing: Ref
    sku: str = ""
    title: str = ""
    quantity: Quantity
    cancelled: Quantity = 0
    fulfilled: Quantity = 0
    bears_stock: bool = True
    lot: str = ""
    list_minor: Minor = 0
    seller_discount_minor: Minor = 0
    platform_discount_minor: Minor = 0
    net_minor: Minor = 0
    tax_minor: Minor = 0
    tax_included: bool = True


class Order(Model):
    """One version of one order. Two gates, set by the mapping: `claims_stock` (it holds stock) and `may_ship`.

    status: canonical, for people; the gates decide. closed: the shop called the whole order off.
    holds: reasons why it must not be released although `may_ship` (risk, refund, address, …).
    version: sorts with time; an older one never overwrites a newer one.
    counterpart_ref: the number of the other order of the same purchase, at whatever shop (a distributor's order at its
    supplier and the shopper's order it is for); the two claim stock once.
    distributor: who resells what is bought here, by its name at this shop; resale: on whose account, agency (代销: the
    supplier's until the shopper has it) or dealer (经销: the distributor buys). Both "" for a shopper's own order.
    """

    ref: Ref
    version: str
    status: Literal["unpaid", "paid", "part_shipped", "shipped", "delivered", "closed"]
    claims_stock: bool
    may_ship: bool
    closed: bool = False
    holds: tuple[str, ...] = ()
    placed_at: Time
    paid_at: Time | None = None
    currency: Currency
    freight_minor: Minor = 0
    paid_minor: Minor = 0
    buyer: str = ""
    note: str = ""
    counterpart_ref: str = ""
    distributor: str = ""
    resale: Literal["", "agency", "dealer"] = ""
    party: Party | None = None
    lines: tuple[OrderLine, ...]


class SaleLine(Model):
    """One line of a sale, in what that ERP counts. `item` is our item id; the mapping links it to their own number."""

    line: Ref
    sku: str
    item: Ref
    quantity: Quantity
    unit_minor: Minor
    net_minor: Minor


class Sale(Model):
    """An order as an ERP is told of it. `ref` is ours and travels as their reference."""

    ref: Ref
    shop_ref: Ref
    placed_at: Time
    currency: Currency
    freight_minor: Minor = 0
    lines: tuple[SaleLine, ...]
