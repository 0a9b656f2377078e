"""Takes merchants in: the tenants, and the owners of goods."""

from __future__ import annotations

from typing import Literal

from core.store import tables as t
from core.store.scope import Scope
from core.store.store import Transaction
from hub.onboard.form import Code, Form, Name, Row, find, note, refuse_twice


class NewMerchant(Form):
    """short_policy: for a paid order the pool cannot back, `ask` the shop to cancel it or `wait` for goods."""

    code: Code
    name: Name
    short_policy: Literal["ask", "wait"] = "ask"


def add_merchant(tx: Transaction, scope: Scope, new: NewMerchant) -> Row:
    """The merchant as it now stands. Raises Refused when the code is taken."""
    refuse_twice(tx, t.merchants, new.code)
    tx.add(t.merchants, [{"id": tx.ids.new(), "created_at": tx.now, **new.model_dump()}])
    note(tx, scope, "merchant added", new.code)
    return find(tx, scope, t.merchants, new.code)
