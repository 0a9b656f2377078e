"""What warehouses say of fulfilments: steps, goods that left, refusals. Facts, booked at once, in full."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import case, select, update

from core.errors import Unmatched, YipanError
from core.flow import (
    cancel_order,
    carry_transfer,
    end_fulfilment,
    fill_claim,
    keep_promises,
    name_lots,
    note_serials,
    pick_lots,
    pin_lots,
    sell_kits,
    send_instead,
    use_rights,
)
from core.flow.hear import Spoken, fresh, repeated
from core.flow.note_serials import Told
from core.flow.release_order import expect_parcel
from core.flow.send_instead import Instead
from core.flow.tell import Happened, ask_person, tell
from core.model import Confirm, ConfirmedLine, Progress
from core.model.stock import Lot
from core.rules.posting import outflow
from core.store import inbox
from core.store import tables as t
from core.store.ledger import CellKey, Entry, Ledger, LotMove, standing
from core.store.store import Transaction, many, one

STAGES = ("released", "accepted", "working", "ready")
STRANGE = (
    "{!r} is not on {}: settle with the warehouse; if it was sent instead of {}, declare it a substitute, then replay"
)
LEFT_THOUGH_CANCELLED = "goods left although the warehouse had cancelled: have the parcel stopped, or ask for it back"


def confirm_shipments(tx: Transaction, batch: Sequence[Spoken]) -> None:
    """Book confirmations: increments, keyed by fulfilment, sender and its message id, or "only" where it sends none."""
    ledger = Ledger(tx)
    for spoken in fresh(tx, batch):
        assert isinstance(spoken.noun, Confirm)
        error = _confirm(tx, ledger, spoken, spoken.noun)
        if error:
            inbox.park(tx, spoken.inbox_id, error)
        else:
            inbox.settle(tx, [spoken.inbox_id])
    keep_promises.after_moves(tx, ledger)


def _of_warehouse(tx: Transaction, ref: str, connection_id: int) -> Mapping[str, Any] | None:
    """Our fulfilment of that number, if this connection is its warehouse's."""
    f, w = t.fulfilments, t.warehouses
    query = select(f).join(w, w.c.id == f.c.warehouse_id).where(f.c.ref == ref, w.c.wms_id == connection_id)
    return tx.row(query)


def _confirm(tx: Transaction, ledger: Ledger, spoken: Spoken, confirm: Confirm) -> YipanError | None:
    """Book it, or say why it cannot be understood."""
    fulfilment = _of_warehouse(tx, confirm.fulfilment, spoken.connection_id)
    if fulfilment is None:
        return carry_transfer.departure_told(tx, ledger, spoken, confirm)
    lines = many(tx, t.fulfilment_lines, "fulfilment_id", [fulfilment["id"]])
    skus = {line["sku"] for line in lines}
    strange = [told.sku for told in confirm.lines if told.sku not in skus]
    instead = send_instead.declared(tx, lines, strange) if strange else {}
    undeclared = next((sku for sku in strange if sku not in instead), None)
    if undeclared is not None:
        return Unmatched("item", undeclared, STRANGE.format(undeclared, confirm.fulfilment, ", ".join(sorted(skus))))
    left = _left(lines, instead, confirm)
    key = f"confirm:{fulfilment['id']}:{spoken.connection_id}:{confirm.event_id or 'only'}"
    if ledger.known([key]):
        number, ends = confirm.event_id or confirm.fulfilment, confirm.final and not fulfilment["final"]
        return repeated(tx, ledger, key, number, _units(left), ends)
    entries = _leave(tx, ledger, left, key)
    lots = _lots(tx, ledger, left)
    if lots:
        pick_lots.check(tx, fulfilment, lots, pin_lots.check(tx, fulfilment, _by_lot(left)))
    ledger.book(key, "ship", f"inbox:{spoken.inbox_id}", entries, confirm.happened_at, lots)
    note_serials.left(tx, Told(spoken.inbox_id, confirm.happened_at), fulfilment, _serials(left))
    waybill = _parcels(tx, fulfilment, confirm)
    if fulfilment["final"]:
        _late(tx, fulfilment, any(gone.units for gone in left), key)
    elif confirm.final:
        _final(tx, ledger, {**fulfilment, "waybill": waybill})
    elif fulfilment["state"] in STAGES:
        tx.set(t.fulfilments, fulfilment["id"], state="part_shipped")
    return None


