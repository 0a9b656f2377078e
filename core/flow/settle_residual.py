"""What becomes of a residual: it waits until it repeats, then is booked once, or a person accepts or dismisses it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import delete, func, select

from core.errors import Refused
from core.flow import keep_promises, unsettled
from core.flow.count_stock import difference
from core.flow.expect_stock import Books, Figure, Goods, Subject, books, source
from core.flow.tell import ask_person
from core.flow.tell import settle as settle_task
from core.rules import snapshots
from core.rules.snapshots import OPEN, Before, Expected, State
from core.store import tables as t
from core.store.ledger import CellKey, Ledger
from core.store.rows import any_of
from core.store.store import Transaction, many, one

TASK = "stock.residual"
ASK = "{sku} {condition} ({keeper}) at {warehouse}: they show {theirs}, {residual:+} beside what may lie there: {why}"
SHARED = "its keeper code stands for several owners: count it, then accept it for one of them, or dismiss it"
LARGE = "more than the warehouse's limit: have it counted, then accept or dismiss it"
Row = Mapping[str, Any]


class Place(NamedTuple):
    """Where a figure was told: an inbox row, and its place there."""

    inbox_id: int
    n: int


@dataclass(frozen=True)
class Compared:
    """A figure beside the books. theirs: with what the source leaves out; before: the row compared before it."""

    subject: Subject
    goods: tuple[Goods, ...]
    figure: Figure
    theirs: int
    expected: Expected
    before: Row | None
    place: Place

    @property
    def residual(self) -> int:
        """How far theirs lies outside what may lie there."""
        return self.expected.residual(self.theirs)

    @property
    def changed(self) -> bool:
        """Whether it is off, and as it was not before."""
        return self.residual != 0 and (self.before is None or self.before["residual"] != self.residual)

    @property
    def items(self) -> set[int]:
        """The items of all owners that are meant."""
        return {goods.item_id for goods in self.goods}


def compare(held: Books, figure: Figure, goods: Collection[Goods], before: Row | None, place: Place) -> Compared:
    """A figure beside what may have lain there when it was read."""
    subject, mine = figure.subject, tuple(goods)
    unsaid = held.sent(mine, subject.condition, figure.as_of) if held.source.excludes == "allocated" else 0
    expected = held.expected(mine, subject.condition, figure.as_of)
    return Compared(subject, mine, figure, figure.units + unsaid, expected, before, place)


def before(tx: Transaction, connection_id: int, skus: Collection[str]) -> dict[Subject, Row]:
    """Subject → the newest comparison of it, with the time its residual was first shown as `first_as_of`."""
    c, first = t.comparisons.c, t.comparisons.alias("first")
    subject = (c.warehouse_id, c.keeper, c.sku, c.condition)
    newest = select(func.max(c.id)).where(c.connection_id == connection_id, any_of(tx.conn, c.sku, sorted(skus)))
    query = select(t.comparisons, first.c.as_of.label("first_as_of")).join(first, first.c.id == c.first_id)
    rows = tx.rows(query.where(c.id.in_(newest.group_by(*subject))))
    return {Subject(r["warehouse_id"], r["keeper"], r["sku"], r["condition"]): r for r in rows}


def settle(tx: Transaction, held: Books, lines: Sequence[Compared]) -> None:
    """Keep these comparisons, book what repeated, ask about what is too much; what comes late is passed over."""
    timely = [i for i in lines if i.before is None or i.figure.as_of > i.before["as_of"]]
    tx.tally("snapshots_late", len(lines) - len(timely))
    rows = [(line, _row(tx, held, line)) for line in timely]
    _forget(tx, rows)
    tx.add(t.comparisons, [row for _, row in rows])
    for line, row in rows:
        if row["state"] == "booked":
            _book(tx, held.ledger, row, line.goods[0])
        elif row["state"] == "asked":
            _ask(tx, row, line)


def _row(tx: Transaction, held: Books, line: Compared) -> dict[str, Any]:
    state, ident = _decide(tx, held, line), tx.ids.new()
    goes_on = line.before is not None and line.before["state"] in OPEN and line.before["residual"] == line.residual
    return {
        "id": ident,
        "inbox_id": line.place.inbox_id,
        "n": line.place.n,
        "connection_id": held.source.connection_id,
        **line.subject._asdict(),
        "item_id": next(iter(line.items)) if len(line.items) == 1 else None,
        "theirs": line.theirs,
        **vars(line.expected),
        "residual": line.residual,
        "state": state,
        "first_id": line.before["first_id"] if line.before and goes_on else ident,
        "as_of": line.figure.as_of,
    }


def _decide(tx: Transaction, held: Books, line: Compared) -> State:
    warehouse_id, holder = line.subject.warehouse_id, held.source.merchant_id
    if warehouse_id is None or not held.source.rules(warehouse_id):
        return "reported" if line.residual else "agrees"
    last = line.before
    before = Before(last["residual"], last["state"], last["first_as_of"]) if last else None
    quiet = not (before and before.goes_on(line.residual)) or not unsettled.why(tx, line.goods, line.subject.condition)
    sole = len(line.goods) == 1 and holder in (0, line.goods[0].owner_id)
    limits = held.source.limits(warehouse_id)
    at = line.figure.as_of
    return snapshots.decide(line.residual, line.expected.on_hand, at, before, limits, sole=sole, quiet=quiet)


def _forget(tx: Transaction, rows: Sequence[tuple[Compared, Row]]) -> None:
    """Of what was compared before only the first of a residual, and what was booked, is of use from now on."""
    old = [(line.before, row) for line, row in rows if line.before]
    for last, row in old:
        if last["state"] == "asked" and row["state"] != "asked":
            settle_task(tx, f"comparison:{last['first_id']}")
    gone = [
        last["id"]
        for last, _ in old
        if last["state"] in ("agrees", "reported") or (last["id"] != last["first_id"] and last["state"] in OPEN)
    ]
    if gone:
        tx.conn.execute(delete(t.comparisons).where(any_of(tx.conn, t.comparisons.c.id, gone)))


def _ask(tx: Transaction, row: Row, line: Compared) -> None:
    warehouse = one(tx, t.warehouses, id=row["warehouse_id"])
    assert warehouse is not None
    why = LARGE if len(line.goods) == 1 else SHARED
    owner = line.goods[0].owner_id if len(line.goods) == 1 else None
    words = ASK.format(**{**row, "warehouse": warehouse["code"], "keeper": row["keeper"] or "-"}, why=why)
    ask_person(tx, TASK, f"comparison:{row['first_id']}", owner, words)


def _book(tx: Transaction, ledger: Ledger, row: Row, goods: Goods) -> None:
    """Book a residual as a count does, once per pair of snapshots."""
    cell = ledger.cell(CellKey(*goods, row["condition"]))
    key = f"snapshot:{row['first_id']}:{row['id']}"
    ledger.book(key, "snapshot", f"comparison:{row['id']}", difference(cell, row["residual"]), row["as_of"])


def accept(tx: Transaction, first_id: int, owner_id: int | None = None) -> int:
    """A person takes a residual for true: what of it is still outside the books is booked; returns the units.

    owner_id: whose goods they are, needed where a keeper code stands for several. Raises Refused for one that is not
    asked about any more, or without the owner.
    """
    row = _asked(tx, first_id)
    ledger = Ledger(tx)
    subject = Subject(row["warehouse_id"], row["keeper"], row["sku"], row["condition"])
    held = books(tx, ledger, source(tx, row["connection_id"]), [row["sku"]], row["as_of"])
    goods = held.meant(subject)
    expected = held.expected(goods, subject.condition, row["as_of"])
    now = {**row, **vars(expected), "residual": expected.residual(row["theirs"]), "state": "booked"}
    if not now["residual"]:
        raise Refused("the books have come to agree with it meanwhile: dismiss it")
    mine = [g for g in goods if owner_id in (None, g.owner_id)]
    if len(mine) != 1:
        raise Refused("its keeper code stands for several owners: say whose goods they are (owner)")
    changed = {n: now[n] for n in (*vars(expected), "residual", "state")}
    tx.set(t.comparisons, row["id"], **changed, item_id=mine[0].item_id)
    _book(tx, ledger, now, mine[0])
    settle_task(tx, f"comparison:{first_id}")
    keep_promises.after_moves(tx, ledger)
    return int(now["residual"])


def dismiss(tx: Transaction, first_id: int) -> None:
    """A person leaves the books as they are; it is not asked about again while the source shows the same."""
    row = _asked(tx, first_id)
    tx.set(t.comparisons, row["id"], state="dismissed")
    settle_task(tx, f"comparison:{first_id}")


def _asked(tx: Transaction, first_id: int) -> Row:
    rows = [r for r in many(tx, t.comparisons, "first_id", [first_id]) if r["state"] == "asked"]
    if not rows:
        raise Refused("nobody is asked about this residual any more: look at the newest snapshot")
    return max(rows, key=lambda r: r["id"])
