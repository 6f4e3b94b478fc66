"""`predict`: the top five classes of video files."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.base.errors import EXIT_DONE, EXIT_FAILED, UserError
from harness.commands._arguments import (
    add_compute_options,
    add_fit_files,
    add_places,
    backbone_of,
    compute_options_of,
    fit_of,
    load_plugins,
    put,
    say,
    settings_of,
    verb_parser,
)

if TYPE_CHECKING:
    from harness.running.predict import Subject


def add_parser(verbs: Any) -> None:
    """Arguments of `predict`."""
    parser = verb_parser(
        verbs, "predict", "the top five classes of video files",
        "Classify video files with a method, fitted or not. A fit brings its own classes, views and statistics.\n"
        "A file that cannot be decoded gives one line that says why; the others are still classified.",
        "examples:\n"
        "  python -m harness predict clip.mp4 --labels names.txt --method vanilla_clip\n"
        "  python -m harness predict *.avi --fit runs/.../FIT_FOLDER\n",
    )  # fmt: skip
    parser.add_argument("videos", nargs="+", metavar="VIDEO", help="video file")
    parser.add_argument(
        "--labels", metavar="FILE", help="class names: one a line, or a CSV `id,name` (with --fit: those of the fit)"
    )
    parser.add_argument("--method", metavar="NAME[:OPTION=VALUE]", help="untrained method (vanilla_clip)")
    parser.add_argument("--fit", metavar="DIR", help="folder of a finished fit; default: the untrained method")
    parser.add_argument("--checkpoint", metavar="FILE", help="published or exported weights of --method")
    parser.add_argument("--arch", metavar="NAME", help="architecture, or mini-clip (default: ViT-B-16)")
    parser.add_argument("--weights", metavar="TAG|FILE", help="open_clip tag, weight file, or random (default: openai)")
    parser.add_argument("--frames", type=int, help="frames per video (those of the fit; 32; 4 for mini-clip)")
    parser.add_argument(
        "--reader", choices=("decord", "exact"), help="how frames are read (as in the fit; decord without one)"
    )
    add_fit_files(parser)
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE", help="load a plugin file first")
    parser.add_argument("--json", action="store_true", help="print data on stdout")
    add_compute_options(parser)
    add_places(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the predictions; 1 if a file could not be decoded."""
    load_plugins(arguments)
    from harness.running.predict import predict

    subject = _fitted(arguments) if arguments.fit else _unfitted(arguments)
    failed, data = 0, []
    videos = [Path(video) for video in arguments.videos]
    for item in predict(videos, subject, settings_of(arguments), compute_options_of(arguments)):
        failed += bool(item.problem)
        data.append({"video": str(item.video), "classes": item.classes, "problem": item.problem})
        if arguments.json:
            continue
        if item.problem:
            say(f"{item.video}: not decoded: {item.problem}")
        else:
            put(f"{item.video}: " + ", ".join(f"{name} {100 * p:.1f} %" for name, p in item.classes))
    if arguments.json:
        put(data)
    return EXIT_FAILED if failed else EXIT_DONE


def _fitted(arguments: argparse.Namespace) -> Subject:
    """A finished fit with its own views and classes, unless flags say otherwise."""
    from harness.data.lists.class_names import read_class_names
    from harness.running.predict import Subject
    from harness.spec import LabelSet

    if arguments.method or arguments.checkpoint:
        raise UserError(
            "--fit names a method with its weights; --method and --checkpoint name others.", "Leave one of them out."
        )
    fit = fit_of(arguments, Path(arguments.fit))
    labels = read_class_names(Path(arguments.labels)) if arguments.labels else LabelSet(fit.content.classes)
    views = replace(
        fit.views,
        frames=fit.views.frames if arguments.frames is None else arguments.frames,
        reader=arguments.reader or fit.views.reader,
    )
    return Subject(fit.row, labels, views, fit.folder)


def _unfitted(arguments: argparse.Namespace) -> Subject:
    """An untrained method, or one with the weights of a checkpoint."""
    from harness.cells.backbone import MINI_FRAMES, BackboneChoice
    from harness.cells.request import parse_methods
    from harness.cells.resolve_method import method_row
    from harness.data.lists.class_names import read_class_names
    from harness.running.predict import Subject
    from harness.spec import Views

    if not arguments.labels:
        raise UserError("--labels is missing: an untrained method has no classes of its own.", "Give --labels FILE.")
    method = replace(parse_methods([arguments.method or "vanilla_clip"])[0], checkpoint=arguments.checkpoint)
    backbone = backbone_of(arguments) or BackboneChoice("ViT-B-16", "openai")
    usual = MINI_FRAMES if backbone.is_mini else 32
    frames = usual if arguments.frames is None else arguments.frames
    views = Views(frames=frames, reader=arguments.reader or "decord")
    row = method_row(method, backbone, frames=frames)
    if not row.spec.uses_clip:
        views = row.backbone.views_of(replace(views, frames=arguments.frames or 1))
        if arguments.frames and arguments.frames != views.frames:
            raise UserError(f"{row.backbone.slug()} takes {views.frames} frames, found --frames {arguments.frames}.")
    return Subject(row, read_class_names(Path(arguments.labels)), views)
