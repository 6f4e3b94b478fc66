"""ViCLIP: a video-text tower whose patches attend over space and time at once, evaluated without training."""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.api import ClipMethod, LabelSet, class_row, register_method
from methods._specs.viclip import ENSEMBLE, ViClipOptions, ViClipSpec
from methods._templates import ACTION_TEMPLATES

FRAMES = 8
"""Rows of the published table of times."""
CONTEXT = 32
"""Longest text in tokens, with start and end."""
SCALE = 100.0
"""Scale of cosines in the demonstration of the authors; their evaluation has none, which orders classes alike."""


@register_method("viclip")
class ViClip(ViClipSpec, ClipMethod):
    """Nothing is trained here: the weights are those of a published checkpoint."""

    options: ViClipOptions

    def setup(self) -> None:
        """Add the times of frames and the text positions, and freeze all parameters."""
        backbone, tubelet = self.backbone, self.options.tubelet
        visual = backbone.require_vit(self.name)
        backbone.require_causal_text(self.name)
        width = visual.class_embedding.shape[0]
        # Attribute names are those of the published files, but for the text positions.
        self.temporal_positional_embedding = nn.Parameter(torch.zeros(1, FRAMES, width))
        self.temp = nn.Parameter(torch.tensor(1 / SCALE))
        self.text_positions = nn.Parameter(backbone.text.positional_embedding.detach()[:CONTEXT].clone())
        if tubelet > 1:
            kernel = torch.zeros(width, 3, tubelet, *visual.conv1.kernel_size)
            kernel[:, :, tubelet // 2] = visual.conv1.weight.detach()
            self.tubelets = nn.Parameter(kernel)
        self.requires_grad_(False)

    def times(self, frames: int) -> Tensor:
        """Return the embedding (T, width) that is added to the patches of each frame.

        Fewer frames than the table has take its first rows, more frames interpolate it, and one takes its mean.
        """
        table = self.temporal_positional_embedding[0]
        if frames == 1:
            return table.mean(dim=0, keepdim=True)
        if frames <= len(table):
            return table[:frames]
        return F.interpolate(table.t()[None], size=frames, mode="linear", align_corners=False)[0].t()

    def embed(self, video: Tensor) -> Tensor:
        """Return the tokens (B, 1 + P * T, width) of videos before `ln_pre`: one class token, then patch by patch."""
        visual, tubelet = self.backbone.visual, self.options.tubelet
        batch, frames = video.shape[:2]
        self.check_frames(self.options, frames)
        if tubelet > 1:
            grid = F.conv3d(video.transpose(1, 2), self.tubelets, stride=(tubelet, *visual.conv1.stride))
            patches = grid.flatten(3).permute(0, 2, 3, 1)
        else:
            patches = torch.unflatten(visual.conv1(video.flatten(0, 1)).flatten(2).transpose(1, 2), 0, (batch, frames))
        positions = visual.positional_embedding.to(patches.dtype)
        times = self.times(patches.shape[1]).to(patches.dtype)
        x = patches + positions[1:] + times[:, None]
        cls = (visual.class_embedding.to(x.dtype) + positions[0]).expand(batch, 1, -1)
        return torch.cat([cls, x.transpose(1, 2).flatten(1, 2)], dim=1)

    def encode_video(self, video: Tensor) -> Tensor:
        """Return video features (B, D) of the class token, not normalised."""
        *_, last = self.backbone.vision_blocks
        return self.backbone.project_class_token(last(self._before_last(video)))

    def _before_last(self, video: Tensor) -> Tensor:
        """Return the tokens (B, 1 + P * T, width) before the last vision block."""
        x: Tensor = self.backbone.visual.ln_pre(self.embed(video))
        *before, _ = self.backbone.vision_blocks
        for block in before:
            x = block(x)
        return x

    @torch.no_grad()
    def patch_attention(self, video: Tensor) -> Tensor:
        """Return the attention (B, T, P) of the one class token to the patches of all frames, mean over heads."""
        *_, last = self.backbone.vision_blocks
        query, key, _ = self.project_vision_tokens(last, last.ln_1(self._before_last(video))).chunk(3, dim=-1)
        tubelet = self.options.tubelet
        row = class_row(query, key, last.attn.num_heads)[:, 1:].unflatten(1, (-1, video.shape[1] // tubelet))
        by_frame: Tensor = row.transpose(1, 2).repeat_interleave(tubelet, dim=1)
        return by_frame

    def prompts(self, label_set: LabelSet) -> tuple[str, ...]:
        """Return all texts of all classes, class by class: sixteen prepared templates, or the bare names."""
        if self.options.ensemble != ENSEMBLE:
            return label_set.names
        return tuple(
            prepared(template.replace("{}", name)) for name in label_set.names for template in ACTION_TEMPLATES
        )

    def tokens(self, texts: tuple[str, ...]) -> Tensor:
        """Return token ids (N, 32) of texts; a longer text is cut, and its last token is the end."""
        # Only a text of the demonstration can be longer than the context of CLIP, and such a class name is refused.
        rows = self.backbone.tokenize(texts)
        cut = rows[:, :CONTEXT].clone()
        longer = rows[:, CONTEXT:].any(dim=1)
        cut[longer, -1] = rows[longer].amax(dim=1)  # the end token has the largest id
        return cut

    def encode_text(self, label_set: LabelSet) -> Tensor:
        """Return text features (C, K, D) of the K texts of each class, not normalised."""
        backbone = self.backbone
        tokens, end = backbone.trim_tokens(self.tokens(self.prompts(label_set)))
        x = backbone.embed_tokens(tokens)
        # CLIP adds its own positions, which are replaced here.
        change = self.text_positions[: x.shape[1]] - backbone.text.positional_embedding[: x.shape[1]]
        features = backbone.encode_embedded_text(x + change.to(x.dtype), end)
        return torch.unflatten(features, 0, (len(label_set), -1))

    def score(self, video: Tensor, text: Tensor) -> Tensor:
        """Return logits (B, C): the mean of the cosines with the texts of a class, times 100."""
        with self.in_fp32(video):
            video, text = F.normalize(video.float(), dim=-1), F.normalize(text.float(), dim=-1)
            return SCALE * torch.einsum("bd,ckd->bc", video, text) / text.shape[1]


def prepared(text: str) -> str:
    """Return a text without punctuation, in lower case and with single blanks, as the authors' evaluation takes it."""
    plain = re.sub(r"[,.'!?\"()*#:;~]", "", text.lower()).replace("-", " ").replace("/", " ")
    return re.sub(r"\s{2,}", " ", plain).strip()
