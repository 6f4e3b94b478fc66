"""A critical-difference diagram: rows on the scale of their accuracy, connected where they are not separable."""

from __future__ import annotations

from collections.abc import Sequence

from reports.figures.axes import Scale, number_text, percent_scale
from reports.figures.palette import LABELLED, style_of
from reports.figures.svg import FAINT, WIDTH, Drawing, Figure, Pen, fitted_names, text_width
from reports.labels import legend_of
from reports.row import Row
from results.row_statistics import PairStatistics
from results.statistics.pairs import ALPHA

_LINE = 17.0


def separable_rows(
    rows: Sequence[Row], pairs: Sequence[PairStatistics], keys: Sequence[str], column: str, title: str,
    width: float = WIDTH,
) -> Figure | None:  # fmt: skip
    """Ranked rows by accuracy; a bar connects rows of which no two are separable. None for fewer than three rows.

    The bars play the role of the bars of a critical-difference diagram (Demsar, 2006). They show the paired tests of
    this column, not mean ranks over datasets.

    Args:
        rows: Ranked rows of one column, the best first.
        pairs: The tests of all pairs of the rows.
        keys: The name of each row in `pairs`.
        column: The column.
        title: Title of the group, for screen readers.
        width: Width of the figure in pixels.
    """
    if not 3 <= len(rows) <= LABELLED or len(pairs) < len(rows) * (len(rows) - 1) // 2:
        return None
    separate = {frozenset((pair.a, pair.b)) for pair in pairs if pair.p_holm is not None and pair.p_holm < ALPHA}
    bars = _bars(keys, separate)
    names, means = legend_of(rows), [row.cells[column].mean for row in rows]
    left = min(max(map(text_width, names)), width / 2) + 12
    x = percent_scale(means, left + 10, width - 14)
    top = 8.0
    drawing = Drawing(width, top + _LINE * len(rows) + 30)
    bottom = top + _LINE * len(rows)
    _grid(drawing, x, top, bottom)
    shown = fitted_names(names, left - 4)
    for number, (name, mean) in enumerate(zip(names, means, strict=True)):
        colour, shape = style_of(number)
        y = top + _LINE * (number + 0.5)
        drawing.text((left - 4, y + 4), shown[number], "end")
        drawing.marker((x(mean), y), shape, Pen(colour), f"{name}: {mean:.1f}")
    for number, (first, last) in enumerate(bars):
        # Three positions in turn, because runs can overlap and their bars must not cover each other.
        at = x(means[last]) - 10 - 5 * (number % 3)
        ends = [(at, top + _LINE * (i + 0.5)) for i in (first, last)]
        drawing.line([(at + 4, ends[0][1]), ends[0], ends[1], (at + 4, ends[1][1])], Pen(width=1.6, opacity=0.7))
    text = _finding(names, bars)
    return Figure(drawing.svg(f"Rows that the tests do not separate: {title}"), text)


def _grid(drawing: Drawing, x: Scale, top: float, bottom: float) -> None:
    for value in x.ticks():
        drawing.line([(x(value), top), (x(value), bottom)], FAINT)
        drawing.text((x(value), bottom + 16), f"{number_text(value)} %", "middle")


def _bars(keys: Sequence[str], separate: set[frozenset[str]]) -> list[tuple[int, int]]:
    """(first, last) index of the longest runs of rows of which no two are separable, with at least two rows."""
    runs: list[tuple[int, int]] = []
    for first in range(len(keys)):
        last = first
        while last + 1 < len(keys) and not any(
            frozenset((keys[i], keys[last + 1])) in separate for i in range(first, last + 1)
        ):
            last += 1
        if last > first and (not runs or last > runs[-1][1]):
            runs.append((first, last))
    return runs


def _finding(names: Sequence[str], bars: Sequence[tuple[int, int]]) -> str:
    if not bars:
        return "Every two rows are separable."
    if bars[0][0] > 0:
        return f"{names[0]} is separable from every other row. Bars connect rows that cannot be told apart."
    others = bars[0][1]
    words = "the next row" if others == 1 else f"the next {others} rows"
    return f"{names[0]} cannot be told apart from {words}. Bars connect rows that cannot be told apart."
