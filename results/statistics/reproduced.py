"""Arithmetic of the verdict "reproduced": does a published value on the same list agree with ours?

The videos are the same on both sides, so only fits vary. All values are in percent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from results.statistics.intervals import Interval
from results.statistics.scores import t_quantile
from results.statistics.trained_again import BorrowedSpread

WIDEST = 3.0
"""Largest half-width in percent points for which a verdict is given; a wider interval would hold almost any value."""


@dataclass(frozen=True)
class Reproduction:
    """The values that other fits of the same method are expected to have on the same list.

    Args:
        center: Our mean.
        half_width: Half of the 95 % interval of a mean over the published number of repeats, in percent points.
    """

    center: float
    half_width: float

    @property
    def interval(self) -> Interval:
        """The interval, which is not bounded to 0..100."""
        return Interval(self.center - self.half_width, self.center + self.half_width)

    @property
    def conclusive(self) -> bool:
        """Whether the interval is narrow enough for a verdict."""
        return self.half_width <= WIDEST

    def holds(self, published: float) -> bool:
        """Whether a published value agrees with ours."""
        return abs(published - self.center) <= self.half_width


def reproduction(ours: Sequence[float], published_repeats: int = 1, rounding: float = 0.0) -> Reproduction:
    """The expected values from at least two fits, with a probability of 95 % if both sides trained in the same way.

    Args:
        ours: Values of our R fits; for a harmonic mean the linearised values (`Scores.values`).
        published_repeats: Number of fits R' of the published mean; 1 if not stated.
        rounding: Half of the last printed digit.

    Raises:
        ValueError: There are fewer than two fits, or `published_repeats` is not positive.
    """
    if len(ours) < 2 or published_repeats < 1:
        raise ValueError(f"need two fits and one repeat, found {len(ours)} and {published_repeats}")
    deviation = float(np.std(ours, ddof=1))
    half = t_quantile(len(ours) - 1) * deviation * math.sqrt(1.0 / len(ours) + 1.0 / published_repeats)
    return Reproduction(float(np.mean(ours)), half + rounding)


def borrowed_reproduction(
    ours: float, borrowed: BorrowedSpread, published_repeats: int = 1, rounding: float = 0.0
) -> Reproduction:
    """The expected values from a single fit, if the fits spread as those of other rows of the column.

    Args:
        ours: Value of our fit.
        borrowed: Pooled spread of the other rows; its observed variance counts, because the videos are the same.
        published_repeats: Number of fits of the published mean; 1 if not stated.
        rounding: Half of the last printed digit.

    Raises:
        ValueError: `published_repeats` is not positive.
    """
    if published_repeats < 1:
        raise ValueError(f"need one repeat, found {published_repeats}")
    deviation = 100.0 * math.sqrt(borrowed.observed)
    half = t_quantile(borrowed.df) * deviation * math.sqrt(1.0 + 1.0 / published_repeats)
    return Reproduction(ours, half + rounding)


def videos_outside(ours: float, published: float, videos: int, rounding: float = 0.0) -> int:
    """Number of videos by which an untrained method, whose predictions are expected to be equal, misses a value.

    Args:
        ours: Our value in percent.
        published: Published value in percent.
        videos: Number of videos of the list.
        rounding: Half of the last printed digit.

    Returns:
        0 if the values agree within the rounding; compare it with the number of undecodable videos.
    """
    # The slack keeps a difference of exactly k videos from being counted as k + 1 by rounding.
    beyond = (abs(ours - published) - rounding) / 100.0 * videos - 1e-9
    return max(0, math.ceil(beyond))
