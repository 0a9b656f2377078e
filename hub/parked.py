"""Parked work: what waits for a person, why, and the buttons that let it flow on."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import case, select, update

from core.errors import Refused, Unfit, Unmatched
from core.flow import count_stock, move_stock, settle_residual, stop_levels
from core.store import inbox, outbox
from core.store import tables as t
from core.store.ledger import MISSING_TASK
from core.store.rows import any_of
from core.store.scope import Scope
from core.store.store import Transaction
from hub import counts, residuals
from hub.onboard.form import Form, Ref, note
from hub.onboard.goods import NewLink, NewListing, NewListings, add_links, add_listings
from hub.onboard.warehouses import link

LIMIT = 200
MISSING = re.compile(r"no (\w+) is linked to '(.*?)'")
"""How `Unmatched` says what it misses."""
LINKABLE = ("listing", "item", "warehouse")
CELL = "cell:"
Row = Mapping[str, Any]


class Fix(Form):
    """What a person says with a button. To link: the missing ref, and the item (owner, sku) or warehouse it is."""

    kind: str = "listing"
    ref: Ref | None = None
    owner: str | None = None
    sku: str | None = None
    warehouse: str | None = None
    pack: int = 1


def parked(tx: Transaction, scope: Scope, limit: int = LIMIT) -> list[dict[str, Any]]:
    """The oldest parked documents, intents and tasks, each with its reason and the buttons it has."""
    found = [*_documents(tx, scope, limit), *_intents(tx, scope, limit), *_tasks(tx, scope, limit)]
    return [{"goods": None, **row} for row in sorted(found, key=lambda row: row["since"])[:limit]]


def press(tx: Transaction, scope: Scope, kind: str, ident: int, button: str, fix: Fix | None = None) -> None:
    """Press a button. Raises Unmatched when it is not there, Refused when it is not parked or has no such button."""
    row = _find(tx, scope, kind, ident)
    buttons = _task_buttons(row["kind"]) if kind == "task" else BUTTONS[kind]
    act = buttons.get(button)
    if act is None:
        raise Refused(f"a parked {kind} has no button {button!r}; it has: {', '.join(buttons)}")
    act(tx, scope, row, fix or Fix())
    note(tx, scope, f"parked {kind} {button}", str(ident))


def missing(reason: str | None) -> tuple[str, str] | None:
    """(kind, ref) of what an Unmatched document misses."""
    match = MISSING.search(reason or "")
    return (match[1], match[2]) if match else None


def _documents(tx: Transaction, scope: Scope, limit: int) -> list[dict[str, Any]]:
    i, c = t.inbox.c, t.connections.c
    query = select(
        i.id, i.kind, i.ref, i.problem, i.reason, i.fix, i.received_at.label("since"), c.code.label("connection")
    )
    mine = query.join(t.connections, c.id == i.connection_id).where(i.state == "parked", scope.sees(c.merchant_id))
    return [_document(row) for row in tx.rows(mine.order_by(i.id).limit(limit))]


def _document(row: Row) -> dict[str, Any]:
    what = missing(row["reason"])
    buttons = [*(["link"] if what and what[0] in LINKABLE else []), "replay", "dismiss"]
    buttons = ["accept", *buttons] if row["fix"] == "accept" else buttons
    names = ("id", "ref", "connection", "problem", "reason", "fix", "since")
    said = {name: row[name] for name in names}
    return {
        "kind": "document",
        "what": row["kind"],
        **said,
        "missing": what and {"kind": what[0], "ref": what[1]},
        "buttons": buttons,
    }


def _intents(tx: Transaction, scope: Scope, limit: int) -> list[dict[str, Any]]:
    o, c = t.outbox.c, t.connections.c
    names = (
        o.id,
        o.ability.label("what"),
        o.subject.label("ref"),
        o.problem,
        o.reason,
        o.fix,
        o.created_at.label("since"),
    )
    mine = select(*names, c.code.label("connection")).join(t.connections, c.id == o.connection_id)
    rows = tx.rows(mine.where(o.state == "parked", scope.sees(o.merchant_id)).order_by(o.id).limit(limit))
    return [_intent(row) for row in rows]


def _intent(row: Row) -> dict[str, Any]:
    what = missing(row["reason"])
    buttons = [*(["link"] if what and what[0] in LINKABLE else []), "retry", "dismiss"]
    return {"kind": "intent", **row, "missing": what and {"kind": what[0], "ref": what[1]}, "buttons": buttons}


def _tasks(tx: Transaction, scope: Scope, limit: int) -> list[dict[str, Any]]:
    w = t.worklist.c
    names = (w.id, w.kind.label("what"), w.subject.label("ref"), w.reason, w.fix, w.created_at.label("since"))
    rows = tx.rows(select(*names).where(w.done_at.is_(None), scope.sees(w.merchant_id)).order_by(w.id).limit(limit))
    more = {"connection": None, "problem": None, "missing": None}
    goods = _goods(tx, [_cell(row["ref"]) for row in rows if row["what"] == MISSING_TASK])
    return [
        {"kind": "task", **row, **more, "goods": goods.get(row["ref"]), "buttons": list(_task_buttons(row["what"]))}
        for row in rows
    ]


def _goods(tx: Transaction, cells: list[int]) -> dict[str, Row]:
    """What lies in these cells, and whose and where it is, by what tasks call them."""
    ce, i, m, w = t.cells.c, t.items.c, t.merchants.c, t.warehouses.c
    names = (i.sku, i.name, m.code.label("owner"), w.code.label("warehouse"), ce.condition)
    query = select(ce.id, *names).join(t.items, i.id == ce.item_id).join(t.merchants, m.id == ce.owner_id)
    query = query.join(t.warehouses, w.id == ce.warehouse_id).where(any_of(tx.conn, ce.id, cells))
    return {f"{CELL}{row['id']}": {name.key: row[name.key] for name in names} for row in tx.rows(query)}


def _find(tx: Transaction, scope: Scope, kind: str, ident: int) -> Row:
    query = {"document": _one_document, "intent": _one_intent, "task": _one_task}.get(kind)
    row = tx.row(query(scope, ident)) if query else None
    if row is None:
        raise Unmatched(kind, str(ident), f"there is no parked {kind} {ident}")
    if row["state"] != "parked":
        raise Refused(f"this {kind} is not parked any more: it is {row['state']}")
    return row


def _one_document(scope: Scope, ident: int) -> Any:
    i, c = t.inbox.c, t.connections.c
    query = select(i.id, i.state, i.reason, i.fix, i.connection_id, c.code).join(t.connections, c.id == i.connection_id)
    return query.where(i.id == ident, scope.sees(c.merchant_id))


def _one_intent(scope: Scope, ident: int) -> Any:
    o = t.outbox.c
    return select(o.id, o.state, o.reason, o.connection_id).where(o.id == ident, scope.sees(o.merchant_id))


def _one_task(scope: Scope, ident: int) -> Any:
    w = t.worklist.c
    state = case((w.done_at.is_(None), "parked"), else_="done").label("state")
    return select(w.id, w.kind, w.subject, state).where(w.id == ident, scope.sees(w.merchant_id))


def _replay(tx: Transaction, scope: Scope, row: Row, fix: Fix) -> None:
    inbox.replay(tx, [row["id"]])


def _link(tx: Transaction, scope: Scope, row: Row, fix: Fix) -> None:
    """Link what is missing, then send through again every document of the connection that missed the same."""
    what = missing(row["reason"])
    ref = fix.ref or (what[1] if what else None)
    kind = what[0] if what else fix.kind
    if ref is None:
        raise Unfit("say which ref is to be linked")
    if kind == "listing":
        _link_listing(tx, scope, row["code"], ref, fix)
    else:
        add_links(tx, scope, row["code"], [NewLink(ref=ref, warehouse=fix.warehouse, owner=fix.owner, sku=fix.sku)])
    i = t.inbox.c
    same = select(i.id).where(i.connection_id == row["connection_id"], i.state == "parked", i.reason == row["reason"])
    inbox.replay(tx, list(tx.conn.execute(same).scalars()))


def _link_listing(tx: Transaction, scope: Scope, code: str, ref: str, fix: Fix) -> None:
    if not fix.sku:
        raise Unfit("say which item (its SKU) the shop sells there")
    listing = NewListing(ref=ref, item=fix.sku, owner=fix.owner or None, pack=fix.pack)
    add_listings(tx, scope, NewListings(connection=code, listings=(listing,)))


def _dismiss_document(tx: Transaction, scope: Scope, row: Row, fix: Fix) -> None:
    tx.set(t.inbox, row["id"], state="dismissed", settled_at=tx.now)


def _retry(tx: Transaction, scope: Scope, row: Row, fix: Fix) -> None:
    outbox.unpark(tx, row["id"])


def _link_intent(tx: Transaction, scope: Scope, row: Row, fix: Fix) -> None:
    """Say what our thing is called there, then send every intent of the connection that missed the same."""
    what = missing(row["reason"])
    if what is None or not what[1].isdecimal() or fix.ref is None:
        raise Unfit("say what it is called there")
    link(tx, row["connection_id"], what[0], fix.ref, int(what[1]))
    o = t.outbox.c
    same = select(o.id).where(o.connection_id == row["connection_id"], o.state == "parked", o.reason == row["reason"])
    for ident in list(tx.conn.execute(same).scalars()):
        outbox.unpark(tx, ident)


def _dismiss_intent(tx: Transaction, scope: Scope, row: Row, fix: Fix) -> None:
    o = t.outbox.c
    gone = update(t.outbox).where(o.id == row["id"], o.state == "parked")
    tx.conn.execute(gone.values(state="moot", done_at=tx.now, reason=f"dismissed by {scope.actor}"))
    lane = tx.row(select(o.lane).where(o.id == row["id"]))
    tx.lanes.update([lane["lane"]] if lane else [])


def _approve(tx: Transaction, scope: Scope, row: Row, fix: Fix) -> None:
    counts.approve(tx, scope, _stock_take(row))


def _reject(tx: Transaction, scope: Scope, row: Row, fix: Fix) -> None:
    counts.reject(tx, scope, _stock_take(row), counts.Rejection())


def _stock_take(row: Row) -> int:
    return int(row["subject"].removeprefix("stock_take:"))


def _task_done(tx: Transaction, scope: Scope, row: Row, fix: Fix) -> None:
    tx.set(t.worklist, row["id"], done_at=tx.now)


def _accept_snapshot(tx: Transaction, scope: Scope, row: Row, fix: Fix) -> None:
    residuals.accept_snapshot(tx, row)


def _accept_residual(tx: Transaction, scope: Scope, row: Row, fix: Fix) -> None:
    residuals.accept(tx, scope, row, fix.owner)


def _dismiss_residual(tx: Transaction, scope: Scope, row: Row, fix: Fix) -> None:
    residuals.dismiss(tx, row)


def _publish_levels(tx: Transaction, scope: Scope, row: Row, fix: Fix) -> None:
    stop_levels.publish(tx, int(row["subject"].removeprefix("connection:")))


def _publish_level(tx: Transaction, scope: Scope, row: Row, fix: Fix) -> None:
    stop_levels.release(tx, [int(row["subject"].removeprefix("level:"))])


def _unback(tx: Transaction, scope: Scope, row: Row, fix: Fix) -> None:
    if not move_stock.unback(tx, _cell(row["subject"])):
        raise Refused(
            "no promise for these goods can be taken back: none is open that no warehouse was told of; "
            "have the goods counted, or wait for what the warehouse confirms"
        )


def _cell(subject: str) -> int:
    return int(subject.removeprefix(CELL))


def _task_buttons(kind: str) -> dict[str, Button]:
    return TASK_BUTTONS.get(kind, BUTTONS["task"])


Button = Callable[[Transaction, Scope, Row, Fix], None]
BUTTONS: dict[str, dict[str, Button]] = {
    "document": {"link": _link, "replay": _replay, "dismiss": _dismiss_document, "accept": _accept_snapshot},
    "intent": {"link": _link_intent, "retry": _retry, "dismiss": _dismiss_intent},
    "task": {"done": _task_done},
}
TASK_BUTTONS: dict[str, dict[str, Button]] = {
    count_stock.TASK: {"approve": _approve, "reject": _reject},
    stop_levels.TASK: {"publish": _publish_levels},
    stop_levels.REFUSED_TASK: {"publish": _publish_level},
    MISSING_TASK: {"unback": _unback},
    settle_residual.TASK: {"accept": _accept_residual, "dismiss": _dismiss_residual},
}
"""Tasks of these kinds have buttons of their own; what misses units is done when they are there."""
