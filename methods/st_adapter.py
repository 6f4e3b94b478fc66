"""ST-Adapter: bottlenecks with a temporal convolution between the frozen blocks of CLIP's vision tower."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from harness.api import register_method
from methods._halves import attended, mapped
from methods._head import HeadMethod
from methods._specs._head import CLASSES
from methods._specs.st_adapter import STAdapterOptions, STAdapterSpec

if TYPE_CHECKING:
    from harness.engine.model.open_clip_types import Block


class Adapter(nn.Module):
    """The change of the patches of a video: down, depthwise convolution over time and space, up.

    The convolution starts at zero, so that training starts at CLIP.

    Args:
        width: Width of the tokens.
        bottleneck: Width of the convolution.
        kernel: Frames, rows and columns of the kernel.
    """

    def __init__(self, width: int, bottleneck: int, kernel: tuple[int, int, int]) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, bottleneck)
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        self.conv = nn.Conv3d(bottleneck, bottleneck, kernel, padding=padding, groups=bottleneck)
        self.fc2 = nn.Linear(bottleneck, width)
        for tensor in (self.conv.weight, self.conv.bias, self.fc1.bias, self.fc2.bias):
            assert tensor is not None  # all three layers have biases
            nn.init.zeros_(tensor)

    def forward(self, patches: Tensor) -> Tensor:
        """Return the change (B, T, P, width) of patches (B, T, P, width)."""
        side = math.isqrt(patches.shape[2])
        grid = torch.unflatten(self.fc1(patches), 2, (side, side))
        mixed: Tensor = self.conv(grid.movedim(-1, 1)).movedim(1, -1)
        changed: Tensor = self.fc2(mixed.flatten(2, 3))
        return changed


class BlockAdapters(nn.Module):
    """The adapters of a block; the class token stays as it is. Names are those of the published checkpoints.

    Args:
        width: Width of the tokens.
        options: Position and sizes of the adapters.
    """

    def __init__(self, width: int, options: STAdapterOptions) -> None:
        super().__init__()
        frames, rows, columns = (int(size) for size in options.kernel.split("x"))
        kernel = (frames, rows, columns)
        self.adapter_pre_attn = Adapter(width, options.bottleneck, kernel) if "attn" in options.before else None
        self.adapter_pre_mlp = Adapter(width, options.bottleneck, kernel) if "mlp" in options.before else None

    def forward(self, x: Tensor, block: Block) -> Tensor:
        """Return tokens (B, T, 1 + P, width) after a block of CLIP and its adapters."""
        tokens = adapted(x, self.adapter_pre_attn).flatten(0, 1)
        tokens = tokens + attended(block, block.ln_1(tokens))
        tokens = adapted(tokens.view(x.shape), self.adapter_pre_mlp).flatten(0, 1)
        return (tokens + mapped(block, block.ln_2(tokens))).view(x.shape)


def adapted(x: Tensor, adapter: Adapter | None) -> Tensor:
    """Return tokens (B, T, 1 + P, width) whose patches an adapter has changed."""
    if adapter is None:
        return x
    change: Tensor = adapter(x[:, :, 1:])
    return torch.cat([x[:, :, :1], x[:, :, 1:] + change.to(x.dtype)], dim=2)


@register_method("st_adapter")
class STAdapter(STAdapterSpec, HeadMethod):
    """The adapters, and a linear layer with head=classes, are trained; all of CLIP is frozen."""

    options: STAdapterOptions

    def setup(self) -> None:
        """Freeze CLIP, and add adapters to its last blocks."""
        options, backbone = self.options, self.backbone
        visual = backbone.require_vit(self.name)
        self.freeze_clip()
        depth, width = len(backbone.vision_blocks), visual.class_embedding.shape[0]
        chosen = range(max(0, depth - options.blocks), depth)
        self.adapters = nn.ModuleDict({str(index): BlockAdapters(width, options) for index in chosen})
        if options.idle_adapter == "frozen":
            # It changes patches after the last attention, and only the class token is read.
            for name, parameter in self.named_parameters():
                if name.startswith(f"adapters.{depth - 1}.adapter_pre_mlp."):
                    parameter.requires_grad_(False)
        self.add_head(std=0.02)

    def apply_block(self, index: int, block: Block, x: Tensor) -> Tensor:
        """Return tokens (B, T, 1 + P, width) after a block of CLIP and its adapters, if it has any."""
        if str(index) in self.adapters:
            changed: Tensor = self.adapters[str(index)](x, block)
            return changed
        return block(x.flatten(0, 1)).view(x.shape)

    def encode_class_tokens(self, video: Tensor) -> Tensor:
        """Return class tokens (B, T, width) after the last block: (B, T, 3, H, W) -> (B, T, width)."""
        tokens: Tensor = self.backbone.visual.ln_pre(self.backbone.embed_patches(video.flatten(0, 1)))
        x = torch.unflatten(tokens, 0, video.shape[:2])
        for index, block in enumerate(self.backbone.vision_blocks):
            x = self.apply_block(index, block, x)
        return x[:, :, 0]

    def encode_video(self, video: Tensor) -> Tensor:
        """Return video features (B, D); for head=classes the normed mean (B, width) of class tokens."""
        if self.options.head != CLASSES:
            return super().encode_video(video)
        # The mean is taken before the norm, as in the original.
        features: Tensor = self.backbone.visual.ln_post(self.encode_class_tokens(video).mean(dim=1))
        return features
