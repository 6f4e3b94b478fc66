"""Training and evaluation lists, and references to them by name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from harness.base.canonical import rows_sha256

OFFICIAL = ("k400", "k600", "hmdb51", "ucf101", "ssv2")
EMBEDDED = ("mini_source", "mini_target")


SAMPLE_SEED = 0
"""Seed of all samples: two users with the same limit evaluate the same videos."""


def sample_text(limit: int) -> str:
    """The text by which measurements state a sample of `limit` videos per class."""
    return f"{limit} video{'' if limit == 1 else 's'} per class, seed {SAMPLE_SEED}"


def dataset_key(name: str) -> str:
    """The name of an official or embedded dataset in any case (`UCF101`) as the harness writes it; else unchanged."""
    return name.lower() if name.lower() in (*OFFICIAL, *EMBEDDED) else name


@dataclass(frozen=True)
class VideoList:
    """Video paths with label ids: a training list or an evaluation list.

    Args:
        name: The list's name in its dataset, e.g. `base_s1`.
        rows: (path, label id) in list order. Paths are those of the list, not those of the local disk.
        origin: Source of the rows: `published`, `generated` or `own`. Rows of the board with own lists are never ranked
            with rows of the other origins.
    """

    name: str
    rows: tuple[tuple[str, int], ...]
    origin: str = "generated"

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths, in list order."""
        return tuple(path for path, _ in self.rows)

    @cached_property
    def sha256(self) -> str:
        """sha256 of the lines `path label` (LF): the list's content, for any line ends on disk."""
        return rows_sha256(self.rows)


@dataclass(frozen=True)
class ListRef:
    """A list of a dataset and the label set that its ids index, by name."""

    dataset: str
    list: str
    labels: str
