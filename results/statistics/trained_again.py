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
_MOST_STEPS = 200
"""Steps of Newton's method and bisection; about six suffice."""
_LEAST_TAIL = 1e-200


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
        np.array([spread.between]), spread.fits,
    )  # fmt: skip
    return PairAgain(float(p[0]), half_width_again(difference, spread), spread)


def p_again(
    gap: NDArray[np.float64],
    variance: NDArray[np.float64],
    df: NDArray[np.float64],
    between: NDArray[np.float64],
    fits: int,
) -> NDArray[np.float64]:
    """Two-sided p values of P differences over other videos and other fits.

    The p value is the alpha at which gap^2 = t(df)^2 variance + t(R - 1)^2 between / R. The quantile t(df) is the
    unknown of the equation; it is found by Newton's method, and by bisection where a step leaves the bracket.

    Args:
        gap: (P,) differences.
        variance: (P,) variances over other videos.
        df: (P,) degrees of freedom of `variance`.
        between: (P,) variance components between fits.
        fits: Number of fits R, at least 2.

    Returns:
        (P,) p values; 1 for a gap of 0, 0 for a gap without any variance.
    """
    square, share = gap**2, between / fits
    tiny = np.finfo(np.float64).tiny
    # Each of the two terms alone bounds the quantile from above.
    tail = special.stdtr(fits - 1, -np.sqrt(square / np.maximum(share, tiny)))
    # The inverse fails for smaller tails, for which the first bound is enough.
    bound = np.where(tail > _LEAST_TAIL, -special.stdtrit(df, np.maximum(tail, _LEAST_TAIL)), np.inf)
    high = np.minimum(np.sqrt(square / np.maximum(variance, tiny)), bound)
    low, x = np.zeros_like(high), high.copy()
    active = np.flatnonzero((share > 0.0) & (variance > 0.0) & (square > 0.0))
    for _ in range(_MOST_STEPS):
        if not len(active):
            break
        at = x[active]
        value, slope = _excess(at, square[active], variance[active], df[active], share[active], fits)
        high[active] = np.where(value > 0.0, at, high[active])
        low[active] = np.where(value > 0.0, low[active], at)
        step = at - value / np.where(slope > 0.0, slope, np.inf)
        inside = (step >= low[active]) & (step <= high[active])
        x[active] = np.where(inside, step, (low[active] + high[active]) / 2.0)
        active = active[np.abs(x[active] - at) > 1e-13 * np.maximum(at, 1e-3)]
    p = np.minimum(1.0, 2.0 * np.where(variance > 0.0, special.stdtr(df, -x), tail))
    none = (variance == 0.0) & (between == 0.0)
    return np.asarray(np.where(square == 0.0, 1.0, np.where(none, 0.0, p)))


def _excess(
    x: NDArray[np.float64],
    square: NDArray[np.float64],
    variance: NDArray[np.float64],
    df: NDArray[np.float64],
    share: NDArray[np.float64],
    fits: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """x^2 variance + t(R - 1)^2 share - gap^2 as a function of x = t(df), and its derivative."""
    tail = np.maximum(special.stdtr(df, -x), np.finfo(np.float64).tiny)
    other = _upper_quantile(fits - 1, tail)
    slope = np.exp(_log_density(df, x) - _log_density(np.asarray(fits - 1.0), other))
    return x**2 * variance + other**2 * share - square, 2.0 * (x * variance + other * slope * share)


def _upper_quantile(df: int, tail: NDArray[np.float64]) -> NDArray[np.float64]:
    """The quantile of Student's t distribution with probability `tail` above it; in closed form for two or three fits.

    Closed forms take a tenth of the time of scipy's inverse, which counts for the pairs of a long column.
    """
    if df == 1:
        return np.asarray(1.0 / np.tan(np.pi * tail))
    if df == 2:
        return np.asarray((1.0 - 2.0 * tail) / np.sqrt(2.0 * tail * (1.0 - tail)))
    return np.asarray(-special.stdtrit(df, tail))


def _log_density(df: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of the density of Student's t distribution."""
    constant = special.gammaln((df + 1.0) / 2.0) - special.gammaln(df / 2.0) - 0.5 * np.log(np.pi * df)
    return np.asarray(constant - (df + 1.0) / 2.0 * np.log1p(x**2 / df))


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
