"""Compiles rules and blocks to closures: a tight form that runs, and a careful form that explains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from core.errors import Fault
from mappings.language.check import LEVELS_MAX, Block, Mistakes, Rule
from mappings.language.path import Get, Mistake, Path, Scope, Unlinked, Wrong, careful_walk, fast_walk, needed
from mappings.language.plan import Fit, fit, planned
from mappings.language.rule import Parsed, parse_rule
from mappings.language.steps import AS_IT_WAS, LISTS, STEPS, TRUE_OR_FALSE, Setting, Step, build_step, run
from mappings.language.values import Remembered, text_of

TEXT = Step("text", text_of)
VALUE_CHARS = 60


@dataclass
class Notes:
    """What went wrong while one document was translated carefully."""

    faults: list[Fault] = field(default_factory=list)
    unlinked: list[Unlinked] = field(default_factory=list)

    def fault(self, rule: Rule | Block, where: str, why: str, value: object, private: bool) -> None:
        source = rule.source if isinstance(rule, Rule) else "(no rule)"
        shown = "(private)" if private and value is not None else shorten(value)
        self.faults.append(Fault(rule.file, rule.line, rule.column, where, source, shown, why))


def shorten(value: object) -> str:
    """A value as a person may see it in a message."""
    if value is None:
        return "nothing"
    if isinstance(value, dict | list | tuple):
        return f"{'names' if isinstance(value, dict) else 'a list'} ({len(value)})"
    text = repr(value)
    return text if len(text) <= VALUE_CHARS else text[: VALUE_CHARS - 1] + "…"


@dataclass(frozen=True)
class Around:
    """A rule of a row that starts around the rows: that start is the same for all of them, so it is made once."""

    start: Get
    rest: Callable[[Any, Any, Any], Any]


@dataclass(frozen=True)
class Leaf:
    """A compiled rule."""

    rule: Rule
    get: Get
    slow: Get
    private: bool
    fit: Fit | None = None
    constant: Any = None
    parsed: Parsed | None = None
    steps: tuple[Step, ...] = ()
    around: Around | None = None

    @property
    def path(self) -> Path | None:
        return self.parsed.path if self.parsed else None

    def collect(self, node: Any, scope: Scope, where: str, notes: Notes) -> Any:
        try:
            return self.slow(node, scope)
        except Wrong as wrong:
            notes.fault(self.rule, where, wrong.why, wrong.value, self.private)
        except Unlinked as unlinked:
            notes.unlinked.append(unlinked)
        return None


@dataclass(frozen=True)
class Group:
    """A compiled block."""

    fields: tuple[tuple[str, Leaf | Group | Rows], ...]
    optional: bool
    get: Get

    def collect(self, node: Any, scope: Scope, where: str, notes: Notes) -> Any:
        prefix = f"{where}." if where else ""
        out = {name: one.collect(node, scope, f"{prefix}{name}", notes) for name, one in self.fields}
        return trimmed(out, self.optional)


@dataclass(frozen=True)
class Rows:
    """A compiled list."""

    each: Leaf
    keep: Leaf | None
    row: Leaf | Group
    rows_max: int
    absent: type[list[Any]] | None
    get: Get

    def collect(self, node: Any, scope: Scope, where: str, notes: Notes) -> Any:
        found = self.each.collect(node, scope, f"{where}.each", notes)
        if found is None:
            return [] if self.absent else None
        try:
            rows = rows_of(found, self.rows_max)
        except Wrong as wrong:
            notes.fault(self.each.rule, where, wrong.why, wrong.value, False)
            return None
        inner = Scope(node, scope, scope.links)
        made = [self._row(row, inner, f"{where}[{at}]", notes) for at, row in enumerate(rows)]
        return [row for row in made if row is not None]

    def _row(self, row: Any, scope: Scope, where: str, notes: Notes) -> Any:
        if self.keep and self.keep.collect(row, scope, f"{where}.if", notes) is not True:
            return None
        return self.row.collect(row, scope, where, notes)


def trimmed(values: dict[str, Any], optional: bool) -> dict[str, Any] | None:
    """Without what yielded nothing; an optional block without anything is nothing."""
    out = {name: value for name, value in values.items() if value is not None}
    return None if optional and all(value == [] for value in out.values()) else out


def rows_of(found: Any, rows_max: int) -> list[Any] | tuple[Any, ...]:
    """The rows `each` found: a single thing stands for a list of one."""
    rows = found if isinstance(found, list | tuple) else [found]
    if len(rows) > rows_max:
        raise Wrong(f"has {len(rows)} rows, more than the {rows_max} allowed (`rows:` raises it)")
    return rows


@dataclass(frozen=True)
class Compiler:
    """Compiles one direction of one mapping. flip: the number of the rule to be made wrong (mutation check)."""

    setting: Setting
    mistakes: Mistakes
    rows_max: int
    one_is_list: bool
    plain_row: bool
    flip: int | None = None
    private: Callable[[Rule, Parsed], bool] = lambda rule, parsed: False
    parsed: dict[int, Parsed] = field(default_factory=dict)
    kinds: set[str] = field(default_factory=set)

    def block(self, block: Block, depth: int = 0) -> Group:
        fields = tuple((name, self._field(one, depth)) for name, one in block.fields.items())
        return Group(fields, block.optional, group_get(fields, block.optional, self.setting.inward))

    def _field(self, one: Rule | Block, depth: int) -> Leaf | Group | Rows:
        if isinstance(one, Rule):
            return self.leaf(one, depth)
        if not one.fields:
            self.mistakes.at(one, "has no rules")
        return self._rows(one, depth) if one.rows else self.block(one, depth)

    def _rows(self, block: Block, depth: int) -> Rows:
        if block.each is None:
            self.mistakes.at(block, "needs `each:`, the path of its rows")
        each = self.leaf(block.each or Rule(block.target, ".", block.file, block.line, block.column), depth, rows=True)
        keep = self.leaf(block.keep, depth + 1, keep=True) if block.keep else None
        row = self._row(block, depth + 1)
        absent = list if self.setting.inward else None
        get = rows_get(each.get, keep.get if keep else None, row, self.rows_max, [] if absent else None)
        return Rows(each, keep, row, self.rows_max, absent, get)

    def _row(self, block: Block, depth: int) -> Leaf | Group:
        only = block.fields.get(".")
        if isinstance(only, Rule) and len(block.fields) == 1:
            return self.leaf(only, depth)
        if only is not None and self.plain_row:
            self.mistakes.at(only, "`.` makes rows of plain values, so it must be the only rule of its list")
        return self.block(replace(block, optional=False), depth)

    def leaf(self, rule: Rule, depth: int, *, rows: bool = False, keep: bool = False) -> Leaf:
        try:
            parsed = parse_rule(rule.source)
            self._check_use(parsed, depth, rows, keep)
            if rule.index == self.flip:
                parsed = parsed.flipped()
            self.parsed[rule.index] = parsed
            steps = self._steps(parsed, rows)
            get, slow = self._gets(parsed, steps)
            quick = fit(parsed, steps) if self.setting.inward and not (rows or keep) else None
        except Mistake as mistake:
            self.mistakes.at(rule, str(mistake))
            return Leaf(rule, _nothing, _nothing, False)
        constant = get(None, None) if parsed.path is None else None
        return Leaf(
            rule, get, slow, self.private(rule, parsed), quick, constant, parsed, tuple(steps), _around(parsed, steps)
        )

    def _check_use(self, parsed: Parsed, depth: int, rows: bool, keep: bool) -> None:
        last = parsed.steps[-1][0] if parsed.steps else ""
        if rows and (parsed.path is None or (parsed.steps and last not in LISTS | AS_IT_WAS)):
            raise Mistake("`each` takes a path, and of the steps only or, json, split and lookup at its end")
        if rows and _looks_up(parsed):
            raise Mistake("`each` cannot look out of its scope with `^`")
        if keep and last not in TRUE_OR_FALSE:
            raise Mistake(f"`if` must end in one of the steps {', '.join(sorted(TRUE_OR_FALSE))}")
        if any(name == "json" for name, _ in parsed.steps[: None if self.setting.inward and not rows else -1]):
            raise Mistake("json may only be the last step of an `each` (or of a rule that writes)")
        if parsed.path and parsed.path.up > depth:
            raise Mistake(f"`{'^' * parsed.path.up}` leads out of the document: only {depth} lists enclose this")

    def _steps(self, parsed: Parsed, rows: bool) -> list[Step]:
        steps: list[Step] = []
        start = parsed.path.text if parsed.path else ""
        for name, arguments in parsed.steps:
            step = build_step(replace(self.setting, before=tuple(steps), path=start), name, arguments)
            if name == "link":
                self.kinds.add(arguments[0].text)
            steps.append(step)
        if not rows and all(step.name in AS_IT_WAS for step in steps):
            steps.append(TEXT)
        return steps

    def _gets(self, parsed: Parsed, steps: list[Step]) -> tuple[Get, Get]:
        if parsed.path is None:
            return _literal(parsed.literal or "", steps)
        walk = careful_walk(parsed.path, one_is_list=self.one_is_list)

        def slow(node: Any, scope: Scope) -> Any:
            value = walk(node, scope)
            try:
                return run(steps, value, node, scope)
            except Wrong as wrong:
                raise Wrong(wrong.why, value if wrong.value is None else wrong.value) from None

        return _fast(parsed.path, steps) or slow, slow


def _looks_up(parsed: Parsed) -> bool:
    arguments = [argument for _, arguments in parsed.steps for argument in arguments]
    return bool(parsed.path and parsed.path.up) or any(argument.text.startswith("^") for argument in arguments)


def _nothing(node: Any, scope: Scope) -> Any:
    return None


def _literal(text: str, steps: Sequence[Step]) -> tuple[Get, Get]:
    if any(step.wide for step in steps):
        raise Mistake("a literal cannot go through steps that look at the document")
    try:
        value = run(steps, text, None, Scope(None, None, {}))
    except Wrong as wrong:
        raise Mistake(f"the literal {text[:40]!r} {wrong.why}") from None
    get = lambda node, scope: value  # noqa: E731
    return get, get


def _fast(path: Path, steps: Sequence[Step]) -> Get | None:
    """A walk fused with the simple steps that follow it, wrapped in the rest."""
    simple = 0
    while simple < len(steps) and not (steps[simple].wide or steps[simple].bare):
        simple += 1
    convert = _composed([step.call for step in steps[:simple]])
    return _followed(fast_walk(path, convert), steps[simple:])


def _followed(get: Get | None, rest: Sequence[Step]) -> Get | None:
    if get is None or not rest:
        return get
    return _wrapped(get, rest[0]) if len(rest) == 1 else _chained(get, rest)


def _chained(get: Get, steps: Sequence[Step]) -> Get:
    follow = _following(steps)
    return lambda node, scope: follow(get(node, scope), node, scope)


def _following(steps: Sequence[Step]) -> Callable[[Any, Any, Any], Any]:
    """Steps as one function; those that see only their value are made one first."""
    calls: list[tuple[Callable[..., Any], bool, bool]] = []
    for simple, ones in groupby(steps, lambda step: not (step.wide or step.bare)):
        if simple:
            calls.append((_one_call(list(ones)), False, False))
        else:
            calls += [(step.call, step.wide, step.bare) for step in ones]
    found = tuple(calls)

    def follow(value: Any, node: Any, scope: Any) -> Any:
        for call, wide, bare in found:
            if value is not None or bare:
                value = call(value, node, scope) if wide else call(value)
        return value

    return follow


def _one_call(steps: list[Step]) -> Callable[[Any], Any]:
    """Simple steps as one function; what they make of a table's few values is remembered."""
    call = _composed([step.call for step in steps])
    return Remembered(call).__getitem__ if any(step.name == "lookup" for step in steps) else call


