"""What a person decides of a warehouse's figures: what a residual is, and whether a strange snapshot is true."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from core.errors import Refused
from core.flow import settle_residual
from core.flow.compare_stock import ACCEPTED
from core.store import inbox
from core.store import tables as t
from core.store.rows import any_of
from core.store.scope import Scope
from core.store.store import Transaction
from hub.onboard.form import find

Row = Mapping[str, Any]


def accept(tx: Transaction, scope: Scope, task: Row, owner: str | None) -> None:
    """Book what a residual still is. owner: the code of whose goods they are, where that could be several owners."""
    owner_id = int(find(tx, scope, t.merchants, owner)["id"]) if owner else None
    settle_residual.accept(tx, _first(task), owner_id)


def dismiss(tx: Transaction, task: Row) -> None:
    """Leave the books as they are."""
    settle_residual.dismiss(tx, _first(task))


def accept_snapshot(tx: Transaction, document: Row) -> None:
    """Let a snapshot through as it is, with all that was put aside with it. Raises Refused for any other document."""
    if document["fix"] != "accept":
        raise Refused("only a snapshot that was put aside as a whole can be accepted: replay or dismiss this one")
    i = t.inbox.c
    same = (i.connection_id == document["connection_id"], i.kind == "stock", i.reason == document["reason"])
    ids = list(tx.conn.execute(select(i.id).where(i.state == "parked", i.fix == "accept", *same)).scalars())
    tx.conn.execute(t.inbox.update().where(any_of(tx.conn, i.id, ids)).values(fix=ACCEPTED))
    inbox.replay(tx, ids)


def _first(task: Row) -> int:
    return int(task["subject"].partition(":")[2])
