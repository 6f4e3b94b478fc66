"""Few-shot curves: accuracy over shots, each repeat as a dot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from reports.columns import shots_of
from reports.figures.axes import Box, Scale, draw_axes, percent_scale
from reports.figures.palette import LABELLED, style_of
from reports.figures.svg import HEIGHT, TEXT, WIDTH, Drawing, Figure, Pen, Point, fitted_names
from reports.labels import legend_of
from reports.row import Cell, Row

_LABELS = 160.0
"""Width in pixels of the names right of the axes; in a narrow figure they take a third of it."""
_SLOT = 44.0
"""Largest width in pixels over which the rows of one K are spread, so that their bars do not cover each other."""


def few_shot_curves(rows: Sequence[Row], title: str, width: float = WIDTH) -> Figure | None:
    """One curve for each row: top-1 in percent over K, with 95 % intervals as bars and repeats as dots.

    Args:
        rows: Rows of one group, whose columns differ in shots, the best first. Rows after the eighth are drawn grey.
        title: Title of the group, for screen readers.
        width: Width of the figure in pixels.

    Returns:
        The figure; None if the columns do not differ in shots.
    """
    shots = shots_of(rows)
    points = [_points(row, shots) for row in rows]
    cells = [cell for found in points for _, cell in found]
    ticks = sorted({k for found in points for k, _ in found})
    if len(ticks) < 2:
        return None
    names = legend_of(rows)
    # K doubles from column to column.
    box = Box(52, 14, width - min(_LABELS, 0.36 * width), HEIGHT - 44)
    x = Scale(ticks[0], ticks[-1], box.left + 30, box.right - 30, 2.0)
    slot = min(_SLOT, *(0.7 * (x(b) - x(a)) for a, b in pairwise(ticks)))
    ends = [value for cell in cells for value in (cell.mean, *(r.value for r in cell.repeats), *(cell.interval or ()))]
    y = percent_scale(ends, box.bottom, box.top)
    drawing = Drawing(width, HEIGHT)
    draw_axes(drawing, box, x, y, ("Training videos per class (K)", "Top-1 (%)"))
    shown = min(len(rows), 8)
    # From the worst to the best row, so that the best rows are drawn on top.
    for number, found in reversed(list(enumerate(points))):
        colour, shape = style_of(number)
        shift = (number - (shown - 1) / 2) * slot / 8 if shape != "dot" else 0.0
        line = [(x(k) + shift, y(cell.mean)) for k, cell in found]
        if len(line) > 1:
            drawing.line(line, Pen(colour, 1.4 if shape != "dot" else 0.7, 1.0 if shape != "dot" else 0.5))
        columns = [(at, k, cell) for (at, _), (k, cell) in zip(line, found, strict=True)]
        if shape != "dot":
            repeats = [(at, y(repeat.value)) for at, _, cell in columns for repeat in cell.repeats]
            drawing.dots(repeats, Pen(colour, opacity=0.6))
        for at, k, cell in columns:
            if shape != "dot" and cell.interval:
                drawing.line([(at, y(end)) for end in cell.interval], Pen(colour, 2.0, 0.4))
            drawing.marker((at, y(cell.mean)), shape, Pen(colour), f"{names[number]}, K={k}: {cell.mean:.1f}")
    _label_ends(drawing, box, [(x(found[-1][0]), y(found[-1][1].mean)) for found in points if found][:LABELLED],
                [name for name, found in zip(names, points, strict=True) if found][:LABELLED])  # fmt: skip
    text = _finding(points, names, ticks)
    return Figure(drawing.svg(f"Few-shot curves: {title}"), text)


def _points(row: Row, shots: Mapping[str, int]) -> list[tuple[int, Cell]]:
    """(K, cell) of the measured columns, in the order of K."""
    points = [(shots[column], cell) for column, cell in row.cells.items() if column in shots]
    return sorted(points, key=lambda point: point[0])


def _finding(points: Sequence[Sequence[tuple[int, Cell]]], names: Sequence[str], ticks: Sequence[int]) -> str:
    """The rows with the highest mean at the smallest and at the largest K."""
    texts = []
    for k in (ticks[-1], ticks[0]):
        means = {name: cell.mean for name, found in zip(names, points, strict=True) for n, cell in found if n == k}
        best = max(means, key=lambda name: means[name])
        texts.append(f"At K={k} {best} has the highest mean ({means[best]:.1f} %)")
    return "; ".join(texts).replace("; At", "; at") + ". Small dots are repeats, bars are 95 % intervals."


def _label_ends(drawing: Drawing, box: Box, ends: Sequence[Point], names: Sequence[str]) -> None:
    """Write the names right of the curves, moved apart vertically."""
    order = sorted(range(len(ends)), key=lambda i: ends[i][1])
    heights = [ends[i][1] for i in order]
    least = TEXT + 1
    for n in range(1, len(heights)):
        heights[n] = max(heights[n], heights[n - 1] + least)
    # Labels that were pushed below the axes move back up together.
    for n in reversed(range(len(heights))):
        limit = box.bottom + 6 if n == len(heights) - 1 else heights[n + 1] - least
        heights[n] = min(heights[n], limit)
    shown = fitted_names(names, drawing.width - box.right - 9)
    for i, height in zip(order, heights, strict=True):
        drawing.line([(ends[i][0] + 24, ends[i][1]), (box.right + 6, height)], Pen(width=0.6, opacity=0.35))
        drawing.text((box.right + 9, height + 4), shown[i])
