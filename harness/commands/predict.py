"""`predict`: the five most probable classes of video files."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.base.errors import EXIT_DONE, EXIT_FAILED, UserError
from harness.commands._arguments import (
    add_compute_options,
    add_fit_files,
    add_folders,
    add_json,
    add_plugins,
    backbone_of,
    compute_options_of,
    load_plugins,
    open_fit,
    settings_of,
)
from harness.commands._output import put, put_json, say
from harness.commands._parser import Verbs, verb_parser

if TYPE_CHECKING:
    from harness.engine.method import ClipMethod
    from harness.spec import LabelSet, Views


@dataclass(frozen=True)
class _Row:
    """One video in the output of `--json`."""

    video: str
    classes: tuple[tuple[str, float], ...]
    problem: str
    hint: str


def add_parser(verbs: Verbs) -> None:
    """Arguments of `predict`."""
    parser = verb_parser(
        verbs, "predict", "the five most probable classes of video files",
        "Classify video files with a finished fit or an untrained method. A fit has its own classes, views and input\n"
        "statistics. A file that cannot be decoded gives one line with the reason; the other files are classified.",
        "examples:\n"
        "  python -m harness predict clip.mp4 --labels names.txt --method vanilla_clip\n"
        "  python -m harness predict *.avi --fit runs/mini-clip/vificlip/FIT_FOLDER\n",
    )  # fmt: skip
    parser.add_argument("videos", nargs="+", metavar="VIDEO", help="video file")
    parser.add_argument(
        "--labels", metavar="FILE", help="class names: one per line, or a CSV `id,name` (with --fit: of the fit)"
    )
    parser.add_argument("--method", metavar="NAME[:OPTION=VALUE]", help="untrained method (vanilla_clip)")
    parser.add_argument("--fit", metavar="DIR", help="folder of a finished fit; default: the untrained method")
    parser.add_argument("--checkpoint", metavar="FILE", help="published or exported weights of --method")
    parser.add_argument("--arch", metavar="NAME", help="architecture, or mini-clip (default: ViT-B-16)")
    parser.add_argument("--weights", metavar="TAG|FILE", help="open_clip tag, weight file, or random (default: openai)")
    parser.add_argument(
        "--frames", type=int, metavar="T", help="frames per video (of the fit; untrained: 32, or 4 for mini-clip)"
    )
    parser.add_argument(
        "--reader", choices=("decord", "exact"), help="reader of frames (reader of the fit; untrained: decord)"
    )
    add_fit_files(parser)
    add_plugins(parser)
    add_json(parser)
    add_compute_options(parser)
    add_folders(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the predictions; 1 if a file could not be decoded."""
    compute = compute_options_of(arguments)
    method, labels, views = _fitted(arguments) if arguments.fit else _untrained(arguments)
    from harness.running.predict import predict

    videos = [Path(video) for video in arguments.videos]
    rows = []
    for prediction in predict(videos, method, labels, views, compute):
        rows.append(_Row(str(prediction.video), prediction.classes, prediction.problem, prediction.hint))
        if arguments.json:
            continue
        if prediction.problem:
            say(f"{prediction.video}: not decoded: {prediction.problem}\n  {prediction.hint}")
        else:
            put(f"{prediction.video}: " + ", ".join(f"{name} {100 * p:.1f} %" for name, p in prediction.classes))
    if arguments.json:
        put_json(rows)
    return EXIT_FAILED if any(row.problem for row in rows) else EXIT_DONE


def _fitted(arguments: argparse.Namespace) -> tuple[ClipMethod, LabelSet, Views]:
    """A finished fit with its classes and views, unless flags override them."""
    from harness.data.lists.class_names import read_class_names

    if arguments.method or arguments.checkpoint:
        raise UserError(
            "--fit is given together with --method or --checkpoint: it has a method with weights.",
            "Leave one of them out.",
        )
    fit = open_fit(arguments, Path(arguments.fit))
    labels = read_class_names(Path(arguments.labels)) if arguments.labels else fit.labels
    views = replace(
        fit.views,
        frames=fit.views.frames if arguments.frames is None else arguments.frames,
        reader=arguments.reader or fit.views.reader,
    )
    return fit.method, labels, views


def _untrained(arguments: argparse.Namespace) -> tuple[ClipMethod, LabelSet, Views]:
    """An untrained method, or a method with the weights of a checkpoint."""
    load_plugins(arguments)
    from harness.cells.backbone import MINI_FRAMES, BackboneChoice
    from harness.cells.request import parse_methods
    from harness.cells.resolve_method import method_row
    from harness.data.lists.class_names import read_class_names
    from harness.spec import Views

    if not arguments.labels:
        raise UserError("--labels is missing: an untrained method has no classes.", "Give --labels FILE.")
    choice = replace(parse_methods([arguments.method or "vanilla_clip"])[0], checkpoint=arguments.checkpoint)
    backbone = backbone_of(arguments) or BackboneChoice("ViT-B-16", "openai")
    default_frames = MINI_FRAMES if backbone.is_mini else 32
    frames = default_frames if arguments.frames is None else arguments.frames
    views = backbone.views_of(Views(frames=frames, reader=arguments.reader or "decord"))
    row = method_row(choice, backbone, frames=frames)
    if not row.spec.uses_clip:
        views = row.backbone.views_of(replace(views, frames=arguments.frames or 1))
        if arguments.frames and arguments.frames != views.frames:
            raise UserError(f"{row.backbone.slug()} takes {views.frames} frames, found --frames {arguments.frames}.")
    labels = read_class_names(Path(arguments.labels))
    from harness.running.build import build_row  # imports torch: the words of the command line are checked first

    return build_row(row, settings_of(arguments)), labels, views
