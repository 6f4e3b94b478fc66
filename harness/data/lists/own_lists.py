"""Lists of a user's protocol: files with one line `PATH LABEL` per video, read as lists of an existing dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from harness.base.errors import UserError
from harness.base.text_files import read_text
from harness.data.lists.clusters import Card as Clusters
from harness.data.lists.dataset import Dataset
from harness.spec import LabelSet, VideoList, ZeroShotTest
from harness.spec.protocol import SINGLE

SUFFIX = ".txt"
"""Suffix by which the name of a list is the path of a file; no list of a dataset has a name with a suffix."""


def read_own_list(file: Path, labels: LabelSet) -> VideoList:
    """Read a list file of the user; its origin is `own`, so that its rows are not ranked with published lists.

    Args:
        file: UTF-8 text with one line `PATH LABEL` per video; LABEL is a class id, counted from 0.
        labels: The label set that the ids index.

    Raises:
        UserError: The file cannot be read, or a line is not a path and an id of the label set, or repeats a path.
    """
    lines = read_text(file, "The list", "Write one line per video: PATH LABEL.").splitlines()
    rows: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        # From the right, because paths may hold blanks.
        words = line.rsplit(None, 1)
        if not words:
            continue
        path, label = (words[0].strip(), words[1]) if len(words) == 2 else ("", "")
        if not path or not label.isdecimal() or int(label) >= len(labels):
            raise UserError(
                f"{file}, line {number} is {line[:80]!r}, expected PATH LABEL with a label from 0 to "
                f"{len(labels) - 1}.",
                "Labels are ids of the label set: python -m harness show DATASET lists its classes in order.",
            )
        if path in rows:
            raise UserError(f"{file}, line {number} repeats the video {path}.", "Name each video once.")
        rows[path] = int(label)
    if not rows:
        raise UserError(f"The list {file} is empty.", "Write one line per video: PATH LABEL.")
    return VideoList(file.stem, tuple(rows.items()), "own")


class WithOwnLists(Dataset):
    """A dataset with additional lists from files; everything else is that of the dataset.

    Args:
        dataset: The dataset.
        own: The additional lists by the name under which a protocol refers to them.
    """

    def __init__(self, dataset: Dataset, own: Mapping[str, VideoList]) -> None:
        self._dataset = dataset
        self._own = dict(own)
        self.name, self.title, self.kind = dataset.name, dataset.title, dataset.kind
        self.source: str | None = dataset.source
        self.chosen_source: str | None = dataset.chosen_source
        self.parent_source = dataset.parent_source
        self.zero_shot_tests: tuple[ZeroShotTest, ...] = dataset.zero_shot_tests
        self.draws, self.marked, self.sample = dataset.draws, dataset.marked, dataset.sample

    @property
    def root_id(self) -> str:
        """Eight hex digits of the hash of a custom dataset's path; empty for official and embedded datasets."""
        return self._dataset.root_id

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about folders and columns that were not read."""
        return self._dataset.notes

    def list_names(self) -> tuple[str, ...]:
        """The names of the lists of the dataset, then those of the additional lists."""
        return (*self._dataset.list_names(), *self._own)

    def why_absent(self, name: str) -> str:
        """The reason why a list is absent; see `Dataset.why_absent`."""
        return self._dataset.why_absent(name)

    def list(self, name: str) -> VideoList:
        """The rows of a list; see `Dataset.list`."""
        return self._own[name] if name in self._own else self._dataset.list(name)

    def labels(self, name: str) -> LabelSet:
        """A label set by name; see `Dataset.labels`."""
        return self._dataset.labels(name)

    def locate(self, path: str) -> Path | None:
        """The file of the video of a list path; see `Dataset.locate`."""
        return self._dataset.locate(path)

    def content(self, video_list: VideoList) -> str | None:
        """Fingerprint of the videos of a list; see `Dataset.content`."""
        return self._dataset.content(video_list)

    def fingerprints(self, video_list: VideoList) -> Mapping[str, str]:
        """Fingerprint of each video of a list by path; see `Dataset.fingerprints`."""
        return self._dataset.fingerprints(video_list)

    @property
    def cluster_card(self) -> Clusters:
        """The clusters of the videos; see `Dataset.cluster_card`."""
        return self._dataset.cluster_card

    def cluster(self, path: str) -> str:
        """The source of a video; see `Dataset.cluster`."""
        return self._dataset.cluster(path)

    def person(self, path: str) -> str:
        """The person or source video of a clip; see `Dataset.person`."""
        return self._dataset.person(path)

    def prepare(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Make the videos available; see `Dataset.prepare`."""
        self._dataset.prepare(progress)


class TransferTarget(WithOwnLists):
    """A dataset as the target of transfer from its `parent_source`, whether or not it is a zero-shot target itself.

    Args:
        dataset: The dataset.
    """

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset, {})
        self.source, self.chosen_source = dataset.parent_source, None
        self.zero_shot_tests = dataset.zero_shot_tests or (ZeroShotTest("val", "all", SINGLE, 1),)
