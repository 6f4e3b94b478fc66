"""Sign-flip tests of all pairs of rows of a column, vectorised."""

from __future__ import annotations

import math
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
_FEW_SIZES = 3
"""Largest number of right answers of a cluster for which differences are counted by Gram matrices."""

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]
Whole = NDArray[np.int32]


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
    exact = np.zeros(len(at[0]), dtype=np.bool_)
    if a[0].harmonic:
        return FlipTable(_differing(sums_a, sums_b, at), np.full(len(at[0]), np.nan), exact)
    first, second = sums_a[:, 0].astype(np.float64), sums_b[:, 0].astype(np.float64)
    # Sums of whole numbers below 2^53 are exact, so that the difference of Gram matrices loses no digits.
    own = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None, :]
    squares = np.rint(own - 2.0 * first @ second.T)[at].astype(np.int64)
    totals = np.abs(first.sum(axis=1)[at[0]] - second.sum(axis=1)[at[1]]).astype(np.int64)
    if max(sums_a.max(), sums_b.max()) - min(sums_a.min(), sums_b.min()) <= 1:
        # Differences of -1, 0 and 1: McNemar's exact test takes no more time than the approximation.
        return FlipTable(squares, flip_ps(squares[:, None], totals), exact)
    counts = _counts(sums_a[:, 0], sums_b[:, 0])[at] if max(sums_a.max(), sums_b.max()) <= _FEW_SIZES else None
    differing = _differing(sums_a, sums_b, at) if counts is None else counts.sum(axis=1)
    p = 2.0 * special.ndtr(-totals / np.sqrt(np.maximum(squares, 1)))
    far = (p < ALPHA / pairs / FAR_BELOW) | ((p > FAR_ABOVE) & (differing >= MANY_CLUSTERS))
    near = np.flatnonzero(~far)
    if counts is None:
        p[near] = _exact(sums_a[:, 0], sums_b[:, 0], (at[0][near], at[1][near]), totals[near])
    else:
        p[near] = flip_ps(counts[near], totals[near])
    return FlipTable(differing, p, far)


def _whole_units(a: Sequence[RowScores], b: Sequence[RowScores]) -> tuple[Whole, Whole]:
    """(len(a), K, G) and (len(b), K, G) right answers over all repeats, in the same units."""
    repeats = max(len(a[0].sums), len(b[0].sums))
    # A single repeat is paired with every repeat of the other side, and counts once for each.
    sums = [np.stack([row.sums.sum(axis=0) * (repeats // len(row.sums)) for row in side]) for side in (a, b)]
    # A single repeat of both sides, or lists of equal weight, leave a common factor.
    unit = max(1, math.gcd(*(int(np.gcd.reduce(side, axis=None)) for side in sums)))
    return (sums[0] // unit).astype(np.int32), (sums[1] // unit).astype(np.int32)


def _by_row(at: Pairs) -> Iterator[slice]:
    """Slices of the pairs with one row of the first side."""
    starts = np.flatnonzero(np.diff(at[0], prepend=-1)).tolist()
    yield from map(slice, starts, [*starts[1:], len(at[0])])


def _differing(a: Whole, b: Whole, at: Pairs) -> NDArray[np.int64]:
    """(P,) numbers of clusters in which the rows differ."""
    result = np.zeros(len(at[0]), dtype=np.int64)
    for part in _by_row(at):
        differs = (a[at[0][part.start]] != b[at[1][part]]).any(axis=1)
        result[part] = differs.sum(axis=1, dtype=np.int32)
    return result


def _exact(a: Whole, b: Whole, at: Pairs, totals: NDArray[np.int64]) -> NDArray[np.float64]:
    """(P,) exact p values of (len(a), G) and (len(b), G) sums."""
    largest = int(max(a.max(initial=0), b.max(initial=0)))
    if largest > _MOST_SIZES:
        return np.array([flip_p(a[i].astype(np.int64) - b[j]) for i, j in zip(*at, strict=True)], dtype=np.float64)
    counts = np.zeros((len(at[0]), largest), dtype=np.int64)
    for part in _by_row(at):
        sizes = np.abs(a[at[0][part.start]] - b[at[1][part]]).astype(np.int64)
        offsets = np.arange(len(sizes))[:, None] * (largest + 1)
        counted = np.bincount((sizes + offsets).ravel(), minlength=len(sizes) * (largest + 1))
        counts[part] = counted.reshape(len(sizes), largest + 1)[:, 1:]
    return flip_ps(counts, totals)


def _counts(a: Whole, b: Whole) -> NDArray[np.int64]:
    """(len(a), len(b), D) numbers of clusters that differ by 1, ..., D, from Gram matrices; quick for few sizes."""
    largest = int(max(a.max(initial=0), b.max(initial=0)))
    counts = np.zeros((len(a), len(b), largest))
    of_a, of_b = ([(side == value).astype(np.float64) for value in range(largest + 1)] for side in (a, b))
    for first in range(largest + 1):
        for second in range(largest + 1):
            if first != second:
                counts[:, :, abs(first - second) - 1] += of_a[first] @ of_b[second].T
    return np.rint(counts).astype(np.int64)
