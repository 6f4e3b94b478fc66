"""Further measures of records, computed from their predictions: `python -m harness score PATH --measures`.

Records store top-1, top-5 and mean-class accuracy. All other measures follow from the predictions and are not stored.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from results.measurement_words import mean_lacks
from results.predictions import ID_COLUMNS, PROBABILITY_COLUMNS, read_predictions
from results.record import Record, read_record
from results.statistics.class_accuracies import ClassAccuracy, class_accuracies, confusion_matrix
from results.statistics.metrics import accuracies
from results.statistics.probability_metrics import (
    Bounds,
    Predicted,
    auroc,
    brier_score,
    calibration_error,
    negative_log_likelihood,
    predicted,
)

NO_PREDICTION_COLUMN = "no prediction"


@dataclass(frozen=True)
class Measures:
    """Measures of one record.

    Args:
        mean_class: Mean of the accuracies of the classes that occur in the list, in percent.
        ece: Expected calibration error in percent points.
        nll: Mean negative log-likelihood in nats.
        brier: Brier score.
        auroc_unseen: AUROC of the top probability for videos of seen against unseen classes of this list; None unless
            the record names seen classes and both kinds have videos.
        predicted: Number of videos with a prediction, from which all values but the mean-class accuracy are computed.
        outside_top5: Number of these videos whose true class is not among the stored five.
    """

    mean_class: float
    ece: float | None
    nll: Bounds | None
    brier: Bounds | None
    auroc_unseen: float | None
    predicted: int
    outside_top5: int

    def __str__(self) -> str:
        parts = [f"mean class {self.mean_class:.2f} %"]
        if self.ece is not None:
            parts += [f"ECE {self.ece:.2f} points", f"NLL {self.nll}", f"Brier {self.brier}"]
        if self.auroc_unseen is not None:
            parts.append(f"AUROC seen/unseen {self.auroc_unseen:.4f}")
        if self.outside_top5:
            parts.append(f"true class outside the top 5 of {self.outside_top5} videos")
        return ", ".join(parts)


@dataclass(frozen=True)
class Scored:
    """A record with its predictions.

    Args:
        path: File of the record.
        record: The record.
        predictions: Predictions of the videos that have one.
        matrix: (C, C + 1) confusion matrix of all videos.
        measures: The measures.
    """

    path: Path
    record: Record
    predictions: Predicted
    matrix: NDArray[np.int64]
    measures: Measures

    @property
    def per_class(self) -> tuple[ClassAccuracy, ...]:
        """The accuracy of every class, in id order."""
        return class_accuracies(self.matrix, self.record.classes)


@dataclass(frozen=True)
class BaseNovel:
    """AUROC of the top probability for the videos of the base part against those of the novel part of one repeat.

    The two parts have label sets of different sizes, which also changes the top probability; the AUROC of a joint list
    does not have this limit.

    Args:
        base, novel: Files of the two records.
        auroc: The AUROC.
        incomplete: Reasons why a record of the two is incomplete.
    """

    base: str
    novel: str
    auroc: float
    incomplete: tuple[str, ...] = ()


def scored(path: Path) -> Scored:
    """Read a record with its predictions and compute its measures. The files must have passed `results.score.score`.

    Raises:
        UserError: A file cannot be read.
    """
    record = read_record(path)
    frame = read_predictions(path.with_name(record.predictions.file))
    labels, ids = frame["label"].to_numpy(), frame[ID_COLUMNS].to_numpy()
    values = predicted(labels, ids, frame[PROBABILITY_COLUMNS].to_numpy(), len(record.classes))
    # Imported predictions may have no probabilities; the zeros in their place are not the model's.
    known = bool((values.top > 0).any())
    seen = np.isin(values.labels, [label for label, name in enumerate(record.classes) if _is_seen(name, record)])
    matches = (values.ids == values.labels[:, None]).any(axis=1)
    measures = Measures(
        mean_class=accuracies(labels, ids).mean_class,
        ece=calibration_error(values) if known else None,
        nll=negative_log_likelihood(values) if known else None,
        brier=brier_score(values) if known else None,
        auroc_unseen=auroc(values.top[seen], values.top[~seen]) if known else None,
        predicted=len(values.labels),
        outside_top5=int((~matches).sum()),
    )
    return Scored(path, record, values, confusion_matrix(labels, ids[:, 0], len(record.classes)), measures)


def _is_seen(name: str, record: Record) -> bool:
    return name in record.overlap.seen_classes


def base_novel(records: Iterable[Scored]) -> Iterator[BaseNovel]:
    """The AUROC of each pair of a base and a novel record of one row and repeat, measured with the same weights."""
    novel: dict[tuple[str, str, int, str], Scored] = {}
    pairs = list(records)
    for item in pairs:
        if item.record.measurement.protocol.part == "novel":
            novel.setdefault(_repeat_of(item.record), item)
    for item in pairs:
        other = novel.get(_repeat_of(item.record)) if item.record.measurement.protocol.part == "base" else None
        area = auroc(item.predictions.top, other.predictions.top) if other is not None else None
        if other is not None and area is not None:
            lacks = dict.fromkeys(reason for side in (item, other) for reason in mean_lacks(side.record.measurement))
            yield BaseNovel(str(item.path), str(other.path), area, tuple(lacks))


def _repeat_of(record: Record) -> tuple[str, str, int, str]:
    """Row, repeat and weights of a record."""
    m = record.measurement
    repeat, weights = m.protocol.repeat, m.fitted.weights_sha256 if m.fitted is not None else ""
    return m.keys.row, repeat.kind, repeat.index, weights


def per_class_csv(records: Iterable[Scored]) -> str:
    """CSV with one line per record and class: record, id, class, videos, correct, accuracy in percent."""
    rows = [
        [str(item.path), str(c.id), c.name, str(c.videos), str(c.correct), _percent(c.accuracy)]
        for item in records
        for c in item.per_class
    ]
    return _csv([["record", "id", "class", "videos", "correct", "accuracy"], *rows])


def _percent(accuracy: float | None) -> str:
    return "" if accuracy is None else f"{accuracy:.6f}"


def confusion_csv(item: Scored) -> str:
    """CSV of the confusion matrix of a record: a line per true class, a column per first prediction."""
    header = ["true class", *item.record.classes, NO_PREDICTION_COLUMN]
    lines = zip(item.record.classes, item.matrix.tolist(), strict=True)
    return _csv([header, *([name, *map(str, counts)] for name, counts in lines)])


def _csv(rows: Iterable[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
