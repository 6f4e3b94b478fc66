"""EZ-CLIP: adapters in both towers of a frozen CLIP, temporal prompts, and a loss that rewards motion."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.api import ClipMethod, LabelSet, TrainingBatch, UserError, register_method
from methods._adapters import Adapter, attend, finish_block
from methods._contrast import matching_losses, mean_log_probabilities, pair_logits, unblended_labels
from methods._specs.ez_clip import EzClipOptions, EzClipSpec
from methods._templates import ACTION_TEMPLATES

if TYPE_CHECKING:
    from harness.engine.model.open_clip_types import Block

PROMPT_RANGE = 3 * 256
"""Part of the range of the initial prompts; the original writes 3 x 16 x 16, for any patch size."""


@register_method("ez_clip")
class EzClip(EzClipSpec, ClipMethod):
    """CLIP is frozen; adapters and the temporal part of the vision tower are trained."""

    options: EzClipOptions

    def setup(self) -> None:
        """Freeze CLIP and add adapters to all blocks, a frozen temporal embedding, and the temporal part."""
        options, backbone = self.options, self.backbone
        backbone.require_vit(self.name)
        backbone.require_causal_text(self.name)
        self.freeze_clip()
        blocks = backbone.vision_blocks
        width, text_width = backbone.visual.class_embedding.shape[0], backbone.text.ln_final.weight.shape[0]
        # Zero and never trained in the original, but part of its checkpoints.
        self.temporal_embedding = nn.Parameter(torch.zeros(1, options.frames, width), requires_grad=False)
        if options.temporal in ("prompts", "first"):
            count, limit = len(blocks) if options.temporal == "prompts" else 1, math.sqrt(6 / (PROMPT_RANGE + width))
            self.temporal_prompts = nn.Parameter(torch.empty(count, options.frames, width).uniform_(-limit, limit))
        if options.temporal == "adapters":
            self.temporal_adapters = nn.ModuleList(Adapter(width) for _ in blocks)
        self.vision_adapters = nn.ModuleList(Adapter(width) for _ in blocks)
        self.text_adapters = nn.ModuleList(Adapter(text_width) for _ in backbone.text_blocks)

    def rates(self) -> list[float]:
        """Return the dropout rate of each vision block in training, from 0 in the first one; zeros in evaluation."""
        count = len(self.vision_adapters)
        return torch.linspace(0, self.options.dropout if self.training else 0.0, count).tolist()

    def encode_frames(self, video: Tensor) -> Tensor:
        """Return frame features (B, T, D), not normalised."""
        self.check_frames(self.options, video.shape[1])
        x = torch.unflatten(self.backbone.embed_patches(video.flatten(0, 1)), 0, video.shape[:2])
        x = x + self.temporal_embedding[:, :, None].to(x.dtype)
        x = self.backbone.visual.ln_pre(x).flatten(0, 1)
        layers = zip(self.backbone.vision_blocks, self.vision_adapters, self.rates(), strict=True)
        for index, (block, adapter, rate) in enumerate(layers):
            added = self.temporal_prompt(index, block, x, rate)
            if self.options.temporal == "adapters":
                x = x + self.temporal_change(index, block, x, rate)
            # The prompt of a frame is read by its tokens and then dropped.
            attended = attend(block, x if added is None else torch.cat([x, added], dim=1), dropout=rate)
            x = finish_block(block, adapter, x, attended[:, : x.shape[1]], rate)
        return torch.unflatten(self.backbone.project_class_token(x), 0, video.shape[:2])

    def temporal_prompt(self, index: int, block: Block, x: Tensor, rate: float) -> Tensor | None:
        """Return a token (B*T, 1, width) for each frame: the block's attention over the frames, without residual.

        A frame takes part with the mean of its tokens plus the learned prompt of its position.
        """
        if self.options.temporal not in ("prompts", "first") or index >= len(self.temporal_prompts):
            return None
        prompts = F.dropout(self.temporal_prompts[index], self.options.prompt_dropout, self.training)
        frames = torch.unflatten(x.mean(dim=1), 0, (-1, self.options.frames)) + prompts
        return attend(block, frames, dropout=rate).flatten(0, 1).unsqueeze(1)

    def temporal_change(self, index: int, block: Block, x: Tensor, rate: float) -> Tensor:
        """Return the adapted attention over the frames at each token position: (B*T, L, width) -> same shape."""
        is_published = self.options.adapter_order == "published"
        tracks = torch.unflatten(x, 0, (-1, self.options.frames)).transpose(1, 2)  # (B, L, T, width)
        if is_published and len(tracks) > 1 and not self.training:
            raise UserError(
                f"{self.name}:adapter_order=published mixes the frames of a batch, which has {len(tracks)} videos in "
                "evaluation; expected 1.",
                "Set --eval-clips 1, or use the default adapter_order=clean.",
            )
        attended = torch.unflatten(attend(block, tracks.flatten(0, 1), dropout=rate), 0, tracks.shape[:2])
        changed: Tensor = self.temporal_adapters[index](attended)
        # The original adds the change of frame t of video b to frame t * B + b of the batch instead of b * T + t.
        return (changed.permute(2, 0, 1, 3) if is_published else changed.transpose(1, 2)).flatten(0, 1)

    def encode_sentences(self, texts: tuple[str, ...]) -> Tensor:
        """Return text features (N, D) of N texts, not normalised, through the adapted text tower."""
        backbone, device = self.backbone, self.temporal_embedding.device
        tokens, end = backbone.trim_tokens(backbone.tokenize(texts))
        length, text = tokens.shape[1], backbone.text
        x = backbone.embed_tokens(tokens)
        x = x + text.positional_embedding[:length].to(x.dtype)
        mask = text.attn_mask[:length, :length]
        # Text blocks take the rates of the vision blocks of the same index.
        rates = [*self.rates(), *[0.0] * len(self.text_adapters)]
        for block, adapter, rate in zip(backbone.text_blocks, self.text_adapters, rates, strict=False):
            x = finish_block(block, adapter, x, attend(block, x, mask, rate), rate)
        return backbone.project_end_token(x, end.to(device))

    def sentences(self, label_set: LabelSet) -> tuple[tuple[str, ...], ...]:
        """Return equally many texts of each class: its descriptions, or 16 templates around its name."""
        self.check_classes(self.options, label_set)
        if self.options.class_texts:
            return self.texts_of(label_set)
        names = [name.replace("_", " ") for name in label_set.names]
        return tuple(tuple(template.replace("{}", name) for template in ACTION_TEMPLATES) for name in names)

    def encode_text(self, label_set: LabelSet) -> Tensor:
        """Return text features (K, C, D) of K texts per class, not normalised."""
        by_class = self.sentences(label_set)
        # Template by template, the order of test.py.
        features = self.encode_sentences(tuple(listed[k] for k in range(len(by_class[0])) for listed in by_class))
        return torch.unflatten(features, 0, (-1, len(label_set)))

    def score(self, video: Tensor, text: Tensor) -> Tensor:
        """Return log-probabilities (B, C), the mean over the K texts of each class."""
        return mean_log_probabilities(video, text)

    def training_loss(self, batch: TrainingBatch) -> Tensor:
        """Return the contrast of clips and texts, mean over both directions, plus the motion loss.

        Raises:
            UserError: The recipe smooths or blends targets.
        """
        labels = unblended_labels(batch, self.name)
        by_class = self.sentences(batch.label_set)
        texts = tuple(
            by_class[i][int(torch.randint(len(by_class[i]), (), generator=generator))]
            for i, generator in zip(labels.tolist(), batch.generators_of_clips("text"), strict=True)
        )
        frames = self.encode_frames(batch.video)
        logits = pair_logits(self.backbone, frames.mean(dim=1), self.encode_sentences(texts))
        rows, columns = matching_losses(logits, labels)
        return (rows + columns) / 2 + motion_loss(frames)


def motion_loss(frames: Tensor) -> Tensor:
    """Return 1 / (1 + change + variance) of frame features (B, T, D): small for features that change over time."""
    frames = frames.float()
    if frames.shape[1] < 2:  # a single frame has no variance
        return frames.sum() * 0 + 1
    padded = torch.cat([frames[:, :1], frames, frames[:, -1:]], dim=1)
    change = (padded[:, 2:] - padded[:, :-2]).abs().mean() / 2
    return 1 / (1 + change + frames.var(dim=1).mean())
