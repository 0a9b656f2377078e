"""What follows once the straight way has taken a noun's values: the rules that look at more than one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mappings.language.path import Scope

REQUIRED: Any = object()
"""Stands for the default of a field that has none."""
NOWHERE = Scope(None, None, {})
Check = Callable[[Any], Any]
Term = tuple[str, bool, bool]
"""(held name, whether it is added, whether it must be there)"""


@dataclass
class Combined:
    """The fields of one noun that need more than one value, by their shape. The field itself holds its first value."""

    choices: list[tuple[str, tuple[str, ...], Any]] = field(default_factory=list)
    """(field, held alternatives, default)"""
    conditions: list[tuple[str, str, bool, frozenset[str], Any]] = field(default_factory=list)
    """(field, held condition, whether that must be there, wanted, default)"""
    sums: list[tuple[str, tuple[Term, ...], tuple[int, int], Any]] = field(default_factory=list)
    """(field, terms, least and most, default)"""
    closures: list[tuple[str, Callable[[Any, Any], Any], Check, Any]] = field(default_factory=list)
    """(field, its rule over the names it looks at, the noun's check, default)"""


def combine(
    more: Combined, looked_at: tuple[tuple[str, str], ...], held: tuple[str, ...], prefix: tuple[str, ...]
) -> Callable[[Any], Any] | None:
    """One function over (values, extra, set fields) of a noun, or None where there is nothing to do."""
    if not (more.choices or more.conditions or more.sums or more.closures):
        return None
    choices, conditions, sums = tuple(more.choices), tuple(more.conditions), tuple(more.sums)
    closures = _closures(more, looked_at, prefix)

    def combined(found: Any) -> Any:
        values = found[0]
        for name, others, default in choices:
            if values[name] is None:
                values[name] = _choice(values, others, default)
        for name, at, needed, wanted, default in conditions:
            value = values[name]
            if value is not None and values[at] not in wanted:
                if needed and values[at] is None:
                    raise ValueError("a condition is missing")
                value = None
            if value is None:
                values[name] = _or_default(default)
        for name, terms, (least, most), default in sums:
            value = values[name]
            for at, more, must in terms:
                term = values[at]
                if term is not None:
                    value = (value or 0) + term if more else (value or 0) - term
                elif must:
                    raise ValueError("an amount is missing")
            if value is None:
                value = _or_default(default)
            elif not least <= value <= most:
                raise ValueError("a sum is out of range")
            values[name] = value
        if closures:
            closures(values)
        for name in held:
            del values[name]
        return found

    return combined


def _closures(
    more: Combined, looked_at: tuple[tuple[str, str], ...], prefix: tuple[str, ...]
) -> Callable[[dict[str, Any]], None] | None:
    closures = tuple(more.closures)

    def run_closures(values: dict[str, Any]) -> None:
        node: Any = {key: values[name] for key, name in looked_at}
        for name in reversed(prefix):
            node = {name: node}
        for name, get, check, default in closures:
            value = get(node, NOWHERE)
            values[name] = _or_default(default) if value is None else check(value)

    return run_closures if closures else None


def _choice(values: dict[str, Any], others: tuple[str, ...], default: Any) -> Any:
    for name in others:
        value = values[name]
        if value is not None:
            return value
    return _or_default(default)


def _or_default(default: Any) -> Any:
    if default is REQUIRED:
        raise ValueError("a value is missing")
    return default
