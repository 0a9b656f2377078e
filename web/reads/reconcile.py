"""Ledger, warehouse and shop side by side, as the doors show them."""

from __future__ import annotations

from typing import Any

from core.flow.reconcile import reconcile, unexplained
from core.store.scope import Scope
from core.store.store import Transaction
from web.reads.shape import shown_whole


def reconciled(tx: Transaction, scope: Scope, drift_only: bool = False) -> dict[str, Any]:
    """Both lists, how many rows differ without a cause, and the moment they show. drift_only: rows that differ."""
    found = reconcile(tx, scope)
    some = {name: [r for r in rows if r["causes"] or not drift_only] for name, rows in found.items()}
    return {**shown_whole(some), "unexplained": len(unexplained(found)), "as_of": tx.now.isoformat()}
