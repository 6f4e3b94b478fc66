"""Common style of the figures that matplotlib draws: SVG that follows the page's colours and keeps text as text."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from xml.sax.saxutils import quoteattr

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.anchors import slug

INK = "#010203"
"""Replaced by `currentColor` in the SVG, so that axes and text follow a light or a dark page."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")

# The stubs of matplotlib 3.10 and 3.11 state different types for the names of settings.
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "text.parse_math": False, "font.size": 9.0, "axes.edgecolor": INK, "axes.labelcolor": INK,
    "xtick.color": INK, "ytick.color": INK, "text.color": INK, "axes.spines.top": False, "axes.spines.right": False,
    "axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6, "figure.facecolor": "none",
    "axes.facecolor": "none", "savefig.facecolor": "none", "legend.frameon": False, "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"], "axes.titlesize": 9.0, "axes.titleweight": "bold", "axes.titlelocation": "left",
}  # fmt: skip


_CHARACTER = 0.074
"""Upper bound of the width of a character in a label, in inches."""


@contextmanager
def canvas(
    width: float = 3.6, height: float = 3.4, legend: Sequence[str] = (), ticks: Sequence[str] = (), below: float = 0.45
) -> Iterator[tuple[Figure, Axes]]:
    """A figure and its axes in the common style; they do not use the global state of pyplot.

    Margins are set from the lengths of the labels: matplotlib's own layouts draw every figure twice.

    Args:
        width: Width of the axes, in inches.
        height: Height of the figure, in inches.
        legend: Labels of the legend, right of the axes.
        ticks: Labels left of the axes; empty for numbers.
        below: Height of the labels below the axes, in inches.
    """
    left = 0.25 + _CHARACTER * max(map(len, ticks)) if ticks else 0.6
    right = 0.5 + _CHARACTER * max(map(len, legend)) if legend else 0.25
    whole = left + width + right
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(whole, height))
        axes = figure.subplots()
        figure.subplots_adjust(left / whole, below / height, 1 - right / whole, 1 - 0.32 / height)
        yield figure, axes


def svg(figure: Figure, name: str, description: str) -> str:
    """The figure as an `<svg>` element for a page: equal figures give equal text, and labels are escaped.

    Args:
        figure: A figure of `canvas`.
        name: Prefix that makes the ids unique on a page.
        description: Text for screen readers.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        # The browser renders the text with its own fonts, so glyphs may be missing in matplotlib's font.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    # An SVG inside an HTML page has no XML declaration, no document type and no metadata.
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"\s*<\?xml[^>]*>|<!DOCTYPE[^>]*>", "", text).replace(INK, "currentColor")
    # Several figures share one page: a prefix keeps the ids of matplotlib's definitions unique.
    prefix = slug(name)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r"url\(#", f"url(#{prefix}-", text)
    text = re.sub(r'href="#', f'href="#{prefix}-', text)
    text = re.sub(r'\sxmlns:(?:dc|cc|rdf)="[^"]*"', "", text)
    return text.replace("<svg ", f'<svg role="img" aria-label={quoteattr(description)} ', 1).strip()
