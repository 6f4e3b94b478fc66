"""MoTE: a temporal head whose blocks hold several experts, and a gate by the similarity to the training classes.

Source: ZMHH-H/MoTE, modules/video_clip.py, train.py, test_zeroshot.py.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.api import ClipMethod, LabelSet, ParameterGroup, Recipe, TrainingBatch, register_method
from methods._blocks import Blocks, QuickGELU, draw_linear
from methods._contrast import unblended_labels
from methods._specs.mote import POSITIONS, MoteOptions, MoteSpec
from methods._templates import VIDEO_TEMPLATES

TEMPERATURES = (-9.6, -4.8, -2.4, -1.2, -0.6, 0.6, 1.2, 2.4, 4.8, 9.6, math.inf)
"""Temperatures of merging: the experts count alike at infinity, and in reversed order at negative values."""


class Experts(nn.Module):
    """Copies of a transformer MLP, of which a weighted mean is computed: (N, L, width) -> (N, L, width)."""

    def __init__(self, width: int, experts: int) -> None:
        super().__init__()
        self.fc_up = nn.ModuleList(nn.Linear(width, 4 * width) for _ in range(experts))
        self.fc_dn = nn.ModuleList(nn.Linear(4 * width, width) for _ in range(experts))
        self.gelu = QuickGELU()
        # Zeros: the original's evaluation takes the plain mean, and never trains these weights.
        self.mote_fusion_weight = nn.Parameter(torch.zeros(experts), requires_grad=False)
        self.weights: tuple[float, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        """Return the MLP whose weights are the mean of the experts' weights, by `weights` or `mote_fusion_weight`."""
        shares = self.mote_fusion_weight.softmax(dim=0)
        if self.weights:
            shares = shares.new_tensor(self.weights)
        return _mean_layer(self.fc_dn, self.gelu(_mean_layer(self.fc_up, x, shares)), shares)


def _mean_layer(layers: nn.ModuleList, x: Tensor, shares: Tensor) -> Tensor:
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    weights, biases = torch.stack([layer.weight for layer in linear]), torch.stack([layer.bias for layer in linear])
    return F.linear(x, torch.tensordot(shares, weights, 1), torch.tensordot(shares, biases, 1))


class TemporalHead(nn.Module):
    """Blocks with experts over frame features: (B, T, D) -> (B, T, D). Parameter names are those of the original."""

    def __init__(self, width: int, heads: int, layers: int, experts: int) -> None:
        super().__init__()
        self.frame_position_embeddings = nn.Embedding(POSITIONS, width)
        self.transformer = Blocks(width, layers, heads, eps=1e-12)
        for block in self.transformer.resblocks:
            block.mlp = Experts(width, experts)
        draw_linear(self)

    @property
    def experts(self) -> list[Experts]:
        """The experts of each block."""
        return [module for module in self.modules() if isinstance(module, Experts)]

    def forward(self, frames: Tensor, weights: list[tuple[float, ...]] | None = None) -> Tensor:
        """Return the output of the last block; `weights` has the share of each expert in each block."""
        for number, experts in enumerate(self.experts):
            experts.weights = () if weights is None else weights[number]
        positions = self.frame_position_embeddings.weight[: frames.shape[1]].to(frames.dtype)
        output: Tensor = self.transformer(frames + positions)
        return output


