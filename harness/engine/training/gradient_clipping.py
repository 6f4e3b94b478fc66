"""Clipping of the gradient by its norm over all trained parameters, sharded or not."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm

from harness.engine.training.sharding import whole

EPS = 1e-6
"""Added to the norm before the division, as torch's `clip_grad_norm_` does."""


@torch.no_grad()
def clip_gradients(optimizer: torch.optim.Optimizer, largest: float) -> Tensor:
    """Scale the gradients of an optimiser down to a norm. All processes call this after gradients are averaged.

    Args:
        optimizer: Its parameter groups hold the trained parameters; parameters without a gradient are skipped.
        largest: Largest L2 norm of all gradients together.

    Returns:
        The norm before clipping, a scalar.
    """
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    # torch's operations on lists mix no sharded and replicated tensors; the norm of a shard is gathered by `whole`.
    kinds = [[g for g in gradients if isinstance(g, DTensor) is sharded] for sharded in (True, False)]
    norms = [whole(get_total_norm(kind)) for kind in kinds if kind]
    total = torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())
    factor = torch.clamp(largest / (total + EPS), max=1.0)
    for gradient in gradients:
        local = gradient.to_local() if isinstance(gradient, DTensor) else gradient
        local.mul_(factor.to(local.device))
    return total
