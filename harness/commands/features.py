"""`features`: the video features of a fit as arrays, or as a two-dimensional map."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from harness.base.errors import EXIT_DONE, UserError
from harness.commands._arguments import (
    add_fit_backbone,
    add_folders,
    add_plugins,
    backbone_of,
    find_fit_folders,
    load_plugins,
    open_fit,
    settings_of,
)
from harness.commands._output import put, say
from harness.commands._parser import Verbs, verb_parser
from harness.spec.overrides import parse_pairs

if TYPE_CHECKING:
    from harness.cells.cell import MethodRow
    from harness.engine.method import ClipMethod
    from results.record import Record

MAPS, ARRAYS = (".png", ".pdf", ".svg"), (".npz", ".safetensors")


def add_parser(verbs: Verbs) -> None:
    """Arguments of `features`."""
    parser = verb_parser(
        verbs, "features", "video features of a fit, as arrays or as a map",
        "Extract the features of the videos of a list that a fit or an untrained method was scored on. A file that\n"
        "ends in .npz or .safetensors receives arrays: features of frames (videos, T, D) and of videos (videos, D),\n"
        "class ids, and names of videos and classes. A .png, .pdf or .svg receives a map in two dimensions by t-SNE\n"
        "or UMAP with one dot per video, coloured by class, beside the map of vanilla CLIP, with the accuracy of the\n"
        "nearest neighbours.",
        "examples:\n"
        "  python -m harness features --method vificlip --part novel --out features.pdf\n"
        "  python -m harness features --method vanilla_clip --part joint --out features.npz\n",
    )  # fmt: skip
    parser.add_argument(
        "--method", action="append", default=[], metavar="NAME", help="only fits of this method; repeatable"
    )
    parser.add_argument(
        "--fit", action="append", default=[], metavar="FIT",
        help="folder of a fit, or the beginning of its name or key in the run folder",
    )  # fmt: skip
    parser.add_argument("--part", metavar="PART", help="part of the protocol (the first scored part)")
    parser.add_argument("--dataset", metavar="DIR", help="folder of the dataset, if it is not configured by name")
    parser.add_argument("--with", dest="by", choices=("tsne", "umap"), default="tsne", help="algorithm (tsne)")
    parser.add_argument(
        "--out", default="features.png", metavar="FILE", help="file to write: .png, .pdf, .svg, .npz or .safetensors"
    )
    add_fit_backbone(parser)
    add_plugins(parser)
    add_folders(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the arrays or the figure."""
    out = Path(arguments.out)
    kind = out.suffix.lower()
    if kind not in (*MAPS, *ARRAYS) or out.is_dir():
        raise UserError(
            f"--out is {arguments.out}, expected a file that ends in {', '.join(MAPS)} (a map), "
            f"{' or '.join(ARRAYS)} (arrays).",
            f"Write --out {out.with_suffix('.png')}",
        )
    from harness.running.features import features_of_list

    method, row, record = _chosen(arguments)
    settings = settings_of(arguments)
    features = features_of_list(method, record, settings, arguments.dataset)
    if kind in MAPS:
        from harness.running.features import vanilla_of
        from reports.feature_map import FeatureMap, MethodFeatures, draw_feature_map

        vanilla = vanilla_of(row, settings)
        both = [features_of_list(vanilla, record, settings, arguments.dataset)] if vanilla else []
        titles = ["vanilla CLIP"] * len(both) + [features.title]
        shown = FeatureMap(
            tuple(MethodFeatures(title, f.features.videos) for title, f in zip(titles, [*both, features], strict=True)),
            features.labels, features.classes, features.name, arguments.by,
        )  # fmt: skip
        draw_feature_map(shown, out)
        put(shown.caption)
    else:
        from harness.running.feature_files import write_features

        write_features(out, features)
    say(f"features: {out}")
    return EXIT_DONE


def _chosen(arguments: argparse.Namespace) -> tuple[ClipMethod, MethodRow, Record]:
    """The fit or the untrained method that the flags name, with the record of the part."""
    from harness.running.build import build_row
    from harness.running.features import record_of_part, untrained_folder, untrained_row

    settings = settings_of(arguments)
    folder = None if arguments.fit else untrained_folder(settings.runs.path, arguments.method)
    if folder is not None:
        load_plugins(arguments)
        record = record_of_part(folder, arguments.part)
        files = parse_pairs(arguments.file, "--file")
        row = untrained_row(record, folder, backbone_of(arguments), files)
        return build_row(row, settings), row, record
    folders = find_fit_folders(arguments)
    if len(folders) > 1:
        raise UserError(f"{len(folders)} fits were named, expected one fit per file.", "Name one fit.")
    record = record_of_part(folders[0], arguments.part)
    fit = open_fit(arguments, folders[0])
    return fit.method, fit.row, record
