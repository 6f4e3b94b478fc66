"""`score --import`: a record of predictions that another program made for an evaluation list.

The measurement of these predictions is not known: model, class texts, views and training are `unknown`. The row is in
the open division, names the unknown settings, and is not ranked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from harness.base.errors import UserError
from harness.cells.cell import EvalCell
from harness.cells.from_request import expand
from harness.cells.request import MethodChoice, Request
from harness.machine.settings import Settings
from harness.plugins import registry
from harness.running.prediction_table import ImportedTable, read_prediction_table
from results.measurement import UNKNOWN, Measurement, MethodId, ModelId
from results.measurement_words import signature
from results.predictions import predictions_frame, write_predictions
from results.provenance import environment
from results.record import (
    PREDICTIONS_SUFFIX,
    RECORD_SUFFIX,
    CostFacts,
    MethodCard,
    Overlap,
    PredictionsFile,
    Record,
    write_record,
)
from results.statistics.metrics import accuracies

IMPORTED = "imported"
"""Folder of imported records in the run folder, and their origin."""
UNTRAINED, TRAINED = "vanilla_clip", "vificlip"
"""Methods whose cells name the lists of a protocol: without a fit, and with one fit for each training subset."""
ONLY_TOP1 = "imported with one prediction per video: the top-5 accuracy is not known"


@dataclass(frozen=True)
class ListChoice:
    """The evaluation list that predictions belong to.

    Args:
        protocol: Name of the protocol.
        dataset: Name or path of the dataset.
        part: Part of the protocol; empty if it has one part.
        repeat: Number of the repeat; None if there is one repeat.
        lists: `published`, or `own` for drawn lists.
        variant: `published`, `corrected` or `split` class names.
    """

    protocol: str
    dataset: str
    part: str = ""
    repeat: int | None = None
    lists: str = "published"
    variant: str = "published"


def import_predictions(file: Path, name: str, choice: ListChoice, settings: Settings) -> Path:
    """Write the record and the predictions of an evaluation list below `RUNS/imported/NAME`.

    Args:
        file: A table of predictions, see `read_prediction_table`.
        name: Name of the model; not the name of a method of the harness.
        choice: The evaluation list.
        settings: Folders of this machine.

    Returns:
        File of the record.

    Raises:
        UserError: The name is taken or not a file name, the list does not exist, or the table does not hold one
            prediction for every video of the list. Nothing is written.
    """
    _check_name(name)
    cell = _cell_of(choice, settings)
    table = read_prediction_table(file, cell.test.rows, cell.labels.names)
    measurement = _unknown(cell.measurement, name)
    dataset = re.sub(r"[^\w.-]", "_", cell.dataset.name)
    stem = f"{cell.protocol.name}-{dataset}-{cell.test.name}-{cell.eval.part}-{measurement.keys.cell[:8]}"
    path = settings.runs.path / IMPORTED / name / "evals" / f"{stem}{RECORD_SUFFIX}"
    predictions = path.with_name(f"{stem}{PREDICTIONS_SUFFIX}")
    labels = np.array([label for _, label in cell.test.rows])
    clusters = [cell.dataset.cluster(video) for video, _ in cell.test.rows]
    videos = [video for video, _ in cell.test.rows]
    digest = write_predictions(predictions, predictions_frame(videos, labels, table.ids, table.probabilities, clusters))
    write_record(path, _record(cell, measurement, table, PredictionsFile(predictions.name, digest)))
    return path


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[\w][\w.+-]{0,79}", name):
        raise UserError(
            f"--name is {name!r}, expected letters, digits and . _ + - (at most 80).", "Example: --name their_model"
        )
    if name in registry.sources("method"):
        raise UserError(f"--name is {name}, a method of the harness.", f"Choose another name: --name {name}_theirs")


def _cell_of(choice: ListChoice, settings: Settings) -> EvalCell:
    """The eval of a list. Repeats over training subsets exist for trained methods only.

    Raises:
        UserError: The choice names no list, or several.
    """
    cells: list[EvalCell] = []
    for method in (UNTRAINED, TRAINED):
        request = Request(
            methods=(MethodChoice(method),), protocols=(choice.protocol,), datasets=(choice.dataset,),
            variant=choice.variant, lists=choice.lists,
        )  # fmt: skip
        cells = list(expand(request, settings).evals)
        parts = [cell for cell in cells if choice.part in ("", cell.eval.part)]
        kept = [cell for cell in parts if choice.repeat in (None, cell.repeat.index)]
        if len(kept) == 1:
            return kept[0]
        if parts and kept:
            break
        if not parts:
            raise _no_list(f"--part is {choice.part!r}", [cell.eval.part for cell in cells])
    else:
        raise _no_list(f"--repeat is {choice.repeat}", [str(cell.repeat.index) for cell in cells])
    if len({cell.eval.part for cell in kept}) > 1:
        raise _no_list("--part is missing", [cell.eval.part for cell in kept])
    raise _no_list("--repeat is missing", [str(cell.repeat.index) for cell in kept])


def _no_list(found: str, known: Sequence[str]) -> UserError:
    return UserError(
        f"{found}, expected one of {', '.join(dict.fromkeys(known))}.", "Name the list of the predictions."
    )


def _unknown(measurement: Measurement, name: str) -> Measurement:
    """The measurement of a cell with unknown method, model, training and views of the videos."""
    evaluation = measurement.evaluation
    return replace(
        measurement,
        method=MethodId(name, 1, UNKNOWN, class_text=UNKNOWN),
        model=ModelId(UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, activation=UNKNOWN),
        training="unknown",
        # Views hold numbers, which cannot be unknown: those of the protocol, with a transform that nobody knows.
        evaluation=replace(evaluation, transform=UNKNOWN, precision=UNKNOWN, evaluated=evaluation.list.n),
    )


def _record(cell: EvalCell, measurement: Measurement, table: ImportedTable, predictions: PredictionsFile) -> Record:
    labels = np.array([label for _, label in cell.test.rows])
    return Record(
        key=measurement.keys.cell,
        signature=signature(measurement),
        measurement=measurement,
        columns=cell.protocol.columns,
        classes=cell.labels.names,
        embedded=cell.dataset.kind == "embedded",
        method=MethodCard(
            title=measurement.method.name,
            family="",
            origin=IMPORTED,
            paper="",
            source="",
            unverified="",
            params_total=0,
            params_trained=0,
        ),
        fit=None,
        undecodable=(),
        metrics=accuracies(labels, table.ids),
        overlap=Overlap(),
        cost=CostFacts(),
        environment=environment(),
        predictions=predictions,
        remarks=(ONLY_TOP1,) if table.ids.shape[1] == 1 and len(cell.labels) > 1 else (),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
