"""Fits in closed form: a method computes its parameters from the video features of the whole training list.

Such a fit has no checkpoints. An interrupted fit reads the features that are in the cache already, computes the
remaining features, and ends with the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from harness.base.errors import UserError
from harness.engine.compute.device import Device
from harness.engine.compute.device_batch import device_batch
from harness.engine.features.cache import pools_from_features
from harness.engine.features.cached_loaders import FeatureBatch, encode_clips, feature_batches, list_features
from harness.engine.features.context import Context
from harness.engine.job import FitJob
from harness.engine.method import ClipMethod
from harness.engine.video import mm_pipeline
from harness.engine.video.batches import Draw
from harness.engine.video.decode import Undecodable
from harness.engine.video.loaders import TrainingClips, drawn_loader, in_batches
from harness.spec import Recipe

REQUIRED = {
    "epochs": 1, "augmentation": "none", "mixup": 0, "cutmix": 0, "smoothing": 0, "views_cached": 0, "average": "none",
    "initial_share": 0,
}  # fmt: skip
"""Values of the recipe without which a closed form would ignore a setting."""


def solve(job: FitJob, context: Context, progress: Callable[[int, int, None], None] | None = None) -> list[int]:
    """Let a method compute its parameters from all videos of a training list.

    The recipe must set no augmentation, blending or smoothing. Each clip is seen once, in its evaluation view.

    Args:
        job: Method on its device, training list, recipe and views; `fit_features` of the method is called once.
        context: The processes share the features if there is a cache. The leading process calls the method.
        progress: Called with (clips done, clips in total, None) on the leading process.

    Returns:
        Rows of undecodable clips; each was replaced by the next clip of its class.

    Raises:
        UserError: The recipe or the method does not allow a closed form, or a class has no decodable clip.
    """
    processes = context.processes
    with processes.together():
        _check(job.method, job.recipe)
    job.method.eval()  # features must equal those of an eval, so no dropout

    def step(done: int) -> None:
        if progress and processes.is_leader:
            progress(done, len(job.rows), None)

    per_batch = device_batch("fit", context.device, context.compute)
    cached = None
    if context.cache is not None:
        cached = list_features(job, context, context.cache, per_batch)
        if not cached.complete_if_room([Draw(index) for index in range(len(job.rows))], step):
            cached = None
    replaced: list[int] = []
    # The closed form itself is cheap next to the features, so that one process computes it.
    with processes.together():
        if processes.is_leader:
            batches = in_batches(len(job.rows), per_batch)
            features = _decoded(job, context, batches, step) if cached is None else feature_batches(cached, batches)
            replaced = _solve(job, context.device, features)
    return list(processes.share(replaced))


def _solve(job: FitJob, device: Device, batches: Iterable[FeatureBatch]) -> list[int]:
    """Pool the frame features of all rows and call the method; returns the rows that could not be decoded."""
    pooled: dict[int, Tensor] = {}
    failed: dict[int, Undecodable] = {}
    mixed = device.dtype != torch.float32
    with torch.no_grad(), torch.autocast(device.kind, dtype=device.dtype, enabled=mixed):
        for batch in batches:
            if batch.features is not None:
                # Pooled features of a whole list fit into host memory, frame features may not.
                videos = job.method.pool(batch.features.to(device.device)).float().cpu()
                pooled.update(zip((draw.index for draw in batch.draws), videos, strict=True))
            failed.update({draw.index: clip for draw, clip in batch.failed.items()})
    # Replaced and not dropped, so that each class keeps its number of clips.
    clips = TrainingClips(job.rows, job.label_set, job.views.reader)
    chosen = [_decodable(clips, index, failed) for index in range(len(job.rows))]
    labels = torch.tensor([label for _, label in job.rows], device=device.device)
    with torch.no_grad():  # without autocast: a method solves linear equations, which need fp32
        job.method.fit_features(torch.stack([pooled[i] for i in chosen]).to(device.device), labels, job.label_set)
    return sorted(failed)


def _check(method: ClipMethod, recipe: Recipe) -> None:
    wrong = [f"{name}={getattr(recipe, name)}" for name, value in REQUIRED.items() if getattr(recipe, name) != value]
    if wrong:
        raise UserError(
            f"{method.name} is fitted in closed form, on each clip once as it is; the recipe has {', '.join(wrong)}.",
            "Its recipe needs " + ", ".join(f"{name}={value}" for name, value in REQUIRED.items()) + ".",
        )
    if not pools_from_features(method):
        raise UserError(
            f"{method.name} is fitted in closed form, but its vision tower learns or is changed.",
            "Freeze CLIP in setup() and leave encode_frames and encode_video as they are.",
        )


def _decoded(
    job: FitJob, context: Context, batches: list[list[int]], step: Callable[[int], None]
) -> Iterator[FeatureBatch]:
    """The frame features of all rows in list order, each batch computed when it is requested."""
    size = job.method.backbone.image_size
    # Without augmentation this is the pipeline of an eval; `REQUIRED` allows nothing else.
    pipeline = mm_pipeline.fit_pipeline(job.views, size, job.recipe)
    dataset = mm_pipeline.ListVideoDataset(job.rows, pipeline, job.recipe.seed)
    draws = [[Draw(index) for index in batch] for batch in batches]
    for batch in drawn_loader(dataset, draws, context.compute, context.pins_memory):
        features = None if batch.frames is None else encode_clips(job.method, batch.frames, job.views, context.device)
        yield FeatureBatch(batch.draws, features, batch.failed)
        step(max(draw.index for draw in (*batch.draws, *batch.failed)) + 1)


def _decodable(clips: TrainingClips, index: int, failed: dict[int, Undecodable]) -> int:
    """The row itself, or the next row of its class that could be decoded."""
    if index not in failed:
        return index
    attempt = 1
    while (other := clips.draw(Draw(index), attempt)) is not None and other.index in failed:
        attempt += 1
    if other is None:
        raise clips.none_decodes(Draw(index), failed[index])
    clips.warn(Draw(index), other, failed[index])
    return other.index
