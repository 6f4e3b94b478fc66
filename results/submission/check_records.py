"""Arithmetic rules (A) for single records: recompute metrics, counts and hashes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.base.canonical import labels_sha256, rows_sha256
from results.predictions import ID_COLUMNS, PROBABILITY_COLUMNS
from results.statistics.metrics import NO_PREDICTION, accuracies
from results.submission.submission import Measured, Submission

TOLERANCE = 1e-9
"""Tolerance in percent points: rounding of a division, less than one video."""
ROUNDING = 1e-6
"""Tolerance of probabilities, which are stored with six decimals."""
Disagreement = tuple[str, str]
"""The value found, and the value expected."""


def _frame(measured: Measured) -> pd.DataFrame:
    return measured.frame if measured.frame is not None else pd.DataFrame()


def _file(measured: Measured, submission: Submission) -> Iterator[Disagreement]:
    stored = submission.hashes.get(f"records/{measured.record.predictions.file}")
    if stored is None or measured.frame is None:
        measured.failed.add("A000")  # a format rule reports the reason
    elif stored != measured.record.predictions.sha256:
        yield f"predictions of sha256 {stored}", measured.record.predictions.sha256


def _once(measured: Measured, _: Submission) -> Iterator[Disagreement]:
    repeated = _frame(measured)["video"][_frame(measured)["video"].duplicated()]
    if len(repeated):
        yield f"{len(repeated)} repeated videos, e.g. {repeated.iloc[0]}", "each video once"


def _counts(measured: Measured, _: Submission) -> Iterator[Disagreement]:
    evaluated = measured.m.evaluation.evaluated
    if len(_frame(measured)) != evaluated:
        yield f"{evaluated} evaluated videos stated", f"{len(_frame(measured))}, as in the predictions"


def _list_hash(measured: Measured, _: Submission) -> Iterator[Disagreement]:
    listed = measured.m.evaluation.list
    if measured.m.evaluation.evaluated == listed.n:  # a part of a list does not determine the hash of the list
        videos, labels = _frame(measured)["video"].tolist(), _frame(measured)["label"].tolist()
        found = rows_sha256(zip(videos, labels, strict=True))
        if found != listed.sha256:
            yield f"list sha256 {listed.sha256}", f"{found}, computed from the predictions"


def _ids(measured: Measured, _: Submission) -> Iterator[Disagreement]:
    classes = len(measured.record.classes)
    labels, ids = _frame(measured)["label"], _frame(measured)[ID_COLUMNS].to_numpy()
    if not labels.between(0, classes - 1).all():
        yield f"labels from {labels.min()} to {labels.max()}", f"0 to {classes - 1}"
    if ids.min() < NO_PREDICTION or ids.max() >= classes:
        yield f"predicted ids from {ids.min()} to {ids.max()}", f"0 to {classes - 1}, -1 for none"
    ordered = np.sort(ids, axis=1)
    repeated = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != NO_PREDICTION)).any(axis=1)
    if repeated.any():
        yield f"{int(repeated.sum())} videos with a class predicted twice", "five different classes"
    given = (ids != NO_PREDICTION).sum(axis=1)
    # A video that was not decoded has no prediction at all, never some.
    wrong = (given != min(ids.shape[1], classes)) & (given != 0)
    if wrong.any():
        yield f"{int(wrong.sum())} videos with some predictions missing", f"{min(5, classes)} or none"


def _probabilities(measured: Measured, _: Submission) -> Iterator[Disagreement]:
    p, ids = _frame(measured)[PROBABILITY_COLUMNS].to_numpy(), _frame(measured)[ID_COLUMNS].to_numpy()
    if p.min() < 0 or p.max() > 1 + ROUNDING:
        yield f"values from {p.min():g} to {p.max():g}", "0 to 1"
    if (np.diff(p, axis=1) > ROUNDING).any():
        yield f"{int((np.diff(p, axis=1) > ROUNDING).any(axis=1).sum())} videos not sorted", "best first"
    if (p.sum(axis=1) > 1 + 5 * ROUNDING).any():
        yield f"a sum of {p.sum(axis=1).max():g}", "at most 1"
    if problem := _rest(p, len(measured.record.classes)):
        yield problem
    if (p[ids == NO_PREDICTION] != 0).any():
        yield "a probability without a prediction", "0"


def _rest(p: NDArray[np.float64], classes: int) -> Disagreement | None:
    """A contradiction between the five probabilities and those of all other classes, which are at most the fifth.

    Args:
        p: (N, 5) probabilities; all 0 for a video that was not decoded.
        classes: Number of classes.
    """
    given = p[p.max(axis=1) > 0]
    rest, others = 1.0 - given.sum(axis=1), max(0, classes - p.shape[1])
    # Each probability is rounded, and the sum of all classes was computed in single precision.
    wrong = rest > others * given[:, -1] + (classes + 5) * ROUNDING
    if not wrong.any():
        return None
    row = int(np.flatnonzero(wrong)[0])
    return (
        f"{int(wrong.sum())} videos whose other {others} classes share {rest[row]:.6f}, with a fifth of "
        f"{given[row, -1]:.6f}",
        f"at most {others} times the fifth probability",
    )


def _undecodable(measured: Measured, _: Submission) -> Iterator[Disagreement]:
    named = measured.record.undecodable
    none = _frame(measured)["video"][_frame(measured)["id1"] == NO_PREDICTION]
    if len(none) != len(named):
        yield f"{len(named)} undecodable videos", f"{len(none)}, as in the predictions"
    elif sorted(item.video for item in named) != sorted(none):
        yield "different names of undecodable videos", "the videos without a prediction"


def _metrics(measured: Measured, _: Submission) -> Iterator[Disagreement]:
    for name, value in accuracies(_frame(measured)["label"], _frame(measured)[ID_COLUMNS]).as_dict().items():
        stored = getattr(measured.record.metrics, name)
        if not math.isclose(stored, value, rel_tol=0.0, abs_tol=TOLERANCE):
            yield f"{name} {stored}", f"{value}, computed from the predictions"


def _strict(measured: Measured, _: Submission) -> Iterator[Disagreement]:
    names, seen = measured.record.classes, set(measured.record.overlap.seen_classes)
    unseen = np.array([names[label] not in seen for label in _frame(measured)["label"].tolist()])
    value = None
    # Without seen classes the strict score would repeat top-1; without unseen classes no video is left.
    if seen and unseen.any():
        value = accuracies(_frame(measured)["label"][unseen], _frame(measured)[ID_COLUMNS][unseen]).top1
    stored = measured.record.overlap.top1_strict
    if stored is None or value is None:
        same = stored is value
    else:
        same = math.isclose(stored, value, rel_tol=0.0, abs_tol=TOLERANCE)
    if not same:
        yield f"top1_strict {stored}", f"{value}, computed from the predictions"


def _labels(measured: Measured, _: Submission) -> Iterator[Disagreement]:
    found, stated = labels_sha256(measured.record.classes), measured.m.evaluation.list.labels_sha256
    if found != stated:
        yield f"labels sha256 {stated}", f"{found}, computed from the class names"


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
"""Rules for single records, in order: id, rules that must hold before, and the check.

Keys and signatures (A011, A013) are checked when records are read.
"""
