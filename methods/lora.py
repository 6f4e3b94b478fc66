"""LoRA: low-rank updates of frozen layers in both towers of CLIP, in the form of CLIP-LoRA or in that of MAXI."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.api import ClipMethod, LabelSet, UserError, register_method
from methods._low_rank import LowRank, project, update_attention, update_layer
from methods._specs.lora import ALL, BOTH, MAXI, PUBLISHED, TEXT, VISION, LoraOptions, LoraSpec

if TYPE_CHECKING:
    from harness.engine.model.open_clip_types import Block

SCALE = 100.0
"""Scale of cosines in CLIP-LoRA, which does not use the learned scale."""
PROJECTIONS = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "o": "proj"}


@register_method("lora")
class Lora(LoraSpec, ClipMethod):
    """The low-rank updates are trained; all of CLIP is frozen."""

    options: LoraOptions

    def setup(self) -> None:
        """Freeze CLIP and add the updates."""
        options, backbone = self.options, self.backbone
        self.freeze_clip()
        self.trains_text = options.form == MAXI or options.encoder in (BOTH, TEXT)
        self.trains_vision = options.form == MAXI or options.encoder in (BOTH, VISION)
        # In the order of CLIP-LoRA's files: blocks of the text tower, then those of the vision tower.
        self.layers = nn.ModuleList()
        if self.trains_text:
            backbone.require_causal_text(self.name)
            self._update(list(backbone.text_blocks))
        if self.trains_vision:
            visual = backbone.require_vit(self.name)
            self._update(list(backbone.vision_blocks))
            if options.form == MAXI:
                width, channels, side, _ = visual.conv1.weight.shape
                self.patches = LowRank(channels * side, width * side, side * options.rank, 1 / options.rank)
                update_layer(visual.conv1, self.patches)

    def _update(self, blocks: list[Block]) -> None:
        """Add updates to the blocks of a tower."""
        is_maxi = self.options.form == MAXI
        for index in range(len(blocks)) if is_maxi else self._chosen(len(blocks)):
            updates = self._maxi(blocks[index]) if is_maxi else self._clip_lora(blocks[index])
            self.layers.append(nn.ModuleDict(updates))
            update_attention(blocks[index], updates)

    def _chosen(self, depth: int) -> list[int]:
        """Return the numbers of the adapted blocks of a tower."""
        if self.options.blocks == ALL:
            return list(range(depth))
        words = self.options.blocks.split("+")
        if not all(int(word) < depth for word in words):
            raise UserError(
                f"{self.name}:blocks is {self.options.blocks!r}, expected {ALL} or numbers of blocks from 0 to "
                f"{depth - 1}, such as 0+{depth - 1}."
            )
        return [int(word) for word in words]

    def _clip_lora(self, block: Block) -> dict[str, LowRank]:
        """Return the updates of a block in the form of CLIP-LoRA, whose scale is alpha / sqrt(rank)."""
        options, width = self.options, block.attn.embed_dim
        scale = options.alpha / options.rank**0.5
        return {
            name: LowRank(width, width, options.rank, scale, options.dropout)
            for letter, name in PROJECTIONS.items()
            if letter in options.projections
        }

    def _maxi(self, block: Block) -> dict[str, LowRank]:
        """Return the updates of a block in the form of MAXI: attention and MLP, without dropout, scaled by 1 / rank."""
        rank, width, hidden = self.options.rank, block.attn.embed_dim, block.mlp.c_fc.out_features
        sizes = {
            "in_proj": (width, 3 * width), "proj": (width, width), "c_fc": (width, hidden), "c_proj": (hidden, width)
        }  # fmt: skip
        updates = {name: LowRank(*size, rank, 1 / rank) for name, size in sizes.items()}
        updates["in_proj"].draw_both()
        update_layer(block.mlp.c_fc, updates["c_fc"])
        update_layer(block.mlp.c_proj, updates["c_proj"])
        return updates

    def prompts(self, label_set: LabelSet) -> tuple[str, ...]:
        """Return one text per class; CLIP-LoRA writes underscores of names as blanks."""
        texts = super().prompts(label_set)
        return texts if self.options.form == MAXI else tuple(text.replace("_", " ") for text in texts)

    def project_vision_tokens(self, block: Block, normed: Tensor) -> Tensor:
        """Return updated queries, keys and values (N, L, 3 * width) of normed tokens in a vision block."""
        attention = block.attention
        updates = attention.args[1] if isinstance(attention, partial) else {}
        return torch.cat(project(block, updates, normed), dim=-1)

    def encode_frames(self, video: Tensor) -> Tensor:
        """Return frame features (B, T, D), not normalised."""
        # Overridden, because features of a tower with updates must not be read from the cache of frozen towers.
        return super().encode_frames(video)

    def encode_text(self, label_set: LabelSet) -> Tensor:
        """Return text features (C, D), not normalised."""
        # The cache of frozen texts does not know that the updates change in training.
        texts = self.prompts(label_set)
        return self.backbone.encode_texts(texts) if self.trains_text else self.encode_prompts(texts)

    def score(self, video: Tensor, text: Tensor) -> Tensor:
        """Return logits (B, C): cosine times 100 in the form of CLIP-LoRA, times the model's scale in that of MAXI."""
        if self.options.form == MAXI or self.options.scale != PUBLISHED:
            return super().score(video, text)
        with self.in_fp32(video):
            return SCALE * F.normalize(video.float(), dim=-1) @ F.normalize(text.float(), dim=-1).t()
