"""Scatter figures: the two accuracies of a harmonic mean, and accuracy against cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from reports.columns import rules_of
from reports.labels import legend_of, shorten
from reports.layout import column_title
from reports.plot import COLOURS, INK, MARKERS, canvas, svg
from reports.row import Cell, Row, harmonic_columns
from results.statistics.intervals import Interval


def base_novel(rows: Sequence[Row], title: str, name: str = "iso") -> str:
    """An SVG with each row at the two accuracies of its harmonic mean, or an empty text where no row has such a column.

    The axes are the two columns of the first harmonic mean, in percent; for base-to-novel they are base and novel
    accuracy. Repeats are small dots; curves of equal harmonic mean are drawn behind.

    Args:
        rows: Rows of one protocol on one dataset; rows without both accuracies are left out.
        title: Title of the figure.
        name: Prefix that makes the ids unique on a page.
    """
    pair = next(iter(harmonic_columns(rules_of(rows)).values()), None)
    if pair is None:
        return ""
    x, y = (rule.name for rule in pair)
    rows = [row for row in rows if x in row.cells and y in row.cells]
    x_title, y_title = column_title(x), column_title(y)
    titles = legend_of(rows)[: len(COLOURS)]
    with canvas(height=3.8, legend=titles) as (figure, axes):
        rest = [(row.cells[x].mean, row.cells[y].mean) for row in rows[len(COLOURS) :]]
        _grey(axes, rest)
        for number, row in enumerate(rows[: len(COLOURS)]):
            colour, marker = COLOURS[number], MARKERS[number]
            base, novel = row.cells[x], row.cells[y]
            pairs = _pairs(base, novel)
            axes.plot([a for a, _ in pairs], [b for _, b in pairs], ".", color=colour, alpha=0.4, linestyle="")
            axes.errorbar(
                base.mean, novel.mean, xerr=_bars(base), yerr=_bars(novel), color=colour, alpha=0.35, linewidth=1
            )
            axes.plot(base.mean, novel.mean, marker, color=colour, markersize=6, label=titles[number], linestyle="")
        _iso_curves(axes)
        axes.set(xlabel=f"{x_title} top-1 (%)", ylabel=f"{y_title} top-1 (%)", title=shorten(title, 60))
        if rows:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
        return svg(figure, name, f"{x_title} against {y_title.lower()} accuracy: {title}")


def _pairs(base: Cell, novel: Cell) -> list[tuple[float, float]]:
    """The two accuracies of each repeat that has both."""
    # A repeat of both columns has one index, because all its parts come from one fit.
    by_index = {repeat.index: repeat.value for repeat in novel.repeats}
    return [(repeat.value, by_index[repeat.index]) for repeat in base.repeats if repeat.index in by_index]


def _grey(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    """Draw the rows without a colour as small grey dots."""
    if points:
        axes.plot(*zip(*points, strict=True), ".", color="#88888880", markersize=4, linestyle="", zorder=1)


def _bars(cell: Cell) -> NDArray[np.float64]:
    interval = cell.interval or Interval(cell.mean, cell.mean)
    return np.array([[cell.mean - interval.low], [interval.high - cell.mean]])


def _iso_curves(axes: Axes) -> None:
    """Draw curves of equal harmonic mean, every ten percent points, inside the current limits."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    for mean in range(10, 100, 10):
        # mean = 2ab / (a + b) solved for b; it has a pole at a = mean / 2, so the curve starts right of it.
        base = np.linspace(max(left, mean / 2 + 0.5), right, 200)
        novel = mean * base / (2 * base - mean)
        inside = (novel >= bottom) & (novel <= top)
        if inside.any():
            axes.plot(base[inside], novel[inside], color=INK, alpha=0.3, linewidth=0.6, linestyle=(0, (4, 3)), zorder=0)
            if base[inside][-1] < left + 0.15 * (right - left):
                continue  # the label would be outside the axes
            axes.text(base[inside][-1], novel[inside][-1], f"HM {mean}", fontsize=7, alpha=0.6, ha="right", va="bottom")
    # The curves must not widen the limits that the rows need.
    axes.set(xlim=(left, right), ylim=(bottom, top))


COST_TITLES = {"params_trained": "Trained parameters (millions)", "gflops": "GFLOPs per view"}


def accuracy_cost(
    rows: Sequence[Row], column: str, title: str, cost: str = "params_trained", name: str = "cost"
) -> str:
    """An SVG with accuracy in percent over cost, one marker for each row; empty if no row has both.

    Args:
        rows: Rows of one protocol and dataset.
        column: The column whose accuracy is shown.
        title: Title of the figure.
        cost: `params_trained` (in millions) or `gflops` (of rows whose records state it).
        name: Prefix that makes the ids unique on a page.
    """
    points = [(value, row) for row in rows if column in row.cells and (value := _cost(row, cost)) is not None]
    if not points:
        return ""
    titles = legend_of([row for _, row in points])[: len(COLOURS)]
    with canvas(legend=titles) as (figure, axes):
        _grey(axes, [(value, row.cells[column].mean) for value, row in points[len(COLOURS) :]])
        for number, (value, row) in enumerate(points[: len(COLOURS)]):
            colour, marker = COLOURS[number], MARKERS[number]
            cell = row.cells[column]
            if cell.interval:
                axes.vlines(value, *cell.interval, color=colour, alpha=0.35, linewidth=2)
            axes.plot(value, cell.mean, marker, color=colour, markersize=6, label=titles[number], linestyle="")
        axes.set(xlabel=COST_TITLES[cost], ylabel="Accuracy (%)", title=shorten(title, 60))
        axes.grid(alpha=0.15)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
        return svg(figure, name, f"Accuracy against {COST_TITLES[cost].lower()}: {title}")


def _cost(row: Row, cost: str) -> float | None:
    if cost == "params_trained":
        return row.params_trained / 1e6
    return row.gflops
