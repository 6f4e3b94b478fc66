"""Paired tests of two methods on the same videos. The unit is the video; the fits are taken as given.

For one list and one fit each, the sign-flip test is McNemar's exact test. With several repeats or overlapping lists a
video's outcomes are added first, so that a video counted three times is one observation and not three.
"""

from __future__ import annotations

import math
from functools import lru_cache

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
    return flip_p(tuple(np.bincount(np.abs(differences))[1:].tolist()), abs(int(differences.sum())))


@lru_cache(maxsize=100_000)
def flip_p(counts: tuple[int, ...], total: int) -> float:
    """`sign_flip_p` from what decides it.

    Args:
        counts: How many videos differ by 1, 2, 3, ...
        total: Absolute sum of the differences.
    """
    steps = [(size, n) for size, n in enumerate(counts, start=1) if n]
    if not steps:
        return 1.0
    if sum(n for _, n in steps) > EXACT_UP_TO:
        scale = math.sqrt(sum(n * size**2 for size, n in steps))
        return float(2.0 * stats.norm.sf(max(0.0, total - steps[0][0]) / scale)) if total else 1.0
    unit = math.gcd(*(size for size, _ in steps))
    distribution = np.ones(1)
    for size, n in steps:
        step = size // unit
        spread = np.zeros(n * step + 1)
        spread[::step] = _heads(n)
        distribution = np.convolve(distribution, spread)
    # Entry k is the chance that the positive part is k units, the sum 2k - top units.
    top = len(distribution) - 1
    sums = np.abs(2 * np.arange(top + 1) - top)
    return float(min(1.0, distribution[sums >= total // unit].sum()))


def flip_ps(counts: NDArray[np.int64], totals: NDArray[np.int64]) -> NDArray[np.float64]:
    """`flip_p` for many pairs at once, exact to 1e-12: the null distribution's tail from its characteristic function.

    A sum of N signed units has the parity of N and the characteristic function prod cos(k x)^n_k. Summing it at M > N
    points against the kernel sin((t - 1) x) / sin(x) gives the chance of less than t units on either side.

    Args:
        counts: (P, D): on how many videos a pair differs by 1, 2, ..., D.
        totals: (P,) absolute sums of the differences.
    """
    sizes = np.arange(1, counts.shape[1] + 1)
    units = counts @ sizes
    result = np.ones(len(counts))
    for place in np.flatnonzero(units > EXACT_UP_TO):
        result[place] = flip_p(tuple(counts[place].tolist()), int(totals[place]))
    chosen = np.flatnonzero((units <= EXACT_UP_TO) & (totals > 0))
    if not len(chosen):
        return result
    points = int(units[chosen].max()) + 1
    x = np.pi * np.arange(points // 2 + 1) / points
    weight = np.where((np.arange(len(x)) == 0) | (2 * np.arange(len(x)) == points), 1.0, 2.0) / points
    powers = [np.cos(k * x)[None, :] ** np.arange(counts[:, k - 1].max() + 1)[:, None] for k in sizes.tolist()]
    sine = np.where(x > 0, np.sin(x), 1.0)
    steps = np.arange(int(totals[chosen].max()))[:, None]  # row t - 1
    kernel = weight * np.where(x > 0, np.sin(steps * x) / sine, steps)
    for some in np.array_split(chosen, max(1, len(chosen) * len(x) // 1_000_000)):
        inner = kernel[totals[some] - 1]
        for k, power in enumerate(powers):
            inner *= power[counts[some, k]]
        result[some] = np.clip(1.0 - inner.sum(axis=1), 0.0, 1.0)
    return result


@lru_cache(maxsize=4096)
def _heads(n: int) -> NDArray[np.float64]:
    """The chances of 0..n heads in n throws."""
    return np.asarray(stats.binom.pmf(np.arange(n + 1), n, 0.5))


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
