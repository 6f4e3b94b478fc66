"""Fits in closed form: the video features of a whole training list, handed to a method at once.

Nothing needs to be resumed but the features, which the cache keeps video by video: a fit that was interrupted reads
them and ends with the same weights.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from harness.base.errors import UserError
from harness.engine.compute.device import Device
from harness.engine.compute.processes import SINGLE_PROCESS, Processes
from harness.engine.features.cache import FeatureCache, pools_from_features
from harness.engine.features.cached_loaders import ListFeatures, encode_clips, list_features
from harness.engine.method import ClipMethod
from harness.engine.video import mm_pipeline
from harness.engine.video.batches import Draw
from harness.engine.video.loaders import Row, drawn_loader, in_batches, no_clip_of_class, same_class
from harness.machine.compute_options import ComputeOptions
from harness.spec import LabelSet, Recipe, Views

logger = logging.getLogger(__name__)
Batch = tuple[list[Draw], Tensor | None, dict[Draw, str]]
"""Draws that decoded, their frame features (B, T, D) on the CPU, and the reasons of those that did not."""


def solve(
    method: ClipMethod, rows: list[Row], label_set: LabelSet, recipe: Recipe, views: Views, device: Device,
    compute: ComputeOptions, cache: FeatureCache | None = None,
    progress: Callable[[int, int, None], None] | None = None,
    processes: Processes = SINGLE_PROCESS,
) -> list[int]:  # fmt: skip
    """Let a method set what learns from all videos of a list.

    Args:
        method: On its device; its `fit_features` is called once.
        rows: (path or None, label) of the training list.
        label_set: Classes of the training list.
        recipe: Must ask for no augmentation, blending or smoothing.
        views: Frames and normalisation; the one evaluation view of each clip.
        device: Where to compute.
        compute: Device batch, workers, time limit.
        cache: Where frame features are kept and found.
        progress: Called with (clips done, clips in all, None).
        processes: The processes that share the features out, where there is a cache; the leading one solves.

    Returns:
        Rows of clips that could not be decoded; the next of the class took their place.

    Raises:
        UserError: The recipe or the method is none for a closed form, or a class has no decodable clip.
    """
    with processes.together():
        _check(method, recipe)
    method.eval()

    def step(done: int) -> None:
        if progress and processes.is_leader:
            progress(done, len(rows), None)

    per_batch = compute.fit_clips or (16 if device.kind == "cpu" else 32)
    listed = None
    if cache is not None:
        listed = list_features(cache, method, rows, recipe, views, device, compute, per_batch, processes)
        listed.complete([Draw(index) for index in range(len(rows))], step)
    replaced: list[int] = []
    with processes.together():
        if processes.is_leader:
            batches = in_batches(len(rows), per_batch)
            features = (
                _decoded(method, rows, recipe, views, device, compute, batches, step)
                if listed is None
                else _kept(listed, batches)
            )
            replaced = _solve(method, rows, label_set, device, features)
    return list(processes.share(replaced))


def _solve(
    method: ClipMethod, rows: list[Row], label_set: LabelSet, device: Device, batches: Iterable[Batch]
) -> list[int]:
    """Pool the frame features of all rows and hand them to the method; which rows did not decode."""
    found: dict[int, Tensor] = {}
    failed: dict[int, str] = {}
    mixed = device.dtype != torch.float32
    with torch.no_grad(), torch.autocast(device.kind, dtype=device.dtype, enabled=mixed):
        for draws, frames, reasons in batches:
            if frames is not None:
                pooled = method.pool(frames.to(device.device)).float().cpu()
                found.update(zip((draw.index for draw in draws), pooled, strict=True))
            failed.update({draw.index: reason for draw, reason in reasons.items()})
    chosen = [_decodable(rows, index, failed) for index in range(len(rows))]
    labels = torch.tensor([label for _, label in rows], device=device.device)
    with torch.no_grad():
        method.fit_features(torch.stack([found[i] for i in chosen]).to(device.device), labels, label_set)
    return sorted(failed)


def _check(method: ClipMethod, recipe: Recipe) -> None:
    wanted = {"epochs": 1, "augmentation": "none", "mixup": 0, "cutmix": 0, "smoothing": 0, "views_cached": 0}
    wrong = [f"{name}={getattr(recipe, name)}" for name, value in wanted.items() if getattr(recipe, name) != value]
    if wrong:
        raise UserError(
            f"{method.name} is fitted in closed form, on each clip once as it is; the recipe has {', '.join(wrong)}.",
            "Its recipe needs " + ", ".join(f"{name}={value}" for name, value in wanted.items()) + ".",
        )
    if not pools_from_features(method):
        raise UserError(
            f"{method.name} is fitted in closed form, but its vision tower learns or is changed.",
            "Freeze CLIP in setup() and leave encode_frames and encode_video as they are.",
        )


def _decoded(
    method: ClipMethod, rows: list[Row], recipe: Recipe, views: Views, device: Device, compute: ComputeOptions,
    batches: list[list[int]], step: Callable[[int], None],
) -> Iterator[Batch]:  # fmt: skip
    """The frame features of all rows, in list order, computed as they come."""
    dataset = mm_pipeline.ListVideoDataset(
        rows, mm_pipeline.fit_pipeline(views, method.backbone.image_size, recipe), recipe.seed
    )
    draws = [[Draw(index) for index in batch] for batch in batches]
    for batch in drawn_loader(dataset, draws, compute, device.kind == "cuda"):
        frames = None if batch.frames is None else encode_clips(method, batch.frames, views, device)
        yield batch.draws, frames, batch.failed
        step(max(draw.index for draw in (*batch.draws, *batch.failed)) + 1)


def _kept(listed: ListFeatures, batches: list[list[int]]) -> Iterator[Batch]:
    """The same, of completed features."""
    for batch in batches:
        some = [Draw(index) for index in batch]
        good = [draw for draw in some if draw not in listed.failed]
        frames = torch.stack([listed.get(draw) for draw in good]) if good else None
        yield good, frames, {draw: listed.failed[draw] for draw in some if draw in listed.failed}


def _decodable(rows: list[Row], index: int, failed: dict[int, str]) -> int:
    """The row itself, or the next of its class that decodes."""
    substitute: Any = same_class(rows) if index in failed else None
    other, attempt = Draw(index), 0
    while other is not None and other.index in failed:
        attempt += 1
        other = substitute(Draw(index), attempt)
    if other is None:
        raise no_clip_of_class(rows, Draw(index), failed[index])
    if attempt:
        logger.warning("clip %d is replaced by clip %d: %s", index, other.index, failed[index])
    return other.index
