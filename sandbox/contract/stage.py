"""The stage a connector is tried on: its twin on a loopback port, made anew for each row, with faults to aim."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from connectors.registry import Connector
from sandbox.twin import Answer, Call, Faults, Server

HANG_S = 0.3


class Aimed(Faults):
    """Faults that can be aimed at the n-th call of one ability, so that a login before it passes unharmed."""

    def __init__(self) -> None:
        self._target: tuple[str, str, int] | None = None
        super().__init__(hang_s=HANG_S)

    def aim(self, ability: str, fault: str, at: int = 1) -> None:
        """The at-th call of this ability from now on meets the fault, once."""
        self._target = (ability, fault, at)

    def fresh(self) -> None:
        """No faults, nothing counted."""
        self._target = None
        self.calls.clear()
        self.bitten.clear()
        self.set(hang_s=HANG_S)

    def _choose(self, ability: str, writes: bool) -> str:
        if self._target is None:
            return super()._choose(ability, writes)
        name, fault, at = self._target
        if ability != name:
            return ""
        self._target = (name, fault, at - 1) if at > 1 else None
        return fault if at == 1 else ""


class Stage:
    """One server whose twin is replaced between rows. heard: the twin's last answer to each ability."""

    def __init__(self, connector: Connector) -> None:
        self.module = import_module(connector.twin)
        self.faults = Aimed()
        self.twin: Any = None
        self.write_abilities: tuple[str, ...] = ()
        self.broken = ""
        self.heard: dict[str, Answer] = {}
        self._instead: tuple[str, Answer] | None = None
        self._server = Server(self, self.faults)
        self.url = self._server.url

    def fresh(self) -> Any:
        """A new twin that knows nothing of the rows before."""
        self.faults.fresh()
        self.broken = ""
        self.heard.clear()
        self._instead = None
        self.twin = self.module.make(self.faults)
        self.write_abilities = tuple(self.twin.write_abilities)
        return self.twin

    def instead(self, ability: str, answer: Answer) -> None:
        """From now on calls of this ability get this answer and reach nothing."""
        self._instead = (ability, answer)

    def ability(self, call: Call) -> str:
        """The twin's name for what is asked."""
        return str(self.twin.ability(call))

    def answer(self, call: Call) -> Answer:
        """The twin's answer, or what was put in its place."""
        if self._instead and self._instead[0] == self.ability(call):
            return self._instead[1]
        try:
            answer: Answer = self.twin.answer(call)
            self.heard[self.ability(call)] = answer
        except Exception as error:  # the server would only hang up: remember why, for the row's sentence
            self.broken = f"{raised(error)} at {call.method} {call.path}"
            raise
        return answer

    def throttled(self, call: Call) -> Answer:
        """How the twin says "too fast"."""
        answer: Answer = self.twin.throttled(call)
        return answer

    def control(self, action: str, body: Any) -> Any:
        """What demo and tests ask of the twin."""
        return self.twin.control(action, body)

    def stop(self) -> None:
        """Close the port."""
        self._server.stop()


def raised(error: BaseException) -> str:
    """An exception in one line: kind, words, and the place where it was raised."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    where = f" ({trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno})" if trace else ""
    return f"{type(error).__name__}: {error}{where}"
