"""Spread between fits: would a method, trained again, score the same on other videos?

Fits are crossed with videos: a value is the sum of an effect of the fit, an effect of the video and an effect of both.
The few fits have a quantile of their own, and the two limits are combined in squares (Graybill and Wang 1980; Zou and
Donner 2008). All values are fractions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from results.statistics.scores import LEVEL, Scores, t_quantile

CONCLUSIVE_FITS = 3
"""Smallest number of fits from which a statement on other fits is made; the size of the test is up to 9 % with two."""
_STEPS = 70
"""Halvings of the interval of the p value; the result is exact to rounding."""


@dataclass(frozen=True)
class FitSpread:
    """Variance between the fits of a value.

    Args:
        fits: Number of fits R, at least 2.
        observed: Variance (ddof 1) of the R values, s2 in the documentation.
        interaction: The share of `observed` that comes from videos alone, V_int.
        between: Variance component between fits, F: `observed` - `interaction`, at least 0.
    """

    fits: int
    observed: float
    interaction: float
    between: float

    @property
    def quantile(self) -> float:
        """The 97.5 % quantile of Student's t distribution with R - 1 degrees of freedom."""
        return t_quantile(self.fits - 1)


@dataclass(frozen=True)
class BorrowedSpread:
    """Spread between the fits of other rows of the column, for a row with a single fit.

    Args:
        rows: Number of rows with at least two fits.
        df: Degrees of freedom: the sum of R - 1.
        observed: Pooled variance of the values.
        between: Pooled variance component between fits, F0.
    """

    rows: int
    df: int
    observed: float
    between: float


@dataclass(frozen=True)
class PairAgain:
    """The difference of a pair if both methods were trained again.

    Args:
        p: Two-sided p value.
        half_width: Half of the 95 % interval of the difference.
        spread: Spread of the differences between fits.
    """

    p: float
    half_width: float
    spread: FitSpread

    @property
    def conclusive(self) -> bool:
        """Whether the number of fits allows a statement on other fits."""
        return self.spread.fits >= CONCLUSIVE_FITS


def fit_spread(scores: Scores) -> FitSpread | None:
    """Spread between the fits of an accuracy, a difference or a harmonic mean; None for a single repeat.

    Args:
        scores: A value whose repeats are fits. Repeats of one fit on several lists must not be passed.
    """
    if scores.repeats < 2:
        return None
    observed = float(np.var(scores.values, ddof=1))
    deviations = scores.by_repeat - scores.scores
    interaction = float((deviations**2).sum()) / (scores.repeats - 1)
    return FitSpread(scores.repeats, observed, interaction, max(0.0, observed - interaction))


def half_width_again(scores: Scores, spread: FitSpread) -> float:
    """Half of the 95 % interval of a value over other videos and other fits, before it is bounded to 0..1."""
    fits = spread.quantile**2 * spread.between / spread.fits
    return math.sqrt(scores.quantile**2 * scores.variance + fits)


def pair_again(difference: Scores) -> PairAgain | None:
    """The difference of two methods if both were trained again; None for a single repeat.

    Args:
        difference: Differences of fits that are paired by their repeat index.
    """
    spread = fit_spread(difference)
    if spread is None or difference.one_source:
        return None
    p = p_again(
        np.array([difference.mean]), np.array([difference.variance]), np.array([difference.df]),
        np.array([spread.between]), np.array([spread.fits]),
    )  # fmt: skip
    return PairAgain(float(p[0]), half_width_again(difference, spread), spread)


def p_again(
    gap: NDArray[np.float64],
    variance: NDArray[np.float64],
    df: NDArray[np.float64],
    between: NDArray[np.float64],
    fits: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Two-sided p values of P differences over other videos and other fits, by bisection.

    The p value is the alpha at which gap^2 = t(df)^2 variance + t(R - 1)^2 between / R.

    Args:
        gap: (P,) differences.
        variance: (P,) variances over other videos.
        df: (P,) degrees of freedom of `variance`.
        between: (P,) variance components between fits.
        fits: (P,) numbers of fits R, at least 2.

    Returns:
        (P,) p values; 1 for a gap of 0, 0 for a gap without any variance.
    """
    square = np.asarray(gap, dtype=np.float64) ** 2
    # The tail alpha / 2 is halved on a logarithmic scale, on which small p values have the same relative accuracy.
    low, high = np.full(len(square), -700.0), np.full(len(square), math.log(0.5))
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        tail = np.exp(middle)
        width = special.stdtrit(df, tail) ** 2 * variance + special.stdtrit(fits - 1, tail) ** 2 * between / fits
        wider = width > square
        low, high = np.where(wider, middle, low), np.where(wider, high, middle)
    p = np.minimum(1.0, 2.0 * np.exp((low + high) / 2.0))
    return np.where(square == 0.0, 1.0, np.where((variance == 0.0) & (between == 0.0), 0.0, p))


def borrow_spread(spreads: Sequence[FitSpread]) -> BorrowedSpread | None:
    """Pool the spreads of the rows of a column with at least two fits; None if there is no such row."""
    if not spreads:
        return None
    weights = np.array([spread.fits - 1 for spread in spreads])
    observed, between = (
        float(np.average(values, weights=weights))
        for values in ([spread.observed for spread in spreads], [spread.between for spread in spreads])
    )
    return BorrowedSpread(len(spreads), int(weights.sum()), observed, between)


def borrowed_half_width(difference: Scores, borrowed: BorrowedSpread, trained_sides: int) -> float:
    """Half of the 95 % interval of a difference of single fits if their fits spread as those of other rows.

    Args:
        difference: Difference of two single fits.
        borrowed: Spread of a single side, pooled over other rows.
        trained_sides: 2 if both methods are trained, 1 if one of them is.
    """
    fits = t_quantile(borrowed.df, LEVEL) ** 2 * trained_sides * borrowed.between
    return math.sqrt(difference.quantile**2 * difference.variance + fits)
