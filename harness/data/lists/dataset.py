"""A dataset as the rest of the harness sees it: named lists, named label sets, and where each video lies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from harness.spec import LabelSet, VideoList, ZeroShotTest

__all__ = ["Dataset", "ZeroShotTest"]


class Dataset(ABC):
    """A named collection of videos with its lists and label sets.

    Names of lists, where the dataset has them:
        `train` (full training list), `val` (the evaluation list of few-shot, supervised and the joint column),
        `val1..val3` (official test splits; `val` is `val1`), `base_train`, `base_s1..base_s3` (16 shots of the base
        classes), `base_val`, `novel_val`, `few_shot_2|4|8|16`, `zs_split1..zs_split3` (K-600).
    Names of label sets: `all`, `base`, `novel`, `zs_split1..zs_split3`.

    Attributes:
        name: `ucf101`, `mini_target`, or the folder's name for a custom dataset.
        title: Display name, e.g. `UCF-101`.
        kind: `embedded`, `official` or `custom`.
        source: Dataset that zero-shot transfer fits on when this one is the target, or None where it is not a target.
        zero_shot_tests: The evaluation lists of the zero-shot protocol, empty where it is not a target.
        draws: Whether absent training lists are drawn here instead of being refused; such lists have the origin `own`.
        marked: Whether messages show `root_id` beside the name, because another dataset of the name is in use.
    """

    name: str
    title: str
    kind: str
    source: str | None = None
    zero_shot_tests: tuple[ZeroShotTest, ...] = ()
    draws: bool = False
    marked: bool = False

    @property
    def root_id(self) -> str:
        """Eight hex digits of the hash of an own dataset's place; empty for datasets that are known by their name."""
        return ""

    @property
    def shown(self) -> str:
        """The name for people, with `root_id` where the name alone does not tell two datasets apart."""
        return f"{self.name} ({self.root_id})" if self.marked else self.name

    @abstractmethod
    def list_names(self) -> tuple[str, ...]:
        """The lists this dataset defines, whether or not their files are present."""

    def has_list(self, name: str) -> bool:
        """Whether the dataset defines a list of this name."""
        return name in self.list_names()

    @abstractmethod
    def list(self, name: str) -> VideoList:
        """The rows of a list.

        Raises:
            UserError: The dataset has no such list, or its file is missing or damaged (with the way to get it).
        """

    @abstractmethod
    def labels(self, name: str) -> LabelSet:
        """A label set by name (`all`, `base`, `novel`, ...)."""

    @abstractmethod
    def locate(self, path: str) -> Path | None:
        """Where the video of a list row lies on this machine, or None if it is not there."""

    def content(self, video_list: VideoList) -> str | None:
        """A fingerprint of the videos of a list where paths do not tell which videos they are; else None.

        Raises:
            UserError: A video cannot be read.
        """
        return None

    def cluster(self, path: str) -> str:
        """The source that the video of a list path was cut from, unique in the dataset; empty where it is unknown."""
        return ""

    def prepare(self, progress: Callable[[int, int], None] | None = None) -> None:  # noqa: B027, nothing to do on disk
        """Make the videos available where the dataset can do that itself (embedded datasets render on first use).

        Args:
            progress: Called with clips done and clips in all.
        """
