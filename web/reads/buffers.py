"""Advice on buffers, a page of listings at a time."""

from __future__ import annotations

from typing import Any

from core.flow.advise_buffer import AT_ONCE, DAYS, OVERSELL, Asked, advise, share_of
from core.store.scope import Scope
from core.store.store import Transaction
from web.reads.shape import number, paged


def advice(
    tx: Transaction,
    scope: Scope,
    connection: str = "",
    days: int = DAYS,
    oversell: str = OVERSELL,
    after: str = "",
    limit: int = AT_ONCE,
) -> dict[str, Any]:
    """A page of advice by listing. oversell: of the units sold, how many may be oversold: 0.1%. Raises Unfit."""
    asked = Asked(connection.strip(), days, share_of(oversell))
    rows = advise(tx, scope, asked, number(after) if after else 0, limit + 1)
    return {**paged(tx, rows, limit), "connection": asked.connection, "days": days, "oversell": oversell}
