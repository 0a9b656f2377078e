"""The grammar of one rule: `path | step(argument, …)` or `= literal`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import Decimal

from mappings.language.path import Mistake, Path, parse_path

RULE_CHARS_MAX = 1000
STEPS_MAX = 8
STEP = re.compile(r"([a-z_]+)\s*(?:\((.*)\))?", re.DOTALL)
QUOTED = re.compile(r"'(?:[^']|'')*'")
WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})", re.ASCII)
BROKEN = re.compile(r"-?\d{1,18}\.\d{1,18}", re.ASCII)


@dataclass(frozen=True)
class Argument:
    """One argument of a step as it was written; `quoted` when it stood in quotes."""

    text: str
    quoted: bool

    def literal(self) -> str | int | Decimal | bool:
        """What the argument means as a value: text, number, or true and false."""
        return self.text if self.quoted else plain_value(self.text)


@dataclass(frozen=True)
class Parsed:
    """A rule taken apart: where it starts (a path or a literal text) and its steps."""

    path: Path | None
    literal: str | None
    steps: tuple[tuple[str, tuple[Argument, ...]], ...]

    def flipped(self) -> Parsed:
        """The rule made wrong: another name at the end of its path, or another literal."""
        if self.path is None:
            return Parsed(None, f"{self.literal}~flipped", ())
        return replace(self, path=self.path.flipped())


def plain_value(text: str) -> str | int | Decimal | bool:
    """A bare word as what it looks like."""
    if text in ("true", "false"):
        return text == "true"
    if WHOLE.fullmatch(text):
        return int(text)
    return Decimal(text) if BROKEN.fullmatch(text) else text


def parse_rule(text: str) -> Parsed:
    """Parse a rule; raises Mistake."""
    if len(text) > RULE_CHARS_MAX:
        raise Mistake(f"a rule has at most {RULE_CHARS_MAX} characters")
    first, *rest = _pieces(text, "|")
    if len(rest) > STEPS_MAX:
        raise Mistake(f"a rule has at most {STEPS_MAX} steps")
    steps = tuple(_step(piece.strip()) for piece in rest)
    first = first.strip()
    if not first.startswith("="):
        return Parsed(parse_path(first), None, steps)
    literal = first[1:].strip()
    return Parsed(None, _unquote(literal) if literal[:1] == "'" else literal, steps)


def _step(text: str) -> tuple[str, tuple[Argument, ...]]:
    found = STEP.fullmatch(text)
    if not found:
        raise Mistake(f"{text[:40]!r} is no step: write name or name(argument, …)")
    name, inside = found.groups()
    pieces = _pieces(inside, ",") if inside and inside.strip() else []
    return name, tuple(_argument(piece.strip()) for piece in pieces)


def _argument(text: str) -> Argument:
    if QUOTED.fullmatch(text):
        return Argument(_unquote(text), True)
    if not text:
        raise Mistake("an argument is empty: write '' for an empty text")
    return Argument(text, False)


def _unquote(text: str) -> str:
    if not QUOTED.fullmatch(text):
        raise Mistake(f"{text[:40]!r} is not one quoted text: write a quote inside it twice")
    return text[1:-1].replace("''", "'")


def _pieces(text: str, separator: str) -> list[str]:
    """Split at a separator outside quotes and parentheses."""
    pieces, start, depth, quoted = [], 0, 0, False
    for at, char in enumerate(text):
        if char == "'":
            quoted = not quoted
        elif quoted:
            continue
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
        elif char == separator and depth == 0:
            pieces.append(text[start:at])
            start = at + 1
    if quoted or depth:
        raise Mistake("a quote or a parenthesis is not closed")
    return [*pieces, text[start:]]
