"""Accuracies of a list of predictions, in percent.

mmaction2's own metrics are not used: its mean-class accuracy averages over predicted classes too, which is wrong on
class subsets, and its top-k counts NaN scores as predictions of the last class.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

NO_PREDICTION = -1
"""The predicted id of a video that could not be decoded: never equal to a label, so the video counts as wrong."""


@dataclass(frozen=True)
class Metrics:
    """Accuracies in percent of one list; every video of the list is in the denominator."""

    top1: float
    top5: float
    mean_class: float

    def as_dict(self) -> dict[str, float]:
        """The metrics by name."""
        return asdict(self)


def rank(scores: ArrayLike, k: int = 5) -> NDArray[np.int64]:
    """The ids of the `k` highest scores per row, best first; ties go to the lower id.

    Args:
        scores: (N, C) finite scores; higher is better.
        k: How many ids to return; at most C are returned.

    Raises:
        ValueError: A score is NaN or infinite, which would otherwise count as a prediction.
    """
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(f"scores must be (videos, classes), found shape {array.shape}")
    if not np.isfinite(array).all():
        bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
        raise ValueError(f"scores of {len(bad)} videos are not finite (first: row {bad[0]})")
    return np.argsort(-array, axis=1, kind="stable")[:, :k]


def accuracies(labels: ArrayLike, ids: ArrayLike) -> Metrics:
    """Top-1, top-5 and mean-class accuracy in percent.

    Args:
        labels: (N,) true ids.
        ids: (N, k) predicted ids, best first, `NO_PREDICTION` where there is none. With fewer than five columns
            (fewer than five classes) top-5 is taken over the columns there are.

    Mean-class accuracy averages the per-class recall over the classes that occur in `labels`, and only those.

    Raises:
        ValueError: The list is empty or the lengths differ.
    """
    truth = np.asarray(labels, dtype=np.int64)
    ranked = np.asarray(ids, dtype=np.int64)
    if truth.ndim != 1 or ranked.ndim != 2 or len(truth) != len(ranked) or not len(truth):
        raise ValueError(f"need (N,) labels and (N, k) ids with N > 0, found {truth.shape} and {ranked.shape}")
    hit1 = ranked[:, 0] == truth
    hit5 = (ranked[:, :5] == truth[:, None]).any(axis=1)
    recalls = [hit1[truth == c].mean() for c in np.unique(truth)]
    return Metrics(
        top1=100.0 * float(hit1.mean()), top5=100.0 * float(hit5.mean()), mean_class=100.0 * float(np.mean(recalls))
    )


def harmonic_mean(base: float, novel: float) -> float:
    """2bn / (b + n), and 0 where both are 0. Take it of the unrounded means over repeats, never per repeat."""
    return 2.0 * base * novel / (base + novel) if base + novel > 0 else 0.0
