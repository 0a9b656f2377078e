"""What was called off gives its stock back: at once when no warehouse knows of it, else on the warehouse's verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import select, update

from core.flow import draw_locked, end_fulfilment, fill_claim, pair_orders, pick_lots, release_order
from core.flow.change_order import units_wanted
from core.flow.fill_claim import Journal
from core.flow.tell import Happened, settle, tell
from core.rules import kits
from core.store import outbox
from core.store import tables as t
from core.store.claims import missing
from core.store.ledger import Ledger
from core.store.store import Transaction, many, one

OVER = ("shipped", "cancelled", "short")


def give_back(
    tx: Transaction,
    ledger: Ledger,
    order: Mapping[str, Any],
    lines: Sequence[Mapping[str, Any]],
    claims: Sequence[dict[str, Any]],
) -> None:
    """Release what the order no longer wants; what a warehouse was told of is asked back there first.

    An order that waits for less than before may find it there.
    """
    missed = _missed(claims)
    for line in lines:
        mine = [c for c in claims if c["line_id"] == line["id"] and c["open"]]
        surplus = kits.claimed(mine) - max(0, units_wanted(order, line) - line["shipped"])
        for part in {c["part_id"]: c["per_kit"] or 1 for c in mine}.items():
            _shrink(tx, ledger, order, [c for c in mine if c["part_id"] == part[0]], surplus * part[1])
    if _missed(claims) < missed:
        cells = ledger.cells_by_id(c["cell_id"] for c in claims)
        ledger.risen |= {cells[c["cell_id"]].key.item_id for c in claims if c["open"] and missing(c)}
    if _called_off(order, lines) and not any(c["open"] for c in claims):
        close(tx, ledger, order)


def _missed(claims: Iterable[Mapping[str, Any]]) -> int:
    return sum(missing(claim) for claim in claims if claim["open"])


def _called_off(order: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the shop wants nothing of it any more: closed as a whole, or line by line."""
    goods = [line for line in lines if line["bears_stock"]]
    return bool(order["closed"] or (goods and all(line["cancelled"] >= line["ordered"] for line in goods)))


def _shrink(
    tx: Transaction, ledger: Ledger, order: Mapping[str, Any], claims: Sequence[dict[str, Any]], surplus: int
) -> None:
    """Take `surplus` units off these claims, unreleased ones first."""
    for claim in sorted(claims, key=lambda c: c["fulfilment_id"] is not None):
        units = min(surplus, claim["asked"] - claim["shipped"])
        if units <= 0:
            continue
        if claim["fulfilment_id"] is None or stop(tx, claim["fulfilment_id"], order):
            free_units(tx, ledger, claim, units, f"order:{order['id']}")
        surplus -= units


def free_units(tx: Transaction, ledger: Ledger, claim: dict[str, Any], units: int, cause: str) -> None:
    """The claim wants `units` less; what it held of them fills negative suspense, goes back to its lock, or to free.

    What its title passed with is the owner's again. A claim may want more again and then less: no two of these
    journals are the same, and what was given back once is no surplus any more.
    """
    wanted = claim["asked"] - claim["shipped"] - units
    given = max(0, claim["backed"] - wanted)
    cell = ledger.cells_by_id([claim["cell_id"]])[claim["cell_id"]]
    free = given - draw_locked.put_back(tx, ledger, claim, given + min(0, cell.suspense))
    if free:
        fill_claim.empty(tx, ledger, claim, free, Journal(f"release:{tx.ids.new()}", "release", cause))
    claim["asked"] -= units
    claim["backed"] -= given
    claim["open"] = wanted > 0
    tx.set(t.claims, claim["id"], asked=claim["asked"], backed=claim["backed"], open=claim["open"])


def stop(tx: Transaction, fulfilment_id: int, order: Mapping[str, Any]) -> bool:
    """Whether the fulfilment is stopped for certain now; if its warehouse may know of it, it is asked and we wait."""
    fulfilment = one(tx, t.fulfilments, id=fulfilment_id)
    assert fulfilment is not None
    if fulfilment["state"] == "cancelled":
        return True
    warehouse = one(tx, t.warehouses, id=fulfilment["warehouse_id"])
    assert warehouse is not None
    if fulfilment["state"] == "labelling" or _never_sent(tx, fulfilment, warehouse):
        _detach(tx, fulfilment)
        if warehouse["courier_id"]:
            outbox.withdraw(
                tx, warehouse["courier_id"], "send_booking", f"fulfilment:{fulfilment_id}", "the order was called off"
            )
        return True
    if fulfilment["state"] not in ("cancelling", "cannot_stop", *OVER):
        tx.set(t.fulfilments, fulfilment_id, state="cancelling")
        ids = {"fulfilment": fulfilment_id, "order": order["id"]}
        tell(
            tx,
            [
                Happened(
                    "fulfilment.unwanted",
                    order["merchant_id"],
                    ids,
                    f"fulfilment:{fulfilment_id}",
                    {"wms": warehouse["wms_id"]},
                )
            ],
        )
    return False


def _never_sent(tx: Transaction, fulfilment: Mapping[str, Any], warehouse: Mapping[str, Any]) -> bool:
    subject = f"fulfilment:{fulfilment['id']}"
    return outbox.withdraw(tx, warehouse["wms_id"], "send_delivery_order", subject, "the order was called off")