class Gone(NamedTuple):
    """Base units of an item that left for a fulfilment's line; the item is the line's, or one sent in its place."""

    line: Mapping[str, Any]
    item_id: int
    units: int
    lots: Sequence[Lot] = ()
    serials: Sequence[str] = ()


def _left(lines: Sequence[Mapping[str, Any]], instead: Instead, confirm: Confirm) -> list[Gone]:
    """What left, line by line; a line that is told in several rows (lots) is summed."""
    units: dict[tuple[int, int], int] = defaultdict(int)
    lots: dict[tuple[int, int], list[Lot]] = defaultdict(list)
    serials: dict[tuple[int, int], list[str]] = defaultdict(list)
    for told in confirm.lines:
        shares = _shares(lines, told, units) or [(send_instead.stands_for(instead, told), told.quantity)]
        named = name_lots.split(told.lots, [n for _, n in shares])
        for (found, n), its in zip(shares, named, strict=True):
            assert found is not None
            units[found[0]["n"], found[1]] += n
            lots[found[0]["n"], found[1]] += its
        first, _ = shares[0]
        assert first is not None
        serials[first[0]["n"], first[1]] += told.serials
    by_n = {line["n"]: line for line in lines}
    return [Gone(by_n[at[0]], at[1], some, lots[at], serials[at]) for at, some in sorted(units.items())]


def _serials(left: Sequence[Gone]) -> dict[int, list[str]]:
    """Item → serials of what left."""
    found: dict[int, list[str]] = defaultdict(list)
    for gone in left:
        found[gone.item_id] += gone.serials
    return found


def _lots(tx: Transaction, ledger: Ledger, left: Sequence[Gone]) -> list[LotMove]:
    """The lots that are told of what left, in the cell it left from."""
    moves: list[LotMove] = []
    for gone in (it for it in left if it.lots):
        claim = one(tx, t.claims, id=gone.line["claim_id"])
        assert claim is not None
        wanted = ledger.cells_by_id([claim["cell_id"]])[claim["cell_id"]].key
        cell = ledger.cell(CellKey(wanted.owner_id, gone.item_id, wanted.warehouse_id))
        moves += name_lots.moves(cell, gone.lots, sign=-1)
    return moves


def _by_lot(left: Sequence[Gone]) -> list[tuple[Mapping[str, Any], dict[str, int]]]:
    """Each line with the units of its own item that are told by lot."""
    mine = [gone for gone in left if gone.item_id == gone.line["item_id"]]
    found: list[tuple[Mapping[str, Any], dict[str, int]]] = [(gone.line, defaultdict(int)) for gone in mine]
    for gone, (_, units) in zip(mine, found, strict=True):
        for lot in (it for it in gone.lots if it.code):
            units[lot.code[:200]] += lot.quantity
    return found


def _shares(
    lines: Sequence[Mapping[str, Any]], told: ConfirmedLine, before: Mapping[tuple[int, int], int]
) -> list[tuple[tuple[Mapping[str, Any], int] | None, int]]:
    """((line, item), units) they speak of: of the lines with their SKU the one with our number, else what each still
    wants, and what is beyond that the first's. before: units of this confirmation by (line number, item).
    """
    same = [line for line in lines if line["sku"] == told.sku]
    named = [line for line in same if str(line["n"]) == told.line]
    if named or len(same) < 2:
        return [((line, line["item_id"]), told.quantity) for line in (named or same)[:1]]
    wanted = [line["quantity"] - line["shipped"] - before.get((line["n"], line["item_id"]), 0) for line in same]
    left, shares = told.quantity, []
    for n in wanted:
        shares.append(min(left, max(0, n)))
        left -= shares[-1]
    shares[0] += left
    found = [n for n, units in enumerate(shares) if units] or [0]
    return [((same[n], same[n]["item_id"]), shares[n]) for n in found]


def _units(left: Sequence[Gone]) -> dict[tuple[int, str], int]:
    """What left, as the ledger counts it: good units that went."""
    units: dict[tuple[int, str], int] = defaultdict(int)
    for gone in left:
        units[gone.item_id, "ZP"] -= gone.units
    return units


