"""The value of a row in a column, with all that the tests of pairs need."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from results.statistics.list_design import ListDesign
from results.statistics.scores import RepeatLists, Scores, harmonic_scores, repeat_lists


@dataclass(frozen=True)
class RowScores:
    """Scores of a row in a column and its right answers by cluster.

    Args:
        scores: Scores of the accuracy or of the harmonic mean over R repeats.
        sums: (R, K, G) right answers of each repeat and cluster, in whole units common to all rows of the column. K is
            1, or 2 for the base and the novel column of a harmonic mean.
        indices: Indices of the R repeats; empty for a single repeat that is paired with every repeat of another row,
            such as that of an untrained method.
        fits: Whether the repeats are different fits. The repeats of an untrained method, and of one fit on several
            lists, are not.
    """

    scores: Scores
    sums: NDArray[np.int64]
    indices: tuple[int, ...]
    fits: bool

    @property
    def harmonic(self) -> bool:
        """Whether the value is a harmonic mean."""
        return len(self.sums[0]) > 1


def accuracy_row(
    lists: Sequence[ListDesign],
    right: Sequence[ArrayLike],
    indices: Sequence[int],
    fits: bool,
    weights: Sequence[int] | None = None,
) -> RowScores:
    """The accuracy of a row over R repeats.

    Args:
        lists: R lists; repeats on one list pass the same object.
        right: R arrays (N,) of right (1) and wrong (0) answers.
        indices: Indices of the repeats; empty for a single repeat that is paired with every repeat of another row.
        fits: Whether the repeats are different fits.
        weights: R whole-number weights of the lists in the sign-flip test, proportional to 1 / length; None for lists
            of (almost) equal lengths.

    Raises:
        ValueError: The numbers of lists, arrays, indices or weights differ.
    """
    if len(lists) != len(right) or not lists:
        raise ValueError(f"need as many lists as repeats and at least one, found {len(lists)} and {len(right)}")
    return row_on(repeat_lists(lists), right, indices, fits, weights)


def row_on(
    lists: RepeatLists,
    right: Sequence[ArrayLike],
    indices: Sequence[int],
    fits: bool,
    weights: Sequence[int] | None = None,
) -> RowScores:
    """The accuracy of a row over R repeats on prepared lists; other arguments and errors as in `accuracy_row`."""
    if len(indices) != len(lists.lists) and (indices or len(lists.lists) != 1):
        raise ValueError(f"need an index for each of {len(lists.lists)} repeats, found {len(indices)}")
    used = [1] * len(lists.lists) if weights is None else weights
    pairs = zip(lists.lists, right, used, strict=True)
    sums = [weight * design.sums(np.asarray(answers)[None])[0] for design, answers, weight in pairs]
    return RowScores(lists.of(right), lists.spread(sums)[:, None], tuple(indices), fits)


def harmonic_row(base: RowScores, novel: RowScores) -> RowScores | None:
    """The harmonic mean of two accuracies of a row; None if both are 0, where it is undefined.

    Only repeats that both accuracies have are used.
    """
    if base.indices and novel.indices:
        common = sorted(set(base.indices) & set(novel.indices))
        if not common:
            return None
        base, novel = at_indices(base, common), at_indices(novel, common)
    scores = harmonic_scores(base.scores, novel.scores)
    if scores is None:
        return None
    sums = np.zeros((scores.repeats, 2, len(scores.clusters)), dtype=np.int64)
    for part, side in enumerate((base, novel)):
        sums[:, part, np.searchsorted(scores.clusters, side.scores.clusters)] = side.sums[:, 0]
    return RowScores(scores, sums, base.indices or novel.indices, base.fits or novel.fits)


def at_indices(row: RowScores, indices: Sequence[int]) -> RowScores:
    """The row with some of its repeats, in the given order; a row with a single unnumbered repeat is unchanged.

    Raises:
        ValueError: The row does not have a repeat.
    """
    if not row.indices or tuple(indices) == row.indices:
        return row
    if missing := set(indices) - set(row.indices):
        raise ValueError(f"need repeats {sorted(missing)}, found {list(row.indices)}")
    positions = [row.indices.index(index) for index in indices]
    return RowScores(row.scores.select(positions), row.sums[positions], tuple(indices), row.fits)


def common_indices(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    """Indices of the repeats in which two rows are paired; those of the other row if one of them has none."""
    return tuple(sorted(set(a) & set(b))) if a and b else tuple(a or b)


def flip_differences(a: RowScores, b: RowScores) -> NDArray[np.int64]:
    """(K, G) differences of the right answers by cluster over all pairs of repeats, in whole units.

    Args:
        a: Row A.
        b: Row B, with the same repeats; either row can have a single unnumbered repeat instead.
    """
    repeats = max(len(a.sums), len(b.sums))
    # A single repeat is paired with every repeat of the other row, and counts once for each.
    scaled = [row.sums.sum(axis=0) * (repeats // len(row.sums)) for row in (a, b)]
    difference: NDArray[np.int64] = scaled[0] - scaled[1]
    return difference // max(1, math.gcd(*difference.ravel().tolist()))
