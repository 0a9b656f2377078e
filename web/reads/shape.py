"""How rows leave the house: identifiers as text, times as ISO 8601 in UTC, nothing sealed; lists in pages by key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from core.errors import Unfit
from core.store.store import Transaction

PAGE = 50
LARGEST_PAGE = 500
SEALED = ("secrets", "sealed", "digest", "password_hash", "body", "token")


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """One row as JSON takes it: 63-bit identifiers would lose digits in a browser, hence text."""
    return {name: _shown(name, value) for name, value in row.items() if name not in SEALED}


def all_shown(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows as JSON takes them."""
    return [shown(row) for row in rows]


def shown_whole(found: Any) -> Any:
    """Rows within rows as JSON takes them."""
    if isinstance(found, list | tuple):
        return [shown_whole(one) for one in found]
    return {name: shown_whole(value) for name, value in shown(found).items()} if isinstance(found, dict) else found


def paged(tx: Transaction, rows: Sequence[Mapping[str, Any]], limit: int, key: str = "id") -> dict[str, Any]:
    """A page of at most `limit`, given one row more when there are more; `next` is what to ask for after it."""
    page = all_shown(rows[:limit])
    more = str(rows[limit - 1][key]) if len(rows) > limit else None
    return {"rows": page, "next": more, "as_of": tx.now.isoformat()}


def page_after(tx: Transaction, query: Any, key: Any, after: str, limit: int) -> dict[str, Any]:
    """The page of a query's rows after that key. Raises Unfit."""
    if after:
        query = query.where(key > number(after))
    return paged(tx, tx.rows(query.order_by(key).limit(limit + 1)), limit)


def number(text: str) -> int:
    """An identifier of ours from a path; raises Unfit for anything else."""
    if not text.isdecimal() or len(text) > 19 or int(text) >= 2**63:
        raise Unfit(f"{text!r} is not one of our identifiers")
    return int(text)


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes | memoryview):
        return None
    return str(value) if value is not None and (name == "id" or name.endswith("_id")) else value
