"""The wire of a supplier at Taobao's distribution platform (供销平台): distributors' orders in, consignments out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from connectors.sales.fenxiao.dealers import Dealers
from connectors.sales.fenxiao.purchases import Purchases
from connectors.spi import Connection, Manifest, Outcome, Outgoing, Page
from connectors.wire.http import Http
from connectors.wire.top import Top
from core.errors import Misconfigured, Refused
from core.model import Document

DEALER = "2"


class Fenxiao:
    """One supplier's account: purchase orders, and dealers' orders where the setting says so."""

    def __init__(self, connection: Connection, manifest: Manifest, http: Http, now: Callable[[], datetime]) -> None:
        self._top, self._settings = Top(connection, manifest, http, now), connection.settings
        claim = manifest.can["fetch_orders"]
        self._interfaces: dict[str, Purchases | Dealers] = {"purchases": Purchases(self._top, claim, self._settings)}
        if self._settings.get("dealer_orders"):
            self._interfaces["dealers"] = Dealers(self._top, claim, self._settings)

    def fetch_orders(self, cursor: Mapping[str, Any]) -> Page:
        """Orders updated in a window, from its last page to its first; dealers' where no others are left.

        Only a call that found both at their end says there is no more: what it says is read, is read of both.
        """
        self._refuse_doubles()
        documents: list[Document] = []
        places, more = dict(cursor), False
        for name, interface in self._interfaces.items():
            orders, places[name], more = interface.windows.read_on(cursor.get(name, {}))
            documents += [interface.document(order) for order in orders]
            if more:
                break
        return Page(documents, (), places, more)

    def fetch_one(self, kind: str, ref: str) -> Document:
        """One order by its number: fenxiao_id, else dealer_order_id."""
        interface, order = self._find("fetch_one", ref)
        return interface.document(order)

    def send_shipment(self, batch: Sequence[Outgoing], step: str = "") -> Sequence[Outcome]:
        """Consigns whole orders with the supplier's own courier; a second consignment is refused there."""
        return [self._top.consign(row, **row.body) for row in batch]

    def probe(self, ability: str, row: Outgoing, step: str = "") -> Outcome:
        """Whether the order is consigned with our waybill: still waiting to be sent means it never arrived."""
        interface, order = self._find(f"probe_{ability}", row.ref)
        return interface.arrived(order, row)

    def _find(self, ability: str, ref: str) -> tuple[Purchases | Dealers, dict[str, Any]]:
        """The order of that number and whose it is. Both kinds are consigned by number alone, so it names only one."""
        for interface in self._interfaces.values():
            order = interface.find(ability, ref)
            if order is not None:
                return interface, order
        raise Refused(f"the platform shows no order {ref}")

    def _refuse_doubles(self) -> None:
        kinds = str(self._settings.get("trade_types", "")).replace(" ", "").split(",")
        if "dealers" in self._interfaces and DEALER in kinds:
            raise Misconfigured("trade_types names 2 while dealer_orders is on: a dealer's order would come twice")
