"""Calibration, log-likelihood, Brier score and detection of unseen classes from the stored top-5 probabilities.

A predictions file holds five probabilities per video, with six decimals. The calibration error and the AUROC need only
the first. The log-likelihood and the Brier score need the probability of the true class, and the Brier score that of
every class. Where the five do not determine them, both are intervals from the tightest lower to the tightest upper
limit: the other C - 5 classes share the remaining probability, and none of them exceeds the fifth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from results.statistics.metrics import NO_PREDICTION

BINS = 15
"""Bins of equal width of the calibration error (Guo et al. 2017)."""
ROUNDING = 5e-7
"""Largest rounding error of a stored probability."""


@dataclass(frozen=True)
class Bounds:
    """Limits of a value; equal if the stored probabilities determine the value.

    Args:
        low: Lower limit.
        high: Upper limit; None if there is none.
    """

    low: float
    high: float | None

    @property
    def exact(self) -> bool:
        """Whether the limits agree to the rounding of the stored probabilities."""
        return self.high is not None and self.high - self.low <= 10 * ROUNDING

    def __str__(self) -> str:
        if self.high is None:
            return f"at least {self.low:.4f}"
        return f"{self.low:.4f}" if self.exact else f"{self.low:.4f} to {self.high:.4f}"


@dataclass(frozen=True)
class Predicted:
    """The predictions of the videos that have one; videos without a prediction have no probabilities.

    Args:
        labels: (N,) true ids.
        ids: (N, 5) predicted ids, best first.
        probabilities: (N, 5) their probabilities.
        classes: Number of classes C of the label set.
    """

    labels: NDArray[np.int64]
    ids: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    classes: int

    @property
    def hits(self) -> NDArray[np.bool_]:
        """(N,) whether the first prediction is the true class."""
        return np.equal(self.ids[:, 0], self.labels)

    @property
    def top(self) -> NDArray[np.float64]:
        """(N,) probability of the first prediction."""
        return self.probabilities[:, 0]


def predicted(labels: ArrayLike, ids: ArrayLike, probabilities: ArrayLike, classes: int) -> Predicted:
    """Select the videos that have a prediction.

    Args:
        labels: (N,) true ids.
        ids: (N, 5) predicted ids, `NO_PREDICTION` in the columns of absent classes and of undecodable videos.
        probabilities: (N, 5) probabilities.
        classes: Number of classes C of the label set.

    Raises:
        ValueError: The shapes differ.
    """
    truth, ranked = np.asarray(labels, dtype=np.int64), np.asarray(ids, dtype=np.int64)
    values = np.asarray(probabilities, dtype=np.float64)
    if ranked.ndim != 2 or ranked.shape != values.shape or truth.shape != ranked.shape[:1]:
        raise ValueError(
            f"need (N,) labels and (N, k) ids and probabilities, found {truth.shape}, {ranked.shape}, {values.shape}"
        )
    kept = ranked[:, 0] != NO_PREDICTION
    return Predicted(truth[kept], ranked[kept], values[kept], classes)


def calibration_error(predictions: Predicted, bins: int = BINS) -> float | None:
    """Expected calibration error of the first prediction in percent points (Guo et al. 2017, equation 3).

    The mean over videos of the gap between accuracy and mean probability of the video's bin. Bin m of M covers
    ((m - 1)/M, m/M]; a probability of 0 belongs to the first bin. None without videos.
    """
    if not len(predictions.labels):
        return None
    index = np.clip(np.ceil(predictions.top * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(index, predictions.hits - predictions.top, minlength=bins)
    return 100.0 * float(np.abs(gaps).sum()) / len(predictions.labels)


def negative_log_likelihood(predictions: Predicted) -> Bounds | None:
    """Mean of -ln(probability of the true class) in nats; None without videos.

    Of a true class among the five, the stored probability counts. Another true class has at most the fifth probability
    and at most the remaining probability, and at least what the classes beside it cannot hold; mostly this is 0, so
    that there is no upper limit. A stored 0 stands for any probability up to `ROUNDING`.
    """
    if not len(predictions.labels):
        return None
    stored, listed = _of_true_class(predictions)
    rest, fifth, others = _remaining(predictions)
    least = rest - 5 * ROUNDING - (others - 1) * (fifth + ROUNDING)
    most = np.minimum(fifth + ROUNDING, rest + 5 * ROUNDING)
    low = np.where(listed, stored, np.maximum(least, 0.0))
    high = np.maximum(np.where(listed, stored, np.clip(most, 0.0, 1.0)), ROUNDING)
    lower = max(0.0, -float(np.log(high).mean()))
    return Bounds(lower, max(lower, -float(np.log(low).mean())) if (low > 0.0).all() else None)


def brier_score(predictions: Predicted) -> Bounds | None:
    """Mean over videos of the squared distance between probabilities and true class, 0 to 2; None without videos.

    The score is sum_k p_k^2 - 2 p_true + 1 (Brier 1950). Over all distributions of the remaining probability that keep
    every class at or below the fifth, it is largest where few classes hold the rest and the true class holds least of
    it, and smallest where the true class holds most and the other classes share equally.
    """
    if not len(predictions.labels):
        return None
    stored, listed = _of_true_class(predictions)
    rest, fifth, others = _remaining(predictions)
    known = (predictions.probabilities**2).sum(axis=1) - 2.0 * stored + 1.0
    if not others:
        return _mean_bounds(known, known)
    # The rounding of the five may leave more than the other classes can hold.
    rest = np.minimum(rest, others * fifth)
    # The number of classes that hold as much as the fifth; one further class holds the remainder.
    full = np.floor(np.divide(rest, fifth, out=np.zeros_like(rest), where=fifth > 0.0))
    concentrated = full * fifth**2 + np.maximum(rest - full * fifth, 0.0) ** 2
    true_least = np.where(listed, 0.0, np.maximum(rest - (others - 1) * fifth, 0.0))
    true_most = np.where(listed, 0.0, np.minimum(rest, fifth))
    sharing = np.where(listed, others, others - 1)  # classes besides the true class that share the rest
    spread = (rest - true_most) ** 2 / np.maximum(sharing, 1)
    return _mean_bounds(known + true_most**2 + spread - 2.0 * true_most, known + concentrated - 2.0 * true_least)


def _mean_bounds(low: NDArray[np.float64], high: NDArray[np.float64]) -> Bounds:
    return Bounds(float(low.mean()), float(np.maximum(low, high).mean()))


def _of_true_class(predictions: Predicted) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(N,) stored probability of the true class (0 if it is not among the five), and whether it is among them."""
    matches = predictions.ids == predictions.labels[:, None]
    return (predictions.probabilities * matches).sum(axis=1), matches.any(axis=1)


def _remaining(predictions: Predicted) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """(N,) remaining probability, (N,) smallest stored probability, and the number of classes that are not stored."""
    rest = np.clip(1.0 - predictions.probabilities.sum(axis=1), 0.0, 1.0)
    return rest, predictions.probabilities[:, -1], max(0, predictions.classes - predictions.ids.shape[1])


def auroc(positive: ArrayLike, negative: ArrayLike) -> float | None:
    """Probability that a positive value exceeds a negative value, ties counting half; None if one side is empty.

    This is the Mann-Whitney statistic divided by P Q.

    Args:
        positive: (P,) values, such as top probabilities of videos of seen classes.
        negative: (Q,) values, such as those of unseen classes.
    """
    above, below = np.asarray(positive, dtype=np.float64), np.asarray(negative, dtype=np.float64)
    if not len(above) or not len(below):
        return None
    ordered = np.sort(below)
    # Per positive value: the number of smaller negative values, and of negative values that are not larger.
    smaller, not_larger = (np.searchsorted(ordered, above, side) for side in ("left", "right"))
    return float((smaller + not_larger).sum()) / (2 * len(above) * len(below))
