"""What warehouses say of fulfilments: progress, goods that left, refusals. Facts: booked at once, in full, whatever we thought."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select, update

from core.errors import Refused, Unmatched
from core.flow import cancel_order, track_parcel
from core.flow.hear import Spoken, fresh
from core.flow.release_order import expect_parcel
from core.flow.tell import Happened, tell
from core.model import Confirm, ConfirmedLine, Progress, Shipment, ShippedLine
from core.rules.posting import outflow
from core.store import inbox
from core.store import tables as t
from core.store.ledger import Entry, Ledger
from core.store.store import Transaction, many, one

STAGES = ("released", "accepted", "working", "ready")


def confirm_shipments(tx: Transaction, batch: Sequence[Spoken]) -> None:
    """Book confirmations: increments, keyed by the sender's message id, or "only" where it sends none."""
    ledger = Ledger(tx)
    for spoken in fresh(tx, batch):
        assert isinstance(spoken.noun, Confirm)
        fulfilment = _of_warehouse(tx, spoken.noun.fulfilment, spoken.connection_id)
        if fulfilment is None:
            inbox.park(tx, spoken.inbox_id, Unmatched("fulfilment", spoken.noun.fulfilment))
        elif _second_final(tx, ledger, spoken, fulfilment):
            inbox.park(
                tx,
                spoken.inbox_id,
                Refused("a second, different final confirmation: settle with the warehouse, then replay or dismiss"),
            )
        else:
            _confirm(tx, ledger, spoken, spoken.noun, fulfilment)
            inbox.settle(tx, [spoken.inbox_id])
    ledger.flush()


def _key(spoken: Spoken, confirm: Confirm) -> str:
    return f"confirm:{spoken.connection_id}:{confirm.event_id or f'{confirm.fulfilment}:only'}"


def _second_final(tx: Transaction, ledger: Ledger, spoken: Spoken, fulfilment: Mapping[str, Any]) -> bool:
    """Without message ids only one final confirmation can be told from its repeats."""
    assert isinstance(spoken.noun, Confirm)
    key = _key(spoken, spoken.noun)
    if spoken.noun.event_id or not ledger.known([key]):
        return False
    told = {(line.line or line.sku): line.quantity for line in spoken.noun.lines}
    lines = many(tx, t.fulfilment_lines, "fulfilment_id", [fulfilment["id"]])
    booked = {str(line["n"]) if str(line["n"]) in told else line["sku"]: line["shipped"] for line in lines}
    return told != {k: v for k, v in booked.items() if k in told}


def _of_warehouse(tx: Transaction, ref: str, connection_id: int) -> Mapping[str, Any] | None:
    """Our fulfilment of that number, if this connection is its warehouse's."""
    f, w = t.fulfilments, t.warehouses
    query = select(f).join(w, w.c.id == f.c.warehouse_id).where(f.c.ref == ref, w.c.wms_id == connection_id)
    return tx.row(query)


def _confirm(tx: Transaction, ledger: Ledger, spoken: Spoken, confirm: Confirm, fulfilment: Mapping[str, Any]) -> None:
    key = _key(spoken, confirm)
    if ledger.known([key]):
        tx.tally("duplicates_absorbed")
        return
    lines = many(tx, t.fulfilment_lines, "fulfilment_id", [fulfilment["id"]])
    entries = [e for line in confirm.lines for e in _leave(tx, ledger, lines, line)]
    ledger.book(key, "ship", f"inbox:{spoken.inbox_id}", entries, confirm.happened_at)
    waybill = _parcels(tx, fulfilment, confirm)
    if confirm.final:
        _final(tx, ledger, {**fulfilment, "waybill": waybill}, key)
    elif fulfilment["state"] in STAGES:
        tx.set(t.fulfilments, fulfilment["id"], state="part_shipped")


def _leave(tx: Transaction, ledger: Ledger, lines: Sequence[Mapping[str, Any]], told: ConfirmedLine) -> list[Entry]:
    """The entries of one confirmed line: the claim's backed units first, then free, then suspense."""
    line = _line(lines, told)
    claim = one(tx, t.claims, id=line["claim_id"])
    assert claim is not None
    cell = ledger.cells_by_id([claim["cell_id"]])[claim["cell_id"]]
    moves = outflow(told.quantity, backed=claim["backed"], free=cell.free)
    taken = -dict(moves).get("reserved", 0)
    shipped = claim["shipped"] + told.quantity
    tx.set(
        t.claims, claim["id"], backed=claim["backed"] - taken, shipped=shipped, asked=max(claim["asked"], shipped),
        open=claim["open"] and shipped < claim["asked"],
    )  # fmt: skip
    f, o = t.fulfilment_lines.c, t.order_lines.c
    mine = (f.fulfilment_id == line["fulfilment_id"]) & (f.n == line["n"])
    tx.conn.execute(update(t.fulfilment_lines).where(mine).values(shipped=f.shipped + told.quantity))
    tx.conn.execute(update(t.order_lines).where(o.id == line["line_id"]).values(shipped=o.shipped + told.quantity))
    return [Entry(cell, account, n) for account, n in moves]


def _line(lines: Sequence[Mapping[str, Any]], told: ConfirmedLine) -> Mapping[str, Any]:
    """The line they speak of: by our number when it names the same SKU, else by SKU, else (a substitute) the first."""
    same = [line for line in lines if line["sku"] == told.sku]
    return next((line for line in same if str(line["n"]) == told.line), same[0] if same else lines[0])


