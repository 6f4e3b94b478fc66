"""Loaders of video lists: batches of decoded clips as uint8 tensors, for fits, evals and arbitrary draws."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from harness.base.errors import EXIT_FAILED, UserError
from harness.engine.video import mm_pipeline
from harness.engine.video.batches import Draw, FitBatches
from harness.engine.video.clip_memory import KeptClips
from harness.engine.video.decode import ClipDataset, Undecodable, default_workers
from harness.engine.video.guarded_loader import GuardedLoader
from harness.engine.video.mm_pipeline import Step
from harness.engine.video.transforms import PackedClip
from harness.machine.compute_options import ComputeOptions
from harness.spec import LabelSet, Recipe, VideoList, Views

logger = logging.getLogger(__name__)
Row = tuple[Path | None, int]
"""Path of a video, None if it is missing, and its class id."""
BatchT = TypeVar("BatchT")


@dataclass(frozen=True)
class FitBatch:
    """A device batch of a fit, with frames or with cached features.

    Args:
        frames: (B, T, 3, H, W) uint8, or float32 of the same range; None if the batch has features.
        labels: (B,) class ids.
        draws: The draws of the clips, which seed the blending.
        features: (B, T, D) frame features of a frozen vision tower.
    """

    frames: Tensor | None
    labels: Tensor
    draws: list[Draw]
    features: Tensor | None = None


@dataclass(frozen=True)
class EvalBatch:
    """A device batch of an eval: the decoded clips, and the clips that could not be decoded.

    Args:
        rows: Rows of the decoded clips.
        frames: (len(rows), V*T, 3, H, W) uint8; None if no clip was decoded or the batch has features.
        failed: Undecodable clips by row.
        features: (len(rows), V*T, D) frame features of a frozen vision tower.
    """

    rows: list[int]
    frames: Tensor | None
    failed: dict[int, Undecodable]
    features: Tensor | None = None


@dataclass(frozen=True)
class DrawnBatch:
    """A device batch of arbitrary draws.

    Args:
        draws: Draws of the decoded clips.
        frames: (len(draws), V*T, 3, H, W) uint8; None if no clip was decoded.
        failed: Undecodable clips by draw.
    """

    draws: list[Draw]
    frames: Tensor | None
    failed: dict[Draw, Undecodable]


class RepeatedViews(mm_pipeline.ListVideoDataset):
    """Training clips with V augmented views each: epoch e reads view e modulo V.

    The augmentation is drawn from (seed, view, row), not from the position in the order of the epoch.
    """

    def __init__(self, rows: list[Row], pipeline: list[Step], seed: int, views: int) -> None:
        super().__init__(rows, pipeline, seed)
        self.views = views

    def __getitem__(self, draw: Draw) -> PackedClip:
        return super().__getitem__(repeated_view(draw, self.views))


def repeated_view(draw: Draw, views: int) -> Draw:
    """Return the draw of the view that a clip has in an epoch."""
    return Draw(draw.index, draw.epoch % views, draw.index)


def locate_rows(video_list: VideoList, locate: Callable[[str], Path | None]) -> list[Row]:
    """Return the rows of a list with the paths of their videos on this machine."""
    return [(locate(path), label) for path, label in video_list.rows]


def fit_loader(
    clips: TrainingClips,
    recipe: Recipe,
    views: Views,
    size: int,
    batches: FitBatches,
    compute: ComputeOptions,
    pin: bool = False,
) -> GuardedLoader[PackedClip, FitBatch]:
    """Return the loader of a fit. An undecodable clip is replaced by the next clip of its class in list order.

    Args:
        clips: The training list.
        recipe: Recipe of the fit.
        views: The views, of which frames, statistics and reader are used.
        size: Side of the square input in pixels.
        batches: Draws of each batch.
        compute: Number of workers and time limit.
        pin: Put batches into pinned memory, for a GPU.
    """
    pipeline, rows = mm_pipeline.fit_pipeline(views, size, recipe), clips.rows
    if recipe.views_cached:
        dataset: mm_pipeline.ListVideoDataset = RepeatedViews(rows, pipeline, recipe.seed, recipe.views_cached)
    else:
        dataset = mm_pipeline.ListVideoDataset(rows, pipeline, recipe.seed)

    def collate(draws: list[Draw], decoded: list[PackedClip | Undecodable]) -> FitBatch:
        frames = []
        for draw, clip in zip(draws, decoded, strict=True):
            if isinstance(clip, Undecodable):
                raise clips.none_decodes(draw, clip)
            frames.append(clip)
        labels = torch.tensor([rows[draw.index][1] for draw in draws])
        return FitBatch(_stack(frames, pin), labels, draws)

    # Workers are kept between epochs: a new dataset is pickled for the first of them, which takes long for K-400.
    return GuardedLoader(
        dataset, batches, collate, workers_of(compute, pin), compute.decode_seconds, clips, keep_workers=True
    )


class TrainingClips:
    """The rows of a training list; an undecodable clip is replaced by the next clip of its class in list order.

    Args:
        rows: The training list.
        label_set: Its classes, for messages.
        reader: The reader of the views, for messages.
    """

    def __init__(self, rows: list[Row], label_set: LabelSet, reader: str = "decord") -> None:
        self.rows, self.label_set, self.reader = rows, label_set, reader
        self._by_class: dict[int, list[int]] = {}
        for index, (_, label) in enumerate(rows):
            self._by_class.setdefault(label, []).append(index)

    def draw(self, draw: Draw, attempt: int, /) -> Draw | None:
        """Return the draw that replaces a draw after a number of failed attempts; None if no clip of its class is left.

        The order of the list decides, so that workers and their speed have no influence on the replacement.
        """
        same = self._by_class[self.rows[draw.index][1]]
        if attempt >= len(same):
            return None
        other = same[(same.index(draw.index) + attempt) % len(same)]
        return Draw(other, draw.epoch, draw.position, draw.group)

    def _name(self, draw: Draw) -> str:
        path, label = self.rows[draw.index]
        return f"{path} (class {self.label_set.names[label]!r})"

    def warn(self, draw: Draw, other: Draw, clip: Undecodable, /) -> None:
        """Log that a clip is replaced."""
        logger.warning("training clip %s is replaced by %s: %s", self._name(draw), self._name(other), clip.reason)

    def none_decodes(self, draw: Draw, clip: Undecodable) -> UserError:
        """Return the error of a fit if no clip of the class of a draw can be decoded."""
        path, label = self.rows[draw.index]
        return UserError(
            f"No training clip of class {self.label_set.names[label]!r} can be decoded; {path}: {clip.reason}.",
            decode_hint(self.reader),
            EXIT_FAILED,
        )


def decode_hint(reader: str) -> str:
    """Return how to find the cause if clips do not decode with a reader, and the reader that may decode them."""
    check = "python -m harness check data DATASET --decode names the cause for every clip"
    return f"{check}; --views reader=exact may read them, as another row." if reader == "decord" else f"{check}."


def eval_loader(
    rows: list[Row],
    views: Views,
    size: int,
    batches: list[list[int]],
    compute: ComputeOptions,
    seed: int,
    pin: bool = False,
) -> GuardedLoader[PackedClip, EvalBatch]:
    """Return the loader of an eval.

    Args:
        rows: The evaluation list.
        views: The views.
        size: Side of the square input in pixels.
        batches: Rows of each batch.
        compute: Number of workers and time limit.
        seed: Seed of views that are drawn at random.
        pin: Put batches into pinned memory, for a GPU.
    """
    dataset = mm_pipeline.ListVideoDataset(rows, mm_pipeline.eval_pipeline(views, size), seed)
    return scored_loader(dataset, batches, compute, pin)


def scored_loader(
    dataset: ClipDataset[PackedClip],
    batches: list[list[int]],
    compute: ComputeOptions,
    pin: bool = False,
    kept: KeptClips | None = None,
) -> GuardedLoader[PackedClip, EvalBatch]:
    """Return a loader of the clips of a dataset in batches of row numbers.

    Args:
        dataset: Clips by draw.
        batches: Rows of each batch.
        compute: Number of workers and time limit.
        pin: Put batches into pinned memory, for a GPU.
        kept: Clips of earlier evals in memory; None to decode all.
    """

    def pack(drawn: DrawnBatch) -> EvalBatch:
        failed = {draw.index: clip for draw, clip in drawn.failed.items()}
        return EvalBatch([draw.index for draw in drawn.draws], drawn.frames, failed)

    return _loader(dataset, [[Draw(index) for index in batch] for batch in batches], compute, pin, pack, kept)


def in_batches(videos: int, per_batch: int) -> list[list[int]]:
    """Return the rows of a list of videos, batch by batch."""
    return [list(range(first, min(first + per_batch, videos))) for first in range(0, videos, per_batch)]


def drawn_loader(
    dataset: ClipDataset[PackedClip], batches: list[list[Draw]], compute: ComputeOptions, pin: bool = False
) -> GuardedLoader[PackedClip, DrawnBatch]:
    """Return a loader of arbitrary draws of a dataset."""
    return _loader(dataset, batches, compute, pin, lambda drawn: drawn)


def _loader(
    dataset: ClipDataset[PackedClip],
    batches: list[list[Draw]],
    compute: ComputeOptions,
    pin: bool,
    pack: Callable[[DrawnBatch], BatchT],
    kept: KeptClips | None = None,
) -> GuardedLoader[PackedClip, BatchT]:
    def collate(draws: list[Draw], clips: list[PackedClip | Undecodable]) -> BatchT:
        decoded = [(d, c) for d, c in zip(draws, clips, strict=True) if not isinstance(c, Undecodable)]
        failed = {d: c for d, c in zip(draws, clips, strict=True) if isinstance(c, Undecodable)}
        frames = _stack([c for _, c in decoded], pin) if decoded else None
        return pack(DrawnBatch([d for d, _ in decoded], frames, failed))

    loader = GuardedLoader(dataset, batches, collate, workers_of(compute, pin), compute.decode_seconds)
    return loader.with_kept(kept)


def _stack(clips: list[PackedClip], pin: bool) -> Tensor:
    """Return the frames of clips of one shape as a tensor, in pinned memory if a GPU copies it while it computes."""
    frames = [clip["frames"] for clip in clips]
    # `np.stack` writes into the pinned memory directly; `torch.stack` and `pin_memory()` would copy twice.
    dtype = torch.from_numpy(frames[0]).dtype
    stacked = torch.empty((len(frames), *frames[0].shape), dtype=dtype, pin_memory=pin)
    np.stack(frames, out=stacked.numpy())
    return stacked


def workers_of(compute: ComputeOptions, gpu: bool = False) -> int:
    """Return the requested number of decode processes, else the default."""
    return default_workers(gpu) if compute.workers is None else compute.workers
