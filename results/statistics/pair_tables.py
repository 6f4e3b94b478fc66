"""Differences, variances and p values of all pairs of rows of a column, vectorised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from results.statistics.pairs import PairTest, test_pair
from results.statistics.row_scores import RowScores

MANY_CLUSTERS = 30
"""Number of differing clusters from which the normal approximation may settle a p value far above every threshold."""
FAR_ABOVE = 0.2
"""P value that is far above every threshold."""
FAR_BELOW = 100.0
"""Factor below the smallest threshold of Holm's correction; the exact p is at most 2 exp(-z^2 / 2)."""
_CANCELLED = 1e-3
"""Variance relative to those of both rows below which the difference of Gram matrices has lost too many digits."""
_CHUNK = 4_000_000
"""Largest number of (pair, cluster) entries at once, which bounds the memory."""


@dataclass(frozen=True)
class PairTable:
    """Tests of all pairs of M rows, as symmetric (M, M) matrices; the difference is antisymmetric.

    Args:
        difference: Row minus column, as a fraction.
        variance: Variance of the difference over other videos.
        df: Its degrees of freedom.
        effective: Effective number of clusters.
        differing: Number of clusters in which two rows differ.
        p: P value for other videos; 1 on the diagonal, NaN if a list has one source only.
        approximate: Whether `p` is a normal approximation.
        fits: Number of pairs of fits; 1 where no spread between fits is known.
        between: Variance component of the difference between fits, NaN if unknown.
        p_again: P value for other videos and other fits, NaN if unknown.
    """

    difference: NDArray[np.float64]
    variance: NDArray[np.float64]
    df: NDArray[np.float64]
    effective: NDArray[np.float64]
    differing: NDArray[np.int64]
    p: NDArray[np.float64]
    approximate: NDArray[np.bool_]
    fits: NDArray[np.int64]
    between: NDArray[np.float64]
    p_again: NDArray[np.float64]

    @property
    def rows(self) -> int:
        """Number of rows M."""
        return len(self.p)

    def half_width(self) -> NDArray[np.float64]:
        """(M, M) halves of the 95 % intervals of the differences over other videos, as fractions."""
        quantile = special.stdtrit(self.df, 0.975)
        none = quantile**2 / (quantile**2 + self.effective)
        return np.asarray(np.where(self.variance > 0.0, quantile * np.sqrt(self.variance), none))

    def half_width_again(self) -> NDArray[np.float64]:
        """(M, M) halves of the 95 % intervals over other videos and other fits, NaN if unknown."""
        fits = special.stdtrit(np.maximum(self.fits - 1, 1), 0.975) ** 2 * self.between / self.fits
        return np.asarray(np.sqrt(self.half_width() ** 2 + fits))


def pair_table(rows: Sequence[RowScores]) -> PairTable:
    """Test all pairs of rows on the repeats that both have.

    The p value is that of the sign-flip test of clusters, or of the t test for harmonic means. The normal approximation
    replaces the sign-flip test only where it is far from every threshold of Holm's correction.

    Args:
        rows: M rows on the same lists.

    Raises:
        ValueError: The clusters of two rows differ, or two rows have no common repeat.
    """
    size = len(rows)
    table = PairTable(
        np.zeros((size, size)), np.zeros((size, size)), np.ones((size, size)), np.ones((size, size)),
        np.zeros((size, size), dtype=np.int64), np.ones((size, size)), np.zeros((size, size), dtype=np.bool_),
        np.ones((size, size), dtype=np.int64), np.full((size, size), np.nan), np.full((size, size), np.nan),
    )  # fmt: skip
    for row in rows[1:]:
        if not np.array_equal(row.scores.clusters, rows[0].scores.clusters):
            raise ValueError("rows of a column must be measured on the same lists, found different clusters")
    for i, row in enumerate(rows):
        for j, other in enumerate(rows[:i]):
            _write(table, (i, j), test_pair(row, other))
    return table


def _write(table: PairTable, at: tuple[int, int], test: PairTest) -> None:
    """Write the test of a pair on both sides of the diagonal."""
    i, j = at
    table.difference[i, j], table.difference[j, i] = test.difference, -test.difference
    table.variance[[i, j], [j, i]] = test.scores.variance
    table.df[[i, j], [j, i]] = test.scores.df
    table.effective[[i, j], [j, i]] = test.scores.effective
    table.differing[[i, j], [j, i]] = test.differing
    table.p[[i, j], [j, i]] = test.p
    if test.again is not None:
        table.fits[[i, j], [j, i]] = test.again.spread.fits
        table.between[[i, j], [j, i]] = test.again.spread.between
        table.p_again[[i, j], [j, i]] = test.again.p
