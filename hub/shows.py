"""What a shop shows right now, in our terms: read through its client and its own `stock` mapping."""

from __future__ import annotations

from collections.abc import Sequence

from core.model import Snapshot
from hub.wiring import Wired, meaning


def shown_by(wired: Wired, refs: Sequence[str]) -> dict[str, int]:
    """Listing ref → saleable units shown, for these products (or listings). Raises what the wire raises."""
    mapping = meaning(wired.connector.name, "stock")
    shown: dict[str, int] = {}
    for document in wired.client.fetch_stock(sorted(set(refs))):
        snapshot = mapping.read(document.body)
        assert isinstance(snapshot, Snapshot)
        shown |= {row.listing: row.quantity for row in snapshot.rows}
    return shown
