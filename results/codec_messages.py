"""Messages on invalid JSON values: the field, the value found and the value expected.

msgspec reports `Expected int, got str - at $.measurement.engine`. A user of the harness needs the name of the field and
the value found: `measurement.engine is 'one', expected int`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import msgspec
from msgspec import inspect

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
JsonObject: TypeAlias = dict[str, JsonValue]
JsonLike: TypeAlias = "bool | int | float | str | Sequence[JsonLike] | Mapping[str, JsonLike] | None"
"""A value that can be written as JSON, with tuples for arrays."""
SHOWN = 80
"""Characters of a found value in a message."""
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_SCALARS: dict[type[inspect.Type], str] = {
    inspect.BoolType: "bool", inspect.IntType: "int", inspect.FloatType: "float", inspect.StrType: "str",
    inspect.NoneType: "null", inspect.ListType: "array", inspect.TupleType: "array", inspect.VarTupleType: "array",
}  # fmt: skip


def invalid_text(text: str, value: JsonValue, kind: inspect.Type) -> str:
    """A message of msgspec as `FIELD is FOUND, expected EXPECTED`.

    Args:
        text: Message of `msgspec.ValidationError`.
        value: The JSON value that was converted.
        kind: The type to which it was converted.
    """
    text, _, path = text.replace("`", "").partition(" - at $")
    field_path, wrong_value, kinds = _at(path, value, [kind])
    if text.startswith("Object missing required field "):
        name = text.rpartition(" ")[2]
        kinds = [inner for outer in kinds for inner in _inner(outer, name)]
        return f"{field_path}.{name} is missing, expected {expected_text(kinds)}".removeprefix(".")
    if text.startswith("Invalid enum value"):  # msgspec does not name the allowed values
        expected = expected_text(kinds)
    else:
        described = "" if "matching regex" not in text else _description(kinds)
        expected = described or re.sub("^Expected |, got .*$", "", text)
    return f"{field_path or 'the file'} is {_shown(wrong_value)}, expected {expected}"


def expected_text(kinds: Iterable[inspect.Type]) -> str:
    """Types in words: the allowed values, or the kinds of JSON value."""
    words: dict[str, None] = {}
    for kind in (alternative for outer in kinds for alternative in alternatives(outer)):
        if isinstance(kind, inspect.LiteralType):
            words |= dict.fromkeys(map(repr, kind.values))
        else:
            words[_SCALARS.get(type(kind), "object")] = None
    return ("one of " if len(words) > 1 else "") + ", ".join(words)


def difference(value: JsonValue, written: JsonValue, field_path: str = "") -> str:
    """The first field of a value that differs from the value as it would be written; empty if there is none."""
    if isinstance(written, dict) and isinstance(value, dict):
        start = f"{field_path}." if field_path else ""
        if unknown := sorted(set(value) - set(written)):
            return f"{start}{unknown[0]} is unknown, expected only {', '.join(written) or 'nothing'}"
        if absent := sorted(set(written) - set(value)):
            return f"{start}{absent[0]} is missing, expected {_shown(written[absent[0]])} or another value"
        return next((d for key in written if (d := difference(value[key], written[key], f"{start}{key}"))), "")
    if isinstance(written, list) and isinstance(value, list) and len(written) == len(value):
        pairs = enumerate(zip(value, written, strict=True))
        return next((d for i, (a, b) in pairs if (d := difference(a, b, f"{field_path}[{i}]"))), "")
    if isinstance(value, float) and not math.isfinite(value):
        return f"{field_path} is {value}, expected a finite number"
    return "" if value == written else f"{field_path} is {_shown(value)}, expected {_shown(written)}"


def alternatives(kind: inspect.Type) -> Iterator[inspect.Type]:
    """The members of a union, without annotations."""
    if isinstance(kind, inspect.Metadata):
        yield from alternatives(kind.type)
    elif isinstance(kind, inspect.UnionType):
        for member in kind.types:
            yield from alternatives(member)
    else:
        yield kind


def _shown(value: JsonValue) -> str:
    """A found value in words: containers by their kind."""
    if isinstance(value, (dict, list)):
        return f"a JSON {'object' if isinstance(value, dict) else 'array'} of {len(value)}"
    return f"{value!r:.{SHOWN}}"


def _at(path: str, value: JsonValue, kinds: list[inspect.Type]) -> tuple[str, JsonValue, list[inspect.Type]]:
    """Field, value and types at the path that a message of msgspec names; `[...]` stands for any key of a mapping."""
    field_path = ""
    for name, index in _STEP.findall(path):
        kinds = [inner for kind in kinds for inner in _inner(kind, name)]
        if index.isdigit() and isinstance(value, list):
            value = value[int(index)]
            field_path += f"[{index}]"
        elif isinstance(value, dict):
            if index == "...":
                wrong = [key for key, item in value.items() if not any(_fits(item, kind) for kind in kinds)]
                name = wrong[0] if wrong else next(iter(value))
            value = value[name]
            field_path += f".{name}"
    return field_path.removeprefix("."), value, kinds


def _description(kinds: Iterable[inspect.Type]) -> str:
    """The words that an annotation has for its pattern; empty without."""
    extras = [kind.extra_json_schema or {} for kind in kinds if isinstance(kind, inspect.Metadata)]
    return next((str(extra["description"]) for extra in extras if "description" in extra), "")


def _inner(kind: inspect.Type, name: str) -> Iterator[inspect.Type]:
    """The type of a field of a dataclass, or of the values of a container."""
    for alternative in alternatives(kind):
        if isinstance(alternative, inspect.DataclassType):
            yield from (field.type for field in alternative.fields if field.name == name)
        elif isinstance(alternative, inspect.DictType):
            yield alternative.value_type
        elif isinstance(alternative, (inspect.ListType, inspect.VarTupleType)):
            yield alternative.item_type
        elif isinstance(alternative, inspect.TupleType):
            yield alternative.item_types[0]


def _fits(value: JsonValue, kind: inspect.Type) -> bool:
    """True if a value of a mapping has one of the JSON kinds of a type."""
    return any(_is_kind(value, alternative) for alternative in alternatives(kind))


def _is_kind(value: JsonValue, kind: inspect.Type) -> bool:
    if isinstance(kind, inspect.LiteralType):
        return value in kind.values
    if isinstance(kind, (inspect.ListType, inspect.TupleType, inspect.VarTupleType)):
        return isinstance(value, list) and all(any(_fits(item, k) for k in _inner(kind, "")) for item in value)
    if isinstance(kind, inspect.FloatType):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(kind, inspect.IntType):
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(kind, inspect.NoneType):
        return value is None
    if isinstance(kind, inspect.DataclassType):
        return _converts(value, kind.cls)
    return isinstance(value, {inspect.BoolType: bool, inspect.StrType: str}.get(type(kind), dict))


def _converts(value: JsonValue, kind: type) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True
