"""Outward: due intents are phrased by their mapping, said by their client, and what became of them is written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from sqlalchemy import select

from connectors.spi import Outcome, Outgoing
from core.errors import Broken, InDoubt, Later, Mismatch, NotAuthorised, Person, Refused, Throttled, Unfit, YipanError
from core.flow import (
    cancel_order,
    keep_promises,
    link_items,
    measure_lag,
    move_stock,
    note_told,
    publish_stock,
    release_order,
    stop_levels,
    tell_counterparts,
    tell_fulfilment,
    tell_shipment,
    transfer_stock,
)
from core.flow.publish_stock import Said
from core.flow.stop_levels import Stop
from core.model import Cancellation, Model, Sale, SaleLine, Shipment
from core.store import outbox
from core.store import tables as t
from core.store.ledger import Ledger
from core.store.store import Transaction, many, one
from hub.shows import shown_by
from hub.wiring import Hub, Wired, links_to_theirs, meaning

log = structlog.get_logger("outward")
AT_ONCE = 48
OVER_BUDGET_S = 0.5
RESENDS = 8
ABSENT_TWICE = 2
TOGETHER = (
    "{why}. The shop does not say which of these listings it means, so all of them wait: {refs}. "
    "Correct it there or here, then retry"
)
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """One leased intent with everything its call needs. refused: listing → why the shop would not take its level."""

    row: Row
    wired: Wired
    rows: tuple[Outgoing, ...]
    said: Said | None = None
    value: Model | None = None
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def ability(self) -> Any:
        """What the manifest says of it."""
        return self.wired.ability(self.row["ability"])

    @property
    def step(self) -> str:
        """The first step not reached yet; "" for a write of one step."""
        return next((s for s in self.ability.steps if s not in self.row["reached"]), "")


def drain(hub: Hub, lane: str, pool: ThreadPoolExecutor) -> int:
    """Say what is due on a lane; returns how many intents were taken up."""
    with hub.store.read() as tx:
        if not outbox.any_due(tx, lane):
            return 0
    taken = hub.store.write(lambda tx: _take(hub, tx, lane))
    jobs = [job for job in taken if job]
    hub.will_call([job.wired for job in jobs], lane)
    said = [job for job in pool.map(lambda job: _carry_out(hub, job), jobs) if job]
    if said:
        hub.store.write(lambda tx: _levels_told(tx, said), ledger=True)
    return len(taken)


def _levels_told(tx: Transaction, jobs: Sequence[Job]) -> None:
    """Levels that shops have taken, booked together; a lost lease changes nothing."""
    over = outbox.done_all(tx, [job.row for job in jobs])
    mine = [job for job in jobs if job.row["id"] in over]
    note_told.told(tx, *(_taken(tx, job, job.said) for job in mine if job.said))
    measure_lag.note(tx, *(job.row for job in mine))


def _taken(tx: Transaction, job: Job, said: Said) -> Said:
    """What the shop took of it; a listing it refused is left to a person, so that the others do not wait for it."""
    return said.without(stop_levels.refuse(tx, job.wired.row, job.refused)) if job.refused else said


def _take(hub: Hub, tx: Transaction, lane: str) -> list[Job | None]:
    """Lease due intents and phrase them; no job for what is no longer wanted (moot) or cannot be phrased (parked)."""
    rows = outbox.claim(tx, lane, AT_ONCE, hub.options.lease_s, _silent(tx))
    said = _said(tx, [row for row in rows if row["ability"] == "send_stock"], hub.options.stop)
    known: dict[int, Wired] = {}
    return [_prepare(hub, tx, known, row, said.get(row["id"])) for row in rows]


def _silent(tx: Transaction) -> list[int]:
    """Connections a person has paused."""
    return list(tx.conn.execute(select(t.connections.c.id).where(t.connections.c.state != "active")).scalars())


def _prepare(hub: Hub, tx: Transaction, known: dict[int, Wired], row: Row, said: Said | None) -> Job | None:
    """known: connections that were made ready for this round."""
    try:
        wired = known.get(row["connection_id"]) or hub.wired(tx, row["connection_id"])
        known[row["connection_id"]] = wired
        values = list(said.levels) if said else [v for v in [_value(tx, row)] if v]
        if not values:
            _no_longer_wanted(tx, row)
            return None
        return Job(row, wired, tuple(_phrase(tx, wired, row, value) for value in values), said, values[0])
    except YipanError as error:
        outbox.park(tx, row, error)
    except ValueError as error:  # a value that no model takes: it must not hold up what was leased beside it
        outbox.park(tx, row, Unfit(f"it cannot be phrased: {error}"))
    return None


def _said(tx: Transaction, rows: Sequence[Row], stop: Stop = Stop()) -> dict[int, Said]:  # noqa: B008
    """The levels of each write unit, computed now; a difference that may have arrived is said the same again.

    An absolute figure of whoever held the lease before is old by now, and may yet arrive: what is shown is unknown.
    """
    before = {row["id"]: Said.from_json(row["reached"]["said"]) for row in rows if "said" in row["reached"]}
    found = {ident: said for ident, said in before.items() if said.keyed}
    for ident in before.keys() - found.keys():
        note_told.lost(tx, before[ident])
    fresh = [row for row in rows if row["id"] not in found]
    computed = publish_stock.compute_all(tx, fresh, stop) if fresh else []
    tx.set_each(
        t.outbox,
        [{"id": row["id"], "reached": {"said": said.as_json()}} for row, said in zip(fresh, computed, strict=True)],
    )
    return found | {row["id"]: said for row, said in zip(fresh, computed, strict=True)}


def _no_longer_wanted(tx: Transaction, row: Row) -> None:
    """It is not said. A cancellation of what its warehouse never heard of is granted at once."""
    ids = row["payload"]
    if outbox.moot(tx, row, "no longer wanted") and row["ability"] == "send_cancellation" and _never_told(tx, ids):
        _call_off(tx, ids, True)


def _never_told(tx: Transaction, ids: Mapping[str, int]) -> bool:
    """Whether the fulfilment's delivery order turned out never to have arrived."""
    told = one(tx, t.outbox, ability="send_delivery_order", subject=f"fulfilment:{ids.get('fulfilment')}")
    return told is not None and told["state"] == "moot"


