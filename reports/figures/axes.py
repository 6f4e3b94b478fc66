"""Axes of a figure: scales, ticks, grid lines and titles."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from reports.figures.svg import FAINT, INK, Drawing, Pen

ZERO_SLOT = 28.0
"""Width in pixels that a logarithmic scale reserves for the value zero."""


@dataclass(frozen=True)
class Scale:
    """A map from values to pixels.

    Args:
        low: Value at `start`.
        high: Value at `end`; above `low`.
        start: Pixel of `low`.
        end: Pixel of `high`; below `start` on a vertical axis.
        base: Base of a logarithmic scale; 0 for a linear scale.
        zero: Pixel of the value zero on a logarithmic scale.
    """

    low: float
    high: float
    start: float
    end: float
    base: float = 0.0
    zero: float = 0.0

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        if not self.base:
            return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)
        if value <= 0:
            return self.zero
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Round values on the scale, at most `most` of them on a linear scale."""
        if self.base:
            first, last = math.log(self.low, self.base), math.log(self.high, self.base)
            step = max(1, math.ceil((last - first) / most))
            # 1e-9, because the rounding of a logarithm must not drop a tick at an end of the axis.
            return [self.base**n for n in range(math.ceil(first - 1e-9), math.floor(last + 1e-9) + 1, step)]
        interval = round_step((self.high - self.low) / most)
        lowest = math.ceil(self.low / interval - 1e-9)
        return [n * interval for n in range(lowest, math.floor(self.high / interval + 1e-9) + 1)]


def round_step(least: float) -> float:
    """The smallest of 1, 2, 5, 10, 20, 50, ... and their tenths that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least)) if least > 0 else 1.0
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= least * (1 - 1e-9))


def percent_scale(values: Iterable[float], start: float, end: float) -> Scale:
    """A linear scale of percentages with a margin of 6 % around the values, at least two points long."""
    found = list(values)
    low, high = min(found), max(found)
    margin = max(0.06 * (high - low), 1.0)
    return Scale(max(low - margin, min(low, 0.0)), min(high + margin, max(high, 100.0)), start, end)


def cost_scale(values: Iterable[float], start: float, end: float) -> Scale:
    """A logarithmic scale of base 10 for costs; zero is drawn at a separate position before all other values."""
    found = list(values)
    positive = [value for value in found if value > 0]
    low, high = min(positive, default=1.0), max(positive, default=10.0)
    first = start + ZERO_SLOT if len(positive) < len(found) else start
    return Scale(low / 1.6, high * 1.6, first, end, 10.0, zero=start + 8)


@dataclass(frozen=True)
class Box:
    """The area inside the axes, in pixels."""

    left: float
    top: float
    right: float
    bottom: float


def number_text(value: float) -> str:
    """A tick label: a number without trailing zeros."""
    return f"{value:,.6f}".rstrip("0").rstrip(".") if abs(value) >= 1e-6 or value == 0 else f"{value:g}"


def draw_axes(drawing: Drawing, box: Box, x: Scale, y: Scale, titles: tuple[str, str]) -> None:
    """Draw tick labels, horizontal grid lines, the base line and the titles of both axes.

    Args:
        drawing: Receives lines and texts.
        box: The area inside the axes.
        x: Horizontal scale.
        y: Vertical scale.
        titles: Titles of the horizontal and of the vertical axis.
    """
    for value in y.ticks():
        drawing.line([(box.left, y(value)), (box.right, y(value))], FAINT)
        drawing.text((box.left - 6, y(value) + 4), number_text(value), "end")
    drawing.line([(box.left, box.bottom), (box.right, box.bottom)], Pen(opacity=0.6))
    marks = [(x(value), number_text(value)) for value in x.ticks()]
    if x.base and x.zero and x.start > box.left + 1:
        marks.insert(0, (x.zero, "0"))
    for position, text in marks:
        drawing.line([(position, box.bottom), (position, box.bottom + 4)], INK)
        drawing.text((position, box.bottom + 16), text, "middle")
    drawing.text(((box.left + box.right) / 2, box.bottom + 33), titles[0], "middle")
    drawing.text((12, (box.top + box.bottom) / 2), titles[1], "middle", turn=-90)
