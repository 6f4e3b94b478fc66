"""Dataclasses to JSON values and back: one definition of a file gives reading, writing, checks and JSON Schema."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

import msgspec
from msgspec import inspect

from harness.base.errors import EXIT_FAILED, UserError
from harness.spec.later import later_fields
from results.codec_messages import (
    SHOWN,
    JsonLike,
    JsonObject,
    JsonValue,
    alternatives,
    difference,
    expected_text,
    invalid_text,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = [
    "DecodeError",
    "JsonLike",
    "JsonObject",
    "JsonValue",
    "decode",
    "encode",
    "json_object",
    "json_schema",
    "read_file",
    "read_json_file",
    "to_json",
]

T = TypeVar("T")


class _Part(NamedTuple):
    """The fields of a dataclass that a check of completeness needs."""

    required: int
    later: frozenset[str]
    holding: tuple[str, ...]


_Parts: TypeAlias = dict[type, _Part]


class DecodeError(ValueError):
    """A JSON value that is not a valid instance of a dataclass; the text names the field, and found and expected."""


def encode(value: DataclassInstance) -> JsonObject:
    """A dataclass as a JSON-ready mapping with every field, defaults included, but without later fields at default."""
    plain: JsonObject = msgspec.to_builtins(value)
    entries: JsonObject = {name: _lists(entry) for name, entry in plain.items()}
    # After the conversion: the default of a later field is compared as JSON, where () is [].
    _drop_later(entries, type(value))
    return entries


def to_json(value: object) -> JsonValue:
    """Any value made of dataclasses, mappings, sequences and plain values, JSON-ready."""
    plain: JsonValue = msgspec.to_builtins(value)
    return _lists(plain)


def decode(value: JsonValue, kind: type[T]) -> T:
    """A dataclass from a JSON value that holds exactly its fields.

    Raises:
        DecodeError: A field is missing, unknown, or of another type or value.
    """
    try:
        decoded = msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise DecodeError(invalid_text(str(error), value, _type_of(kind))) from None
    except UserError as error:  # a dataclass of `harness.spec` checks its own values
        raise DecodeError(error.message.rstrip(".")) from None
    if not _complete(decoded):
        raise DecodeError(next(_absent(decoded, _type_of(kind))))
    try:
        # `convert` ignores unknown fields: only JSON that is equal after writing has exactly the fields.
        # Two passes through msgspec and one comparison of builtins are faster than a walk in Python.
        written = msgspec.json.decode(msgspec.json.encode(decoded))
        _drop_later(written, kind)
    except UnicodeEncodeError as error:
        raise DecodeError(f"the text {error.object!r:.{SHOWN}} cannot be written as UTF-8") from None
    if written != value:
        raise DecodeError(difference(value, written))
    return decoded


def read_json_file(path: Path, schema: int, again: str) -> JsonObject:
    """The JSON object of a result file of this version's schema.

    Args:
        path: The file.
        schema: The schema that this version reads and writes.
        again: The command or action that makes a new file, for messages.

    Raises:
        UserError: The file cannot be read, is not a JSON object, or has another schema.
    """
    return json_object(read_file(path, schema, again), path, schema, again)


def read_file(path: Path, schema: int, again: str) -> bytes:
    """The bytes of a result file; arguments and errors as in `read_json_file`."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is missing, expected a JSON file of schema {schema}.", again) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{path} cannot be read: {reason}.", "Restore access to the file.", EXIT_FAILED) from None


def json_object(data: bytes, path: Path, schema: int, again: str) -> JsonObject:
    """The JSON object in the bytes of a result file; other arguments and errors as in `read_json_file`."""
    try:
        value = msgspec.json.decode(data)  # refuses NaN, infinity and halves of surrogate pairs
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not a JSON file of schema {schema}: {error}.", again, EXIT_FAILED) from None
    if not isinstance(value, dict):
        found = type(value).__name__
        raise UserError(f"{path} holds a JSON {found}, expected an object of schema {schema}.", again, EXIT_FAILED)
    found = value.get("schema", "no schema")
    if found != schema or isinstance(found, bool):
        raise UserError(f"{path}: schema is {found!r}, expected {schema}.", again, EXIT_FAILED)
    return value


def json_schema(kind: type) -> JsonObject:
    """The JSON Schema of a dataclass, with closed objects; all fields but later fields are required."""
    schema = msgspec.json.schema(kind)
    optional = {cls.__name__: part.later for cls, part in _parts(kind).items()}
    for part in schema["$defs"].values():
        if "properties" in part:
            part["additionalProperties"] = False
            part["required"] = sorted(part["properties"].keys() - optional.get(part["title"], frozenset()))
    return schema


