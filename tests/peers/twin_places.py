"""The twins behind the methods of the real servers, so that one test can be told of both."""

from __future__ import annotations

from typing import Any

from sandbox.erp import tryton
from sandbox.sales import vendure
from sandbox.twin import Faults, Server


class TwinShop:
    """The Vendure twin with the methods of a VendurePeer."""

    def __init__(self) -> None:
        faults = Faults()
        self.twin = vendure.make(faults)
        self.server = Server(self.twin, faults)
        self.settings = {**vendure.SETTINGS, "base_url": self.server.url}
        self.secrets = dict(vendure.SECRETS)
        self.variants = {variant.sku: variant.id for variant in self.twin.variants.values()}

    def buy(self, lines: list[dict[str, Any]], pay: bool | str = True) -> str:
        return str(self.twin.control("buy", {"lines": lines, "pay": pay})["ref"])

    def pay(self, ref: str) -> None:
        self.twin.control("pay", {"ref": ref})

    def close(self, ref: str) -> None:
        self.twin.control("close", {"ref": ref})

    def cancel_line(self, ref: str, line: str, quantity: int) -> None:
        self.twin.control("cancel_line", {"ref": ref, "line": line, "quantity": quantity})

    def grow_line(self, ref: str, line: str, quantity: int) -> None:
        self.twin.control("grow_line", {"ref": ref, "line": line, "quantity": quantity})

    def fulfil(self, ref: str, waybill: str) -> None:
        lines = [{"orderLineId": line.id, "quantity": line.quantity} for line in self.twin.orders[ref].lines]
        arguments = [{"name": "method", "value": "by hand"}, {"name": "trackingCode", "value": waybill}]
        handler = {"code": "manual-fulfillment", "arguments": arguments}
        self.twin.fulfil({"input": {"lines": lines, "handler": handler}})

    def stock(self, listing: str, on_hand: int, threshold: int | None = None) -> None:
        variant = self.twin.variants[listing]
        variant.on_hand, variant.threshold = on_hand, threshold

    def level(self, listing: str) -> tuple[int, int]:
        variant = self.twin.variants[listing]
        return variant.on_hand, variant.allocated

    def shipments(self, ref: str) -> list[dict[str, Any]]:
        shown = self.twin.orders[ref].fulfilments
        return [{"waybill": f.waybill, "company": f.method, "state": f.state} for f in shown]

    def state(self, ref: str) -> str:
        return self.twin.orders[ref].state


class TwinErp:
    """The Tryton twin with the methods of a TrytonPeer."""

    def __init__(self) -> None:
        faults = Faults()
        self.twin = tryton.make(faults)
        self.server = Server(self.twin, faults)
        self.settings = {**tryton.SETTINGS, "base_url": self.server.url}
        self.secrets = tryton.SECRETS

    def seed(self, products: list[dict[str, Any]]) -> dict[str, int]:
        """The same products, numbered as the twin likes."""
        ids = {row["code"]: number for number, row in enumerate(products, start=101)}
        made = [{"id": ids[row["code"]], "code": row["code"], "name": row["name"]} for row in products]
        self.twin.control("setup", {"products": made, "quantities": {row["code"]: row["quantity"] for row in products}})
        return ids

    def books(self) -> Any:
        return self.twin.control("books", None)

    def change(self, product: int, **values: Any) -> None:
        self.twin.control("change", {"id": product, **values})

    def quote(self, sale: int) -> None:
        self.twin.control("step", {"step": "quote", "id": sale})

    def cancel(self, sale: int) -> None:
        self.twin.control("step", {"step": "cancel", "id": sale})

    def expire(self) -> None:
        self.twin.control("expire", None)
