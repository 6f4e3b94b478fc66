"""Dataclasses to JSON values and back: one definition of a file gives reading, writing, checks and JSON Schema."""

from __future__ import annotations

import dataclasses
import math
import re
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from harness.base.errors import EXIT_FAILED, UserError

T = TypeVar("T")
_SHOWN = 80
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+|\.\.\.)\]")


class DecodeError(ValueError):
    """A JSON value that is not a valid instance of a dataclass; the text names the field, and found and expected."""


def encode(value: Any) -> dict[str, Any]:
    """A dataclass as a JSON-ready mapping with every field, defaults included."""
    return _lists(msgspec.to_builtins(value))  # type: ignore[no-any-return]


def decode(value: Any, kind: type[T]) -> T:
    """A dataclass from a JSON value that holds exactly its fields.

    Raises:
        DecodeError: A field is missing, unknown, or of another type or value.
    """
    try:
        found = msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise DecodeError(_message(str(error), value, kind)) from None
    except UserError as error:  # a dataclass of `harness.spec` checks its own values
        raise DecodeError(error.message.rstrip(".")) from None
    if not _complete(found):
        raise DecodeError(next(_absent(found)))
    try:
        # Two passes through msgspec and one comparison of builtins are faster than a walk in Python.
        written = msgspec.json.decode(msgspec.json.encode(found))
    except UnicodeEncodeError as error:
        raise DecodeError(f"the text {error.object!r:.{_SHOWN}} cannot be written as UTF-8") from None
    if written != value:
        raise DecodeError(_differing(value, encode(found)))
    return found


def read_json_file(path: Path, schema: int, again: str) -> dict[str, Any]:
    """The JSON object of a result file of this version's schema.

    Args:
        path: The file.
        schema: The schema that this version reads and writes.
        again: The command or action that makes a new file, for messages.

    Raises:
        UserError: The file cannot be read, is not a JSON object, or has another schema.
    """
    try:
        value = msgspec.json.decode(path.read_bytes())  # refuses NaN, infinity and halves of surrogate pairs
    except FileNotFoundError:
        raise UserError(f"{path} is missing, expected a JSON file of schema {schema}.", again) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{path} cannot be read: {reason}.", "Restore access to the file.", EXIT_FAILED) from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not a JSON file of schema {schema}: {error}.", again, EXIT_FAILED) from None
    if not isinstance(value, dict):
        found = type(value).__name__
        raise UserError(f"{path} holds a JSON {found}, expected an object of schema {schema}.", again, EXIT_FAILED)
    found = value.get("schema", "no schema")
    if found != schema or isinstance(found, bool):
        raise UserError(f"{path}: schema is {found!r}, expected {schema}.", again, EXIT_FAILED)
    return value


def json_schema(kind: type) -> dict[str, Any]:
    """The JSON Schema of a dataclass, with closed objects and every field required: files hold all fields."""
    schema = msgspec.json.schema(kind)
    for part in schema["$defs"].values():
        if "properties" in part:
            part["additionalProperties"] = False
            part["required"] = sorted(part["properties"])
    return schema


def _lists(value: Any) -> Any:
    """Tuples as lists, as JSON has them."""
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, (list, tuple)) else value


def _message(text: str, value: Any, kind: Any) -> str:
    """A message of msgspec as `FIELD is FOUND, expected EXPECTED`."""
    text, _, path = text.replace("`", "").partition(" - at $")
    place, value, kinds = _at(path, value, [kind])
    if text.startswith("Object missing required field "):
        name = text.rpartition(" ")[2]
        kinds = [inner for one in kinds for inner in _inner(one, name)]
        return f"{place}.{name} is missing, expected {_expected(kinds)}".removeprefix(".")
    if text.startswith("Invalid enum value"):
        expected = _expected(kinds)
    else:
        described = "" if "matching regex" not in text else _description(kinds)
        expected = described or re.sub("^Expected |, got .*$", "", text)
    return f"{place or 'the file'} is {_shown(value)}, expected {expected}"


def _expected(kinds: list[Any]) -> str:
    """Types in words: the allowed values, or the kinds of JSON value."""
    found: dict[str, None] = {}
    for one in (k for kind in kinds for k in _alternatives(kind)):
        if get_origin(one) is Literal:
            found |= dict.fromkeys(map(repr, get_args(one)))
        elif one is type(None):
            found["null"] = None
        else:
            array = get_origin(one) in (list, tuple)
            found["array" if array else one.__name__ if one in (bool, int, float, str) else "object"] = None
    return ("one of " if len(found) > 1 else "") + ", ".join(found)


def _shown(value: Any) -> str:
    """A found value in words: containers by their kind."""
    if isinstance(value, (dict, list)):
        return f"a JSON {'object' if isinstance(value, dict) else 'array'} of {len(value)}"
    return f"{value!r:.{_SHOWN}}"


