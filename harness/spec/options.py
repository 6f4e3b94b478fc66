"""Typed options of a method: declared as dataclass fields with help, parsed from the command line, part of identity."""

from __future__ import annotations

import ast
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, get_args, get_origin

from harness.base.errors import UserError, unknown_name


@dataclass(frozen=True)
class MethodOptions:
    """Base class of a method's options; a method without options uses it as it is."""

    def as_dict(self) -> dict[str, Any]:
        """Option values by name, JSON-ready; part of a fit's and an eval's identity."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def option(default: Any, help: str, choices: tuple[Any, ...] = ()) -> Any:
    """A dataclass field for `MethodOptions` with a help text and, optionally, the allowed values."""
    return field(default=default, metadata={"help": help, "choices": choices})


def split_method(text: str) -> tuple[str, dict[str, str]]:
    """The name and the raw option values of `name` or `name:key=value,key=value`.

    Values may be quoted (`template='a video of {}'`), so that they can hold commas and colons.
    """
    name, _, rest = text.partition(":")
    values: dict[str, str] = {}
    for part in _split_quoted(rest):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise UserError(
                f"Option {part!r} of method {name!r} is not key=value.", "Write e.g. vificlip:template='a {}'."
            )
        values[key.strip()] = value.strip().strip("'\"")
    return name.strip(), values


def _split_quoted(text: str) -> list[str]:
    """Parts of a comma-separated text; commas inside quotes do not separate."""
    parts, current, quote = [], "", ""
    for char in text:
        if quote:
            quote = "" if char == quote else quote
            current += char
        elif char in "'\"":
            quote = char
            current += char
        elif char == ",":
            parts.append(current)
            current = ""
        else:
            current += char
    if quote:
        raise UserError(f"The quote {quote} in {text!r} is not closed.")
    return [part.strip() for part in [*parts, current] if part.strip()]


def build_options(options_type: type[MethodOptions], values: Mapping[str, Any], method: str) -> MethodOptions:
    """The options of a method from raw values (text from the command line, or typed values from Python).

    Raises:
        UserError: An unknown option (with the nearest), a value of the wrong type, or one that is not allowed.
    """
    hints = typing.get_type_hints(options_type)
    known = {f.name: f for f in fields(options_type)}
    typed: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            error = unknown_name(f"option of {method}", key, known)
            raise UserError(
                error.message, f"Options: {', '.join(known) or 'none'}. See: python -m harness show {method}"
            )
        converted = _convert(value, hints[key], f"{method}:{key}")
        choices = known[key].metadata.get("choices") or ()
        if choices and converted not in choices:
            raise UserError(f"Option {method}:{key} is {converted!r}, expected one of {', '.join(map(repr, choices))}.")
        typed[key] = converted
    return options_type(**typed)


def _convert(value: Any, hint: Any, where: str) -> Any:
    """`value` as the type of its field; text is parsed."""
    origin = get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None or (isinstance(value, str) and value.lower() == "none"):
            return None
        hint = next(a for a in get_args(hint) if a is not type(None))
        origin = get_origin(hint)
    try:
        if origin is tuple:
            items = ast.literal_eval(value) if isinstance(value, str) else value
            return tuple(items)
        if hint is bool:
            if isinstance(value, bool):
                return value
            return {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}[str(value).lower()]
        if hint is int and isinstance(value, float) and not value.is_integer():
            raise ValueError("not a whole number")
        typed = hint(value)
        if isinstance(typed, float) and not math.isfinite(typed):
            raise ValueError("not finite")
        return typed
    except (ValueError, TypeError, KeyError, SyntaxError):
        raise UserError(f"Option {where} is {value!r}, expected {getattr(hint, '__name__', hint)}.") from None
