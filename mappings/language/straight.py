"""The straight way: an inward JSON mapping as one schema that pydantic's core runs over the text itself.

No tree of the document is made: each field of the noun takes its value where its rule's path points, and the noun's own
constraints follow at once. What rules say beyond one path (alternatives, sums, conditions) is computed by the rules' own
closures over the few values they look at. The straight way gives what the exact way gives or raises: whatever raises
(a fault, or a document that is merely unusual) is read again exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pydantic_core import PydanticUseDefault, SchemaValidator
from pydantic_core import core_schema as cs

from core.model import Model
from mappings.language.blocks import Group, Leaf, Rows
from mappings.language.path import Path, Scope
from mappings.language.steps import Step, run
from mappings.language.touched import Crooked, Touched, touch
from mappings.language.values import int_of
from mappings.language.wires import straight_text

Schema = Any
"""A schema of pydantic's core, or one of its fields."""
Fields = dict[str, Any]
Aside = tuple[str, Callable[[Any, Any], Any], Callable[[Any], Any], Any]
"""(field, its closure over the values it looks at, the noun's check, the noun's default or REQUIRED)"""
NOWHERE = Scope(None, None, {})
REQUIRED: Any = object()
WRAPPERS = ("default", "nullable", "function-after")


class Never:
    """Nothing in a document is one of these."""


def straight(group: Group, model: type[Model]) -> Callable[[bytes], Any] | None:
    """A mapping's way from JSON text to its noun, or None where its rules allow none."""
    try:
        schema = _noun(group, model.__pydantic_core_schema__, ())
    except Crooked:
        return None
    validate = SchemaValidator(schema, None, _use_prebuilt=False).validate_json

    def read(body: bytes) -> Any:
        straight_text(body)
        return validate(body)

    return read


def _noun(group: Group, schema: Schema, prefix: tuple[str, ...]) -> Schema:
    """The noun's schema with every field taken from where its rule points. prefix: the names already walked."""
    if schema["type"] in WRAPPERS:
        return {**schema, "schema": _noun(group, schema["schema"], prefix)}
    if schema["type"] != "model" or schema["schema"]["type"] != "model-fields" or schema.get("custom_init"):
        raise Crooked
    inner = _Noun(group, prefix).schema(schema["schema"]["fields"])
    return {key: value for key, value in schema.items() if key not in ("ref", "metadata")} | {"schema": inner}


class _Noun:
    """Builds the fields of one noun."""

    def __init__(self, group: Group, prefix: tuple[str, ...]):
        self.rules = dict(group.fields)
        self.prefix = prefix
        self.sure = {name for one in self.rules.values() for name in _sure(one)}
        self.fields: Fields = {}
        self.touched: Touched = {}
        self.aside: list[Aside] = []
        self.always: list[str] = []

    def schema(self, known: Fields) -> Schema:
        for name, field in known.items():
            self.fields[name] = self.field(name, self.rules.get(name), field["schema"])
        names = tuple((key, f"{key}\0") for key in self.touched)
        for key, held in names:
            default = cs.with_default_schema(_pruned(self.touched[key]), default=None)
            self.fields[held] = cs.model_field(default, validation_alias=key)
        fields = cs.model_fields_schema(self.fields)
        if not self.aside:
            return fields
        return cs.no_info_after_validator_function(finish(names, self.aside, self.prefix), fields)

    def field(self, name: str, one: Leaf | Group | Rows | None, schema: Schema) -> Schema:
        if one is None:
            return _unfound({**schema, "schema": NEVER} if schema["type"] == "default" else NEVER)
        if isinstance(one, Leaf) and one.constant is not None:
            return _unfound(cs.with_default_schema(NEVER, default=_check(schema)(one.constant)))
        try:
            return self.leaf(one, schema) if isinstance(one, Leaf) else self.block(one, schema)
        except Crooked:
            touch(one, self.touched, self.prefix)
        default = _default(schema)
        self.aside.append((name, one.get, _check(schema), default))
        return _unfound(cs.with_default_schema(NEVER, default=None))

    def leaf(self, leaf: Leaf, schema: Schema) -> Schema:
        path, steps = leaf.path, leaf.steps
        if path is None or any(step.wide for step in steps):
            raise Crooked
        names = self.walked(path)
        if not path.optional:
            schema = _converted(_bare(schema), steps)
        elif path.parts[:-1] and tuple(part.name for part in path.parts[:-1]) not in self.sure:
            raise Crooked
        else:
            schema = _perhaps(schema, steps)
        return cs.model_field(schema, validation_alias=names)

    def walked(self, path: Path) -> list[str | int]:
        """The names a path walks from this noun's place on."""
        start, names = len(self.prefix), [part.name for part in path.parts]
        if path.up or tuple(names[:start]) != self.prefix or len(names) == start:
            raise Crooked
        if any(part.position is not None or part.optional for part in path.parts[:-1]):
            raise Crooked
        if path.parts[-1].position is not None:
            raise Crooked
        return [*names[start:]]

    def block(self, one: Group | Rows, schema: Schema) -> Schema:
        if isinstance(one, Group):
            first = _first(one, len(self.prefix))
            schema = _noun(one, _bare(schema), (*self.prefix, first))
            return cs.model_field(schema, validation_alias=first)
        if one.keep or not isinstance(one.row, Group) or one.each.path is None or one.each.steps or one.each.path.optional:
            raise Crooked
        names, bare = self.walked(one.each.path), _bare(schema)
        if bare["type"] != "tuple" or len(bare["items_schema"]) != 1 or "max_length" in bare:
            raise Crooked
        rows = {**bare, "items_schema": [_noun(one.row, bare["items_schema"][0], ())], "max_length": one.rows_max}
        return cs.model_field({**rows, "strict": False}, validation_alias=names)


