"""Training on the micro-batches of a reference, through the engine's own step, optimiser and schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from harness.api import ClipMethod, LabelSet, Recipe, TrainingBatch
from harness.engine.training.mm_runner import FitModel, PrecisionOptimWrapper
from harness.engine.training.schedule import rate_of_update
from harness.engine.training.step import build_optimizer


def batch_of(video: Tensor, labels: Tensor, label_set: LabelSet) -> TrainingBatch:
    """A batch without smoothing and blending."""
    return TrainingBatch(video, torch.eye(len(label_set))[labels], labels, label_set)


def train(
    built: ClipMethod, recipe: Recipe, batches: Sequence[TrainingBatch], epochs: int,
    observe: Callable[[TrainingBatch], object] = lambda batch: None,
) -> tuple[list[float], list[list[float]]]:  # fmt: skip
    """Losses and rates (of each group) of the first epochs; each batch is an update.

    Args:
        built: The method.
        recipe: Its recipe.
        batches: The batches of each epoch.
        epochs: Epochs to train.
        observe: Called before each update.
    """
    model: FitModel[TrainingBatch] = FitModel(built.train(), built.training_loss)
    wrapper = PrecisionOptimWrapper(dtype=torch.float32, device="cpu", optimizer=build_optimizer(built, recipe))
    losses, rates = [], []
    for update in range(epochs * len(batches)):
        for group in wrapper.optimizer.param_groups:
            group["lr"] = rate_of_update(update, recipe, len(batches), group["peak_lr"])
        rates.append([group["lr"] for group in wrapper.optimizer.param_groups])
        batch = batches[update % len(batches)]
        observe(batch)
        losses.append(float(model.train_step(batch, wrapper)["loss"]))
    return losses, rates
