"""Paths: how a rule walks from a document to one of its values, by name and position only."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PARTS_MAX = 12
AROUND_CHARS_MAX = 10_000
AROUND_ROWS_MAX = 100
PART = re.compile(r"(?:'((?:[^']|'')*)'|(@?[\w:$-]+))(\?)?")
UP = re.compile(r"(\^+)(?:\.(?=.)|$)")


class Mistake(ValueError):
    """A rule is written wrongly; the text says how."""


class Wrong(ValueError):
    """A value does not fit its rule; the text says why."""

    def __init__(self, why: str, value: object = None):
        super().__init__(why)
        self.why = why
        self.value = value


class Unlinked(Exception):
    """A reference is not linked to anything of ours."""

    def __init__(self, kind: str, ref: str):
        super().__init__(kind, ref)
        self.kind = kind
        self.ref = ref


class Scope:
    """What encloses a row: the thing it lies in, that thing's own scope, and the links of the batch."""

    __slots__ = ("links", "node", "up")

    def __init__(self, node: Any, up: Scope | None, links: Any):
        self.node = node
        self.up = up
        self.links = links


Convert = Callable[[Any], Any]
Get = Callable[[Any, Any], Any]
"""(node, scope) → the value, or None for nothing."""


@dataclass(frozen=True)
class Part:
    """One step of a path."""

    name: str
    optional: bool
    position: int | None


@dataclass(frozen=True)
class Path:
    """A parsed path: how many scopes up, then which names."""

    text: str
    up: int
    parts: tuple[Part, ...]
    optional: bool

    def flipped(self) -> Path:
        """The same path ending in a name that no document has."""
        last = self.parts[-1] if self.parts else Part("", self.optional, None)
        flipped = Part(f"{last.name}~flipped", last.optional, None)
        return Path(f"{self.text}~flipped", self.up, (*self.parts[:-1], flipped), self.optional)


def parse_path(text: str) -> Path:
    """Parse a path; raises Mistake."""
    text = text.strip()
    if text in (".", ".?"):
        return Path(text, 0, (), text == ".?")
    up = UP.match(text)
    parts = _parts(text, up.end() if up else 0)
    if len(parts) > PARTS_MAX:
        raise Mistake(f"a path has at most {PARTS_MAX} parts")
    return Path(text, len(up[1]) if up else 0, parts, any(part.optional for part in parts))


def _parts(text: str, start: int) -> tuple[Part, ...]:
    if not text:
        raise Mistake("a path is missing")
    parts: list[Part] = []
    while start < len(text):
        found = PART.match(text, start)
        if not found:
            raise Mistake(f"{text[start : start + 20]!r} is no name in a path")
        parts.append(_part(found))
        start = found.end()
        if start == len(text):
            break
        if text[start] != "." or start + 1 == len(text):
            raise Mistake(f"{text[start : start + 20]!r} cannot follow {found[0]!r} in a path")
        start += 1
    return tuple(parts)


def _part(found: re.Match[str]) -> Part:
    quoted, plain, optional = found.groups()
    if quoted is not None:
        return Part(quoted.replace("''", "'"), bool(optional), None)
    position = int(plain) if plain.isascii() and plain.isdigit() and len(plain) < 6 else None
    return Part(plain, bool(optional), position)


def careful_walk(path: Path, *, one_is_list: bool = False) -> Get:
    """A walk that says exactly what is missing (Wrong). one_is_list: position 0 of a single thing is the thing."""

    def walk(node: Any, scope: Scope) -> Any:
        for _ in range(path.up):
            node, scope = scope.node, scope.up  # type: ignore[assignment]
        for part in path.parts:
            node = _child(node, part, one_is_list)
            if node is None:
                if part.optional:
                    return None
                raise Wrong(f"{part.name!r} is empty")
        if node is None and not path.optional:
            raise Wrong("is empty")
        return _small(node) if path.up else node

    return walk


