"""Training and evaluation lists, and references to them by name."""

from __future__ import annotations

from dataclasses import dataclass

from harness.base.canonical import rows_sha256


@dataclass(frozen=True)
class VideoList:
    """Video paths with label ids: what is trained on or evaluated on.

    Args:
        name: The list's name in its dataset, e.g. `base_s1`.
        rows: (path, label id) in list order. Paths are the list's own, not those of the local disk.
        origin: `published`, `generated` or `own`: where the rows come from. `own` is never ranked with the others.
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

    @property
    def sha256(self) -> str:
        """sha256 of the lines `path label` (LF): the list's content, whatever its line ends on disk."""
        return rows_sha256(self.rows)


@dataclass(frozen=True)
class ListRef:
    """A list of a dataset together with the label set its ids point into, all by name."""

    dataset: str
    list: str
    labels: str