def _at(path: str, value: Any, kinds: list[Any]) -> tuple[str, Any, list[Any]]:
    """Place, value and types at the path that a message of msgspec names; `[...]` stands for any key of a mapping."""
    place = ""
    for name, index in _STEP.findall(path):
        kinds = [inner for kind in kinds for inner in _inner(kind, name)]
        if index == "...":
            wrong = [key for key, item in value.items() if not any(_fits(item, kind) for kind in kinds)]
            name = wrong[0] if wrong else next(iter(value))
        value = value[int(index)] if index.isdigit() else value[name]
        place += f"[{index}]" if index.isdigit() else f".{name}"
    return place.removeprefix("."), value, kinds


def _description(kinds: list[Any]) -> str:
    """The words that an annotation has for its pattern; empty without."""
    annotations = [meta for kind in kinds if get_origin(kind) is Annotated for meta in kind.__metadata__]
    return next((str(meta.description) for meta in annotations if getattr(meta, "description", None)), "")


def _alternatives(kind: Any) -> Iterator[Any]:
    """The members of a union, without annotations."""
    if get_origin(kind) is Annotated:
        yield from _alternatives(get_args(kind)[0])
    elif get_origin(kind) in (Union, types.UnionType):
        for inner in get_args(kind):
            yield from _alternatives(inner)
    else:
        yield kind


def _inner(kind: Any, name: str) -> Iterator[Any]:
    """The types of a field of a dataclass, or of the values of a container."""
    for one in _alternatives(kind):
        if dataclasses.is_dataclass(one) and isinstance(one, type):
            if name in (hints := _hints(one)):
                yield hints[name]
        elif get_origin(one) is dict:
            yield get_args(one)[1]
        elif get_origin(one) in (list, tuple):
            yield get_args(one)[0]


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


@cache
def _fields(kind: type) -> tuple[frozenset[str], tuple[str, ...]]:
    """Names of the fields of a dataclass, and of those that hold dataclasses, alone or in a tuple."""
    holding = []
    for name, hint in _hints(kind).items():
        kinds = list(_alternatives(hint))
        items = [item for k in kinds if get_origin(k) in (list, tuple) for item in get_args(k)]
        if any(dataclasses.is_dataclass(k) for k in (*kinds, *items)):
            holding.append(name)
    return frozenset(_hints(kind)), tuple(holding)


@cache
def _parts(kind: type) -> dict[type, tuple[int, tuple[str, ...]]]:
    """For a dataclass and all dataclasses below it: how many fields it has, and which of them hold dataclasses."""
    found: dict[type, tuple[int, tuple[str, ...]]] = {}
    left = [kind]
    while left:
        if (one := left.pop()) not in found:
            names, holding = _fields(one)
            found[one] = len(names), holding
            kinds = [k for name in holding for k in _alternatives(_hints(one)[name])]
            kinds += [item for k in kinds if get_origin(k) in (list, tuple) for item in get_args(k)]
            left += [k for k in kinds if dataclasses.is_dataclass(k) and isinstance(k, type)]
    return found


def _complete(part: Any) -> bool:
    """True if every field was given. msgspec leaves a field with a plain default out of the instance."""
    kind: type = type(part)
    known = _parts(kind)
    left = [part]
    while left:
        one = left.pop()
        count, holding = known[type(one)]
        held = vars(one)
        if len(held) < count:
            return False
        for name in holding:
            value = held[name]
            if type(value) in known:
                left.append(value)
            elif isinstance(value, (list, tuple)):
                left += value
    return True


def _absent(part: Any, place: str = "") -> Iterator[str]:
    """Messages for the fields that make `_complete` false."""
    kind: type = type(part)
    names, holding = _fields(kind)
    if absent := names - vars(part).keys():
        name = min(absent)
        yield f"{place}{name} is missing, expected {_expected([_hints(kind)[name]])}"
    for name in holding:
        value = vars(part).get(name)
        for i, item in enumerate(value if isinstance(value, (list, tuple)) else (value,)):
            if dataclasses.is_dataclass(item):
                yield from _absent(item, f"{place}{name}." if item is value else f"{place}{name}[{i}].")


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _differing(value: Any, written: Any, place: str = "") -> str:
    """The first field of a value that is not as it would be written; empty if there is none."""
    if isinstance(written, dict) and isinstance(value, dict):
        start = f"{place}." if place else ""
        if unknown := sorted(set(value) - set(written)):
            return f"{start}{unknown[0]} is unknown, expected only {', '.join(written) or 'nothing'}"
        if absent := sorted(set(written) - set(value)):
            return f"{start}{absent[0]} is missing, expected {_shown(written[absent[0]])} or another value"
        return next((d for key in written if (d := _differing(value[key], written[key], f"{start}{key}"))), "")
    if isinstance(written, list) and isinstance(value, list) and len(written) == len(value):
        pairs = enumerate(zip(value, written, strict=True))
        return next((d for i, (a, b) in pairs if (d := _differing(a, b, f"{place}[{i}]"))), "")
    if isinstance(value, float) and not math.isfinite(value):
        return f"{place} is {value}, expected a finite number"
    return "" if value == written else f"{place} is {_shown(value)}, expected {_shown(written)}"
