"""How long it takes until a shop is told: from what moved to the end of the call, by shop, minute and bucket."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete

from core.store import tables as t
from core.store.rows import add_up
from core.store.store import Transaction, made_at

BUCKETS_MS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 300_000, 3_600_000, 86_400_000)
"""Upper ends; what took longer than the last is counted there."""
KEPT_DAYS = 8


def note(tx: Transaction, *intents: Mapping[str, Any]) -> None:
    """Levels have been told; each intent knows the oldest mark it is about."""
    minute = tx.now.astimezone(UTC).replace(second=0, microsecond=0)
    calls: Counter[tuple[int, int]] = Counter()
    for intent in intents:
        if mark := intent["payload"].get("since"):
            waited_ms = max(0.0, (tx.now - made_at(mark)).total_seconds() * 1000)
            calls[intent["connection_id"], bucket(waited_ms)] += 1
    named = [
        ({"connection_id": connection_id, "minute": minute, "bucket_ms": end_ms}, n)
        for (connection_id, end_ms), n in sorted(calls.items())
    ]
    add_up(tx.conn, t.publish_lags, "calls", *named)


def bucket(waited_ms: float) -> int:
    """The upper end of the bucket it belongs to."""
    return next((end for end in BUCKETS_MS if waited_ms <= end), BUCKETS_MS[-1])


def percentile(counts: Mapping[int, int], percent: int) -> int | None:
    """The bucket within which so many percent of the calls were done; None without calls. counts: bucket → calls."""
    left = -(-sum(counts.values()) * percent // 100)
    for end in sorted(counts):
        left -= counts[end]
        if left <= 0 and counts[end]:
            return end
    return None


def summed(rows: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """Bucket → calls of several rows."""
    found: dict[int, int] = {}
    for row in rows:
        found[row["bucket_ms"]] = found.get(row["bucket_ms"], 0) + int(row["calls"])
    return found


def forget(tx: Transaction) -> None:
    """Counts older than is shown anywhere."""
    old: datetime = tx.now - timedelta(days=KEPT_DAYS)
    tx.conn.execute(delete(t.publish_lags).where(t.publish_lags.c.minute < old))
