"""`attention`: where the class token looks in each frame, untrained and fitted side by side."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.base.errors import EXIT_DONE, UserError
from harness.commands._arguments import (
    add_fit_backbone,
    add_places,
    backbone_of,
    fit_of,
    load_plugins,
    say,
    settings_of,
    verb_parser,
)

if TYPE_CHECKING:
    from harness.running.load_fit import FinishedFit
    from harness.spec import Views


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
    parser.add_argument("--frames", type=int, help="frames (those of the fit)")
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE", help="load a plugin file first")
    add_places(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the pictures."""
    load_plugins(arguments)
    import torch

    from harness.cells.request import MethodChoice
    from harness.cells.resolve_method import method_row
    from harness.engine.attention import compare_attention, render
    from harness.engine.video.frames import normalise
    from harness.engine.video.loaders import eval_loader
    from harness.machine.compute_options import ComputeOptions
    from harness.running.build import build_row
    from harness.running.load_fit import find_fits, restore

    settings = settings_of(arguments)
    backbone_of(arguments)  # flags that contradict each other are named before a fit that is not there
    fits = [fit_of(arguments, folder) for folder in find_fits(settings.runs.path, arguments.method, arguments.fit)]
    views = _common_views(fits, arguments.frames)
    vanilla = build_row(method_row(MethodChoice("vanilla_clip"), fits[0].row.backbone), settings).eval()
    size, rows = vanilla.backbone.image_size, [(Path(arguments.video), 0)]
    loader = eval_loader(rows, views, size, [[0]], ComputeOptions(workers=1), seed=0)
    clips = next(iter(loader))
    if clips.frames is None:
        raise UserError(f"{arguments.video} cannot be decoded: {clips.failed[0]}.")
    methods = {"vanilla CLIP": (vanilla, normalise(clips.frames, views, torch.device("cpu")))}
    for fit in fits:
        title = fit.row.card.title if fit.row.card.title not in methods else f"{fit.row.card.title} ({fit.folder.name})"
        own = replace(views, normalize=fit.views.normalize)
        video = normalise(clips.frames, own, torch.device("cpu"))
        methods[title] = restore(fit.folder, fit.row, settings).eval(), video
    with torch.no_grad():
        maps = compare_attention(methods, clips.frames[0].numpy())
    for text in arguments.out or ["attention.png", "attention.mp4"]:
        say(f"attention: {render(maps, Path(text))}")
    return EXIT_DONE


def _common_views(fits: list[FinishedFit], frames: int | None) -> Views:
    """The views of the fits, whose frames stand side by side; statistics may differ.

    Raises:
        UserError: The fits read videos in different ways.
    """
    views = [replace(fit.views, frames=frames or fit.views.frames) for fit in fits]
    others = [view for view in views if replace(view, normalize=views[0].normalize) != views[0]]
    if others:
        raise UserError(
            f"The fits have the views {views[0]} and {others[0]}, whose frames cannot stand side by side.",
            "Name fits of equal views, or one fit at a time.",
        )
    return views[0]
