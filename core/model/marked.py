"""YAML files whose every key knows its line, so that a configuration error can name file, line and key."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from core.errors import Misconfigured

M = TypeVar("M", bound=BaseModel)
Place = tuple[int, int]
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
NESTING_MAX = 40


def read_yaml(path: Path) -> tuple[Any, dict[tuple[str | int, ...], Place]]:
    """The file's value, and for every key path the (line, column) where it stands, both from 1."""
    text = path.read_text(encoding="utf-8")
    loader = LOADER(text)
    try:
        check_nesting(text)
        node = loader.get_single_node()
        places: dict[tuple[str | int, ...], Place] = {}
        if node is not None:
            _mark(node, (), places)
        return (loader.construct_document(node) if node is not None else {}), places
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise Misconfigured(f"{path.name}:{line}: not readable as YAML: {getattr(error, 'problem', error)}") from None
    finally:
        loader.dispose()


def check_nesting(text: str) -> None:
    """Refuse what would go too deep for the composer, which recurses (libyaml's ends the process); YAMLError."""
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > NESTING_MAX:
            raise yaml.YAMLError(f"blocks are nested deeper than {NESTING_MAX}")


def _mark(node: Any, key: tuple[str | int, ...], places: dict[tuple[str | int, ...], Place]) -> None:
    places.setdefault(key, (node.start_mark.line + 1, node.start_mark.column + 1))
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            places[(*key, name.value)] = (name.start_mark.line + 1, name.start_mark.column + 1)
            _mark(value, (*key, name.value), places)
    elif isinstance(node, yaml.SequenceNode):
        for n, value in enumerate(node.value):
            _mark(value, (*key, n), places)


def read_model(path: Path, model: type[M]) -> M:
    """The file as a validated model; raises Misconfigured with file, line and key of every mistake."""
    value, places = read_yaml(path)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise Misconfigured("; ".join(_mistakes(path, error, places))) from None


def _mistakes(path: Path, error: ValidationError, places: dict[tuple[str | int, ...], Place]) -> list[str]:
    lines = []
    for mistake in error.errors():
        loc = tuple(mistake["loc"])
        known = loc
        while known and known not in places:
            known = known[:-1]
        line = places.get(known, (1, 1))[0]
        lines.append(f"{path.name}:{line}: {'.'.join(map(str, loc))}: {mistake['msg']}")
    return lines
