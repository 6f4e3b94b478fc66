"""Attention maps of a clip under vanilla CLIP and finished fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from harness.base.errors import EXIT_FAILED, UserError
from harness.cells.request import MethodChoice
from harness.cells.resolve_method import method_row
from harness.engine.attention import AttentionMaps, compare_attention
from harness.engine.video.frames import normalise
from harness.engine.video.loaders import decode_hint, eval_loader
from harness.engine.video.mm_frame_times import frame_times
from harness.machine.compute_options import ComputeOptions
from harness.machine.settings import Settings
from harness.running.build import build_row
from harness.running.load_fit import FittedMethod
from harness.running.predict import Model, predict
from harness.spec import Views


def attention_of_fits(
    video: Path, fits: Sequence[FittedMethod], settings: Settings, frames: int | None = None
) -> AttentionMaps:
    """Attention of the class token in the last vision block, for vanilla CLIP on the first fit's backbone and each fit.

    Args:
        video: Video file.
        fits: Loaded fits; at least one.
        settings: Folders of this machine.
        frames: Number of frames; None for the frames of the fits.

    Raises:
        UserError: The fits read videos in different ways or have different backbones, or the file cannot be decoded.
    """
    views = _common_views(fits, frames)
    if len(backbones := list(dict.fromkeys(fit.content.described.model.arch for fit in fits))) > 1:
        raise UserError(
            f"The fits have the backbones {' and '.join(backbones)}, expected one: attention is compared by patch.",
            "Name fits of one backbone.",
        )
    vanilla = build_row(method_row(MethodChoice("vanilla_clip"), fits[0].row.backbone), settings).eval()
    size, compute = vanilla.backbone.image_size, ComputeOptions(device="cpu", workers=1, quiet=True)
    loader = eval_loader([(video, 0)], views, size, [[0]], compute, seed=0)
    clips = next(iter(loader))
    if clips.frames is None:
        raise UserError(f"{video} cannot be decoded: {clips.failed[0].reason}.", decode_hint(views.reader), EXIT_FAILED)
    cpu = torch.device("cpu")
    methods = {"vanilla CLIP": (vanilla, normalise(clips.frames, views, cpu))}
    models = {"vanilla CLIP": Model(vanilla, fits[0].labels, views)}
    for fit in fits:
        title = fit.title if fit.title not in methods else f"{fit.title} ({fit.folder.name})"
        # All methods see the same decoded frames, each with the input statistics of its training.
        fit_views = replace(views, normalize=fit.views.normalize, input=fit.views.input)
        methods[title] = fit.method.eval(), normalise(clips.frames, fit_views, cpu)
        models[title] = Model(fit.method, fit.labels, fit_views)
    with torch.no_grad():
        maps = compare_attention(methods, clips.frames[0].numpy())
    predictions = {title: _predicted(video, model, compute) for title, model in models.items()}
    return replace(maps, times=frame_times(video, views, size, compute), predictions=predictions)


def _predicted(video: Path, model: Model, compute: ComputeOptions) -> str:
    """The most probable class among those of the training list, with its probability; empty if there is none."""
    (prediction,) = predict([video], model, compute, top_k=1)
    return ", ".join(f"{name} ({100 * probability:.0f} %)" for name, probability in prediction.classes)


def _common_views(fits: Sequence[FittedMethod], frames: int | None) -> Views:
    """The views of the fits, whose frames are drawn in one picture; input statistics may differ.

    Raises:
        UserError: The fits read videos in different ways.
    """
    views = [replace(fit.views, frames=frames or fit.views.frames) for fit in fits]
    different = [view for view in views if _frames(view) != _frames(views[0])]
    if different:
        raise UserError(
            f"The fits have the views {views[0]} and {different[0]}, which read other frames.",
            "Name fits with equal views, or one fit at a time.",
        )
    return views[0]


def _frames(views: Views) -> Views:
    """Views without their input statistics, which do not decide the decoded frames."""
    return replace(views, normalize="raw", input=replace(views.input, mean=(), std=()))
