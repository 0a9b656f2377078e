"""The quick way through a block: all fields that lie side by side are taken in one loop.

Only rules of the common shapes fit (`key`, `key?`, with `or` of a neighbour, simple steps and a default); they mean
exactly what their closures mean. Whatever raises is repeated by the careful form, which finds the words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mappings.language.path import Get, Mistake, Path, Scope, Wrong, parse_path
from mappings.language.rule import Parsed
from mappings.language.steps import Step, run
from mappings.language.values import text_of

Convert = Callable[[Any], Any]
Instead = Callable[[Callable[[str], Any]], Any]
"""What to take when the first key has nothing: given the parent's lookup, the value or None."""
After = Callable[[Any, Callable[[str], Any]], Any]
"""What follows a conversion and looks at neighbours: (value or None, the parent's lookup) → value or None."""
Item = tuple[str, str, Convert | None, Instead | None, bool, After | None]
"""(target, key, conversion or None for text, what instead or None, whether an empty text is nothing, what after)"""


@dataclass(frozen=True)
class Fit:
    """A rule that fits: the names down to its parent, and what to do with its key there."""

    parent: tuple[str, ...]
    key: str
    convert: Convert | None
    instead: Instead | None
    filled: bool
    after: After | None
    sure: bool

    def item(self, target: str) -> Item:
        return target, self.key, self.convert, self.instead, self.filled, self.after


def fit(parsed: Parsed, steps: Sequence[Step]) -> Fit | None:
    """How a rule fits the quick way, or None."""
    place = _neighbour(parsed.path) if parsed.path else None
    if place is None:
        return None
    parent, key, optional = place
    filled = bool(steps) and steps[0].name == "filled"
    others, rest = _alternatives(parsed, steps, int(filled), parent, optional)
    head = [step for step in rest if not step.wide]
    after = _after(parsed, steps, rest[len(head) :], parent)
    if rest[: len(head)] != head or after is Unfitting or (filled and not optional):
        return None
    rest = head
    if any(step.name in ("filled", "present", "when") for step in rest):
        return None
    simple = [step for step in rest if not step.bare]
    convert = None if [step.name for step in simple] == ["text"] else _composed([step.call for step in simple])
    needed = not (others[-1][1] if others else optional)
    instead = _instead(others, convert or text_of, needed, _default(rest))
    return Fit(parent, key, convert, instead, filled, after, sure=needed and not others)


def _neighbour(path: Path) -> tuple[tuple[str, ...], str, bool] | None:
    if path.up or not path.parts or any(part.position is not None for part in path.parts):
        return None
    if any(part.optional for part in path.parts[:-1]):
        return None
    return tuple(part.name for part in path.parts[:-1]), path.parts[-1].name, path.parts[-1].optional


def _alternatives(
    parsed: Parsed, steps: Sequence[Step], start: int, parent: tuple[str, ...], optional: bool
) -> tuple[list[tuple[str, bool]], list[Step]]:
    """The leading `or` steps that name neighbours, and the steps after them."""
    others: list[tuple[str, bool]] = []
    for name, arguments in parsed.steps[start:]:
        place = _neighbour(_path(arguments[0].text)) if name == "or" else None
        if place is None or place[0] != parent or not (others[-1][1] if others else optional):
            break
        others.append((place[1], place[2]))
    return others, list(steps[start + len(others) :])


class Unfitting:
    """Says that the steps at the end of a rule don't fit."""


def _after(parsed: Parsed, steps: Sequence[Step], tail: Sequence[Step], parent: tuple[str, ...]) -> Any:
    """The sums or the `when` of neighbours that end a rule, as one closure; None when there are none."""
    if not tail:
        return None
    written = parsed.steps[len(steps) - len(tail) : len(steps)]
    if len(written) != len(tail):
        return Unfitting
    if all(step.name in ("add", "less") for step in tail):
        return _sums(steps[: len(steps) - len(tail)], written, parent)
    if len(tail) == 1 and tail[0].name == "when":
        place = _neighbour(_path(written[0][1][0].text))
        if place and place[0] == parent:
            return _only(place[1], place[2], frozenset(one.text for one in written[0][1][1:]))
    return Unfitting


