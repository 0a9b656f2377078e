"""Which names of a document the rules of a block look at."""

from __future__ import annotations

from typing import Any

from mappings.language.blocks import Group, Leaf, Rows
from mappings.language.path import Path, parse_path

Touched = dict[str, Any]
"""Name → what is looked at inside it: Touched, or None for all of it. The only name of a list is `[]`."""
FIRST_PATH = {"or": 0, "when": 0, "add": 0, "less": 0, "most": 0, "join": 1, "or_join": 1}
"""Step → its first argument that is a path. All that follow are paths too, but for `when`."""


class Crooked(Exception):
    """A rule that does not allow the straight way."""


def touch(one: Leaf | Group | Rows, touched: Touched, prefix: tuple[str, ...]) -> None:
    """Add what a rule or block looks at, from the place on to which the prefix leads; raises Crooked."""
    root: Touched = {}
    _touch(one, [root])
    if "." in root:
        raise Crooked
    inside: Any = root
    for name in prefix:
        if [*inside] != [name] or inside[name] is None:
            raise Crooked
        inside = inside[name]
    _merge(touched, inside)


def _touch(one: Leaf | Group | Rows, scopes: list[Touched]) -> None:
    if isinstance(one, Leaf):
        for path in _paths(one):
            _walk(path, scopes)
    elif isinstance(one, Group):
        for _, field in one.fields:
            _touch(field, scopes)
    else:
        _touch_rows(one, scopes)


def _touch_rows(one: Rows, scopes: list[Touched]) -> None:
    path = one.each.path
    if path is None or one.each.steps or not path.parts:
        raise Crooked
    row: Touched = {}
    for inner in (one.keep, one.row):
        if inner:
            _touch(inner, [*scopes, row])
    _walk(path, scopes, {"[]": None if "." in row or not row else row})


def _paths(leaf: Leaf) -> list[Path]:
    paths = [leaf.path] if leaf.path else []
    for name, arguments in leaf.parsed.steps if leaf.parsed else ():
        if name == "link":
            raise Crooked
        if name in FIRST_PATH:
            ones = arguments[FIRST_PATH[name] :]
            paths += [parse_path(one.text) for one in (ones[:1] if name == "when" else ones)]
    return paths


def _walk(path: Path, scopes: list[Touched], leaf: Touched | None = None) -> None:
    if path.up >= len(scopes):
        raise Crooked
    if not path.parts:
        scopes[-1 - path.up]["."] = None
    names = []
    for part in path.parts:
        if part.position is not None:
            leaf = None
            break
        names.append(part.name)
    if "[]" in names or "." in names or (path.parts and not names):
        raise Crooked
    made: Any = leaf
    for name in reversed(names):
        made = {name: made}
    _merge(scopes[-1 - path.up], made or {})


def _merge(into: Touched, other: Touched) -> None:
    for name, inside in other.items():
        there = into.setdefault(name, inside)
        if there is None or inside is None:
            into[name] = None
        elif there is not inside:
            if ("[]" in there) != ("[]" in inside):
                into[name] = None
            else:
                _merge(there, inside)
