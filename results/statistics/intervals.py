"""95 % intervals of accuracies: Wilson's interval with an effective number of videos.

Korn and Graubard (1998) with Wilson's interval, recommended by Franco et al. (2019). Scores are fractions, intervals
are in percent.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from scipy import special

from results.statistics.scores import LEVEL, Scores
from results.statistics.trained_again import FitSpread, half_width_again


class Interval(NamedTuple):
    """A closed interval in percent."""

    low: float
    high: float

    def holds(self, value: float, slack: float = 0.0) -> bool:
        """True if `value` is inside the interval, widened by `slack` (the rounding of a printed number)."""
        return self.low - slack <= value <= self.high + slack


def wilson(accuracy: float, n: float, level: float = LEVEL) -> Interval:
    """The Wilson score interval of an accuracy in percent measured on `n` independent videos.

    Args:
        accuracy: Percent of `n`.
        n: Videos in the denominator; an effective number need not be whole.
        level: Coverage, 0 to 1.

    Raises:
        ValueError: `n` is not positive or the accuracy lies outside 0..100.
    """
    if n <= 0 or not 0.0 <= accuracy <= 100.0:
        raise ValueError(f"need n > 0 and an accuracy in 0..100, found n={n}, accuracy={accuracy}")
    return _wilson(accuracy / 100.0, n, _normal_quantile(level))


def cell_interval(scores: Scores) -> Interval | None:
    """The interval "other videos" of an accuracy or a harmonic mean; None if a list has one source only."""
    return None if scores.one_source else _wilson(_share(scores), _effective_videos(scores), scores.quantile)


def cell_interval_again(scores: Scores, spread: FitSpread) -> Interval | None:
    """The interval "trained again" of an accuracy or a harmonic mean; None if a list has one source only.

    Args:
        scores: A value whose repeats are fits.
        spread: Spread between these fits.
    """
    if scores.one_source:
        return None
    share, quantile = _share(scores), scores.quantile
    half = half_width_again(scores, spread)
    # The number of independent videos whose interval has this half-width.
    n = share * (1.0 - share) * quantile**2 / half**2 if half > 0.0 else 0.0
    return _wilson(share, _bounded(scores, n) if n > 0.0 else scores.effective, quantile)


def _share(scores: Scores) -> float:
    # The mean of values such as 0.1 + 0.2 can exceed the bounds by rounding.
    return min(max(scores.mean, 0.0), 1.0)


def _effective_videos(scores: Scores) -> float:
    """The number of independent videos with the same variance; the effective number of clusters if it is unknown."""
    share = _share(scores)
    binomial = share * (1.0 - share)
    if binomial <= 0.0 or scores.variance <= 0.0:
        return scores.effective
    return _bounded(scores, binomial / scores.variance)


def _bounded(scores: Scores, n: float) -> float:
    return n if scores.videos is None else min(n, 2.0 * scores.repeats * scores.videos)


def _wilson(share: float, n: float, quantile: float) -> Interval:
    width = 1.0 + quantile**2 / n
    center = (share + quantile**2 / (2 * n)) / width
    half = quantile * math.sqrt(share * (1.0 - share) / n + quantile**2 / (4.0 * n**2)) / width
    return Interval(100.0 * max(0.0, center - half), 100.0 * min(1.0, center + half))


@lru_cache(maxsize=16)
def _normal_quantile(level: float) -> float:
    """The quantile z of the normal distribution with probability `level` between -z and z."""
    return -float(special.ndtri((1.0 - level) / 2.0))
