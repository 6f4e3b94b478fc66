"""Fast reading of result files: a JSON text has exactly the fields of a dataclass, or it needs the slower checks."""

from __future__ import annotations

import dataclasses
import types
from functools import cache
from typing import Annotated, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from harness.base.errors import UserError
from harness.spec.later import later_fields

T = TypeVar("T")


def exactly(data: bytes, kind: type[T]) -> T | None:
    """The dataclass of a JSON text that holds exactly its fields; None if `results.codec.decode` has to decide.

    Two passes over the text replace a conversion of JSON values, an encoding and a comparison: msgspec ignores unknown
    fields of dataclasses and fills absent ones, but refuses both for its own structures.
    """
    plain: type = kind
    try:
        _closed_decoder(plain).decode(data)
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, UserError):
        return None


@cache
def _closed_decoder(kind: type) -> msgspec.json.Decoder[type]:
    return msgspec.json.Decoder(_closed(kind))


@cache
def _closed(kind: type) -> type:
    """A type hint in which each dataclass is replaced by a structure of the same fields, all of them required."""
    origin, arguments = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind, include_extras=True)
        # Files hold a later field only if it differs from its default, which only the slower checks compare.
        names = [field.name for field in dataclasses.fields(kind) if field.name not in later_fields(kind)]
        fields = [(name, _closed(hints[name])) for name in names]
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
