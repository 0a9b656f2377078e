"""What others say they have, held against the ledger, a reading at a time; what cannot be believed is put aside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update

from core.errors import Implausible, Unmatched
from core.flow import keep_promises, settle_residual
from core.flow.expect_stock import Books, Figure, Source, Subject, books, source
from core.flow.hear import Spoken, fresh
from core.model import Snapshot
from core.rules import snapshots
from core.store import inbox
from core.store import tables as t
from core.store.ledger import Ledger
from core.store.rows import any_of
from core.store.store import Transaction, many

ACCEPTED = "accepted"
"""What stands in the `fix` of a document a person let through as it is."""
REPLACED = "a newer snapshot came"
EMPTY = "this snapshot is empty, the books have {} units: look at their side, then accept it as it is, or dismiss it"
SHORT = "this snapshot announced {} rows and brought {}: it changed while it was read; wait for the next, or accept it"
SWEEPING = (
    "{} of {} lines are off as they were not before, more than {} %: nothing of this reading was applied; look at "
    "their side, then accept it as it is, or dismiss it"
)
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Heard:
    """One snapshot with its inbox row."""

    spoken: Spoken
    snapshot: Snapshot
    row: Row

    @property
    def accepted(self) -> bool:
        """Whether a person lets it through as it is."""
        return bool(self.row["fix"] == ACCEPTED)


@dataclass(frozen=True)
class Line:
    """One figure of a document beside the books. n: its place there."""

    heard: Heard
    n: int
    figure: Figure
    compared: settle_residual.Compared


def compare(tx: Transaction, batch: Sequence[Spoken]) -> None:
    """Hold snapshots against the books, a reading at a time; what an authority shows twice is booked or asked."""
    ledger = Ledger(tx)
    documents = fresh(tx, batch)
    rows = {r["id"]: r for r in many(tx, t.inbox, "id", [s.inbox_id for s in documents])}
    for connection_id in dict.fromkeys(s.connection_id for s in documents):
        mine = [_heard(s, rows[s.inbox_id]) for s in documents if s.connection_id == connection_id]
        for reading in _readings(mine):
            _read(tx, ledger, source(tx, connection_id), reading)
    keep_promises.after_moves(tx, ledger)


def _heard(spoken: Spoken, row: Row) -> Heard:
    assert isinstance(spoken.noun, Snapshot)
    return Heard(spoken, spoken.noun, row)


def _readings(documents: Sequence[Heard]) -> Iterator[list[Heard]]:
    """Documents that were read together: none of them speaks of what another has spoken of."""
    reading: list[Heard] = []
    seen: set[Any] = set()
    for one in documents:
        told: set[Any] = {(r.warehouse, r.keeper, r.sku, r.condition) for r in one.snapshot.rows}
        told = told or {(one.row["ref"], one.snapshot.keeper)}
        if told & seen:
            yield reading
            reading, seen = [], set()
        reading.append(one)
        seen |= told
    yield reading


def _read(tx: Transaction, ledger: Ledger, source: Source, reading: Sequence[Heard]) -> None:
    """Compare one reading, or put aside what of it cannot be understood or believed."""
    skus = {sku for one in reading for sku in _skus(one)}
    held = books(tx, ledger, source, skus, min(_read_at(tx, one) for one in reading))
    before = settle_residual.before(tx, source.connection_id, skus)
    lines = [line for one in reading for line in _lines(tx, held, before, one)]
    lines = _believed(tx, source, lines)
    settle_residual.settle(tx, held, [line.compared for line in lines])
    ledger.flush()
    _replace(tx, reading)


def _skus(one: Heard) -> set[str]:
    asked = {one.snapshot.sku} if one.snapshot.sku else set()
    return {row.sku for row in one.snapshot.rows if row.sku} | asked


def _read_at(tx: Transaction, one: Heard) -> datetime:
    """When the first of its rows was read; never later than now, whatever their clock says."""
    told = [row.read_at for row in one.snapshot.rows if row.read_at]
    return min(tx.now, *told, one.snapshot.as_of or one.row["received_at"])


def _lines(tx: Transaction, held: Books, before: Mapping[Subject, Row], one: Heard) -> list[Line]:
    """What a document shows, compared; [] where it was parked."""
    try:
        found = _compared(tx, held, before, one)
        _check_whole(tx, held, one, found)
    except (Unmatched, Implausible) as error:
        inbox.park(tx, one.spoken.inbox_id, error)
        return []
    inbox.settle(tx, [one.spoken.inbox_id])
    return found


def _compared(tx: Transaction, held: Books, before: Mapping[Subject, Row], one: Heard) -> list[Line]:
    lines = []
    for n, figure in enumerate(_figures(tx, held, one)):
        goods = held.meant(figure.subject)
        if not goods and figure.subject.keeper and held.source.rules(figure.subject.warehouse_id):
            _refuse_unknown(figure.subject)
        if goods:
            place = settle_residual.Place(one.spoken.inbox_id, n)
            figure = held.in_base_units(figure, goods)
            compared = settle_residual.compare(held, figure, goods, before.get(figure.subject), place)
            lines.append(Line(one, n, figure, compared))
    return lines


def _refuse_unknown(subject: Subject) -> None:
    """Raises Unmatched: goods that the owner under this code does not have are not booked as somebody else's."""
    what = f"no item {subject.sku!r} of an owner with keeper code {subject.keeper!r} is known here"
    raise Unmatched("item", subject.sku, f"{what}: add the item, or have the snapshot asked for its owner; then replay")


