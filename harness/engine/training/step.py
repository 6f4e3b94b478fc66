"""The loss of one device batch, and the optimiser of a method.

Nothing here reads videos, so that a benchmark can time exactly the computation of a fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.base.errors import UserError
from harness.engine.compute.device import Device
from harness.engine.method import ClipMethod
from harness.engine.training.blending import apply_blend, draw_blend, smooth
from harness.engine.training.erasing import erase
from harness.engine.training.parallel import adamw
from harness.engine.training.recipe_groups import recipe_groups
from harness.engine.training.sharding import AdamWSettings, ScheduledGroup
from harness.engine.training_batch import TrainingBatch
from harness.engine.video.frames import normalise
from harness.spec import LabelSet, Recipe, Views

if TYPE_CHECKING:
    from harness.engine.video.batches import Draw
    from harness.engine.video.loaders import FitBatch


def batch_loss(
    method: ClipMethod, label_set: LabelSet, recipe: Recipe, views: Views, device: Device
) -> Callable[[FitBatch], Tensor]:
    """A function that computes the loss of a device batch: normalise, erase, smooth labels, blend each group, score.

    Args:
        method: The method to train.
        label_set: Classes of the training list.
        recipe: Smoothing, blending and group size.
        views: Input statistics.
        device: Device of the computation.
    """

    def loss(clips: FitBatch) -> Tensor:
        labels = clips.labels.to(device.device)
        targets = smooth(labels, len(label_set), recipe.smoothing)
        if clips.features is not None:
            video = clips.features.to(device.device, non_blocking=True)
        else:
            assert clips.frames is not None  # a batch has frames or features
            video = erase(normalise(clips.frames, views, device.device), clips.draws, recipe)
            video, targets = blend_groups(video, targets, clips, recipe)
        # A contrastive loss takes its negatives from the published group size, and a method that draws random numbers
        # draws them for each group, whatever the device batch.
        size = recipe.micro_batch if method.couples_clips or method.random_draws else len(labels)
        losses = []
        with frames_given(method) if clips.features is not None else nullcontext():
            for start in range(0, len(labels), size):
                part, draws = slice(start, start + size), clips.draws[start : start + size]
                seed_draws(recipe, draws[0])
                positions = tuple(draw.position for draw in draws)
                batch = TrainingBatch(
                    video[part], targets[part], labels[part], label_set, recipe.seed, draws[0].epoch, positions
                )
                losses.append(method.training_loss(batch))
        return losses[0] if len(losses) == 1 else torch.stack(losses).mean()

    return loss


def seed_draws(recipe: Recipe, draw: Draw) -> None:
    """Seed torch for methods that draw random numbers in training, from (seed, epoch, group).

    Interruptions then do not change a fit. The device batch, and with it the number of processes, changes the draws
    unless the loss is computed group by group (`couples_clips`, `random_draws`).
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
        shard: Division of the optimiser state among processes: `none`, `zero` or `fsdp`.

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
    # One pass over all tensors of an update. torch has none for the sharded tensors of FSDP on a CPU.
    fused = shard != "fsdp" or all(p.is_cuda for group in scheduled for p in group["params"])
    settings: AdamWSettings = {
        "lr": recipe.lr,
        "betas": recipe.betas,
        "eps": recipe.eps,
        "weight_decay": recipe.weight_decay,
        "fused": fused or None,
    }
    return adamw(scheduled, shard, settings)
