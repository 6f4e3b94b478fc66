"""Smallest difference between two methods that a list shows with a probability of 80 % (Connor 1987; Card et al. 2020).

All values are fractions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from results.statistics.scores import t_quantile

POWER = 0.8
ALPHA = 0.05
EXPECTED_DISCORDANCE = 0.15
EXPECTED_ICC = 0.2
EXPECTED_FIT_SDS = (0.0, 0.005, 0.01)
"""Guesses without records: share of differing videos, intra-class correlation and spreads between fits."""
_STEPS = 100
"""Halvings of the bracket, more than a floating-point number has digits."""


@dataclass(frozen=True)
class PowerCase:
    """A planned comparison of two methods.

    Args:
        videos: Number of videos N of the list.
        discordance: Share psi of the videos on which exactly one method is right.
        design_effect: Ratio of the variance with clusters to that of independent videos.
        repeats: Number of fits R of each method.
        agreement: Correlation kappa of a video's difference between repeats.
        fit_sd: Standard deviation of the difference between fits; None for the question "other videos".
        tests: Number of pairs under Holm's correction.
    """

    videos: int
    discordance: float
    design_effect: float = 1.0
    repeats: int = 1
    agreement: float = 0.5
    fit_sd: float | None = None
    tests: int = 1

    @property
    def variance(self) -> float:
        """Variance of the difference over other videos for a difference of 0."""
        return self.repeated_discordance * self.design_effect / self.videos

    @property
    def repeated_discordance(self) -> float:
        """Discordance of the mean over repeats, psi_R."""
        return self.discordance * (1.0 + (self.repeats - 1) * self.agreement) / self.repeats


def measured_case(variance: float, between: float | None, measured: PowerCase) -> PowerCase:
    """The case whose variances were measured from the records of a pair.

    Args:
        variance: Variance of the difference over other videos.
        between: Variance component of the difference between fits; None for the question "other videos".
        measured: Videos, discordance and repeats of the records; change the repeats of the result with
            `dataclasses.replace`.
    """
    effect = variance * measured.videos / measured.repeated_discordance
    return replace(measured, design_effect=effect, fit_sd=None if between is None else math.sqrt(between))


def expected_design_effect(cluster_sizes: ArrayLike, icc: float = EXPECTED_ICC) -> float:
    """Design effect of clusters of the given sizes: 1 + (sum of squared sizes / N - 1) x ICC.

    Args:
        cluster_sizes: (G,) numbers of videos.
        icc: Correlation of the outcomes of two videos of a cluster, within classes.
    """
    sizes = np.asarray(cluster_sizes, dtype=np.float64)
    return float(1.0 + ((sizes**2).sum() / sizes.sum() - 1.0) * icc)


def smallest_difference(
    case: PowerCase, power: float = POWER, alpha: float = ALPHA, exact: bool = False
) -> float | None:
    """The smallest difference that the comparison shows with probability `power` at level `alpha`, as a fraction.

    Args:
        case: The planned comparison.
        power: Probability that the test finds the difference.
        alpha: Level of the test.
        exact: Add 1 / N, because the exact test of single fits on independent videos is discrete.

    Returns:
        None if the list cannot show any difference, and for the question "trained again" with one fit.

    Raises:
        ValueError: A number of the case is outside its range.
    """
    _check(case)
    between = 0.0 if case.fit_sd is None else case.fit_sd**2 / case.repeats
    if case.fit_sd is not None and case.repeats < 2:
        return None
    level = 1.0 - alpha / case.tests
    limit = float(special.ndtri(alpha / case.tests / 2.0)) ** 2 * case.variance
    if between:
        # Few fits have a quantile of their own, as in the test for methods that are trained again.
        limit += t_quantile(case.repeats - 1, level) ** 2 * between
    share = float(special.ndtri(power))
    discrete = 1.0 / case.videos if exact else 0.0

    def missing(delta: float) -> float:
        """Needed difference minus `delta`; negative where `delta` is shown."""
        # The differences of single videos, -1, 0 or 1, have the variance psi - delta^2; the design effect is that of
        # clusters.
        rest = (case.repeated_discordance - delta**2) * case.design_effect / case.videos
        return math.sqrt(limit) + share * math.sqrt(max(0.0, rest) + between) - delta

    low, high = 0.0, 1.0
    if missing(high) > 0.0:
        return None
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if missing(middle) > 0.0 else (low, middle)
    difference = (low + high) / 2.0 + discrete
    # A difference cannot exceed the share of the videos on which the methods differ.
    return difference if difference <= case.discordance else None


def _check(case: PowerCase) -> None:
    if case.videos < 1 or case.repeats < 1 or case.tests < 1:
        raise ValueError(f"need at least one video, repeat and test, found {case}")
    if not 0.0 < case.discordance <= 1.0 or not 0.0 <= case.agreement <= 1.0 or case.design_effect <= 0.0:
        raise ValueError(f"need a discordance and an agreement in 0..1 and a positive design effect, found {case}")
