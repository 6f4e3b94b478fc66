"""`features`: the video features of a fit on a list it was scored on, in the plane."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.base.errors import EXIT_DONE, UserError, unknown_name
from harness.commands._arguments import (
    add_fit_backbone,
    add_places,
    backbone_of,
    load_plugins,
    say,
    settings_of,
    verb_parser,
)


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
    from harness.data.catalog import open_dataset
    from harness.engine.clips import locate_rows
    from harness.engine.video_features import video_features
    from harness.running.load_fit import find_fits, fit_row, restore
    from harness.runtime import Runtime
    from harness.spec import Views
    from reports.feature_map import feature_map

    settings = settings_of(arguments)
    chosen = backbone_of(arguments)
    folders = find_fits(settings.runs.path, arguments.method, arguments.fit)
    if len(folders) > 1:
        raise UserError(f"{len(folders)} fits were named, one figure holds one.", "Name one fit.")
    record = _record(folders[0], arguments.part)
    dataset = open_dataset(arguments.dataset or record.data["dataset"], settings)
    dataset.prepare(None)
    rows = locate_rows(dataset.list(record.data["list"]), dataset.locate)
    views = Views(**{name: record.views[name] for name in Views.__dataclass_fields__})
    method = restore(folders[0], fit_row(folders[0], chosen), settings).eval()
    features, numbers = video_features(method, rows, views, Runtime())
    title = f"{record.method['title']}, {record.data['dataset']}/{record.data['list']}"
    labels = [rows[number][1] for number in numbers]
    svg = feature_map(features, labels, record.data["classes"], arguments.by, title)
    write_bytes(Path(arguments.out), svg.replace("currentColor", "#555555").encode())
    say(f"features: {arguments.out}")
    return EXIT_DONE


def _record(folder: Path, part: str | None) -> Any:
    """The record of a part, or of the first one, that a fit was scored on."""
    from results.record import find_records, read_record

    records = {record.protocol["part"]: record for record in map(read_record, find_records(folder))}
    if not records:
        raise UserError(f"{folder} holds no record.", "Score the fit first: python -m harness run")
    if part is not None and part not in records:
        raise unknown_name("part", part, records)
    return records[part or next(iter(records))]
