"""Ranks of rows that differ only if a paired test on the videos separates the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from results.statistics.holm import holm
from results.statistics.paired import flip_ps

ALPHA = 0.05


@dataclass(frozen=True)
class Ranking:
    """Ranks of rows, in the order of the rows.

    Args:
        ranks: 1 + the number of rows that are better and separable. Rows can share a rank.
        groups: For each row the indices of all rows that are not separable from it, including the row itself.
        p: (R, R) p values after Holm's correction over all pairs; the diagonal is 1.
    """

    ranks: tuple[int, ...]
    groups: tuple[frozenset[int], ...]
    p: NDArray[np.float64]


def rank(values: Sequence[float], p: NDArray[np.float64], alpha: float = ALPHA) -> Ranking:
    """Ranks from scores (higher is better) and the raw p values of all pairs, corrected by Holm's procedure.

    Args:
        values: R scores.
        p: (R, R) symmetric raw p values.
        alpha: Two rows with a corrected p value below it are separable.
    """
    size = len(values)
    corrected = np.ones((size, size))
    upper = np.triu_indices(size, 1)
    if size > 1:
        corrected[upper] = holm(p[upper])
        corrected = np.minimum(corrected, corrected.T)
    separable = corrected < alpha
    scores = np.asarray(values)
    ranks = 1 + (separable & (scores[None, :] > scores[:, None])).sum(axis=1)
    groups = tuple(frozenset(np.flatnonzero(~separable[row]).tolist()) for row in range(size))
    return Ranking(tuple(int(r) for r in ranks), groups, corrected)


def pairwise_p(right: NDArray[np.int64]) -> NDArray[np.float64]:
    """The (R, R) raw p values of the sign-flip test between all pairs of rows.

    Args:
        right: (R, N) correct predictions of each row on each video, in units common to all rows.

    Outcomes of 0 and 1 need one vectorised pass (McNemar's exact test). With several repeats, the normal approximation
    is used if it is far from every threshold of Holm's correction (100 times below the smallest threshold, or above
    0.2); all other pairs are tested exactly.
    """
    size = len(right)
    result = np.ones((size, size))
    if size < 2:
        return result
    x = right.astype(np.float64)
    gram = x @ x.T
    squares = np.diag(gram)[:, None] + np.diag(gram)[None, :] - 2.0 * gram
    totals = x.sum(axis=1)
    gap = np.abs(totals[:, None] - totals[None, :])
    if set(np.unique(right)) <= {0, 1}:
        differ = np.rint(squares)
        fewer = (differ - gap) / 2.0
        return np.where(differ > 0, np.minimum(1.0, 2.0 * stats.binom.cdf(fewer, np.maximum(differ, 1), 0.5)), 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        normal = 2.0 * stats.norm.sf(np.where(squares > 0, gap / np.sqrt(squares), 0.0))
    result = np.where(squares > 0, normal, 1.0)
    pairs = size * (size - 1) / 2
    near = np.argwhere(np.triu((normal > ALPHA / pairs / 100) & (normal < 0.2) & (squares > 0), 1))
    counts = _difference_counts(right)[:, near[:, 0], near[:, 1]].T
    exact = flip_ps(counts, gap[near[:, 0], near[:, 1]].astype(np.int64))
    result[near[:, 0], near[:, 1]] = result[near[:, 1], near[:, 0]] = exact
    np.fill_diagonal(result, 1.0)
    return result


def _difference_counts(right: NDArray[np.int64]) -> NDArray[np.int64]:
    """(D, R, R) numbers of videos on which two rows differ by 1, 2, ..., D."""
    top = int(right.max())
    equal = [(right == value).astype(np.float64) for value in range(top + 1)]
    counts = np.zeros((top, len(right), len(right)))
    for low in range(top + 1):
        for high in range(low + 1, top + 1):
            product = equal[low] @ equal[high].T
            counts[high - low - 1] += product + product.T
    return np.rint(counts).astype(np.int64)


def harmonic_pairwise_p(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """The (R, R) raw p values between the harmonic means of two accuracies, linearised (a paired z test).

    Args:
        first: (R, N) share of correct repeats of each row on each video of the first list.
        second: (R, M) share of correct repeats on each video of the second list.
    """
    a, b = first.mean(axis=1), second.mean(axis=1)
    total = np.where(a + b > 0, a + b, 1.0)
    slope_a, slope_b = 2 * b**2 / total**2, 2 * a**2 / total**2
    x = np.concatenate(
        [
            slope_a[:, None] * (first - a[:, None]) / first.shape[1],
            slope_b[:, None] * (second - b[:, None]) / second.shape[1],
        ],
        axis=1,
    )
    gram = x @ x.T
    variance = np.diag(gram)[:, None] + np.diag(gram)[None, :] - 2.0 * gram
    means = np.where(a + b > 0, 2 * a * b / total, 0.0)
    gap = np.abs(means[:, None] - means[None, :])
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(variance > 1e-18, gap / np.sqrt(np.maximum(variance, 1e-18)), np.where(gap > 0, np.inf, 0.0))
    result: NDArray[np.float64] = 2.0 * stats.norm.sf(z)
    np.fill_diagonal(result, 1.0)
    return result
