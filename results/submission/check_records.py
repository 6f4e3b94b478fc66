"""Arithmetic rules (A) on single records: metrics, counts, hashes, keys and signature from predictions and identity."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from harness.base.canonical import canonical_json, fingerprint, labels_sha256, rows_sha256
from results.metrics import NO_PREDICTION, accuracies
from results.predictions import ID_COLUMNS, PROBABILITY_COLUMNS
from results.record import Record
from results.submission.submission import Measured, Submission

TOLERANCE = 1e-9
"""Percent points: the last digits of a division, no video."""
ROUNDING = 1e-6
"""Probabilities are stored with six decimals."""
Found = tuple[object, object]
"""What is there, and what should be."""


def _frame(one: Measured) -> pd.DataFrame:
    return one.frame if one.frame is not None else pd.DataFrame()


def _file(one: Measured, submission: Submission) -> Iterator[Found]:
    stored = submission.hashes.get(f"records/{one.record.predictions['file']}")
    if stored is None or one.frame is None:
        one.failed.add("A000")  # a format rule says why
    elif stored != one.record.predictions["sha256"]:
        yield f"predictions of sha256 {stored}", one.record.predictions["sha256"]


def _once(one: Measured, _: Submission) -> Iterator[Found]:
    twice = _frame(one)["video"][_frame(one)["video"].duplicated()]
    if len(twice):
        yield f"{len(twice)} videos more than once, e.g. {twice.iloc[0]}", "each video once"


def _counts(one: Measured, _: Submission) -> Iterator[Found]:
    evaluated = one.record.data["n_evaluated"]
    if len(_frame(one)) != evaluated:
        yield f"{evaluated} videos said to be evaluated", f"{len(_frame(one))}, as the predictions have"


def _list_hash(one: Measured, _: Submission) -> Iterator[Found]:
    if one.record.data["n_evaluated"] == one.record.data["n_expected"]:  # of a part, the list's hash cannot be had
        found = rows_sha256(zip(_frame(one)["video"], _frame(one)["label"], strict=True))
        if found != one.record.data["list_sha256"]:
            yield f"list sha256 {one.record.data['list_sha256']}", f"{found}, as the predictions give"


def _ids(one: Measured, _: Submission) -> Iterator[Found]:
    classes = len(one.record.data["classes"])
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


def _probabilities(one: Measured, _: Submission) -> Iterator[Found]:
    p, ids = _frame(one)[PROBABILITY_COLUMNS].to_numpy(), _frame(one)[ID_COLUMNS].to_numpy()
    if p.min() < 0 or p.max() > 1 + ROUNDING:
        yield f"values from {p.min():g} to {p.max():g}", "0 to 1"
    if (np.diff(p, axis=1) > ROUNDING).any():
        yield f"{int((np.diff(p, axis=1) > ROUNDING).any(axis=1).sum())} videos not sorted", "best first"
    if (p.sum(axis=1) > 1 + 5 * ROUNDING).any():
        yield f"a sum of {p.sum(axis=1).max():g}", "at most 1"
    if (p[ids == NO_PREDICTION] != 0).any():
        yield "a probability without a prediction", "0"


def _undecodable(one: Measured, _: Submission) -> Iterator[Found]:
    data = one.record.data
    none = _frame(one)["video"][_frame(one)["id1"] == NO_PREDICTION]
    if len(none) != data["n_undecodable"]:
        yield f"{data['n_undecodable']} undecodable videos", f"{len(none)}, as the predictions have"
    elif sorted(item["video"] for item in data["undecodable"]) != sorted(none):
        yield "other names under data.undecodable", "the videos without a prediction"


def _metrics(one: Measured, _: Submission) -> Iterator[Found]:
    for name, value in accuracies(_frame(one)["label"], _frame(one)[ID_COLUMNS]).as_dict().items():
        if not math.isclose(one.record.metrics[name], value, rel_tol=0.0, abs_tol=TOLERANCE):
            yield f"{name} {one.record.metrics[name]}", f"{value}, as the predictions give"


def _strict(one: Measured, _: Submission) -> Iterator[Found]:
    names, seen = one.record.data["classes"], set(one.record.overlap["seen_classes"])
    unseen = np.array([names[label] not in seen for label in _frame(one)["label"]])
    value = None
    if seen and unseen.any():
        value = accuracies(_frame(one)["label"][unseen], _frame(one)[ID_COLUMNS][unseen]).top1
    stored = one.record.overlap["top1_strict"]
    if stored is None or value is None:
        same = stored is value
    else:
        same = math.isclose(stored, value, rel_tol=0.0, abs_tol=TOLERANCE)
    if not same:
        yield f"top1_strict {stored}", f"{value}, as the predictions give"


def _labels(one: Measured, _: Submission) -> Iterator[Found]:
    found = labels_sha256(one.record.data["classes"])
    if found != one.record.data["labels_sha256"]:
        yield f"labels sha256 {one.record.data['labels_sha256']}", f"{found}, as data.classes gives"


def _cell(one: Measured, _: Submission) -> Iterator[Found]:
    key = fingerprint(one.record.identity, 16)
    if key != one.record.cell:
        yield f"cell {one.record.cell}", f"{key}, as the identity gives"


def _identity(one: Measured, _: Submission) -> Iterator[Found]:
    yield from differences(one.record.identity, identity_of(one.record))


def differences(found: Any, expected: Any, place: str = "identity") -> Iterator[Found]:
    """Entries that differ between two nested mappings; numbers and truth values are told apart."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in sorted(set(found) | set(expected)):
            yield from differences(found.get(key), expected.get(key), f"{place}.{key}")
    elif canonical_json(found) != canonical_json(expected):
        yield f"{place} {found!r}", repr(expected)