def _shipment(tx: Transaction, row: Row) -> Model | None:
    """What is said of a shipment stays the same over its steps and repeats, whatever leaves meanwhile."""
    if "said" in row["reached"]:
        return Shipment(**row["reached"]["said"])
    left = row["payload"]["fulfilment"]
    value = tell_counterparts.shipment(tx, row) if _follows(row) else tell_shipment.shipment(tx, left)
    if value:
        row["reached"]["said"] = value.model_dump(mode="json")
        row["reached"]["fulfilled"] = {} if _follows(row) else tell_shipment.fulfilled_with(tx, left, value)
        outbox.note(tx, row, reached=row["reached"])
    return value


def _follows(row: Row) -> bool:
    """Whether a shipment is told of an order that claims nothing: another of its purchase does."""
    return str(row["subject"]).startswith("order:")


def _value(tx: Transaction, row: Row) -> Model | None:
    """The canonical value of an intent, as of now; None when it is no longer wanted.

    What is in doubt is phrased all the same: whether it arrived has to be known.
    """
    ids, doubted = row["payload"], row["state"] == "in_doubt"
    builders: dict[str, Callable[[], Model | None]] = {
        "send_booking": lambda: tell_fulfilment.booking(tx, ids["fulfilment"], doubted),
        "send_delivery_order": lambda: tell_fulfilment.delivery_order(tx, ids["fulfilment"], doubted),
        "send_shipment": lambda: _shipment(tx, row),
        "send_asn": lambda: (
            move_stock.asn(tx, ids["asn"]) if "asn" in ids else transfer_stock.notice(tx, ids["transfer"])
        ),
        "send_stockout": lambda: transfer_stock.stockout(tx, ids["transfer"]),
        "send_cancellation": lambda: _cancellation(tx, ids),
        "send_sale": lambda: _sale(tx, ids["order"], row["connection_id"]),
    }
    return builders[row["ability"]]()


def _cancellation(tx: Transaction, ids: Mapping[str, int]) -> Cancellation | None:
    if "transfer" in ids:
        return transfer_stock.cancellation(tx, ids["transfer"], ids["warehouse"])
    if "fulfilment" not in ids:
        return _cancellation_at_shop(tx, ids["order"])
    fulfilment = one(tx, t.fulfilments, id=ids["fulfilment"])
    if fulfilment is None or fulfilment["state"] != "cancelling" or _never_told(tx, ids):
        return None
    line = many(tx, t.fulfilment_lines, "fulfilment_id", [fulfilment["id"]])[0]
    return Cancellation(
        ref=fulfilment["ref"],
        their_ref=fulfilment["wms_ref"],
        warehouse=str(fulfilment["warehouse_id"]),
        keeper=line["keeper"],
        reason="the order was called off",
    )


