"""Strata and clusters of one evaluation list, prepared for the computation of cluster scores of many outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

MERGED = -1
"""Id of the stratum that holds all classes with a single cluster."""


@dataclass(frozen=True)
class ListDesign:
    """Strata (classes) and clusters (sources) of the N videos of a list; see `list_design`.

    A cell is a pair of a cluster and a stratum that share a video.

    Args:
        videos: Number of videos N.
        clusters: (G,) sorted ids of the clusters.
        shares: (G,) share of each cluster in the accuracy.
        strata: (H,) ids of the strata: class ids, and `MERGED` for the classes with a single cluster.
        repeated: Whether a cluster has more than one video.
        weights: (N,) weight of each video relative to 1 / N; None for the top-1 and top-5 accuracy.
        by_cell: (N,) positions of the videos, sorted by cell; cells are sorted by stratum.
        cell_starts: (cells,) start of each cell in `by_cell`.
        stratum_starts: (H,) first cell of each stratum.
        cell_stratum: (cells,) position of the stratum of each cell.
        stratum_sizes: (H,) numbers of videos N_h.
        cell_sizes: (cells,) numbers of videos n_gh.
        by_cluster: (cells,) positions of the cells, sorted by cluster.
        cluster_starts: (G,) start of each cluster in `by_cluster`.
    """

    videos: int
    clusters: NDArray[np.int64]
    shares: NDArray[np.float64]
    strata: NDArray[np.int64]
    repeated: bool
    weights: NDArray[np.float64] | None
    by_cell: NDArray[np.int64]
    cell_starts: NDArray[np.int64]
    stratum_starts: NDArray[np.int64]
    cell_stratum: NDArray[np.int64]
    stratum_sizes: NDArray[np.int64]
    cell_sizes: NDArray[np.int64]
    by_cluster: NDArray[np.int64]
    cluster_starts: NDArray[np.int64]

    @cached_property
    def effective(self) -> float:
        """Effective number of clusters."""
        return 1.0 / float(self.shares @ self.shares)

    @cached_property
    def _scale(self) -> NDArray[np.float64]:
        # A stratum with one cell remains only in a list with one cluster, which has no variance.
        whole = self.stratum_sizes[self.cell_stratum]
        rest = np.where(self.cell_sizes < whole, 1.0 - self.cell_sizes / whole, 1.0)
        return 1.0 / (self.videos * np.sqrt(rest))

    def accuracies(self, right: ArrayLike) -> NDArray[np.float64]:
        """(K,) accuracies of K sets of answers (K, N)."""
        return np.asarray(self._weighted(right).sum(axis=1) / self.videos)

    def scores(self, right: ArrayLike) -> NDArray[np.float64]:
        """(K, G) cluster scores of K sets of answers.

        Args:
            right: (K, N) right (1) and wrong (0) answers, or any other values of the videos.
        """
        of_cells = _sums(self._weighted(right)[:, self.by_cell], self.cell_starts)
        of_strata = _sums(of_cells, self.stratum_starts)
        # In the order of these products, a class in which all answers are equal leaves exactly 0.
        centred = of_cells - (of_strata / self.stratum_sizes)[:, self.cell_stratum] * self.cell_sizes
        return _sums((centred * self._scale)[:, self.by_cluster], self.cluster_starts)

    def sums(self, right: ArrayLike) -> NDArray[np.int64]:
        """(K, G) right answers of each cluster for K sets of answers (K, N) of whole numbers, without weights."""
        of_cells = _sums(self._checked(right)[:, self.by_cell], self.cell_starts)
        return np.rint(_sums(of_cells[:, self.by_cluster], self.cluster_starts)).astype(np.int64)

    def _weighted(self, right: ArrayLike) -> NDArray[np.float64]:
        values = self._checked(right)
        return values if self.weights is None else values * self.weights

    def _checked(self, right: ArrayLike) -> NDArray[np.float64]:
        array = np.asarray(right, dtype=np.float64)
        if array.ndim != 2 or array.shape[1] != self.videos:
            raise ValueError(f"need answers of shape (K, {self.videos}), found {array.shape}")
        return array


def _sums(values: NDArray[np.float64], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """(K, S) sums of the segments of (K, N) values; sparse matrices take ten times as long for a single row."""
    return values if len(starts) == values.shape[1] else np.add.reduceat(values, starts, axis=1)


def list_design(classes: ArrayLike, clusters: ArrayLike, mean_class: bool = False) -> ListDesign:
    """Prepare the strata and clusters of a list.

    Classes with a single cluster, whose variance cannot be computed, are merged into one stratum. If this stratum has a
    single cluster, it joins the other stratum with the fewest videos (of equal ones that with the lower class id).

    Args:
        classes: (N,) class ids; equal ids in several lists of a mean denote one class.
        clusters: (N,) cluster ids, unique within a dataset and shared by all its lists. If the sources are unknown,
            every video has an id of its own.
        mean_class: Weight the videos for the mean-class accuracy.

    Raises:
        ValueError: The list is empty or the lengths differ.
    """
    labels, sources = np.asarray(classes, dtype=np.int64), np.asarray(clusters, dtype=np.int64)
    if labels.ndim != 1 or labels.shape != sources.shape or not len(labels):
        raise ValueError(f"need (N,) classes and (N,) clusters with N > 0, found {labels.shape} and {sources.shape}")
    ids, source = np.unique(sources, return_inverse=True)
    names, label, per_class = np.unique(labels, return_inverse=True, return_counts=True)
    n = len(labels)
    weights = n / (len(per_class) * per_class[label]) if mean_class else None
    merged = _merged(label, source)
    strata, stratum, per_stratum = np.unique(merged, return_inverse=True, return_counts=True)
    pairs, cell, per_cell = np.unique(stratum * len(ids) + source, return_inverse=True, return_counts=True)
    cell_stratum, cell_cluster = np.divmod(pairs, len(ids))
    by_cluster = np.argsort(cell_cluster, kind="stable")
    return ListDesign(
        videos=n,
        clusters=ids,
        shares=np.bincount(source, weights) / n,
        strata=np.where(strata == MERGED, MERGED, names[strata]),
        repeated=len(ids) < n,
        weights=weights,
        by_cell=np.argsort(cell, kind="stable"),
        cell_starts=np.cumsum(per_cell) - per_cell,
        stratum_starts=_starts(cell_stratum),
        cell_stratum=cell_stratum,
        stratum_sizes=per_stratum,
        cell_sizes=per_cell,
        by_cluster=by_cluster,
        cluster_starts=_starts(cell_cluster[by_cluster]),
    )


def _starts(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """First position of each value of a sorted array."""
    return np.flatnonzero(np.diff(values, prepend=-1))  # values are positions from 0, so that -1 differs from the first


def _merged(label: NDArray[np.int64], source: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) stratum of each video: its class, or a common stratum of all classes with a single cluster."""
    cells = np.unique(np.stack([label, source]), axis=1)
    single = np.bincount(cells[0]) == 1
    if not single.any():
        return label
    merged = np.where(single[label], MERGED, label)
    sizes = np.bincount(label)
    if not single.all() and len(np.unique(source[merged == MERGED])) == 1:
        several = np.flatnonzero(~single)
        merged[merged == MERGED] = several[np.argmin(sizes[several])]
    return np.asarray(merged)
