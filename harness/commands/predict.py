"""`predict`: the top five classes of video files."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.base.errors import EXIT_DONE, EXIT_FAILED, UserError
from harness.commands._arguments import (
    add_places,
    add_runtime,
    backbone_of,
    load_plugins,
    put,
    runtime_of,
    say,
    settings_of,
    verb_parser,
)


def add_parser(verbs: Any) -> None:
    """Arguments of `predict`."""
    parser = verb_parser(
        verbs, "predict", "the top five classes of video files",
        "Classify video files with a method, fitted or not, among the class names of a file.\n"
        "A file that cannot be decoded gives one line that says why; the others are still classified.",
        "examples:\n"
        "  python -m harness predict clip.mp4 --labels names.txt --method vanilla_clip\n"
        "  python -m harness predict *.avi --labels ucf_101_labels.csv --fit runs/.../FIT_FOLDER\n",
    )  # fmt: skip
    parser.add_argument("videos", nargs="+", metavar="VIDEO", help="video file")
    parser.add_argument("--labels", required=True, metavar="FILE", help="class names: one a line, or a CSV `id,name`")
    parser.add_argument("--method", metavar="NAME[:OPTION=VALUE]", help="untrained method (vanilla_clip)")
    parser.add_argument("--fit", metavar="DIR", help="folder of a finished fit; default: the untrained method")
    parser.add_argument("--checkpoint", metavar="FILE", help="published or exported weights of --method")
    parser.add_argument("--arch", metavar="NAME", help="architecture, or mini-clip (default: ViT-B-16)")
    parser.add_argument("--weights", metavar="TAG|FILE", help="open_clip tag, weight file, or random (default: openai)")
    parser.add_argument("--frames", type=int, help="frames per video (32; 4 for mini-clip)")
    parser.add_argument("--reader", default="decord", choices=("decord", "exact"), help="how frames are read")
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE", help="load a plugin file first")
    parser.add_argument("--json", action="store_true", help="print data on stdout")
    add_runtime(parser)
    add_places(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the predictions; 1 if a file could not be decoded."""
    load_plugins(arguments)
    from harness.expand import method_row
    from harness.predict import predict, read_class_names
    from harness.request import MINI_FRAMES, BackboneChoice, parse_methods
    from harness.restore import fit_row
    from harness.spec import Views

    labels = read_class_names(Path(arguments.labels))
    fit = Path(arguments.fit) if arguments.fit else None
    if fit is not None and (arguments.method or arguments.checkpoint):
        raise UserError(
            "--fit says which method and weights it is; --method and --checkpoint are for others.",
            "Leave one of them out.",
        )
    chosen = backbone_of(arguments)
    if fit is not None:
        row = fit_row(fit, chosen)
    else:
        method = replace(parse_methods([arguments.method or "vanilla_clip"])[0], checkpoint=arguments.checkpoint)
        backbone = chosen or BackboneChoice("ViT-B-16", "openai")
        usual = MINI_FRAMES if backbone.is_mini else 32
        row = method_row(method, backbone, frames=arguments.frames or usual)
    frames = arguments.frames or (MINI_FRAMES if row.backbone.is_mini else 32)
    views = Views(frames=frames, reader=arguments.reader)
    if not row.spec.uses_clip:
        views = row.backbone.views_of(Views(frames=arguments.frames or 1, reader=arguments.reader))
        if arguments.frames and arguments.frames != views.frames:
            raise UserError(f"{row.backbone.slug()} takes {views.frames} frames, not {arguments.frames}.")
    failed, data = 0, []
    for item in predict(
        [Path(v) for v in arguments.videos], labels, row, views, settings_of(arguments), runtime_of(arguments), fit
    ):
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
