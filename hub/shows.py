"""What a shop shows right now, in our terms: read through its client and its own `stock` mapping."""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import Unfit
from core.model import Snapshot
from hub.wiring import Wired, meaning

SHOWN_MAX = 10**9


def shown_by(wired: Wired, refs: Sequence[str]) -> dict[str, int]:
    """Listing ref → saleable units shown, for these products (or listings); below 0 where a shop sells what it has not.

    Raises what the wire raises, and Unfit for a figure that no shop can mean.
    """
    mapping = meaning(wired.connector.name, "stock")
    shown: dict[str, int] = {}
    for document in wired.client.fetch_stock(sorted(set(refs))):
        snapshot = mapping.read(document.body)
        assert isinstance(snapshot, Snapshot)
        shown |= {row.listing: _plausible(wired, row.listing, row.quantity) for row in snapshot.rows}
    return shown


def _plausible(wired: Wired, listing: str, units: int) -> int:
    if abs(units) > SHOWN_MAX:
        where = f"{wired.row['code']} says that {units} of {listing} are there"
        raise Unfit(f"{where}, which nobody can have: look there, or at what its stock mapping reads")
    return units
