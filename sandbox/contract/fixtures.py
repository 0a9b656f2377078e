"""Fixtures: pairs of a wire text and its canonical value, and whether the mapping turns one into the other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl

from lxml import etree
from pydantic import BaseModel, ConfigDict, RootModel, ValidationError

from connectors.registry import Connector
from connectors.spi import Mark
from core.errors import Unfit, YipanError
from core.model import INWARD, OUTWARD, Model
from core.model.marked import read_model
from mappings.language import load

SHELVES = ("built", "held")


class ContractFault(AssertionError):
    """The connector breaks the contract; the text says where and how."""


class Entry(BaseModel):
    """One line of `index.yaml`. links: kind → our id → their ref, for mappings that link."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    noun: str
    direction: Literal["read", "write"]
    document: str
    canonical: str
    fact: str
    mark: Mark
    links: dict[str, dict[str, str]] = {}


class Index(RootModel[tuple[Entry, ...]]):
    """`index.yaml` as a whole."""


@dataclass(frozen=True)
class Fixture:
    """One pair on one shelf: `built` was looked at while the mapping was written, `held` was not."""

    shelf: str
    folder: Path
    entry: Entry

    @property
    def name(self) -> str:
        """`built/order.1.json`, as people look for it."""
        return f"{self.shelf}/{self.entry.document}"

    @property
    def document(self) -> bytes:
        """The wire text."""
        return (self.folder / self.entry.document).read_bytes()

    @property
    def canonical(self) -> Model:
        """What it stands for; raises ContractFault where that is no such noun."""
        nouns = INWARD if self.entry.direction == "read" else OUTWARD
        if self.entry.noun not in nouns:
            raise ContractFault(f"{self.name}: {self.entry.noun!r} is no noun to {self.entry.direction}")
        try:
            return nouns[self.entry.noun].model_validate_json((self.folder / self.entry.canonical).read_bytes())
        except ValidationError as error:
            raise ContractFault(f"{self.shelf}/{self.entry.canonical}: {error}") from None


def fixtures(connector: Connector, direction: str = "", noun: str = "", shelf: str = "") -> list[Fixture]:
    """The connector's fixtures, narrowed where asked; raises ContractFault where a shelf has no index."""
    found = [f for name in SHELVES if shelf in ("", name) for f in _shelf(connector, name)]
    return [f for f in found if direction in ("", f.entry.direction) and noun in ("", f.entry.noun)]


def _shelf(connector: Connector, shelf: str) -> list[Fixture]:
    folder = connector.mappings / "fixtures" / shelf
    if not (folder / "index.yaml").exists():
        raise ContractFault(f"mappings/{connector.name}/fixtures/{shelf}/index.yaml is missing: list its fixtures")
    return [Fixture(shelf, folder, entry) for entry in read_model(folder / "index.yaml", Index).root]


def mapping(connector: Connector, noun: str) -> Any:
    """The compiled mapping of a noun; raises ContractFault where there is no file."""
    path = connector.mappings / f"{noun}.yaml"
    if not path.exists():
        raise ContractFault(f"mappings/{connector.name}/{noun}.yaml is missing")
    return load(path)


def differs(fixture: Fixture, compiled: Any) -> str:
    """How the mapping's result differs from the fixture; "" when it is exactly that."""
    try:
        return (_read_differs if fixture.entry.direction == "read" else _write_differs)(fixture, compiled)
    except ContractFault:
        raise
    except YipanError as error:
        return f"{fixture.name}: {error}"


def _read_differs(fixture: Fixture, compiled: Any) -> str:
    expected, actual = fixture.canonical, compiled.read(fixture.document, Links(fixture.entry.links, inward=True))
    if expected == actual:
        return ""
    return f"{fixture.name}: {_first_difference(expected.model_dump(mode='json'), actual.model_dump(mode='json'))}"


def _write_differs(fixture: Fixture, compiled: Any) -> str:
    actual = compiled.render(written(fixture, compiled))
    one, other = comparable(fixture.document, compiled.format), comparable(actual, compiled.format)
    return "" if one == other else f"{fixture.name}: {_first_difference(one, other)}"


def written(fixture: Fixture, compiled: Any) -> Any:
    """What the write mapping makes of the fixture's canonical value."""
    return compiled.write(fixture.canonical, Links(fixture.entry.links, inward=False))


class Links(Mapping[Any, str]):
    """The links a fixture names, both ways; a kind it does not name is linked to itself."""

    def __init__(self, links: Mapping[str, Mapping[str, str]], *, inward: bool) -> None:
        pairs = ((kind, ours, theirs) for kind, table in links.items() for ours, theirs in table.items())
        self._known = {(k, theirs if inward else ours): ours if inward else theirs for k, ours, theirs in pairs}
        self._kinds = set(links)

    def __getitem__(self, key: Any) -> str:
        return self._known[key] if key[0] in self._kinds else str(key[1])

    def __iter__(self) -> Any:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def comparable(text: bytes, form: str) -> Any:
    """The wire text without what the wire ignores: order of JSON keys, space between XML elements."""
    if form == "json":
        return json.loads(text, parse_float=Decimal)
    if form == "xml":
        return _tree(etree.fromstring(text))
    return parse_qsl(text.decode(), keep_blank_values=True) if form == "form" else text


def _tree(element: Any) -> Any:
    inside = [_tree(child) for child in element if isinstance(child.tag, str)]
    text = (element.text or "").strip()
    return {"element": element.tag, "attributes": dict(element.attrib), "text": text, "inside": inside}


def _first_difference(expected: Any, actual: Any, place: str = "") -> str:
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key in [*expected, *(k for k in actual if k not in expected)]:
            if expected.get(key, Unfit) != actual.get(key, Unfit):
                return _first_difference(expected.get(key, "nothing"), actual.get(key, "nothing"), f"{place}.{key}")
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        for n, (one, other) in enumerate(zip(expected, actual, strict=True)):
            if one != other:
                return _first_difference(one, other, f"{place}.{n}")
    return f"{place.lstrip('.') or 'the whole'} should be {_short(expected)} and is {_short(actual)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
