"""Blocks of CLIP with an adapter between attention and MLP, and their dropout in training.

Source: Shahzadnit/EZ-CLIP, clip/model.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from harness.engine.model.open_clip_types import Block


class Adapter(nn.Module):
    """A bottleneck of a quarter of the width: W2 GELU(W1 x), zero at the start. Names are those of the original."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.D_fc1, self.D_fc2 = nn.Linear(width, width // 4), nn.Linear(width // 4, width)
        nn.init.zeros_(self.D_fc2.weight)
        nn.init.zeros_(self.D_fc2.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the change of the tokens (..., width), without a residual."""
        changed: Tensor = self.D_fc2(F.gelu(self.D_fc1(x)))
        return changed


def attend(block: Block, x: Tensor, mask: Tensor | None = None, dropout: float = 0.0) -> Tensor:
    """Return the attention of a block of CLIP over the tokens (N, L, width), its first norm included, no residual.

    Args:
        block: A block of CLIP.
        x: The tokens.
        mask: (L, L), added to the scores.
        dropout: Rate of dropped attention weights; 0 in evaluation.
    """
    attn = block.attn
    q, k, v = (
        torch.unflatten(part, -1, (attn.num_heads, -1)).transpose(1, 2)
        for part in F.linear(block.ln_1(x), attn.in_proj_weight, attn.in_proj_bias).chunk(3, dim=-1)
    )
    mask = None if mask is None else mask.to(q.dtype)
    attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
    projected: Tensor = attn.out_proj(attended.transpose(1, 2).flatten(2))
    return projected


def finish_block(block: Block, adapter: nn.Module, x: Tensor, attended: Tensor, dropped: float = 0.0) -> Tensor:
    """Return the tokens (N, L, width) after attention residual, adapter and MLP of a block.

    Args:
        block: A block of CLIP.
        adapter: Its adapter, applied to all tokens.
        x: The tokens before the block.
        attended: The result of `attend`.
        dropped: Rate of token positions whose attention and MLP are left out; 0 in evaluation.
    """
    x = x + drop_positions(attended, dropped)
    x = x + adapter(x)
    return x + drop_positions(block.mlp(block.ln_2(x)), dropped)


def drop_positions(x: Tensor, rate: float) -> Tensor:
    """Return tokens (N, L, width) with whole positions set to 0, the same for all N, and the others scaled up.

    The original masks the first dimension of (L, N, width), which is the position and not the sample.
    """
    if not rate:
        return x
    kept = torch.rand((1, x.shape[1], 1), device=x.device) >= rate
    return x * kept / (1 - rate)