def _figures(tx: Transaction, held: Books, one: Heard) -> list[Figure]:
    """Units per subject: rows of one subject (lots, pages) are added, what it was asked for and does not name is 0."""
    units: dict[Subject, int] = {}
    read_at: dict[Subject, datetime] = {}
    whole = _read_at(tx, one)
    for row in one.snapshot.rows:
        if not row.sku:
            continue
        subject = Subject(held.source.place(row.warehouse), row.keeper, row.sku, row.condition)
        locked = 0 if held.source.excludes == "nothing" else row.locked
        units[subject] = units.get(subject, 0) + row.quantity + locked
        read_at[subject] = min(row.read_at or whole, read_at.get(subject, tx.now))
    named = {(s.warehouse_id, s.keeper, s.condition) for s in units}
    for subject in held.known(one.snapshot.keeper, one.snapshot.sku) if one.snapshot.sku else ():
        if not {(subject.warehouse_id, k, subject.condition) for k in ("", subject.keeper)} & named:
            units[subject] = 0
    return [Figure(subject, n, read_at.get(subject, whole)) for subject, n in units.items()]


def _check_whole(tx: Transaction, held: Books, one: Heard, lines: Sequence[Line]) -> None:
    """Raises Implausible for a snapshot without rows where the books have goods, and for one that lost rows."""
    said = one.snapshot
    if one.accepted:
        return
    if said.announced is not None and said.received is not None and said.announced != said.received:
        raise Implausible(SHORT.format(said.announced, said.received))
    missing = 0
    if not said.rows:
        missing = (
            sum(-i.compared.residual for i in lines if i.compared.changed) if said.sku else _there(tx, held.source)
        )
    if missing:
        raise Implausible(EMPTY.format(missing))


def _there(tx: Transaction, source: Source) -> int:
    """Units on hand, by the books, wherever this source speaks of."""
    ce = t.cells.c
    on_hand = func.coalesce(func.sum(t.on_hand), 0)
    query = select(on_hand).where(any_of(tx.conn, ce.warehouse_id, sorted(source.places)))
    query = query.where(ce.owner_id == source.merchant_id) if source.merchant_id else query
    return int(tx.conn.execute(query).scalar_one())


def _believed(tx: Transaction, source: Source, lines: Sequence[Line]) -> list[Line]:
    """The lines, without those of a warehouse that would change too much at once: their documents are parked."""
    doubted: dict[int, Implausible] = {}
    for warehouse_id in source.places:
        here = [i for i in lines if i.figure.subject.warehouse_id == warehouse_id and not i.heard.accepted]
        changed = [i.compared.changed for i in here]
        limits = source.limits(warehouse_id)
        if source.rules(warehouse_id) and snapshots.sweeping(changed, limits):
            words = SWEEPING.format(sum(changed), len(changed), limits.snapshot_max_percent)
            doubted |= {i.heard.spoken.inbox_id: Implausible(words) for i in here}
    for ident, error in doubted.items():
        inbox.park(tx, ident, error)
    return [line for line in lines if line.heard.spoken.inbox_id not in doubted]


def _replace(tx: Transaction, reading: Sequence[Heard]) -> None:
    """A snapshot that waits for a person is of no use any more once a newer one of the same came."""
    i = t.inbox.c
    first, refs = min(one.spoken.inbox_id for one in reading), sorted({one.row["ref"] for one in reading})
    waits = select(i.id).where(i.id < first, i.state == "parked", i.kind == "stock", i.problem == Implausible.__name__)
    mine = waits.where(i.connection_id == reading[0].spoken.connection_id, any_of(tx.conn, i.ref, refs))
    old = list(tx.conn.execute(mine).scalars())
    tx.conn.execute(
        update(t.inbox).where(any_of(tx.conn, i.id, old)).values(state="dismissed", settled_at=tx.now, reason=REPLACED)
    )
