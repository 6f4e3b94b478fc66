"""The loss of one device batch, and the optimiser of a method.

Nothing here reads videos, so that a benchmark can time exactly the computation of a fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.base.errors import UserError
from harness.engine.compute.device import Device
from harness.engine.method import ClipMethod
from harness.engine.training.blending import apply_blend, draw_blend, smooth
from harness.engine.training.parallel import adamw
from harness.engine.training.recipe_groups import recipe_groups
from harness.engine.training.sharding import AdamWSettings, ScheduledGroup
from harness.engine.video.frames import normalise
from harness.spec import LabelSet, Recipe, Views

if TYPE_CHECKING:
    from harness.engine.video.batches import Draw
    from harness.engine.video.loaders import FitBatch


def batch_loss(
    method: ClipMethod, label_set: LabelSet, recipe: Recipe, views: Views, device: Device
) -> Callable[[FitBatch], Tensor]:
    """A function that computes the loss of a device batch: normalise, smooth labels, blend each group, score.

    Args:
        method: The method to train.
        label_set: Classes of the training list.
        recipe: Smoothing, blending and group size.
        views: Input statistics.
        device: Device of the computation.
    """

    def loss(clips: FitBatch) -> Tensor:
        seed_draws(recipe, clips.draws[0])
        targets = smooth(clips.labels.to(device.device), len(label_set), recipe.smoothing)
        if clips.features is not None:
            with frames_given(method):  # `loss` may be the base's only, see `fits_from_features`
                return method.loss(clips.features.to(device.device, non_blocking=True), targets, label_set)
        assert clips.frames is not None  # a batch has frames or features
        video = normalise(clips.frames, views, device.device)
        video, targets = blend_groups(video, targets, clips, recipe)
        if not method.couples_clips:
            return method.loss(video, targets, label_set)
        # A contrastive loss takes its negatives from the published group size, whatever the device batch.
        losses = []
        size = recipe.micro_batch
        for draw, part, soft in zip(clips.draws[::size], video.split(size), targets.split(size), strict=True):
            seed_draws(recipe, draw)
            losses.append(method.loss(part, soft, label_set))
        return torch.stack(losses).mean()

    return loss


def seed_draws(recipe: Recipe, draw: Draw) -> None:
    """Seed torch for methods that draw random numbers in training, from (seed, epoch, group).

    Interruptions and the number of processes then do not change a fit. The device batch still changes it if a method
    draws a number per clip, as dropout does, unless the loss is computed group by group (`couples_clips`).
    """
    # The factor is larger than any number of epochs or groups, so that two draws have different seeds. torch takes 64
    # bits.
    torch.manual_seed(((recipe.seed * 1_000_003 + draw.epoch) * 1_000_003 + draw.group) % (1 << 62))


@contextmanager
def frames_given(method: ClipMethod) -> Iterator[None]:
    """Let a method take frame features (B, T, D) instead of videos inside the `with` block."""
    method.encode_frames = lambda video: video  # type: ignore[method-assign]
    try:
        yield
    finally:
        del method.encode_frames  # the attribute of the instance; that of the class is visible again


def blend_groups(video: Tensor, targets: Tensor, clips: FitBatch, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Blend each group of `micro_batch` clips by its own draw.

    Args:
        video: (B, T, 3, H, W), normalised; B is a multiple of the group size.
        targets: (B, C) soft targets.
        clips: Gives the draws of the groups.
        recipe: MixUp, CutMix and group size.
    """
    videos, soft = [], []
    size = recipe.micro_batch
    for start in range(0, len(video), size):
        # The first clip of a group carries the epoch and the number of the whole group.
        draw = clips.draws[start]
        blend = draw_blend(recipe, draw.epoch, draw.group, size, video.shape[-2], video.shape[-1])
        part = video[start : start + size], targets[start : start + size]
        part = part if blend is None else apply_blend(*part, blend)
        videos.append(part[0])
        soft.append(part[1])
    # `cat` of a single tensor would copy the whole batch of videos.
    return (videos[0], soft[0]) if len(videos) == 1 else (torch.cat(videos), torch.cat(soft))


def build_optimizer(method: ClipMethod, recipe: Recipe, shard: str = "none") -> torch.optim.Optimizer:
    """AdamW over the parameter groups of a method; `peak_lr` of each group is its peak rate for the schedule.

    Args:
        method: The method to train.
        recipe: Rates, betas and weight decay, with their exceptions by parameter group.
        shard: How the optimiser state is sharded among processes: `none`, `zero` or `fsdp`.

    Raises:
        UserError: No parameter is trained, a group lists a parameter with `requires_grad=False`, or the recipe names a
            parameter group that the method does not have.
    """
    groups = recipe_groups(method, recipe)
    if not any(group["params"] for group in groups):
        raise UserError(
            f"{method.name} has no parameter that learns, so it cannot be fitted.", "Set requires_grad in setup()."
        )
    frozen = sum(not p.requires_grad for group in groups for p in group["params"])
    if frozen:
        raise UserError(f"{method.name}: parameter_groups() lists {frozen} parameters that do not learn.")
    scheduled: list[ScheduledGroup] = [
        {**group, "peak_lr": group.get("lr", recipe.lr)} for group in groups if group["params"]
    ]
    on_gpu = all(p.is_cuda for group in scheduled for p in group["params"])
    settings: AdamWSettings = {
        "lr": recipe.lr,
        "betas": recipe.betas,
        "eps": recipe.eps,
        "weight_decay": recipe.weight_decay,
        "fused": on_gpu or None,  # None lets torch choose among the loops for CPUs
    }
    return adamw(scheduled, shard, settings)
