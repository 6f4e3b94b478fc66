"""Gradient checkpointing: transformer blocks store their inputs and recompute activations in the backward pass.

Activation memory then grows with the inputs of blocks only, for about a third more computation. Results equal those of
a plain fit up to rounding, because the same operations run twice on the same inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from harness.engine.model.clip_model import Backbone

LISTS = ("resblocks", "blocks", "layer1", "layer2", "layer3", "layer4", "layer", "block", "layers")
"""Names of lists of blocks: in open_clip (`resblocks`, `layer1`...), timm (`blocks`) and transformers."""


@contextmanager
def checkpointed(backbone: Backbone, wanted: bool) -> Iterator[int]:
    """Let the transformer blocks of both towers recompute their activations inside the `with` block.

    Args:
        backbone: The backbone of a method.
        wanted: False changes nothing.

    Yields:
        The number of blocks that recompute.
    """
    blocks = blocks_of(backbone) if wanted else []
    # A compiled block has its own `forward` in the instance, which must come back at the end.
    before = [vars(block).get("forward") for block in blocks]
    for block in blocks:
        block.forward = partial(_run, block.forward)
    backbone.recomputes = wanted  # for methods that compute blocks themselves
    try:
        yield len(blocks)
    finally:
        backbone.recomputes = False
        for block, forward in zip(blocks, before, strict=True):
            if forward is None:
                del block.forward
            else:
                block.forward = forward


def blocks_of(backbone: Backbone) -> list[nn.Module]:
    """The residual blocks of both towers: of open_clip's transformers and ResNets, of timm and of transformers."""
    text: nn.Module = backbone.text
    # CLIP's own class holds the text tower at its top level, beside the vision tower.
    towers = (backbone.visual, text.get_submodule("transformer"))
    return [block for tower in towers for block in _blocks_in(tower)]


def _blocks_in(tower: nn.Module) -> list[nn.Module]:
    """The blocks in the outermost lists of blocks of a tower."""
    found: list[nn.Module] = []
    lists: list[str] = []
    for name, module in tower.named_modules():
        is_list = isinstance(module, nn.Sequential | nn.ModuleList) and name.rpartition(".")[2] in LISTS
        if is_list and not any(name.startswith(f"{outer}.") for outer in lists):
            lists.append(name)
            found += module.children()
    return found


def _run(forward: Callable[..., Tensor], *tensors: Tensor, **named: Tensor | None) -> Tensor:
    # Without a backward pass there is nothing to recompute, and the wrapper would only cost time.
    if not torch.is_grad_enabled():
        return forward(*tensors, **named)
    # torch's reentrant variant gives no gradients if no input of a block requires one, as behind frozen embeddings.
    result: Tensor = checkpoint(partial(forward, **named), *tensors, use_reentrant=False)
    return result
