"""ActionCLIP: sixteen templates, a contrastive loss over the batch, and a temporal Transformer over frames."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.api import ClipMethod, LabelSet, Recipe, UserError, register_method
from methods._blocks import Blocks, draw_linear
from methods._specs.actionclip import ActionClipSpec
from methods._templates import ACTION_TEMPLATES

POSITIONS = 77
"""Rows of the published table of frame positions, hence the largest number of frames."""
EVAL_SCALE = 100.0
"""The scale of similarities in evaluation, whatever the learned scale has become."""
TARGET_SCALE = 10.0


class TemporalFusion(nn.Module):
    """Blocks over frame features with learned positions, and a residual around them: (B, T, D) -> (B, T, D)."""

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.frame_position_embeddings = nn.Embedding(POSITIONS, width)
        self.transformer = Blocks(width, layers, heads, eps=1e-12)
        draw_linear(self)

    def forward(self, frames: Tensor) -> Tensor:
        """The residual carries the features without positions."""
        positions = self.frame_position_embeddings.weight[: frames.shape[1]]
        return self.transformer(frames + positions).to(frames.dtype) + frames


@register_method("actionclip")
class ActionClip(ActionClipSpec, ClipMethod):
    """All of CLIP learns, token embedding and scale included, and so does the fusion module."""

    def setup(self) -> None:
        """Add the fusion module; everything learns."""
        self.requires_grad_(True)
        if self.options.fusion == "transf":
            self.fusion = TemporalFusion(self.embed_dim, self.options.layers, max(1, self.embed_dim // 64))

    def pool(self, frames: Tensor) -> Tensor:
        """Video features (B, T, D) -> (B, D): the mean over frames, after the fusion module where there is one."""
        if self.options.fusion == "mean":
            return super().pool(frames)
        if frames.shape[1] > POSITIONS:
            raise UserError(f"{self.name} has positions for {POSITIONS} frames, the view has {frames.shape[1]}.")
        return self.fusion(frames).mean(dim=1)

    def prompts(self, label_set: LabelSet) -> tuple[str, ...]:
        """All templates of all classes, template by template: 16 * C texts."""
        return tuple(template.replace("{}", name) for template in ACTION_TEMPLATES for name in label_set.names)

    def encode_text(self, label_set: LabelSet) -> Tensor:
        """Text features (16, C, D), not normalised."""
        return self.encode_prompts(self.prompts(label_set)).unflatten(0, (len(ACTION_TEMPLATES), len(label_set)))

    def score(self, video: Tensor, text: Tensor) -> Tensor:
        """Log-probabilities (B, C): softmax over classes for each template, averaged over templates.

        A softmax of the result gives the probabilities back, so that averaging over views is the published one.
        """
        with self.in_fp32(video):
            video, text = F.normalize(video.float(), dim=-1), F.normalize(text.float(), dim=-1)
            similarity = EVAL_SCALE * torch.einsum("bd,kcd->bkc", video, text)
            return similarity.log_softmax(dim=-1).logsumexp(dim=1) - math.log(len(text))

    def loss(self, video: Tensor, targets: Tensor, label_set: LabelSet) -> Tensor:
        """The contrastive loss of a whole batch, in nats; one random template per clip.

        Args:
            video: (B, T, 3, H, W), all clips of one blending group: the negatives come from the batch.
            targets: (B, C) one-hot, since the recipe neither smooths nor blends.
            label_set: Of the training list.

        Raises:
            UserError: Smoothed or blended targets, which the loss cannot use.
        """
        if not bool((targets.amax(dim=-1) > 1 - 1e-6).all()):
            raise UserError(
                f"The loss of {self.name} needs one class per clip; the recipe smooths or blends targets.",
                "Set --recipe smoothing=0 --recipe mixup=0 --recipe cutmix=0.",
            )
        labels = targets.argmax(dim=-1)
        chosen = torch.randint(len(ACTION_TEMPLATES), (len(labels),)).tolist()
        texts = tuple(
            ACTION_TEMPLATES[k].replace("{}", label_set.names[i]) for k, i in zip(chosen, labels.tolist(), strict=True)
        )
        return self.contrast(self.encode_video(video), self.encode_prompts(texts), labels)

    def similarity(self, video: Tensor, text: Tensor) -> Tensor:
        """Scaled cosines (B, B) of clips and texts, with the learned scale."""
        with self.in_fp32(video):
            video, text = F.normalize(video.float(), dim=-1), F.normalize(text.float(), dim=-1)
            return self.backbone.logit_scale.float().exp() * video @ text.t()

    def contrast(self, video: Tensor, text: Tensor, labels: Tensor) -> Tensor:
        """Mean of both directions of the divergence between wanted and found matches of a batch.

        All pairs of equal label are matches: the wanted distribution is a softmax over 10 for a match and 0 otherwise.

        Args:
            video: Features (B, D).
            text: Features (B, D), row i describing the class of clip i.
            labels: (B,).
        """
        logits = self.similarity(video, text)
        wanted = (TARGET_SCALE * (labels[:, None] == labels[None, :]).float()).softmax(dim=-1)
        return (divergence(logits, wanted) + divergence(logits.t(), wanted)) / 2

    def parameter_groups(self, recipe: Recipe) -> list[dict[str, Any]]:
        """Text side with the scale, vision tower, fusion at a tenfold rate; weight decay on everything."""
        groups: dict[str, list[nn.Parameter]] = {"text": [], "visual": [], "fusion": []}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                side = "visual" if name.startswith("backbone.clip.visual.") else "text"
                groups["fusion" if name.startswith("fusion.") else side].append(parameter)
        rates = {"text": recipe.lr, "visual": recipe.lr, "fusion": recipe.lr * self.options.fusion_lr}
        return [
            {"params": parameters, "lr": rates[name], "weight_decay": recipe.weight_decay}
            for name, parameters in groups.items()
        ]


def divergence(logits: Tensor, wanted: Tensor) -> Tensor:
    """KL(wanted || softmax of logits), mean over the rows of (B, B)."""
    return F.kl_div(F.log_softmax(logits, dim=-1), wanted, reduction="sum") / len(logits)
