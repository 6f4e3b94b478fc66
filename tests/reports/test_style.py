"""The style sheet: every pair of text and background that it can put together meets WCAG AA, in light and in dark."""

from __future__ import annotations

import re
from itertools import product

import pytest

from reports.plot import COLOURS
from reports.site import TEMPLATES

CSS = (TEMPLATES / "board.css").read_text(encoding="utf-8")
TEXTS = ("fg", "muted", "accent", "good")
GROUNDS = ("bg", "soft")


def themes() -> dict[str, dict[str, str]]:
    """The colours of the light theme, and of the dark one as chosen and as preferred."""
    blocks = {selector: dict(re.findall(r"--([\w-]+):(#[0-9a-f]+)", body))
              for selector, body in re.findall(r"(:root[^{]*)\{([^}]*)\}", CSS)}  # fmt: skip
    light = blocks[":root"]
    return {
        "light": light,
        "dark": light | blocks[":root[data-theme=dark]"],
        "preferred dark": light | blocks[":root:not([data-theme=light])"],
    }


def luminance(colour: str) -> float:
    """WCAG 2.2 relative luminance of `#rgb` or `#rrggbb`."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_measure() -> None:
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#fff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", themes())
def test_text_on_every_ground(theme: str) -> None:
    colours = themes()[theme]
    pairs = [*product(TEXTS, GROUNDS), ("warn-fg", "warn-bg")]
    ratios = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in pairs}
    assert min(ratios.values()) >= 4.5, ratios


@pytest.mark.parametrize("theme", themes())
def test_marks_that_carry_meaning(theme: str) -> None:
    """Interval bars and the focus ring against what is around them: 3:1; so are the figures' colours."""
    colours = themes()[theme]
    for ground in GROUNDS:
        assert contrast(colours["accent"], colours[ground]) >= 3
        assert min(contrast(colour, colours[ground]) for colour in COLOURS) >= 3, ground


def test_no_colour_outside_the_themes() -> None:
    """Every colour of a rule is a variable, so that the pairs above are all there are; print is black on white."""
    rules = re.sub(r":root[^{]*\{[^}]*\}|@media print\{.*", "", CSS)
    assert re.findall(r"#[0-9a-fA-F]{3,6}\b(?=[;}\s])", rules) == []
    used = set(re.findall(r"(?<![-\w])color:var\(--([\w-]+)\)", rules))
    grounds = set(re.findall(r"background(?:-color)?:var\(--([\w-]+)\)", rules))
    assert used <= {*TEXTS, "warn-fg"} and grounds <= {*GROUNDS, "warn-bg", "bar", "bar-bg"}
