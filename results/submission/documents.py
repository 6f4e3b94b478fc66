"""JSON files of a submission: writer, and strict reader that refuses repeated keys, infinities and deep nesting."""

from __future__ import annotations

import json
import math

from results.codec import JsonObject, JsonValue

LARGEST = 2**53
"""Largest whole number; readers that parse numbers as doubles, such as JavaScript, round larger ones."""
DEPTH = 24
"""Largest depth of nesting: `_walk` and the parser are recursive."""
LONGEST = 20_000
"""Largest length of a text in characters."""
MOST_VALUES = 60_000
"""Largest number of values of a JSON file: checks of millions of values would stop the checker."""
_CONTROLS = (*range(9), 11, 12, *range(14, 32), 127)
_DIRECTIONS = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_HIDDEN = frozenset(map(chr, (*_CONTROLS, *_DIRECTIONS)))
"""Invisible characters, and characters that change the reading direction."""


class DocumentError(ValueError):
    """A JSON file that is refused by the rule `rule`."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


def read_json(data: bytes, most_values: int = MOST_VALUES) -> JsonObject:
    """Parse the object of a JSON file.

    Args:
        data: Content of the file.
        most_values: Largest number of values, counted at all levels.

    Raises:
        DocumentError: F009 if the data is not a JSON object, or has too many values, levels or characters in a text;
            F012 if a number is not finite.
    """
    # Every value but the first of an object or array follows a comma or a colon, which texts can contain, too.
    if data.count(b",") + data.count(b":") > 4 * most_values:
        raise DocumentError("F009", f"more than {most_values} values")
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_number,
            parse_int=_whole,
        )  # fmt: skip
    except DocumentError:
        raise
    except (ValueError, RecursionError) as error:
        raise DocumentError("F009", f"{type(error).__name__}: {error}") from None
    if not isinstance(value, dict):
        raise DocumentError("F009", f"a JSON {type(value).__name__}, not an object")
    # After the parser: limits on depth and texts need the values.
    if _walk(value, 0) > most_values:
        raise DocumentError("F009", f"more than {most_values} values")
    return value


def json_bytes(value: JsonValue) -> bytes:
    """The JSON form of all files of a submission."""
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _pairs(pairs: list[tuple[str, JsonValue]]) -> JsonObject:
    members: JsonObject = {}
    for key, value in pairs:
        if key in members:
            raise DocumentError("F009", f"the key {key[:80]!r} twice")
        members[key] = value
    return members


def _constant(text: str) -> float:
    raise DocumentError("F012", text)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise DocumentError("F012", f"the number {text[:40]}")
    return value


def _whole(text: str) -> int:
    # The length is checked first: parsing millions of digits takes quadratic time.
    if len(text) > 17 or abs(int(text)) > LARGEST:
        raise DocumentError("F012", f"the number {text[:40]}")
    return int(text)


def _walk(value: JsonValue, depth: int) -> int:
    """Refuse deep nesting, long texts and invisible characters; returns the number of values."""
    if depth > DEPTH:
        raise DocumentError("F009", f"more than {DEPTH} levels")
    count = 1
    if isinstance(value, dict):
        for key, item in value.items():
            _text(key)
            count += _walk(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            count += _walk(item, depth + 1)
    elif isinstance(value, str):
        _text(value)
    return count


def _text(text: str) -> None:
    if len(text) <= LONGEST and text.isascii() and text.isprintable():
        return  # nearly every text; the tests of single characters are slow
    if len(text) > LONGEST:
        raise DocumentError("F009", f"a text of {len(text)} characters")
    if not _HIDDEN.isdisjoint(text) or any("\ud800" <= c <= "\udfff" for c in text):
        raise DocumentError("F009", f"control characters in {text[:60]!r}")
