"""Evaluation lists of predictions tables, with cluster ids that all tables share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from results.list_videos import ListVideos, VideoIds
from results.row_samples import Design


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
    known = bool((pooled["cluster"] != "").any())
    videos = pd.factorize(pooled["video"])[0].astype(np.int64)
    # A video without a cluster stands alone.
    sources = pooled["cluster"].where(pooled["cluster"] != "", "\0" + pooled["video"])
    clusters = pd.factorize(sources)[0].astype(np.int64) if known else videos
    labels = pooled["label"].to_numpy(dtype=np.int64)
    stops = np.cumsum([len(table) for table in tables]).tolist()
    found: dict[bytes, Design] = {}
    designs, ids = [], VideoIds()
    for start, stop, names in zip([0, *stops[:-1]], stops, classes, strict=True):
        class_ids = ids.classes(labels[start:stop], names)
        key = videos[start:stop].tobytes() + labels[start:stop].tobytes() + str(class_ids).encode()
        if key not in found:
            listed = ListVideos(labels[start:stop], clusters[start:stop], videos[start:stop], known, class_ids)
            found[key] = Design(listed, mean_class)
        designs.append(found[key])
    return designs
