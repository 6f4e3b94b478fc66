"""Typed options of a method: dataclass fields with help, read from the command line and stored in measurements."""

from __future__ import annotations

import ast
import contextlib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import EllipsisType
from typing import TypeVar, get_args, get_origin

from harness.base.errors import UserError, near_hint, unknown_setting
from harness.base.files import cached_file_sha256

PlainValue = bool | int | float | str | None
OptionValue = PlainValue | tuple[PlainValue, ...]
"""Value of an option, as measurements hold it too."""
Bounds = tuple[float | None, float | None]
"""Smallest and largest number; None for no bound."""
UnusedWith = Mapping[str, tuple[PlainValue, ...] | EllipsisType]
"""Values of other options by name; an ellipsis for all values but the default."""
T = TypeVar("T")


@dataclass(frozen=True)
class MethodOptions:
    """Base class of a method's options; a method without options uses it as it is."""

    def as_dict(self) -> dict[str, OptionValue]:
        """Option values by name as measurements hold them: a file by the sha256 of its content, not by its path.

        Raises:
            UserError: An option names a file that does not exist.
        """
        values: dict[str, OptionValue] = {f.name: getattr(self, f.name) for f in fields(self)}
        for f in fields(self):
            if file := f.metadata.get("file"):
                values[f.name] = _recorded_file(f.name, str(values[f.name]), () if file is True else file)
        return values


def option(
    default: T,
    help: str,
    choices: tuple[T, ...] = (),
    file: bool | tuple[str, ...] = False,
    evaluation_only: bool = False,
    bounds: Bounds = (None, None),
    unused_with: UnusedWith | None = None,
) -> T:
    """A dataclass field for `MethodOptions`.

    Args:
        default: Value if the user gives none.
        help: Text for `show`.
        choices: Allowed values; any value if empty.
        file: Whether the value is the path of a file, which is recorded by its sha256, or may be a name. A tuple allows
            paths and the words in it.
        evaluation_only: Whether the option changes scores and leaves fits as they are: another value does not refit.
        bounds: Smallest and largest allowed number; None for no bound.
        unused_with: Values of other options with which this option has no effect, by name; `...` for all values but
            the default. There a value other than the default is refused, so that equal results never stand in two rows.
    """
    metadata = {
        "help": help, "choices": choices, "file": file, "evaluation_only": evaluation_only, "bounds": bounds,
        "unused_with": unused_with or {},
    }  # fmt: skip
    return field(default=default, metadata=metadata)


def bounds_text(bounds: Bounds) -> str:
    """The bounds of a number in words; empty without bounds."""
    least, most = bounds
    if least is not None and most is not None:
        return f"from {least:g} to {most:g}"
    return f"at least {least:g}" if least is not None else f"at most {most:g}" if most is not None else ""


def unused_conditions(unused_with: UnusedWith) -> tuple[str, ...]:
    """The values of other options with which an option has no effect: `form=maxi`, or `words given` for any value."""
    conditions: list[str] = []
    for name, values in unused_with.items():
        given = [f"{name} given"]
        conditions += given if isinstance(values, EllipsisType) else [f"{name}={_raw(value)}" for value in values]
    return tuple(conditions)


