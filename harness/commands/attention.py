"""`attention`: attention of the class token in each frame, untrained and fitted side by side."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.base.errors import EXIT_DONE
from harness.base.imports import without_collections
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
    """Arguments of `attention`."""
    parser = verb_parser(
        verbs, "attention", "attention of the class token, untrained and fitted",
        "Draw the attention of the class token in the last block over the frames of a clip, for vanilla CLIP and for\n"
        "fits side by side, as a PNG (frames in a row), an MP4 or an animated GIF.",
        "examples:\n"
        "  python -m harness attention clip.mp4 --fit runs/mini-clip/vificlip/FIT_FOLDER\n"
        "  python -m harness attention --method vificlip --fit b2n-mini_target clip.mp4 --out attention.png\n",
    )  # fmt: skip
    parser.add_argument("video", metavar="VIDEO", help="video file")
    parser.add_argument(
        "--method", action="append", default=[], metavar="NAME", help="only fits of this method; repeatable"
    )
    parser.add_argument(
        "--fit", action="append", default=[], metavar="FIT",
        help="folder of a fit, or the beginning of its name or key in the run folder; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--out", action="append", metavar="FILE", help=".png, .mp4 or .gif; repeatable (attention.png, attention.mp4)"
    )
    add_fit_backbone(parser)
    parser.add_argument("--frames", type=int, metavar="T", help="number of frames (frames of the fit)")
    add_plugins(parser)
    add_folders(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the pictures."""
    fits = [open_fit(arguments, folder) for folder in find_fit_folders(arguments)]
    with without_collections():
        from harness.engine.attention import render
        from harness.running.attention import attention_of_fits

    maps = attention_of_fits(Path(arguments.video), fits, settings_of(arguments), arguments.frames)
    for text in arguments.out or ["attention.png", "attention.mp4"]:
        say(f"attention: {render(maps, Path(text))}")
    return EXIT_DONE
