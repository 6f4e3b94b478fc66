"""Interface of a dataset: lists by name, label sets by name, and the file of each video."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path

from harness.data.lists.clusters import Card as Clusters
from harness.spec import LabelSet, VideoList, ZeroShotTest

__all__ = ["Dataset", "ZeroShotTest"]


class Dataset(ABC):
    """A named collection of videos with its lists and label sets.

    Names of lists, where the dataset has them:
        `train` (full training list), `val` (the evaluation list of few-shot, supervised and the joint column),
        `val1..val3` (official test splits; `val` is `val1`), `base_train`, `base_s1..base_s3` (16 shots of the base
        classes), `base_val`, `novel_val`, `few_shot_2|4|8|16`, `zs_split1..zs_split3` (K-600),
        `full` (every clip; HMDB-51 and UCF-101).
    Names of label sets: `all`, `base`, `novel`, `zs_split1..zs_split3`.

    Attributes:
        name: `ucf101`, `mini_target`, ...; for a custom dataset the name of its folder.
        title: Display name, e.g. `UCF-101`.
        kind: `embedded`, `official` or `custom`.
        source: Dataset whose training list is fitted when this one is the target of zero-shot transfer, or None if it
            is not a target.
        chosen_source: `source` if the user chose it with `--source`, else None.
        parent_source: Dataset whose training list is fitted first by methods in two stages; the source, and K-400 for
            datasets without one, as published for SSv2.
        zero_shot_tests: The evaluation lists of the zero-shot protocol, empty if it is not a target.
        draws: Whether absent training lists are drawn instead of refused; such lists have the origin `own`.
        sample: Description of the sample that its lists are; empty for whole lists.
        marked: Whether messages show `root_id` after the name, because two datasets of one name are in use.
    """

    name: str
    title: str
    kind: str
    source: str | None = None
    chosen_source: str | None = None
    parent_source: str = "k400"
    zero_shot_tests: tuple[ZeroShotTest, ...] = ()
    draws: bool = False
    sample: str = ""
    marked: bool = False

    @property
    def root_id(self) -> str:
        """Eight hex digits of the hash of a custom dataset's path; empty for official and embedded datasets."""
        return ""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about folders and columns of a custom dataset that were not read."""
        return ()

    @property
    def shown(self) -> str:
        """The name in messages, with `root_id` if two datasets have this name."""
        return f"{self.name} ({self.root_id})" if self.marked else self.name

    @abstractmethod
    def list_names(self) -> tuple[str, ...]:
        """The names of the lists that this dataset defines; their files may be absent."""

    def has_list(self, name: str) -> bool:
        """Return whether the dataset defines a list of this name."""
        return name in self.list_names()

    def why_absent(self, name: str) -> str:
        """The reason why the dataset has no list of this name, as a sentence; empty if there is no special one."""
        return ""

    @abstractmethod
    def list(self, name: str) -> VideoList:
        """The rows of a list.

        Raises:
            UserError: The dataset has no such list, or its file is missing or damaged; the hint names the command that
                makes it.
        """

    @abstractmethod
    def labels(self, name: str) -> LabelSet:
        """A label set by name (`all`, `base`, `novel`, ...).

        Raises:
            UserError: The dataset has no such label set.
        """

    @abstractmethod
    def locate(self, path: str) -> Path | None:
        """The file of the video of a list path on this machine, or None if there is none."""

    def content(self, video_list: VideoList) -> str | None:
        """Fingerprint of the videos of a list, or None where the paths identify the videos.

        Raises:
            UserError: A video cannot be read.
        """
        return None

    def fingerprints(self, video_list: VideoList) -> Mapping[str, str]:
        """Fingerprint of each video of a list by path; empty where the paths identify the videos.

        Raises:
            UserError: A video cannot be read.
        """
        return {}

    @property
    def cluster_card(self) -> Clusters:
        """The clusters of the videos: described, `none` if they are independent, or None if the sources are unknown."""
        return None

    def cluster(self, path: str) -> str:
        """The source from which the video of a list path was cut, unique in the dataset; empty if it is unknown."""
        return ""

    def person(self, path: str) -> str:
        """The person or source video of a clip of a custom dataset; empty if it is unknown."""
        return ""

    def prepare(self, progress: Callable[[int, int], None] | None = None) -> None:  # noqa: B027, optional hook
        """Make the videos available. Embedded datasets render on first use; other datasets do nothing.

        Args:
            progress: Called with the number of finished clips and the total.
        """
