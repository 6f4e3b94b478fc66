"""Ranks of rows that differ only if a test of the pair separates the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from results.statistics.holm import holm
from results.statistics.pair_tables import PairTable
from results.statistics.pairs import ALPHA


@dataclass(frozen=True)
class Ranking:
    """Ranks of rows, in the order of the rows.

    Args:
        ranks: 1 + the number of rows that are better and separable. Rows can share a rank.
        groups: For each row the indices of all rows that are not separable from it, including the row itself.
        p_holm: (M, M) p values for other videos after Holm's correction over all pairs; the diagonal is 1.
        p_again_holm: (M, M) p values for other videos and other fits after Holm's correction over all pairs for which
            the spread between fits is known; NaN elsewhere.
        next_worse: For each row the index of the next worse row that is separable from it; None if there is none.
        holds_again: For each row, whether it is also separable from the row `next_worse` if both were trained again.
            None without such a row.
    """

    ranks: tuple[int, ...]
    groups: tuple[frozenset[int], ...]
    p_holm: NDArray[np.float64]
    p_again_holm: NDArray[np.float64]
    next_worse: tuple[int | None, ...]
    holds_again: tuple[bool | None, ...]


def rank(values: Sequence[float], table: PairTable, alpha: float = ALPHA) -> Ranking:
    """Ranks from values (higher is better) and the tests of all pairs.

    Args:
        values: M values.
        table: Tests of the M rows.
        alpha: Two rows with a corrected p value below it are separable.

    Raises:
        ValueError: The numbers of values and of rows differ.
    """
    size = len(values)
    if table.rows != size:
        raise ValueError(f"need tests of {size} rows, found {table.rows}")
    p_holm = corrected_pairs(np.where(np.isnan(table.p), 1.0, table.p))
    p_again_holm = corrected_pairs(table.p_again)
    np.fill_diagonal(p_holm, 1.0)
    separable = p_holm < alpha
    scores = np.asarray(values)
    ranks = 1 + (separable & (scores[None, :] > scores[:, None])).sum(axis=1)
    groups = tuple(frozenset(np.flatnonzero(~separable[row]).tolist()) for row in range(size))
    next_worse = tuple(_next_worse(scores, separable[row], row) for row in range(size))
    # A comparison with NaN is false, so that an unknown spread between fits does not hold.
    holds = tuple(None if j is None else bool(p_again_holm[i, j] < alpha) for i, j in enumerate(next_worse))
    return Ranking(tuple(int(r) for r in ranks), groups, p_holm, p_again_holm, next_worse, holds)


def corrected_pairs(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Holm's correction of a symmetric (M, M) matrix over all pairs with a p value; NaN stays."""
    result = np.full(p.shape, np.nan)
    rows, columns = np.triu_indices(len(p), 1)
    known = ~np.isnan(p[rows, columns])
    rows, columns = rows[known], columns[known]
    result[rows, columns] = result[columns, rows] = holm(p[rows, columns])
    return result


def _next_worse(scores: NDArray[np.float64], separable: NDArray[np.bool_], row: int) -> int | None:
    """The best of the rows that are worse than a row and separable from it."""
    worse = np.flatnonzero(separable & (scores < scores[row]))
    return int(worse[np.argmax(scores[worse])]) if len(worse) else None
