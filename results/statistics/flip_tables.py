"""Sign-flip tests of all pairs of rows of a column, vectorised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from results.statistics.flips import flip_p, flip_ps
from results.statistics.pairs import ALPHA
from results.statistics.row_scores import RowScores

MANY_CLUSTERS = 30
"""Number of differing clusters from which the normal approximation may settle a p value far above every threshold."""
FAR_ABOVE = 0.2
"""P value that is far above every threshold."""
FAR_BELOW = 100.0
"""Factor below the smallest threshold of Holm's correction; safe, because the exact p is at most 2 exp(-z^2 / 2)."""
_MOST_SIZES = 200
"""Largest difference of a cluster for which many pairs are tested together; larger ones come from weighted lists."""

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class FlipTable:
    """Tests of P pairs.

    Args:
        differing: (P,) numbers of clusters in which the rows differ.
        p: (P,) p values of the sign-flip test; NaN for harmonic means.
        approximate: (P,) whether the p value is a normal approximation.
    """

    differing: NDArray[np.int64]
    p: NDArray[np.float64]
    approximate: NDArray[np.bool_]


def flip_table(a: Sequence[RowScores], b: Sequence[RowScores], at: Pairs, pairs: int) -> FlipTable:
    """Test the differences of right answers by cluster, summed over repeats.

    Args:
        a: Rows with equal repeats.
        b: Rows with the same repeats, or with a single unnumbered repeat; either side can have it.
        at: Positions in `a` and in `b` of the P pairs, sorted by the position in `a`.
        pairs: Number of pairs of the column, for Holm's correction.
    """
    sums_a, sums_b = _whole_units(a, b)
    harmonic = a[0].harmonic
    differing, totals, squares = (np.zeros(len(at[0]), dtype=np.int64) for _ in range(3))
    for part, difference in _differences(sums_a, sums_b, at):
        differing[part] = (difference != 0).any(axis=1).sum(axis=1)
        if not harmonic:
            totals[part] = np.abs(difference.sum(axis=(1, 2)))
            squares[part] = (difference**2).sum(axis=(1, 2))
    if harmonic:
        return FlipTable(differing, np.full(len(at[0]), np.nan), np.zeros(len(at[0]), dtype=np.bool_))
    if (squares == differing).all():
        # Differences of -1, 0 and 1: McNemar's exact test takes no more time than the approximation.
        return FlipTable(differing, flip_ps(differing[:, None], totals), np.zeros(len(at[0]), dtype=np.bool_))
    z = totals / np.sqrt(np.maximum(squares, 1))
    p = 2.0 * special.ndtr(-z)
    far = (p < ALPHA / pairs / FAR_BELOW) | ((p > FAR_ABOVE) & (differing >= MANY_CLUSTERS))
    near = np.flatnonzero(~far)
    p[near] = _exact(sums_a, sums_b, (at[0][near], at[1][near]), totals[near])
    return FlipTable(differing, p, far)


def _whole_units(a: Sequence[RowScores], b: Sequence[RowScores]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(len(a), K, G) and (len(b), K, G) right answers over all repeats, in the same units."""
    repeats = max(len(a[0].sums), len(b[0].sums))
    first, second = (np.stack([row.sums.sum(axis=0) * (repeats // len(row.sums)) for row in side]) for side in (a, b))
    # A single repeat of both sides, or lists of equal weight, leave a common factor.
    unit = max(1, int(np.gcd.reduce(np.concatenate([first, second]), axis=None)))
    return first // unit, second // unit


def _differences(a: NDArray[np.int64], b: NDArray[np.int64], at: Pairs) -> Iterator[tuple[slice, NDArray[np.int64]]]:
    """Slices of the pairs with one row of `a`, and the differences (pairs, K, G) of their sums."""
    starts = np.flatnonzero(np.diff(at[0], prepend=-1))
    for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(at[0])], strict=True):
        yield slice(start, stop), a[at[0][start]][None] - b[at[1][start:stop]]


def _exact(a: NDArray[np.int64], b: NDArray[np.int64], at: Pairs, totals: NDArray[np.int64]) -> NDArray[np.float64]:
    """(P,) exact p values."""
    largest = int(max(a.max(initial=0), b.max(initial=0)))
    if largest > _MOST_SIZES:
        return np.array([flip_p(a[i, 0] - b[j, 0]) for i, j in zip(*at, strict=True)], dtype=np.float64)
    counts = np.zeros((len(at[0]), largest), dtype=np.int64)
    for part, difference in _differences(a, b, at):
        sizes = np.abs(difference[:, 0])
        offsets = np.arange(len(sizes))[:, None] * (largest + 1)
        counted = np.bincount((sizes + offsets).ravel(), minlength=len(sizes) * (largest + 1))
        counts[part] = counted.reshape(len(sizes), largest + 1)[:, 1:]
    return flip_ps(counts, totals)
