"""Right answers of a record by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ClassScores:
    """Right answers and videos of every class of a list.

    Args:
        names: Names of the classes by class id.
        right: Number of right answers, by class id.
        videos: Number of videos, by class id.
    """

    names: Sequence[str]
    right: NDArray[np.int64]
    videos: NDArray[np.int64]

    @staticmethod
    def of(names: Sequence[str], labels: NDArray[np.int64], hits: NDArray[np.bool_]) -> ClassScores:
        """Count the answers of N videos.

        Args:
            names: Names of the C classes.
            labels: (N,) class ids.
            hits: (N,) whether the answer is right.
        """
        size = len(names)
        return ClassScores(names, np.bincount(labels[hits], minlength=size), np.bincount(labels, minlength=size))

    def percent(self, number: int) -> float:
        """Accuracy of a class in percent."""
        return 100.0 * float(self.right[number]) / float(self.videos[number])

    def order(self) -> list[int]:
        """Ids of the classes that have videos, the best first."""
        known = np.flatnonzero(self.videos[: len(self.names)])
        accuracy = self.right[known] / self.videos[known]
        # Stable, so that classes of equal accuracy stay in the order of their ids.
        return [int(i) for i in known[np.argsort(-accuracy, kind="stable")]]

    def words(self, number: int, name: str) -> str:
        """A class with its accuracy and its number of videos."""
        return f"{name} {self.percent(number):.0f} % (n = {self.videos[number]})"


@dataclass(frozen=True)
class RowClasses:
    """Accuracy by class of the first repeat of a row's first top-1 column.

    Args:
        column: Name of the column.
        scores: Answers by class.
    """

    column: str
    scores: ClassScores
