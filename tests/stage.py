"""A loopback server on which the twins of a file's tests take turns."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sandbox.twin import Answer, Call, Faults, Server

JUNE = datetime(2026, 6, 18, 4, 0, tzinfo=UTC)
"""Noon in Beijing, when a shop's day begins in these tests."""


class Stage:
    """One server for all tests of a file: whoever stands on it answers. hang_s: how long a hanging call hangs."""

    def __init__(self, hang_s: float) -> None:
        self.faults, self._hang_s = Faults(hang_s=hang_s), hang_s
        self.server = Server(self, self.faults)
        self.actor: Any = None

    def enter(self, actor: Any) -> str:
        """From now on this one answers, without faults; where it is asked."""
        self.actor = actor
        self.faults.set(hang_s=self._hang_s)
        self.faults.bitten.clear()
        self.faults.calls.clear()
        return self.server.url

    def __getattr__(self, name: str) -> Any:
        return getattr(self.actor, name)


class Parrot:
    """A system that answers everything with the same words, and remembers what it heard last."""

    write_abilities = ()

    def __init__(self, words: Any, status: int = 200) -> None:
        self.words = words if isinstance(words, str | bytes) else json.dumps(words)
        self.status = status

    def ability(self, call: Call) -> str:
        """All calls are alike."""
        return "any"

    def answer(self, call: Call) -> Answer:
        """The words."""
        self.heard = call
        return Answer(self.words, self.status)
