"""Samples of lists: some videos of each class, drawn from a seed, for a first look that is never ranked."""

from __future__ import annotations

import hashlib
from collections import defaultdict

from harness.base.errors import UserError
from harness.data.lists.dataset import Dataset
from harness.data.lists.grammar import base_name
from harness.data.lists.own_lists import WithOwnLists
from harness.spec import VideoList
from harness.spec.lists import SAMPLE_SEED, sample_text


def check_limit(limit: int) -> None:
    """Check the number of `--limit`.

    Raises:
        UserError: The number is negative.
    """
    if limit < 0:
        raise UserError(f"--limit is {limit}, expected 1 or more videos per class.", "Leave it out for whole lists.")


def sampled(rows: VideoList, limit: int) -> VideoList:
    """At most `limit` videos of each class of a list, in list order; the list itself if no class has more.

    The order of the draw follows from the seed and the names of the videos alone, so that a smaller sample is a part of
    each larger one.
    """
    by_class: dict[int, list[str]] = defaultdict(list)
    for path, label in rows.rows:
        by_class[label].append(path)
    chosen = {path for paths in by_class.values() for path in sorted(paths, key=_draw)[:limit]}
    if len(chosen) == len(rows):
        return rows
    # Not `published` any more: the hash of the rows is that of the sample.
    origin = "own" if rows.origin == "own" else "generated"
    return VideoList(rows.name, tuple(row for row in rows.rows if row[0] in chosen), origin)


def _draw(path: str) -> tuple[str, str]:
    return hashlib.sha256(f"{SAMPLE_SEED} {base_name(path)}".encode("utf-8", "surrogateescape")).hexdigest(), path


class SampledDataset(WithOwnLists):
    """A dataset whose lists are samples, for training and evaluation.

    Args:
        dataset: The dataset.
        limit: Number of videos of each class.
    """

    def __init__(self, dataset: Dataset, limit: int) -> None:
        super().__init__(dataset, {})
        self.sample = sample_text(limit)
        self._limit = limit
        self._sampled: dict[str, VideoList] = {}

    def list(self, name: str) -> VideoList:
        """The sample of a list; see `Dataset.list`."""
        if name not in self._sampled:
            self._sampled[name] = sampled(super().list(name), self._limit)
        return self._sampled[name]
