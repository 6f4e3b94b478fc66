"""`attention`: where the class token looks in each frame, untrained and fitted side by side."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.base.errors import EXIT_DONE, UserError
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
    """Arguments of `attention`."""
    parser = verb_parser(
        verbs, "attention", "where the class token looks, untrained and fitted",
        "Draw the attention of the class token in the last block over the frames of a clip, for vanilla CLIP and for\n"
        "fits side by side, as a PNG (frames in a row), an MP4 or an animated GIF.",
        "examples:\n"
        "  python -m harness attention clip.mp4 --fit runs/mini-clip/vificlip/...\n"
        "  python -m harness attention --method vificlip --fit b2n-mini_target clip.mp4 --out attention.png\n",
    )  # fmt: skip
    parser.add_argument("video", metavar="VIDEO", help="video file")
    parser.add_argument("--method", action="append", default=[], metavar="M", help="its fits only; repeatable")
    parser.add_argument(
        "--fit", action="append", default=[], metavar="F",
        help="folder of a fit, or the beginning of its name or key below the run folder; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--out", action="append", metavar="FILE", help=".png, .mp4 or .gif; repeatable (attention.png, attention.mp4)"
    )
    add_fit_backbone(parser)
    parser.add_argument("--frames", type=int, default=8, help="frames (8)")
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE", help="load a plugin file first")
    add_places(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the pictures."""
    load_plugins(arguments)
    import torch

    from harness.engine.attention import compare_attention, render
    from harness.engine.clips import eval_loader
    from harness.engine.step import normalise
    from harness.execute import build_row
    from harness.expand import method_row
    from harness.request import MethodChoice
    from harness.restore import find_fits, fit_row, restore
    from harness.runtime import Runtime
    from harness.spec import Views

    settings = settings_of(arguments)
    chosen = backbone_of(arguments)
    folders = find_fits(settings.runs.path, arguments.method, arguments.fit)
    rows = [fit_row(folder, chosen) for folder in folders]
    methods = {"vanilla CLIP": build_row(method_row(MethodChoice("vanilla_clip"), rows[0].backbone), settings).eval()}
    for folder, row in zip(folders, rows, strict=True):
        title = row.spec.card.title if row.spec.card.title not in methods else f"{row.spec.card.title} ({folder.name})"
        methods[title] = restore(folder, row, settings).eval()
    views, size = Views(frames=arguments.frames), methods["vanilla CLIP"].backbone.image_size
    loader = eval_loader([(Path(arguments.video), 0)], views, size, [[0]], Runtime(workers=1), seed=0)
    clips = next(iter(loader))
    if clips.frames is None:
        raise UserError(f"{arguments.video} cannot be decoded: {clips.failed[0]}.")
    with torch.no_grad():
        maps = compare_attention(methods, normalise(clips.frames, views, torch.device("cpu")), clips.frames[0].numpy())
    for text in arguments.out or ["attention.png", "attention.mp4"]:
        say(f"attention: {render(maps, Path(text))}")
    return EXIT_DONE