def _parcels(tx: Transaction, fulfilment: Mapping[str, Any], confirm: Confirm) -> str:
    """Parcels the warehouse named, made where we did not expect them; the fulfilment's waybill."""
    warehouse = one(tx, t.warehouses, id=fulfilment["warehouse_id"])
    assert warehouse is not None
    waybill = str(fulfilment["waybill"])
    for parcel in confirm.parcels:
        carrier = parcel.carrier or fulfilment["carrier"]
        expect_parcel(tx, {**fulfilment, "carrier": carrier, "waybill": parcel.waybill}, warehouse["courier_id"])
        waybill = waybill or parcel.waybill
    if waybill != fulfilment["waybill"]:
        tx.set(t.fulfilments, fulfilment["id"], waybill=waybill)
    return waybill


def _final(tx: Transaction, ledger: Ledger, fulfilment: Mapping[str, Any], key: str) -> None:
    if fulfilment["final"]:
        return
    missing = cancel_order.end(tx, ledger, fulfilment, f"end:{fulfilment['id']}")
    lines = many(tx, t.fulfilment_lines, "fulfilment_id", [fulfilment["id"]])
    left = any(line["shipped"] for line in lines)
    state = "shipped" if left else "short"
    tx.set(t.fulfilments, fulfilment["id"], state=state, final=True, shipped_at=tx.now if left else None)
    order = one(tx, t.orders, id=fulfilment["order_id"])
    assert order is not None
    ids = {"fulfilment": fulfilment["id"], "order": order["id"]}
    subject, shop = f"order:{order['id']}", {"shop": order["connection_id"]}
    told = (
        [Happened("fulfilment.shipped", order["merchant_id"], ids, subject, shop, {"ref": fulfilment["ref"]})]
        if left
        else []
    )
    if missing:
        told.append(Happened("fulfilment.part_short", order["merchant_id"], ids, subject, shop, {"units": missing}))
    tell(tx, told)
    _sum_up(tx, order)


def _sum_up(tx: Transaction, order: Mapping[str, Any]) -> None:
    """The order's state, from its fulfilments."""
    states = [f["state"] for f in many(tx, t.fulfilments, "order_id", [order["id"]]) if f["state"] != "cancelled"]
    if states and all(s in ("shipped", "short") for s in states):
        state = "shipped" if "shipped" in states else "short"
    else:
        state = "part_shipped" if "shipped" in states else order["state"]
    if state != order["state"] and order["state"] != "delivered":
        tx.set(t.orders, order["id"], state=state)
        tell(tx, [Happened(f"order.{state}", order["merchant_id"], {"order": order["id"]}, f"order:{order['id']}")])
        track_parcel.deliver(tx, [order["id"]])


def note_progress(tx: Transaction, batch: Sequence[Spoken]) -> None:
    """Steps inside the warehouse; they never go back, and a cancellation there is a verdict."""
    ledger = Ledger(tx)
    for spoken in fresh(tx, batch):
        assert isinstance(spoken.noun, Progress)
        fulfilment = _of_warehouse(tx, spoken.noun.fulfilment, spoken.connection_id)
        if fulfilment is None:
            inbox.park(tx, spoken.inbox_id, Unmatched("fulfilment", spoken.noun.fulfilment))
            continue
        _progress(tx, ledger, fulfilment, spoken.noun)
        inbox.settle(tx, [spoken.inbox_id])
    ledger.flush()


def _progress(tx: Transaction, ledger: Ledger, fulfilment: Mapping[str, Any], progress: Progress) -> None:
    now = fulfilment["state"]
    ids = {"fulfilment": fulfilment["id"], "order": fulfilment["order_id"]}
    happened = Happened(
        f"fulfilment.{progress.stage}",
        fulfilment["merchant_id"],
        ids,
        f"fulfilment:{fulfilment['id']}",
        {},
        {"code": progress.code},
    )
    if progress.stage in STAGES and now in STAGES and STAGES.index(progress.stage) > STAGES.index(now):
        tx.set(t.fulfilments, fulfilment["id"], state=progress.stage)
        tell(tx, [happened])
    elif progress.stage in ("cancelled", "cancel_refused") and now == "cancelling":
        cancel_order.verdict(tx, ledger, fulfilment["id"], progress.stage == "cancelled")
    elif progress.stage in ("exception", "cancelled"):
        tell(tx, [happened])


def shipment(tx: Transaction, fulfilment_id: int) -> Shipment | None:
    """What the shop is told of a shipped fulfilment, in listing units; None when nothing of it left."""
    fulfilment = one(tx, t.fulfilments, id=fulfilment_id)
    if fulfilment is None or fulfilment["state"] not in ("shipped", "delivered"):
        return None
    order = one(tx, t.orders, id=fulfilment["order_id"])
    lines = [line for line in many(tx, t.fulfilment_lines, "fulfilment_id", [fulfilment_id]) if line["shipped"]]
    sold = {row["id"]: row for row in many(tx, t.order_lines, "order_id", [fulfilment["order_id"]])}
    assert order is not None
    others = [f for f in many(tx, t.fulfilments, "order_id", [order["id"]]) if f["state"] != "cancelled"]
    return Shipment(
        ref=fulfilment["ref"],
        order_ref=order["ref"],
        carrier=fulfilment["carrier"],
        waybill=fulfilment["waybill"],
        shipped_at=fulfilment["shipped_at"],
        split=len(others) > 1,
        lines=tuple(
            ShippedLine(ref=sold[line["line_id"]]["ref"], quantity=line["shipped"] // sold[line["line_id"]]["pack"])
            for line in lines
        ),
    )


def told_shop(tx: Transaction, fulfilment_id: int) -> None:
    """The shop has booked this shipment: its own figures have moved."""
    o = t.order_lines.c
    for line in many(tx, t.fulfilment_lines, "fulfilment_id", [fulfilment_id]):
        tx.conn.execute(
            update(t.order_lines).where(o.id == line["line_id"]).values(fulfilled=o.fulfilled + line["shipped"])
        )
