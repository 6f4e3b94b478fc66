"""Evaluation lists of predictions tables, with cluster ids that all tables share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from results.list_videos import ListVideos, VideoIds
from results.row_samples import Design

FEW = 20_000
"""Largest number of rows of tables whose designs are kept for the next call."""

def designs_of(
    tables: Sequence[pd.DataFrame], classes: Sequence[Sequence[str]], mean_class: bool = False
) -> list[Design]:
    """The design of each table; tables with equal videos and classes share it.

    Args:
        tables: Tables of one dataset with the columns video, label and cluster.
        classes: Class names of the label set of each table.
        mean_class: Weight the videos for the mean-class accuracy.
    """
    pooled = pd.concat([table[["video", "label", "cluster"]] for table in tables], ignore_index=True)
    videos, labels, clusters = (tuple(pooled[name].tolist()) for name in ("video", "label", "cluster"))
    make = _kept if len(pooled) <= FEW else _designs
    return list(make(videos, labels, clusters, tuple(map(len, tables)), tuple(map(tuple, classes)), mean_class))


def _designs(
    video_names: tuple[str, ...],
    label_ids: tuple[int, ...],
    cluster_names: tuple[str, ...],
    lengths: tuple[int, ...],
    classes: tuple[tuple[str, ...], ...],
    mean_class: bool,
) -> tuple[Design, ...]:
    """The designs of tables whose columns are given one table after another."""
    known = any(cluster_names)
    videos = _numbered(video_names)
    # A video without a cluster stands alone.
    sources = [cluster or "\0" + video for cluster, video in zip(cluster_names, video_names, strict=True)]
    clusters = _numbered(sources) if known else videos
    labels = np.array(label_ids, dtype=np.int64)
    stops = np.cumsum(lengths).tolist()
    found: dict[bytes, Design] = {}
    designs, ids = [], VideoIds()
    for start, stop, names in zip([0, *stops[:-1]], stops, classes, strict=True):
        class_ids = ids.classes(labels[start:stop], names)
        key = videos[start:stop].tobytes() + labels[start:stop].tobytes() + str(class_ids).encode()
        if key not in found:
            listed = ListVideos(labels[start:stop], clusters[start:stop], videos[start:stop], known, class_ids)
            found[key] = Design(listed, mean_class)
        designs.append(found[key])
    return tuple(designs)


# The rows of a board, and the submissions to it, have the same few lists.
_kept = lru_cache(maxsize=16)(_designs)


def _numbered(names: Sequence[str]) -> NDArray[np.int64]:
    """Names as numbers in the order in which they occur first."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)
