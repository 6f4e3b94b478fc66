"""Lists of videos as batches of clips: rows to loaders, uint8 frames to normalised tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.engine import mm
from harness.engine.batches import Draw, FitBatches
from harness.engine.loader import GuardedLoader, Undecodable, default_workers
from harness.engine.step import normalise as normalise
from harness.errors import UserError
from harness.runtime import Runtime
from harness.spec import Recipe, VideoList, Views

Row = tuple[Path | None, int]


@dataclass(frozen=True)
class FitClips:
    """A device batch of a fit.

    Args:
        frames: (B, T, 3, H, W) uint8.
        labels: (B,) ids.
        draws: What was drawn, for seeding the blending.
    """

    frames: Tensor
    labels: Tensor
    draws: list[Draw]


@dataclass(frozen=True)
class EvalClips:
    """A device batch of an eval: the clips that decoded, and the reasons of those that did not.

    Args:
        rows: Row numbers of the decoded clips.
        frames: (len(rows), V*T, 3, H, W) uint8, or None if none decoded.
        failed: Row number -> reason.
    """

    rows: list[int]
    frames: Tensor | None
    failed: dict[int, str]


def locate_rows(video_list: VideoList, locate: Callable[[str], Path | None]) -> list[Row]:
    """The rows of a list with their places on this machine, None where a video is missing."""
    return [(locate(path), label) for path, label in video_list.rows]


def fit_loader(
    rows: list[Row], recipe: Recipe, views: Views, size: int, batches: FitBatches, runtime: Runtime
) -> GuardedLoader:
    """Batches of `FitClips` for one fit. An undecodable clip is replaced by the next of its class in list order."""
    dataset = mm.ListVideoDataset(rows, mm.fit_pipeline(views, size, recipe), recipe.seed)
    by_class: dict[int, list[int]] = {}
    for index, (_, label) in enumerate(rows):
        by_class.setdefault(label, []).append(index)

    def substitute(draw: Draw, attempt: int) -> Draw | None:
        same = by_class[rows[draw.index][1]]
        if attempt >= len(same):
            return None
        other = same[(same.index(draw.index) + attempt) % len(same)]
        return Draw(other, draw.epoch, draw.position, draw.group)

    def collate(draws: list[Draw], clips: list[Any]) -> FitClips:
        for draw, clip in zip(draws, clips, strict=True):
            if isinstance(clip, Undecodable):
                raise UserError(
                    f"No training clip of class {rows[draw.index][1]} can be decoded; "
                    f"{rows[draw.index][0]}: {clip.reason}.",
                    "See: python -m harness check data DATASET --decode",
                )
        frames = torch.from_numpy(np.stack([clip["frames"] for clip in clips]))
        labels = torch.tensor([rows[draw.index][1] for draw in draws])
        return FitClips(frames, labels, draws)

    return GuardedLoader(dataset, batches, collate, _workers(runtime), runtime.decode_seconds, substitute)


def eval_loader(
    rows: list[Row], views: Views, size: int, first: int, per_batch: int, runtime: Runtime, seed: int
) -> GuardedLoader:
    """Batches of `EvalClips` in list order, from row `first` on."""
    dataset = mm.ListVideoDataset(rows, mm.eval_pipeline(views, size), seed)
    draws = [Draw(index) for index in range(first, len(rows))]
    batches = [draws[i : i + per_batch] for i in range(0, len(draws), per_batch)]

    def collate(draws: list[Draw], clips: list[Any]) -> EvalClips:
        good = [(d.index, c) for d, c in zip(draws, clips, strict=True) if not isinstance(c, Undecodable)]
        failed = {d.index: c.reason for d, c in zip(draws, clips, strict=True) if isinstance(c, Undecodable)}
        frames = torch.from_numpy(np.stack([c["frames"] for _, c in good])) if good else None
        return EvalClips([i for i, _ in good], frames, failed)

    return GuardedLoader(dataset, batches, collate, _workers(runtime), runtime.decode_seconds)


def _workers(runtime: Runtime) -> int:
    return default_workers() if runtime.workers is None else runtime.workers
