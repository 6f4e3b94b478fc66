"""`features`: a two-dimensional map of the video features of a fit."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.base.errors import EXIT_DONE, UserError
from harness.commands._arguments import (
    add_fit_backbone,
    add_folders,
    add_plugins,
    find_fit_folders,
    open_fit,
    settings_of,
)
from harness.commands._output import say
from harness.commands._parser import Verbs, verb_parser


def add_parser(verbs: Verbs) -> None:
    """Arguments of `features`."""
    parser = verb_parser(
        verbs, "features", "map of the video features of a fit",
        "Extract the video features of a list that a fit was scored on, map them to two dimensions with t-SNE or\n"
        "UMAP, and draw one dot per video, coloured by class, as an SVG.",
        "example:\n  python -m harness features --method vificlip --part novel --out features.svg\n",
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
    parser.add_argument("--out", default="features.svg", metavar="FILE", help="file to write (features.svg)")
    add_fit_backbone(parser)
    add_plugins(parser)
    add_folders(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the figure."""
    from harness.base.atomic import write_bytes
    from harness.running.features import features_of_fit, record_of_part
    from reports.feature_map import feature_map

    out = Path(arguments.out)
    if out.suffix.lower() != ".svg":
        raise UserError(
            f"--out is {arguments.out!r}, expected a name that ends in .svg: features are drawn as an SVG.",
            f"Write --out {out.with_suffix('.svg')}",
        )
    folders = find_fit_folders(arguments)
    if len(folders) > 1:
        raise UserError(f"{len(folders)} fits were named, expected one fit per figure.", "Name one fit.")
    record = record_of_part(folders[0], arguments.part)
    fit = open_fit(arguments, folders[0])
    shown = features_of_fit(fit, record, settings_of(arguments), arguments.dataset)
    svg = feature_map(shown.features, shown.labels, list(shown.classes), arguments.by, shown.title)
    write_bytes(out, svg.replace("currentColor", "#555555").encode())
    say(f"features: {arguments.out}")
    return EXIT_DONE
