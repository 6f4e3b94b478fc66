"""Gradient checkpointing: a transformer block keeps what enters it and computes the rest again in the backward pass.

Memory of activations then grows with the blocks' inputs alone, for about a third more work. The numbers are those of a
plain fit to rounding: the same operations run twice on the same inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from harness.engine.model.clip_model import Backbone


@contextmanager
def checkpointed(backbone: Backbone, wanted: bool) -> Iterator[int]:
    """Within it the blocks of both towers recompute their activations where gradients are asked for.

    Yields:
        How many blocks there are: those of CLIP's transformers, however a method calls them.
    """
    blocks = blocks_of(backbone) if wanted else []
    before = [vars(block).get("forward") for block in blocks]
    for block in blocks:
        block.forward = partial(_run, block.forward)  # type: ignore[method-assign]
    try:
        yield len(blocks)
    finally:
        for block, forward in zip(blocks, before, strict=True):
            if forward is None:
                del block.forward
            else:
                block.forward = forward  # type: ignore[method-assign]


def blocks_of(backbone: Backbone) -> list[nn.Module]:
    """The residual blocks of the vision and the text tower that have such blocks."""
    towers = [getattr(tower, "transformer", None) for tower in (backbone.visual, backbone.text)]
    return [block for tower in towers for block in getattr(tower, "resblocks", ())]


def _run(forward: Callable[..., Any], *tensors: Any, **named: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*tensors, **named)
    return checkpoint(forward, *tensors, use_reentrant=False, **named)
