"""Classes and clusters of the videos of evaluation lists, with ids that all lists of a dataset share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from results.outcomes import Outcome, clusters_of, videos_of

WEIGHTS = 1000
"""Largest integer weight of a list in a test; integer weights keep the test exact for lists of different lengths."""
SIMILAR = 1.05
"""Lists whose lengths differ by at most this factor, such as the test splits of UCF-101, have equal weights."""


@dataclass(frozen=True)
class ListVideos:
    """The videos of an evaluation list, in list order.

    Args:
        classes: (N,) class ids.
        clusters: (N,) cluster ids; equal for videos of one source, also in different lists of the dataset.
        videos: (N,) video ids, shared by the lists of the dataset in the same way.
        known: Whether the sources are known; if not, every video is a cluster.
        class_ids: For each class id the id of its class in the dataset, shared by lists with different label sets; None
            if the class ids are ids of the dataset.
    """

    classes: NDArray[np.int64]
    clusters: NDArray[np.int64]
    videos: NDArray[np.int64]
    known: bool
    class_ids: Mapping[int, int] | None = None


class VideoIds:
    """Ids of the clusters, videos and classes of one dataset."""

    def __init__(self) -> None:
        self._ids: dict[tuple[str, bytes], int] = {}

    def of(self, outcome: Outcome, names: Sequence[str]) -> ListVideos:
        """The videos of the list of an outcome.

        Args:
            outcome: Its labels are ids into `names`.
            names: Class names of the list's label set.
        """
        paths = videos_of(outcome)
        videos = self._numbered("video", paths)
        class_ids = self.classes(outcome.labels, names)
        if not outcome.clustered:
            return ListVideos(outcome.labels, videos, videos, False, class_ids)
        # A video without a cluster in a list with clusters, such as a clip whose name does not match, stands alone.
        pairs = zip(paths, clusters_of(outcome), strict=True)
        keys = [("cluster", cluster) if cluster else ("video", name) for name, cluster in pairs]
        return ListVideos(outcome.labels, self._ids_of(keys), videos, True, class_ids)

    def classes(self, labels: NDArray[np.int64], names: Sequence[str]) -> dict[int, int]:
        """For each class id of a list the id of its class in the dataset.

        Label sets number their classes from 0, so that an id is a different class in the lists of two class subsets.
        The name identifies the class.

        Args:
            labels: (N,) class ids.
            names: Class names of the label set; an id without a name is a class of its own.
        """
        ids: list[int] = np.unique(labels).tolist()
        keys = [("class", names[i].encode()) if 0 <= i < len(names) else ("class id", str(i).encode()) for i in ids]
        return dict(zip(ids, self._ids_of(keys).tolist(), strict=True))

    def _numbered(self, kind: str, names: Sequence[bytes]) -> NDArray[np.int64]:
        return self._ids_of([(kind, name) for name in names])

    def _ids_of(self, keys: Sequence[tuple[str, bytes]]) -> NDArray[np.int64]:
        return np.array([self._ids.setdefault(key, len(self._ids)) for key in keys], dtype=np.int64)


def list_weights(sizes: Sequence[int]) -> list[int]:
    """Integer weights proportional to 1 / size: all lists count equally in a test, as in the mean over lists."""
    if max(sizes) <= SIMILAR * min(sizes):
        return [1] * len(sizes)
    weights = np.array([round(WEIGHTS * min(sizes) / size) for size in sizes])
    return [int(weight) for weight in weights // np.gcd.reduce(weights)]
