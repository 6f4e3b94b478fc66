"""AIM: bottlenecks in the frozen blocks of CLIP's vision tower, whose attention is used over time as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from harness.api import register_method
from methods._halves import attended, mapped
from methods._head import HeadMethod
from methods._specs._head import CLASSES
from methods._specs.aim import AimOptions, AimSpec

if TYPE_CHECKING:
    from harness.engine.model.open_clip_types import Block

DROP_PATH = 0.2
"""Probability of dropping a token position in the last block; it grows linearly from 0 in the first block."""
REDUCTION = 4


class Adapter(nn.Module):
    """Down, GELU, up; the last layer starts at zero. Attribute names are those of the published checkpoints."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.D_fc1 = nn.Linear(width, width // REDUCTION)
        self.D_fc2 = nn.Linear(width // REDUCTION, width)
        nn.init.trunc_normal_(self.D_fc1.weight, std=0.02)
        for tensor in (self.D_fc1.bias, self.D_fc2.weight, self.D_fc2.bias):
            nn.init.zeros_(tensor)

    def forward(self, x: Tensor) -> Tensor:
        """Return the change of tokens (..., width)."""
        changed: Tensor = self.D_fc2(nn.functional.gelu(self.D_fc1(x)))
        return changed


class SkipAdapter(Adapter):
    """An adapter that adds its input."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the changed tokens (..., width)."""
        return x + super().forward(x)


class BlockAdapters(nn.Module):
    """The adapters of a block. Names are those of the published checkpoints.

    Args:
        width: Width of the tokens.
        options: Form of the adapters.
        dropped: Probability of dropping a token position in training.
    """

    def __init__(self, width: int, options: AimOptions, dropped: float) -> None:
        super().__init__()
        self.scale, self.dropped = options.scale, dropped
        self.T_Adapter, self.S_Adapter, self.MLP_Adapter = Adapter(width), SkipAdapter(width), Adapter(width)
        self.T_Adapter_in = SkipAdapter(width) if options.inner_adapter else None

    def drop(self, x: Tensor) -> Tensor:
        """Return a change (B, T, L, width) without randomly chosen token positions in training.

        The original's tokens are the first dimension, along which its drop-path draws: a position is dropped in all
        frames and videos of a batch.
        """
        if not self.training or not self.dropped:
            return x
        kept = (torch.rand(x.shape[2]) >= self.dropped).to(x.device, x.dtype)
        return x * (kept / (1 - self.dropped)).view(1, 1, -1, 1)

    def forward(self, x: Tensor, block: Block) -> Tensor:
        """Return tokens (B, T, 1 + P, width) after a block: attention over frames, over tokens, and the MLP."""
        batch, frames, length, _ = x.shape
        # Each position of the picture is a sequence over frames, the class token among them.
        over_time = block.ln_1(x).transpose(1, 2).flatten(0, 1)
        if self.T_Adapter_in is not None:
            over_time = self.T_Adapter_in(over_time)
        moved = self.T_Adapter(attended(block, over_time))
        x = x + self.drop(torch.unflatten(moved, 0, (batch, length)).transpose(1, 2)).to(x.dtype)
        seen = self.S_Adapter(attended(block, block.ln_1(x).flatten(0, 1)))
        x = x + torch.unflatten(seen, 0, (batch, frames)).to(x.dtype)
        normed = block.ln_2(x)
        return x + (mapped(block, normed) + self.drop(self.scale * self.MLP_Adapter(normed))).to(x.dtype)


@register_method("aim")
class Aim(AimSpec, HeadMethod):
    """The adapters, the positions of frames, the last norm, and a linear layer with head=classes, are trained."""

    options: AimOptions

    def setup(self) -> None:
        """Freeze CLIP but its last norm in the vision tower; add adapters and positions of frames."""
        options, backbone = self.options, self.backbone
        visual = backbone.require_vit(self.name)
        width = visual.class_embedding.shape[0]
        self.learn_only("visual.ln_post.")
        self.temporal_embedding = nn.Parameter(torch.zeros(1, options.frames, width))
        depth = len(backbone.vision_blocks)
        shares = (index / (depth - 1) if depth > 1 else 0.0 for index in range(depth))
        self.adapters = nn.ModuleList(BlockAdapters(width, options, DROP_PATH * share) for share in shares)
        self.add_head(std=0.01)

    def encode_class_tokens(self, video: Tensor) -> Tensor:
        """Return class tokens (B, T, width) after the last block: (B, T, 3, H, W) -> (B, T, width).

        Raises:
            UserError: The view has another number of frames than the method.
        """
        self.check_frames(self.options, video.shape[1])
        tokens = torch.unflatten(self.backbone.embed_patches(video.flatten(0, 1)), 0, video.shape[:2])
        x: Tensor = self.backbone.visual.ln_pre(tokens + self.temporal_embedding[:, :, None].to(tokens.dtype))
        for block, adapters in zip(self.backbone.vision_blocks, self.adapters, strict=True):
            x = adapters(x, block)
        return x[:, :, 0]

    def encode_video(self, video: Tensor) -> Tensor:
        """Return video features (B, D); for head=classes the mean (B, width) of normed class tokens."""
        if self.options.head != CLASSES:
            return super().encode_video(video)
        # The norm is taken before the mean, as in the original.
        normed: Tensor = self.backbone.visual.ln_post(self.encode_class_tokens(video))
        return normed.mean(dim=1)
