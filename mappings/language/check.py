"""Checks a mapping file before anything runs: all mistakes at once, each with file, line and key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml

from core.errors import Misconfigured
from core.model.marked import LOADER, check_nesting
from mappings.language.rule import plain_value

FILE_BYTES_MAX = 64 * 1024
RULES_MAX = 400
LEVELS_MAX = 5
ROWS = 2000
ROWS_MAX = 100_000
FORMATS = ("json", "xml", "form", "csv")
HEADER = ("noun", "format", "zone", "currency", "rows", "tables", "read", "write")
TARGET = re.compile(r"(.+?)(\[\])?(\?)?")
ROW_KEYS = ("each", "if")


@dataclass(frozen=True)
class Rule:
    """One rule as written: what it fills and where it stands. index: its number within the mapping."""

    target: str
    source: str
    file: str
    line: int
    column: int
    index: int = -1


@dataclass(frozen=True)
class Block:
    """An object of rules; with `each` a list of them, one per row."""

    target: str
    file: str
    line: int
    column: int
    fields: dict[str, Rule | Block] = field(default_factory=dict)
    optional: bool = False
    rows: bool = False
    each: Rule | None = None
    keep: Rule | None = None


@dataclass(frozen=True)
class Source:
    """A mapping file taken apart, before its rules are compiled."""

    file: str
    header: dict[str, Rule]
    tables: dict[str, dict[str, Any]]
    read: Block | None
    write: Block | None


@dataclass
class Mistakes:
    """What is wrong with a mapping, gathered until all is known."""

    found: list[tuple[str, int, str, str]] = field(default_factory=list)

    def add(self, file: str, line: int, key: str, why: str) -> None:
        self.found.append((file, line, key, why))

    def at(self, place: Rule | Block, why: str) -> None:
        self.add(place.file, place.line, place.target, why)

    def settle(self) -> None:
        """Raise Misconfigured with every mistake, if there is one."""
        if self.found:
            lines = [f"{file}:{line}: {key}: {why}" for file, line, key, why in sorted(set(self.found))]
            raise Misconfigured("\n".join(lines))


def parse_source(text: str, file: str, mistakes: Mistakes, *, overlay: bool = False) -> Source:
    """A mapping file's text as Source; what cannot be used is left out and noted."""
    reader = _Reader(file, mistakes, overlay)
    return reader.source(compose(text, file, mistakes))


def compose(text: str, file: str, mistakes: Mistakes) -> yaml.MappingNode | None:
    """The file's YAML nodes, which know their lines."""
    if len(text.encode(errors="replace")) > FILE_BYTES_MAX:
        mistakes.add(file, 1, "file", f"has more than {FILE_BYTES_MAX // 1024} KB")
        return None
    try:
        check_nesting(text)
        node = yaml.compose(text, Loader=LOADER)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        mistakes.add(file, line, "file", f"is no YAML: {error.problem}")
        return None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mistakes.add(file, 1, "file", f"is no YAML: {str(error)[:200]}")
        return None
    if isinstance(node, yaml.MappingNode):
        return node
    mistakes.add(file, 1, "file", "is no mapping of keys")
    return None


