"""AIM: bottlenecks in the frozen blocks of CLIP's vision tower, whose attention is used over time as well."""

import torch
from torch import Tensor, nn

from harness.api import UserError, register_method
from methods._head import HeadMethod
from methods._specs._head import CLASSES
from methods._specs.aim import AimOptions, AimSpec

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
        self.adapters = nn.ModuleList()
        for _ in backbone.vision_blocks:
            adapters = {"T_Adapter": Adapter(width), "S_Adapter": SkipAdapter(width), "MLP_Adapter": Adapter(width)}
            if options.inner_adapter:
                adapters["T_Adapter_in"] = SkipAdapter(width)
            self.adapters.append(nn.ModuleDict(adapters))
        self.add_head(std=0.01)

    def drop(self, index: int, x: Tensor) -> Tensor:
        """Return a change (B, T, L, width) without randomly chosen token positions in training.

        The original's tokens are the first dimension, along which its drop-path draws: a position is dropped in all
        frames and videos of a batch.
        """
        depth = len(self.adapters)
        probability = DROP_PATH * index / (depth - 1) if depth > 1 else 0.0
        if not self.training or not probability:
            return x
        kept = (torch.rand(x.shape[2]) >= probability).to(x.device, x.dtype)
        return x * (kept / (1 - probability)).view(1, 1, -1, 1)

    def apply_block(self, index: int, x: Tensor) -> Tensor:
        """Return tokens (B, T, 1 + P, width) after a block: attention over frames, over tokens, and the MLP."""
        block, adapters = self.backbone.vision_blocks[index], self.adapters[index]
        batch, frames, length, _ = x.shape
        # Each position of the picture is a sequence over frames, the class token among them.
        over_time = block.ln_1(x).transpose(1, 2).flatten(0, 1)
        if "T_Adapter_in" in adapters:
            over_time = adapters["T_Adapter_in"](over_time)
        moved = adapters["T_Adapter"](block.ls_1(block.attention(over_time)))
        x = x + self.drop(index, torch.unflatten(moved, 0, (batch, length)).transpose(1, 2)).to(x.dtype)
        attended = block.ls_1(block.attention(block.ln_1(x).flatten(0, 1)))
        x = x + torch.unflatten(adapters["S_Adapter"](attended), 0, (batch, frames)).to(x.dtype)
        normed = block.ln_2(x)
        adapted = self.drop(index, self.options.scale * adapters["MLP_Adapter"](normed))
        return x + (block.ls_2(block.mlp(normed)) + adapted).to(x.dtype)

    def encode_class_tokens(self, video: Tensor) -> Tensor:
        """Return class tokens (B, T, width) after the last block: (B, T, 3, H, W) -> (B, T, width).

        Raises:
            UserError: The view has another number of frames than the method.
        """
        frames = video.shape[1]
        if frames != self.options.frames:
            raise UserError(
                f"{self.name} is set up for {self.options.frames} frames, the view has {frames}.",
                f"Set the option: {self.name}:frames={frames}.",
            )
        tokens = torch.unflatten(self.backbone.embed_patches(video.flatten(0, 1)), 0, video.shape[:2])
        x: Tensor = self.backbone.visual.ln_pre(tokens + self.temporal_embedding[:, :, None].to(tokens.dtype))
        for index in range(len(self.adapters)):
            x = self.apply_block(index, x)
        return x[:, :, 0]

    def encode_frames(self, video: Tensor) -> Tensor:
        """Return frame features (B, T, D) in CLIP's joint space, not normalised."""
        classes = self.encode_class_tokens(video)
        return torch.unflatten(self.backbone.project_class_token(classes.flatten(0, 1)[:, None]), 0, video.shape[:2])

    def encode_video(self, video: Tensor) -> Tensor:
        """Return video features (B, D); for head=classes the mean (B, width) of normed class tokens."""
        if self.options.head != CLASSES:
            return super().encode_video(video)
        # The norm is taken before the mean, as in the original.
        normed: Tensor = self.backbone.visual.ln_post(self.encode_class_tokens(video))
        return normed.mean(dim=1)
