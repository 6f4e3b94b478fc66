"""Text of the command line as values: `key=value` pairs, and the fields of recipes and views that they override."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import TypeVar, get_args, get_type_hints

from harness.base.errors import UserError, unknown_setting
from harness.spec.published_or_clean import recipe_values, views_values
from harness.spec.recipe import Recipe
from harness.spec.views import Views

Settings = TypeVar("Settings", Recipe, Views)
FieldValue = bool | int | float | str | tuple[float, ...] | tuple[str, ...]


def parse_pairs(texts: Iterable[str], flag: str) -> dict[str, str]:
    """`key=value` texts of a flag as a mapping.

    Raises:
        UserError: A text has no `=`.
    """
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"{flag} {text!r} is not key=value.")
        pairs[key.strip()] = value.strip()
    return pairs


def recipe_with(recipe: Recipe, overrides: Mapping[str, str]) -> Recipe:
    """A recipe with the user's overrides.

    Raises:
        UserError: An unknown setting, or a value that the setting does not take.
    """
    return _override(recipe, recipe_values(overrides), "recipe") if overrides else recipe


def views_with(views: Views, overrides: Mapping[str, str]) -> Views:
    """Views with the user's overrides.

    Raises:
        UserError: An unknown setting, or a value that the setting does not take.
    """
    return _override(views, views_values(overrides, views.clips), "views")


def _override(base: Settings, values: Mapping[str, str], name: str) -> Settings:
    """A copy with fields set from text; text takes the type of the field's present value."""
    # The settings of `normalize=model` come from the weights and cannot be written as text.
    known = [field.name for field in fields(base) if field.name != "input"]
    typed: dict[str, FieldValue] = {}
    for key, text in values.items():
        if key not in known:
            raise unknown_setting(f"{name} setting", key, known, "Settings")
        current: FieldValue = getattr(base, key)
        try:
            typed[key] = _as_type(text, current, str in get_args(get_type_hints(type(base))[key]))
        except ValueError:
            raise UserError(f"{name}.{key} is {text!r}, expected {type(current).__name__} as in {current!r}.") from None
    return replace(base, **typed)  # type: ignore[arg-type]  # each value has the type of its field, see `_as_type`


def _as_type(text: str, current: FieldValue, of_texts: bool) -> FieldValue:
    if of_texts:
        return tuple(part.strip() for part in text.split(",")) if text.strip() else ()
    if isinstance(current, bool):
        if text.lower() not in ("true", "false", "1", "0"):
            raise ValueError(text)
        return text.lower() in ("true", "1")
    if isinstance(current, tuple):
        return tuple(float(part) for part in text.split(","))
    return type(current)(text)
