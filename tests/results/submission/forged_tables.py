"""Predictions of forged submissions."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.base.canonical import fingerprint
from tests.results.factories import predictions_of


def table(videos: list[str], labels: list[int], classes: int, accuracy: float, key: object) -> pd.DataFrame:
    """Predictions with a given accuracy in every class, and five probabilities each."""
    rng = np.random.default_rng(int(fingerprint([str(key)], 8), 16))
    truth = np.array(labels, dtype=np.int64)
    scores = rng.random((len(truth), classes))
    scores[np.arange(len(truth)), truth] = 2.0
    for label in range(classes):
        mine = np.flatnonzero(truth == label)
        wrong = rng.permutation(mine)[: round((1 - accuracy) * len(mine))]
        scores[wrong, label] = rng.random(len(wrong)) * 0.9
        scores[wrong, (label + rng.integers(1, classes, len(wrong))) % classes] = 1.5
    return predictions_of(videos, truth, scores, rng)


def nudged(frame: pd.DataFrame) -> pd.DataFrame:
    """The same predictions with first probabilities that are lower by the last digit."""
    changed = frame.copy()
    rows = changed["p1"] - changed["p2"] > 1e-5
    changed.loc[rows, "p1"] = (changed.loc[rows, "p1"] - 1e-6).round(6)
    return changed
