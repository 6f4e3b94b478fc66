"""Strata and clusters of one evaluation list, prepared for the computation of cluster scores of many outcomes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

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
        weights: (N,) weight of each video relative to 1 / N; 1 for the top-1 and top-5 accuracy.
        cell_of_video: (N, cells) sparse 0/1 matrix.
        stratum_of_cell: (cells, H) sparse 0/1 matrix.
        score_of_cell: (cells, G) sparse matrix with 1 / sqrt(1 - n_gh / N_h).
        cell_fractions: (cells,) n_gh / N_h, the share of a cell in its stratum.
    """

    videos: int
    clusters: NDArray[np.int64]
    shares: NDArray[np.float64]
    strata: NDArray[np.int64]
    repeated: bool
    weights: NDArray[np.float64]
    cell_of_video: sparse.csr_array
    stratum_of_cell: sparse.csr_array
    score_of_cell: sparse.csr_array
    cell_fractions: NDArray[np.float64]

    def accuracies(self, right: ArrayLike) -> NDArray[np.float64]:
        """(K,) accuracies of K sets of answers (K, N)."""
        return np.asarray(self._checked(right) @ self.weights / self.videos)

    def scores(self, right: ArrayLike) -> NDArray[np.float64]:
        """(K, G) cluster scores of K sets of answers.

        Args:
            right: (K, N) right (1) and wrong (0) answers, or any other values of the videos.
        """
        sums = self._checked(right) * self.weights @ self.cell_of_video
        centred = sums - (sums @ self.stratum_of_cell) @ self.stratum_of_cell.T * self.cell_fractions
        return np.asarray(centred @ self.score_of_cell / self.videos)

    def sums(self, right: ArrayLike) -> NDArray[np.int64]:
        """(K, G) right answers of each cluster for K sets of answers (K, N) of whole numbers, without weights."""
        of_cells = self._checked(right) @ self.cell_of_video
        sums: NDArray[np.float64] = of_cells @ (self.score_of_cell > 0).astype(np.float64)
        return np.rint(sums).astype(np.int64)

    def _checked(self, right: ArrayLike) -> NDArray[np.float64]:
        array = np.asarray(right, dtype=np.float64)
        if array.ndim != 2 or array.shape[1] != self.videos:
            raise ValueError(f"need answers of shape (K, {self.videos}), found {array.shape}")
        return array


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
    n, weights = len(labels), np.ones(len(labels))
    if mean_class:
        weights = n / (len(per_class) * per_class[label])
    merged = _merged(label, source)
    strata, stratum, per_stratum = np.unique(merged, return_inverse=True, return_counts=True)
    pairs, cell, per_cell = np.unique(stratum * len(ids) + source, return_inverse=True, return_counts=True)
    stratum_of_cell, cluster_of_cell = np.divmod(pairs, len(ids))
    fractions = per_cell / per_stratum[stratum_of_cell]
    # A fraction of 1 remains only in a list with one cluster, which has no variance.
    scale = 1.0 / np.sqrt(np.where(fractions < 1.0, 1.0 - fractions, 1.0))
    return ListDesign(
        videos=n,
        clusters=ids,
        shares=np.bincount(source, weights) / n,
        strata=np.where(strata == MERGED, MERGED, names[strata]),
        repeated=len(ids) < n,
        weights=weights,
        cell_of_video=_indicator(cell, len(pairs)),
        stratum_of_cell=_indicator(stratum_of_cell, len(per_stratum)),
        score_of_cell=_indicator(cluster_of_cell, len(ids), scale),
        cell_fractions=fractions,
    )


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


def _indicator(column: NDArray[np.int64], columns: int, values: NDArray[np.float64] | None = None) -> sparse.csr_array:
    """(len(column), columns) sparse matrix with one entry in each row: 1, or the given value."""
    data = np.ones(len(column)) if values is None else values
    return sparse.csr_array((data, column, np.arange(len(column) + 1)), shape=(len(column), columns))
