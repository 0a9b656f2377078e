"""Runs the contract over one connector, offline, and says what it found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from connectors.registry import Connector, connector
from core.rules import levels
from sandbox.contract.case import Case, Trial
from sandbox.contract.grade import client_lines, grade
from sandbox.contract.row import Row
from sandbox.contract.rows import ROWS
from sandbox.contract.stage import raised


@dataclass(frozen=True)
class Result:
    """How one row ended for one ability ("" for the connector as a whole). why: the sentence of a failure, else ""."""

    row: str
    ability: str
    required: bool
    says: str
    why: str = ""

    @property
    def name(self) -> str:
        """`survives_429[send_stock]`."""
        return f"{self.row}[{self.ability}]" if self.ability else self.row

    @property
    def passed(self) -> bool:
        """Whether the promise was held."""
        return not self.why


@dataclass(frozen=True)
class Report:
    """What the contract found. caps: why the grade is not better; warning: what its users must know, or ""."""

    name: str
    grade: str
    caps: tuple[str, ...]
    client_lines: int
    results: tuple[Result, ...]
    warning: str = ""

    @property
    def failed(self) -> tuple[Result, ...]:
        """The rows that did not pass: the author's list of what to do."""
        return tuple(r for r in self.results if not r.passed)

    @property
    def sound(self) -> bool:
        """Whether every required row passes."""
        return not any(r.required for r in self.failed)

    def __str__(self) -> str:
        """For people: the grade, what caps it, and the rows that failed."""
        passed = len(self.results) - len(self.failed)
        head = f"{self.name}: {self.grade}, {passed} of {len(self.results)} rows pass, client_lines {self.client_lines}"
        return "\n".join([head, *(f"  {cap}" for cap in self.caps), *(f"  ✗ {r.name}: {r.why}" for r in self.failed)])

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        rows = [{**asdict(r), "passed": r.passed} for r in self.results]
        return {
            "name": self.name,
            "grade": self.grade,
            "caps": list(self.caps),
            "warning": self.warning,
            "client_lines": self.client_lines,
            "rows": rows,
        }


def check(name: str) -> Report:
    """The contract over the connector of that name (`sales/tmall`); Misconfigured where there is none."""
    return check_connector(connector(name))


def check_connector(one: Connector) -> Report:
    """The contract over a connector that need not be registered."""
    trial = Trial(one)
    try:
        results = tuple(run(row, Case(trial, ability)) for row, ability in plan(one))
    finally:
        trial.close()
    graded = grade(one.manifest, [(r.row, r.ability, r.required) for r in results if not r.passed])
    warning = levels.warning({name: ability.model_dump() for name, ability in one.manifest.can.items()})
    return Report(one.name, graded.grade, graded.caps, client_lines(one), results, warning)


def plan(one: Connector) -> Iterator[tuple[Row, str]]:
    """Every row with every ability it applies to."""
    return ((row, ability) for row in ROWS for ability in row.applies(one.manifest))


def run(row: Row, case: Case) -> Result:
    """One row tried; whatever it raises becomes the sentence of its failure."""
    try:
        row.check(case)
    except Exception as error:  # a connector on trial may raise anything; none of it may stop the other rows
        return Result(row.name, case.ability, row.required, row.says, _sentence(case, error))
    return Result(row.name, case.ability, row.required, row.says)


def _sentence(case: Case, error: Exception) -> str:
    """The words of an assertion, anything else with kind and place; and what broke in the twin meanwhile."""
    words = str(error) if isinstance(error, AssertionError) and str(error) else raised(error)
    broken = case.trial.stage.broken if case.trial.opened else ""
    return f"{words}; the twin broke: {broken}" if broken else words
