"""What is computed on one device batch: the loss of a fit, the scores of an eval, and the optimiser of a method.

Nothing here reads videos, so that a benchmark can time exactly what a fit and an eval compute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from harness.base.errors import EXIT_FAILED, UserError
from harness.engine.compute.device import Device
from harness.engine.method import ClipMethod
from harness.engine.training.blending import apply_blend, draw_blend, smooth
from harness.engine.training.parallel import adamw
from harness.engine.video.transforms import NORMALIZATION
from harness.spec import LabelSet, Recipe, Views

if TYPE_CHECKING:
    from harness.engine.video.batches import Draw
    from harness.engine.video.loaders import FitClips


def normalise(frames: Tensor, views: Views, device: torch.device) -> Tensor:
    """Normalised fp32 frames on the device, from uint8 RGB (..., 3, H, W)."""
    mean, std = (torch.tensor(v, device=device).view(3, 1, 1) for v in NORMALIZATION[views.normalize])
    return (frames.to(device, non_blocking=True).float() - mean) / std


def batch_loss(
    method: ClipMethod, label_set: LabelSet, recipe: Recipe, views: Views, device: Device
) -> Callable[[FitClips], Tensor]:
    """The function from a device batch to its loss: normalise, smooth labels, blend group by group, score."""

    def loss(clips: FitClips) -> Tensor:
        seed_draws(recipe, clips.draws[0])
        targets = smooth(clips.labels.to(device.device), len(label_set), recipe.smoothing)
        if clips.features is not None:
            with frames_given(method):
                return method.loss(clips.features.to(device.device, non_blocking=True), targets, label_set)
        video = normalise(clips.frames, views, device.device)
        video, targets = blend_groups(video, targets, clips, recipe)
        if not method.couples_clips:
            return method.loss(video, targets, label_set)
        # A contrastive loss takes its negatives from the group it was published with, not from the device batch.
        losses = []
        size = recipe.micro_batch
        for draw, part, soft in zip(clips.draws[::size], video.split(size), targets.split(size), strict=True):
            seed_draws(recipe, draw)
            losses.append(method.loss(part, soft, label_set))
        return torch.stack(losses).mean()

    return loss


def seed_draws(recipe: Recipe, draw: Draw) -> None:
    """Seed torch for a method that draws in training, by seed, epoch and group.

    Interruptions and the number of processes then change nothing; the device batch does where a method draws clip by
    clip, as dropout does, unless its loss is taken group by group.
    """
    torch.manual_seed(((recipe.seed * 1_000_003 + draw.epoch) * 1_000_003 + draw.group) % (1 << 62))


@contextmanager
def frames_given(method: ClipMethod) -> Iterator[None]:
    """Within it the method takes frame features (B, T, D) where it takes a video."""
    method.encode_frames = lambda features: features  # type: ignore[method-assign]
    try:
        yield
    finally:
        del method.encode_frames


def blend_groups(video: Tensor, targets: Tensor, clips: FitClips, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Blend each group of `micro_batch` clips by its own draw; the device batch may hold several groups."""
    videos, soft = [], []
    size = recipe.micro_batch
    for start in range(0, len(video), size):
        draw = clips.draws[start]
        blend = draw_blend(recipe, draw.epoch, draw.group, size, video.shape[-2], video.shape[-1])
        part = video[start : start + size], targets[start : start + size]
        part = part if blend is None else apply_blend(*part, blend)
        videos.append(part[0])
        soft.append(part[1])
    return (videos[0], soft[0]) if len(videos) == 1 else (torch.cat(videos), torch.cat(soft))


def build_optimizer(method: ClipMethod, recipe: Recipe, shard: str = "none") -> torch.optim.Optimizer:
    """AdamW over the method's groups; each group remembers its peak rate for the schedule.

    Args:
        method: Whose parameters learn.
        recipe: Gives rates, betas and decay.
        shard: How it is shared out among the processes: `none`, `zero` or `fsdp`.

    Raises:
        UserError: Nothing learns, or a group holds a parameter that does not learn.
    """
    groups: list[dict[str, Any]] = [
        {**group, "params": list(group["params"])} for group in method.parameter_groups(recipe)
    ]
    if not any(group["params"] for group in groups):
        raise UserError(
            f"{method.name} has no parameter that learns, so it cannot be fitted.", "Set requires_grad in setup()."
        )
    frozen = sum(not p.requires_grad for group in groups for p in group["params"])
    if frozen:
        raise UserError(f"{method.name}: parameter_groups() lists {frozen} parameters that do not learn.")
    groups = [{**group, "peak_lr": group.get("lr", recipe.lr)} for group in groups if group["params"]]
    fused = all(p.is_cuda for group in groups for p in group["params"])
    return adamw(
        groups, shard, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps, weight_decay=recipe.weight_decay,
        fused=fused or None,
    )  # fmt: skip


def view_logits(
    method: ClipMethod, frames: Tensor, text: object, views: Views, device: Device, classes: int
) -> Tensor:
    """Logits (B, V, C) in fp32 of uint8 frames (B, V*T, 3, H, W).

    Raises:
        UserError: The method returns scores of a wrong shape or not finite.
    """
    video = split_views(normalise(frames, views, device.device), views)
    return check_logits(method, method.score(method.encode_video(video), text), len(video), views, classes)


def feature_logits(
    method: ClipMethod, features: Tensor, text: object, views: Views, device: Device, classes: int
) -> Tensor:
    """Logits (B, V, C) in fp32 of frame features (B, V*T, D).

    Raises:
        UserError: The method returns scores of a wrong shape or not finite.
    """
    frames = split_views(features.to(device.device, non_blocking=True), views)
    return check_logits(method, method.score(method.pool(frames), text), len(frames), views, classes)


def split_views(frames: Tensor, views: Views) -> Tensor:
    """(B, V*T, ...) -> (B*V, T, ...)."""
    return frames.unflatten(1, (views.count, views.frames)).flatten(0, 1)


def check_logits(method: ClipMethod, scores: Tensor, clips: int, views: Views, classes: int) -> Tensor:
    """Scores (B*V, C) of `clips` = B*V views as logits (B, V, C) in fp32.

    Raises:
        UserError: They have a wrong shape or are not finite.
    """
    logits = scores.float()
    if logits.shape != (clips, classes):
        raise UserError(
            f"{method.name} returned scores of shape {tuple(logits.shape)} for {clips} views and {classes} classes.",
            "score() must return (videos, classes).",
            EXIT_FAILED,
        )
    if not torch.isfinite(logits).all():
        raise UserError(f"{method.name} returned scores that are not finite (NaN or infinite).", "", EXIT_FAILED)
    return logits.unflatten(0, (-1, views.count))
