"""Lists of videos as batches of clips: rows to loaders, clips to uint8 tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.base.errors import UserError
from harness.engine.video import mm_pipeline
from harness.engine.video.batches import Draw, FitBatches
from harness.engine.video.guarded_loader import GuardedLoader, Undecodable, default_workers
from harness.machine.compute_options import ComputeOptions
from harness.spec import Recipe, VideoList, Views

Row = tuple[Path | None, int]


@dataclass(frozen=True)
class FitBatch:
    """A device batch of a fit.

    Args:
        frames: (B, T, 3, H, W) uint8; None where features take their place.
        labels: (B,) ids.
        draws: What was drawn, for seeding the blending.
        features: (B, T, D) of a frozen vision tower.
    """

    frames: Tensor | None
    labels: Tensor
    draws: list[Draw]
    features: Tensor | None = None


@dataclass(frozen=True)
class EvalBatch:
    """A device batch of an eval: the clips that decoded, and the reasons of those that did not.

    Args:
        rows: Row numbers of the decoded clips.
        frames: (len(rows), V*T, 3, H, W) uint8, or None if none decoded or features take their place.
        failed: Row number -> reason.
        features: (len(rows), V*T, D) of a frozen vision tower.
    """

    rows: list[int]
    frames: Tensor | None
    failed: dict[int, str]
    features: Tensor | None = None


@dataclass(frozen=True)
class DrawnBatch:
    """Clips of any draws: those that decoded, with frames (B, V*T, 3, H, W) uint8, and the reasons of the others."""

    draws: list[Draw]
    frames: Tensor | None
    failed: dict[Draw, str]


class RepeatedViews(mm_pipeline.ListVideoDataset):
    """Training clips with a fixed number of augmented views: epoch e sees view e modulo that number.

    A view is drawn by (seed, view, row), whatever the place in the epoch's order.
    """

    def __init__(self, rows: list[Row], pipeline: list[dict[str, Any]], seed: int, views: int) -> None:
        super().__init__(rows, pipeline, seed)
        self.views = views

    def __getitem__(self, draw: Draw) -> Any:
        return super().__getitem__(repeated_view(draw, self.views))


def repeated_view(draw: Draw, views: int) -> Draw:
    """The draw of the view that a clip has in an epoch."""
    return Draw(draw.index, draw.epoch % views, draw.index)


def locate_rows(video_list: VideoList, locate: Callable[[str], Path | None]) -> list[Row]:
    """The rows of a list with their places on this machine, None where a video is missing."""
    return [(locate(path), label) for path, label in video_list.rows]


def fit_loader(
    rows: list[Row],
    recipe: Recipe,
    views: Views,
    size: int,
    batches: FitBatches,
    compute: ComputeOptions,
    pin: bool = False,
) -> GuardedLoader:
    """Batches of `FitBatch` for one fit. An undecodable clip is replaced by the next of its class in list order."""
    pipeline = mm_pipeline.fit_pipeline(views, size, recipe)
    if recipe.views_cached:
        dataset: Any = RepeatedViews(rows, pipeline, recipe.seed, recipe.views_cached)
    else:
        dataset = mm_pipeline.ListVideoDataset(rows, pipeline, recipe.seed)

    def collate(draws: list[Draw], clips: list[Any]) -> FitBatch:
        for draw, clip in zip(draws, clips, strict=True):
            if isinstance(clip, Undecodable):
                raise no_clip_of_class(rows, draw, clip.reason)
        labels = torch.tensor([rows[draw.index][1] for draw in draws])
        return FitBatch(_stack([clip["frames"] for clip in clips], pin), labels, draws)

    substitute = same_class(rows)
    return GuardedLoader(
        dataset, batches, collate, workers_of(compute, pin), compute.decode_seconds, substitute, keep_workers=True
    )


def same_class(rows: list[Row]) -> Callable[[Draw, int], Draw | None]:
    """The function from (draw, attempt) to the draw that takes the place of an undecodable one: next of its class."""
    by_class: dict[int, list[int]] = {}
    for index, (_, label) in enumerate(rows):
        by_class.setdefault(label, []).append(index)

    def substitute(draw: Draw, attempt: int) -> Draw | None:
        same = by_class[rows[draw.index][1]]
        if attempt >= len(same):
            return None
        other = same[(same.index(draw.index) + attempt) % len(same)]
        return Draw(other, draw.epoch, draw.position, draw.group)

    return substitute


def no_clip_of_class(rows: list[Row], draw: Draw, reason: str) -> UserError:
    """The error of a fit for one of whose classes nothing decodes."""
    return UserError(
        f"No training clip of class {rows[draw.index][1]} can be decoded; {rows[draw.index][0]}: {reason}.",
        "See: python -m harness check data DATASET --decode",
    )


def eval_loader(
    rows: list[Row],
    views: Views,
    size: int,
    batches: list[list[int]],
    compute: ComputeOptions,
    seed: int,
    pin: bool = False,
) -> GuardedLoader:
    """Batches of `EvalBatch`; `batches` holds the row numbers of each."""
    dataset = mm_pipeline.ListVideoDataset(rows, mm_pipeline.eval_pipeline(views, size), seed)

    def pack(drawn: DrawnBatch) -> EvalBatch:
        failed = {draw.index: reason for draw, reason in drawn.failed.items()}
        return EvalBatch([draw.index for draw in drawn.draws], drawn.frames, failed)

    return _loader(dataset, [[Draw(index) for index in batch] for batch in batches], compute, pin, pack)


def in_batches(videos: int, per_batch: int) -> list[list[int]]:
    """The row numbers of a list, batch by batch."""
    return [list(range(first, min(first + per_batch, videos))) for first in range(0, videos, per_batch)]


def drawn_loader(dataset: Any, batches: list[list[Draw]], compute: ComputeOptions, pin: bool = False) -> GuardedLoader:
    """Batches of `DrawnBatch` of a dataset."""
    return _loader(dataset, batches, compute, pin, lambda drawn: drawn)


def _loader(
    dataset: Any, batches: list[list[Draw]], compute: ComputeOptions, pin: bool, pack: Callable[[DrawnBatch], Any]
) -> GuardedLoader:
    def collate(draws: list[Draw], clips: list[Any]) -> Any:
        good = [(d, c) for d, c in zip(draws, clips, strict=True) if not isinstance(c, Undecodable)]
        failed = {d: c.reason for d, c in zip(draws, clips, strict=True) if isinstance(c, Undecodable)}
        frames = _stack([c["frames"] for _, c in good], pin) if good else None
        return pack(DrawnBatch([d for d, _ in good], frames, failed))

    return GuardedLoader(dataset, batches, collate, workers_of(compute, pin), compute.decode_seconds)


def _stack(clips: list[Any], pin: bool) -> Tensor:
    """Clips of one shape as one tensor, in pinned memory where a GPU will copy it while it computes."""
    stacked = torch.empty((len(clips), *clips[0].shape), dtype=torch.uint8, pin_memory=pin)
    np.stack(clips, out=stacked.numpy())
    return stacked


def workers_of(compute: ComputeOptions, gpu: bool = False) -> int:
    """Decode processes: as asked for, else one per core, up to what a CPU or a GPU can take in."""
    return default_workers(gpu) if compute.workers is None else compute.workers
