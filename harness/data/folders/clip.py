"""Clips of a custom dataset, and the input and output of the readers of folders and tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.spec import LabelSet


@dataclass(frozen=True)
class Clip:
    """A clip of a custom dataset.

    Args:
        path: The path in lists: relative to the dataset's root, with forward slashes and composed accents (NFC).
        label: Class name.
        split: `train`, `val`, or empty where the dataset states no split.
        file: The file on disk, or the folder of its frames.
        group: Source of the clip, unique in the dataset; empty where the table does not state it.
    """

    path: str
    label: str
    split: str
    file: Path
    group: str = ""


@dataclass(frozen=True)
class GivenFiles:
    """Files that the user gives for a custom dataset, apart from the folder or the table itself.

    Args:
        videos: Folder in which the paths of a table are searched, after the folder of the table.
        labels: File of class names by id; None for the file beside the dataset, if there is one.
        cache: Folder that keeps the index of `videos`.
    """

    videos: Path | None = None
    labels: Path | None = None
    cache: Path | None = None


NOTHING_GIVEN = GivenFiles()


@dataclass(frozen=True)
class ClipSource:
    """A custom dataset as it was read.

    Args:
        clips: All clips, sorted by path.
        labels: The classes of a file of class names, in the order of their ids; None without such a file.
        notes: Sentences about folders and columns that were not read.
    """

    clips: tuple[Clip, ...]
    labels: LabelSet | None = None
    notes: tuple[str, ...] = ()
