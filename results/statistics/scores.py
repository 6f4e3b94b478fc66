"""Cluster scores of accuracies: the one quantity from which variances, intervals and tests are computed.

A cluster is a set of videos from one source (a film, a group of clips). A score is the contribution of a cluster to the
error of an accuracy, relative to the mean accuracy of each class. The variance of the accuracy is the sum of squared
scores: CR2 of the regression on class dummies (Bell and McCaffrey 2002; Pustejovsky and Tipton 2018) in closed form.
Scores are linear in the outcomes, so that differences and harmonic means have scores, too. All values are fractions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from results.statistics.list_design import ListDesign

LEVEL = 0.95
_Number = TypeVar("_Number", np.float64, np.int64)


NEGLIGIBLE = 1e-26
"""Variance that is rounding: one right answer more in one of 25,000 videos gives a variance of 1e-9."""


@lru_cache(maxsize=4096)
def t_quantile(df: float, level: float = LEVEL) -> float:
    """The quantile of Student's t distribution with probability `level` between its negative and itself."""
    return float(special.stdtrit(df, 0.5 + level / 2.0))


@dataclass(frozen=True)
class Scores:
    """An accuracy, a difference of two accuracies or a harmonic mean over R repeats, with its cluster scores.

    Args:
        values: (R,) values of the repeats; for a harmonic mean the linearised values, whose mean is the harmonic mean.
        clusters: (G,) sorted ids of the clusters of all lists.
        by_repeat: (R, G) scores; 0 where the list of a repeat has no video of a cluster.
        shares: (G,) share of each cluster in the mean, averaged over repeats.
        strata: Number of distinct strata of all lists.
        effective: Effective number of clusters, 1 / sum of squared shares; of the smaller list for a harmonic mean.
        videos: Number of videos of the largest list; None for a harmonic mean.
        repeated: Whether a cluster has more than one video in a list.
        one_source: Whether a list has a single cluster, so that its variance cannot be computed.
    """

    values: NDArray[np.float64]
    clusters: NDArray[np.int64]
    by_repeat: NDArray[np.float64]
    shares: NDArray[np.float64]
    strata: int
    effective: float
    videos: int | None
    repeated: bool
    one_source: bool = False

    @cached_property
    def mean(self) -> float:
        """Mean over repeats."""
        return float(np.add.reduce(self.values)) / len(self.values)

    @property
    def repeats(self) -> int:
        """Number of repeats."""
        return len(self.values)

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """(G,) scores of the mean."""
        return self.by_repeat[0] if len(self.by_repeat) == 1 else np.asarray(self.by_repeat.mean(axis=0))

    @cached_property
    def variance(self) -> float:
        """Variance of the mean over other videos of the same classes, V in the documentation."""
        variance = float(self.scores @ self.scores)
        return variance if variance > NEGLIGIBLE else 0.0

    @cached_property
    def df_rule(self) -> float:
        """Degrees of freedom from the shares of the clusters; N - H for N independent videos in H classes."""
        return df_rule(self.shares, self.strata)

    @cached_property
    def df_observed(self) -> float:
        """Effective number of clusters that carry the variance; 2 for a variance of 0."""
        squares = self.scores**2
        return self.variance**2 / float((squares**2).sum()) if self.variance > 0.0 else 2.0

    @cached_property
    def df(self) -> float:
        """Degrees of freedom of the variance."""
        limited = min(self.df_rule, max(2.0, self.df_observed)) if self.repeated else self.df_rule
        return max(1.0, limited)

    @cached_property
    def quantile(self) -> float:
        """The 97.5 % quantile of Student's t distribution with `df` degrees of freedom."""
        return t_quantile(self.df)

    def select(self, repeats: Sequence[int]) -> Scores:
        """The same value from some of the repeats, on lists that all repeats share.

        Args:
            repeats: Positions of the repeats.
        """
        chosen = list(repeats)
        return Scores(
            self.values[chosen], self.clusters, self.by_repeat[chosen], self.shares, self.strata, self.effective,
            self.videos, self.repeated, self.one_source,
        )  # fmt: skip