class _Reader:
    """Walks the YAML nodes of one file."""

    def __init__(self, file: str, mistakes: Mistakes, overlay: bool):
        self.file = file
        self.mistakes = mistakes
        self.overlay = overlay
        self.seen: set[int] = set()
        self.rules = 0

    def source(self, node: yaml.MappingNode | None) -> Source:
        parts = {key: (at, value) for key, at, value in self.pairs(node, "file")} if node else {}
        for key, (at, _) in parts.items():
            if key not in HEADER:
                self.note(at, key, f"is no part of a mapping: use {', '.join(HEADER)}")
        header = {key: self.rule(key, *parts[key]) for key in HEADER[:5] if key in parts}
        self.rules = 0
        tables = self.tables(parts["tables"][1]) if "tables" in parts else {}
        read, write = (self.top(key, parts) for key in ("read", "write"))
        source = Source(self.file, {key: rule for key, rule in header.items() if rule}, tables, read, write)
        if not self.overlay and node is not None:
            self.check_header(source)
        return source

    def check_header(self, source: Source) -> None:
        for key in ("noun", "format"):
            if key not in source.header:
                self.mistakes.add(self.file, 1, key, "is missing")
        if source.read is None and source.write is None:
            self.mistakes.add(self.file, 1, "read", "is missing: a mapping reads, writes or does both")

    def top(self, key: str, parts: dict[str, tuple[yaml.Node, yaml.Node]]) -> Block | None:
        if key not in parts:
            return None
        at, node = parts[key]
        block = self.block("", at, node, 0, {})
        return block if block.fields or self.overlay else None

    def note(self, node: yaml.Node, key: str, why: str) -> None:
        self.mistakes.add(self.file, node.start_mark.line + 1, key, why)

    def pairs(self, node: yaml.Node, key: str) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
        """(key, its node, value node) of a YAML mapping; doubled keys and aliases are mistakes."""
        if not isinstance(node, yaml.MappingNode):
            self.note(node, key, "must be a block of keys")
            return
        taken: set[str] = set()
        for name, value in node.value:
            if not isinstance(name, yaml.ScalarNode):
                self.note(name, key, "a key must be plain text")
            elif name.value in taken:
                self.note(name, name.value, "is there twice")
            elif id(value) in self.seen:
                self.note(name, name.value, "YAML aliases are not allowed")
            else:
                taken.add(name.value)
                self.seen.add(id(value))
                yield name.value, name, value

    def rule(self, target: str, at: yaml.Node, node: yaml.Node) -> Rule | None:
        if not isinstance(node, yaml.ScalarNode):
            self.note(at, target, "must be one line of text")
            return None
        self.rules += 1
        if self.rules == RULES_MAX + 1:
            self.note(at, target, f"is one too many: a mapping has at most {RULES_MAX} rules")
        if self.rules > RULES_MAX:
            return None
        mark = node.start_mark
        return Rule(target, node.value.strip(), self.file, mark.line + 1, mark.column + 1)

    def block(self, target: str, at: yaml.Node, node: yaml.Node, level: int, shape: dict[str, bool]) -> Block:
        mark = at.start_mark
        rules: dict[str, Rule | None] = {}
        fields: dict[str, Rule | Block] = {}
        if level > LEVELS_MAX:
            self.note(at, target, f"blocks are nested deeper than {LEVELS_MAX}")
            return Block(target, self.file, mark.line + 1, mark.column + 1)
        for key, name, value in self.pairs(node, target or "file"):
            if shape.get("rows") and key in ROW_KEYS:
                rules[key] = self.rule(f"{target}.{key}", name, value)
            else:
                self.field(fields, target, key, (name, value), level)
        each, keep = rules.get("each"), rules.get("if")
        return Block(target, self.file, mark.line + 1, mark.column + 1, fields, each=each, keep=keep, **shape)

    def field(
        self,
        fields: dict[str, Rule | Block],
        target: str,
        key: str,
        nodes: tuple[yaml.Node, yaml.Node],
        level: int,
    ) -> None:
        """Put one key of a block into its fields; an overlay's dotted key goes down the blocks it names."""
        first, rest = _first(key) if self.overlay else (key, "")
        found = TARGET.fullmatch(first)
        if not found:
            self.note(nodes[0], key or target, "a name is missing")
            return
        name, rows, optional = found[1], bool(found[2]), bool(found[3])
        full = f"{target}.{name}" if target else name
        full += "[]" if rows else ""
        at, node = nodes
        if not rest and isinstance(node, yaml.ScalarNode):
            got: Rule | Block | None = self.scalar(full, at, node, rows, optional)
        elif rest:
            got = self.addressed(fields.get(name), full, rest, nodes, level, rows)
        else:
            got = self.block(full, at, node, level + 1, {"rows": rows, "optional": optional})
        if got is None:
            return
        there = fields.get(name)
        if self.overlay and not rest and isinstance(there, Block) and isinstance(got, Block):
            got = _lay_block(there, got, self.mistakes)
        elif there is not None and not rest:
            self.note(at, full, "is there twice")
        fields[name] = got

    def scalar(self, full: str, at: yaml.Node, node: yaml.Node, rows: bool, optional: bool) -> Rule | None:
        rule = self.rule(full, at, node)
        removed = rule is not None and is_removal(rule)
        if removed and not self.overlay:
            self.note(at, full, "has no rule (only an overlay takes fields away)")
        elif (rows or optional) and not removed:
            self.note(at, full, "must be a block of keys (`?` of a single value belongs into its path)")
        return rule

    def addressed(
        self,
        there: Rule | Block | None,
        full: str,
        rest: str,
        nodes: tuple[yaml.Node, yaml.Node],
        level: int,
        rows: bool,
    ) -> Block:
        mark = nodes[0].start_mark
        block = there if isinstance(there, Block) else Block(full, self.file, mark.line + 1, mark.column + 1, rows=rows)
        if level >= LEVELS_MAX:
            self.note(nodes[0], full, f"blocks are nested deeper than {LEVELS_MAX}")
        elif rows and rest in ROW_KEYS:
            rule = self.rule(f"{full}.{rest}", *nodes)
            return replace(block, each=rule) if rest == "each" else replace(block, keep=rule)
        else:
            self.field(block.fields, full, rest, nodes, level + 1)
        return block

    def tables(self, node: yaml.Node) -> dict[str, dict[str, Any]]:
        return {name: self.table(name, value) for name, _, value in self.pairs(node, "tables")}

    def table(self, name: str, node: yaml.Node) -> dict[str, Any]:
        rows = {key: self.value(f"{name}.{key}", value) for key, _, value in self.pairs(node, name)}
        if not rows and isinstance(node, yaml.MappingNode):
            self.note(node, name, "the table is empty")
        return {key: value for key, value in rows.items() if value is not None}

    def value(self, key: str, node: yaml.Node) -> Any:
        """A table's value: text, number, true, false or a list of texts."""
        if isinstance(node, yaml.SequenceNode):
            if all(isinstance(one, yaml.ScalarNode) for one in node.value):
                return [one.value for one in node.value]
        elif isinstance(node, yaml.ScalarNode):
            if node.style:
                return node.value
            if node.value not in ("", "~", "null"):
                return plain_value(node.value)
        self.note(node, key, "must be text, a number, true, false or a list of texts")
        return None


