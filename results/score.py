"""Every number of a record recomputed from its predictions: `python -m harness score PATH`."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from harness.base.errors import UserError
from results.metrics import NO_PREDICTION, accuracies
from results.predictions import ID_COLUMNS, PROBABILITY_COLUMNS, read_predictions
from results.record import PREDICTIONS_SUFFIX, RECORD_SUFFIX, Record, find_records, read_record

TOLERANCE = 1e-9
"""Percent points by which a recomputed metric may differ: the last digits of a division, no video."""


@dataclass(frozen=True)
class Finding:
    """One disagreement between a record and its predictions.

    Args:
        path: The record.
        rule: A short name: `file_hash`, `duplicate`, `count`, `list_hash`, `metric`, `ids`, `probabilities`, ...
        message: The thing, the value found and the value expected.
    """

    path: Path
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.rule}: {self.message}"


@dataclass(frozen=True)
class Score:
    """What `score` found.

    Args:
        records: Records looked at.
        findings: Disagreements; empty if every number follows from the predictions.
        recomputed: By record path, the metrics computed from the predictions, in percent.
    """

    records: tuple[Path, ...]
    findings: tuple[Finding, ...]
    recomputed: dict[Path, dict[str, float]]

    @property
    def passed(self) -> bool:
        """Whether nothing disagrees."""
        return not self.findings


def score(path: Path) -> Score:
    """Recompute all metrics of a record, of a prediction file's record, or of every record under a folder.

    Raises:
        UserError: Nothing to score at `path`.
    """
    records = _records(path)
    findings: list[Finding] = []
    recomputed: dict[Path, dict[str, float]] = {}
    for file in records:
        try:
            record = read_record(file)
        except UserError as error:
            findings.append(Finding(file, "record", error.message))
            continue
        found, metrics = check_record(file, record)
        findings += found
        if metrics:
            recomputed[file] = metrics
    return Score(tuple(records), tuple(findings), recomputed)


def _records(path: Path) -> list[Path]:
    if path.is_dir():
        found = find_records(path)
        if not found:
            raise UserError(f"{path} holds no record (*{RECORD_SUFFIX}).")
        return found
    if path.name.endswith(PREDICTIONS_SUFFIX):
        path = path.with_name(path.name.removesuffix(PREDICTIONS_SUFFIX) + RECORD_SUFFIX)
    if not path.is_file():
        raise UserError(f"There is no record {path}.", f"Name a *{RECORD_SUFFIX}, its predictions, or a folder.")
    return [path]


def check_record(path: Path, record: Record) -> tuple[list[Finding], dict[str, float]]:
    """The disagreements of one record, and its metrics recomputed (empty where the predictions cannot be read)."""
    file = path.with_name(record.predictions["file"])
    findings: list[Finding] = []
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        frame = read_predictions(file)
    except (OSError, UserError) as error:
        return [Finding(path, "file", error.message if isinstance(error, UserError) else str(error))], {}
    if digest != record.predictions["sha256"]:
        findings.append(
            Finding(path, "file_hash", f"{file.name} has sha256 {digest}, recorded {record.predictions['sha256']}")
        )
    findings += [Finding(path, rule, message) for rule, message in _row_findings(frame, record)]
    if not len(frame):
        return [*findings, Finding(path, "count", "the predictions are empty")], {}
    metrics = accuracies(frame["label"], frame[ID_COLUMNS]).as_dict()
    for name, value in metrics.items():
        stored = record.metrics.get(name)
        if stored is None or not math.isclose(stored, value, rel_tol=0.0, abs_tol=TOLERANCE):
            findings.append(Finding(path, "metric", f"{name} is recorded as {stored}, the predictions give {value}"))
    unknown = sorted(set(record.metrics) - set(metrics))
    if unknown:
        findings.append(Finding(path, "metric", f"{', '.join(unknown)} cannot be computed from predictions"))
    return findings, metrics


def _row_findings(frame: pd.DataFrame, record: Record) -> list[tuple[str, str]]:
    """Disagreements about which videos were scored and about the rows themselves."""
    data = record.data
    findings: list[tuple[str, str]] = []
    twice = frame["video"][frame["video"].duplicated()]
    if len(twice):
        findings.append(("duplicate", f"{len(twice)} videos occur more than once, e.g. {twice.iloc[0]}"))
    if len(frame) != data["n_evaluated"]:
        findings.append(("count", f"{len(frame)} predictions, {data['n_evaluated']} videos are said to be evaluated"))
    whole = data["n_evaluated"] == data["n_expected"]
    if not whole and not record.protocol.get("incomplete"):
        findings.append(("count", f"{data['n_evaluated']} of {data['n_expected']} videos, but not marked incomplete"))
    found = list_sha256(frame)
    if whole and found != data["list_sha256"]:  # the hash of a list cannot be had from a part of it
        findings.append(("list_hash", f"videos and labels have sha256 {found}, recorded {data['list_sha256']}"))
    classes = len(data["classes"])
    if not frame["label"].between(0, classes - 1).all():
        findings.append(("ids", f"a label lies outside 0..{classes - 1}"))
    ids, probabilities = frame[ID_COLUMNS], frame[PROBABILITY_COLUMNS]
    if not ((ids >= NO_PREDICTION) & (ids < classes)).all(axis=None):
        findings.append(("ids", f"a predicted id lies outside -1..{classes - 1}"))
    repeated = sum(
        int(((ids.iloc[:, i] == ids.iloc[:, j]) & (ids.iloc[:, i] != NO_PREDICTION)).sum())
        for i in range(len(ID_COLUMNS))
        for j in range(i)
    )
    if repeated:
        findings.append(("ids", f"{repeated} times a class is predicted twice for one video"))
    falling = (probabilities.to_numpy()[:, :-1] >= probabilities.to_numpy()[:, 1:] - 1e-6).all()
    if not falling or not ((probabilities >= 0) & (probabilities <= 1 + 1e-6)).all(axis=None):
        findings.append(("probabilities", "not sorted from the best to the worst within 0..1"))
    undecodable = int((ids["id1"] == NO_PREDICTION).sum())
    if undecodable != data["n_undecodable"]:
        findings.append(("count", f"{undecodable} videos without a prediction, recorded {data['n_undecodable']}"))
    return findings


def list_sha256(frame: pd.DataFrame) -> str:
    """sha256 of the lines `video label` (LF) of a predictions table: the hash of the list that was scored."""
    rows = "".join(f"{video} {label}\n" for video, label in zip(frame["video"], frame["label"], strict=True))
    return hashlib.sha256(rows.encode()).hexdigest()
