"""Attention of TC-CLIP to context tokens: of the frames in the vision tower, and of learned vectors in the text tower.

Source: naver-ai/tc-clip, clip/transformer_blocks_tc.py and trainers/tc_clip_text_encoder.py.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from harness.engine.model.open_clip_types import Block


def attend_with_context(
    block: Block, frames: Tensor, context: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Apply the attention of a vision block, in which each frame sees itself and the context tokens of the video.

    Args:
        block: A block of CLIP.
        frames: (B, T, 1 + P, width) tokens of the frames.
        context: (B, K, width) context tokens; None in the first block.
        bias: (heads, 1, 2) bias of the scores for tokens of the frame and for context tokens.

    Returns:
        The output (B, T, 1 + P, width), and the attention (B, T, P) of the class tokens to the patches of their frames,
        mean over heads, without gradient.
    """
    attn, shape, width = block.attn, frames.shape, frames.shape[3]
    q, k, v = F.linear(block.ln_1(frames), attn.in_proj_weight, attn.in_proj_bias).chunk(3, dim=-1)
    if context is not None:
        # Context tokens are read only, and their keys and values are the same for all frames.
        weight, offset = attn.in_proj_weight[width:], attn.in_proj_bias[width:]
        read = F.linear(block.ln_1(context), weight, offset).unsqueeze(1).expand(-1, shape[1], -1, -1)
        k, v = (torch.cat(parts, dim=2) for parts in zip((k, v), read.chunk(2, dim=-1), strict=True))
    q, k, v = (torch.unflatten(x.flatten(0, 1), -1, (attn.num_heads, -1)).transpose(1, 2) for x in (q, k, v))
    added = None
    if context is not None and bias is not None:
        counts = torch.tensor([shape[2], context.shape[1]], device=bias.device)
        added = bias.to(q.dtype).repeat_interleave(counts, dim=-1, output_size=k.shape[2]).unsqueeze(0)
    attended = F.scaled_dot_product_attention(q, k, v, attn_mask=added).transpose(1, 2).flatten(2)
    with torch.no_grad():  # it only chooses patches
        scores = (q[:, :, :1].float() @ k.float().transpose(2, 3)) / q.shape[-1] ** 0.5
        weights = (scores if added is None else scores + added.float()).softmax(dim=-1)
    to_patches = weights[:, :, 0, 1 : shape[2]].mean(dim=1)
    return torch.unflatten(attn.out_proj(attended), 0, shape[:2]), torch.unflatten(to_patches, 0, shape[:2])


class PromptLayer(nn.Module):
    """Attention of the learned text vectors to the context tokens of a video, starting as a copy of a text block."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.attn, self.mlp = copy.deepcopy(block.attn), copy.deepcopy(block.mlp)
        self.ln_1, self.ln_1_kv, self.ln_2 = (copy.deepcopy(ln) for ln in (block.ln_1, block.ln_1, block.ln_2))

    def forward(self, vectors: Tensor, tokens: Tensor) -> Tensor:
        """Return the text vectors (C, n, width), adapted to the context tokens (K, width) of one video."""
        keys = self.ln_1_kv(tokens).expand(len(vectors), -1, -1)
        attended: Tensor = self.attn(self.ln_1(vectors), keys, keys, need_weights=False)[0]
        vectors = vectors + attended
        mapped: Tensor = self.mlp(self.ln_2(vectors))
        return vectors + mapped