def _small(node: Any) -> Any:
    """What every row may take from around it: were it long, the work would grow with its length times the rows."""
    if (isinstance(node, str) and len(node) > AROUND_CHARS_MAX) or (
        isinstance(node, list | tuple) and len(node) > AROUND_ROWS_MAX
    ):
        raise Wrong("is too long to be taken into every row", node)
    return node


def _of_around(convert: Convert) -> Convert:
    def small(value: Any) -> Any:
        if type(value) is str and len(value) <= AROUND_CHARS_MAX:
            return convert(value)
        return convert(_small(value))

    return small


def needed(value: Any) -> Any:
    """A value that must be something."""
    if value is None:
        raise Wrong("is empty")
    return value


def quick_walk(path: Path, convert: Convert = needed, *, one_is_list: bool = False) -> Get:
    """A walk ending in `convert`: tight where the path has a common shape, and what fails there again carefully."""
    walk, fast = careful_walk(path, one_is_list=one_is_list), fast_walk(path, convert)

    def careful(node: Any, scope: Any) -> Any:
        value = walk(node, scope)
        return None if value is None else convert(value)

    if fast is None:
        return careful

    def quick(node: Any, scope: Any) -> Any:
        try:
            return fast(node, scope)
        except (Wrong, LookupError, TypeError, AttributeError):
            return careful(node, scope)

    return quick


def _child(node: Any, part: Part, one_is_list: bool) -> Any:
    if isinstance(node, dict) and part.name in node:
        return node[part.name]
    if part.position is not None and isinstance(node, list | tuple):
        node = node[part.position : part.position + 1]
        if node:
            return node[0]
    elif part.position == 0 and one_is_list:
        return node
    elif not isinstance(node, dict):
        raise Wrong(f"{part.name!r} is looked for in {_kind(node)}", node)
    if part.optional:
        return None
    raise Wrong(f"{part.name!r} is missing")


def _kind(node: Any) -> str:
    return "a list (name its rows with each, or a position)" if isinstance(node, list | tuple) else "a plain value"


def names(path: Path) -> tuple[tuple[str, ...], bool] | None:
    """(names, last one optional) of a path that fast walks can take, else None."""
    if not path.parts or len(path.parts) > 3 or any(part.position is not None for part in path.parts):
        return None
    if any(part.optional for part in path.parts[:-1]):
        return None
    return tuple(part.name for part in path.parts), path.parts[-1].optional


def fast_walk(path: Path, convert: Convert) -> Get | None:
    """A tight walk ending in `convert`, for the common shapes; it raises whatever Python raises.

    The caller repeats a failed document with the careful walk, which finds the words for it.
    """
    shape = names(path)
    if shape is None or path.up > 1:
        return None
    keys, optional = shape
    build = (_optional if optional else _required)[len(keys) - 1]
    if not path.up:
        return build(convert, *keys)
    around = build(_of_around(convert), *keys)
    return lambda node, scope: around(scope.node, None)


def _one(convert: Convert, a: str) -> Get:
    return lambda node, scope: convert(node[a])


def _two(convert: Convert, a: str, b: str) -> Get:
    return lambda node, scope: convert(node[a][b])


def _three(convert: Convert, a: str, b: str, c: str) -> Get:
    return lambda node, scope: convert(node[a][b][c])


def _maybe_one(convert: Convert, a: str) -> Get:
    def get(node: Any, scope: Scope) -> Any:
        value = node.get(a)
        return None if value is None else convert(value)

    return get


def _maybe_two(convert: Convert, a: str, b: str) -> Get:
    def get(node: Any, scope: Scope) -> Any:
        value = node[a].get(b)
        return None if value is None else convert(value)

    return get


def _maybe_three(convert: Convert, a: str, b: str, c: str) -> Get:
    def get(node: Any, scope: Scope) -> Any:
        value = node[a][b].get(c)
        return None if value is None else convert(value)

    return get


_required: tuple[Callable[..., Get], ...] = (_one, _two, _three)
_optional: tuple[Callable[..., Get], ...] = (_maybe_one, _maybe_two, _maybe_three)
