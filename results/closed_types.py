"""Fast reading of result files: a JSON text has exactly the fields of a dataclass, or it needs the slower checks."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from harness.base.errors import UserError
from harness.spec.later import later_fields

T = TypeVar("T")
Reader = Callable[[bytes], Any]
"""A function that reads a JSON text."""
KEPT = 512
"""Number of texts of a field whose values are kept: the records of a row, and those of a list, share most of theirs."""
_DEPTH = 2
"""Levels of dataclasses that are read field by field: a record and its measurement."""


def exactly(data: bytes, kind: type[T]) -> T | None:
    """The dataclass of a JSON text that holds exactly its fields; None if `results.codec.decode` has to decide.

    Equal texts of a field give the same object, also in several results: its mappings must not be changed in place.
    """
    plain: type = kind
    try:
        value: T = _reader(plain)(data)
    except (msgspec.DecodeError, ValueError, RecursionError, UserError):
        return None
    return value


@cache
def _reader(kind: type, depth: int = _DEPTH) -> Reader:
    """A function that reads the closed text of a type hint."""
    if depth and dataclasses.is_dataclass(kind) and _nested(kind):
        return _by_fields(kind, depth)
    closed: msgspec.json.Decoder[type] = msgspec.json.Decoder(_closed(kind))
    given: msgspec.json.Decoder[type] = msgspec.json.Decoder(kind)

    def whole(data: bytes) -> Any:
        # Two passes over the text replace a conversion of JSON values, an encoding and a comparison: msgspec ignores
        # unknown fields of dataclasses and fills absent ones, but refuses both for its own structures.
        closed.decode(data)
        return given.decode(data)

    return whole


def _by_fields(kind: type, depth: int) -> Reader:
    """A function that reads a dataclass and keeps the values of its fields by their text."""
    hints = get_type_hints(kind, include_extras=True)
    names = _required(kind)
    raw = {name for name in names if _composite(hints[name])}
    fields = [(name, msgspec.Raw if name in raw else hints[name]) for name in names]
    split = msgspec.json.Decoder(msgspec.defstruct(kind.__name__, fields, forbid_unknown_fields=True))
    readers = [(name, lru_cache(maxsize=KEPT)(_reader(hints[name], depth - 1))) for name in names if name in raw]

    def by_fields(data: bytes) -> Any:
        texts = split.decode(data)
        values = {name: getattr(texts, name) for name in names}
        for name, read in readers:
            values[name] = read(bytes(values[name]))
        return kind(**values)

    return by_fields


def _nested(kind: type) -> bool:
    """Whether a field of a dataclass is a dataclass."""
    return any(dataclasses.is_dataclass(hint) for hint in get_type_hints(kind).values())


def _composite(hint: type) -> bool:
    """Whether values of a type hint are JSON objects or arrays."""
    if get_origin(hint) is Annotated:
        return _composite(get_args(hint)[0])
    return hint not in (str, bool, int, float) and get_origin(hint) is not Literal


def _required(kind: type) -> list[str]:
    """Names of the fields that every file holds.

    Files hold a later field only if it differs from its default, which only the slower checks compare.
    """
    return [field.name for field in dataclasses.fields(kind) if field.name not in later_fields(kind)]


@cache
def _closed(kind: type) -> type:
    """A type hint in which each dataclass is replaced by a structure of the same fields, all of them required."""
    origin, arguments = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind, include_extras=True)
        fields = [(name, _closed(hints[name])) for name in _required(kind)]
        return msgspec.defstruct(kind.__name__, fields, forbid_unknown_fields=True)
    if origin is None or origin is Literal:
        return kind
    if origin is Annotated:
        inner: type = Annotated[(_closed(arguments[0]), *arguments[1:])]
        return inner
    closed = tuple(hint if hint is ... else _closed(hint) for hint in arguments)
    if origin in (Union, types.UnionType):
        union: type = Union[closed]  # type: ignore[assignment]  # noqa: UP007
        return union
    rebuilt: type = origin[closed]
    return rebuilt
