"""An order that may ship and is fully backed goes to its warehouses: a fulfilment each, a waybill, a delivery order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import select

from core.flow import pick_lots, sell_kits
from core.flow.tell import Happened, settle, tell
from core.store import inbox, pins
from core.store import tables as t
from core.store.rows import insert_or_skip
from core.store.store import Transaction, many, one

Row = Mapping[str, Any]
WAITS = ("taken", "held", "unpaid", "short", "released")
BEGUN = ("part_shipped", "shipped", "delivered")


def release(tx: Transaction, order_ids: Sequence[int]) -> None:
    """Look at these orders again: release those that are ready, name what the others wait for."""
    orders = [o for o in many(tx, t.orders, "id", sorted(set(order_ids))) if o["state"] in (*WAITS, *BEGUN)]
    loose: dict[int, list[Row]] = {}
    for claim in many(tx, t.claims, "order_id", [o["id"] for o in orders]):
        if claim["open"] and claim["fulfilment_id"] is None:
            loose.setdefault(claim["order_id"], []).append(claim)
    merchants = many(tx, t.merchants, "id", sorted({o["merchant_id"] for o in orders}))
    policies = {m["id"]: m["short_policy"] for m in merchants}
    looked = [
        _Looked(order, claims, _state(order, claims), policies[order["merchant_id"]])
        for order in orders
        if (claims := loose.get(order["id"]))
    ]
    _fulfil(tx, [(one.order, _leaving(tx, one)) for one in looked])
    settle(tx, *(f"order:{one.order['id']}" for one in looked if one.wish == "released"))
    tx.set_each(t.orders, [{"id": one.order["id"], "state": one.state} for one in looked if one.state != one.was])
    tell(tx, [_short(one.order, one.policy) for one in looked if one.wish == "short" and one.was != "short"])


class _Looked(NamedTuple):
    """An order as it is found, its claims that no warehouse was told of yet, and what it is because of them."""

    order: Row
    claims: Sequence[Row]
    wish: str
    policy: str

    @property
    def was(self) -> str:
        return str(self.order["state"])

    @property
    def state(self) -> str:
        """An order of which part has left stays part shipped meanwhile."""
        return "part_shipped" if self.was in BEGUN else self.wish


def _leaving(tx: Transaction, one: _Looked) -> Sequence[Row]:
    """The claims that go to a warehouse now; what waits of a short order becomes claims of its own."""
    if one.wish == "released":
        return one.claims
    parts = one.wish == "short" and one.policy == "part_ship" and not one.order["holds"]
    return _split_off(tx, one.claims) if parts else ()


def _state(order: Row, claims: Sequence[Row]) -> str:
    if order["closed"]:
        return str(order["state"])
    if not order["may_ship"]:
        return "unpaid" if order["status"] == "unpaid" else "held"
    if any(c["backed"] < c["asked"] - c["shipped"] for c in claims):
        return "short"
    return "held" if order["holds"] else "released"


def _short(order: Row, policy: str) -> Happened:
    type_, ids = "order.short" if policy == "ask" else "order.waits", {"order": order["id"]}
    who = {"shop": order["connection_id"]}
    return Happened(type_, order["merchant_id"], ids, f"order:{order['id']}", who, {"ref": order["ref"]})


def _split_off(tx: Transaction, claims: Sequence[Row]) -> list[Row]:
    """What of these can leave now, in whole listing units; what waits becomes a claim of its own."""
    packs = {line["id"]: line["pack"] for line in many(tx, t.order_lines, "id", [c["line_id"] for c in claims])}
    cells = {c["id"]: c["warehouse_id"] for c in many(tx, t.cells, "id", sorted({c["cell_id"] for c in claims}))}
    ready = [_split_one(tx, *split) for split in sell_kits.whole_backed(claims, cells, packs)]
    for claim in (c for c in claims if c["part_id"] is None):
        missing, backed = claim["asked"] - claim["shipped"], claim["backed"]
        units = missing if backed == missing else backed - backed % packs[claim["line_id"]]
        if units:
            ready.append(_split_one(tx, claim, missing - units))
    return ready


def _split_one(tx: Transaction, claim: Row, rest: int) -> Row:
    """The claim without `rest` of its units, which wait in a new one."""
    if not rest:
        return claim
    left = {"asked": claim["asked"] - rest, "backed": claim["asked"] - claim["shipped"] - rest}
    waits = {"id": tx.ids.new(), "asked": rest, "backed": claim["backed"] - left["backed"], "shipped": 0}
    tx.set(t.claims, claim["id"], **left)
    tx.add(t.claims, [{**claim, **waits}])
    if lot := pins.lot_of(tx, claim):
        tx.add(t.pins, [{"claim_id": waits["id"], "cell_id": claim["cell_id"], "lot": lot}])
    return {**claim, **left}


def _fulfil(tx: Transaction, ready: Sequence[tuple[Row, Sequence[Row]]]) -> None:
    """A fulfilment for each warehouse that makes these claims of an order."""
    claims = [claim for _, mine in ready for claim in mine]
    if not claims:
        return
    cells = {c["id"]: c for c in many(tx, t.cells, "id", sorted({c["cell_id"] for c in claims}))}
    houses = {w["id"]: w for w in many(tx, t.warehouses, "id", sorted({c["warehouse_id"] for c in cells.values()}))}
    tokens, named = _tokens(tx, [order for order, _ in ready]), _names(tx, list(cells.values()))
    made: list[dict[str, Any]] = []
    lines: list[dict[str, Any]] = []
    told: list[Happened] = []
    for order, mine in ready:
        for house in sorted({cells[claim["cell_id"]]["warehouse_id"] for claim in mine}):
            labelled = houses[house]["courier_id"] is None or order["party_id"] in tokens
            made.append(_fulfilment(tx, order, houses[house], "released" if labelled else "labelling"))
            some = [claim for claim in mine if cells[claim["cell_id"]]["warehouse_id"] == house]
            lines += [_line(made[-1]["id"], n, claim, named[claim["cell_id"]]) for n, claim in enumerate(some, 1)]
            type_ = "fulfilment.labelled" if labelled else "fulfilment.released"
            told.append(_happened(type_, made[-1], houses[house], order))
    tx.add(t.fulfilments, made)
    tx.add(t.fulfilment_lines, lines)
    bound = [{"id": line["claim_id"], "fulfilment_id": line["fulfilment_id"], "soft": False} for line in lines]
    tx.set_each(t.claims, bound)
    pick_lots.instruct(tx, lines, {claim["id"]: claim["cell_id"] for claim in claims})
    tell(tx, told)


def _tokens(tx: Transaction, orders: Sequence[Row]) -> set[int]:
    """Addresses that can only travel by the warehouse's own e-waybill: no courier of ours can read them."""
    p = t.parties.c
    parties = sorted({order["party_id"] for order in orders if order["party_id"]})
    return set(tx.conn.execute(select(p.id).where(p.id.in_(parties), p.kind == "token")).scalars())


