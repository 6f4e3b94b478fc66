"""Statistics of two methods on their common evaluation lists."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from harness.spec import Repeat
from results.comparison_words import Borrowed, sentence
from results.frame_designs import designs_of
from results.measurement_words import differences
from results.record import Record
from results.row_samples import RowSample, Scored, row_sample
from results.row_statistics import PairStatistics, pair_statistics
from results.statistics.intervals import Interval
from results.statistics.pairs import around
from results.statistics.scores import difference
from results.statistics.trained_again import BorrowedSpread, borrowed_half_width


@dataclass(frozen=True)
class ListComparison:
    """A and B on one list and one repeat: accuracies in percent, the 2 x 2 counts, p value of the sign-flip test.

    The p value is that of McNemar's exact test if every video counts on its own.
    """

    name: str
    n: int
    accuracy_a: float
    accuracy_b: float
    both: int
    only_a: int
    only_b: int
    neither: int
    p: float | None


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
        sentence: The answers to both questions in words.
        difference: Mean over lists of accuracy A - accuracy B, in percent points.
        interval: 95 % interval of the difference on other videos; None if all videos have one source.
        p: Two-sided p value of the sign-flip test over the sources of the videos; None for a single source.
        p_holm: `p` after Holm's correction over the parts of this comparison.
        interval_again: 95 % interval of the difference if both methods are trained again; None with fewer than 2 fits.
        p_again, p_again_holm: p values for methods that are trained again.
        borrowed: Interval with the spread between the fits of other rows, for sides with one fit.
        fits: Number of paired fits; 1 if a trained side has one fit, 0 if nothing is trained.
        statistics: Variances, degrees of freedom and sources of the difference.
        videos: Distinct videos.
        clusters: Distinct clusters: sources of the videos where they are known, else the videos.
        lists: One entry for each list and repeat.
        classes: Changes of the classes, the largest first.
        flips: Videos that only one of the two predicts correctly.
        differing: Settings other than the method in which A and B differ; with the lists if only some differ.
        incomplete: Reasons why the mean of a side is incomplete, each after `A: ` or `B: `.
    """

    name: str
    sentence: str
    difference: float
    interval: Interval | None
    p: float | None
    p_holm: float | None
    interval_again: Interval | None
    p_again: float | None
    p_again_holm: float | None
    borrowed: Borrowed | None
    fits: int
    statistics: PairStatistics
    videos: int
    clusters: int
    lists: tuple[ListComparison, ...]
    classes: tuple[ClassChange, ...]
    flips: tuple[Flip, ...]
    differing: tuple[str, ...]
    incomplete: tuple[str, ...] = ()


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
    """Two records of one list and the joined predictions: video, label, cluster, id_a, id_b, hit_a, hit_b."""

    a: Record
    b: Record
    repeat: Repeat
    table: pd.DataFrame

    @property
    def list_name(self) -> str:
        """`LIST (KIND INDEX)`."""
        return f"{self.a.measurement.evaluation.list.name} ({self.repeat.kind} {self.repeat.index})"


@dataclass(frozen=True)
class PartSamples:
    """Both sides of a part, over all its pairs of records.

    Args:
        name: `protocol/dataset/part`.
        pairs: The pairs of records.
        a, b: Scores of the sides.
    """

    name: str
    pairs: tuple[Pair, ...]
    a: RowSample
    b: RowSample

    def statistics(self) -> PairStatistics:
        """The statistics of A - B; the p values after Holm's correction are those of a single part."""
        return pair_statistics(self.a, self.b, ("A", "B"))


def part_samples(name: str, pairs: Sequence[Pair]) -> PartSamples:
    """The scores of both sides on their common videos. Repeats are paired by their index."""
    designs = designs_of([pair.table for pair in pairs], [pair.a.classes for pair in pairs])
    sides = []
    for side in "ab":
        scored = [
            Scored(
                pair.repeat.index, (pair.a if side == "a" else pair.b).measurement.keys.fit, design,
                pair.table[f"hit_{side}"].to_numpy(dtype=bool),
            )
            for pair, design in zip(pairs, designs, strict=True)
        ]  # fmt: skip
        sides.append(row_sample(scored))
    return PartSamples(name, tuple(pairs), *sides)


def compare_part(
    samples: PartSamples, statistics: PairStatistics, spread: BorrowedSpread | None = None
) -> PartComparison:  # fmt: skip
    """Compare one part over all its pairs of records.

    Args:
        samples: Both sides.
        statistics: `samples.statistics()`, after Holm's correction over the parts.
        spread: Spread between the fits of other rows of the part, for sides with one fit.
    """
    pairs = samples.pairs
    lists = tuple(_list(pair) for pair in pairs)
    pooled = pd.concat([pair.table for pair in pairs], ignore_index=True)
    borrowed = _borrowed(samples, statistics, spread) if spread else None
    return PartComparison(
        name=samples.name, sentence=sentence(statistics, borrowed), difference=statistics.difference,
        interval=statistics.interval, p=statistics.p, p_holm=statistics.p_holm, interval_again=statistics.again,
        p_again=statistics.p_again, p_again_holm=statistics.p_again_holm, borrowed=borrowed, fits=statistics.fits,
        statistics=statistics, videos=pooled["video"].nunique(), clusters=len(samples.a.row.scores.clusters),
        lists=lists, classes=_classes(pooled, pairs[0].a.classes),
        flips=tuple(flip for pair in pairs for flip in _flips(pair)),
        differing=tuple(with_lists(_differing(pairs), len(pairs))),
    )  # fmt: skip


def _borrowed(samples: PartSamples, statistics: PairStatistics, spread: BorrowedSpread) -> Borrowed | None:
    """The interval of a difference of single fits, if they spread as those of other rows."""
    if statistics.fits != 1 or statistics.p is None:
        return None
    scores = difference(samples.a.row.scores, samples.b.row.scores)
    sides = sum(sample.fits > 0 for sample in (samples.a, samples.b))
    return Borrowed(around(scores.mean, borrowed_half_width(scores, spread, sides)), spread.rows)


def _list(pair: Pair) -> ListComparison:
    a, b = pair.table["hit_a"].to_numpy(), pair.table["hit_b"].to_numpy()
    # The same test as that of the part: with a single list both p values are equal.
    p = part_samples("", [pair]).statistics().p
    return ListComparison(
        pair.list_name, len(a), 100.0 * float(a.mean()), 100.0 * float(b.mean()), int((a & b).sum()),
        int((a & ~b).sum()), int((b & ~a).sum()), int((~a & ~b).sum()), p,
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
        # The device is not part of a measurement, but can change a few predictions.
        devices = pair.a.environment.device, pair.b.environment.device
        if devices[0] != devices[1]:
            texts.append(f"device {devices[0]} against {devices[1]}")
        for text in texts:
            found[text].append(pair.list_name)
    return found


def with_lists(texts: Mapping[str, Sequence[str]], count: int) -> list[str]:
    """Texts, each followed by the lists to which it applies if it does not apply to all `count` lists."""
    return [text if len(lists) == count else f"{text} ({', '.join(lists)})" for text, lists in texts.items()]
