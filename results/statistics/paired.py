"""Paired tests of two methods on the same videos. The unit is the video; the fits are fixed.

For one list and one fit per method, the sign-flip test is McNemar's exact test. With several repeats or overlapping
lists, the outcomes of each video are summed first, so that a video that occurs three times is one observation. The
interval of a difference inverts the same test: it contains 0 if and only if the p value is at least 0.05.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from results.statistics.intervals import LEVEL, Interval, wilson

EXACT_UP_TO = 2_000
"""Largest number of differing videos for the exact test; the normal approximation of larger numbers is exact to all
printed digits."""
EXACT_WORK = 20_000_000
"""Largest number of operations of one convolution (about 20 ms); lists of different lengths need more operations."""


def mcnemar_p(only_a: int, only_b: int) -> float:
    """The two-sided p value of McNemar's exact test: a binomial test of the two discordant counts."""
    # Twice the lower tail, as the null distribution is symmetric; `scipy.stats.binomtest` takes ten times as long.
    return min(1.0, 2.0 * float(stats.binom.cdf(min(only_a, only_b), only_a + only_b, 0.5)))


def sign_flip_p(differences: NDArray[np.int64]) -> float:
    """The two-sided p value of the sign-flip test, whose null hypothesis is that both signs are equally likely.

    Args:
        differences: (N,) integers, correct predictions of A minus correct predictions of B for each video.

    The null distribution of the sum is exact (a convolution of binomials) for up to `EXACT_UP_TO` differing videos.
    With differences of -1, 0 and 1 the result equals `mcnemar_p`.
    """
    return flip_p(tuple(np.bincount(np.abs(differences))[1:].tolist()), abs(int(differences.sum())))


@lru_cache(maxsize=100_000)
def flip_p(counts: tuple[int, ...], total: int) -> float:
    """`sign_flip_p` from its sufficient statistics.

    Args:
        counts: Numbers of videos that differ by 1, 2, 3, ...
        total: Absolute sum of the differences.
    """
    steps = [(size, n) for size, n in enumerate(counts, start=1) if n]
    # The null distribution is symmetric, so both tails together are twice one of them.
    return min(1.0, 2.0 * _upper_tail(steps, total, 0.5)) if steps and total else 1.0


