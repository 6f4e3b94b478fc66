"""Few-shot curves: accuracy over shots, each repeat as a dot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.collections import LineCollection

from reports.columns import shots_of
from reports.labels import legend_of, shorten
from reports.plot import COLOURS, MARKERS, canvas, svg
from reports.row import Cell, Row


def few_shot_curves(rows: Sequence[Row], title: str, name: str = "curves") -> str:
    """An SVG with one curve for each row: top-1 in percent over K, with 95 % intervals as bars and repeats as dots.

    Args:
        rows: Rows of one protocol on one dataset, whose columns differ in shots, the most important first. Rows beyond
            eight are drawn grey.
        title: Title of the figure.
        name: Prefix that makes the ids unique on a page.
    """
    titles = legend_of(rows)[: len(COLOURS)]
    shots = shots_of(rows)
    with canvas(legend=titles) as (figure, axes):
        ticks = sorted({shots[column] for row in rows for column in row.cells if column in shots})
        for number, row in enumerate(rows[: len(COLOURS)]):
            points = _points(row, shots)
            colour = COLOURS[number]
            xs, ys = [k for k, _ in points], [cell.mean for _, cell in points]
            axes.plot(xs, ys, color=colour, linewidth=1.4, label=titles[number], zorder=3)
            for k, cell in points:
                if cell.interval:
                    axes.vlines(k, *cell.interval, color=colour, alpha=0.35, linewidth=3, zorder=2)
                values = [repeat.value for repeat in cell.repeats]
                axes.plot([k] * len(values), values, MARKERS[number], color=colour, markersize=4, zorder=4)
        rest = [[(k, cell.mean) for k, cell in _points(row, shots)] for row in rows[len(COLOURS) :]]
        axes.add_collection(LineCollection(rest, colors="#88888859", linewidths=0.6, zorder=1))
        # K doubles from column to column.
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [str(k) for k in ticks])
        axes.set(xlabel="Training videos per class (K)", ylabel="Top-1 (%)", title=shorten(title, 60))
        axes.grid(axis="y", alpha=0.15)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
        return svg(figure, name, f"Few-shot curves: {title}")


def _points(row: Row, shots: Mapping[str, int]) -> list[tuple[int, Cell]]:
    """(K, cell) of the measured columns, in the order of K."""
    points = [(shots[column], cell) for column, cell in row.cells.items() if column in shots]
    return sorted(points, key=lambda point: point[0])
