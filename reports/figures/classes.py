"""Figures about classes: accuracy changes between two methods, and the confusion of classes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.figures.palette import COLOURS
from reports.figures.svg import FAINT, Drawing, Figure, Pen, fitted, fitted_names, text_width
from reports.labels import shorten
from results.compare import PartComparison
from results.comparison import ClassChange

_LINE = 17.0


def class_changes(part: PartComparison, a: str, b: str, top: int = 20, most: float = math.inf) -> Figure:
    """The `top` classes whose accuracy moves most, as bars of A - B in percent points, with the videos of each class.

    Args:
        part: One part of a comparison.
        a: Name of A.
        b: Name of B.
        top: Number of classes.
        most: Largest width of the figure in pixels.
    """
    changes = sorted(part.classes[:top], key=lambda change: -change.change)
    left = min(max((text_width(name) for name in _numbered(changes, math.inf)), default=0.0) + 10, 0.45 * most)
    names = _numbered(changes, left - 6)
    longest = max((abs(change.change) for change in changes), default=0.0) or 1.0
    half = min(120.0, (most - left - 90) / 2)
    width = left + 2 * half + 90
    middle = left + 40 + half
    drawing = Drawing(width, _LINE * len(changes) + 40)
    bottom = _LINE * len(changes) + 8
    for number, (change, name) in enumerate(zip(changes, names, strict=True)):
        y = 8 + _LINE * number
        length = half * change.change / longest
        colour = COLOURS[0] if change.change > 0 else COLOURS[1]
        drawing.text((left - 6, y + 11), name, "end")
        drawing.rectangle(min(middle, middle + length), y + 2, abs(length), _LINE - 5, Pen(colour))
        end = middle + length + (4 if change.change > 0 else -4)
        drawing.text((end, y + 11), _signed(change.change), "start" if change.change > 0 else "end")
    drawing.line([(middle, 4), (middle, bottom)], Pen(opacity=0.6))
    title = fitted(f"{shorten(a, 24)} minus {shorten(b, 24)}, percent points", width)
    drawing.text((min(middle, width - text_width(title) / 2), bottom + 22), title, "middle")
    text = _largest(part, a, b)
    return Figure(drawing.svg(f"Accuracy by class, {a} minus {b}, {part.name}"), text)


def _numbered(changes: Sequence[ClassChange], width: float) -> list[str]:
    """Class names with their numbers of videos, shortened to `width` pixels."""
    numbers = [f" (n = {change.n})" for change in changes]
    left = width - max(map(text_width, numbers), default=0.0)
    names = fitted_names([shorten(change.name, 36) for change in changes], left)
    return [name + number for name, number in zip(names, numbers, strict=True)]


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "\N{MINUS SIGN}")


def _largest(part: PartComparison, a: str, b: str) -> str:
    """The largest gain and the largest loss in words."""
    if not part.classes or all(change.change == 0 for change in part.classes):
        return f"{a} and {b} have equal accuracies on every class."
    texts = []
    best, worst = (choose(part.classes, key=lambda change: change.change) for choose in (max, min))
    if best.change > 0:
        texts.append(f"{a} is {best.change:.1f} percent points better on {best.name} (n = {best.n})")
    if worst.change < 0:
        texts.append(f"{b} is {-worst.change:.1f} percent points better on {worst.name} (n = {worst.n})")
    return "; ".join(texts) + "."


def confusion(
    predictions: pd.DataFrame, classes: Sequence[str], pairs: int = 6, title: str = "", most: float = math.inf
) -> Figure:
    """The confusion matrix of the classes in the largest confused pairs, in percent of the true class.

    Args:
        predictions: A predictions table (`results.predictions`).
        classes: Class names by id.
        pairs: Number of largest off-diagonal entries whose classes are shown.
        title: Name of the row and its column.
        most: Largest width of the figure in pixels.
    """
    size = len(classes)
    # Undecodable videos have the predicted id -1: they are in the totals and in no column of the matrix.
    decided = predictions[predictions["id1"] >= 0]
    counts = np.zeros((size, size))
    # `counts[labels, ids] += 1` would count equal pairs once.
    np.add.at(counts, (decided["label"].to_numpy(), decided["id1"].to_numpy()), 1)
    totals = np.bincount(predictions["label"], minlength=size)
    percent = 100.0 * counts / np.maximum(totals, 1)[:, None]
    chosen = _confused(percent, pairs)
    names = fitted_names([shorten(classes[i], 28) for i in chosen], 0.35 * most)
    text = _most_confused(percent, classes, totals)
    drawing = _matrix(percent[np.ix_(chosen, chosen)], names, most)
    return Figure(drawing.svg(f"Confusion of classes, {title}"), f"{title}: {text}" if title else text)


def _matrix(part: NDArray[np.float64], names: Sequence[str], most: float) -> Drawing:
    """A grid of shaded cells with the values of at least one half percent."""
    longest = max(map(text_width, names))
    left, top = longest + 10, 8.0
    side = min(30.0, (most - left - 10) / len(names))
    length = side * len(names)
    drawing = Drawing(left + length + 10, top + length + 0.8 * longest + 50)
    drawing.rectangle(left, top, length, length, Pen(opacity=0.03))
    for row, name in enumerate(names):
        y = top + side * row
        drawing.text((left - 6, y + side / 2 + 4), name, "end")
        for column in np.flatnonzero(part[row] >= 0.5).tolist():
            x, value = left + side * column, float(part[row, column])
            drawing.rectangle(x + 1, y + 1, side - 2, side - 2, Pen(COLOURS[0], opacity=0.08 + 0.5 * value / 100))
            drawing.text((x + side / 2, y + side / 2 + 4), f"{value:.0f}", "middle")
        drawing.text((left + side * row + side / 2 + 3, top + length + 12), name, "end", turn=-55)
    drawing.line([(left, top + length), (left + length, top + length)], FAINT)
    drawing.text((left + length / 2, drawing.height - 6), "Predicted class (columns), true class (rows)", "middle")
    return drawing


def _confused(percent: NDArray[np.float64], pairs: int) -> list[int]:
    """Class ids of the largest off-diagonal entries, largest first; the first eight classes if no class is confused."""
    off = percent.copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(-off, axis=None, kind="stable")[:pairs]
    ids = [int(i) for entry in order if off.flat[entry] > 0 for i in np.unravel_index(entry, off.shape)]
    return list(dict.fromkeys(ids)) or list(range(min(len(percent), 8)))


def _most_confused(percent: NDArray[np.float64], classes: Sequence[str], totals: NDArray[np.int64]) -> str:
    """The most confused pair of classes in words."""
    off = percent.copy()
    np.fill_diagonal(off, 0)
    label, predicted = divmod(int(np.argmax(off)), len(off))
    if off[label, predicted] == 0:
        return "no class is taken for another class."
    share = f"{off[label, predicted]:.0f} % of the {totals[label]} videos of {classes[label]}"
    return f"{share} are classified as {classes[predicted]}."
