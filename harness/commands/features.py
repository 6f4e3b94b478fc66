"""`features`: the video features of a fit on a list it was scored on, in the plane."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.base.errors import EXIT_DONE, UserError, unknown_name
from harness.commands._arguments import (
    add_fit_backbone,
    add_places,
    backbone_of,
    fit_of,
    load_plugins,
    say,
    settings_of,
    verb_parser,
)

if TYPE_CHECKING:
    from harness.engine.video.loaders import Row
    from harness.machine.settings import Settings
    from results.measurement import ListId
    from results.record import Record


def add_parser(verbs: Any) -> None:
    """Arguments of `features`."""
    parser = verb_parser(
        verbs, "features", "video features of a fit in the plane",
        "Extract the video features of a list that a fit was scored on and draw them in the plane, coloured by class,\n"
        "with t-SNE or UMAP, as an SVG.",
        "example:\n  python -m harness features --method vificlip --part novel --out features.svg\n",
    )  # fmt: skip
    parser.add_argument("--method", action="append", default=[], metavar="M", help="its fits only; repeatable")
    parser.add_argument("--fit", action="append", default=[], metavar="F", help="folder, or beginning of name or key")
    parser.add_argument("--part", metavar="PART", help="part of the protocol (the first one scored)")
    parser.add_argument("--dataset", metavar="DIR", help="folder of the dataset, if it is none with a name")
    parser.add_argument("--with", dest="by", choices=("tsne", "umap"), default="tsne", help="how (tsne)")
    parser.add_argument("--out", default="features.svg", metavar="FILE", help="file to write (features.svg)")
    add_fit_backbone(parser)
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE", help="load a plugin file first")
    add_places(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the figure."""
    load_plugins(arguments)
    from harness.base.atomic import write_bytes
    from harness.engine.features.video_features import video_features
    from harness.machine.compute_options import ComputeOptions
    from harness.running.load_fit import find_fits, restore
    from reports.feature_map import feature_map

    settings = settings_of(arguments)
    backbone_of(arguments)  # flags that contradict each other are named before a fit that is not there
    folders = find_fits(settings.runs.path, arguments.method, arguments.fit)
    if len(folders) > 1:
        raise UserError(f"{len(folders)} fits were named, one figure holds one.", "Name one fit.")
    record = _record(folders[0], arguments.part)
    evaluation = record.measurement.evaluation
    rows = _rows(evaluation.list, arguments.dataset, settings)
    fit = fit_of(arguments, folders[0])
    method = restore(fit.folder, fit.row, settings).eval()
    features, numbers = video_features(method, rows, evaluation.views, ComputeOptions())
    title = f"{record.method.title}, {evaluation.list.dataset}/{evaluation.list.name}"
    labels = [rows[number][1] for number in numbers]
    svg = feature_map(features, labels, list(record.classes), arguments.by, title)
    write_bytes(Path(arguments.out), svg.replace("currentColor", "#555555").encode())
    say(f"features: {arguments.out}")
    return EXIT_DONE


def _rows(listed: ListId, place: str | None, settings: Settings) -> list[Row]:
    """The videos of a recorded list.

    Raises:
        UserError: The list has other rows or other videos than the record says.
    """
    from harness.data.catalog import open_dataset
    from harness.engine.video.loaders import locate_rows

    variant = "published" if listed.label_variant == "unknown" else listed.label_variant
    lists = "own" if listed.origin == "own" and not listed.root else "published"
    dataset = open_dataset(place or listed.dataset, settings, lists=lists, variant=variant)
    dataset.prepare(None)
    found = dataset.list(listed.name)
    if found.sha256 != listed.sha256 or (dataset.content(found) or "") != listed.content:
        raise UserError(
            f"The list {listed.dataset}/{listed.name} has other videos than those that were evaluated.",
            "Give the dataset's folder with --dataset DIR, or evaluate again: python -m harness run",
        )
    return locate_rows(found, dataset.locate)


def _record(folder: Path, part: str | None) -> Record:
    """The record of a part, or of the first one, that a fit was scored on."""
    from results.record import find_records, read_record

    records = {record.measurement.protocol.part: record for record in map(read_record, find_records(folder))}
    if not records:
        raise UserError(f"{folder} holds no record.", "Score the fit first: python -m harness run")
    if part is not None and part not in records:
        raise unknown_name("part", part, records)
    return records[part or next(iter(records))]
