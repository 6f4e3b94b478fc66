"""Statistics of two methods on their common evaluation lists."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.spec import Repeat
from results.measurement_words import differences
from results.record import Record
from results.statistics.intervals import Interval
from results.statistics.paired import mcnemar_p, mean_interval, sign_flip_p

WEIGHTS = 1000
"""Largest integer weight of a list. Integer weights keep the sign-flip test exact for lists of different lengths."""


@dataclass(frozen=True)
class ListComparison:
    """A and B on one list and one repeat: accuracies in percent, the 2 x 2 counts, McNemar's exact p value."""

    name: str
    n: int
    accuracy_a: float
    accuracy_b: float
    both: int
    only_a: int
    only_b: int
    neither: int
    p: float


@dataclass(frozen=True)
class ClassChange:
    """Accuracy of A and of B on one class in percent, over `n` predictions."""

    name: str
    n: int
    accuracy_a: float
    accuracy_b: float

    @property
    def change(self) -> float:
        """Accuracy of A minus accuracy of B in percent points."""
        return self.accuracy_a - self.accuracy_b


@dataclass(frozen=True)
class Flip:
    """A video that only A or only B predicts correctly, with the class names of label and predictions."""

    video: str
    list: str
    label: str
    predicted_a: str
    predicted_b: str
    right: str


@dataclass(frozen=True)
class PartComparison:
    """A and B on one part of a protocol, over all common lists and repeats.

    Args:
        name: `protocol/dataset/part`.
        difference: Mean over lists of accuracy A - accuracy B, in percent points.
        interval: 95 % interval of the difference that agrees with `p`, see `results.statistics.paired.mean_interval`.
        p: Two-sided p value of the sign-flip test over videos; of McNemar's exact test for a single list.
        p_holm: `p` after Holm's correction over the parts of this comparison.
        videos: Distinct videos.
        lists: One entry for each list and repeat.
        classes: Changes of the classes, the largest first.
        flips: Videos that only one of the two predicts correctly.
        differing: Settings other than the method in which A and B differ; with the lists if only some differ.
    """

    name: str
    difference: float
    interval: Interval
    p: float
    p_holm: float
    videos: int
    lists: tuple[ListComparison, ...]
    classes: tuple[ClassChange, ...]
    flips: tuple[Flip, ...]
    differing: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """A against B, by part.

    Args:
        a: Name of A: its title; if the titles are equal, with the settings in which it differs from B.
        b: Name of B.
        parts: One entry for each part of each common table.
        notes: Reasons why a side has no rank, and superseded records.
        refused: Tables that cannot be compared, with the reason.
        damaged: Files that could not be read.
    """

    a: str
    b: str
    parts: tuple[PartComparison, ...]
    notes: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pair:
    """Two records of one list and the joined predictions: video, label, id_a, id_b, hit_a, hit_b."""

    a: Record
    b: Record
    repeat: Repeat
    table: pd.DataFrame

    @property
    def list_name(self) -> str:
        """`LIST (KIND INDEX)`."""
        return f"{self.a.measurement.evaluation.list.name} ({self.repeat.kind} {self.repeat.index})"


def compare_part(name: str, pairs: Sequence[Pair]) -> PartComparison:
    """Compare one part over all its pairs of records; `p_holm` stays 1."""
    lists = tuple(_list(pair) for pair in pairs)
    pooled = pd.concat([pair.table for pair in pairs], ignore_index=True)
    steps = pooled["hit_a"].astype(np.int64) - pooled["hit_b"].astype(np.int64)
    weights = _weights([len(pair.table) for pair in pairs])
    weighted = steps * np.repeat(weights, [len(pair.table) for pair in pairs])
    per_video = weighted.groupby(pooled["video"], sort=False).sum().to_numpy(dtype=np.int64)
    # Converts a weighted difference of one video to percent points of the mean over lists.
    points = 100.0 / np.mean([weight * listed.n for weight, listed in zip(weights, lists, strict=True)]) / len(lists)
    interval = mean_interval(per_video)
    low, high = (float(points) * len(per_video) * limit for limit in (interval.low, interval.high))
    return PartComparison(
        name=name,
        difference=float(np.mean([listed.accuracy_a - listed.accuracy_b for listed in lists])),
        interval=Interval(max(low, -100.0), min(high, 100.0)),
        p=lists[0].p if len(lists) == 1 else sign_flip_p(per_video),
        p_holm=1.0,
        videos=len(per_video),
        lists=lists,
        classes=_classes(pooled, pairs[0].a.classes),
        flips=tuple(flip for pair in pairs for flip in _flips(pair)),
        differing=tuple(with_lists(_differing(pairs), len(pairs))),
    )


def _weights(sizes: Sequence[int]) -> list[int]:
    """Integer weights proportional to 1 / size, so that all lists count equally; relative error below 1 / `WEIGHTS`."""
    numbers = [round(WEIGHTS * min(sizes) / size) for size in sizes]
    unit = math.gcd(*numbers)
    return [number // unit for number in numbers]


def _list(pair: Pair) -> ListComparison:
    a, b = pair.table["hit_a"].to_numpy(), pair.table["hit_b"].to_numpy()
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    return ListComparison(
        pair.list_name, len(a), 100.0 * float(a.mean()), 100.0 * float(b.mean()), int((a & b).sum()), only_a, only_b,
        int((~a & ~b).sum()), mcnemar_p(only_a, only_b),
    )  # fmt: skip


def _classes(pooled: pd.DataFrame, names: Sequence[str]) -> tuple[ClassChange, ...]:
    grouped = pooled.groupby("label").agg(n=("label", "size"), a=("hit_a", "mean"), b=("hit_b", "mean"))
    changes = [
        ClassChange(_class_name(int(row.Index), names), int(row.n), 100.0 * float(row.a), 100.0 * float(row.b))
        for row in grouped.itertuples()
    ]
    return tuple(sorted(changes, key=lambda change: (-abs(change.change), change.name)))


def _flips(pair: Pair) -> list[Flip]:
    names, listed = pair.a.classes, pair.a.measurement.evaluation.list.name
    flipped = pair.table[pair.table["hit_a"] != pair.table["hit_b"]]
    return [
        Flip(row.video, listed, _class_name(row.label, names), _class_name(row.id_a, names),
             _class_name(row.id_b, names), "a" if row.hit_a else "b")
        for row in flipped.itertuples()
    ]  # fmt: skip


def _class_name(label: int, names: Sequence[str]) -> str:
    """Class name of an id; `no prediction` for an undecodable video."""
    return names[label] if 0 <= label < len(names) else "no prediction"


def _differing(pairs: Iterable[Pair]) -> dict[str, list[str]]:
    """Settings other than the method in which A and B differ, with the lists on which they differ."""
    found: dict[str, list[str]] = defaultdict(list)
    for pair in pairs:
        texts = [str(d) for d in differences(pair.a.measurement, pair.b.measurement, ("method.name",))]
        devices = pair.a.environment.device, pair.b.environment.device
        if devices[0] != devices[1]:
            texts.append(f"device {devices[0]} against {devices[1]}")
        for text in texts:
            found[text].append(pair.list_name)
    return found


def with_lists(texts: Mapping[str, Sequence[str]], count: int) -> list[str]:
    """Texts, each followed by the lists to which it applies if it does not apply to all `count` lists."""
    return [text if len(lists) == count else f"{text} ({', '.join(lists)})" for text, lists in texts.items()]
