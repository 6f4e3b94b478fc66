"""Video features of a fit on a list that it was scored on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.base.errors import UserError, unknown_name
from harness.data.catalog import open_dataset
from harness.engine.features.video_features import video_features
from harness.engine.video.loaders import Row, locate_rows
from harness.machine.compute_options import ComputeOptions
from harness.machine.settings import Settings
from harness.running.load_fit import FittedMethod
from results.measurement import ListId
from results.record import Record, find_records, read_record


@dataclass(frozen=True)
class ListFeatures:
    """Video features of one list.

    Args:
        features: (N, D) float32, one row per decoded video.
        labels: (N,) class ids.
        classes: Class names by id.
        title: Method, dataset and list.
    """

    features: NDArray[np.float32]
    labels: list[int]
    classes: tuple[str, ...]
    title: str


def features_of_fit(
    fit: FittedMethod, record: Record, settings: Settings, dataset: str | None = None
) -> ListFeatures:  # fmt: skip
    """The video features of the list of a record, with the views of the record.

    Args:
        fit: A loaded fit.
        record: A record of the fit.
        settings: Folders of this machine.
        dataset: Folder of the dataset, if it is not configured under its name.

    Raises:
        UserError: The list has other rows or other videos than the recorded ones.
    """
    evaluation = record.measurement.evaluation
    rows = _rows(evaluation.list, dataset, settings)
    features, numbers = video_features(fit.method.eval(), rows, evaluation.views, ComputeOptions())
    title = f"{record.method.title}, {evaluation.list.dataset}/{evaluation.list.name}"
    return ListFeatures(features, [rows[number][1] for number in numbers], record.classes, title)


def record_of_part(folder: Path, part: str | None = None) -> Record:
    """The record of a fit for a part of its protocol.

    Args:
        folder: Folder of the fit.
        part: `base`, `novel`, `joint` or `all`; None for the first record.

    Raises:
        UserError: The fit has no record, or none of that part.
    """
    records = {record.measurement.protocol.part: record for record in map(read_record, find_records(folder))}
    if not records:
        raise UserError(f"{folder} holds no record.", "Score the fit first: python -m harness run")
    if part is not None and part not in records:
        raise unknown_name("part", part, records)
    return records[part or next(iter(records))]


def _rows(recorded: ListId, folder: str | None, settings: Settings) -> list[Row]:
    """The videos of a recorded list."""
    variant = "published" if recorded.label_variant == "unknown" else recorded.label_variant
    lists = "own" if recorded.origin == "own" and not recorded.root else "published"
    dataset = open_dataset(folder or recorded.dataset, settings, lists=lists, variant=variant)
    dataset.prepare(None)
    current = dataset.list(recorded.name)
    if current.sha256 != recorded.sha256 or (dataset.content(current) or "") != recorded.content:
        raise UserError(
            f"The list {recorded.dataset}/{recorded.name} has other videos than the evaluated ones.",
            "Give the dataset's folder with --dataset DIR, or evaluate again: python -m harness run",
        )
    return locate_rows(current, dataset.locate)