def _cancellation_at_shop(tx: Transaction, order_id: int) -> Cancellation | None:
    """None where goods came meanwhile, or its merchant would rather wait."""
    o, m = t.orders.c, t.merchants.c
    query = select(o.ref, o.state, m.short_policy).join(t.merchants, m.id == o.merchant_id).where(o.id == order_id)
    order = tx.row(query)
    asks = order is not None and order["state"] == "short" and order["short_policy"] == keep_promises.ASK
    return Cancellation(ref=order["ref"], reason="out of stock") if order and asks else None


def _sale(tx: Transaction, order_id: int, connection_id: int) -> Sale | None:
    """Every line in what this ERP counts. Raises Refused where that is no whole number."""
    order = one(tx, t.orders, id=order_id)
    lines = [r for r in many(tx, t.order_lines, "order_id", [order_id]) if r["item_id"]]
    if order is None or order["state"] == "cancelled" or not lines:
        return None
    items = {r["id"]: r for r in many(tx, t.items, "id", [r["item_id"] for r in lines])}
    packs = link_items.packs(tx, connection_id, items)
    units = {
        r["id"]: link_items.in_packs(r["ordered"], packs.get(r["item_id"], 1), items[r["item_id"]]["sku"])
        for r in lines
    }
    return Sale(
        ref=f"Y{order['id']}",
        shop_ref=order["ref"],
        placed_at=order["placed_at"],
        currency=order["currency"],
        freight_minor=order["freight_minor"],
        lines=tuple(
            SaleLine(
                line=r["ref"],
                sku=items[r["item_id"]]["sku"],
                item=str(r["item_id"]),
                quantity=units[r["id"]],
                unit_minor=r["net_minor"] // max(1, units[r["id"]]),
                net_minor=r["net_minor"],
            )
            for r in lines
        ),
    )


def _phrase(tx: Transaction, wired: Wired, row: Row, value: Model) -> Outgoing:
    """A value in their words. Raises Unmatched when something it names has no link there."""
    mapping = meaning(wired.connector.name, row["ability"].removeprefix("send_"))
    links = links_to_theirs(tx, wired.row["id"], list(mapping.wanted(value))) if mapping.link_kinds else {}
    named: Any = value
    ref = getattr(named, "order_ref", None) or getattr(named, "listing", None) or named.ref
    key = getattr(named, "key", None) or row["subject"]
    return Outgoing(key, ref, mapping.write(value, links), row["reached"], _known(tx, row))


def _known(tx: Transaction, row: Row) -> list[str]:
    """Their numbers of what this ability has said before of the same thing."""
    if row["ability"] == "send_stock":
        return []
    o = t.outbox.c
    mine = (o.connection_id == row["connection_id"]) & (o.key == row["key"]) & (o.ability == row["ability"])
    return list(tx.conn.execute(select(o.their_ref).where(mine, o.state == "done", o.id != row["id"])).scalars())


def _carry_out(hub: Hub, job: Job) -> Job | None:
    """Say it, or ask what became of it, and write that down. Nothing here may raise: the lease would run out.

    A level that the shop has taken is handed back, to be written down with others.
    """
    try:
        if not hub.may_call(job.wired, job.row["lane"]):
            hub.together.write(lambda tx: outbox.put_back(tx, job.row, OVER_BUDGET_S))
        elif job.row["state"] == "in_doubt" and not job.ability.idempotent:
            outcome = job.wired.hidden(_ask(job))
            hub.together.write(lambda tx: _after_probe(hub, tx, job, outcome))
        else:
            said, refused = _say(hub, job)
            outcome = job.wired.hidden(said)
            if outcome.state == "done" and job.said and not job.ability.steps:
                return replace(job, refused={ref: job.wired.hide(error).message for ref, error in refused.items()})
            hub.together.write(lambda tx: _after_call(hub, tx, job, outcome))
    except Exception:
        log.exception("intent_stopped", intent=job.row["id"])
        broken = Broken("a bug stopped this call: report it, then retry")
        hub.together.write(lambda tx: outbox.park(tx, job.row, broken))
    return None


