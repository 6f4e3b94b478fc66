"""Low-rank updates of the layers of CLIP's blocks: products that are added to the outputs of frozen layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from harness.engine.model.open_clip_types import Block


class LowRank(nn.Module):
    """scale * B A dropout(x): an update of a linear layer, or of a convolution whose stride is its kernel.

    A is drawn as torch draws the weights of a linear layer, and B is zero, so that training starts at CLIP.

    Args:
        inputs: Number of input features.
        outputs: Number of output features.
        rank: Rank of the update.
        scale: Factor of the update.
        dropout: Probability of dropping an input feature.
    """

    def __init__(self, inputs: int, outputs: int, rank: int, scale: float, dropout: float = 0.0) -> None:
        super().__init__()
        self.scale = scale
        self.dropout = nn.Dropout(dropout)
        # Attribute names are those of the files of CLIP-LoRA.
        self.w_lora_A = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(rank, inputs), a=math.sqrt(5)))
        self.w_lora_B = nn.Parameter(torch.zeros(outputs, rank))

    def draw_both(self) -> None:
        """Draw both factors, so that the update is not zero at the start. MAXI does so in input projections."""
        nn.init.xavier_uniform_(self.w_lora_A)
        nn.init.xavier_uniform_(self.w_lora_B)

    def forward(self, x: Tensor) -> Tensor:
        """Return the update (..., outputs) of inputs (..., inputs)."""
        return self.scale * F.linear(F.linear(self.dropout(x), self.w_lora_A), self.w_lora_B)


def update_attention(block: Block, updates: Mapping[str, LowRank]) -> None:
    """Add updates to the projections of a block's attention.

    Args:
        block: A block of CLIP, which is changed in place. The updates do not become parts of it.
        updates: Updates by name of the projection: `q_proj`, `k_proj`, `v_proj`, or `in_proj` for the three of them,
            and `proj` for the output.
    """
    # A partial and not a module, so that CLIP keeps its tensor names; copies of the model bind the copied block.
    block.attention = partial(_attention, block, updates)


def project(block: Block, updates: Mapping[str, LowRank], x: Tensor) -> list[Tensor]:
    """Return updated queries, keys and values (N, L, width) of tokens (N, L, width)."""
    qkv = F.linear(x, block.attn.in_proj_weight, block.attn.in_proj_bias)
    if "in_proj" in updates:
        qkv = qkv + updates["in_proj"](x)
    return [
        part + updates[name](x) if name in updates else part
        for name, part in zip(("q_proj", "k_proj", "v_proj"), qkv.chunk(3, dim=-1), strict=True)
    ]


def _attention(
    block: Block, updates: Mapping[str, LowRank], q_x: Tensor, k_x: Tensor | None = None,
    v_x: Tensor | None = None, attn_mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Attention of a block of open_clip, whose later arguments it has, to its own tokens (N, L, width)."""
    attn = block.attn
    parts = project(block, updates, q_x)
    q, k, v = (torch.unflatten(part, -1, (attn.num_heads, -1)).transpose(1, 2) for part in parts)
    mask = None if attn_mask is None else attn_mask.to(q.dtype)
    attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
    projected: Tensor = attn.out_proj(attended)
    return projected + updates["proj"](attended) if "proj" in updates else projected


def update_layer(layer: nn.Module, update: LowRank) -> None:
    """Add an update to the output of a linear layer, or of the convolution that embeds patches."""
    is_convolution = isinstance(layer, nn.Conv2d)
    layer.register_forward_hook(partial(_add_to_patches if is_convolution else _add, update))


def _add(update: LowRank, layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    changed: Tensor = output + update(inputs[0])
    return changed


def _add_to_patches(update: LowRank, layer: nn.Conv2d, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    # The kernels of the update are the rows of its product, so that it is not a chain of two convolutions.
    kernels = update.scale * (update.w_lora_B @ update.w_lora_A).view_as(layer.weight)
    return output + F.conv2d(inputs[0], kernels, stride=layer.stride)
