"""Arithmetic rules (A) on single records: metrics, counts and hashes from predictions and class names."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from harness.base.canonical import labels_sha256, rows_sha256
from results.predictions import ID_COLUMNS, PROBABILITY_COLUMNS
from results.statistics.metrics import NO_PREDICTION, accuracies
from results.submission.submission import Measured, Submission

TOLERANCE = 1e-9
"""Percent points: the last digits of a division, no video."""
ROUNDING = 1e-6
"""Probabilities are stored with six decimals."""
Disagreement = tuple[str, str]
"""The value found, and the value expected."""


def _frame(one: Measured) -> pd.DataFrame:
    return one.frame if one.frame is not None else pd.DataFrame()


def _file(one: Measured, submission: Submission) -> Iterator[Disagreement]:
    stored = submission.hashes.get(f"records/{one.record.predictions.file}")
    if stored is None or one.frame is None:
        one.failed.add("A000")  # a format rule says why
    elif stored != one.record.predictions.sha256:
        yield f"predictions of sha256 {stored}", one.record.predictions.sha256


def _once(one: Measured, _: Submission) -> Iterator[Disagreement]:
    twice = _frame(one)["video"][_frame(one)["video"].duplicated()]
    if len(twice):
        yield f"{len(twice)} videos more than once, e.g. {twice.iloc[0]}", "each video once"


def _counts(one: Measured, _: Submission) -> Iterator[Disagreement]:
    evaluated = one.m.evaluation.evaluated
    if len(_frame(one)) != evaluated:
        yield f"{evaluated} videos said to be evaluated", f"{len(_frame(one))}, as the predictions have"


def _list_hash(one: Measured, _: Submission) -> Iterator[Disagreement]:
    listed = one.m.evaluation.list
    if one.m.evaluation.evaluated == listed.n:  # the hash of a list does not follow from a part of it
        found = rows_sha256(zip(_frame(one)["video"], _frame(one)["label"], strict=True))
        if found != listed.sha256:
            yield f"list sha256 {listed.sha256}", f"{found}, as the predictions give"


def _ids(one: Measured, _: Submission) -> Iterator[Disagreement]:
    classes = len(one.record.classes)
    labels, ids = _frame(one)["label"], _frame(one)[ID_COLUMNS].to_numpy()
    if not labels.between(0, classes - 1).all():
        yield f"labels from {labels.min()} to {labels.max()}", f"0 to {classes - 1}"
    if ids.min() < NO_PREDICTION or ids.max() >= classes:
        yield f"predicted ids from {ids.min()} to {ids.max()}", f"0 to {classes - 1}, -1 for none"
    ordered = np.sort(ids, axis=1)
    repeated = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != NO_PREDICTION)).any(axis=1)
    if repeated.any():
        yield f"{int(repeated.sum())} videos with a class predicted twice", "five different classes"
    given = (ids != NO_PREDICTION).sum(axis=1)
    wrong = (given != min(ids.shape[1], classes)) & (given != 0)
    if wrong.any():
        yield f"{int(wrong.sum())} videos with some predictions missing", f"{min(5, classes)} or none"


def _probabilities(one: Measured, _: Submission) -> Iterator[Disagreement]:
    p, ids = _frame(one)[PROBABILITY_COLUMNS].to_numpy(), _frame(one)[ID_COLUMNS].to_numpy()
    if p.min() < 0 or p.max() > 1 + ROUNDING:
        yield f"values from {p.min():g} to {p.max():g}", "0 to 1"
    if (np.diff(p, axis=1) > ROUNDING).any():
        yield f"{int((np.diff(p, axis=1) > ROUNDING).any(axis=1).sum())} videos not sorted", "best first"
    if (p.sum(axis=1) > 1 + 5 * ROUNDING).any():
        yield f"a sum of {p.sum(axis=1).max():g}", "at most 1"
    if (p[ids == NO_PREDICTION] != 0).any():
        yield "a probability without a prediction", "0"


def _undecodable(one: Measured, _: Submission) -> Iterator[Disagreement]:
    named = one.record.undecodable
    none = _frame(one)["video"][_frame(one)["id1"] == NO_PREDICTION]
    if len(none) != len(named):
        yield f"{len(named)} undecodable videos", f"{len(none)}, as the predictions have"
    elif sorted(item.video for item in named) != sorted(none):
        yield "other names of undecodable videos", "the videos without a prediction"


def _metrics(one: Measured, _: Submission) -> Iterator[Disagreement]:
    for name, value in accuracies(_frame(one)["label"], _frame(one)[ID_COLUMNS]).as_dict().items():
        stored = getattr(one.record.metrics, name)
        if not math.isclose(stored, value, rel_tol=0.0, abs_tol=TOLERANCE):
            yield f"{name} {stored}", f"{value}, as the predictions give"


def _strict(one: Measured, _: Submission) -> Iterator[Disagreement]:
    names, seen = one.record.classes, set(one.record.overlap.seen_classes)
    unseen = np.array([names[label] not in seen for label in _frame(one)["label"]])
    value = None
    if seen and unseen.any():
        value = accuracies(_frame(one)["label"][unseen], _frame(one)[ID_COLUMNS][unseen]).top1
    stored = one.record.overlap.top1_strict
    if stored is None or value is None:
        same = stored is value
    else:
        same = math.isclose(stored, value, rel_tol=0.0, abs_tol=TOLERANCE)
    if not same:
        yield f"top1_strict {stored}", f"{value}, as the predictions give"


def _labels(one: Measured, _: Submission) -> Iterator[Disagreement]:
    found, stated = labels_sha256(one.record.classes), one.m.evaluation.list.labels_sha256
    if found != stated:
        yield f"labels sha256 {stated}", f"{found}, as the class names give"


UNREADABLE = frozenset(("A000", "A001", "A002", "A003", "A005"))
RECORD_RULES: tuple[tuple[str, frozenset[str], Callable[[Measured, Submission], Iterator[Disagreement]]], ...] = (
    ("A001", frozenset(), _file),
    ("A002", frozenset({"A000", "A001"}), _once),
    ("A003", frozenset({"A000", "A001", "A002"}), _counts),
    ("A005", frozenset({"A000", "A001"}), _ids),
    ("A004", UNREADABLE, _list_hash),
    ("A006", frozenset({"A000", "A001"}), _probabilities),
    ("A008", UNREADABLE, _undecodable),
    ("A007", UNREADABLE, _metrics),
    ("A010", UNREADABLE | {"A007"}, _strict),
    ("A014", frozenset(), _labels),
)
"""Rules on single records: id, the rules without which it means nothing, check. In this order.

Keys and signature (A011, A013) are checked where records are read: a record that breaks them is not one.
"""