def _say(hub: Hub, job: Job) -> tuple[Outcome, Mapping[str, YipanError]]:
    """What became of it, and the levels that were refused where the others were taken."""
    try:
        rows = _read_first(hub, job) if job.said and job.said.reads else job.rows
        outcomes: Sequence[Outcome] = getattr(job.wired.client, job.row["ability"])(rows, job.step)
    except YipanError as error:
        return Outcome.failed(error), {}
    refused = _refused(rows, outcomes) if job.said and not job.ability.steps else {}
    rest = [o for o in outcomes if o.error is None or o.error not in refused.values()]
    return next((o for o in rest if o.state != "done"), rest[-1] if rest else Outcome.done()), refused


def _refused(rows: Sequence[Outgoing], outcomes: Sequence[Outcome]) -> dict[str, YipanError]:
    """Ref → what a person has to mend about that row alone."""
    errors = ((row.ref, outcome.error) for row, outcome in zip(rows, outcomes, strict=True))
    return {ref: error for ref, error in errors if isinstance(error, Person) and not isinstance(error, NotAuthorised)}


def _ask(job: Job) -> Outcome:
    try:
        found: Outcome = job.wired.client.probe(job.row["ability"], job.rows[0], job.step)
        return found
    except YipanError as error:
        return Outcome.failed(error)


def _read_first(hub: Hub, job: Job) -> Sequence[Outgoing]:
    """Levels over figures the shop shows right now (LEDGER §6, form 3)."""
    assert job.said is not None
    shown = shown_by(job.wired, [level.product or level.listing for level in job.said.levels])
    levels = publish_stock.after_read(job.said, shown)
    with hub.store.read() as tx:
        return [_phrase(tx, job.wired, job.row, level) for level in levels]


def _after_call(hub: Hub, tx: Transaction, job: Job, outcome: Outcome) -> None:
    row, error = job.row, outcome.error
    if outcome.state == "done":
        _reached(hub, tx, job, outcome.ref)
    elif isinstance(error, InDoubt):
        _in_doubt(hub, tx, job, error)
    elif isinstance(error, Mismatch) and job.said is not None and job.said.compares:
        note_told.mismatched(tx, job.said)
        outbox.again(tx, row, 0, error, reached=_without_said(row))
    elif isinstance(error, Later):
        # As it was when taken up: what may have arrived before is said the same again, anything else computed anew.
        outbox.again(tx, row, _wait_s(hub, row, error), error, reached=row["reached"])
    elif (
        row["ability"] == "send_cancellation"
        and "fulfilment" in row["payload"]
        and error is not None
        and error.fix == "retry"
    ):
        _finish(tx, job, "", stopped=False)
    elif row["ability"] == "send_shipment" and job.ability.probe and isinstance(error, Refused):
        # Somebody may have told it there, or the platform did, when the other order of its purchase was shipped.
        reached = {**row["reached"], "refused": str(error)}
        outbox.doubt(tx, row, job.ability.settle_s * hub.options.patience, error, reached=reached)
    elif job.said and len(job.rows) > 1 and isinstance(error, Refused):
        outbox.park(tx, row, Refused(TOGETHER.format(why=error, refs=", ".join(each.ref for each in job.rows))))
    else:
        outbox.park(tx, row, error or Broken("the connector gave no outcome"))


def _in_doubt(hub: Hub, tx: Transaction, job: Job, error: YipanError) -> None:
    """Nobody knows. What may be repeated is said again, the same; a level of an absolute kind is computed anew."""
    row, ability = job.row, job.ability
    if job.said is not None and not job.said.keyed:
        note_told.lost(tx, job.said)
        outbox.again(tx, row, _wait_s(hub, row, error), error, reached=_without_said(row))
    elif ability.idempotent:
        outbox.again(tx, row, _wait_s(hub, row, error), error)
    else:
        outbox.doubt(tx, row, ability.settle_s * hub.options.patience, error)


def _without_said(row: Row) -> dict[str, Any]:
    return {k: v for k, v in row["reached"].items() if k != "said"}


