"""Positions of the labels of points: beside the points, without overlap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reports.figures.axes import Box
from reports.figures.svg import TEXT, Drawing, Pen, Point, text_width

_HEIGHT = TEXT + 2
_NEAR = 8.0


@dataclass(frozen=True)
class _Area:
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: _Area) -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


def label_points(drawing: Drawing, box: Box, points: Sequence[tuple[Point, str]]) -> None:
    """Write a label beside each point; a label that is moved away from its point is connected with it by a line.

    Args:
        drawing: Receives the labels.
        box: The area inside the axes; labels stay between its left end and the right end of the drawing.
        points: (position, text), the most important first. A text for which no position is free is left out.
    """
    taken = [_Area(x - 5, y - 5, x + 5, y + 5) for (x, y), _ in points]
    for (x, y), text in points:
        width = text_width(text)
        for left, middle in _positions(x, y, width):
            area = _Area(left, middle - _HEIGHT / 2, left + width, middle + _HEIGHT / 2)
            inside = box.left <= area.left and area.right <= drawing.width and box.top - 12 <= area.top
            if inside and area.bottom <= box.bottom and not any(area.overlaps(other) for other in taken):
                taken.append(area)
                if abs(middle - y) > 2 * _HEIGHT:
                    end = (left - 2, middle) if left > x else (left + width / 2, middle + (6 if middle < y else -6))
                    drawing.line([(x, y), end], Pen(width=0.6, opacity=0.4))
                drawing.text((left, middle + 4), text)
                break


def _positions(x: float, y: float, width: float) -> Iterator[Point]:
    """(left end, middle height) of a label of a point at (x, y), the nearest first."""
    for distance in range(8):
        for sign in (1, -1) if distance else (1,):
            height = y + sign * distance * _HEIGHT
            yield x + _NEAR, height
            yield x - _NEAR - width, height
            yield x - width / 2, height
