"""`predict`: the most probable classes of video files."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.base.errors import EXIT_DONE, EXIT_FAILED, UserError
from harness.commands._arguments import (
    add_compute_options,
    add_fit_files,
    add_folders,
    add_json,
    add_plugins,
    add_weights,
    backbone_of,
    compute_options_of,
    load_plugins,
    open_fit,
    settings_of,
)
from harness.commands._parser import Parser, Verbs, verb_parser
from harness.commands._predictions import Files, print_predictions
from harness.data.files.find_videos import find_videos
from harness.spec.parts import Cut

if TYPE_CHECKING:
    from harness.running.predict import Model


def add_parser(verbs: Verbs) -> None:
    """Arguments of `predict`."""
    parser = verb_parser(
        verbs, "predict", "the most probable classes of video files",
        "Classify video files with a finished fit or an untrained method. A fit has its own classes, views and input\n"
        "statistics. A file that cannot be decoded gives one line with the reason; the other files are classified.",
        "examples:\n"
        "  python -m harness predict clip.mp4 --labels names.txt --method vanilla_clip\n"
        "  python -m harness predict videos/ --fit runs/mini-clip/vificlip/FIT_FOLDER --out predictions.csv\n"
        "  python -m harness predict long.mp4 --fit FIT_FOLDER --window 5 --step 1 --plot scores.png\n",
    )  # fmt: skip
    parser.add_argument(
        "videos", nargs="+", metavar="PATH",
        help="video file, folder of videos, or table (.csv, .tsv, .txt) with one path per line",
    )  # fmt: skip
    parser.add_argument("--root", metavar="DIR", help="folder that paths in tables are relative to (of the table)")
    parser.add_argument(
        "--labels", metavar="FILE", help="class names: one per line, or a CSV `id,name` (with --fit: of the fit)"
    )
    parser.add_argument("--method", metavar="NAME[:OPTION=VALUE]", help="untrained method (vanilla_clip)")
    parser.add_argument("--fit", metavar="DIR", help="folder of a finished fit; default: the untrained method")
    parser.add_argument("--checkpoint", metavar="FILE", help="published or exported weights of --method")
    parser.add_argument("--arch", metavar="NAME", help="architecture, or mini-clip (default: ViT-B-16)")
    add_weights(parser)
    parser.add_argument(
        "--frames", type=int, metavar="T", help="frames per video (of the fit; untrained: 32, or 4 for mini-clip)"
    )
    parser.add_argument(
        "--reader", choices=("decord", "exact"), help="reader of frames (reader of the fit; untrained: exact)"
    )
    _add_parts(parser)
    _add_output(parser)
    add_fit_files(parser)
    add_plugins(parser)
    add_json(parser)
    add_compute_options(parser)
    add_folders(parser)


def _add_parts(parser: Parser) -> None:
    """Arguments for parts of videos."""
    group = parser.add_argument_group("parts of the videos, in seconds")
    for name, text in (
        ("start", "begin of the part (0)"),
        ("end", "end of the part (end of the video)"),
        ("window", "classify sliding windows of this length"),
        ("step", "distance between the begins of windows (half a window)"),
    ):
        group.add_argument(f"--{name}", type=float, metavar="S", help=text)


def _add_output(parser: Parser) -> None:
    """Arguments for the output."""
    group = parser.add_argument_group("output")
    group.add_argument("--top-k", type=int, default=5, metavar="K", help="classes per video (5)")
    group.add_argument("--out", metavar="FILE", help="also write the predictions: .csv or .json")
    group.add_argument("--plot", metavar="FILE", help="draw the scores over time: .png, .svg or .pdf; needs --window")
    group.add_argument(
        "--sheet", metavar="FILE", help="draw a contact sheet, frames with the predicted classes: .png or .jpg"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print and write the predictions; 1 if a file could not be decoded."""
    compute = compute_options_of(arguments)
    files = Files(*(Path(name) if name else None for name in (arguments.out, arguments.plot, arguments.sheet)))
    files.check(windows=arguments.window is not None)
    if arguments.top_k < 1:
        raise UserError(f"--top-k is {arguments.top_k}, expected a number of classes from 1.", "Example: --top-k 5")
    videos = find_videos(list(map(Path, arguments.videos)), Path(arguments.root) if arguments.root else None)
    cut = Cut(arguments.start or 0.0, arguments.end, arguments.window, arguments.step)
    model = _fitted(arguments) if arguments.fit else _exported(arguments) or _untrained(arguments)
    from harness.running.predict import predict

    # The plot shows the classes with the highest scores of any window, which may be low in another window.
    depth = len(model.labels) if files.plot else arguments.top_k
    predictions = predict(videos, model, compute, cut, max(depth, arguments.top_k))
    print_predictions(predictions, arguments.json, arguments.top_k)
    files.write(predictions, model, compute, arguments.top_k)
    return EXIT_FAILED if any(prediction.problem for prediction in predictions) else EXIT_DONE


