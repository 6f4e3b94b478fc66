"""95 % intervals of accuracies, which reflect the sampling of test videos. All accuracies are in percent."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from scipy import stats

from results.statistics.metrics import harmonic_mean

LEVEL = 0.95
_Z = 1.959963984540054  # the 97.5 % quantile of the normal distribution


class Interval(NamedTuple):
    """A closed interval in percent."""

    low: float
    high: float

    def holds(self, value: float, slack: float = 0.0) -> bool:
        """True if `value` is inside the interval, widened by `slack` (the rounding of a printed number)."""
        return self.low - slack <= value <= self.high + slack


@lru_cache(maxsize=100_000)
def wilson(accuracy: float, n: int, level: float = LEVEL) -> Interval:
    """The Wilson score interval of an accuracy in percent measured on `n` videos.

    `scipy.stats.binomtest` computes the same interval, but only for whole numbers of correct videos.

    Args:
        accuracy: Percent of `n`; a mean over repeats need not be a whole number of videos.
        n: Videos in the denominator.
        level: Coverage, 0 to 1.

    Raises:
        ValueError: `n` is not positive or the accuracy lies outside 0..100.
    """
    if n < 1 or not 0.0 <= accuracy <= 100.0:
        raise ValueError(f"need n >= 1 and an accuracy in 0..100, found n={n}, accuracy={accuracy}")
    share, z = accuracy / 100.0 * n / n, _quantile(level)
    width = 1.0 + z**2 / n
    center = (share + z**2 / (2 * n)) / width
    half = z * math.sqrt(share * (1.0 - share) / n + z**2 / (4.0 * n**2)) / width
    return Interval(100.0 * max(0.0, center - half), 100.0 * min(1.0, center + half))


@lru_cache(maxsize=16)
def _quantile(level: float) -> float:
    """The quantile z of the normal distribution with probability `level` between -z and z."""
    return float(stats.norm.isf((1.0 - level) / 2.0))


def harmonic_interval(a: float, n_a: int, b: float, n_b: int) -> Interval:
    """The 95 % interval of the harmonic mean of two accuracies on different videos, by the delta method.

    The derivative of 2ab/(a+b) by a is 2b^2/(a+b)^2. For an accuracy of 0 or 100 the binomial variance is computed half
    a video inside the border, so that the interval never has length zero.
    """
    mean = harmonic_mean(a, b)
    if a + b <= 0:
        return Interval(0.0, wilson(0.0, min(n_a, n_b)).high)
    variance = 0.0
    for x, n, other in ((a, n_a, b), (b, n_b, a)):
        slope = 2.0 * other**2 / (a + b) ** 2
        p = min(max(x / 100.0, 0.5 / n), 1.0 - 0.5 / n)
        variance += slope**2 * p * (1.0 - p) / n * 1e4
    half = _Z * math.sqrt(variance)
    return Interval(max(0.0, mean - half), min(100.0, mean + half))