def identity_of(record: Record) -> dict[str, Any]:
    """The identity that a record's other sections imply; engine and backbone are the identity's own."""
    data, method, claimed = record.data, record.method, record.identity.get("method")
    test = record.identity.get("test")
    content = {"content": test["content"]} if isinstance(test, dict) and "content" in test else {}
    return {
        "engine": record.identity.get("engine"),
        "fit": record.fit["key"] if record.fit else None,
        "method": {
            "name": method["name"], "version": method["version"], "code": method["source_sha256"],
            "options": method["options"], "backbone": claimed.get("backbone") if isinstance(claimed, dict) else None,
            **_checkpoint(method, claimed),
        },
        "test": {
            "dataset": data["dataset"], "list": data["list"], "sha256": data["list_sha256"],
            "labels": data["labels_sha256"], "variant": data["label_variant"], "n": data["n_expected"], **content,
        },
        "views": {name: value for name, value in record.views.items() if name not in ("size", "text")},
        "protocol": {
            "id": record.protocol["id"], "version": record.protocol["version"], "part": record.protocol["part"],
            "repeat": record.repeat,
        },
    }  # fmt: skip


def _checkpoint(method: dict[str, Any], claimed: Any) -> dict[str, Any]:
    """The checkpoint of an identity where the record names it as extra data, by the first digits of its hash."""
    form = re.compile(r"checkpoint .* \(([0-9a-f]{8})\)", re.DOTALL)
    named = [found[1] for text in method["extra_data"] if (found := form.fullmatch(text))]
    whole = str(claimed.get("checkpoint", "")) if isinstance(claimed, dict) else ""
    return {"checkpoint": whole if whole[:8] == named[0] else named[0]} if named else {}


def _signature(one: Measured, _: Submission) -> Iterator[Found]:
    """The backbone's short name, switches and the recipe's changes are free; everything else must be the record's."""
    start, middle, end = signature_parts(one.record)
    form = re.escape(start) + r"\|[^|]*\|" + re.escape(middle) + r"\|set:.*" + end
    if not re.fullmatch(form, one.record.signature, re.DOTALL):
        yield f"signature {one.record.signature}", f"{start}|BACKBONE|{middle}|set:...{end.replace(chr(92), '')}"


def signature_parts(record: Record) -> tuple[str, str, str]:
    """What a signature must say: before the backbone, between it and the switches, and (as a pattern) behind them."""
    data, fit = record.data, record.fit or {}
    variant = "" if data["label_variant"] == "published" else f"+{data['label_variant']}"
    own = "+own" if data["list_origin"] == "own" else ""
    start = (
        f"{record.protocol['id']}.{record.protocol['version']}|{data['dataset']}.{data['list']}{variant}{own}|"
        f"{record.method['name']}.{record.method['version']}"
    )
    recipe = "none" if record.fit is None else r"(?:own|published)[^|]*"
    init = r"(?:clip|random|checkpoint)" if record.fit is None else re.escape(str(fit["init"]))
    if of := _checkpoint(record.method, record.identity.get("method")):
        init = re.escape(f"checkpoint-{of['checkpoint'][:8]}")
    end = (
        rf"\|init:{init}\|recipe:{recipe}"
        + re.escape(f"|select:{fit.get('selection', 'last')}|{record.repeat['kind']}.{record.repeat['index']}")
        + re.escape(f"|{record.protocol['division']}")
    )  # fmt: skip
    return start, f"{views_text(record.views)}|text:{record.views['text']}", end


def views_text(views: dict[str, Any]) -> str:
    """`frames x clips x crops` with what departs from the published single view, as in signatures."""
    text = f"{views['frames']}x{views['clips']}x{views['crops']}"
    for name, usual in (("sampling", "centre"), ("normalize", "imagenet"), ("reader", "decord")):
        if views[name] != usual:
            text += f"-{views[name]}{'norm' if name == 'normalize' else ''}"
    return text


UNREADABLE = frozenset(("A000", "A001", "A002", "A003", "A005"))
RECORD_RULES: tuple[tuple[str, frozenset[str], Callable[[Measured, Submission], Iterator[Found]]], ...] = (
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
    ("A011", frozenset(), _cell),
    ("A012", frozenset({"A011"}), _identity),
    ("A013", frozenset(), _signature),
)
"""Rules on single records: id, the rules without which it means nothing, check. In this order."""