def _around(parsed: Parsed, steps: Sequence[Step]) -> Around | None:
    if parsed.path is None or not parsed.path.up:
        return None
    end = 0
    for step, (name, arguments) in zip(steps, parsed.steps, strict=False):
        if step.wide and not (name in ("or", "when") and arguments[0].text.startswith("^")):
            break
        end += 1
    start = _fast(parsed.path, steps[:end])
    return Around(start, _following(steps[end:])) if start else None


def _composed(calls: list[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    if not calls:
        return needed
    if len(calls) == 1:
        return calls[0]
    first, rest = calls[0], _composed(calls[1:])

    def convert(value: Any) -> Any:
        value = first(value)
        return None if value is None else rest(value)

    return convert


def _wrapped(get: Get, step: Step) -> Get:
    call = step.call
    if step.wide and step.bare:
        return lambda node, scope: call(get(node, scope), node, scope)
    if step.bare:
        return lambda node, scope: call(get(node, scope))

    def through(node: Any, scope: Any) -> Any:
        value = get(node, scope)
        if value is None:
            return None
        return call(value, node, scope) if step.wide else call(value)

    return through


def group_get(fields: Sequence[tuple[str, Leaf | Group | Rows]], optional: bool, inward: bool) -> Get:
    """A block's closure: the quick plan where order doesn't matter (inward), else field by field."""
    constants = {name: one.constant for name, one in fields if isinstance(one, Leaf) and one.constant is not None}
    fits = [(name, one.fit) for name, one in fields if isinstance(one, Leaf) and one.fit]
    taken = constants.keys() | {name for name, _ in fits}
    gets = tuple((name, one.get) for name, one in fields)
    if inward and not optional:
        return planned(fits, constants, [(name, get) for name, get in gets if name not in taken])

    def run_group(node: Any, scope: Any) -> Any:
        return trimmed({name: get(node, scope) for name, get in gets}, optional)

    return run_group


def rows_get(each: Get, keep: Get | None, row: Leaf | Group, rows_max: int, absent: list[Any] | None) -> Get:
    if isinstance(row, Leaf) and row.around and not keep:
        return _around_rows(each, row.around, rows_max, absent)
    make = row.get

    def run_rows(node: Any, scope: Scope) -> Any:
        rows = each(node, scope)
        if rows is None:
            return None if absent is None else []
        if type(rows) is not list or len(rows) > rows_max:
            rows = rows_of(rows, rows_max)
        inner = Scope(node, scope, scope.links)
        if keep:
            rows = [one for one in rows if keep(one, inner) is True]
        return [value for one in rows if (value := make(one, inner)) is not None]

    return run_rows


def _around_rows(each: Get, around: Around, rows_max: int, absent: list[Any] | None) -> Get:
    start, rest = around.start, around.rest

    def run_rows(node: Any, scope: Scope) -> Any:
        rows = each(node, scope)
        if rows is None:
            return None if absent is None else []
        if type(rows) is not list or len(rows) > rows_max:
            rows = rows_of(rows, rows_max)
        if not rows:
            return []
        inner = Scope(node, scope, scope.links)
        begun = start(None, inner)
        return [value for one in rows if (value := rest(begun, one, inner)) is not None]

    return run_rows


__all__ = ["LEVELS_MAX", "STEPS", "Compiler", "Group", "Leaf", "Notes", "Rows", "shorten"]
