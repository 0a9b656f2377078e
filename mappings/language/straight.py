"""The straight way: an inward JSON mapping as one schema that pydantic's core runs over the text itself.

No tree of the document is made: each field of the noun takes its value where its rule's path points, and the noun's
own constraints follow at once. Rules over several values (alternatives, sums, conditions) are finished in Python. The
straight way gives what the exact way gives or raises: whatever raises (a fault, or a document that is merely unusual)
is read again exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pydantic_core import PydanticUseDefault, SchemaValidator, ValidationError
from pydantic_core import core_schema as cs

from core.model import Model
from mappings.language.blocks import Group, Leaf, Rows
from mappings.language.combined import NOWHERE, REQUIRED, Combined, combine
from mappings.language.path import Path
from mappings.language.shape import TEXT, Shape
from mappings.language.steps import Step, run
from mappings.language.touched import Crooked, Touched, touch
from mappings.language.values import Remembered, int_of
from mappings.language.wires import straight_text

Schema = Any
"""A schema of pydantic's core, or one of its fields."""
Fields = dict[str, Any]
REFUSE_EMPTY = frozenset({"money", "int", "minor", "decimal", "time", "epoch"})
ENDLESS = 10**18
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
    config = {**schema.get("config", {}), "extra_fields_behavior": "ignore"}
    ours = {"schema": inner, "config": config}
    return {key: value for key, value in schema.items() if key not in ("ref", "metadata")} | ours


class _Noun:
    """Builds the fields of one noun."""

    def __init__(self, group: Group, prefix: tuple[str, ...]):
        self.rules = dict(group.fields)
        self.prefix = prefix
        self.sure = {prefix} | {name for one in self.rules.values() for name in _sure(one)}
        self.fields: Fields = {}
        self.touched: Touched = {}
        self.more = Combined()

    def schema(self, known: Fields) -> Schema:
        for name, field in known.items():
            self.fields[name] = self.field(name, self.rules.get(name), field["schema"])
        held = tuple((key, f"{key}\0") for key in self.touched)
        for key, name in held:
            default = cs.with_default_schema(_pruned(self.touched[key]), default=None)
            self.fields[name] = cs.model_field(default, validation_alias=key)
        fields = cs.model_fields_schema(self.fields, extra_behavior="ignore")
        helds = tuple(name for name in self.fields if name.endswith("\0"))
        after = combine(self.more, held, helds, self.prefix)
        return cs.no_info_after_validator_function(after, fields) if after else fields

    def field(self, name: str, one: Leaf | Group | Rows | None, schema: Schema) -> Schema:
        if one is None:
            return _unfound({**schema, "schema": NEVER} if schema["type"] == "default" else NEVER)
        if isinstance(one, Leaf) and one.constant is not None:
            return _unfound(cs.with_default_schema(NEVER, default=_fixed(schema, one.constant)))
        try:
            return self.leaf(name, one, schema) if isinstance(one, Leaf) else self.block(one, schema)
        except Crooked:
            touch(one, self.touched, self.prefix)
        self.more.closures.append((name, one.get, _check(schema), _default(schema)))
        return _unfound(cs.with_default_schema(NEVER, default=None))

    def leaf(self, name: str, leaf: Leaf, schema: Schema) -> Schema:
        path, steps = leaf.path, leaf.steps
        if path is None:
            raise Crooked
        if any(step.wide for step in steps):
            return self.joined(name, leaf, path, schema)
        if not path.optional:
            return cs.model_field(_converted(_bare(schema), steps), validation_alias=self.walked(path))
        return cs.model_field(_perhaps(schema, steps), validation_alias=self.walked(path))

    def joined(self, name: str, leaf: Leaf, path: Path, schema: Schema) -> Schema:
        """A rule of the common shapes `filled | or(…) | steps`, `steps | when(…)` and `step | add(…) | less(…)`."""
        shape = Shape.of(leaf)
        bare, default = _bare(schema), _default(schema)
        if shape.sums:
            self.more.sums.append((name, self.terms(shape), _range(bare), default))
            return self.part(path, cs.any_schema(), shape.steps, shape.filled, needed=not path.optional)
        if shape.only:
            at, wanted = shape.only
            self.more.conditions.append((name, self.held(at, bare, TEXT, text=True), not at.optional, wanted, default))
            needed = not path.optional
        else:
            others = tuple(self.held(one, bare, shape.steps, filled=False) for one in shape.others)
            self.more.choices.append((name, others, default if shape.others[-1].optional else REQUIRED))
            needed = False
        return self.part(path, bare, shape.steps, shape.filled, needed=needed)

    def terms(self, shape: Shape) -> tuple[tuple[str, bool, bool], ...]:
        held = [(self.held(path, cs.any_schema(), shape.steps), path, more) for path, more in shape.sums]
        return tuple((name, more, not path.optional) for name, path, more in held)

    def held(
        self, path: Path, schema: Schema, steps: tuple[Step, ...], *, text: bool = False, filled: bool = False
    ) -> str:
        """A value that only other fields need; the name under which it is held."""
        schema = cs.any_schema() if text else schema
        field = self.part(path, schema, steps, filled)
        for name, there in self.fields.items():
            if name.endswith("\0") and there == field:
                return name
        name = f"{len(self.fields)} {path.text}\0"
        self.fields[name] = field
        return name

    def part(
        self, path: Path, schema: Schema, steps: tuple[Step, ...], filled: bool, *, needed: bool = False
    ) -> Schema:
        """A value that is None where there is nothing."""
        names = self.walked(path)
        inner = _converted(schema, steps)
        if not needed:
            if filled:
                choices = inner["choices"] if inner["type"] == "union" else [inner]
                inner = cs.union_schema(_filled(choices, steps), mode="left_to_right")
            inner = cs.with_default_schema(cs.nullable_schema(inner), default=None)
        return cs.model_field(inner, validation_alias=names)

    def walked(self, path: Path) -> str | list[str | int]:
        """The names a path walks from this noun's place on."""
        start, names = len(self.prefix), [part.name for part in path.parts]
        if path.up or tuple(names[:start]) != self.prefix or len(names) == start:
            raise Crooked
        if any(part.optional for part in path.parts[:-1]) or any(part.position is not None for part in path.parts):
            raise Crooked
        if tuple(names[:-1]) not in self.sure:
            raise Crooked
        return names[start] if len(names) == start + 1 else [*names[start:]]

    def block(self, one: Group | Rows, schema: Schema) -> Schema:
        if isinstance(one, Group):
            first = _first(one, len(self.prefix))
            schema = _noun(one, _bare(schema), (*self.prefix, first))
            return cs.model_field(schema, validation_alias=first)
        each = one.each
        if one.keep or not isinstance(one.row, Group) or each.path is None or each.steps or each.path.optional:
            raise Crooked
        names, bare = self.walked(each.path), _bare(schema)
        if bare["type"] != "tuple" or len(bare["items_schema"]) != 1 or "max_length" in bare:
            raise Crooked
        rows = {**bare, "items_schema": [_noun(one.row, bare["items_schema"][0], ())], "max_length": one.rows_max}
        return cs.model_field(rows, validation_alias=names)


