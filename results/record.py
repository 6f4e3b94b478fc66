"""A record: the result file of one eval, with metrics, measurement and provenance. Predictions are in a second file.

A record is one JSON object with exactly the fields of `Record`. Accuracies are in percent. Means over repeats are never
stored; they are computed from records.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from harness.base.atomic import write_json
from harness.base.errors import EXIT_FAILED, UserError
from harness.spec import Column
from results.closed_types import exactly
from results.codec import DecodeError, JsonValue, decode, encode, json_object, read_file
from results.measurement import UNKNOWN, Count, Key, Measurement, Positive, Sha256, Value
from results.measurement_words import incomplete, incomplete_mark, mean_lacks, signature
from results.provenance import Environment
from results.statistics.metric_values import METRICS, Metrics, Percent

SCHEMA = 3
Status = Literal["reported", "submitted", "verified", "reproduced"]
STATUSES: tuple[Status, ...] = ("reported", "submitted", "verified", "reproduced")
REPEAT_KINDS = ("test_split", "class_subset", "train_subset", "seed", "single")
RECORD_SUFFIX = ".record.json"
PREDICTIONS_SUFFIX = ".predictions.csv.gz"
BOARD = "board"
"""Folder directly below a run folder in which its board is built; it contains no records."""
_ACCEPTED = ("*/acceptance.json", "*/*/acceptance.json")
NOT_WRITTEN = "Nothing was written. Correct the code that computed this value."
AGAIN = "Remove the file and run its command again: records are written by `python -m harness run`."

Cost = Annotated[float, Meta(ge=0)]


@dataclass(frozen=True)
class MethodCard:
    """Readable description of the method.

    Args:
        title: Display name.
        family: `adapting`, `tuning`, `unimodal` or empty.
        origin: `built-in`, a distribution with its version, or the name of a file.
        paper, source, unverified: As on the card of the method.
        params_total: Number of parameters.
        params_trained: Number of trained parameters; 0 for an untrained method.
        defaults: Default values of the options of the method for this protocol, dataset and model. Empty if they are
            not known.
    """

    title: str
    family: str
    origin: str
    paper: str
    source: str
    unverified: str
    params_total: Count
    params_trained: Count
    defaults: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class FitFacts:
    """Facts of the evaluated fit that enter no key.

    Args:
        name: Readable name, e.g. `vificlip mini_target/base_s1`.
        shots: Clips per class, or None for a list that is not few-shot.
        updates: Parameter updates.
        effective_batch: Clips per update.
        seconds: Wall time in seconds.
        peak_memory_gib: Peak device memory; 0 on a CPU.
    """

    name: str
    shots: Positive | None
    updates: Count
    effective_batch: Positive
    seconds: Cost
    peak_memory_gib: Cost


@dataclass(frozen=True)
class Undecodable:
    """An evaluated video whose bytes were read and could not be decoded; it counts as wrong.

    Args:
        video: Path in the list.
        reason: The reason why it does not decode.
        sha256: Hash of the bytes, by which a damaged copy is told from a damaged original.
    """

    video: str
    reason: str
    sha256: Sha256


@dataclass(frozen=True)
class Seen:
    """An evaluation class with a counterpart among the training classes, see `harness.data.leakage`."""

    id: Count
    name: str
    relation: str
    counterparts: tuple[str, ...]


@dataclass(frozen=True)
class AuditFacts:
    """The leakage check of the evaluation list against one training list."""

    train: str
    test: str
    same_classes: bool
    classes: Count
    source: str
    strict_relations: tuple[str, ...] = ()
    seen_ids: tuple[Count, ...] = ()
    seen: tuple[Seen, ...] = ()


@dataclass(frozen=True)
class Overlap:
    """Overlap of training and evaluation data.

    Args:
        train_videos: Number of evaluation videos that were trained on.
        seen_classes: Names of evaluation classes with a counterpart in training.
        top1_strict: Top-1 accuracy without the seen classes; None if no class or every class was seen.
        audits: One leakage check for each training list of the model.
    """

    train_videos: Count = 0
    seen_classes: tuple[str, ...] = ()
    top1_strict: Percent | None = None
    audits: tuple[AuditFacts, ...] = ()


@dataclass(frozen=True)
class CostFacts:
    """Cost of the eval.

    Args:
        gflops: 10^9 multiply-adds of the video features of one view; None if they cannot be counted.
        score_gflops: 10^9 multiply-adds of the scores of one view.
        eval_seconds: Wall time in seconds.
        videos_per_second: Throughput; 0 if nothing was computed.
        features_cached: Whether frame features came from the cache; the throughput then does not describe the method.
    """

    gflops: Cost | None = None
    score_gflops: Cost | None = None
    eval_seconds: Cost = 0.0
    videos_per_second: Cost = 0.0
    features_cached: bool = False


@dataclass(frozen=True)
class PredictionsFile:
    """The predictions file beside the record."""

    file: str
    sha256: Sha256


@dataclass(frozen=True)
class Record:
    """One scored list of one fit, or of an untrained method.

    Args:
        key: `results.measurement.cell_key` of the measurement.
        signature: `results.measurement_words.signature` of the measurement, printed with the score.
        measurement: All settings that decide the number and its comparability.
        columns: Column rules of the protocol, so that reports do not import the protocol.
        classes: Class names in the order of their ids.
        embedded: Whether the dataset is the embedded benchmark.
        method: Readable description of the method.
        fit: Facts of the fit; None for an untrained method.
        undecodable: Videos that could not be decoded.
        metrics: Accuracies.
        overlap: Overlap of training and evaluation data.
        cost: Cost of the eval.
        environment: Packages, device and precision.
        predictions: The predictions file.
        remarks: Remarks of the board.
        status: One of `STATUSES`.
        created: UTC time, ISO 8601.
        schema: Version of this layout.
    """

    key: Key
    signature: str
    measurement: Measurement
    columns: Annotated[tuple[Column, ...], Meta(min_length=1)]
    classes: Annotated[tuple[str, ...], Meta(min_length=1)]
    embedded: bool
    method: MethodCard
    fit: FitFacts | None
    undecodable: tuple[Undecodable, ...]
    metrics: Metrics
    overlap: Overlap
    cost: CostFacts
    environment: Environment
    predictions: PredictionsFile
    remarks: tuple[str, ...] = ()
    status: Status = "submitted"
    created: str = ""
    schema: int = field(default=SCHEMA)

    @property
    def mark(self) -> str:
        """Text that follows each printed score: the reasons why the record is incomplete; empty if it is complete."""
        return incomplete_mark(mean_lacks(self.measurement))

    @property
    def incomplete(self) -> tuple[str, ...]:
        """Reasons why the measurement is incomplete, see `results.measurement_words.incomplete`."""
        return incomplete(self.measurement)


def write_record(path: Path, record: Record) -> None:
    """Check and write a record atomically; the file name must end in `.record.json`.

    Raises:
        UserError: The record is not valid; nothing is written.
    """
    if not path.name.endswith(RECORD_SUFFIX):
        raise ValueError(f"a record's name ends in {RECORD_SUFFIX}, found {path.name}")
    value = encode(record)
    try:
        record_of(value)
    except DecodeError as error:
        raise UserError(f"The record {path} would not be valid: {error}.", NOT_WRITTEN, EXIT_FAILED) from None
    write_json(path, value)


def read_record(path: Path) -> Record:
    """Read and check the record of a file.

    Raises:
        UserError: The file is not JSON, has another schema, has a missing, unknown or malformed field, or states a key
            or signature that does not follow from the measurement.
    """
    data = read_file(path, SCHEMA, AGAIN)
    record = exactly(data, Record)
    try:
        if record is None or record.schema != SCHEMA:
            return record_of(json_object(data, path, SCHEMA, AGAIN))
        return _consistent(record)
    except DecodeError as error:
        raise UserError(f"The record {path} is not valid: {error}.", AGAIN, EXIT_FAILED) from None


def record_of(value: JsonValue) -> Record:
    """The record of a JSON value, after all checks.

    Raises:
        DecodeError: See `read_record`.
    """
    return _consistent(decode(value, Record))


def _consistent(record: Record) -> Record:
    if problem := next(_problems(record), ""):
        raise DecodeError(problem)
    return record


def _problems(record: Record) -> Iterator[str]:
    """Messages on values that contradict each other."""
    m = record.measurement
    if record.key != m.keys.cell:
        yield f"key is {record.key!r}, expected {m.keys.cell!r}, which follows from the measurement"
    if record.signature != signature(m):
        yield f"signature is {record.signature!r}, expected {signature(m)!r}, which follows from the measurement"
    for repeat in (m.protocol.repeat, *(expected.repeat for expected in m.protocol.scope.expected)):
        if repeat.kind not in REPEAT_KINDS or repeat.index < 1:
            kinds = ", ".join(REPEAT_KINDS)
            yield f"the repeat is {repeat.kind} {repeat.index}, expected one of {kinds} and a number from 1"
    if not 0 < m.evaluation.evaluated <= m.evaluation.list.n:
        yield f"measurement.evaluation.evaluated is {m.evaluation.evaluated}, expected 1 to {m.evaluation.list.n}"
    if m.fitted is not None and not 0 < m.fitted.used <= m.fitted.list.n:
        yield f"measurement.training.used is {m.fitted.used}, expected 1 to {m.fitted.list.n}"
    if m.training != UNKNOWN and (record.fit is None) != (m.training is None):
        trained = m.training is not None
        found, expected = ("null", "facts of the fit") if trained else ("given", "null")
        yield f"fit is {found}, expected {expected}, as measurement.training is {'given' if trained else 'null'}"
    for i, column in enumerate(record.columns):
        if bool(column.part) == (column.harmonic_of is not None):
            found = f"part {column.part!r} and harmonic_of {column.harmonic_of}"
            yield f"columns[{i}] has {found}, expected either a part or harmonic_of"
        if column.metric not in METRICS:
            yield f"columns[{i}] has metric {column.metric!r}, expected one of {', '.join(METRICS)}"
    file = record.predictions.file
    if "/" in file or "\\" in file or file.startswith(".") or not file.isprintable() or not file:
        yield f"predictions.file is {file!r}, expected the name of a file beside the record"


def find_records(folder: Path) -> list[Path]:
    """All record files below a folder, sorted by path, without the board of a runs folder.

    A folder `board` with accepted submissions (or of an accepted method named `board`) is searched.
    """
    paths = []
    for root, folders, names in os.walk(folder):
        # A built board contains no records; skipping it saves a walk over all its files.
        if root == os.fspath(folder) and BOARD in folders and not _holds_accepted(folder / BOARD):
            folders.remove(BOARD)
        paths += [os.path.join(root, name) for name in names if name.endswith(RECORD_SUFFIX)]  # noqa: PTH118
    # Sorted as paths are, but by lists of names: a comparison of two Path objects takes ten times as long.
    return list(map(Path, sorted(paths, key=lambda path: path.split(os.sep))))  # noqa: PTH206


def _holds_accepted(folder: Path) -> bool:
    return any(any(folder.glob(pattern)) for pattern in _ACCEPTED)
