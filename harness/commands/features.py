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
from harness.commands._output import say
from harness.commands._parser import Verbs, verb_parser
from harness.spec.overrides import parse_pairs

if TYPE_CHECKING:
    from harness.running.features import ListFeatures

SUFFIXES = (".svg", ".npz", ".safetensors")


def add_parser(verbs: Verbs) -> None:
    """Arguments of `features`."""
    parser = verb_parser(
        verbs, "features", "video features of a fit, as arrays or as a map",
        "Extract the features of the videos of a list that a fit or an untrained method was scored on. A file that\n"
        "ends in .npz or .safetensors receives arrays: features of frames (videos, T, D) and of videos (videos, D),\n"
        "class ids, and names of videos and classes. An .svg receives a map in two dimensions by t-SNE or UMAP with\n"
        "one dot per video, coloured by class.",
        "examples:\n"
        "  python -m harness features --method vificlip --part novel --out features.svg\n"
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
        "--out", default="features.svg", metavar="FILE", help="file to write: .svg, .npz or .safetensors"
    )
    add_fit_backbone(parser)
    add_plugins(parser)
    add_folders(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the arrays or the figure."""
    out = Path(arguments.out)
    if out.suffix.lower() not in SUFFIXES or out.is_dir():
        raise UserError(
            f"--out is {arguments.out}, expected a file that ends in .svg (a map), .npz or .safetensors (arrays).",
            f"Write --out {out.with_suffix('.svg')}",
        )
    shown = _features(arguments)
    if out.suffix.lower() == ".svg":
        from harness.base.atomic import write_bytes
        from reports.feature_map import feature_map

        svg = feature_map(shown.features.videos, shown.labels, shown.classes, arguments.by, shown.title)
        write_bytes(out, svg.replace("currentColor", "#555555").encode())
    else:
        from harness.running.feature_files import write_features

        write_features(out, shown)
    say(f"features: {out}")
    return EXIT_DONE


def _features(arguments: argparse.Namespace) -> ListFeatures:
    """The features of the fit or the untrained method that the flags name."""
    from harness.running.features import features_of_list, record_of_part, untrained_folder, untrained_method

    settings = settings_of(arguments)
    folder = None if arguments.fit else untrained_folder(settings.runs.path, arguments.method)
    if folder is not None:
        load_plugins(arguments)
        record = record_of_part(folder, arguments.part)
        files = parse_pairs(arguments.file, "--file")
        method = untrained_method(record, folder, settings, backbone_of(arguments), files)
    else:
        folders = find_fit_folders(arguments)
        if len(folders) > 1:
            raise UserError(f"{len(folders)} fits were named, expected one fit per file.", "Name one fit.")
        record = record_of_part(folders[0], arguments.part)
        method = open_fit(arguments, folders[0]).method
    return features_of_list(method, record, settings, arguments.dataset)
