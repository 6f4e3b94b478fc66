"""The state of an eval: done, missing or stale, and why; and records whose scores can be used again."""

from __future__ import annotations

import glob
from dataclasses import replace
from pathlib import Path

from harness.base.errors import UserError
from harness.base.files import file_sha256
from harness.cells.cell import EvalCell
from harness.cells.fit_state import CellState, TensorsOf, different_tensors, fit_outdated, more_videos, why
from results.fit_file import read_fit_file
from results.measurement import keys_of
from results.measurement_words import differences, signature
from results.record import RECORD_SUFFIX, Record, read_record

RENEWED = "the method's card or declared recipe changed; the record is rewritten without computing"
REUSED = "the list was scored for another row; the record is written without computing"


def eval_state(cell: EvalCell, tensors_of: TensorsOf = lambda model: "") -> CellState:
    """The state of an eval: done if its record has its key and its predictions file is unchanged.

    An eval is stale if its fit is stale or has different weights, if the model has different tensors, if videos of its
    list that were missing exist now, or if only the method's card or declared recipe changed (`RENEWED`).
    """
    if cell.record.is_file():
        try:
            record = read_record(cell.record)
        except UserError as error:
            return CellState(cell, "stale", error.message)
        if record.key != cell.key:
            return CellState(cell, "stale", why(differences(record.measurement, cell.measurement)))
        if not cell.predictions.is_file():
            return CellState(cell, "stale", "its predictions were removed")
        if file_sha256(cell.predictions) != record.predictions.sha256:
            return CellState(cell, "stale", "its predictions were changed")
        if outdated := _eval_outdated(cell, record, tensors_of):
            return CellState(cell, "stale", outdated)
        if renewed(cell, record) != record:
            return CellState(cell, "stale", RENEWED)
        return CellState(cell, "done")
    if scored_before(cell, tensors_of) is not None:
        return CellState(cell, "missing", REUSED)
    for other in _sibling_records(cell):
        return CellState(cell, "stale", why(differences(other.measurement, cell.measurement)))
    return CellState(cell, "missing", "not evaluated yet")


def scored_before(cell: EvalCell, tensors_of: TensorsOf = lambda model: "") -> Path | None:
    """The file of a record with the same number key in another row, whose predictions can be reused; None without.

    Untrained evals of several protocols share a number key, and so do evals of an unchanged list when another list of
    the row changed.
    """
    for path in sorted(cell.record.parent.glob(f"*-{glob.escape(cell.test.name)}-*{RECORD_SUFFIX}")):
        try:
            record = read_record(path)
        except UserError:
            continue
        predictions = path.with_name(record.predictions.file)
        if keys_of(record.measurement).number != cell.number or not predictions.is_file():
            continue
        intact = file_sha256(predictions) == record.predictions.sha256
        if intact and not _eval_outdated(cell, record, tensors_of):
            return path
    return None


def _sibling_records(cell: EvalCell) -> list[Record]:
    """Records of the same part, repeat and list of the method with other keys."""
    stem = glob.escape(cell.record.name.removesuffix(RECORD_SUFFIX).rsplit("-", 1)[0])
    folders = {cell.record.parent, *(cell.record.parent.parent.parent.glob("*/evals") if cell.fit else [])}
    siblings = []
    for path in sorted(path for folder in folders for path in folder.glob(f"{stem}-*{RECORD_SUFFIX}")):
        try:
            record = read_record(path)
        except UserError:
            continue
        recorded, planned = record.measurement.evaluation.list, cell.measurement.evaluation.list
        same_list = (recorded.name, recorded.root) == (planned.name, planned.root)
        if same_list and record.measurement.protocol.repeat == cell.repeat:
            siblings.append(record)
    return siblings


def _eval_outdated(cell: EvalCell, record: Record, tensors_of: TensorsOf) -> str:
    """The reason why a finished eval is stale; empty if it is not stale."""
    if changed := different_tensors(record.measurement.model, cell.measurement.model, tensors_of):
        return changed
    try:
        fitted = read_fit_file(cell.fit.folder) if cell.fit is not None else None
    except UserError as error:
        return f"its fit cannot be read: {error.message}"
    if cell.fit is not None and fitted is not None and fitted.key == cell.fit.key:
        if outdated := fit_outdated(cell.fit, fitted, tensors_of):
            return f"its fit is stale: {outdated}"
        training = record.measurement.fitted
        if training is None or training.weights_sha256 != fitted.weights.sha256:
            return "its fit was computed again and has different weights"
    return more_videos(record.measurement.evaluation.evaluated, cell.test, cell.dataset)


def renewed(cell: EvalCell, record: Record) -> Record:
    """A record with the scores of `record`, and the row, the declared recipe and the card of the cell.

    It equals `record` if none of them changed.
    """
    planned, recorded = cell.measurement, record.measurement
    # Only the computation shows precision, used videos and hashes of weights; they come from the record.
    training = planned.fitted
    if training is not None and recorded.fitted is not None:
        training = replace(
            training,
            list=replace(training.list, root=recorded.fitted.list.root),
            start=replace(recorded.fitted.start, name=training.start.name),
            precision=recorded.fitted.precision,
            used=recorded.fitted.used,
            weights_sha256=recorded.fitted.weights_sha256,
        )
    evaluation = replace(
        planned.evaluation,
        list=replace(planned.evaluation.list, root=recorded.evaluation.list.root),
        precision=recorded.evaluation.precision,
        evaluated=recorded.evaluation.evaluated,
    )
    # The folder of a custom dataset may have moved since; its fingerprint is that of the time of the record.
    protocol = replace(planned.protocol, table_root=recorded.protocol.table_root)
    measurement = replace(planned, protocol=protocol, model=recorded.model, training=training, evaluation=evaluation)
    card = cell.row.card
    method = replace(
        record.method, title=card.title, family=card.family, paper=card.paper, source=card.source,
        unverified=card.unverified, defaults=cell.row.defaults.as_dict(),
    )  # fmt: skip
    return replace(
        record, key=cell.key, measurement=measurement, signature=signature(measurement), method=method,
        columns=cell.protocol.columns,
    )  # fmt: skip
