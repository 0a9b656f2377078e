"""What this process remembers of rows it has read or written, so that it need not read them again before it goes on.

Whoever builds on it says so with what it writes (`rows.must_stand`, `rows.Sums.were`): where a row is no longer
so, nothing is written, and all of it is decided again from rows that are read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any, TypeVar

K = TypeVar("K", bound=Hashable)
Row = tuple[Any, ...]
Known = Mapping[Any, Row | None]
"""Key → its row as it was left; None: there is no such row."""
AT_MOST = 200_000
WARY_S = 0.05
"""How long everything is read again after something was no longer so: others are at work here too."""


class Recall:
    """The rows last seen, by key. glance: reads rows as they stand, without waiting for anybody who changes them."""

    def __init__(self, glance: Callable[..., Any], clock: Callable[[], float] = time.monotonic) -> None:
        self.glance = glance
        self._known: dict[Any, Row | None] = {}
        self._clock = clock
        self._wary_until = 0.0

    @property
    def is_wary(self) -> bool:
        """Whether nothing should be built on just now."""
        return self._clock() < self._wary_until

    def some_of(self, keys: Collection[K]) -> dict[K, Row | None]:
        """What is known of these."""
        known = self._known
        return {key: known[key] for key in keys if key in known}

    def keep(self, known: Known) -> None:
        """Remember these."""
        if len(self._known) > AT_MOST:
            self._known = {}
        self._known.update(known)

    def follow(self, changed: Known) -> None:
        """These are changing: remember them so if they are remembered at all."""
        known = self._known
        known.update({key: row for key, row in changed.items() if key in known})

    def forget(self) -> None:
        """Something was not as remembered, or what was to be written is not there: begin again, and not at once."""
        self._known = {}
        self._wary_until = self._clock() + WARY_S
