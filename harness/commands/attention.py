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
from harness.commands._output import put, say
from harness.commands._parser import Verbs, verb_parser

FILMS = (".mp4", ".gif")


def add_parser(verbs: Verbs) -> None:
    """Arguments of `attention`."""
    parser = verb_parser(
        verbs, "attention", "attention of the class token, untrained and fitted",
        "Draw the attention of the class token in the last block over the frames of a clip, for vanilla CLIP and for\n"
        "fits. A PNG, PDF or SVG shows the frames with their times, each method, the difference of each fit from\n"
        "vanilla CLIP, and the share of the attention that the fit moves. An MP4 or GIF shows the methods side by\n"
        "side.",
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
        "--out", action="append", metavar="FILE",
        help=".png, .pdf, .svg, .mp4 or .gif; repeatable (attention.png, attention.mp4)",
    )  # fmt: skip
    add_fit_backbone(parser)
    parser.add_argument("--frames", type=int, metavar="T", help="number of frames (frames of the fit)")
    add_plugins(parser)
    add_folders(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the pictures, and print the changes that the fits make."""
    from reports.plot import FORMATS, check_format

    outs = [Path(text) for text in arguments.out or ["attention.png", "attention.mp4"]]
    for out in outs:
        check_format(out, (*FORMATS, *FILMS))
    fits = [open_fit(arguments, folder) for folder in find_fit_folders(arguments)]
    with without_collections():
        from harness.engine.attention import render
        from harness.running.attention import attention_of_fits
    from reports.attention_figure import ClipAttention, MethodAttention, draw_attention

    maps = attention_of_fits(Path(arguments.video), fits, settings_of(arguments), arguments.frames)
    methods = [MethodAttention(title, shares, maps.predictions[title]) for title, shares in maps.maps.items()]
    clip = ClipAttention(maps.frames, maps.times, tuple(methods))
    for out in outs:
        if out.suffix.lower() in FILMS:
            render(maps, out)
        else:
            draw_attention(clip, out)
        say(f"attention: {out}")
    put(clip.caption)
    return EXIT_DONE
