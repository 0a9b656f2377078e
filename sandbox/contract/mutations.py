"""The mutation check: what is made wrong on purpose must be noticed, else the fixtures prove nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from connectors.registry import Connector
from connectors.wire import signing
from core.errors import YipanError
from sandbox.contract.fixtures import Fixture, differs, fixtures, mapping

UNSIGNED = ("sign", "Sign", "signature")


@dataclass(frozen=True)
class Vector:
    """A published signature: inputs and the signature they give."""

    id: str
    system: str
    inputs: dict[str, Any]
    expected: str


def signed(vector: Vector, inputs: dict[str, Any] | None = None) -> str:
    """The signature our code makes of the vector's inputs, or of these."""
    return signing.VECTORS[vector.system](vector.inputs if inputs is None else inputs)


def unnoticed_bytes(vector: Vector) -> list[str]:
    """Places of the signed text where one flipped byte leaves the signature as it was."""
    return [place for place, inputs in _flips(vector.inputs) if signed(vector, inputs) == vector.expected]


def _flips(inputs: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, value in inputs.items():
        if isinstance(value, dict):
            yield from ((place, {**inputs, name: inner}) for place, inner in _flips(value, f"{prefix}{name}."))
        elif isinstance(value, str) and value and name not in UNSIGNED and name != "sign_method":
            for at in {0, len(value) // 2, len(value) - 1}:
                yield f"{prefix}{name}[{at}]", {**inputs, name: flipped(value, at)}


def flipped(text: str, at: int) -> str:
    """The text with the lowest bit of one character turned over."""
    return text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :]


def unnoticed_rules(connector: Connector) -> list[str]:
    """Rules whose source can be made wrong without any fixture noticing: `order.yaml:12 party.name`."""
    found = fixtures(connector)
    nouns = sorted({path.stem for path in connector.mappings.glob("*.yaml")})
    return [rule for noun in nouns for rule in _unnoticed(connector, noun, [f for f in found if f.entry.noun == noun])]


def _unnoticed(connector: Connector, noun: str, found: list[Fixture]) -> list[str]:
    compiled = mapping(connector, noun)
    rules = compiled.rules()
    return [_place(noun, rule) for n, rule in enumerate(rules) if not _noticed(compiled.mutated(n), found)]


def _noticed(mutated: Any, found: list[Fixture]) -> bool:
    """Whether some fixture fails under the mutated mapping, in whatever way."""
    return any(_fails(fixture, mutated) for fixture in found)


def _fails(fixture: Fixture, mutated: Any) -> bool:
    try:
        return bool(differs(fixture, mutated))
    except (YipanError, AssertionError):
        return True


def _place(noun: str, rule: Any) -> str:
    return f"{noun}.yaml:{rule.line} {rule.target}"