def verdict(tx: Transaction, ledger: Ledger, fulfilment_id: int, stopped: bool) -> None:
    """The warehouse's answer to a cancellation: yes frees what is still open, no means it cannot be stopped.

    Once nothing is open any more, neither changes anything.
    """
    fulfilment = one(tx, t.fulfilments, id=fulfilment_id)
    assert fulfilment is not None
    if fulfilment["final"] or fulfilment["state"] not in ("cancelling", "cannot_stop"):
        return
    ids = {"fulfilment": fulfilment_id, "order": fulfilment["order_id"]}
    if not stopped:
        tx.set(t.fulfilments, fulfilment_id, state="cannot_stop")
        tell(tx, [Happened("fulfilment.cannot_stop", fulfilment["merchant_id"], ids, f"fulfilment:{fulfilment_id}")])
        return
    _detach(tx, fulfilment)
    end_fulfilment.finish(tx, fulfilment, stopped=True)
    revise(tx, ledger, fulfilment["order_id"])


def revise(tx: Transaction, ledger: Ledger, order_id: int) -> None:
    """Look at an order again after its warehouse let go of it: give back what is not wanted, keep the rest."""
    order = one(tx, t.orders, id=order_id)
    assert order is not None
    claims = [dict(c) for c in many(tx, t.claims, "order_id", [order_id]) if c["open"]]
    give_back(tx, ledger, order, many(tx, t.order_lines, "order_id", [order_id]), claims)
    release_order.release(tx, [order_id])
    end_fulfilment.sum_up(tx, order_id)


def _detach(tx: Transaction, fulfilment: Mapping[str, Any]) -> None:
    """The fulfilment is off; its claims stand for the order alone again, which may be released anew."""
    tx.set(t.fulfilments, fulfilment["id"], state="cancelled", final=True)
    pick_lots.let_go(tx, fulfilment["id"])
    c = t.claims.c
    tx.conn.execute(
        update(t.claims).where(c.fulfilment_id == fulfilment["id"], c.open.is_(True)).values(fulfilment_id=None)
    )
    o = t.orders.c
    tx.conn.execute(update(t.orders).where(o.id == fulfilment["order_id"], o.state == "released").values(state="taken"))


def end(tx: Transaction, ledger: Ledger, fulfilment: Mapping[str, Any]) -> int:
    """The warehouse sends no more: what claims still hold goes back, their lines stay short of what is wanted.

    Returns the units the order is short by.
    """
    ended: dict[int, list[Mapping[str, Any]]] = {}
    for claim in many(tx, t.claims, "fulfilment_id", [fulfilment["id"]]):
        units = claim["asked"] - claim["shipped"]
        if claim["open"] and units > 0:
            free_units(tx, ledger, dict(claim), units, f"fulfilment:{fulfilment['id']}")
            ended.setdefault(claim["line_id"], []).append(claim)
    return sum(_leave_short(tx, fulfilment["order_id"], line, kits.claimed(some)) for line, some in ended.items())


def _leave_short(tx: Transaction, order_id: int, line_id: int, units: int) -> int:
    """Of `units` that will not come, those the line still wants and no other claim of it will bring."""
    order, line = one(tx, t.orders, id=order_id), one(tx, t.order_lines, id=line_id)
    assert order is not None and line is not None
    others = kits.claimed([c for c in many(tx, t.claims, "line_id", [line_id]) if c["open"]])
    short: int = min(units, max(0, units_wanted(order, line) - line["shipped"] - others))
    if short:
        tx.set(t.order_lines, line_id, short=line["short"] + short)
    return short


def close_if_off(tx: Transaction, ledger: Ledger, order_id: int) -> None:
    """Close an order that was called off, once its last fulfilment is over."""
    order = one(tx, t.orders, id=order_id)
    assert order is not None
    open_ = any(c["open"] for c in many(tx, t.claims, "order_id", [order_id]))
    if not open_ and _called_off(order, many(tx, t.order_lines, "order_id", [order_id])):
        close(tx, ledger, order)


def close(tx: Transaction, ledger: Ledger, order: Mapping[str, Any]) -> None:
    """The whole order is off and holds nothing any more; what the purchase still wants is its counterpart's."""
    shipped = tx.row(
        select(t.order_lines.c.id).where(t.order_lines.c.order_id == order["id"], t.order_lines.c.shipped > 0)
    )
    if order["state"] == "cancelled" or shipped:
        return
    tx.set(t.orders, order["id"], state="cancelled")
    subject = f"order:{order['id']}"
    settle(tx, subject)
    tell(
        tx,
        [
            Happened(
                "order.cancelled",
                order["merchant_id"],
                {"order": order["id"]},
                subject,
                {"shop": order["connection_id"]},
            )
        ],
    )
    pair_orders.pass_on(tx, ledger, order["id"])


def called_off_at_shop(tx: Transaction, ledger: Ledger, order_id: int) -> None:
    """The shop cancelled a paid order at our word, because there was no stock: what it held goes back."""
    order = one(tx, t.orders, id=order_id)
    assert order is not None
    claims = [dict(c) for c in many(tx, t.claims, "order_id", [order_id]) if c["open"]]
    lines = many(tx, t.order_lines, "order_id", [order_id])
    give_back(tx, ledger, {**order, "closed": True}, lines, claims)
    tx.set(t.orders, order_id, closed=True, status="closed")
