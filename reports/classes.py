"""Figures about classes: accuracy changes between two methods, and the confusion of classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.labels import shorten
from reports.plot import COLOURS, INK, canvas, svg
from results.compare import PartComparison


def class_changes(part: PartComparison, a: str, b: str, top: int = 20, name: str = "classes") -> str:
    """An SVG with the `top` classes whose accuracy moves most, as bars of A - B in percent points.

    Args:
        part: One part of a comparison.
        a: Name of A.
        b: Name of B.
        top: Number of classes.
        name: Prefix that makes the ids unique on a page.
    """
    changes = sorted(part.classes[:top], key=lambda change: change.change)
    names = [shorten(change.name, 36) for change in changes]
    with canvas(3.4, 0.9 + 0.2 * len(changes), ticks=names) as (figure, axes):
        values = [change.change for change in changes]
        colours = [COLOURS[0] if value > 0 else COLOURS[1] for value in values]
        axes.barh(range(len(changes)), values, color=colours, height=0.7)
        axes.set_yticks(range(len(changes)), names)
        axes.axvline(0, color=INK, linewidth=0.6)
        axes.set(xlabel=f"{shorten(a, 24)} minus {shorten(b, 24)}, percent points", title=shorten(part.name, 60))
        return svg(figure, name, f"Accuracy by class, {a} minus {b}, {part.name}")


def confusion(
    predictions: pd.DataFrame, classes: Sequence[str], pairs: int = 12, name: str = "confusion", title: str = ""
) -> str:
    """An SVG with the confusion matrix of the classes in the largest confused pairs, in percent of the true class.

    Args:
        predictions: A predictions table (`results.predictions`).
        classes: Class names by id.
        pairs: Number of largest off-diagonal entries whose classes are shown.
        name: Prefix that makes the ids unique on a page.
        title: Title of the figure.
    """
    size = len(classes)
    # Undecodable videos have the predicted id -1: they are in the totals and in no column of the matrix.
    decided = predictions[predictions["id1"] >= 0]
    counts = np.zeros((size, size))
    np.add.at(counts, (decided["label"].to_numpy(), decided["id1"].to_numpy()), 1)
    totals = np.bincount(predictions["label"], minlength=size)
    percent = 100.0 * counts / np.maximum(totals, 1)[:, None]
    chosen = _confused(percent, pairs)
    part = percent[np.ix_(chosen, chosen)]
    labels = [shorten(classes[i], 28) for i in chosen]
    below = 0.5 + 0.065 * max(map(len, labels))
    with canvas(0.3 * len(chosen), 0.4 + below + 0.26 * len(chosen), ticks=labels, below=below) as (figure, axes):
        axes.imshow(part, cmap="Blues", vmin=0, vmax=100, aspect="auto")
        for (row, column), value in np.ndenumerate(part):
            if value >= 0.5:
                axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7,
                          color="#ffffff" if value > 55 else "#10243f")  # fmt: skip
        axes.set_xticks(range(len(chosen)), labels, rotation=60, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(chosen)), labels)
        axes.set(xlabel="Predicted (columns), percent of the true class (rows)", title=shorten(title, 40))
        return svg(figure, name, f"Confusion of the most confused classes, percent of the true class. {title}")


def _confused(percent: NDArray[np.float64], pairs: int) -> list[int]:
    """Class ids of the largest off-diagonal entries, largest first; the first eight classes if no class is confused."""
    off = percent.copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(-off, axis=None, kind="stable")[:pairs]
    ids = [int(i) for entry in order if off.flat[entry] > 0 for i in np.unravel_index(entry, off.shape)]
    return list(dict.fromkeys(ids)) or list(range(min(len(percent), 8)))