def _after_probe(hub: Hub, tx: Transaction, job: Job, outcome: Outcome) -> None:
    """done: it had arrived. Absent twice: one resend under the same key. Anything else: ask again later.

    What was refused and is not there is a person's.
    """
    row = job.row
    settle_s = job.ability.settle_s * hub.options.patience
    if outcome.state == "done":
        _reached(hub, tx, job, outcome.ref)
    elif "refused" in row["reached"] and not isinstance(outcome.error, (Later, InDoubt)):
        outbox.note(tx, row, reached={k: v for k, v in row["reached"].items() if k != "refused"})
        outbox.park(tx, row, Refused(row["reached"]["refused"]))
    elif outcome.state == "absent" and row["absent"] + 1 < ABSENT_TWICE:
        outbox.doubt(tx, row, settle_s, InDoubt("looked for it once, it is not there"), absent=row["absent"] + 1)
    elif outcome.state == "absent" and row["resends"] < RESENDS:
        outbox.again(tx, row, 0, absent=0, resends=row["resends"] + 1)
    elif isinstance(outcome.error, (Later, InDoubt)):
        outbox.doubt(tx, row, _wait_s(hub, row, outcome.error), outcome.error, absent=row["absent"])
    else:
        _probe_failed(tx, job, outcome.error or InDoubt("it never arrives: look at their side, then retry"))


def _probe_failed(tx: Transaction, job: Job, error: YipanError) -> None:
    if job.row["ability"] == "send_cancellation" and "fulfilment" in job.row["payload"] and error.fix == "retry":
        _finish(tx, job, "", stopped=False)
    else:
        outbox.park(tx, job.row, error)


def _reached(hub: Hub, tx: Transaction, job: Job, ref: str) -> None:
    """One step is done; the last one finishes the intent."""
    steps = job.ability.steps
    if not steps:
        _finish(tx, job, ref)
        return
    reached = {**job.row["reached"], job.step: ref}
    if job.step == steps[0]:
        _first_step(tx, job)
    if job.step == steps[-1]:
        outbox.note(tx, job.row, reached=reached)
        _finish(tx, job, reached[steps[0]] or ref, counted=True)
    elif outbox.again(tx, job.row, 0, reached=reached, absent=0):
        tx.lanes.add(job.row["lane"])


def _first_step(tx: Transaction, job: Job) -> None:
    """The shop's own figures move when the first step of a shipment is done."""
    if job.row["ability"] == "send_shipment" and _still_ours(tx, job.row):
        _told_shop(tx, job)


def _told_shop(tx: Transaction, job: Job) -> None:
    assert isinstance(job.value, Shipment)
    if _follows(job.row):
        return
    fulfilled = job.row["reached"].get("fulfilled")
    tell_shipment.told_shop(tx, job.row["payload"]["fulfilment"], job.value, job.ability.whole_lines, fulfilled)


def _still_ours(tx: Transaction, row: Row) -> bool:
    found = one(tx, t.outbox, id=row["id"])
    return found is not None and found["token"] == row["token"]


def _finish(tx: Transaction, job: Job, ref: str, *, stopped: bool = True, counted: bool = False) -> None:
    """It is done: what follows from it is booked in the same transaction. A lost lease changes nothing."""
    row = job.row
    if not outbox.done(tx, row, ref):
        return
    ids = row["payload"]
    match row["ability"]:
        case "send_stock":
            assert job.said is not None
            note_told.told(tx, job.said)
            measure_lag.note(tx, row)
        case "send_booking":
            release_order.labelled(tx, ids["fulfilment"], ref)
        case "send_delivery_order":
            tx.set(t.fulfilments, ids["fulfilment"], wms_ref=ref)
        case "send_shipment" if not counted:
            _told_shop(tx, job)
        case "send_cancellation":
            _call_off(tx, ids, stopped)


def _call_off(tx: Transaction, ids: Mapping[str, int], stopped: bool) -> None:
    """Book the answer to a cancellation, and look at its order again. A transfer ended when it was called off."""
    if "transfer" in ids:
        return
    ledger = Ledger(tx)
    if "fulfilment" in ids:
        cancel_order.verdict(tx, ledger, ids["fulfilment"], stopped)
    else:
        cancel_order.called_off_at_shop(tx, ledger, ids["order"])
    release_order.release(tx, [ids["order"]])
    keep_promises.after_moves(tx, ledger)


def _wait_s(hub: Hub, row: Row, error: YipanError) -> float:
    """How long to wait before it is tried again: what they asked for, else a little longer each time."""
    if isinstance(error, Throttled) and error.retry_after_s is not None:
        return error.retry_after_s
    return float(hub.options.retry_s * hub.options.patience * min(2 ** (row["attempts"] - 1), 32))
