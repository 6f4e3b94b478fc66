"""A record: what an eval leaves behind. Metrics, identity, provenance; the predictions lie in a file beside it.

Schema 2. A record is one JSON object with exactly the sections of `Record`; their keys are documented there. Numbers
are percent where they are accuracies. Aggregates over repeats are never stored: they are computed from records.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from harness.base.atomic import write_json
from harness.base.errors import EXIT_FAILED, UserError
from results.migrations import migrate
from results.schema import section_problems

SCHEMA = 2
STATUSES = ("reported", "submitted", "verified", "reproduced")
RECORD_SUFFIX = ".record.json"
PREDICTIONS_SUFFIX = ".predictions.csv.gz"
BOARD = "board"
"""Folder directly below a runs folder in which its board is built."""
_ACCEPTED = ("*/acceptance.json", "*/*/acceptance.json")


@dataclass(frozen=True)
class Record:
    """One scored list of one fit, or of the untrained method.

    Args:
        cell: Hex key of `identity`: what this number is a measurement of, excluding transport (paths, workers, device).
        signature: Short text with the settings that decide comparability, printed with every score.
        identity: The mapping whose fingerprint is `cell`.
        protocol: `id`, `version`, `division` (`closed` or `open`), `part`, `columns` (list of column rules),
            `incomplete` (list of reasons why the row is not ranked, usually empty).
        data: `dataset`, `list`, `list_sha256`, `list_origin`, `labels`, `labels_sha256`, `label_variant`, `classes`,
            `n_expected`, `n_evaluated`, `n_undecodable`, `undecodable` (list of {video, reason}), `embedded` (bool).
        method: `name`, `title`, `version`, `family`, `origin` (`built-in`, a distribution or a file),
            `source_sha256`, `options`, `class_text`, `extra_data`, `params_total`, `params_trained`, `unverified`,
            `paper` and `source` (what the card cites; empty where it cites nothing).
        backbone: `name`, `arch`, `weights`, `weights_sha256`, `image_size`.
        fit: None for an untrained method; else `key`, `name`, `train` ({dataset, list, labels, sha256, n}), `repeat`
            ({kind, index}), `shots`, `seed`, `recipe`, `effective_batch`, `updates`, `init`, `selection`,
            `weights_sha256`.
        repeat: `kind` and `index` of this measurement among those averaged in a table.
        views: `frames`, `clips`, `crops`, `sampling`, `normalize`, `reader`, `size`, `text`.
        metrics: `top1`, `top5`, `mean_class` in percent.
        overlap: `train_videos` (count shared with the training list), `seen_classes` (names), `top1_strict` (or None).
        cost: `gflops` and `score_gflops` (10^9 multiply-adds of one view's video features and of its scores, or None),
            `fit_seconds`, `eval_seconds`, `videos_per_second`, ...
        environment: `python`, `packages`, `git`, `platform`, `device`, `dtype`, `threads`,
            `processes`, `compiled`.
        predictions: `file` (name beside the record), `sha256`.
        status: One of `STATUSES`.
        created: UTC time, ISO 8601.
        schema: Version of this layout.
    """

    cell: str
    signature: str
    identity: dict[str, Any]
    protocol: dict[str, Any]
    data: dict[str, Any]
    method: dict[str, Any]
    backbone: dict[str, Any]
    fit: dict[str, Any] | None
    repeat: dict[str, Any]
    views: dict[str, Any]
    metrics: dict[str, float]
    overlap: dict[str, Any]
    cost: dict[str, Any]
    environment: dict[str, Any]
    predictions: dict[str, str]
    status: str = "submitted"
    created: str = ""
    schema: int = field(default=SCHEMA)

    def as_dict(self) -> dict[str, Any]:
        """The record as a JSON-ready mapping."""
        return asdict(self)


def write_record(path: Path, record: Record) -> None:
    """Write a record atomically, checked as on reading; the name must end in `.record.json`.

    Raises:
        UserError: A section lacks an entry or holds a value of another type; nothing is written.
    """
    if not path.name.endswith(RECORD_SUFFIX):
        raise ValueError(f"a record's name ends in {RECORD_SUFFIX}, found {path.name}")
    value = record.as_dict()
    _check(value, path)
    write_json(path, value)


def read_record(path: Path) -> Record:
    """The record of a file, brought to the current schema and checked.

    Raises:
        UserError: Not JSON, a schema without a migration, a missing or unknown section, a missing or malformed entry.
    """
    try:
        text = path.read_text(encoding="utf-8")
        value = json.loads(text)
        if "\\ud" in text.lower():  # half of a surrogate pair is JSON, and no text that could be written again
            json.dumps(value, ensure_ascii=False).encode()
    except FileNotFoundError:
        raise UserError(f"The record {path} is missing.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"The record {path} cannot be read: {error}", exit_code=EXIT_FAILED) from None
    if not isinstance(value, dict):
        raise UserError(f"{path} holds a JSON {type(value).__name__}, expected an object.")
    value = migrate(value, path, SCHEMA)
    _check(value, path)
    return Record(**value)


def _check(value: dict[str, Any], path: Path) -> None:
    """Refuse a record that the reports could misread."""
    names = {f.name for f in fields(Record)}
    missing, unknown = sorted(names - set(value)), sorted(set(value) - names)
    if missing or unknown:
        raise UserError(f"{path}: sections missing {missing}, unknown {unknown}.")
    if value["status"] not in STATUSES:
        raise UserError(f"{path}: status is {value['status']!r}, expected one of {STATUSES}.")
    problems = section_problems(value)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UserError(f"{path}: {problems[0]}{more}.", "Records are written by `python -m harness run`.")


def find_records(folder: Path) -> list[Path]:
    """All record files under a folder, sorted by path, without those in the board of a runs folder.

    A folder `board` of accepted submissions, or of a method of that name among them, is not such a board.
    """
    found = []
    for root, folders, names in os.walk(folder):
        if root == os.fspath(folder) and BOARD in folders and not _holds_accepted(folder / BOARD):
            folders.remove(BOARD)
        found += [os.path.join(root, name) for name in names if name.endswith(RECORD_SUFFIX)]  # noqa: PTH118
    return sorted(map(Path, found))


def _holds_accepted(folder: Path) -> bool:
    return any(any(folder.glob(pattern)) for pattern in _ACCEPTED)