def _lists(value: JsonValue) -> JsonValue:
    """Tuples as lists, as JSON has them."""
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, (list, tuple)) else value


def _drop_later(value: JsonValue, kind: type) -> None:
    """Remove the later fields that have their default from the JSON value of a dataclass, in place."""
    for path, defaults in _later_paths(kind):
        for holder in _at(value, path):
            for name, default in defaults.items():
                # In Python, False equals 0, and True equals 1.
                if name in holder and holder[name] == default and isinstance(holder[name], bool) == (
                    isinstance(default, bool)
                ):
                    del holder[name]


def _at(value: JsonValue, path: tuple[str, ...]) -> Iterator[JsonObject]:
    """The JSON objects at a path of names; items of lists are entered."""
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _at(item, path)
    elif isinstance(value, dict):
        if not path:
            yield value
        elif path[0] in value:
            yield from _at(value[path[0]], path[1:])


@cache
def _later_paths(kind: type) -> tuple[tuple[tuple[str, ...], JsonObject], ...]:
    """Paths of the dataclasses with later fields below a dataclass, and the defaults of these fields as JSON."""
    paths: dict[tuple[str, ...], JsonObject] = {}
    left: list[tuple[tuple[str, ...], inspect.Type]] = [((), _type_of(kind))]
    while left:
        path, part = left.pop()
        if not isinstance(part, inspect.DataclassType):
            continue
        later = later_fields(part.cls)
        if later:
            paths[path] = {f.name: _lists(msgspec.to_builtins(f.default)) for f in part.fields if f.name in later}
        left += [((*path, field.name), held) for field in part.fields for held in _held(field)]
    return tuple(paths.items())


# --- completeness: msgspec leaves a field with a plain default out of the instance instead of refusing its absence


def _type_of(kind: type) -> inspect.Type:
    return _info_of(kind)


@cache
def _info_of(kind: type) -> inspect.Type:
    return inspect.type_info(kind)


def _held(field: inspect.Field) -> list[inspect.DataclassType]:
    """The dataclasses that a field holds, alone or in a tuple or list."""
    kinds = list(alternatives(field.type))
    items = [k.item_type for k in kinds if isinstance(k, (inspect.ListType, inspect.VarTupleType))]
    items += [item for k in kinds if isinstance(k, inspect.TupleType) for item in k.item_types]
    kinds += [k for item in items for k in alternatives(item)]
    return [k for k in kinds if isinstance(k, inspect.DataclassType)]


@cache
def _parts(kind: type) -> _Parts:
    """For a dataclass and all dataclasses below it, the fields that a check of completeness needs."""
    parts: _Parts = {}
    left = [_type_of(kind)]
    while left:
        part = left.pop()
        if isinstance(part, inspect.DataclassType) and part.cls not in parts:
            held = {field.name: _held(field) for field in part.fields}
            holding, later = tuple(name for name, kinds in held.items() if kinds), later_fields(part.cls)
            parts[part.cls] = _Part(len(held.keys() - later), later, holding)
            left += [k for kinds in held.values() for k in kinds]
    return parts


def _complete(part: T) -> bool:
    """True if every field but later fields was given."""
    kind: type = type(part)
    known = _parts(kind)
    left = [part]
    while left:
        current = left.pop()
        fields = known[type(current)]
        values = vars(current)
        if len(values) - sum(name in values for name in fields.later) < fields.required:
            return False
        for name in fields.holding:
            if name not in values:  # a later field
                continue
            value = values[name]
            if type(value) in known:
                left.append(value)
            elif isinstance(value, (list, tuple)):
                left += value
    return True


def _absent(part: T, kind: inspect.Type, prefix: str = "") -> Iterator[str]:
    """Messages for the fields that make `_complete` false."""
    if not isinstance(kind, inspect.DataclassType):
        return
    fields = {field.name: field for field in kind.fields}
    if absent := fields.keys() - vars(part).keys() - later_fields(kind.cls):
        name = min(absent)
        yield f"{prefix}{name} is missing, expected {expected_text([fields[name].type])}"
    for name, field in fields.items():
        kinds = {held.cls: held for held in _held(field)}
        value = vars(part).get(name)
        for i, item in enumerate(value if isinstance(value, (list, tuple)) else (value,)):
            if type(item) in kinds:
                inner = f"{prefix}{name}." if item is value else f"{prefix}{name}[{i}]."
                yield from _absent(item, kinds[type(item)], inner)
