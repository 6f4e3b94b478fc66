"""Videos that two rows decide differently, and the most confused classes of a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from reports.entries import Entry
from results.predictions import ID_COLUMNS, PROBABILITY_COLUMNS, read_predictions

MOST_DIFFERENT = 30
"""Videos of each kind (only A right, only B right, both wrong in different ways) on a page."""
MOST_CONFUSED, VIDEOS_OF_PAIR = 8, 4
"""Pairs of confused classes of a row, and videos of a pair."""
A_RIGHT, B_RIGHT, BOTH_WRONG = "only A is right", "only B is right", "both are wrong"
KINDS = (A_RIGHT, B_RIGHT, BOTH_WRONG)


@dataclass(frozen=True)
class Answer:
    """The five most probable classes of a video by one row, as pairs of name and probability."""

    classes: tuple[tuple[str, float], ...]

    @property
    def first(self) -> str:
        """The predicted class; empty without a prediction."""
        return self.classes[0][0] if self.classes else ""


@dataclass(frozen=True)
class SampleVideo:
    """A video with its true class and the answers of both rows.

    Args:
        video: Path in the list.
        label: Name of the true class.
        a, b: The answers.
    """

    video: str
    label: str
    a: Answer
    b: Answer

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        return A_RIGHT if self.a.first == self.label else B_RIGHT if self.b.first == self.label else BOTH_WRONG


@dataclass(frozen=True)
class Confusion:
    """Videos of a class that a row predicts as another class.

    Args:
        label, predicted: Names of the classes.
        count: Number of such videos.
        of: Number of videos of the class.
        videos: The first of them.
    """

    label: str
    predicted: str
    count: int
    of: int
    videos: tuple[SampleVideo, ...]


@dataclass(frozen=True)
class Samples:
    """The samples of two records of one list.

    Args:
        different: Videos with different first predictions, by kind and then in list order.
        counts: Number of all such videos of each kind.
        confused_a, confused_b: The most confused classes.
        videos: Number of videos of the list.
    """

    different: tuple[SampleVideo, ...]
    counts: tuple[tuple[str, int], ...]
    confused_a: tuple[Confusion, ...]
    confused_b: tuple[Confusion, ...]
    videos: int

    def shown(self) -> list[str]:
        """Paths of all videos that are shown, each once."""
        confused = [video for part in (*self.confused_a, *self.confused_b) for video in part.videos]
        return list(dict.fromkeys(video.video for video in (*self.different, *confused)))


def samples_of(a: Entry, b: Entry) -> Samples:
    """The samples of two records of the same evaluation list.

    Raises:
        UserError: The predictions of a record cannot be read.
    """
    tables = [read_predictions(entry.predictions) for entry in (a, b)]
    names = a.record.classes
    answers = [_answers(table, names) for table in tables]
    labels = [_name(names, label) for label in tables[0]["label"].tolist()]
    rows = zip(tables[0]["video"].tolist(), labels, answers[0], answers[1], strict=True)
    videos = [SampleVideo(*row) for row in rows]
    different = [video for video in videos if video.a.first != video.b.first]
    by_kind = {kind: [video for video in different if video.kind == kind] for kind in KINDS}
    return Samples(
        tuple(video for members in by_kind.values() for video in _spread(members)),
        tuple((kind, len(members)) for kind, members in by_kind.items()),
        _confusions(videos, [video.a.first for video in videos]),
        _confusions(videos, [video.b.first for video in videos]),
        len(videos),
    )


def _answers(table: pd.DataFrame, names: Sequence[str]) -> list[Answer]:
    ids, probabilities = table[ID_COLUMNS].to_numpy().tolist(), table[PROBABILITY_COLUMNS].to_numpy().tolist()
    return [
        Answer(tuple((_name(names, i), p) for i, p in zip(row, of_row, strict=True) if i >= 0))
        for row, of_row in zip(ids, probabilities, strict=True)
    ]


def _name(names: Sequence[str], number: int) -> str:
    return names[number] if 0 <= number < len(names) else str(number)


def _spread(videos: Sequence[SampleVideo]) -> list[SampleVideo]:
    """At most `MOST_DIFFERENT` videos, evenly spaced over the list, whose videos are often sorted by class."""
    if len(videos) <= MOST_DIFFERENT:
        return list(videos)
    return [videos[i * len(videos) // MOST_DIFFERENT] for i in range(MOST_DIFFERENT)]


def _confusions(videos: Sequence[SampleVideo], predicted: Sequence[str]) -> tuple[Confusion, ...]:
    """The pairs of classes with the most videos; of equal ones those that come first in the list."""
    of_class = Counter(video.label for video in videos)
    wrong = [(video, name) for video, name in zip(videos, predicted, strict=True) if name not in ("", video.label)]
    pairs = Counter((video.label, name) for video, name in wrong)
    return tuple(
        Confusion(
            label, name, count, of_class[label],
            tuple(video for video, other in wrong if (video.label, other) == (label, name))[:VIDEOS_OF_PAIR],
        )
        for (label, name), count in pairs.most_common(MOST_CONFUSED)
    )  # fmt: skip
