"""A fit on several processes: averaged gradients, and optimisers whose state is sharded among the processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel

from harness.engine.compute.processes import Processes
from harness.engine.training.sharding import AdamWSettings, ScheduledGroup, ShardedAdamW, shared_names
from harness.engine.video.loaders import FitBatch

if TYPE_CHECKING:
    from mmengine.optim import OptimWrapper


class SpreadModel(DistributedDataParallel):
    """torch's data-parallel wrapper around a model of mmengine, on any device (D10: mmengine's wrapper needs CUDA).

    Every process computes the mean loss of the same number of groups, so that the mean of their gradients is the
    gradient of a single process with all groups. Gradients of parameters that FSDP shards are averaged by FSDP.

    Args:
        model: Takes `train_step(data, optim_wrapper, through)`.
    """

    def __init__(self, model: nn.Module) -> None:
        self._set_params_and_buffers_to_ignore_for_model(model, shared_names(model))  # type: ignore[no-untyped-call]
        # A method may leave parameters out of a step. Gradients as views of the exchanged buckets save a copy.
        super().__init__(model, find_unused_parameters=True, gradient_as_bucket_view=True)

    def train_step(self, data: FitBatch, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """One micro-iteration of the model with this wrapper's forward pass, which averages the gradients."""
        result: dict[str, Tensor] = self.module.train_step(data, optim_wrapper, through=self)
        return result


def spread(model: nn.Module, processes: Processes) -> nn.Module:
    """The model for training on several processes.

    It is returned unchanged for a single process, and if FSDP shards all trained parameters.

    Args:
        model: Takes `train_step(data, optim_wrapper)`.
        processes: The processes.
    """
    shared = set(shared_names(model))
    averaged = any(p.requires_grad and name not in shared for name, p in model.named_parameters())
    return SpreadModel(model) if processes.size > 1 and averaged else model


def adamw(groups: list[ScheduledGroup], shard: str, settings: AdamWSettings) -> torch.optim.Optimizer:
    """AdamW, whose state may be sharded.

    Args:
        groups: Parameter groups with their peak rates.
        shard: `none`; `zero` keeps the moments of each parameter on a single process (ZeRO, stage 1); `fsdp` for
            parameters that FSDP shards.
        settings: Settings of AdamW for groups that lack their own.
    """
    if shard == "fsdp":
        return ShardedAdamW(groups, settings)
    # Copies, because torch writes its defaults into the dictionaries that it is given.
    plain = [dict(group) for group in groups]
    if shard == "zero":
        return ZeroRedundancyOptimizer(plain, optimizer_class=torch.optim.AdamW, **settings)
    return torch.optim.AdamW(plain, **settings)


def consolidate(optimizer: torch.optim.Optimizer) -> None:
    """Gather a sharded state on the leading process, which writes it as an unsharded state. All processes call this."""
    if isinstance(optimizer, ZeroRedundancyOptimizer):
        # torch refuses `state_dict()` of this optimiser on the process that did not gather the state before.
        optimizer.consolidate_state_dict(to=0)
    if isinstance(optimizer, ShardedAdamW):
        optimizer.consolidate()
