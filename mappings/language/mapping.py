"""One mapping, loaded and compiled: documents in, nouns out, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Mapping as Links
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from core.errors import Fault, Misconfigured, Unfit, Unmatched
from core.model import INWARD, OUTWARD, Model
from mappings.language import wires
from mappings.language.blocks import Compiler, Group, Notes, shorten
from mappings.language.check import (
    FORMATS,
    Block,
    Mistakes,
    Rule,
    Source,
    lay,
    number_rules,
    parse_source,
    read_digits,
    read_rows,
    read_zone,
    shared_table,
)
from mappings.language.nouns import check_paths, check_targets, personal_fields
from mappings.language.path import Mistake, Scope, Wrong, quick_walk
from mappings.language.rule import Parsed
from mappings.language.steps import Setting
from mappings.language.straight import straight
from mappings.language.values import Clock
from mappings.language.write import check_written

TABLES = Path(__file__).parent.parent / "tables"
NO_LINKS: Links[tuple[str, str], str] = {}


@dataclass(frozen=True)
class Overlay:
    """A merchant's changes to a mapping: where they are kept, and their text."""

    file: str
    text: str


class Asked(dict[tuple[str, str], str]):
    """Links that answer every question with a stand-in and remember it."""

    def get(self, key: tuple[str, str], default: Any = None) -> Any:
        self[key] = key[1]
        return key[1]


