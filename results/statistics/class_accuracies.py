"""Accuracy of each class and the confusion matrix of a list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from results.statistics.metrics import NO_PREDICTION


@dataclass(frozen=True)
class ClassAccuracy:
    """Right answers of one class.

    Args:
        id: Class id.
        name: Class name.
        videos: Number of videos of the class in the list.
        correct: Number of videos whose first prediction is the class.
        accuracy: Accuracy in percent; None if the list has no video of the class.
    """

    id: int
    name: str
    videos: int
    correct: int
    accuracy: float | None


def confusion_matrix(labels: ArrayLike, first: ArrayLike, classes: int) -> NDArray[np.int64]:
    """(C, C + 1) numbers of videos by true class and first prediction; the last column is "no prediction".

    Args:
        labels: (N,) true ids.
        first: (N,) first predicted ids, `NO_PREDICTION` without a prediction.
        classes: Number of classes C.

    Raises:
        ValueError: An id is outside its range.
    """
    truth, answers = np.asarray(labels, dtype=np.int64), np.asarray(first, dtype=np.int64)
    if truth.shape != answers.shape or (truth < 0).any() or (np.maximum(truth, answers) >= classes).any():
        raise ValueError(f"need equal numbers of labels and predictions with ids below {classes}")
    columns = np.where(answers == NO_PREDICTION, classes, answers)
    counts = np.bincount(truth * (classes + 1) + columns, minlength=classes * (classes + 1))
    return counts.reshape(classes, classes + 1).astype(np.int64)


def class_accuracies(matrix: NDArray[np.int64], names: Sequence[str]) -> tuple[ClassAccuracy, ...]:
    """The accuracy of every class, in id order.

    Args:
        matrix: (C, C + 1) as `confusion_matrix` returns it.
        names: C class names.
    """
    videos, correct = matrix.sum(axis=1), matrix.diagonal()
    return tuple(
        ClassAccuracy(label, name, int(n), int(hits), 100.0 * int(hits) / int(n) if n else None)
        for label, (name, n, hits) in enumerate(zip(names, videos, correct, strict=True))
    )
