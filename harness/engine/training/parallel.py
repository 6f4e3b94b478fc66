"""A fit on several processes: gradients averaged over them, and what memory has to hold shared out among them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel

from harness.engine.compute.processes import Processes
from harness.engine.training.sharding import ShardedAdamW, shared_names


class SpreadModel(DistributedDataParallel):
    """torch's data-parallel wrapper around mmengine's kind of model, on any device (D10: theirs calls CUDA).

    Every process computes the mean loss of as many groups as any other, so that the mean of their gradients is the
    gradient of one process that has all groups. A method may leave parameters out of a step, so they are looked for.
    Gradients lie in the buckets that are exchanged, which saves a copy of them. Gradients of shared parameters are
    averaged by what shares them.
    """

    def __init__(self, model: nn.Module) -> None:
        self._set_params_and_buffers_to_ignore_for_model(model, shared_names(model))
        super().__init__(model, find_unused_parameters=True, gradient_as_bucket_view=True)

    def train_step(self, data: Any, optim_wrapper: Any) -> Any:
        """One micro-iteration through the wrapper, whose forward pass arranges the averaging."""
        return self.module.train_step(data, optim_wrapper, through=self)


def spread(model: nn.Module, processes: Processes) -> nn.Module:
    """The model as several processes train it together; as it is for one, and where all that learns is shared.

    Args:
        model: Takes `train_step(data, optim_wrapper)`.
        processes: The processes.
    """
    shared = set(shared_names(model))
    averaged = any(p.requires_grad and name not in shared for name, p in model.named_parameters())
    return SpreadModel(model) if processes.size > 1 and averaged else model


def adamw(groups: list[dict[str, Any]], shard: str, **settings: Any) -> torch.optim.Optimizer:
    """AdamW; `zero` keeps the moments of each parameter on one process only (ZeRO, stage one).

    Args:
        groups: As for AdamW.
        shard: `none`, `zero`, or `fsdp` where parameters are shared.
        settings: AdamW's.
    """
    if shard == "fsdp":
        return ShardedAdamW(groups, **settings)
    if shard == "zero":
        return ZeroRedundancyOptimizer(groups, optimizer_class=torch.optim.AdamW, **settings)
    return torch.optim.AdamW(groups, **settings)


def consolidate(optimizer: torch.optim.Optimizer) -> None:
    """Bring a sharded state to the leading process, which writes it as a plain one. All processes call this."""
    if isinstance(optimizer, ZeroRedundancyOptimizer):
        optimizer.consolidate_state_dict(to=0)
    if isinstance(optimizer, ShardedAdamW):
        optimizer.consolidate()