def degrees_of_freedom(rule: ArrayLike, observed: ArrayLike, repeated: bool) -> NDArray[np.float64]:
    """Degrees of freedom from the shares and from the observed scores, elementwise.

    Few clusters can carry most of the variance, which the shares alone do not show: hence the minimum. It is not needed
    if every video is a cluster.
    """
    limited = np.minimum(rule, np.maximum(2.0, observed)) if repeated else np.asarray(rule, dtype=np.float64)
    return np.asarray(np.maximum(1.0, limited))


@dataclass(frozen=True)
class RepeatLists:
    """Lists of R repeats, with all that rows measured on them share.

    Args:
        lists: The R lists; repeats on one list have the same object.
        columns: For each repeat, the (G_r,) positions of the clusters of its list in `clusters`; None if all lists are
            one list.
        clusters, shares, strata, effective, videos, repeated, one_source: As in `Scores`.
    """

    lists: tuple[ListDesign, ...]
    columns: tuple[NDArray[np.int64], ...] | None
    clusters: NDArray[np.int64]
    shares: NDArray[np.float64]
    strata: int
    effective: float
    videos: int
    repeated: bool
    one_source: bool

    @cached_property
    def df_rule(self) -> float:
        """Degrees of freedom from the shares, see `Scores.df_rule`."""
        return df_rule(self.shares, self.strata)

    def spread(self, by_list: Sequence[NDArray[_Number]]) -> NDArray[_Number]:
        """(R, G) values of all clusters from the (G_r,) values of the clusters of each list; 0 for absent clusters."""
        if self.columns is None:
            return np.stack(by_list)
        whole = np.zeros((len(by_list), len(self.clusters)), dtype=by_list[0].dtype)
        for row, columns, values in zip(whole, self.columns, by_list, strict=True):
            row[columns] = values
        return whole

    def scores(self, values: NDArray[np.float64], by_repeat: NDArray[np.float64]) -> Scores:
        """The scores of an accuracy from (R,) accuracies and (R, G) cluster scores."""
        found = Scores(
            values, self.clusters, by_repeat, self.shares, self.strata, self.effective, self.videos, self.repeated,
            self.one_source,
        )  # fmt: skip
        # The shares alone decide it: a board has thousands of rows on the same lists.
        vars(found)["df_rule"] = self.df_rule
        return found

    def of(self, right: Sequence[ArrayLike]) -> Scores:
        """The scores of a mean accuracy from R arrays (N,) of right (1) and wrong (0) answers, in list order."""
        answers = [np.asarray(of_repeat)[None] for of_repeat in right]
        pairs = list(zip(self.lists, answers, strict=True))
        values = np.array([design.accuracies(of_repeat)[0] for design, of_repeat in pairs])
        return self.scores(values, self.spread([design.scores(of_repeat)[0] for design, of_repeat in pairs]))


def df_rule(shares: NDArray[np.float64], strata: int) -> float:
    """Degrees of freedom from the (G,) shares of the clusters and the number of strata."""
    squares = shares**2
    ratio = squares.sum() ** 2 / (squares**2).sum()
    return float((1.0 - strata / len(shares)) * ratio)


def repeat_lists(lists: Sequence[ListDesign]) -> RepeatLists:
    """Prepare the lists of R repeats.

    Args:
        lists: R lists; repeats on one list pass the same object.

    Raises:
        ValueError: There is no list.
    """
    if not lists:
        raise ValueError("need at least one list, found none")
    distinct = list({id(design): design for design in lists}.values())
    clusters, columns = lists[0].clusters, None
    if len(distinct) > 1:
        clusters = np.unique(np.concatenate([design.clusters for design in distinct]))
        columns = tuple(np.searchsorted(clusters, design.clusters) for design in lists)
    shares = np.zeros(len(clusters))
    for design in distinct:
        repeats = sum(other is design for other in lists)
        shares[np.searchsorted(clusters, design.clusters)] += design.shares * repeats / len(lists)
    return RepeatLists(
        tuple(lists), columns, clusters, shares,
        strata=len(np.unique(np.concatenate([design.strata for design in distinct]))),
        effective=1.0 / float(shares @ shares),
        videos=max(design.videos for design in distinct),
        repeated=any(design.repeated for design in distinct),
        one_source=any(len(design.clusters) == 1 for design in distinct),
    )  # fmt: skip


