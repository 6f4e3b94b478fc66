"""Paired tests of two methods on the same videos. The unit is the video; the fits are taken as given.

For one list and one fit each, the sign-flip test is McNemar's exact test. With several repeats or overlapping lists a
video's outcomes are added first, so that a video counted three times is one observation and not three.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from results.intervals import LEVEL, Interval

RESAMPLES = 10_000
EXACT_UP_TO = 2_000
"""Videos that differ; beyond, the normal approximation is exact to far more digits than are printed."""


def mcnemar_p(only_a: int, only_b: int) -> float:
    """The two-sided p value of McNemar's exact test from the two discordant counts (statsmodels)."""
    return float(mcnemar([[0, only_a], [only_b, 0]], exact=True).pvalue)


def sign_flip_p(differences: NDArray[np.int64]) -> float:
    """The two-sided p value of the hypothesis that each video's difference is as likely to have the other sign.

    Args:
        differences: (N,) whole numbers, right answers of A minus right answers of B on each video.

    The null distribution of the sum is exact, a convolution of binomials, up to `EXACT_UP_TO` videos that differ.
    With differences of -1, 0 and 1 the result equals `mcnemar_p`.
    """
    size, count = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    if not len(size):
        return 1.0
    total = abs(int(differences.sum()))
    if count.sum() > EXACT_UP_TO:
        scale = math.sqrt(float((size**2 * count).sum()))
        return float(2.0 * stats.norm.sf(max(0.0, total - float(size.min())) / scale)) if total else 1.0
    unit = int(np.gcd.reduce(size))
    distribution = np.ones(1)
    for step, n in zip(size // unit, count, strict=True):
        spread = np.zeros(int(n) * int(step) + 1)
        spread[:: int(step)] = stats.binom.pmf(np.arange(n + 1), n, 0.5)
        distribution = np.convolve(distribution, spread)
    # Entry k is the chance that the positive part is k units, the sum 2k - top units.
    top = len(distribution) - 1
    sums = np.abs(2 * np.arange(top + 1) - top)
    return float(min(1.0, distribution[sums >= total // unit].sum()))


def bootstrap_interval(
    differences: NDArray[np.float64],
    classes: NDArray[np.int64],
    seed: int = 0,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Interval:
    """The percentile bootstrap interval of the mean paired difference, videos drawn within each class.

    Args:
        differences: (N,) per-video differences A - B, in percent points or any unit.
        classes: (N,) true ids: the strata.
        seed: Of the resampling.
        level: Coverage.
        resamples: Number of resampled lists.

    From a class of n videos n - 1 are drawn, which makes the variance unbiased in small classes (Rao and Wu 1988).
    Differences take few values, so a class is resampled as multinomial counts of these values.
    """
    rng = np.random.default_rng(seed)
    totals = np.zeros(resamples)
    for label in np.unique(classes):
        values, counts = np.unique(differences[classes == label], return_counts=True)
        n = int(counts.sum())
        draws = max(1, n - 1)
        drawn = rng.multinomial(draws, counts / n, size=resamples)
        totals += drawn @ values * (n / draws)
    low, high = np.quantile(totals / len(differences), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))
