"""Just enough GraphQL for the Vendure twin: reads one operation, and shows of a value what was selected."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TOKEN = re.compile(r"""\.\.\.|[{}()\[\]:!$=]|"[^"\\]*"|-?\d+|\w+|(?P<skip>[\s,]+)|(?P<bad>.)""")

WORDS = {"true": True, "false": False, "null": None}


class Invalid(Exception):
    """The operation does not fit the schema; the text says where."""


@dataclass(frozen=True)
class Field:
    """One selected field, or a fragment (`on` names its type)."""

    name: str
    arguments: dict[str, Any]
    selected: tuple[Field, ...]
    on: str = ""


@dataclass(frozen=True)
class Operation:
    """One query or mutation. needs: the variables that must be given."""

    kind: str
    name: str
    needs: frozenset[str]
    root: tuple[Field, ...]


class Reader:
    """Walks the tokens of one operation; arguments are filled with the variables at once."""

    def __init__(self, text: str, variables: Mapping[str, Any]) -> None:
        found = [m for m in TOKEN.finditer(text) if not m["skip"]]
        if any(m["bad"] for m in found):
            raise Invalid("Syntax Error: Unexpected character")
        self._tokens, self._at, self._variables = [m[0] for m in found], 0, variables

    def operation(self) -> Operation:
        """The whole document, which is one operation."""
        kind, name = self._take(), self._take()
        needs = self._declared() if self._next("(") else frozenset()
        return Operation(kind, name, needs, self._selection())

    def _next(self, token: str) -> bool:
        return self._at < len(self._tokens) and self._tokens[self._at] == token

    def _take(self, wanted: str = "") -> str:
        if self._at >= len(self._tokens) or (wanted and self._tokens[self._at] != wanted):
            found = self._tokens[self._at] if self._at < len(self._tokens) else "<EOF>"
            raise Invalid(f"Syntax Error: Expected {wanted!r}, found {found!r}.")
        self._at += 1
        return self._tokens[self._at - 1]

    def _declared(self) -> frozenset[str]:
        """`($a: T!, $b: [T!])`: those whose type ends in `!`."""
        needs: list[str] = []
        name = ""
        self._take("(")
        while not self._next(")"):
            if self._take() == "$":
                name = self._take()
            elif self._tokens[self._at - 1] == "!" and self._tokens[self._at] in ("$", ")"):
                needs.append(name)
        self._take(")")
        return frozenset(needs)

    def _selection(self) -> tuple[Field, ...]:
        fields = []
        self._take("{")
        while not self._next("}"):
            fields.append(self._field())
        self._take("}")
        return tuple(fields)

    def _field(self) -> Field:
        if self._next("..."):
            self._take("...")
            self._take("on")
            return Field("...", {}, on=self._take(), selected=self._selection())
        name = self._take()
        arguments = self._arguments() if self._next("(") else {}
        return Field(name, arguments, self._selection() if self._next("{") else ())

    def _arguments(self) -> dict[str, Any]:
        self._take("(")
        return self._pairs(")")

    def _pairs(self, end: str) -> dict[str, Any]:
        pairs = {}
        while not self._next(end):
            name = self._take()
            self._take(":")
            pairs[name] = self._value()
        self._take(end)
        return pairs

    def _value(self) -> Any:
        token = self._take()
        if token == "$":
            return self._variables.get(self._take())
        if token == "{":
            return self._pairs("}")
        if token == "[":
            rows = []
            while not self._next("]"):
                rows.append(self._value())
            self._take("]")
            return rows
        if token.startswith('"'):
            return token[1:-1]
        return int(token) if token.lstrip("-").isdigit() else WORDS.get(token, token)


def show(value: Any, selected: tuple[Field, ...]) -> Any:
    """The value with the selected fields alone; a field its type does not have is Invalid."""
    if isinstance(value, list):
        return [show(one, selected) for one in value]
    if not isinstance(value, dict) or (not selected and "__typename" not in value):
        if selected and value is not None:
            raise Invalid(f"Field must not have a selection since its type has no subfields: {selected[0].name}")
        return value
    if not selected:
        raise Invalid(f'Field of type "{value["__typename"]}" must have a selection of subfields.')
    shown: dict[str, Any] = {}
    for field in selected:
        shown |= _fragment(value, field) if field.on else {field.name: _child(value, field)}
    return shown


def _fragment(value: dict[str, Any], field: Field) -> dict[str, Any]:
    fits = field.on == value["__typename"] or (field.on == "ErrorResult" and "errorCode" in value)
    return show(value, field.selected) if fits else {}


def _child(value: dict[str, Any], field: Field) -> Any:
    if field.name not in value:
        raise Invalid(f'Cannot query field "{field.name}" on type "{value["__typename"]}".')
    return show(value[field.name], field.selected)