NEVER = cs.is_instance_schema(Never)


def _unfound(schema: Schema) -> Schema:
    """A field that no name in a document fills."""
    return cs.model_field(schema, validation_alias="\0")


def _sure(one: Leaf | Group | Rows) -> Iterator[tuple[str, ...]]:
    """The objects that stand in every document this rule reads without a fault."""
    leaf = one.each if isinstance(one, Rows) else one
    if isinstance(leaf, Leaf):
        path = leaf.path
        if path and not path.up and not path.optional and all(part.position is None for part in path.parts):
            names = tuple(part.name for part in path.parts)
            yield from (names[:end] for end in range(1, len(names)))
    elif isinstance(leaf, Group) and not leaf.optional:
        for _, inner in leaf.fields:
            yield from _sure(inner)


def _first(group: Group, at: int) -> str:
    """The one name through which all paths of a block lead."""
    found: Touched = {}
    touch(group, found, ())
    names: Any = found
    for _ in range(at):
        (names,) = names.values()
    if group.optional or not isinstance(names, dict) or len(names) != 1 or not isinstance([*names.values()][0], dict):
        raise Crooked
    return str(*names)


def _bare(schema: Schema) -> Schema:
    return schema["schema"] if schema["type"] == "default" else schema


def _check(schema: Schema) -> Callable[[Any], Any]:
    return SchemaValidator(schema).validate_python


def _default(schema: Schema) -> Any:
    if schema["type"] != "default":
        return REQUIRED
    if "default" not in schema or schema.get("validate_default"):
        raise Crooked
    return schema["default"]


def _pruned(touched: Touched | None) -> Schema:
    """A part of the document, of its names only those that rules look at."""
    if touched is None:
        return cs.any_schema()
    if [*touched] == ["[]"]:
        return cs.list_schema(_pruned(touched["[]"]))
    fields = {name: cs.typed_dict_field(_pruned(one), required=False) for name, one in touched.items()}
    return cs.typed_dict_schema(fields)


def _converted(schema: Schema, steps: tuple[Step, ...]) -> Schema:
    """A value sent through the steps and held against the noun's schema."""
    if [step.name for step in steps] == ["text"]:
        return cs.union_schema([_text(schema), _number_text(schema)], mode="left_to_right")
    if [step.name for step in steps] == ["int"] and schema["type"] == "int":
        read = cs.chain_schema([cs.no_info_plain_validator_function(int_of), schema])
        return cs.union_schema([{**schema, "strict": True}, read], mode="left_to_right")
    only = steps[0] if len(steps) == 1 else None
    call = only.quick if only and only.quick else _through(steps)
    return cs.chain_schema([cs.no_info_plain_validator_function(call), schema])


def _text(schema: Schema) -> Schema:
    trimmed = {"strict": True, "strip_whitespace": True}
    if schema["type"] == "str":
        return {**schema, **trimmed}
    return cs.chain_schema([{"type": "str", **trimmed}, schema])


def _number_text(schema: Schema) -> Schema:
    return cs.chain_schema([cs.int_schema(strict=True), cs.no_info_plain_validator_function(str), schema])


def _through(steps: tuple[Step, ...]) -> Callable[[Any], Any]:
    calls = [(step.call, step.bare) for step in steps]

    def through(value: Any) -> Any:
        if value is None:
            raise ValueError("is empty")
        for call, bare in calls:
            if value is not None or bare:
                value = call(value)
        if value is None:
            raise PydanticUseDefault
        return value

    return through


def _perhaps(schema: Schema, steps: tuple[Step, ...]) -> Schema:
    """The same for a value that may be absent or null."""
    instead = run(steps, None, None, NOWHERE)
    if instead is not None:
        instead = _check(schema)(instead)
        schema = cs.with_default_schema(_bare(schema), default=instead)
    elif schema["type"] != "default":
        return _converted(schema, steps)
    inner = _converted(schema["schema"], steps)
    nothing = cs.chain_schema([cs.none_schema(), cs.no_info_plain_validator_function(_use_default)])
    choices = inner["choices"] if inner["type"] == "union" else [inner]
    return {**schema, "schema": cs.union_schema([*choices, nothing], mode="left_to_right")}


def _use_default(value: None) -> None:
    raise PydanticUseDefault


def finish(names: tuple[tuple[str, str], ...], aside: list[Aside], prefix: tuple[str, ...]) -> Callable[[Any], Any]:
    """What follows once a noun's fields are there: the rules that look at more than one value."""

    def finished(found: Any) -> Any:
        values = found[0]
        node: Any = {key: values.pop(held) for key, held in names}
        for name in prefix:
            node = {name: node}
        for name, get, check, default in aside:
            value = get(node, NOWHERE)
            if value is not None:
                values[name] = check(value)
            elif default is REQUIRED:
                raise ValueError(f"{name} is missing")
            else:
                values[name] = default
        return found

    return finished
