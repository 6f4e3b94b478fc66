"""Accuracies of a list of predictions, in percent.

The metrics of mmaction2 are not used: its mean-class accuracy also averages over classes that occur only in
predictions, which is wrong on class subsets, and its top-k accuracy counts NaN scores as predictions of the last class.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from results.statistics.metric_values import Metrics

NO_PREDICTION = -1
"""Predicted id of a video that could not be decoded. It never equals a label, so the video counts as wrong."""


def rank(scores: ArrayLike, k: int = 5) -> NDArray[np.int64]:
    """Ids of the `k` highest scores per row, best first; of equal scores the lower id comes first.

    Args:
        scores: (N, C) finite scores; higher is better.
        k: Number of ids to return, at most C.

    Raises:
        ValueError: A score is NaN or infinite, which would otherwise count as a prediction.
    """
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(f"scores must be (videos, classes), found shape {array.shape}")
    if not np.isfinite(array).all():
        bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
        raise ValueError(f"scores of {len(bad)} videos are not finite (first: row {bad[0]})")
    return np.argsort(-array, axis=1, kind="stable")[:, :k]  # stable: equal scores keep the order of ids


def accuracies(labels: ArrayLike, ids: ArrayLike) -> Metrics:
    """Top-1, top-5 and mean-class accuracy in percent.

    Args:
        labels: (N,) true ids.
        ids: (N, k) predicted ids, best first; `NO_PREDICTION` without a prediction. With fewer than five columns
            (fewer than five classes), top-5 uses all columns.

    Mean-class accuracy is the mean recall over the classes that occur in `labels`.

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
    """Harmonic mean 2bn / (b + n), 0 if both are 0. Use unrounded means over repeats, never single repeats."""
    return 2.0 * base * novel / (base + novel) if base + novel > 0 else 0.0