class Mapping:
    """The meaning of one noun of one connector. Made by `load`."""

    def __init__(self, source: Source, tables: Path, mistakes: Mistakes, flip: int | None = None):
        self._source, self._rules = number_rules(source)
        self._tables = tables
        self.file = source.file
        self.noun = source.header["noun"].source
        self.format = source.header["format"].source
        self.reads, self.writes = source.read is not None, source.write is not None
        self.model = INWARD.get(self.noun) if self.reads else None
        self._outward = OUTWARD.get(self.noun)
        self._kinds: set[str] = set()
        setting = self._setting(mistakes)
        self._read = self._compile(self._source.read, setting(True), mistakes, flip)
        self._write = self._compile(self._source.write, setting(False), mistakes, flip)
        self.link_kinds = frozenset(self._kinds)
        self._straight = self._straight_way()
        self._places = dict(_places(self._source.read)) if self._source.read else {}

    def _setting(self, mistakes: Mistakes) -> Any:
        clock, tables = Clock(read_zone(self._source, mistakes)), self._table_finder(mistakes)
        digits = read_digits(self._source, tables("currencies") if "currency" in self._source.header else {}, mistakes)
        inward_walk = partial(quick_walk, one_is_list=self.format == "xml")
        return lambda inward: Setting(inward, clock, digits, tables, inward_walk if inward else quick_walk)

    def _table_finder(self, mistakes: Mistakes) -> Any:
        def find(name: str) -> Any:
            if name in self._source.tables:
                return self._source.tables[name]
            table = _shared(self._tables, name)
            if table is None:
                raise Mistake(f"there is no table {name!r}, neither in this file nor in mappings/tables/")
            return table

        return find

    def _compile(self, block: Block | None, setting: Setting, mistakes: Mistakes, flip: int | None) -> Group | None:
        if block is None:
            return None
        inward = setting.inward
        personal = personal_fields(self.model if inward else self._outward)
        compiler = Compiler(
            setting,
            mistakes,
            read_rows(self._source, mistakes),
            one_is_list=inward and self.format == "xml",
            plain_row=inward or self.format != "xml",
            flip=flip,
            private=lambda rule, parsed: _first_name(rule, parsed, inward) in personal,
            kinds=self._kinds,
        )
        group = compiler.block(block)
        if flip is None:
            self._check_noun(block, inward, compiler.parsed, mistakes)
        return group

    def _straight_way(self) -> Callable[[bytes], Model] | None:
        ready = self.format == "json" and self._read and self.model and not self.link_kinds
        return straight(self._read, self.model) if ready else None  # type: ignore[arg-type]

    def _check_noun(self, block: Block, inward: bool, parsed: dict[int, Parsed], mistakes: Mistakes) -> None:
        model = self.model if inward else self._outward
        if model is None:
            nouns = ", ".join(INWARD if inward else OUTWARD)
            noun = self._source.header["noun"]
            mistakes.at(noun, f"no noun {noun.source!r} is {'read' if inward else 'written'}: use one of {nouns}")
        elif inward:
            check_targets(block, model, mistakes)
        else:
            check_paths(block, [model], parsed, mistakes)
            check_written(block, self._source.header["format"], mistakes)

    def rules(self) -> list[Rule]:
        """Every rule with its place, in order; its position is what `mutated` takes."""
        return list(self._rules)

    def mutated(self, n: int) -> Mapping:
        """The same mapping with the path of its n-th rule ending in a name that no document has."""
        return Mapping(self._source, self._tables, Mistakes(), flip=n)

    def parse(self, body: bytes) -> Any:
        """A body as a tree; raises Unfit when it is no text of this format."""
        try:
            return wires.parse(body, self.format)
        except wires.Unreadable as error:
            raise Unfit(f"{self.file}: {error}") from None

    def links(self, trees: Iterable[Any]) -> set[tuple[str, str]]:
        """(kind, their ref) of everything these inward trees name by `link`."""
        return self._asked(self._read, trees)

    def wanted(self, value: Model | dict[str, Any]) -> set[tuple[str, str]]:
        """(kind, our id) of everything this outward value names by `link`."""
        return self._asked(self._write, [_values(value)])

    def _asked(self, group: Group | None, trees: Iterable[Any]) -> set[tuple[str, str]]:
        asked = Asked()
        if group and self.link_kinds:
            for tree in trees:
                group.collect(tree, Scope(None, None, asked), "", Notes())
        return set(asked)

    def read(self, body: Any, links: Links[tuple[str, str], str] = NO_LINKS) -> Model:
        """A body (bytes) or its tree as the canonical noun; raises Unfit with all faults, or Unmatched."""
        if self.model is None:
            raise Misconfigured(f"{self.file}: this mapping does not read")
        if self._straight and type(body) is bytes:
            try:
                return self._straight(body)
            except Exception:  # a fault or an unusual document: the exact way tells them apart
                pass
        values = self._read_body(body, links) if type(body) is bytes else self.read_values(body, links)
        try:
            return self.model.__pydantic_validator__.validate_python(values)  # type: ignore[no-any-return]
        except ValidationError as error:
            faults = tuple(self._fault(one) for one in error.errors(include_url=False))
            raise self._unfit("read", faults) from None

    def _read_body(self, body: bytes, links: Links[tuple[str, str], str]) -> dict[str, Any]:
        """From text: JSON by the quick decoder first; whatever that cannot do exactly is done again, exactly."""
        if self.format == "json" and self._read:
            try:
                return self._read.get(wires.quick_json(body), Scope(None, None, links))  # type: ignore[no-any-return]
            except Exception:  # a fault, a number with a point, or no JSON: the exact way tells them apart
                pass
        return self.read_values(self.parse(body), links)

    def read_values(self, tree: Any, links: Links[tuple[str, str], str] = NO_LINKS) -> dict[str, Any]:
        """The mapping step alone: canonical values before pydantic has seen them."""
        return self._run(self._read, tree, links, "read")

    def write(self, value: Model | dict[str, Any], links: Links[tuple[str, str], str] = NO_LINKS) -> Any:
        """A canonical value as a tree of the wire: dicts and lists, or an lxml element."""
        tree = self._run(self._write, _values(value), links, "written")
        return wires.element_of(tree) if self.format == "xml" else tree

    def render(self, tree: Any) -> bytes:
        """A written tree as the text that travels."""
        try:
            return wires.render(tree, self.format)
        except Wrong as wrong:
            raise Unfit(f"{self.file}: the document cannot be written: a value {wrong.why}") from None
        except UnicodeEncodeError:
            raise Unfit(f"{self.file}: the document cannot be written: a text holds half a character") from None

    def _run(self, group: Group | None, tree: Any, links: Any, verb: str) -> dict[str, Any]:
        if group is None:
            raise Misconfigured(f"{self.file}: this mapping cannot be {verb}")
        try:
            return group.get(tree, Scope(None, None, links))  # type: ignore[no-any-return]
        except Exception:  # the careful form repeats it and finds the words, or lets a bug of ours through
            return self._explain(group, tree, links, verb)

    def _explain(self, group: Group, tree: Any, links: Any, verb: str) -> dict[str, Any]:
        notes = Notes()
        values = group.collect(tree, Scope(None, None, links), "", notes)
        if notes.faults:
            raise self._unfit(verb, tuple(notes.faults))
        if notes.unlinked:
            first = notes.unlinked[0]
            raise Unmatched(first.kind, first.ref)
        return values  # type: ignore[no-any-return]

    def _unfit(self, verb: str, faults: tuple[Fault, ...]) -> Unfit:
        return Unfit(f"this {self.noun} cannot be {verb}", faults)

    def _fault(self, error: Any) -> Fault:
        """A pydantic error as a fault of the rule that filled the field."""
        where = "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in error["loc"]).lstrip(".")
        place = self._place([str(one) for one in error["loc"] if not isinstance(one, int)])
        notes = Notes()
        private = str(error["loc"][0]) in personal_fields(self.model) if error["loc"] else False
        value = None if error["type"] == "missing" else error["input"]
        notes.fault(place, where, error["msg"], value, private)
        return notes.faults[0]

    def _place(self, names: list[str]) -> Rule | Block:
        while names:
            found = self._places.get(".".join(names))
            if found:
                return found
            names.pop()
        return self._places[""]


