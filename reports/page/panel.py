"""Figures of the opened row: accuracy by class, and training curves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from reports.class_scores import RowClasses
from reports.figures.strips import class_strip, curve_strip
from reports.figures.svg import Figure
from reports.layout import column_title
from reports.row import Row
from results.curve_file import curve_of, read_curve

MOST_ROWS = 400
"""Number of measured rows up to which the panels have figures; the page of a longer board would be too large."""
MOST_CURVES = 3
LARGEST_CURVE = 16 * 2**20
"""Bytes of the longest curve that is read; the command `curve` draws longer ones."""


def panel_figures(rows: Sequence[Row], classes: Mapping[str, RowClasses]) -> dict[str, list[Figure]]:
    """The figures of every row that has any, by row key.

    Args:
        rows: All measured rows.
        classes: Accuracies by class, by row key.
    """
    if len(rows) > MOST_ROWS:
        return {}
    found: dict[str, list[Figure]] = {}
    for row in rows:
        figures = [curve_strip(_curves(row))]
        if row.key in classes:
            figures.append(class_strip(classes[row.key].scores, column_title(classes[row.key].column)))
        found[row.key] = [figure for figure in figures if figure]
    return found


def _curves(row: Row) -> list[list[float]]:
    """The mean losses of the epochs of the first fits of a row."""
    if row.measurement.fitted is None:
        return []
    paths = dict.fromkeys(curve_of(entry.path) for entry in row.entries)
    return [losses for path in list(paths)[:MOST_CURVES] if (losses := _losses(path))]


def _losses(path: Path) -> list[float]:
    """The mean loss of each epoch in nats; empty without a readable curve."""
    try:
        if path.stat().st_size > LARGEST_CURVE:
            return []
        rows = read_curve(path)
    except OSError:
        return []
    losses: dict[int, list[float]] = defaultdict(list)
    for row in rows:
        losses[row.epoch].append(row.loss)
    return [sum(values) / len(values) for _, values in sorted(losses.items())]