def _upper_tail(steps: Sequence[tuple[int, int]], total: int, share: float) -> float:
    """Probability of a sum of at least `total` if each difference is positive with probability `share`.

    Args:
        steps: Pairs of a size and the number of videos that differ by this size.
        total: Sum of the signed differences.
        share: 0.5 for the null hypothesis of the sign-flip test.

    Exact (a convolution of binomials) for up to `EXACT_UP_TO` differing videos and `EXACT_WORK` operations; otherwise
    a normal approximation with continuity correction.
    """
    unit = math.gcd(*(size for size, _ in steps))
    videos, size_sum = sum(n for _, n in steps), sum(size * n for size, n in steps)
    if videos > EXACT_UP_TO or videos * (size_sum // unit) > EXACT_WORK:
        mean = (2.0 * share - 1.0) * size_sum
        deviation = math.sqrt(4.0 * share * (1.0 - share) * sum(n * size**2 for size, n in steps))
        return float(stats.norm.sf((total - unit - mean) / deviation)) if deviation else float(mean >= total)
    distribution = np.ones(1)
    for size, n in steps:
        step = size // unit
        added = np.zeros(len(distribution) + n * step)
        for heads, chance in enumerate(_heads(n, share)):
            added[heads * step : heads * step + len(distribution)] += chance * distribution
        distribution = added
    # Entry k is the probability that the positive differences sum to k units, and all differences to 2k - top units.
    top = len(distribution) - 1
    return float(distribution[2 * np.arange(top + 1) - top >= total // unit].sum())


def flip_ps(counts: NDArray[np.int64], totals: NDArray[np.int64]) -> NDArray[np.float64]:
    """`flip_p` for many pairs at once, exact to 1e-12: the null distribution's tail from its characteristic function.

    A sum of N signed units has the parity of N and the characteristic function prod cos(k x)^n_k. Summing it at M > N
    points against the kernel sin((t - 1) x) / sin(x) gives the probability of less than t units on either side.

    Args:
        counts: (P, D) numbers of videos on which a pair differs by 1, 2, ..., D.
        totals: (P,) absolute sums of the differences.
    """
    sizes = np.arange(1, counts.shape[1] + 1)
    units = counts @ sizes
    result = np.ones(len(counts))
    for i in np.flatnonzero(units > EXACT_UP_TO):
        result[i] = flip_p(tuple(counts[i].tolist()), int(totals[i]))
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
    for part in np.array_split(chosen, max(1, len(chosen) * len(x) // 1_000_000)):  # bounds the memory
        inner = kernel[totals[part] - 1]
        for k, power in enumerate(powers):
            inner *= power[counts[part, k]]
        result[part] = np.clip(1.0 - inner.sum(axis=1), 0.0, 1.0)
    return result


@lru_cache(maxsize=256)
def _heads(n: int, share: float = 0.5) -> NDArray[np.float64]:
    """Binomial probabilities of 0..n successes in n trials with success probability `share`."""
    return np.asarray(stats.binom.pmf(np.arange(n + 1), n, share))


def mean_interval(differences: NDArray[np.int64], level: float = LEVEL) -> Interval:
    """Interval of the mean difference per video that agrees with `sign_flip_p`.

    Args:
        differences: (N,) whole numbers, one for each video, as for `sign_flip_p`.
        level: Coverage; 0 is outside the interval if and only if the p value is below 1 - `level`.

    The mean difference is the product of the mean absolute difference D per video and the balance b, which is 1 if the
    first method is better on all differing videos and -1 if the second method is. The limits of b invert the sign-flip
    test, as Clopper and Pearson (1934) invert the binomial test, which is the special case of one list. They are
    "matching" limits in the terms of Fay (2010, R Journal 2:53): b has the limit 0 if the p value is 1 - `level`. D has
    a Wilson interval. The limits of the product follow from the limits of its factors by the method of variance
    estimates recovery (Zou and Donner 2008, Statistics in Medicine 27:1693); a limit of the product never crosses 0 if
    the limit of b does not. A bootstrap is not used: it has no variance if all videos of a class agree, and it has no
    duality with an exact test.
    """
    sizes = np.abs(differences)
    n, total, size_sum = len(differences), int(differences.sum()), int(sizes.sum())
    if not size_sum:
        high = wilson(0.0, n, level).high / 100.0
        return Interval(-high, high)
    # Differences of several sizes are replaced by one effective size with the same mean and second moment.
    unit = float((sizes**2).sum()) / size_sum
    low, high = (unit * limit / 100.0 for limit in wilson(100.0 * size_sum / unit / n, n, level))
    balance = balance_interval(differences, level)
    size, tilt = size_sum / n, total / size_sum
    nearer, farther = (low, high) if tilt > 0 else (high, low)
    lower = size * tilt - math.hypot(size * (tilt - balance.low), tilt * (size - nearer))
    upper = size * tilt + math.hypot(size * (balance.high - tilt), tilt * (farther - size))
    if balance.low > 0:
        lower = max(lower, low * balance.low)
    if balance.high < 0:
        upper = min(upper, low * balance.high)
    return Interval(lower, upper)


def balance_interval(differences: NDArray[np.int64], level: float = LEVEL) -> Interval:
    """Interval of the balance, from -1 to 1, by inversion of the sign-flip test.

    A is better on a differing video with probability (1 + balance) / 2, independent of the size of the difference. At
    the limits, a sum at least as large, or at most as large, as the observed sum has probability (1 - `level`) / 2.
    """
    counts = np.bincount(np.abs(differences))
    steps = tuple((size, int(n)) for size, n in enumerate(counts) if size and n)
    total, tail = int(differences.sum()), (1.0 - level) / 2.0
    return Interval(_lower_balance(steps, total, tail), -_lower_balance(steps, -total, tail))


def _lower_balance(steps: tuple[tuple[int, int], ...], total: int, tail: float) -> float:
    if not steps or total <= -sum(size * n for size, n in steps):
        return -1.0

    def excess(share: float) -> float:
        return _upper_tail(steps, total, share) - tail

    # The test decides on which side of 1/2 the root lies, even if rounding would hide it.
    low, high = (0.0, 0.5) if excess(0.5) >= 0 else (0.5, 1.0)
    root = float(optimize.brentq(excess, low, high, xtol=1e-12))
    return 2.0 * max(root, math.nextafter(0.5, 1.0)) - 1.0 if low else 2.0 * root - 1.0