def _fitted(arguments: argparse.Namespace) -> Model:
    """A finished fit with its classes and views, unless flags override them."""
    if arguments.method or arguments.checkpoint:
        raise UserError(
            "--fit is given together with --method or --checkpoint: it has a method with weights.",
            "Leave one of them out.",
        )
    fit = open_fit(arguments, Path(arguments.fit))
    from harness.running.predict import Model

    return _overridden(arguments, Model(fit.method, fit.labels, fit.views))


def _exported(arguments: argparse.Namespace) -> Model | None:
    """The exported fit of `--checkpoint` with its classes and views; None for another checkpoint or a named method."""
    from harness.weights.exported import read_exported

    named = (arguments.method, arguments.arch, arguments.weights)
    if not arguments.checkpoint or any(named) or read_exported(arguments.checkpoint) is None:
        return None
    load_plugins(arguments)
    from harness.running.exported import load_export

    return _overridden(arguments, load_export(Path(arguments.checkpoint), settings_of(arguments)))


def _overridden(arguments: argparse.Namespace, model: Model) -> Model:
    """A model with the classes, frames and reader of the flags."""
    from harness.data.lists.class_names import read_class_names

    views = model.views
    return replace(
        model,
        labels=read_class_names(Path(arguments.labels)) if arguments.labels else model.labels,
        views=replace(
            views,
            frames=views.frames if arguments.frames is None else arguments.frames,
            reader=arguments.reader or views.reader,
        ),
    )


def _untrained(arguments: argparse.Namespace) -> Model:
    """An untrained method, or a method with the weights of a checkpoint."""
    load_plugins(arguments)
    from harness.cells.backbone import MINI_FRAMES, BackboneChoice
    from harness.cells.exported_method import with_checkpoint
    from harness.cells.request import parse_methods
    from harness.cells.resolve_method import method_row
    from harness.data.lists.class_names import read_class_names
    from harness.plugins import registry
    from harness.spec import Views
    from harness.weights.owner import require_export_of

    if not arguments.labels:
        raise UserError("--labels is missing: an untrained method has no classes.", "Give --labels FILE.")
    (choice,) = parse_methods([arguments.method or "vanilla_clip"])
    if arguments.checkpoint is not None:
        if registry.method_spec(choice.name).uses_clip:
            require_export_of(arguments.checkpoint, choice.name)
        choice = with_checkpoint(choice, arguments.checkpoint)
    backbone = backbone_of(arguments) or BackboneChoice(None, None)
    default_frames = MINI_FRAMES if backbone.is_mini else 32
    stated = int(str(choice.options.get("frames", default_frames)))
    frames = stated if arguments.frames is None else arguments.frames
    views = backbone.views_of(Views(frames=frames, reader=arguments.reader or "exact"))
    row = method_row(choice, backbone, frames=frames)
    if not row.spec.uses_clip:
        # Such a model sets the number of frames itself; the 1 is replaced.
        views = row.backbone.views_of(replace(views, frames=arguments.frames or 1))
        if arguments.frames and arguments.frames != views.frames:
            raise UserError(f"{row.backbone.slug()} takes {views.frames} frames, found --frames {arguments.frames}.")
    views = row.published_input(views)
    labels = read_class_names(Path(arguments.labels))
    from harness.running.build import build_row  # imports torch: the words of the command line are checked first
    from harness.running.predict import Model

    return Model(build_row(row, settings_of(arguments)), labels, views)