def _first_name(rule: Rule, parsed: Parsed, inward: bool) -> str:
    if inward:
        return rule.target.partition(".")[0]
    return parsed.path.parts[0].name if parsed.path and parsed.path.parts else ""


def _places(block: Block) -> Iterable[tuple[str, Rule | Block]]:
    yield block.target.replace("[]", ""), block
    for one in block.fields.values():
        if isinstance(one, Block):
            yield from _places(one)
        else:
            yield one.target.replace("[]", "").removesuffix(".."), one


def _values(value: Model | dict[str, Any]) -> dict[str, Any]:
    return value.model_dump() if isinstance(value, Model) else value


@cache
def _shared(tables: Path, name: str) -> dict[str, Any] | None:
    path = tables / f"{name}.yaml"
    if not name.isidentifier() or not path.is_file():
        return None
    mistakes = Mistakes()
    table = shared_table(path, mistakes)
    mistakes.settle()
    return table


def shown(path: Path) -> str:
    """A mapping file's name as messages show it."""
    parts = path.parts
    return "/".join(parts[parts.index("mappings") :]) if "mappings" in parts else path.name


def load(path: Path, *, overlay: Overlay | None = None, tables: Path = TABLES) -> Mapping:
    """Load, check and compile a mapping file, with a merchant's overlay laid over it; raises Misconfigured."""
    mistakes = Mistakes()
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{shown(path)}:1: file: cannot be read: {error.__class__.__name__}") from None
    source = parse_source(text, shown(path), mistakes)
    if overlay:
        mistakes.settle()
        source = lay(source, parse_source(overlay.text, overlay.file, mistakes, overlay=True), mistakes)
        mistakes.settle()
    form = source.header.get("format")
    if form and form.source not in FORMATS:
        mistakes.at(form, f"must be one of {', '.join(FORMATS)}")
    if not {"noun", "format"} <= source.header.keys() or (source.read is None and source.write is None):
        mistakes.settle()
    mapping = Mapping(source, tables, mistakes)
    mistakes.settle()
    return mapping


__all__ = ["Mapping", "Overlay", "load", "shorten"]