@register_method("mote")
class Mote(MoteSpec, ClipMethod[tuple[Tensor, Tensor], Tensor]):
    """The vision tower, the scale and the temporal head are trained; the frozen text tower encodes 28 texts a class."""

    options: MoteOptions
    training_texts: Tensor

    def setup(self) -> None:
        """Add the temporal head, and room for the texts of the training classes, which the gate reads."""
        options, width = self.options, self.embed_dim
        self.head = TemporalHead(width, max(1, width // 64), options.layers, options.experts)
        self.register_buffer("training_texts", torch.zeros(options.training_classes, width))
        self.learn_only("visual.", "logit_scale", "head.")
        for experts in self.head.experts:
            experts.mote_fusion_weight.requires_grad_(False)

    def encode_text(self, label_set: LabelSet) -> Tensor:
        """Return text features (C, D): the mean of the normalised features of 28 texts of each class."""
        # In one call, so that the cache of frozen texts keeps them between training steps.
        texts = tuple(text.replace("{}", name) for text in VIDEO_TEMPLATES for name in label_set.names)
        features = F.normalize(self.encode_prompts(texts).float(), dim=-1)
        return F.normalize(torch.unflatten(features, 0, (len(VIDEO_TEMPLATES), -1)).mean(dim=0), dim=-1)

    def encode_video(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output of the temporal head and CLIP's frame features, both (B, T, D)."""
        self.check_frames(self.options, video.shape[1])
        frames = self.encode_frames(video)
        return self.head(frames), frames

    def gate(self, frames: Tensor, text: Tensor) -> Tensor:
        """Return the weight (B) of the temporal head for videos with frame features (B, T, D).

        It is near 1 if the classes of the label set that are nearest to the video resemble the training classes that
        are nearest to it, and 1 before a fit. A label set of fewer than `neighbours` classes counts with all of them;
        the original needs that many.
        """
        counted = frames.is_meta  # costs are counted without values
        trained = self.training_texts[:0] if counted else self.training_texts[self.training_texts.any(dim=-1)]
        if not len(trained):
            return frames.new_ones(len(frames))
        with self.in_fp32(frames):
            video = F.normalize(frames.float().mean(dim=1), dim=-1)
            # Both are unit vectors; a published file rounds those of the training classes.
            unit = trained.float(), text.float()
            known, tested = (
                side[(video @ side.t()).topk(min(self.options.neighbours, len(side)), dim=-1).indices] for side in unit
            )
            nearest = (tested @ known.transpose(1, 2)).amax(dim=-1).mean(dim=-1)
        return torch.exp((nearest - 1) / self.options.gate_temperature)

    def score(self, video: tuple[Tensor, Tensor], text: Tensor) -> Tensor:
        """Return logits (B, C): cosine of the mean gated frame feature and the texts, times the scale."""
        output, frames = video
        gated = self.gate(frames, text)[:, None, None].to(output.dtype) * output + frames
        return self.scaled_cosines(gated.mean(dim=1), text)

    def draw_experts(self) -> list[tuple[float, ...]]:
        """Return the shares of each block's experts if one of them is drawn: 1 for it and 0 for the others."""
        likely = torch.arange(1.0, self.options.experts + 1).softmax(dim=0)
        drawn = [int(torch.multinomial(likely, 1)) for _ in range(self.options.layers)]
        return [tuple(float(number == expert) for number in range(self.options.experts)) for expert in drawn]

    def draw_temperatures(self) -> list[float]:
        """Return a temperature of merging for each block."""
        return [TEMPERATURES[int(torch.randint(len(TEMPERATURES), ()))] for _ in range(self.options.layers)]

    def merged(self, temperatures: list[float]) -> list[tuple[float, ...]]:
        """Return the shares of each block's experts at temperatures: a softmax of the expert's number."""
        numbers = torch.arange(1.0, self.options.experts + 1, dtype=torch.float64)
        return [tuple((numbers / temperature).softmax(dim=0).tolist()) for temperature in temperatures]

    def training_loss(self, batch: TrainingBatch) -> Tensor:
        """Return the loss of a drawn expert, of merged experts, and of their distance to CLIP's frame features."""
        self.check_training_classes(self.options, batch.label_set)
        labels, text = unblended_labels(batch, self.name), self.encode_text(batch.label_set)
        self._keep(text)
        frames = self.encode_frames(batch.video)
        routed = frames + self.head(frames, self.draw_experts())
        merged = frames + self.head(frames, self.merged(self.draw_temperatures()))
        losses = [
            F.cross_entropy(self.scaled_cosines(features.mean(dim=1), text), labels)
            for features in (routed, merged)
        ]
        # CLIP's features are not detached: this term trains the vision tower, too.
        distance = F.mse_loss(merged.float(), frames.float())
        return losses[0] + self.options.merged_loss * losses[1] + self.options.distance_loss * distance

    @torch.no_grad()
    def _keep(self, text: Tensor) -> None:
        """Keep the texts of the training classes, which are weights of the fit."""
        self.training_texts.zero_()[: len(text)] = text

    def parameter_groups(self, recipe: Recipe) -> list[ParameterGroup]:
        """Return the groups of CLIP, with a lower rate, and of the temporal head."""
        head = [p for p in self.head.parameters() if p.requires_grad]
        own = {id(p) for p in head}
        clip = [p for p in self.trainable() if id(p) not in own]
        rates = (recipe.lr * self.options.clip_lr, recipe.lr)
        return [
            {"params": params, "lr": rate, "weight_decay": recipe.weight_decay}
            for params, rate in zip((clip, head), rates, strict=True)
        ]