def _raw(value: PlainValue) -> str:
    """A value as the command line takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def check_used(options: MethodOptions, changed: Iterable[str], method: str) -> None:
    """Refuse options that differ from their defaults and have no effect under the other options.

    Args:
        options: All options.
        changed: Names of the options that differ from their defaults.
        method: Name of the method.

    Raises:
        UserError: An option has no effect.
    """
    for name in changed:
        if other := unused_because(options, name):
            raise UserError(
                f"Option {method}:{name} has no effect with {other}={_raw(getattr(options, other))}.",
                f"Leave {name} out, or choose another value of {other}. See: python -m harness show {method}",
            )


def unused_because(options: MethodOptions, name: str) -> str:
    """The name of the option whose value leaves an option without effect; empty if the option has an effect."""
    by_name = {f.name: f for f in fields(options)}
    unused_with: UnusedWith = by_name[name].metadata.get("unused_with") or {}
    for other, values in unused_with.items():
        found = getattr(options, other)
        if found != by_name[other].default if isinstance(values, EllipsisType) else found in values:
            return other
    return ""


def _is_within(number: float, bounds: Bounds) -> bool:
    least, most = bounds
    return (least is None or number >= least) and (most is None or number <= most)


def evaluation_options(options_type: type[MethodOptions]) -> frozenset[str]:
    """Names of the options that change scores and leave fits as they are."""
    return frozenset(f.name for f in fields(options_type) if f.metadata.get("evaluation_only"))


def _recorded_file(name: str, value: str, words: tuple[str, ...]) -> str:
    """The value of a file option as measurements hold it.

    Raises:
        UserError: The option names a file that does not exist.
    """
    if value in words:
        return value
    path = Path(value)
    # The hash is cached: a file that is moved during a run keeps its hash.
    with contextlib.suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return f"sha256:{cached_file_sha256(path.resolve())}"
    if words or path.suffix or len(path.parts) > 1:
        allowed = f", or one of {', '.join(filter(None, words))}" if any(words) else ""
        raise UserError(f"The file {value} of the option {name} does not exist.", f"Give the path of a file{allowed}.")
    return value


def split_method(text: str) -> tuple[str, dict[str, str]]:
    """The name and the raw option values of `name` or `name:key=value,key=value`.

    Values may be quoted (`template='a video of {}'`), so that they can hold commas and colons.

    Raises:
        UserError: An option is not `key=value`, or a quote is not closed.
    """
    name, _, rest = text.partition(":")
    values: dict[str, str] = {}
    for part in _split_quoted(rest):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise UserError(
                f"Option {part!r} of method {name!r} is not key=value.", "Write e.g. vificlip:template='a {}'."
            )
        values[key.strip()] = _unquoted(value.strip())
    return name.strip(), values


def _unquoted(value: str) -> str:
    """A value without the one pair of quotes around it; quotes inside it belong to the value."""
    is_quoted = len(value) > 1 and value[0] in "'\"" and value.find(value[0], 1) == len(value) - 1
    return value[1:-1] if is_quoted else value


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
        hint = "Close it, and quote the whole word for the shell."
        raise UserError(f"The quote {quote} in {text!r} is not closed.", hint)
    return [part.strip() for part in [*parts, current] if part.strip()]


def build_options(options_type: type[MethodOptions], values: Mapping[str, OptionValue], method: str) -> MethodOptions:
    """The options of a method from raw values (text from the command line, or typed values from Python).

    Raises:
        UserError: An unknown option (with the nearest), a value of the wrong type, or one that is not allowed or out of
            bounds.
    """
    hints = typing.get_type_hints(options_type)
    known = {f.name: f for f in fields(options_type)}
    typed: dict[str, OptionValue] = {}
    for key, value in values.items():
        if key not in known:
            error = unknown_setting(f"option of {method}", key, known, "Options")
            raise UserError(error.message, f"{error.hint} See: python -m harness show {method}")
        converted = _convert(value, hints[key], f"{method}:{key}")
        choices = known[key].metadata.get("choices") or ()
        if choices and converted not in choices:
            raise UserError(
                f"Option {method}:{key} is {converted!r}, expected one of {', '.join(map(repr, choices))}.",
                near_hint(str(converted), map(str, choices)),
            )
        bounds = known[key].metadata.get("bounds", (None, None))
        if isinstance(converted, (int, float)) and not _is_within(converted, bounds):
            raise UserError(
                f"Option {method}:{key} is {converted:g}, expected {bounds_text(bounds)}.",
                f"Its default is {known[key].default}. See: python -m harness show {method}",
            )
        typed[key] = converted
    return options_type(**typed)


def _convert(value: OptionValue, hint: type, where: str) -> OptionValue:
    """`value` as the type of its field; text is parsed."""
    origin = get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None or (isinstance(value, str) and value.lower() == "none"):
            return None
        # Of a union only `T | None` occurs in options.
        hint = next(a for a in get_args(hint) if a is not type(None))
        origin = get_origin(hint)
    try:
        return _items(value) if origin is tuple else _scalar(value, hint)
    except (ValueError, TypeError, KeyError, SyntaxError):
        raise UserError(f"Option {where} is {value!r}, expected {getattr(hint, '__name__', hint)}.") from None


def _items(value: OptionValue) -> tuple[PlainValue, ...]:
    if isinstance(value, (bool, int, float)) or value is None:
        raise TypeError("not a sequence")
    return tuple(ast.literal_eval(value) if isinstance(value, str) else value)


def _scalar(value: OptionValue, hint: type) -> PlainValue:
    """A value as a bool, a whole number, a finite number, or text."""
    if hint is bool:
        if isinstance(value, bool):
            return value
        # `bool` is True for every text that is not empty, `false` included.
        return {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}[str(value).lower()]
    if hint is int and isinstance(value, float) and not value.is_integer():  # `int` would cut the fraction off
        raise ValueError("not a whole number")
    typed: PlainValue = hint(value)
    if isinstance(typed, float) and not math.isfinite(typed):
        raise ValueError("not finite")
    return typed
