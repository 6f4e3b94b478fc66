"""Dataclasses to JSON values and back: one definition of a file gives reading, writing, checks and JSON Schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from harness.base.errors import EXIT_FAILED, UserError

T = TypeVar("T")
_SHOWN = 80


class DecodeError(ValueError):
    """A JSON value that is not a valid instance of a dataclass; the text names the place, and found and expected."""


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
    except (msgspec.ValidationError, UserError) as error:  # a dataclass of `harness.spec` checks its own values
        message = error.message if isinstance(error, UserError) else str(error)
        raise DecodeError(f"{message.replace('`', '')}{_found(value, message)}") from None
    if differing := _differing(value, encode(found)):
        raise DecodeError(differing)
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
        text = path.read_text(encoding="utf-8")
        value = json.loads(text)
        if "\\ud" in text.lower():  # half of a surrogate pair is valid JSON, but cannot be written again
            json.dumps(value, ensure_ascii=False).encode()
    except FileNotFoundError:
        raise UserError(f"{path} is missing.", again) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {error}.", again, EXIT_FAILED) from None
    if not isinstance(value, dict):
        raise UserError(f"{path} holds a JSON {type(value).__name__}, expected an object.", again, EXIT_FAILED)
    found = value.get("schema")
    if found != schema or isinstance(found, bool):
        raise UserError(f"{path} has schema {found!r}, this version reads schema {schema}.", again, EXIT_FAILED)
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


def _found(value: Any, message: str) -> str:
    """The value at the place that a message of msgspec ends with, in words."""
    place = message.partition(" - at `$")[2].rstrip("`")
    for step in place.replace("[", ".").replace("]", "").split(".") if place else ():
        try:
            value = value[int(step)] if isinstance(value, list) else value[step] if step else value
        except (KeyError, IndexError, TypeError, ValueError):
            return ""
    return f", found {value!r:.{_SHOWN}}" if place and not isinstance(value, (dict, list)) else ""


def _differing(value: Any, written: Any, place: str = "$") -> str:
    """The first place where a value is not what would be written for it; empty if there is none."""
    if isinstance(written, dict) and isinstance(value, dict):
        if unknown := sorted(set(value) - set(written)):
            return f"Unknown field {unknown[0]} - at {place}"
        if absent := sorted(set(written) - set(value)):
            return f"Missing field {absent[0]} - at {place}"
        return next((d for key in written if (d := _differing(value[key], written[key], f"{place}.{key}"))), "")
    if isinstance(written, list) and isinstance(value, list) and len(written) == len(value):
        pairs = enumerate(zip(value, written, strict=True))
        return next((d for i, (a, b) in pairs if (d := _differing(a, b, f"{place}[{i}]"))), "")
    return "" if value == written else f"Expected {written!r:.{_SHOWN}}, got {value!r:.{_SHOWN}} - at {place}"
