"""Holds a mapping's targets and paths against the canonical nouns before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

from core.model import Model, Party
from mappings.language.check import Block, Mistakes, Rule
from mappings.language.path import Path
from mappings.language.rule import Parsed

PERSONAL = frozenset({"buyer", "note"})
"""Fields outside a party that may hold a person's words or name."""

Shape = Any
"""A Model class, a (rows of) shape tuple, or None for a plain value."""


class Many:
    """The shape of a list: what its rows are."""

    def __init__(self, row: type[Model] | None):
        self.row = row


def shape_of(annotation: Any) -> type[Model] | Many | None:
    """What a field holds: another noun, a list, or a plain value."""
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        found = [shape_of(one) for one in get_args(annotation)]
        return next((one for one in found if one is not None), None)
    if origin in (tuple, list):
        row = shape_of(get_args(annotation)[0])
        return Many(row if isinstance(row, type) else None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, Model) else None


def check_targets(block: Block, model: type[Model], mistakes: Mistakes) -> None:
    """Every target is a field of the noun, in its shape; every required field has a rule."""
    for name, one in block.fields.items():
        known = model.model_fields.get(name)
        if known is None:
            mistakes.at(one, f"{model.__name__} has no field {name!r}: it has {', '.join(model.model_fields)}")
        else:
            _check_target(one, shape_of(known.annotation), mistakes)
    for name, known in model.model_fields.items():
        if known.is_required() and name not in block.fields:
            mistakes.at(block, f"the required field {name!r} of {model.__name__} has no rule")


def _check_target(one: Rule | Block, shape: type[Model] | Many | None, mistakes: Mistakes) -> None:
    if isinstance(one, Rule):
        if isinstance(shape, type) or (isinstance(shape, Many) and shape.row):
            mistakes.at(one, "is made of fields: write a block of rules")
    elif one.rows != isinstance(shape, Many):
        why = "is a list: write it with []" if isinstance(shape, Many) else "is no list: write it without []"
        mistakes.at(one, why)
    elif isinstance(shape, Many):
        _check_rows(one, shape, mistakes)
    elif shape is None:
        mistakes.at(one, "is a plain value: write one rule")
    else:
        check_targets(one, shape, mistakes)


def _check_rows(block: Block, shape: Many, mistakes: Mistakes) -> None:
    if shape.row:
        check_targets(block, shape.row, mistakes)
    elif set(block.fields) != {"."}:
        mistakes.at(block, "is a list of plain values: its only rule is named `.`")


def check_paths(block: Block, stack: list[Shape], parsed: Mapping[int, Parsed], mistakes: Mistakes) -> None:
    """Every path of a written block leads to a field of the noun."""
    inside = stack
    if block.each:
        row = _lead(block.each, stack, parsed, mistakes)
        inside = [*stack, row.row if isinstance(row, Many) else row]
    if block.keep:
        _lead(block.keep, inside, parsed, mistakes)
    for one in block.fields.values():
        if isinstance(one, Rule):
            _lead(one, inside, parsed, mistakes)
        else:
            check_paths(one, inside, parsed, mistakes)


def _lead(rule: Rule, stack: list[Shape], parsed: Mapping[int, Parsed], mistakes: Mistakes) -> Shape:
    """The shape a rule's path leads to; a name the noun lacks is a mistake."""
    found = parsed.get(rule.index)
    if found is None or found.path is None or found.path.up >= len(stack):
        return None
    try:
        return _follow(found.path, stack[len(stack) - 1 - found.path.up])
    except LookupError as error:
        mistakes.at(rule, str(error.args[0]))
        return None


def _follow(path: Path, shape: Shape) -> Shape:
    for part in path.parts:
        if isinstance(shape, Many):
            if part.position is None:
                raise LookupError(f"{part.name!r} is looked for in a list: use each, or a position")
            shape = shape.row
        elif shape is None:
            raise LookupError(f"{part.name!r} is looked for in a plain value")
        elif part.name not in shape.model_fields:
            raise LookupError(f"{shape.__name__} has no field {part.name!r}: it has {', '.join(shape.model_fields)}")
        else:
            shape = shape_of(shape.model_fields[part.name].annotation)
    return shape


def personal_fields(model: type[Model] | None) -> frozenset[str]:
    """Top fields of a noun whose values no message may show."""
    fields = model.model_fields if model else {}
    parties = {name for name, known in fields.items() if shape_of(known.annotation) is Party}
    return frozenset(parties) | (PERSONAL & set(fields))
