"""The style sheet: every pair of text and background that it can put together meets WCAG AA, in light and in dark."""

from __future__ import annotations

import re
from itertools import product

import numpy as np
import pytest

from reports.figures.palette import COLOURS, REST, SHAPES
from reports.site import TEMPLATES

CSS = (TEMPLATES / "board.css").read_text(encoding="utf-8")
TEXTS = ("fg", "muted", "accent", "good", "bad", "other")
GROUNDS = ("bg", "soft", "tint")


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
    """Intervals, published values and the focus ring against what is around them: 3:1; so are the figures' colours."""
    colours = themes()[theme]
    for ground in GROUNDS:
        assert min(contrast(colours[mark], colours[ground]) for mark in ("accent", "grey", "printed")) >= 3
    for ground in ("bg", "soft"):  # figures are on the page and in opened rows
        assert min(contrast(colour, colours[ground]) for colour in (*COLOURS, REST)) >= 3, ground


def test_no_colour_outside_the_themes() -> None:
    """Every colour of a rule is a variable, so that the pairs above are all there are; print is black on white."""
    rules = re.sub(r":root[^{]*\{[^}]*\}|@media print\{.*", "", CSS)
    assert re.findall(r"#[0-9a-fA-F]{3,6}\b(?=[;}\s])", rules) == []
    used = set(re.findall(r"(?<![-\w])color:var\(--([\w-]+)\)", rules))
    grounds = set(re.findall(r"background(?:-color)?:var\(--([\w-]+)\)", rules))
    assert used <= {*TEXTS, "warn-fg"} and grounds <= {*GROUNDS, "warn-bg"}


# Machado, Oliveira and Fernandes (2009), severity 1, for linear RGB.
DEFICIENCIES = {
    "none": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.3039)),
}

TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
)


def lab(colour: str, deficiency: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """CIE 1976 L*a*b* (D65) of `#rrggbb` as a reader with a colour deficiency sees it."""
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(DEFICIENCIES[deficiency]) @ linear, 0, 1)
    xyz = TO_XYZ @ seen / np.array([0.95047, 1.0, 1.08883])
    x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_the_colour_difference() -> None:
    assert lab("#ffffff", "none") == pytest.approx([100, 0, 0], abs=0.01)
    assert lab("#ff0000", "none") == pytest.approx([53.24, 80.09, 67.20], abs=0.05)


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_colours_of_figures_differ_for_every_reader(deficiency: str) -> None:
    labs = [lab(colour, deficiency) for colour in COLOURS]
    least = min(float(np.linalg.norm(a - b)) for i, a in enumerate(labs) for b in labs[:i])
    assert least >= 15, least
    assert len(set(SHAPES)) == len(COLOURS), "and every row has its own shape"
