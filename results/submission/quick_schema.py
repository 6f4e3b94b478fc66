"""Quick check of JSON values against the JSON Schemas of submissions.

`jsonschema` names the wrong field of a file, but resolves every reference anew and takes milliseconds for a record.
Nearly all files match, so their schemas are compiled once to functions that only answer yes or no. A function may
answer no for a value that matches (`1.0` as an integer, a keyword that this module does not know); `jsonschema` then
decides. It never answers yes for a value that does not match.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

from results.codec import JsonObject, JsonValue

Check: TypeAlias = Callable[[JsonValue], bool]
_WORDS = frozenset({"title", "description", "default", "$defs"})
"""Keywords that restrict nothing."""


def compile_schema(schema: JsonObject) -> Check:
    """A function that returns True only for values that match a schema.

    Args:
        schema: A JSON Schema whose references all point to its `$defs`.
    """
    parts: dict[str, Check] = {}
    definitions = schema.get("$defs")
    for name, definition in definitions.items() if isinstance(definitions, dict) else ():
        parts[f"#/$defs/{name}"] = _compile(definition, parts)
    return _compile(schema, parts)


def _never(value: JsonValue) -> bool:
    return False


def _compile(schema: JsonValue, parts: dict[str, Check]) -> Check:
    """The function of a schema; `parts` holds the functions of references by the time that values are checked."""
    if not isinstance(schema, dict):
        return _never
    keywords = {name: entry for name, entry in schema.items() if name not in _WORDS}
    match keywords:
        case {"$ref": str(target)} if len(keywords) == 1:
            return lambda value: parts.get(target, _never)(value)
        case {"anyOf": list(schemas)} if len(keywords) == 1:
            return _any_of([_compile(entry, parts) for entry in schemas])
        case {"enum": list(values)} if len(keywords) == 1 and all(isinstance(entry, str) for entry in values):
            return lambda value: isinstance(value, str) and value in values
        case {"type": str(kind)}:
            return _typed(kind, {name: entry for name, entry in keywords.items() if name != "type"}, parts)
    return _never


def _any_of(checks: Sequence[Check]) -> Check:
    return lambda value: any(check(value) for check in checks)


def _typed(kind: str, limits: JsonObject, parts: dict[str, Check]) -> Check:
    """The function of a schema with a type and the other keywords `limits`."""
    match kind:
        case "null" if not limits:
            return lambda value: value is None
        case "boolean" if not limits:
            return lambda value: isinstance(value, bool)
        case "integer" | "number":
            return _number((int,) if kind == "integer" else (int, float), limits)
        case "string":
            return _string(limits)
        case "array":
            return _array(limits, parts)
        case "object":
            return _object(limits, parts)
    return _never


def _number(kinds: tuple[type, ...], limits: JsonObject) -> Check:
    low, high = limits.get("minimum", float("-inf")), limits.get("maximum", float("inf"))
    if not limits.keys() <= {"minimum", "maximum"} or not isinstance(low, (int, float)):
        return _never
    if not isinstance(high, (int, float)):
        return _never
    # In Python, True is an int: compare the exact type.
    return lambda value: type(value) in kinds and isinstance(value, (int, float)) and low <= value <= high


def _string(limits: JsonObject) -> Check:
    longest, pattern = limits.get("maxLength"), limits.get("pattern")
    if limits.keys() == {"maxLength"} and isinstance(longest, int):
        return lambda value: isinstance(value, str) and len(value) <= longest
    if limits.keys() == {"pattern"} and isinstance(pattern, str):
        search = re.compile(pattern).search
        return lambda value: isinstance(value, str) and search(value) is not None
    return _never


def _array(limits: JsonObject, parts: dict[str, Check]) -> Check:
    fewest, most = limits.get("minItems", 0), limits.get("maxItems")
    if not isinstance(fewest, int):
        return _never
    match limits:
        case {"prefixItems": list(schemas), "items": False} if most == fewest == len(schemas) and len(limits) == 4:
            checks = [_compile(entry, parts) for entry in schemas]
            return lambda value: (
                isinstance(value, list)
                and len(value) == len(checks)
                and all(check(item) for check, item in zip(checks, value, strict=True))
            )
        case {"items": dict(schema)} if limits.keys() <= {"items", "minItems"}:
            check = _compile(schema, parts)
            return lambda value: isinstance(value, list) and len(value) >= fewest and all(map(check, value))
    return _never


def _object(limits: JsonObject, parts: dict[str, Check]) -> Check:
    match limits:
        case {"properties": dict(fields), "required": list(required), "additionalProperties": False} if (
            len(limits) == 3 and fields.keys() == set(required)
        ):
            checks = {name: _compile(entry, parts) for name, entry in fields.items()}
            return lambda value: (
                isinstance(value, dict)
                and value.keys() == checks.keys()
                and all(check(value[name]) for name, check in checks.items())
            )
        case {"additionalProperties": dict(entry), "propertyNames": dict(name)} if len(limits) == 2:
            check, named = _compile(entry, parts), _compile({"type": "string", **name}, parts)
            return lambda value: (
                isinstance(value, dict) and all(map(named, value)) and all(map(check, value.values()))
            )
    return _never
