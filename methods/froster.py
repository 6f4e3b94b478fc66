"""FROSTER: Open-VCLIP's attention with a trained text tower, and features that stay near those of frozen CLIP."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from harness.api import Backbone, LabelSet, register_method
from methods._neighbours import InitialWeights, NeighbourClip, mean_direction, see_neighbours
from methods._specs.froster import FrosterOptions, FrosterSpec
from methods._templates import VIDEO_TEMPLATES

BARE = "{}"
"""The last text of a class: its entry alone."""
TEXTS_AT_ONCE = 512
"""Texts that are encoded in one pass."""


class _Towers(nn.Module):
    """CLIP's frame and text features, as a module without values.

    A copy and not the student's towers: FSDP would put the student's weights back into its blocks.

    Args:
        backbone: The CLIP model.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = copy.deepcopy(backbone).to("meta")

    def forward(self, video: Tensor, texts: tuple[tuple[str, ...], ...]) -> tuple[Tensor, Tensor]:
        """Return frame features (B, T, D) of single pictures, and the mean direction (C, D) of texts of classes."""
        frames = torch.unflatten(self.backbone.encode_images(video.flatten(0, 1)), 0, video.shape[:2])
        return frames, mean_direction([self.backbone.encode_texts(entries) for entries in texts])


class Teacher:
    """Frozen CLIP: towers without values, which run with the weights that the method keeps in `initial`.

    Not a module, because nothing of it is trained, saved or moved to a device.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._towers = _Towers(backbone)

    def features(
        self, weights: dict[str, Tensor], video: Tensor, texts: tuple[tuple[str, ...], ...]
    ) -> tuple[Tensor, Tensor]:
        """Return frame features (B, T, D) and the mean direction (C, D) of texts under weights of CLIP by name."""
        named = {f"backbone.{name}": value for name, value in weights.items()}
        features: tuple[Tensor, Tensor] = functional_call(self._towers, named, (video, texts))
        return features


@register_method("froster")
class Froster(FrosterSpec, NeighbourClip):
    """All of CLIP is trained, and two projectors that only the distillation uses."""

    options: FrosterOptions

    def setup(self) -> None:
        """Change the attention, add the projectors, and keep CLIP's weights as the teacher."""
        self.teacher = Teacher(self.backbone)
        see_neighbours(self.backbone, 1, self.name)
        self.projector_v, self.projector_t = _projector(self.embed_dim), _projector(self.embed_dim)
        self.learn_all()
        # With buffers: the mask of the text tower.
        self.initial = InitialWeights([*self.backbone.named_parameters(), *self.backbone.named_buffers()])

    def prompts(self, label_set: LabelSet) -> tuple[str, ...]:
        """Return the 29 texts of each class: template by template, then the bare entries."""
        return tuple(text for template in (*VIDEO_TEMPLATES, BARE) for text in self.texts(label_set, template))

    def texts(self, label_set: LabelSet, template: str) -> tuple[str, ...]:
        """Return one text per class: a template around its name, and its entry (the text `name: sentence`)."""
        entries = super().prompts(label_set)
        if template == BARE:
            return entries
        return tuple(f"{template.replace('{}', entry.partition(':')[0])} {entry}" for entry in entries)

    def encode_text(self, label_set: LabelSet) -> Tensor:
        """Return text features (C, D): the mean direction of the texts of each class."""
        texts = self.prompts(label_set)
        # In parts, because all sentences of hundreds of classes at once would take gigabytes.
        starts = range(0, len(texts), TEXTS_AT_ONCE)
        encoded = [self.encode_prompts(texts[start : start + TEXTS_AT_ONCE]) for start in starts]
        return mean_direction(torch.cat(encoded).split(len(label_set)))

    def loss(self, video: Tensor, targets: Tensor, label_set: LabelSet) -> Tensor:
        """Return cross-entropy plus the distances of projected features from those of CLIP, times `distillation`."""
        template = VIDEO_TEMPLATES[int(torch.randint(len(VIDEO_TEMPLATES), ()))]
        cross_entropy, images, texts = self.losses(video, targets, label_set, template)
        return cross_entropy + self.options.distillation * (images + texts)

    def losses(
        self, video: Tensor, targets: Tensor, label_set: LabelSet, template: str
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the cross-entropy, and the distances of frames and of class texts from those of CLIP.

        Args:
            video: (B, T, 3, H, W).
            targets: (B, C) soft targets.
            label_set: Classes of the training list.
            template: Template of this step; the other text of a class is its bare entry.
        """
        texts = self.texts(label_set, template), self.texts(label_set, BARE)
        frames = self.encode_frames(video)
        classes = mean_direction([self.backbone.encode_texts(entries) for entries in texts])
        with torch.no_grad():
            clip_frames, clip_classes = self.teacher.features(self.initial.values(), video, texts)
        cross_entropy = self.feature_loss(self.pool(frames), classes, targets)
        frames = F.normalize(frames.float(), dim=-1)
        images = _distance(project(self.projector_v, frames), clip_frames)
        return cross_entropy, images, _distance(project(self.projector_t, classes), clip_classes)


def _projector(width: int) -> nn.Sequential:
    """Two layers without biases; the second is zero, so that projected features start as the features."""
    first, second = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
    nn.init.kaiming_normal_(first.weight)
    nn.init.zeros_(second.weight)
    return nn.Sequential(first, nn.GELU(), second)


def project(projector: nn.Sequential, features: Tensor) -> Tensor:
    """Return features plus a tenth of their projection, not normalised."""
    projected: Tensor = projector(features)
    return features + 0.1 * projected


def _distance(ours: Tensor, clip: Tensor) -> Tensor:
    """Return one minus the mean cosine."""
    return 1 - F.cosine_similarity(ours.float(), clip.float(), dim=-1).mean()
