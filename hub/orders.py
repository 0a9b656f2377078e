"""What a person does about an order that is short, that another warehouse shall make, or that came twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import select

from core.errors import Refused, Unmatched
from core.flow import cancel_order, keep_promises, pair_orders, release_order, resource_order
from core.store import tables as t
from core.store.ledger import Ledger
from core.store.pools import pools
from core.store.scope import Scope
from core.store.store import Transaction, one
from hub.onboard.form import Code, Form, Ref, Row, find, note

RELEASED = "nothing of it can move: its warehouses were told of what there is of it, and have to let go of it first"


class Resource(Form):
    """warehouses: those of the order's pool that shall make it, best first; without any, whichever back more of it."""

    warehouses: Annotated[tuple[Code, ...], Field(max_length=20)] = ()


def resource(tx: Transaction, scope: Scope, ident: int, how: Resource) -> dict[str, Any]:
    """Move what no warehouse was told of; how it stands then.

    Raises Unmatched for an order or warehouse there is not, Refused where nothing of it can move, or less would be
    backed.
    """
    order, merchant = _order(tx, scope, ident)
    ledger = Ledger(tx)
    loose = [c for c in _open(tx, ident) if c["fulfilment_id"] is None]
    if not loose:
        raise Refused(RELEASED)
    pool = pools(tx, [order["connection_id"]]).get(order["connection_id"], [])
    if how.warehouses:
        named = _named(tx, scope, how.warehouses, pool)
        resource_order.move_to(tx, ledger, ident, named, merchant["part_backing"])
    else:
        keep_promises.resource(tx, ledger, ident, pool, merchant["part_backing"])
    return _done(tx, ledger, scope, order, "order re-sourced")


class Counterpart(Form):
    """ref: the other order of the same purchase, at a shop of the same merchant or of one it has a contract with."""

    ref: Ref


def pair(tx: Transaction, scope: Scope, ident: int, other: Counterpart) -> dict[str, Any]:
    """The other order claims the stock of both, or, where it comes later, this one; how this one stands then.

    Raises Unmatched, or Refused where this one is what makes the purchase already, or the two are of other goods.
    """
    order, _ = _order(tx, scope, ident)
    ledger = Ledger(tx)
    if pair_orders.pair(tx, order, other.ref):
        cancel_order.revise(tx, ledger, ident)
    return _done(tx, ledger, scope, order, "order paired")


def top_up(tx: Transaction, scope: Scope, ident: int) -> dict[str, Any]:
    """Back what it is short of from where it stands; how it stands then. Raises Unmatched."""
    order, _ = _order(tx, scope, ident)
    ledger = Ledger(tx)
    keep_promises.top_up_order(tx, ledger, ident)
    return _done(tx, ledger, scope, order, "order topped up")


def _order(tx: Transaction, scope: Scope, ident: int) -> tuple[Row, Row]:
    tx.lock_ledger()
    o = t.orders.c
    order = tx.row(select(t.orders).where(o.id == ident, scope.sees(o.merchant_id)))
    if order is None:
        raise Unmatched("order", str(ident), f"there is no order {ident}")
    merchant = one(tx, t.merchants, id=order["merchant_id"])
    assert merchant is not None
    return order, merchant


def _named(tx: Transaction, scope: Scope, codes: Sequence[str], pool: Sequence[int]) -> list[int]:
    ids = {code: int(find(tx, scope, t.warehouses, code)["id"]) for code in codes}
    if strange := next((code for code, ident in ids.items() if ident not in pool), None):
        raise Refused(f"{strange} is not in the pool of this order's shop: add it there, or name another")
    return list(ids.values())


def _open(tx: Transaction, order_id: int) -> list[Row]:
    c = t.claims.c
    return tx.rows(select(t.claims).where(c.order_id == order_id, c.open.is_(True)))


def _done(tx: Transaction, ledger: Ledger, scope: Scope, order: Row, act: str) -> dict[str, Any]:
    release_order.release(tx, [order["id"]])
    keep_promises.after_moves(tx, ledger)
    note(tx, scope, act, order["ref"])
    after = one(tx, t.orders, id=order["id"])
    claims = _open(tx, order["id"])
    assert after is not None
    wanted, backed = sum(c["asked"] - c["shipped"] for c in claims), sum(c["backed"] for c in claims)
    return {"id": order["id"], "ref": order["ref"], "state": after["state"], "wanted": wanted, "backed": backed}