def _sums(before: Sequence[Step], written: Sequence[Any], parent: tuple[str, ...]) -> Any:
    places = [(_neighbour(_path(one.text)), 1 if name == "add" else -1) for name, ones in written for one in ones]
    if len(before) != 1 or before[0].wide or before[0].bare:
        return Unfitting
    if any(place is None or place[0] != parent for place, _ in places):
        return Unfitting
    convert = before[0].call
    terms = tuple((place[1], not place[2], sign > 0) for place, sign in places if place)

    def after(value: Any, lookup: Callable[[str], Any]) -> Any:
        for key, needed, more in terms:
            other = lookup(key)
            if other is not None:
                value = (value or 0) + convert(other) if more else (value or 0) - convert(other)
            elif needed:
                raise Wrong("is missing or empty")
        return value

    return after


def _only(key: str, optional: bool, wanted: frozenset[str]) -> After:
    def after(value: Any, lookup: Callable[[str], Any]) -> Any:
        found = lookup(key)
        if found is None:
            if optional or value is None:
                return None
            raise Wrong("is missing or empty")
        return value if (found.strip() if type(found) is str else text_of(found)) in wanted else None

    return after


def _path(text: str) -> Path:
    try:
        return parse_path(text)
    except Mistake:
        return Path(text, 0, (), False)


def _composed(calls: Sequence[Convert]) -> Convert:
    if len(calls) == 1:
        return calls[0]
    if len(calls) == 2:
        first, second = calls
        return lambda value: second(first(value))

    def convert(value: Any) -> Any:
        for call in calls:
            value = call(value)
        return value

    return convert


def _default(rest: Sequence[Step]) -> Any:
    """What the steps make of nothing; None when they leave it nothing."""
    try:
        return run(rest, None, None, Scope(None, None, {}))
    except Wrong as wrong:
        raise Mistake(f"the default {wrong.why}") from None


def _instead(others: Sequence[tuple[str, bool]], convert: Convert, needed: bool, default: Any) -> Instead | None:
    if not others and not needed and default is None:
        return None
    keys = tuple(key for key, _ in others)

    def instead(lookup: Callable[[str], Any]) -> Any:
        for key in keys:
            value = lookup(key)
            if value is not None:
                return convert(value)
        if needed:
            raise Wrong("is missing or empty")
        return default

    return instead


def _sorted(ones: Sequence[tuple[str, Fit]]) -> tuple[Any, Any, Any, tuple[Item, ...]]:
    """Needed texts, needed conversions (which refuse None themselves), optional texts, and whatever has more to it."""
    sure = [(name, one) for name, one in ones if one.sure and not (one.filled or one.after)]
    maybe = [
        (name, one)
        for name, one in ones
        if not (one.sure or one.instead or one.filled or one.after) and one.convert is None
    ]
    named = {name for name, _ in (*sure, *maybe)}
    return (
        tuple((name, one.key) for name, one in sure if one.convert is None),
        tuple((name, one.key, one.convert) for name, one in sure if one.convert is not None),
        tuple((name, one.key) for name, one in maybe),
        tuple(one.item(name) for name, one in ones if name not in named),
    )


def planned(
    fits: Sequence[tuple[str, Fit]], constants: dict[str, Any], others: Sequence[tuple[str, Get]]
) -> Callable[[Any, Any], dict[str, Any]]:
    """One closure for a whole block: its constants, its quick fields parent by parent, then all others."""
    parents: dict[tuple[str, ...], list[tuple[str, Fit]]] = {}
    for name, one in fits:
        parents.setdefault(one.parent, []).append((name, one))
    plans = tuple((parent, *_sorted(ones)) for parent, ones in parents.items())

    def run_block(node: Any, scope: Any) -> dict[str, Any]:
        out = constants.copy()
        for parent, sure_texts, sure, texts, items in plans:
            there = node
            for name in parent:
                there = there[name]
            for target, key in sure_texts:
                value = there[key]
                out[target] = value.strip() if type(value) is str else text_of(value)
            for target, key, convert in sure:
                out[target] = convert(there[key])
            lookup = there.get
            for target, key in texts:
                value = lookup(key)
                if value is not None:
                    out[target] = value.strip() if type(value) is str else text_of(value)
            for target, key, convert, instead, filled, after in items:
                value = lookup(key)
                if value is None or (filled and type(value) is str and not value.strip()):
                    value = None if instead is None else instead(lookup)
                elif convert is not None:
                    value = convert(value)
                else:
                    value = value.strip() if type(value) is str else text_of(value)
                if after is not None:
                    value = after(value, lookup)
                if value is not None:
                    out[target] = value
        for target, get in others:
            if (value := get(node, scope)) is not None:
                out[target] = value
        return out

    return run_block
