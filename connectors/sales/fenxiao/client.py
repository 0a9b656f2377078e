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
        self._rooms: dict[str, Purchases | Dealers] = {"purchases": Purchases(self._top, claim, self._settings)}
        if self._settings.get("dealer_orders"):
            self._rooms["dealers"] = Dealers(self._top, claim, self._settings)

    def fetch_orders(self, cursor: Mapping[str, Any]) -> Page:
        """Orders updated in a window, from its last page to its first; dealers' follow when the others are read."""
        self._refuse_doubles()
        names = list(self._rooms)
        turn = cursor["turn"] if cursor.get("turn") in names else names[0]
        orders, after, more = self._rooms[turn].windows.read_on(cursor.get(turn, {}))
        following = turn if more else names[(names.index(turn) + 1) % len(names)]
        documents = [self._rooms[turn].document(order) for order in orders]
        return Page(documents, (), {**cursor, turn: after, "turn": following}, more or following != names[0])

    def fetch_one(self, kind: str, ref: str) -> Document:
        """One order by its number: fenxiao_id, else dealer_order_id."""
        room, order = self._find("fetch_one", ref)
        return room.document(order)

    def send_shipment(self, batch: Sequence[Outgoing], step: str = "") -> Sequence[Outcome]:
        """Consigns whole orders with the supplier's own courier; a second consignment is refused there."""
        return [self._top.consign(row, **row.body) for row in batch]

    def probe(self, ability: str, row: Outgoing, step: str = "") -> Outcome:
        """Whether the order is consigned with our waybill: still waiting to be sent means it never arrived."""
        room, order = self._find(f"probe_{ability}", row.ref)
        return room.arrived(order, row)

    def _find(self, ability: str, ref: str) -> tuple[Purchases | Dealers, dict[str, Any]]:
        """The order of that number and whose it is. Both kinds are consigned by number alone, so it names only one."""
        for room in self._rooms.values():
            order = room.find(ability, ref)
            if order is not None:
                return room, order
        raise Refused(f"the platform shows no order {ref}")

    def _refuse_doubles(self) -> None:
        kinds = str(self._settings.get("trade_types", "")).replace(" ", "").split(",")
        if "dealers" in self._rooms and DEALER in kinds:
            raise Misconfigured("trade_types names 2 while dealer_orders is on: a dealer's order would come twice")