def _first(key: str) -> tuple[str, str]:
    """The first name of a dotted address and the rest."""
    first, _, rest = key.partition(".")
    return (first, rest) if first and rest else (key, "")


def is_removal(rule: Rule) -> bool:
    """An empty rule: in an overlay it takes the field away."""
    return rule.source in ("", "=")


def lay(base: Source, over: Source, mistakes: Mistakes) -> Source:
    """An overlay laid over a connector's mapping, field by field."""
    for key in ("noun", "format"):
        if key in over.header and over.header[key].source != base.header[key].source:
            mistakes.at(over.header[key], f"must stay {base.header[key].source}")
    tables = {name: base.tables.get(name, {}) | over.tables.get(name, {}) for name in {**base.tables, **over.tables}}
    read = _lay_top(base.read, over.read, mistakes)
    write = _lay_top(base.write, over.write, mistakes)
    return Source(base.file, base.header | over.header, tables, read, write)


def _lay_top(base: Block | None, over: Block | None, mistakes: Mistakes) -> Block | None:
    if base is None and over is not None and over.fields:
        mistakes.at(over, "the mapping below has no such part")
    return base if base is None or over is None else _lay_block(base, over, mistakes)


def _lay_block(base: Block, over: Block, mistakes: Mistakes) -> Block:
    fields = dict(base.fields)
    for name, new in over.fields.items():
        old = fields.get(name)
        if isinstance(new, Rule) and is_removal(new):
            if fields.pop(name, None) is None:
                mistakes.at(new, "there is no such field to take away")
        elif isinstance(new, Block) and isinstance(old, Block):
            if new.rows != old.rows:
                mistakes.at(new, "is a list in one file and no list in the other")
            fields[name] = _lay_block(old, new, mistakes)
        else:
            fields[name] = new
    return replace(base, fields=fields, each=over.each or base.each, keep=over.keep or base.keep)


def number_rules(source: Source) -> tuple[Source, list[Rule]]:
    """Every rule with its number, in reading order: `read:` first."""
    found: list[Rule] = []
    read = _number_block(source.read, found) if source.read else None
    write = _number_block(source.write, found) if source.write else None
    return replace(source, read=read, write=write), found


def _number_block(block: Block, found: list[Rule]) -> Block:
    each, keep = (_number(rule, found) if rule else None for rule in (block.each, block.keep))
    fields = {
        name: _number(one, found) if isinstance(one, Rule) else _number_block(one, found)
        for name, one in block.fields.items()
    }
    return replace(block, fields=fields, each=each, keep=keep)


def _number(rule: Rule, found: list[Rule]) -> Rule:
    found.append(replace(rule, index=len(found)))
    return found[-1]


def read_zone(source: Source, mistakes: Mistakes) -> ZoneInfo:
    """The zone of times that carry none; UTC where the file says nothing."""
    rule = source.header.get("zone")
    try:
        return ZoneInfo(rule.source if rule else "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        if rule:
            mistakes.at(rule, f"there is no time zone {rule.source!r}")
        return ZoneInfo("UTC")


def read_rows(source: Source, mistakes: Mistakes) -> int:
    """How many rows a list may have."""
    rule = source.header.get("rows")
    if rule is None:
        return ROWS
    count = plain_value(rule.source)
    if type(count) is int and 1 <= count <= ROWS_MAX:
        return count
    mistakes.at(rule, f"must be a whole number from 1 to {ROWS_MAX}")
    return ROWS


def read_digits(source: Source, currencies: dict[str, Any], mistakes: Mistakes) -> int | None:
    """Decimal digits of the declared currency."""
    rule = source.header.get("currency")
    if rule is None:
        return None
    digits = currencies.get(rule.source)
    if type(digits) is not int:
        mistakes.at(rule, f"the table of currencies does not have {rule.source!r}")
        return None
    return digits


def shared_table(path: Path, mistakes: Mistakes) -> dict[str, Any]:
    """One table of `mappings/tables/`."""
    reader = _Reader(f"tables/{path.name}", mistakes, False)
    node = compose(path.read_text("utf-8"), reader.file, mistakes)
    return reader.table(path.stem, node) if node else {}


__all__ = ["Block", "Decimal", "Misconfigured", "Mistakes", "Rule", "Source", "lay", "number_rules", "parse_source"]
