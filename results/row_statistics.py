"""Statistics of table cells and of pairs of rows, as boards, verdicts and comparisons print them.

Intervals and differences are in percent, variances are squared fractions (0 to 1). Two questions are kept apart:
`other` (would these fits score the same on other videos of these classes?) and `again` (would the method, trained
again, score the same on other videos?).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from results.row_samples import RowSample
from results.statistics.intervals import Interval, cell_interval, cell_interval_again
from results.statistics.pairs import compare_pair
from results.statistics.row_scores import common_indices
from results.statistics.trained_again import fit_spread

TINY = 1e-15
"""Variances below it are rounding errors of 0."""


@dataclass(frozen=True)
class CellStatistics:
    """Intervals of one cell.

    Args:
        other: 95 % interval for other videos of these classes, from other sources.
        plain: The same with every video as its own source.
        again: 95 % interval for the method trained again; None with fewer than two fits.
        fits: Number of fits; 0 for an untrained method.
        variance: V, the variance of the mean for other videos.
        fit_variance: F, the variance between fits beyond that of their videos; None with fewer than two fits.
        df: Degrees of freedom of V.
        sources: Effective number of clusters (G_eff).
        known: Whether the sources of the videos are known; if not, every video counts on its own.
        design_effect: V divided by the variance with every video as its own source; None if the latter is 0.
    """

    other: Interval
    plain: Interval
    again: Interval | None
    fits: int
    variance: float
    fit_variance: float | None
    df: float
    sources: float
    known: bool
    design_effect: float | None

    @property
    def longer(self) -> float:
        """Length of the interval divided by its length with every video as its own source."""
        plain = self.plain.high - self.plain.low
        return (self.other.high - self.other.low) / plain if plain > 0 else 1.0


@dataclass(frozen=True)
class PairStatistics:
    """Two rows A and B in one column.

    Args:
        a, b: Keys of the rows.
        difference: A - B in points.
        p: p value for other videos; None if there is one source only.
        p_holm: `p` after Holm's correction over all pairs of the group's column.
        approximate: Whether `p` is the normal approximation, which is used only far from every threshold.
        differing: Number of clusters on which A and B differ.
        few_sources: Whether the smallest possible p of so few differing sources exceeds Holm's first threshold.
        interval: 95 % interval of the difference for other videos.
        fits: Number of fits of the pair: repeats with a fit of their own that both rows have.
        p_again: p value for methods that are trained again; None with fewer than two fits on a trained side.
        p_again_holm: `p_again` after Holm's correction over all such pairs of the column.
        again: 95 % interval of the difference for methods that are trained again.
        variance, fit_variance, df, sources, known: As in `CellStatistics`, of the difference.
    """

    a: str
    b: str
    difference: float
    p: float | None
    p_holm: float | None
    approximate: bool
    differing: int
    few_sources: bool
    interval: Interval | None
    fits: int
    p_again: float | None
    p_again_holm: float | None
    again: Interval | None
    variance: float
    fit_variance: float | None
    df: float
    sources: float
    known: bool

    @property
    def turned(self) -> PairStatistics:
        """The statistics of B against A."""
        return replace(
            self, a=self.b, b=self.a, difference=-self.difference, interval=_turned(self.interval),
            again=_turned(self.again),
        )  # fmt: skip


def _turned(interval: Interval | None) -> Interval | None:
    return None if interval is None else Interval(-interval.high, -interval.low)


def cell_statistics(sample: RowSample) -> CellStatistics | None:
    """The statistics of a cell; None if all videos of a list have one source.

    Raises:
        ValueError: The sample has no plain scores any more.
    """
    scores, plain = sample.row.scores, sample.plain
    if plain is None:
        raise ValueError("need the scores with every video as its own cluster, found none")
    other, simple = cell_interval(scores), cell_interval(plain)
    if other is None or simple is None:
        return None
    spread = fit_spread(scores) if sample.row.fits else None
    return CellStatistics(
        other=other, plain=simple, again=cell_interval_again(scores, spread) if spread else None, fits=sample.fits,
        variance=scores.variance, fit_variance=spread.between if spread else None, df=scores.df,
        sources=scores.effective, known=sample.known,
        design_effect=scores.variance / plain.variance if plain.variance > TINY else None,
    )  # fmt: skip


def pair_statistics(a: RowSample, b: RowSample, names: tuple[str, str] = ("", "")) -> PairStatistics:
    """The statistics of two rows on the same lists; the p values after Holm's correction are those of one pair."""
    found = compare_pair(a.row, b.row)
    again = found.again if found.again is not None and paired_fits(a, b) > 1 else None
    p = None if math.isnan(found.p) else found.p
    return PairStatistics(
        a=names[0], b=names[1], difference=100.0 * found.difference, p=p, p_holm=p, approximate=False,
        differing=found.differing, few_sources=p is not None and found.too_few_sources(), interval=found.interval,
        fits=paired_fits(a, b), p_again=again.p if again else None, p_again_holm=again.p if again else None,
        again=found.interval_again if again else None, variance=found.scores.variance,
        fit_variance=again.spread.between if again else None, df=found.scores.df, sources=found.scores.effective,
        known=a.known and b.known,
    )  # fmt: skip


def paired_fits(a: RowSample, b: RowSample) -> int:
    """Number of fits of two rows that are paired; 1 if a trained side has one fit, 0 if nothing is trained."""
    trained = [sample for sample in (a, b) if sample.fits]
    # One fit on a side gives no spread between fits, however many the other side has.
    if len(trained) < 2 or 1 in (trained[0].fits, trained[1].fits):
        return min((sample.fits for sample in trained), default=0)
    return len(common_indices(a.row.indices, b.row.indices))
