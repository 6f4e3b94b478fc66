"""Features of a fit or an untrained method on a list that it was scored on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import EXIT_FAILED, UserError, unknown_name
from harness.cells.backbone import BackboneChoice
from harness.cells.cell import MethodRow
from harness.cells.request import MethodChoice
from harness.cells.resolve_method import method_row
from harness.data.catalog import open_dataset
from harness.engine.features.video_features import VideoFeatures, video_features
from harness.engine.method import ClipMethod
from harness.engine.video.loaders import Row, decode_hint, locate_rows
from harness.machine.compute_options import ComputeOptions
from harness.machine.settings import Settings
from harness.running.build import build_row
from harness.running.load_fit import method_row_of
from harness.spec import VideoList
from results.fit_file import FIT_FILE
from results.measurement import ListId
from results.record import Record, find_records, read_record

VANILLA = "vanilla_clip"


@dataclass(frozen=True)
class ListFeatures:
    """Features of the videos of one list that can be decoded.

    Args:
        features: Features of frames and videos.
        videos: N paths in the list.
        labels: N class ids.
        classes: Class names by id.
        title: Title of the method.
        name: Dataset and list.
        key: Key of the eval that scored the list with these views.
    """

    features: VideoFeatures
    videos: tuple[str, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]
    title: str
    name: str
    key: str


def features_of_list(
    method: ClipMethod, record: Record, settings: Settings, dataset: str | None = None
) -> ListFeatures:  # fmt: skip
    """The features of the list of a record, with the views of the record.

    Args:
        method: The method that was scored.
        record: Its record.
        settings: Folders of this machine.
        dataset: Folder of the dataset, if it is not configured under its name.

    Raises:
        UserError: The list has other rows or other videos than the recorded ones, or no video can be decoded.
    """
    evaluation = record.measurement.evaluation
    listed, rows = _rows(evaluation.list, dataset, settings)
    features = video_features(method.eval(), rows, evaluation.views, ComputeOptions())
    if not features.rows:
        raise UserError(
            f"None of the {len(rows)} videos of {evaluation.list.dataset}/{evaluation.list.name} can be decoded.",
            decode_hint(evaluation.views.reader),
            EXIT_FAILED,
        )
    return ListFeatures(
        features=features,
        videos=tuple(listed.rows[number][0] for number in features.rows),
        labels=tuple(listed.rows[number][1] for number in features.rows),
        classes=record.classes,
        title=record.method.title,
        name=f"{evaluation.list.dataset}/{evaluation.list.name}",
        key=record.key,
    )


def vanilla_of(row: MethodRow, settings: Settings) -> ClipMethod | None:
    """Vanilla CLIP on the backbone of a method, to compare the method with.

    Args:
        row: The method and its backbone.
        settings: Folders of this machine.

    Returns:
        The method; None for vanilla CLIP itself, and for a method on a model of its own.
    """
    if row.name == VANILLA or not isinstance(row.backbone, BackboneChoice):
        return None
    return build_row(method_row(MethodChoice(VANILLA), row.backbone), settings)


def untrained_folder(runs: Path, methods: Sequence[str]) -> Path | None:
    """The folder of the records of a method without a fit, if the only method that is named has none."""
    if len(methods) != 1 or list(runs.glob(f"*/{methods[0]}/*/{FIT_FILE}")):
        return None
    folders = sorted(runs.glob(f"*/{methods[0]}/untrained"))
    return folders[0] if len(folders) == 1 else None


def untrained_row(
    record: Record, where: Path, backbone: BackboneChoice | None, files: Mapping[str, str]
) -> MethodRow:  # fmt: skip
    """The untrained method of a record.

    Args:
        record: A record without a fit.
        where: Its folder, for messages.
        backbone: The backbone, where its weights are those of a file.
        files: Files that options name, by option.

    Raises:
        UserError: The method was scored with the weights of a checkpoint, or on another backbone than the given one.
    """
    described = record.measurement.method
    if described.checkpoint:
        raise UserError(
            f"{where} was scored with a checkpoint, whose path is not recorded.",
            "Features are computed for fits and for methods without trained weights.",
        )
    return method_row_of(described, record.measurement.model, str(where), backbone, files)


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


def _rows(recorded: ListId, folder: str | None, settings: Settings) -> tuple[VideoList, list[Row]]:
    """A recorded list and its videos on this machine."""
    variant = "published" if recorded.label_variant == "unknown" else recorded.label_variant
    # A custom dataset, which has a root, has own lists in any case.
    lists = "own" if recorded.origin == "own" and not recorded.root else "published"
    dataset = open_dataset(folder or recorded.dataset, settings, lists=lists, variant=variant)
    dataset.prepare(None)
    current = dataset.list(recorded.name)
    if current.sha256 != recorded.sha256 or (dataset.content(current) or "") != recorded.content:
        raise UserError(
            f"The list {recorded.dataset}/{recorded.name} has other videos than the evaluated ones.",
            "Give the dataset's folder with --dataset DIR, or evaluate again: python -m harness run",
        )
    return current, locate_rows(current, dataset.locate)
