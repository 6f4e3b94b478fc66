"""Differences, variances and p values of all pairs of rows of a column, vectorised."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from results.statistics.flip_tables import FlipTable, flip_table
from results.statistics.row_scores import RowScores, at_indices, common_indices
from results.statistics.scores import NEGLIGIBLE, degrees_of_freedom, t_quantile
from results.statistics.trained_again import p_again, variance_between

_CANCELLED = 1e-3
"""Variance relative to those of both rows below which the difference of Gram matrices has lost too many digits."""
_CHUNK = 1_000_000
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

    def half_width(self, i: int, j: int) -> float:
        """Half of the 95 % interval of the difference of rows `i` and `j` over other videos, as a fraction."""
        quantile, variance = t_quantile(float(self.df[i, j])), float(self.variance[i, j])
        if variance > 0.0:
            return quantile * math.sqrt(variance)
        # The upper end of Wilson's interval for a share of 0: videos on which the rows differ may be too rare for the
        # list.
        return quantile**2 / (quantile**2 + float(self.effective[i, j]))

    def half_width_again(self, i: int, j: int) -> float:
        """Half of the 95 % interval of rows `i` and `j` over other videos and other fits, NaN if unknown."""
        fits = int(self.fits[i, j])
        share = t_quantile(max(fits - 1, 1)) ** 2 * float(self.between[i, j]) / fits
        return math.sqrt(self.half_width(i, j) ** 2 + share)


def pair_table(rows: Sequence[RowScores]) -> PairTable:
    """Test all pairs of rows on the repeats that both have; equal to `results.statistics.pairs.compare_pair` of each.

    The normal approximation replaces the exact sign-flip test only where the p value is far from every threshold of
    Holm's correction, see `results.statistics.flip_tables`.

    Args:
        rows: M rows on the same lists.

    Raises:
        ValueError: The clusters of two rows differ, or two rows have no common repeat.
    """
    for row in rows[1:]:
        if not np.array_equal(row.scores.clusters, rows[0].scores.clusters):
            raise ValueError("rows of a column must be measured on the same lists, found different clusters")
    table = _empty(len(rows))
    pairs = len(rows) * (len(rows) - 1) // 2
    for block in _blocks(rows):
        i, j = block.pairs()
        if not len(i):
            continue
        at = block.left[i], block.right[j]
        tests = _tested(block, pairs)
        for name, values in vars(tests).items():
            matrix = getattr(table, name)
            matrix[at] = values
            matrix[at[::-1]] = -values if name == "difference" else values
    return table


def _empty(size: int) -> PairTable:
    """A table of rows that do not differ."""

    def full(value: float) -> NDArray[np.float64]:
        return np.full((size, size), value)

    whole = np.zeros((size, size), dtype=np.int64)
    return PairTable(
        full(0.0), full(0.0), full(1.0), full(1.0), whole, full(1.0), whole.astype(np.bool_), whole + 1,
        full(np.nan), full(np.nan),
    )  # fmt: skip


@dataclass(frozen=True)
class _Block:
    """Rows with equal repeats, against rows with equal repeats.

    Args:
        left, right: Positions of the rows in the column.
        a, b: The rows at the repeats that both sides have.
        same: Whether both sides are the same rows.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    a: list[RowScores]
    b: list[RowScores]
    same: bool

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions in `a` and in `b` of the P pairs; each pair of a column occurs once."""
        if self.same:
            return np.triu_indices(len(self.a), 1)
        i, j = np.indices((len(self.a), len(self.b)))
        return i.ravel(), j.ravel()


def _blocks(rows: Sequence[RowScores]) -> Iterator[_Block]:
    """All pairs of sets of rows with equal repeats."""
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for position, row in enumerate(rows):
        groups[row.indices].append(position)
    keys = list(groups)
    for number, first in enumerate(keys):
        for second in keys[number:]:
            indices = common_indices(first, second)
            if first and second and not indices:
                raise ValueError(f"need a common repeat, found {list(first)} and {list(second)}")
            a, b = ([at_indices(rows[i], indices) for i in groups[key]] for key in (first, second))
            yield _Block(np.array(groups[first]), np.array(groups[second]), a, b, first == second)


@dataclass(frozen=True)
class _Sums:
    """Sums over clusters for all pairs of a block, as (len(a), len(b)) matrices.

    Args:
        variance: Sum of the squared scores of the differences.
        fourth: Sum of their fourth powers.
        interaction: Interaction of fits and videos; 0 for a single repeat.
        df_rule: Degrees of freedom from the shares of the clusters.
    """

    variance: NDArray[np.float64]
    fourth: NDArray[np.float64]
    interaction: NDArray[np.float64]
    df_rule: NDArray[np.float64]


def _tested(block: _Block, pairs: int) -> PairTable:
    """The tests of the P pairs of a block, as (P,) arrays.

    Args:
        block: The rows.
        pairs: Number of pairs of the column, for Holm's correction.
    """
    i, j = block.pairs()
    first, second = block.a[0].scores, block.b[0].scores
    repeats = max(first.repeats, second.repeats)
    values_a, values_b = (np.stack([row.scores.values for row in side]) for side in (block.a, block.b))
    gaps = values_a[i] - values_b[j]
    difference = gaps.mean(axis=1)
    sums = _sums(block)
    variance, fourth, interaction = sums.variance[i, j], sums.fourth[i, j], sums.interaction[i, j]
    # As `Scores.df_observed`: 2 for a variance of 0.
    observed = np.where(variance > 0.0, variance**2 / np.where(fourth > 0.0, fourth, 1.0), 2.0)
    df = degrees_of_freedom(sums.df_rule[i, j], observed, first.repeated)
    effective = np.minimum(*(_effective(side)[k] for side, k in ((block.a, i), (block.b, j))))
    flips = flip_table(block.a, block.b, (i, j), pairs)
    p = _harmonic_p(difference, variance, df, flips) if block.a[0].harmonic else flips.p
    fits, between, again = np.ones(len(i), dtype=np.int64), np.full(len(i), np.nan), np.full(len(i), np.nan)
    known = np.array([row.fits for row in block.a])[i] | np.array([row.fits for row in block.b])[j]
    if repeats > 1 and known.any():
        spread = variance_between(gaps.var(axis=1, ddof=1), interaction)[known]
        fits[known], between[known] = repeats, spread
        again[known] = p_again(difference[known], variance[known], df[known], spread, repeats)
    if first.one_source or second.one_source:
        p, again = np.full(len(i), np.nan), np.full(len(i), np.nan)
    return PairTable(difference, variance, df, effective, flips.differing, p, flips.approximate, fits, between, again)


def _effective(side: Sequence[RowScores]) -> NDArray[np.float64]:
    return np.array([row.scores.effective for row in side])


def _harmonic_p(
    difference: NDArray[np.float64], variance: NDArray[np.float64], df: NDArray[np.float64], flips: FlipTable
) -> NDArray[np.float64]:
    """(P,) p values of the t test, see `results.statistics.pairs.harmonic_p`."""
    gap = np.abs(difference)
    t = gap / np.sqrt(np.where(variance > 0.0, variance, 1.0))
    least = np.minimum(1.0, 2.0 ** (1.0 - flips.differing))
    return np.where(variance > 0.0, 2.0 * special.stdtr(df, -t), np.where(gap > 0.0, least, 1.0))


def _sums(block: _Block) -> _Sums:
    """Sums over clusters from Gram matrices; directly for pairs of almost equal rows, where digits cancel."""
    a, b = (np.stack([row.scores.scores for row in side]) for side in (block.a, block.b))
    own = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :]
    variance = own - 2.0 * a @ b.T
    fourth = _fourth(a, -b) if block.a[0].scores.repeated else np.zeros_like(variance)
    repeats, interaction = _repeats(block), np.zeros_like(variance)
    if repeats > 1:
        # The squared deviations from the mean: the sum of the squares minus R times the square of the mean.
        interaction = (_within(block, repeats) - repeats * variance) / (repeats - 1)
    i, j = np.nonzero(variance < _CANCELLED * own)
    for part in np.array_split(np.arange(len(i)), max(1, len(i) * a.shape[1] * repeats // _CHUNK)):
        of_repeats = _by_repeat(block.a, i[part]) - _by_repeat(block.b, j[part])
        mean = of_repeats.mean(axis=1)
        variance[i[part], j[part]] = (mean**2).sum(axis=1)
        fourth[i[part], j[part]] = (mean**4).sum(axis=1)
        if repeats > 1:
            interaction[i[part], j[part]] = ((of_repeats - mean[:, None]) ** 2).sum(axis=(1, 2)) / (repeats - 1)
    variance[variance <= NEGLIGIBLE] = 0.0
    return _Sums(variance, fourth, np.maximum(interaction, 0.0), _df_rules(block))


def _repeats(block: _Block) -> int:
    return max(block.a[0].scores.repeats, block.b[0].scores.repeats)


def _by_repeat(side: Sequence[RowScores], positions: NDArray[np.int64]) -> NDArray[np.float64]:
    """(P, R, G) scores of the rows at P positions."""
    if not len(positions):
        return np.zeros((0, *side[0].scores.by_repeat.shape))
    return np.stack([side[k].scores.by_repeat for k in positions.tolist()])


def _within(block: _Block, repeats: int) -> NDArray[np.float64]:
    """(len(a), len(b)) sums over repeats of the squared scores of the differences."""
    total = np.zeros((len(block.a), len(block.b)))
    for repeat in range(repeats):
        a, b = (
            # A single repeat is paired with every repeat of the other side.
            np.stack([row.scores.by_repeat[repeat if row.scores.repeats > 1 else 0] for row in side])
            for side in (block.a, block.b)
        )
        total += (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2.0 * a @ b.T
    return total


def _fourth(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of the fourth powers of a + b for all pairs of rows."""
    a2, b2 = a * a, b * b
    # Expanded, so that matrix products replace an array of all pairs and clusters.
    own = (a2 * a2).sum(axis=1)[:, None] + (b2 * b2).sum(axis=1)[None, :]
    return np.asarray(own + 4.0 * ((a2 * a) @ b.T + a @ (b2 * b).T) + 6.0 * a2 @ b2.T)


def _df_rules(block: _Block) -> NDArray[np.float64]:
    """Degrees of freedom from the shares; accuracies on the same lists have equal shares, harmonic means have not."""
    first = block.a[0].scores
    if not block.a[0].harmonic:
        return np.full((len(block.a), len(block.b)), first.df_rule)
    a, b = (np.stack([row.scores.shares for row in side]) for side in (block.a, block.b))
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] + 2.0 * a @ b.T
    # The factor 1 / 2 of the mean share cancels.
    return np.asarray((1.0 - first.strata / len(first.clusters)) * squares**2 / _fourth(a, b))