def _names(tx: Transaction, cells: Sequence[Row]) -> dict[int, dict[str, Any]]:
    """Cell → the item of its goods, and what their warehouse knows them by."""
    items = {i["id"]: i for i in many(tx, t.items, "id", sorted({c["item_id"] for c in cells}))}
    keepers = many(tx, t.keepers, "owner_id", sorted({c["owner_id"] for c in cells}))
    codes = {(k["owner_id"], k["warehouse_id"]): k["code"] for k in keepers}
    return {
        cell["id"]: {
            "item_id": cell["item_id"],
            "sku": items[cell["item_id"]]["sku"],
            "keeper": codes.get((cell["owner_id"], cell["warehouse_id"]), ""),
        }
        for cell in cells
    }


def _fulfilment(tx: Transaction, order: Row, warehouse: Row, state: str) -> dict[str, Any]:
    ident = tx.ids.new()
    return {
        "id": ident,
        "ref": f"Y{ident}",
        "order_id": order["id"],
        "merchant_id": order["merchant_id"],
        "warehouse_id": warehouse["id"],
        "state": state,
        "carrier": warehouse["carrier"],
        "final": False,
        "created_at": tx.now,
    }


def _line(fulfilment_id: int, n: int, claim: Row, named: Row) -> dict[str, Any]:
    units = claim["asked"] - claim["shipped"]
    head = {"fulfilment_id": fulfilment_id, "n": n, "claim_id": claim["id"], "line_id": claim["line_id"]}
    return {**head, **named, "quantity": units, "shipped": 0}


def _happened(type_: str, fulfilment: Row, warehouse: Row, order: Row) -> Happened:
    who = {"shop": order["connection_id"], "wms": warehouse["wms_id"], "courier": warehouse["courier_id"]}
    ids = {"fulfilment": fulfilment["id"], "order": order["id"]}
    return Happened(type_, order["merchant_id"], ids, f"fulfilment:{fulfilment['id']}", who, {"ref": fulfilment["ref"]})


def labelled(tx: Transaction, fulfilment_id: int, waybill: str) -> None:
    """The courier gave a waybill: the warehouse may be told, and the parcel is expected."""
    tx.lock_ledger()
    fulfilment = one(tx, t.fulfilments, id=fulfilment_id)
    assert fulfilment is not None
    if fulfilment["waybill"] or fulfilment["state"] != "labelling":
        return
    warehouse = one(tx, t.warehouses, id=fulfilment["warehouse_id"])
    order = one(tx, t.orders, id=fulfilment["order_id"])
    assert warehouse is not None and order is not None
    tx.set(t.fulfilments, fulfilment_id, waybill=waybill, state="released")
    expect_parcel(tx, {**fulfilment, "waybill": waybill}, warehouse["courier_id"])
    tell(tx, [_happened("fulfilment.labelled", fulfilment, warehouse, order)])


def expect_parcel(tx: Transaction, fulfilment: Row, courier_id: int | None) -> None:
    """A parcel row for the fulfilment's waybill, once; what its courier said too early is heard again."""
    row = {
        "id": tx.ids.new(),
        "carrier": fulfilment["carrier"],
        "waybill": fulfilment["waybill"],
        "courier_id": courier_id,
        "fulfilment_id": fulfilment["id"],
        "order_id": fulfilment["order_id"],
        "merchant_id": fulfilment["merchant_id"],
        "milestone": "created",
        "created_at": tx.now,
    }
    if insert_or_skip(tx.conn, t.parcels, [row]):
        inbox.hear_again(tx, "tracking", fulfilment["waybill"])