def accuracy_scores(lists: Sequence[ListDesign], right: Sequence[ArrayLike]) -> Scores:
    """Scores of a mean accuracy over R repeats.

    Args:
        lists: R lists; repeats on one list pass the same object.
        right: R arrays (N,) of right (1) and wrong (0) answers, in list order.

    Raises:
        ValueError: The numbers of lists and of arrays differ, or an array and its list differ in length.
    """
    if not lists or len(lists) != len(right):
        raise ValueError(f"need as many lists as repeats and at least one, found {len(lists)} and {len(right)}")
    return repeat_lists(lists).of(right)


def difference(a: Scores, b: Scores) -> Scores:
    """Scores of A - B, paired by position; a single repeat of one side is paired with every repeat of the other side.

    Args:
        a: Accuracy or harmonic mean of A.
        b: Accuracy or harmonic mean of B on the same lists, with equally many repeats; either can have a single repeat.

    Raises:
        ValueError: The clusters or the numbers of repeats differ.
    """
    if not np.array_equal(a.clusters, b.clusters):
        raise ValueError("A and B must be measured on the same lists, found different clusters")
    if a.repeats != b.repeats and 1 not in (a.repeats, b.repeats):
        raise ValueError(f"need equally many repeats of A and B, or one of either, found {a.repeats} and {b.repeats}")
    return Scores(
        a.values - b.values,
        a.clusters,
        a.by_repeat - b.by_repeat,
        # The shares of two harmonic means depend on their slopes; those of two accuracies are equal.
        (a.shares + b.shares) / 2.0,
        max(a.strata, b.strata),
        min(a.effective, b.effective),
        a.videos,
        a.repeated,
        a.one_source or b.one_source,
    )


def harmonic_slopes(base: float, novel: float) -> tuple[float, float]:
    """Derivatives of the harmonic mean 2ab / (a + b) by a and by b; 0 if both are 0."""
    total = base + novel
    return (2.0 * (novel / total) ** 2, 2.0 * (base / total) ** 2) if total > 0.0 else (0.0, 0.0)


def harmonic_scores(base: Scores, novel: Scores) -> Scores | None:
    """Scores of the harmonic mean of two mean accuracies by the delta method; None if both are 0.

    Clusters that occur on both sides, such as a film with base and novel classes, contribute with the sum of their
    scores.

    Args:
        base: Accuracy on the base classes.
        novel: Accuracy on the novel classes with equally many repeats; either can have a single repeat.

    Raises:
        ValueError: The numbers of repeats differ.
    """
    if base.repeats != novel.repeats and 1 not in (base.repeats, novel.repeats):
        raise ValueError(f"need equally many repeats of both accuracies, found {base.repeats} and {novel.repeats}")
    slopes = harmonic_slopes(base.mean, novel.mean)
    if not any(slopes):
        return None
    clusters = np.union1d(base.clusters, novel.clusters)
    by_repeat = np.zeros((max(base.repeats, novel.repeats), len(clusters)))
    shares = np.zeros(len(clusters))
    for slope, side in zip(slopes, (base, novel), strict=True):
        columns = np.searchsorted(clusters, side.clusters)
        by_repeat[:, columns] += slope * side.by_repeat
        shares[columns] += slope * side.shares
    return Scores(
        slopes[0] * base.values + slopes[1] * novel.values,
        clusters,
        by_repeat,
        shares,
        strata=base.strata + novel.strata,
        effective=min(base.effective, novel.effective),
        videos=None,
        repeated=base.repeated or novel.repeated,
        one_source=base.one_source or novel.one_source,
    )


def design_effect(clustered: Scores, plain: Scores) -> float:
    """Ratio of the variance with clusters to the variance in which every video is its own cluster; NaN if undefined."""
    return clustered.variance / plain.variance if plain.variance > 0.0 else math.nan
