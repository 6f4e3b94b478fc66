"""The words `published` and `clean` as values of `--views` and `--recipe`.

`published` reproduces the code of the published study, `clean` is the choice of a new implementation. Options of
methods take the two words themselves. The table of all switches is in docs/methods.md; `tests/test_switches.py`
compares it with this module and with the options of the methods.
"""

from __future__ import annotations

from collections.abc import Mapping

PUBLISHED_OR_CLEAN = ("published", "clean")
VIEWS_SWITCHES = {
    "normalize": {"published": "imagenet", "clean": "clip"},
    "reader": {"published": "decord", "clean": "exact"},
    "sampling": {"published": "random", "clean": "uniform"},
}
RECIPE_SWITCHES = {"flip": {"published": "true", "clean": "false"}}


def views_values(overrides: Mapping[str, str], clips: int) -> dict[str, str]:
    """Overrides of views with `published` and `clean` replaced by the values that they mean.

    Args:
        overrides: Raw text by field.
        clips: Temporal views if the overrides do not set their number. A single view is sampled from the centre in
            both ways.
    """
    values = {key: VIEWS_SWITCHES.get(key, {}).get(text, text) for key, text in overrides.items()}
    chosen_clips = overrides.get("clips", str(clips))
    if overrides.get("sampling") in PUBLISHED_OR_CLEAN and chosen_clips == "1":
        values["sampling"] = "centre"
    return values


def recipe_values(overrides: Mapping[str, str]) -> dict[str, str]:
    """Overrides of a recipe with `published` and `clean` replaced by the values that they mean."""
    return {key: RECIPE_SWITCHES.get(key, {}).get(text, text) for key, text in overrides.items()}