EMPTY = cs.chain_schema(
    [
        cs.str_schema(strict=True, strip_whitespace=True, max_length=0),
        cs.no_info_plain_validator_function(lambda value: None),
    ]
)
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


def _filled(choices: list[Schema], steps: tuple[Step, ...]) -> list[Schema]:
    """The same, where an empty text is nothing."""
    if steps[0].name == "text":
        return [_not_empty(choices[0]), *choices[1:], EMPTY]
    return [*choices, EMPTY] if steps[0].name in REFUSE_EMPTY else [EMPTY, *choices]


def _not_empty(schema: Schema) -> Schema:
    if schema["type"] == "chain":
        return {**schema, "steps": [_not_empty(schema["steps"][0]), *schema["steps"][1:]]}
    return {**schema, "min_length": max(1, schema.get("min_length") or 1)}


def _fixed(schema: Schema, value: Any) -> Any:
    """A value the mapping itself gives, as the noun takes it."""
    try:
        return _check(schema)(value)
    except ValidationError:
        raise Crooked from None


def _range(schema: Schema) -> tuple[int, int]:
    """What a sum may be."""
    if schema["type"] != "int" or not {"type", "ge", "le"} >= schema.keys():
        raise Crooked
    return schema.get("ge", -ENDLESS), schema.get("le", ENDLESS)


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


def _converted(schema: Schema, steps: tuple[Step, ...], *, leave_out: bool = False) -> Schema:
    """A value sent through the steps and held against the noun's schema."""
    if [step.name for step in steps] == ["text"]:
        return cs.union_schema([_text(schema), _number_text(schema)], mode="left_to_right")
    if [step.name for step in steps] == ["int"] and schema["type"] == "int":
        read = cs.chain_schema([cs.no_info_plain_validator_function(int_of), schema])
        return cs.union_schema([{**schema, "strict": True}, read], mode="left_to_right")
    quick = steps[0].quick if len(steps) == 1 else None
    if quick:
        return cs.no_info_plain_validator_function(_held_against(schema, quick))
    return cs.chain_schema([cs.no_info_plain_validator_function(_through(steps, leave_out=leave_out)), schema])


def _held_against(schema: Schema, quick: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A quick conversion that remembers what the noun has already taken."""
    if schema["type"] == "any":
        return quick
    check = _check(schema)
    return Remembered(lambda value: check(quick(value))).__getitem__


def _text(schema: Schema) -> Schema:
    trimmed = {"strict": True, "strip_whitespace": True}
    if schema["type"] == "str":
        return {**schema, **trimmed}
    return cs.chain_schema([{"type": "str", **trimmed}, schema])


def _number_text(schema: Schema) -> Schema:
    return cs.chain_schema([cs.int_schema(strict=True), cs.no_info_plain_validator_function(str), schema])


def _through(steps: tuple[Step, ...], *, leave_out: bool = False) -> Callable[[Any], Any]:
    """The steps as one function. leave_out: what they turn into nothing takes the noun's default."""
    calls = [(step.call, step.bare) for step in steps]

    def through(value: Any) -> Any:
        if value is None:
            raise ValueError("is empty")
        for call, bare in calls:
            if value is not None or bare:
                value = call(value)
        if value is not None:
            return value
        if leave_out:
            raise PydanticUseDefault
        raise ValueError("is nothing")

    return through


def _perhaps(schema: Schema, steps: tuple[Step, ...]) -> Schema:
    """The same for a value that may be absent or null."""
    instead = run(steps, None, None, NOWHERE)
    if instead is not None:
        instead = _fixed(schema, instead)
        schema = cs.with_default_schema(_bare(schema), default=instead)
        nothing = cs.no_info_plain_validator_function(lambda value: instead)
    elif schema["type"] != "default":
        return _converted(schema, steps)
    else:
        nothing = cs.no_info_plain_validator_function(_use_default)
    inner = _converted(schema["schema"], steps, leave_out=instead is None)
    choices = inner["choices"] if inner["type"] == "union" else [inner]
    absent = cs.chain_schema([cs.none_schema(), nothing])
    return {**schema, "schema": cs.union_schema([*choices, absent], mode="left_to_right")}


def _use_default(value: None) -> None:
    raise PydanticUseDefault
