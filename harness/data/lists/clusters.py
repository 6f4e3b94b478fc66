"""Clusters of videos: clips cut from one source, which are statistically dependent.

The card of a dataset describes its clusters. A name in a different format is a cluster by itself. All lists of a
dataset share one set of identifiers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from harness.data.lists.grammar import base_name

_CLASS = "CLASS"
INDEPENDENT: Literal["none"] = "none"
"""Card of a dataset whose videos are known to be independent."""


@dataclass(frozen=True)
class ClusterCard:
    """Description of the clusters of a dataset.

    Args:
        what: The source of a cluster, in words.
        pattern: Regular expression of the base name of a video without extension; its group `cluster` is the
            identifier. The word `CLASS` stands for any class name, with underscores for blanks.
        column: Column of the table that holds the identifier; empty for identifiers from names.
        size: Sum of squared cluster sizes divided by the number of videos, in the first official test list; None if
            there is no such list.
    """

    what: str
    pattern: str = ""
    column: str = ""
    size: float | None = None

    def __str__(self) -> str:
        if self.column:
            return f"{self.what} (column {self.column})"
        return f"{self.what} ({self.pattern})" if self.pattern else self.what


Card = ClusterCard | Literal["none"] | None
"""The clusters of a dataset: described, `none` for independent videos, or None if the sources are unknown."""


def cluster_text(card: Card) -> str:
    """The clusters of a dataset in words, for `show`."""
    if card is None:
        return "unknown: every video counts on its own"
    return "none: the videos are independent" if card == INDEPENDENT else str(card)


@dataclass(frozen=True)
class NamedClusters:
    """Clusters that the names of the videos state.

    Args:
        card: The clusters of the dataset.
        classes: Class names of the dataset, with blanks or underscores between words.
    """

    card: Card
    classes: Sequence[str] = ()

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        if not isinstance(self.card, ClusterCard) or not self.card.pattern:
            return None
        # Longest first, so that `draw_sword` is not read as a film `..._draw` of class `sword`.
        words = sorted({label.replace(" ", "_") for label in self.classes}, key=len, reverse=True)
        return re.compile(self.card.pattern.replace(_CLASS, f"(?:{'|'.join(map(re.escape, words))})"))

    def of(self, path: str) -> str:
        """The cluster of the video of a list path, which is the base name if no pattern matches; empty if unknown."""
        if self.card is None:
            return ""
        name = base_name(path)
        match = self._pattern.fullmatch(name) if self._pattern else None
        return match["cluster"] if match else name

    def matches(self, path: str) -> bool:
        """Return whether the name of a video has the format of the card; True for a card without a pattern."""
        return self._pattern is None or self._pattern.fullmatch(base_name(path)) is not None
