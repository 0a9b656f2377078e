"""Steps: the only conversions a rule may name, each with its inward and its outward meaning."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, Inexact, InvalidOperation
from typing import Any

from mappings.language import wires
from mappings.language.path import Get, Mistake, Scope, Unlinked, Wrong, needed, parse_path
from mappings.language.rule import Argument
from mappings.language.values import (
    EXACT,
    Clock,
    Remembered,
    bool_of,
    decimal_of,
    epoch_reader,
    epoch_writer,
    int_of,
    known_money,
    money_reader,
    money_writer,
    text_of,
    whole,
)

DIRECTIVES = re.compile(r"(?:[^%]|%[YmdHMSfzyj%])*")
CUT_MAX = 100_000


@dataclass(frozen=True)
class Step:
    """One compiled step. wide: it also sees the node and its scope; bare: it also sees nothing (None)."""

    name: str
    call: Callable[..., Any]
    wide: bool = False
    bare: bool = False
    quick: Callable[[Any], Any] | None = None
    """The same as `call` for values that come often, without a frame of Python."""


@dataclass(frozen=True)
class Setting:
    """What a step may know of its mapping while it is built."""

    inward: bool
    clock: Clock
    digits: int | None
    tables: Callable[[str], Mapping[str, Any]]
    walk: Callable[..., Get]
    """(path, convert=needed) → a walk that ends in `convert`."""
    before: tuple[Step, ...] = ()
    path: str = ""


Builder = Callable[[Setting, tuple[Argument, ...]], Step]


def run(steps: Sequence[Step], value: Any, node: Any, scope: Scope) -> Any:
    """Send a value through steps; nothing passes all but the bare ones."""
    for step in steps:
        if value is None and not step.bare:
            continue
        value = step.call(value, node, scope) if step.wide else step.call(value)
    return value


def build_step(setting: Setting, name: str, arguments: tuple[Argument, ...]) -> Step:
    """Build a named step; raises Mistake."""
    if name not in STEPS:
        raise Mistake(f"there is no step {name!r}: use one of {', '.join(sorted(STEPS))}")
    builder, least, most = STEPS[name]
    if not least <= len(arguments) <= most:
        wanted = str(least) if least == most else f"{least} to {most}" if most < MANY else f"{least} or more"
        raise Mistake(f"{name} takes {wanted} arguments, not {len(arguments)}")
    return builder(setting, arguments)


def _simple(name: str, call: Callable[[Any], Any]) -> tuple[Builder, int, int]:
    step = Step(name, call)
    return (lambda setting, arguments: step), 0, 0


def _number(argument: Argument, low: int, high: int) -> int:
    value = argument.literal()
    if type(value) is not int or not low <= value <= high:
        raise Mistake(f"{argument.text!r} is no whole number from {low} to {high}")
    return value


def _decimal(setting: Setting, arguments: tuple[Argument, ...]) -> Step:
    return Step("decimal", decimal_of if setting.inward else lambda value: text_of(decimal_of(value)))


def _number_step(setting: Setting, arguments: tuple[Argument, ...]) -> Step:
    if setting.inward:
        raise Mistake("number only writes: inward use int or decimal")
    return Step("number", _json_number)


def _json_number(value: Any) -> int | Decimal:
    number = decimal_of(value)
    return int(number) if number == number.to_integral_value() else number


def _money(setting: Setting, arguments: tuple[Argument, ...]) -> Step:
    digits = _number(arguments[0], 0, 8) if arguments else setting.digits
    if digits is None:
        raise Mistake("money needs the file's currency, or its digits: money(2)")
    if not setting.inward:
        return Step("money", money_writer(digits))
    return Step("money", money_reader(digits), quick=known_money(digits).__getitem__)


def _time(setting: Setting, arguments: tuple[Argument, ...]) -> Step:
    form, clock = (arguments[0].text if arguments else None), setting.clock
    if form in (None, "iso"):
        return Step("time", clock.read if setting.inward else _iso if form else lambda value: _local(clock, value))
    if "%" not in form or not DIRECTIVES.fullmatch(form):
        raise Mistake(f"{form!r} is no time format: use %Y %m %d %H %M %S %f %z %y %j")
    if setting.inward:
        return Step("time", lambda value: clock.parse(value, form))
    return Step("time", lambda value: clock.here(value).strftime(form))


def _local(clock: Clock, value: Any) -> str:
    return clock.here(value).replace(tzinfo=None).isoformat(" ", "seconds")


def _iso(value: Any) -> str:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise Wrong("is no aware time", value)
    moment = value.astimezone(UTC).replace(tzinfo=None)
    return moment.isoformat("T", "milliseconds" if moment.microsecond else "seconds") + "Z"


def _date(setting: Setting, arguments: tuple[Argument, ...]) -> Step:
    if setting.inward:
        raise Mistake("date only writes: inward use time")
    return Step("date", lambda value: setting.clock.here(value).date().isoformat())


def _epoch(setting: Setting, arguments: tuple[Argument, ...]) -> Step:
    per_second = {"s": 1, "ms": 1000}.get(arguments[0].text)
    if per_second is None:
        raise Mistake("epoch is counted in s or ms")
    return Step("epoch", (epoch_reader if setting.inward else epoch_writer)(per_second))


def _lookup(setting: Setting, arguments: tuple[Argument, ...]) -> Step:
    table, name = setting.tables(arguments[0].text), arguments[0].text
    find = _by(table, name)
    if len(arguments) == 1:
        return Step("lookup", find, quick=Remembered(find).__getitem__)
    instead = arguments[1].literal()
    return Step("lookup", lambda value: find(value) if text_of(value) in table else instead)


def _back(setting: Setting, arguments: tuple[Argument, ...]) -> Step:
    table = setting.tables(arguments[0].text)
    turned: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, list):
            raise Mistake(f"table {arguments[0].text!r} holds lists and cannot be read backwards")
        turned.setdefault(text_of(value), key)
    return Step("back", _by(turned, arguments[0].text))


def _by(table: Mapping[str, Any], name: str) -> Callable[[Any], Any]:
    def find(value: Any) -> Any:
        found = table.get(value) if type(value) is str else None
        if type(found) is str:
            return found
        if found is None:
            found = table.get(text_of(value))
            if found is None:
                raise Wrong(f"unknown value (table {name!r} does not have it)", value)
        return list(found) if type(found) is list else found

    return find


def _default(setting: Setting, arguments: tuple[Argument, ...]) -> Step:
    instead = arguments[0].literal()
    return Step("default", lambda value: instead if value is None else value, bare=True)


def _or(setting: Setting, arguments: tuple[Argument, ...]) -> Step:
    walk = setting.walk(parse_path(arguments[0].text))
    return Step("or", lambda value, node, scope: walk(node, scope) if value is None else value, wide=True, bare=True)


def _when(setting: Setting, arguments: tuple[Argument, ...]) -> Step:
    walk, wanted = setting.walk(parse_path(arguments[0].text)), frozenset(one.text for one in arguments[1:])
    if arguments[0].text == setting.path and not setting.before:
        return Step("when", lambda value: value if text_of(value) in wanted else None)

    def when(value: Any, node: Any, scope: Scope) -> Any:
        found = walk(node, scope)
        if type(found) is not str:
            found = None if found is None else text_of(found)
        return value if found is not None and found.strip() in wanted else None

    return Step("when", when, wide=True)


def _filled(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _present(setting: Setting, arguments: tuple[Argument, ...]) -> Step:
    return Step("present", lambda value: value is not None, bare=True)


def _is(setting: Setting, arguments: tuple[Argument, ...]) -> Step:
    wanted = frozenset(argument.text for argument in arguments)

    def among(value: Any) -> bool:
        return (value.strip() if type(value) is str else text_of(value)) in wanted

    return Step("is", among, quick=Remembered(among).__getitem__)


def _not(setting: Setting, arguments: tuple[Argument, ...]) -> Step:
    unwanted = frozenset(argument.text for argument in arguments)

    def beside(value: Any) -> bool:
        return (value.strip() if type(value) is str else text_of(value)) not in unwanted

    return Step("not", beside, quick=Remembered(beside).__getitem__)


def _flag(setting: Setting, arguments: tuple[Argument, ...]) -> Step:
    yes, no = arguments[0].text, arguments[1].text
    if yes == no:
        raise Mistake("flag needs two different texts")
    if not setting.inward:
        return Step("flag", lambda value: yes if bool_of(value) else no)
    return Step("flag", _by({yes: True, no: False}, f"flag({yes}, {no})"))


def _cut(setting: Setting, arguments: tuple[Argument, ...]) -> Step:
    most = _number(arguments[0], 1, CUT_MAX)
    return Step("cut", lambda value: text_of(value)[:most])


def _part(setting: Setting, arguments: tuple[Argument, ...]) -> Step:
    separator, at = _separator(arguments[0]), _number(arguments[1], 0, 1000)

    def part(value: Any) -> str:
        pieces = text_of(value).split(separator)
        if at >= len(pieces):
            raise Wrong(f"has no piece {at}", value)
        return pieces[at].strip()

    return Step("part", part)


def _separator(argument: Argument) -> str:
    if not argument.text:
        raise Mistake("a separator cannot be empty")
    return argument.text


def _join(setting: Setting, arguments: tuple[Argument, ...]) -> Step:
    separator, more = arguments[0].text, _texts(setting, arguments[1:])

    def join(value: Any) -> str:
        return separator.join(map(text_of, value)) if isinstance(value, list | tuple) else text_of(value)

    if len(arguments) == 1:
        return Step("join", join)
    return Step("join", lambda value, node, scope: separator.join([join(value), *more(node, scope)]), wide=True)


def _or_join(setting: Setting, arguments: tuple[Argument, ...]) -> Step:
    separator, texts = arguments[0].text, _texts(setting, arguments[1:])

    def or_join(value: Any, node: Any, scope: Scope) -> str | None:
        return text_of(value) if value is not None else separator.join(texts(node, scope)) or None

    return Step("or_join", or_join, wide=True, bare=True)


def _texts(setting: Setting, arguments: tuple[Argument, ...]) -> Callable[[Any, Scope], list[str]]:
    """The texts at these paths; what is absent or empty is left out."""
    walks = [setting.walk(parse_path(argument.text)) for argument in arguments]

    def texts(node: Any, scope: Scope) -> list[str]:
        found = (walk(node, scope) for walk in walks)
        return [text for value in found if value is not None and (text := text_of(value))]

    return texts


def _split(setting: Setting, arguments: tuple[Argument, ...]) -> Step:
    separator = _separator(arguments[0])

    def split(value: Any) -> list[str]:
        return [piece.strip() for piece in text_of(value).split(separator) if piece.strip()]

    return Step("split", split)


def _prefix(setting: Setting, arguments: tuple[Argument, ...]) -> Step:
    return Step("prefix", lambda value: arguments[0].text + text_of(value))


def _unprefix(setting: Setting, arguments: tuple[Argument, ...]) -> Step:
    return Step("unprefix", lambda value: text_of(value).removeprefix(arguments[0].text))


def _times(setting: Setting, arguments: tuple[Argument, ...]) -> Step:
    factor = Decimal(_number(arguments[0], 1, 10**9))
    return Step("times", lambda value: whole(EXACT.multiply(decimal_of(value), factor), value))


def _over(setting: Setting, arguments: tuple[Argument, ...]) -> Step:
    divisor = Decimal(_number(arguments[0], 1, 10**9))

    def over(value: Any) -> int | Decimal:
        try:
            result = EXACT.divide(decimal_of(value), divisor)
        except (Inexact, InvalidOperation):
            raise Wrong(f"cannot be divided by {divisor} exactly", value) from None
        return whole(result, value) if setting.inward or result == result.to_integral_value() else result

    return Step("over", over)


def _sum(name: str, sign: int) -> Builder:
    def build(setting: Setting, arguments: tuple[Argument, ...]) -> Step:
        before = tuple(step for step in setting.before if step.name not in ("add", "less"))
        first, rest = (before[0].call, before[1:]) if before and _plain(before[0]) else (needed, before)
        walks = [setting.walk(parse_path(argument.text), first) for argument in arguments]

        def total(value: Any, node: Any, scope: Scope) -> Any:
            result = value if value is None or type(value) is int else int_of(value)
            for walk in walks:
                other = walk(node, scope)
                if rest:
                    other = run(rest, other, node, scope)
                if other is not None:
                    result = (result or 0) + sign * (other if type(other) is int else int_of(other))
            return result

        return Step(name, total, wide=True, bare=True)

    return build


def _most(setting: Setting, arguments: tuple[Argument, ...]) -> Step:
    walks = [setting.walk(parse_path(argument.text)) for argument in arguments]

    def most(value: Any, node: Any, scope: Scope) -> int:
        others = (walk(node, scope) for walk in walks)
        return max([int_of(value), *(int_of(other) for other in others if other is not None)])

    return Step("most", most, wide=True)


def _plain(step: Step) -> bool:
    return not (step.wide or step.bare)


def _link(setting: Setting, arguments: tuple[Argument, ...]) -> Step:
    kind = arguments[0].text

    def link(value: Any, node: Any, scope: Scope) -> Any:
        ref = text_of(value)
        found = scope.links.get((kind, ref))
        if found is None:
            raise Unlinked(kind, ref)
        return found

    return Step("link", link, wide=True)


def _json(setting: Setting, arguments: tuple[Argument, ...]) -> Step:
    if not setting.inward:
        return Step("json", lambda value: wires.json_text(value))
    return Step("json", _json_inside)


def _json_inside(value: Any) -> Any:
    try:
        return wires.parse_json(text_of(value).encode())
    except wires.Unreadable as error:
        raise Wrong(str(error), value) from None


MANY = 40
STEPS: dict[str, tuple[Builder, int, int]] = {
    "text": _simple("text", text_of),
    "int": _simple("int", int_of),
    "decimal": (_decimal, 0, 0),
    "number": (_number_step, 0, 0),
    "money": (_money, 0, 1),
    "minor": _simple("minor", int_of),
    "time": (_time, 0, 1),
    "epoch": (_epoch, 1, 1),
    "date": (_date, 0, 0),
    "lookup": (_lookup, 1, 2),
    "back": (_back, 1, 1),
    "default": (_default, 1, 1),
    "or": (_or, 1, 1),
    "when": (_when, 2, MANY),
    "filled": _simple("filled", _filled),
    "present": (_present, 0, 0),
    "is": (_is, 1, MANY),
    "not": (_not, 1, MANY),
    "bool": _simple("bool", bool_of),
    "flag": (_flag, 2, 2),
    "upper": _simple("upper", lambda value: text_of(value).upper()),
    "lower": _simple("lower", lambda value: text_of(value).lower()),
    "trim": _simple("trim", text_of),
    "cut": (_cut, 1, 1),
    "part": (_part, 2, 2),
    "join": (_join, 1, MANY),
    "or_join": (_or_join, 2, MANY),
    "split": (_split, 1, 1),
    "prefix": (_prefix, 1, 1),
    "unprefix": (_unprefix, 1, 1),
    "times": (_times, 1, 1),
    "over": (_over, 1, 1),
    "add": (_sum("add", 1), 1, MANY),
    "less": (_sum("less", -1), 1, MANY),
    "most": (_most, 1, MANY),
    "link": (_link, 1, 1),
    "json": (_json, 0, 0),
}
"""Step name → (builder, fewest arguments, most arguments)."""

TRUE_OR_FALSE = frozenset({"present", "is", "not", "bool", "flag", "lookup"})
"""Steps that may end the `if:` of a list."""
LISTS = frozenset({"json", "split", "lookup"})
"""Steps that may end the `each:` of a list."""
AS_IT_WAS = frozenset({"default", "or", "filled", "when"})
"""Steps that leave a value as it was: a rule of only these yields text."""
