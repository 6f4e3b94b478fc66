"""Test and intervals of the difference between two rows on the same lists."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from results.statistics.flips import flip_p, least_p
from results.statistics.intervals import Interval
from results.statistics.row_scores import RowScores, at_indices, common_indices, flip_differences
from results.statistics.scores import Scores, difference
from results.statistics.trained_again import PairAgain, pair_again

ALPHA = 0.05


@dataclass(frozen=True)
class PairTest:
    """The difference A - B of two accuracies or harmonic means.

    Args:
        scores: Scores of the difference.
        p: Two-sided p value for other videos: the sign-flip test of clusters, or the t test of two harmonic means.
            NaN if a list has one source only.
        differing: Number of clusters in which A and B differ.
        interval: 95 % interval for other videos, in percent points; None if a list has one source only.
        again: The difference if both were trained again; None with fewer than two pairs of fits.
        interval_again: 95 % interval for other videos and other fits, in percent points.
    """

    scores: Scores
    p: float
    differing: int
    interval: Interval | None
    again: PairAgain | None
    interval_again: Interval | None

    @property
    def difference(self) -> float:
        """The difference as a fraction."""
        return self.scores.mean

    def too_few_sources(self, alpha: float = ALPHA) -> bool:
        """Whether so few clusters differ that no p value below `alpha` is possible.

        Args:
            alpha: Level of the test; divided by the number of pairs under Holm's correction.
        """
        return least_p(self.differing) > alpha


def compare_pair(a: RowScores, b: RowScores) -> PairTest:
    """Compare two rows on the repeats that both have; repeats of equal index are paired.

    Raises:
        ValueError: The rows have no common repeat, or their clusters differ.
    """
    indices = common_indices(a.indices, b.indices)
    if a.indices and b.indices and not indices:
        raise ValueError(f"need a common repeat, found {list(a.indices)} and {list(b.indices)}")
    a, b = at_indices(a, indices), at_indices(b, indices)
    scores = difference(a.scores, b.scores)
    changes = flip_differences(a, b)
    differing = int((changes != 0).any(axis=0).sum())
    again = pair_again(scores) if a.fits or b.fits else None
    if scores.one_source:
        return PairTest(scores, math.nan, differing, None, None, None)
    p = harmonic_p(scores, differing) if a.harmonic else flip_p(changes[0])
    wide = None if again is None else around(scores.mean, max(again.half_width, _half_width(scores)))
    return PairTest(scores, p, differing, around(scores.mean, _half_width(scores)), again, wide)


def harmonic_p(scores: Scores, differing: int) -> float:
    """Two-sided p value of the t test of two harmonic means.

    Args:
        scores: Scores of the difference.
        differing: Number of clusters in which the two differ, which bounds the p value where no variance is seen.
    """
    if scores.variance > 0.0:
        return float(2.0 * special.stdtr(scores.df, -abs(scores.mean) / math.sqrt(scores.variance)))
    return least_p(differing) if abs(scores.mean) > 0.0 else 1.0


def _half_width(scores: Scores) -> float:
    """Half of the 95 % interval of a difference over other videos."""
    quantile = scores.quantile
    if scores.variance > 0.0:
        return quantile * math.sqrt(scores.variance)
    # The upper end of Wilson's interval for a share of 0: videos on which the rows differ may be too rare for the
    # list.
    return quantile**2 / (quantile**2 + scores.effective)


def around(center: float, half_width: float) -> Interval:
    """The interval of a difference in percent points, bounded to -100..100.

    Args:
        center: The difference as a fraction.
        half_width: Half of the interval as a fraction.
    """
    low, high = np.clip([center - half_width, center + half_width], -1.0, 1.0).tolist()
    return Interval(100.0 * low, 100.0 * high)
