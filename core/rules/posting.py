"""Which accounts a movement touches: pure arithmetic over one cell's balances (LEDGER §1, §4)."""

from __future__ import annotations

Moves = list[tuple[str, int]]
"""(account, signed quantity), summing to zero."""


def outflow(quantity: int, *, backed: int, free: int) -> Moves:
    """Goods that left for a claim: its backed units, then free, then suspense."""
    from_backed = min(quantity, backed)
    from_free = min(quantity - from_backed, free)
    rest = quantity - from_backed - from_free
    return _some(("reserved", -from_backed), ("free", -from_free), ("suspense", -rest), ("world", quantity))


def inflow(quantity: int, *, suspense: int, source: str = "world", to: str = "free") -> Moves:
    """Goods that came: negative suspense is filled first, then `to`."""
    fills = min(quantity, max(0, -suspense))
    return _some((source, -quantity), ("suspense", fills), (to, quantity - fills))


def receipt(quantity: int, *, announced: int, suspense: int, to: str) -> Moves:
    """Goods received against what was announced; what was not announced comes from the world."""
    expected = min(quantity, announced)
    fills = min(quantity, max(0, -suspense))
    moves = (("inbound", -expected), ("world", -(quantity - expected)), ("suspense", fills), (to, quantity - fills))
    return _some(*moves)


def count(difference: int, *, account: str, balance: int, suspense: int) -> Moves:
    """A stock-take difference: a loss takes the account, then suspense; a gain is an inflow."""
    if difference >= 0:
        return inflow(difference, suspense=suspense, to=account)
    lost = -difference
    taken = min(lost, balance)
    return _some(("world", lost), (account, -taken), ("suspense", -(lost - taken)))


def regrade(quantity: int, *, balance: int, to_suspense: int) -> tuple[int, int]:
    """Units that change their condition: (those the books lack where they leave, those that fill what is missing
    where they come)."""
    return quantity - min(quantity, balance), min(quantity, max(0, -to_suspense))


def _some(*moves: tuple[str, int]) -> Moves:
    return [m for m in moves if m[1]]