def _leave(tx: Transaction, ledger: Ledger, left: Sequence[Gone], key: str) -> list[Entry]:
    """The entries of goods that left: each line's claim's backed units first, then its owner's free, then suspense.

    Where another item was sent, the claim's units come free and the other's free ones leave, else its suspense.
    """
    entries: list[Entry] = []
    for line, item_id, units, *_ in left:
        claim = one(tx, t.claims, id=line["claim_id"])
        assert claim is not None
        here, source = ledger.cells_by_id([claim["cell_id"]])[claim["cell_id"]], fill_claim.home(tx, ledger, claim)
        if item_id == line["item_id"]:
            moves = outflow(units, backed=claim["backed"], free=standing(source, "free", entries))
            taken = used = -dict(moves).get("reserved", 0)
            entries += [Entry(source if account in ("free", "suspense") else here, account, n) for account, n in moves]
        else:
            send_instead.note(tx, line, item_id, units)
            taken = min(units, claim["backed"])
            more, used = send_instead.leave(tx, ledger, claim, item_id, units, entries)
            entries += more
        _note_left(tx, line, claim, units, taken)
        use_rights.gone(tx, ledger, claim, line["item_id"], used, units, key)
    return entries


def _note_left(tx: Transaction, line: Mapping[str, Any], claim: Mapping[str, Any], units: int, taken: int) -> None:
    """Write what left on the claim, the fulfilment's line and the order's."""
    shipped = claim["shipped"] + units
    asked = max(claim["asked"], shipped)
    open_ = claim["open"] and shipped < asked
    tx.set(t.claims, claim["id"], backed=claim["backed"] - taken, shipped=shipped, asked=asked, open=open_)
    f, o = t.fulfilment_lines.c, t.order_lines.c
    mine = (f.fulfilment_id == line["fulfilment_id"]) & (f.n == line["n"])
    tx.conn.execute(update(t.fulfilment_lines).where(mine).values(shipped=f.shipped + units))
    units = units if claim["part_id"] is None else sell_kits.completed(tx, line["line_id"])
    missing = o.ordered - o.cancelled - o.shipped - units
    short = case((o.short <= missing, o.short), (missing > 0, missing), else_=0)
    tx.conn.execute(update(t.order_lines).where(o.id == line["line_id"]).values(shipped=o.shipped + units, short=short))


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


def _final(tx: Transaction, ledger: Ledger, fulfilment: Mapping[str, Any]) -> None:
    """Nothing more will leave: what is missing stays short, unless it was called off."""
    missing = cancel_order.end(tx, ledger, fulfilment)
    stopped = not missing and fulfilment["state"] in ("cancelling", "cannot_stop")
    end_fulfilment.finish(tx, fulfilment, missing, stopped)
    end_fulfilment.sum_up(tx, fulfilment["order_id"])
    cancel_order.close_if_off(tx, ledger, fulfilment["order_id"])


def _late(tx: Transaction, fulfilment: Mapping[str, Any], left: bool, key: str) -> None:
    """A correction after the end: a short fulfilment has shipped after all, a shipped one has shipped more.

    One that was cancelled needs a person.
    """
    if left and fulfilment["state"] == "short":
        end_fulfilment.finish(tx, fulfilment)
        end_fulfilment.sum_up(tx, fulfilment["order_id"])
    elif left and fulfilment["state"] in ("shipped", "delivered"):
        end_fulfilment.tell_rest(tx, fulfilment, key)
    elif left and fulfilment["state"] == "cancelled":
        subject = f"fulfilment:{fulfilment['id']}"
        ask_person(tx, "fulfilment.left_though_cancelled", subject, fulfilment["merchant_id"], LEFT_THOUGH_CANCELLED)


def note_progress(tx: Transaction, batch: Sequence[Spoken]) -> None:
    """Steps inside the warehouse; they never go back, and a cancellation there is a verdict."""
    ledger = Ledger(tx)
    for spoken in fresh(tx, batch):
        assert isinstance(spoken.noun, Progress)
        fulfilment = _of_warehouse(tx, spoken.noun.fulfilment, spoken.connection_id)
        if fulfilment is None:
            error = carry_transfer.progress_told(tx, spoken, spoken.noun)
            inbox.park(tx, spoken.inbox_id, error) if error else inbox.settle(tx, [spoken.inbox_id])
            continue
        _progress(tx, ledger, fulfilment, spoken.noun)
        inbox.settle(tx, [spoken.inbox_id])
    keep_promises.after_moves(tx, ledger)


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
    elif progress.stage in ("cancelled", "cancel_refused") and now in ("cancelling", "cannot_stop"):
        cancel_order.verdict(tx, ledger, fulfilment["id"], progress.stage == "cancelled")
    elif progress.stage in ("exception", "cancelled"):
        tell(tx, [happened])
