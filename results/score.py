"""Recompute all numbers of a record from its predictions: `python -m harness score PATH`."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from harness.base.canonical import labels_sha256, rows_sha256
from harness.base.errors import UserError
from results.measurement_words import mean_lacks
from results.predictions import ID_COLUMNS, PROBABILITY_COLUMNS, read_predictions
from results.record import PREDICTIONS_SUFFIX, RECORD_SUFFIX, Record, find_records, read_record
from results.statistics.metrics import NO_PREDICTION, accuracies

TOLERANCE = 1e-9
"""Tolerance of a recomputed metric in percent points: rounding of a division, less than one video."""


@dataclass(frozen=True)
class Finding:
    """One disagreement between a record and its predictions.

    Args:
        path: The record.
        rule: `record` or `file` if the record or its predictions cannot be read; else `file_hash`, `duplicate`,
            `count`, `list_hash`, `labels`, `ids`, `probabilities`, `undecodable` or `metric`.
        message: The value found and the value expected.
    """

    path: Path
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.rule}: {self.message}"


@dataclass(frozen=True)
class Unmatched:
    """Videos whose names do not have the format of their dataset, so that each is a cluster by itself.

    Args:
        videos: Number of these videos.
        first: The first of them in the list.
    """

    videos: int
    first: str


@dataclass(frozen=True)
class Recomputed:
    """Results of the predictions of one record.

    Args:
        metrics: Metrics in percent.
        videos: Number of predictions.
        unmatched: Videos without a known source in a list with known sources; None if there are none.
    """

    metrics: dict[str, float]
    videos: int
    unmatched: Unmatched | None = None


@dataclass(frozen=True)
class Score:
    """Disagreements between records and their predictions.

    Args:
        records: Paths of all records.
        findings: Disagreements; empty if every number follows from the predictions.
        recomputed: Metrics by record path, without records whose files cannot be read.
        incomplete: Reasons why a record is incomplete, by record path; without complete records.
    """

    records: tuple[Path, ...]
    findings: tuple[Finding, ...]
    recomputed: dict[Path, Recomputed]
    incomplete: dict[Path, tuple[str, ...]]

    @property
    def passed(self) -> bool:
        """True if no number disagrees with the predictions."""
        return not self.findings


def score(path: Path) -> Score:
    """Recompute all metrics of a record, of the record of a predictions file, or of all records under a folder.

    A record or predictions file that cannot be read is a finding; all other records are scored.

    Raises:
        UserError: `path` is neither a record nor a folder with records.
    """
    records = _records(path)
    findings: list[Finding] = []
    recomputed: dict[Path, Recomputed] = {}
    incomplete: dict[Path, tuple[str, ...]] = {}
    for file in records:
        try:
            record = read_record(file)
        except UserError as error:
            findings.append(Finding(file, "record", error.message))
            continue
        if reasons := mean_lacks(record.measurement):
            incomplete[file] = reasons
        of_record, metrics = check_record(file, record)
        findings += of_record
        if metrics is not None:
            recomputed[file] = metrics
    return Score(tuple(records), tuple(findings), recomputed, incomplete)


def _records(path: Path) -> list[Path]:
    if path.is_dir():
        paths = find_records(path)
        if not paths:
            raise UserError(f"{path} holds no record (*{RECORD_SUFFIX}).", "Name a folder that `run` wrote records to.")
        return paths
    if path.name.endswith(PREDICTIONS_SUFFIX):
        path = path.with_name(path.name.removesuffix(PREDICTIONS_SUFFIX) + RECORD_SUFFIX)
    if not path.is_file():
        raise UserError(f"There is no record {path}.", f"Name a *{RECORD_SUFFIX}, its predictions, or a folder.")
    return [path]


def check_record(path: Path, record: Record) -> tuple[list[Finding], Recomputed | None]:
    """Disagreements of one record, and its recomputed metrics (None without predictions)."""
    file = path.with_name(record.predictions.file)
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        frame = read_predictions(file)
    except UserError as error:
        return [Finding(path, "file", error.message)], None
    except OSError as error:
        return [Finding(path, "file", f"{file} cannot be read: {error.strerror}")], None
    problems = [("file_hash", f"{file.name} has sha256 {digest}, recorded {record.predictions.sha256}")]
    problems = problems if digest != record.predictions.sha256 else []
    if not len(frame):
        return [Finding(path, rule, text) for rule, text in [*problems, ("count", "the predictions are empty")]], None
    problems += [*_list_findings(frame, record), *_row_findings(frame, record)]
    metrics = accuracies(frame["label"], frame[ID_COLUMNS]).as_dict()
    problems += _metric_findings(frame, record, metrics)
    return [Finding(path, rule, text) for rule, text in problems], Recomputed(metrics, len(frame), _unmatched(frame))


def _unmatched(frame: pd.DataFrame) -> Unmatched | None:
    """The videos whose cluster is their own base name, or is missing in a list with clusters; None if there are none.

    A list in which all videos are such is one of independent videos.
    """
    if not (frame["cluster"] != "").any():
        return None
    names = frame["video"].str.rpartition("/")[2]
    stems = names.str.rpartition(".")[0].where(names.str.contains(".", regex=False), names)
    alone = (frame["cluster"] == stems) | (frame["cluster"] == "")
    return Unmatched(int(alone.sum()), str(frame["video"][alone].iloc[0])) if alone.any() and not alone.all() else None


def _list_findings(frame: pd.DataFrame, record: Record) -> Iterator[tuple[str, str]]:
    """Disagreements about which videos and classes were scored."""
    evaluation = record.measurement.evaluation
    repeated = frame["video"][frame["video"].duplicated()]
    if len(repeated):
        yield "duplicate", f"{len(repeated)} videos occur more than once, e.g. {repeated.iloc[0]}"
    if len(frame) != evaluation.evaluated:
        yield "count", f"{len(frame)} predictions, the record has {evaluation.evaluated} videos evaluated"
    rows_hash = rows_sha256(zip(frame["video"], frame["label"], strict=True))
    # The hash of a list cannot be computed from a part of it.
    if evaluation.evaluated == evaluation.list.n and rows_hash != evaluation.list.sha256:
        yield "list_hash", f"videos and labels have sha256 {rows_hash}, recorded {evaluation.list.sha256}"
    labels_hash = labels_sha256(record.classes)
    if labels_hash != evaluation.list.labels_sha256:
        yield "labels", f"the classes have sha256 {labels_hash}, recorded {evaluation.list.labels_sha256}"
    without = set(frame["video"][frame["id1"] == NO_PREDICTION])
    recorded = {item.video for item in record.undecodable}
    if without != recorded:
        video = sorted(without ^ recorded)[0]
        message = f"{len(without)} videos without a prediction, recorded {len(recorded)}, e.g. {video} in one of them"
        yield "undecodable", message


def _row_findings(frame: pd.DataFrame, record: Record) -> Iterator[tuple[str, str]]:
    """Invalid labels, ids and probabilities."""
    classes = len(record.classes)
    if not frame["label"].between(0, classes - 1).all():
        yield "ids", f"a label lies outside 0..{classes - 1}"
    ids, probabilities = frame[ID_COLUMNS].to_numpy(), frame[PROBABILITY_COLUMNS].to_numpy()
    if not ((ids >= NO_PREDICTION) & (ids < classes)).all():
        yield "ids", f"a predicted id lies outside -1..{classes - 1}"
    ordered = np.sort(ids, axis=1)
    repeated = int(((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != NO_PREDICTION)).sum())
    if repeated:
        yield "ids", f"{repeated} times a class is predicted twice for one video"
    # Probabilities are stored with six decimals.
    falling = (probabilities[:, :-1] >= probabilities[:, 1:] - 1e-6).all()
    if not falling or not ((probabilities >= 0) & (probabilities <= 1 + 1e-6)).all():
        yield "probabilities", "not sorted from the best to the worst within 0..1"


def _metric_findings(frame: pd.DataFrame, record: Record, metrics: dict[str, float]) -> Iterator[tuple[str, str]]:
    """Recorded metrics that differ from the recomputed metrics."""
    stored: dict[str, float | None] = {name: getattr(record.metrics, name) for name in metrics}
    computed: dict[str, float | None] = dict(metrics)
    stored["overlap.top1_strict"], computed["overlap.top1_strict"] = record.overlap.top1_strict, _strict(frame, record)
    for name, value in computed.items():
        recorded = stored[name]
        same = recorded is value if recorded is None or value is None else math.isclose(
            recorded, value, rel_tol=0.0, abs_tol=TOLERANCE
        )  # fmt: skip
        if not same:
            yield "metric", f"{name} is recorded as {recorded}, the predictions give {value}"


def _strict(frame: pd.DataFrame, record: Record) -> float | None:
    """Top-1 accuracy on classes that were not seen in training; None if no class or every class was seen."""
    seen = {label for label, name in enumerate(record.classes) if name in record.overlap.seen_classes}
    unseen = frame[~frame["label"].isin(seen)]
    return accuracies(unseen["label"], unseen[ID_COLUMNS]).top1 if seen and len(unseen) else None
